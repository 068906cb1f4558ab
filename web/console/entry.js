// The pages of visitors who are not signed in: sign in, create an account.

import { explain, field, form, h, heading } from './dom.js';
import { meter } from './strength.js';

const email = (autocomplete = 'username') =>
  field({ label: 'E-mail', name: 'email', type: 'email', autocomplete, autofocus: true, autocapitalize: 'none', spellcheck: 'false' });

function entry(title, text, content, other) {
  const mark = h('img', { src: '/console/icon.svg', alt: '', width: '48', height: '48' });
  return h('div', { class: 'entry card' }, mark, heading(title, text), content, h('p', { class: 'other' }, ...other.filter(Boolean)));
}

export function signIn(hallpass) {
  const steps = h('div', { class: 'steps' });
  steps.append(firstStep(hallpass, steps));
  return steps;
}

/** Browsers have passkeys for names, not for addresses such as 127.0.0.1. */
export const hasPasskeys = () => Boolean(globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON) && !/^[\d.]+$|^\[/.test(location.hostname);

let offer;

/** Offers the passkeys of this device in the list of the e-mail field, in place of an earlier offer. */
async function offerPasskeys(hallpass) {
  const { signal } = withdrawOffer();
  if (!hasPasskeys() || !(await PublicKeyCredential.isConditionalMediationAvailable?.()) || signal.aborted) return;
  // Whoever wants to see an error presses the button.
  await hallpass.signInWithPasskey({ autofill: true, signal }).catch(() => {});
}

/** A browser asks for one passkey at a time. */
function withdrawOffer() {
  offer?.abort();
  offer = new AbortController();
  return offer;
}

addEventListener('hashchange', withdrawOffer);

function firstStep(hallpass, steps) {
  offerPasskeys(hallpass);
  const password = field({ label: 'Password', name: 'password', type: 'password', autocomplete: 'current-password' });
  return entry(
    'Sign in',
    'to your Hallpass account',
    form({ fields: [email('username webauthn'), password], submit: 'Sign in' }, async (values) => {
      withdrawOffer();
      const { next, methods } = await hallpass.signIn(values);
      if (next) show(steps, secondStep(hallpass, methods, steps));
    }),
    [hasPasskeys() && byPasskey(hallpass), 'New here? ', h('a', { href: '#/register' }, 'Create an account')],
  );
}

/** A button that signs in by a passkey, or says why not. */
function byPasskey(hallpass) {
  const problem = h('span', { role: 'alert' });
  async function use() {
    withdrawOffer();
    problem.textContent = '';
    await hallpass.signInWithPasskey().catch((error) => {
      problem.textContent = ` ${explainPasskey(error)}`;
    });
  }
  return h('span', { class: 'passkey' }, h('button', { type: 'button', class: 'link', onclick: use }, 'Sign in with a passkey'), problem);
}

/** Returns a sentence about an error of a passkey. The browser's own have no status. */
export function explainPasskey(error) {
  if (!(error instanceof DOMException)) return explain(error);
  if (error.name === 'InvalidStateError') return 'This device has a passkey for your account already.';
  if (error.name === 'SecurityError') return 'Passkeys are not set up for this address. Tell the operator: passkey.rp_id.';
  return 'No passkey was chosen.';
}

/** Shows a step in place of another. */
function show(steps, step) {
  steps.replaceChildren(step);
  step.querySelector('[autofocus]').focus();
}

/** The second step of a sign-in: a code, or a recovery code. */
function secondStep(hallpass, methods, steps) {
  const back = h('button', { type: 'button', class: 'link', onclick: () => show(steps, firstStep(hallpass, steps)) }, 'Start again');
  const other = (text, step) => h('button', { type: 'button', class: 'link', onclick: () => show(steps, step()) }, text);
  const code = () =>
    entry(
      'Second step',
      'Enter the code that your authenticator app shows.',
      form({ fields: [codeField()], submit: 'Sign in' }, ({ code }) => hallpass.secondFactor({ code })),
      [methods.includes('recovery_code') && other('Use a recovery code', recovery), ' ', back],
    );
  const recovery = () =>
    entry(
      'Recovery code',
      'Enter one of the codes that you kept. Each is good once.',
      form({ fields: [recoveryField()], submit: 'Sign in' }, ({ code }) => hallpass.secondFactor({ recovery_code: code })),
      [methods.includes('totp') && other('Use the authenticator app', code), ' ', back],
    );
  const passkey = () => {
    const problem = h('p', { class: 'alert', role: 'alert', hidden: true });
    async function use() {
      await hallpass.secondFactor({ passkey: true }).catch((error) => {
        problem.textContent = explainPasskey(error);
        problem.hidden = false;
      });
    }
    return entry(
      'Second step',
      'Use the passkey of your account.',
      h('div', {}, problem, h('button', { type: 'button', class: 'primary', autofocus: true, onclick: use }, 'Use a passkey')),
      [methods.includes('totp') && other('Use the authenticator app', code), ' ', methods.includes('recovery_code') && other('Use a recovery code', recovery), ' ', back],
    );
  };
  if (methods.includes('passkey') && hasPasskeys()) return passkey();
  return methods.includes('totp') ? code() : recovery();
}

/** A field for a code of an authenticator app. */
export const codeField = () =>
  field({ label: 'Code', name: 'code', inputmode: 'numeric', autocomplete: 'one-time-code', maxlength: '7', autofocus: true, hint: 'Six digits.' });

const recoveryField = () =>
  field({ label: 'Recovery code', name: 'code', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', autofocus: true });

export function register(hallpass) {
  const address = email();
  const name = field({ label: 'Name', name: 'name', autocomplete: 'name', hint: 'Optional.', required: false, maxlength: '200' });
  const strength = meter(hallpass, () => address.input.value);
  const password = field({ label: 'Password', name: 'password', type: 'password', autocomplete: 'new-password', extra: strength.element });
  strength.watch(password.input);
  return entry(
    'Create an account',
    'with an e-mail address and a password',
    form({ fields: [address, name, password], submit: 'Create account' }, ({ email, name, password }) =>
      hallpass.signUp({ email, password, name: name || undefined }),
    ),
    ['Have one already? ', h('a', { href: '#/sign-in' }, 'Sign in')],
  );
}
