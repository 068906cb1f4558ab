// The pages of visitors who are not signed in: sign in, create an account.

import { field, form, h, heading } from './dom.js';
import { t } from './language.js';
import { look } from './look.js';
import { explainPasskey, hasPasskeys, namedPage, offerPasskeys, withdrawOffer } from './passkeys.js';
import { meter } from './strength.js';

export const email = (autocomplete = 'username') =>
  field({ label: t('E-mail'), name: 'email', type: 'email', autocomplete, autofocus: true, autocapitalize: 'none', spellcheck: 'false' });

/** Creates the card of such a page. */
export function entry(title, text, content, other) {
  const mark = h('img', { src: look.logo ? '/console/logo' : '/console/icon.svg', alt: '', width: '48', height: '48' });
  return h('div', { class: 'entry card' }, mark, heading(title, text), content, h('p', { class: 'other' }, ...other.filter(Boolean)));
}

export const signIn = (hallpass) => inSteps((steps) => firstStep(hallpass, steps));

/** Creates a page whose steps replace each other; `first` gets it and returns the first one. */
export function inSteps(first) {
  const steps = h('div', { class: 'steps' });
  steps.append(first(steps));
  return steps;
}

function firstStep(hallpass, steps) {
  offerPasskeys(hallpass);
  const password = field({ label: t('Password'), name: 'password', type: 'password', autocomplete: 'current-password' });
  return entry(
    t('Sign in'),
    t('to your {name} account', { name: look.name }),
    form({ fields: [email('username webauthn'), password], submit: t('Sign in') }, async (values) => {
      withdrawOffer();
      await orSecondStep(hallpass, steps, hallpass.signIn(values));
    }),
    [
      hasPasskeys() && byPasskey(hallpass),
      t('New here?'),
      ' ',
      h('a', { href: '#/register' }, t('Create an account')),
      look.mail && h('br'),
      look.mail && h('a', { href: '#/forgot' }, t('Forgot your password?')),
      look.link && ' · ',
      look.link && h('a', { href: '#/link' }, t('Sign in by mail')),
    ],
  );
}

/** Shows the second step where a sign-in needs one. */
export async function orSecondStep(hallpass, steps, signedIn) {
  const { next, methods } = await signedIn;
  if (next) show(steps, secondStep(hallpass, methods, steps));
}

/** A button that signs in by a passkey, or says why not. */
function byPasskey(hallpass) {
  const problem = h('span', { role: 'alert' });
  async function use() {
    // A browser asks for one passkey at a time.
    withdrawOffer();
    problem.textContent = '';
    await hallpass.signInWithPasskey().catch((error) => {
      problem.textContent = ` ${explainPasskey(error)}`;
    });
  }
  return h('span', { class: 'by-passkey' }, h('button', { type: 'button', class: 'link', onclick: use }, t('Sign in with a passkey')), problem);
}

/** Shows a step in place of another. */
export function show(steps, step) {
  steps.replaceChildren(step);
  (step.querySelector('[autofocus]') ?? step.querySelector('h1')).focus();
}

/** The second step of a sign-in: a passkey, a code, or a recovery code. */
function secondStep(hallpass, methods, steps) {
  const back = h('button', { type: 'button', class: 'link', onclick: () => show(steps, firstStep(hallpass, steps)) }, t('Start again'));
  const other = (text, step) => h('button', { type: 'button', class: 'link', onclick: () => show(steps, step()) }, text);
  const usesPasskey = methods.includes('passkey') && hasPasskeys();
  const code = () =>
    entry(
      t('Second step'),
      t('Enter the code that your authenticator app shows.'),
      form({ fields: [codeField()], submit: t('Sign in') }, ({ code }) => hallpass.secondFactor({ code })),
      [usesPasskey && other(t('Use a passkey'), passkey), ' ', methods.includes('recovery_code') && other(t('Use a recovery code'), recovery), ' ', back],
    );
  const recovery = () =>
    entry(
      t('Recovery code'),
      t('Enter one of the codes that you kept. Each is good once.'),
      form({ fields: [recoveryField()], submit: t('Sign in') }, ({ code }) => hallpass.secondFactor({ recovery_code: code })),
      [usesPasskey && other(t('Use a passkey'), passkey), ' ', methods.includes('totp') && other(t('Use the authenticator app'), code), ' ', back],
    );
  const passkey = () => {
    const problem = h('p', { class: 'alert', role: 'alert', hidden: true });
    const use = () =>
      hallpass.secondFactor({ passkey: true }).catch((error) => {
        problem.textContent = explainPasskey(error);
        problem.hidden = false;
      });
    return entry(
      t('Second step'),
      t('Use the passkey of your account.'),
      h('div', {}, problem, h('button', { type: 'button', class: 'primary', autofocus: true, onclick: use }, t('Use a passkey'))),
      [methods.includes('totp') && other(t('Use the authenticator app'), code), ' ', methods.includes('recovery_code') && other(t('Use a recovery code'), recovery), ' ', back],
    );
  };
  if (usesPasskey) return passkey();
  if (methods.includes('totp')) return code();
  if (methods.includes('recovery_code')) return recovery();
  const named = namedPage();
  return entry(t('Second step'), t('Your account has a passkey, and this browser or this address has none.'), named ? h('p', {}, h('a', { href: named }, t('Open this page on localhost'))) : '', [back]);
}

/** A field for a code of an authenticator app. */
export const codeField = () =>
  field({ label: t('Code'), name: 'code', inputmode: 'numeric', autocomplete: 'one-time-code', maxlength: '7', autofocus: true, hint: t('Six digits.') });

const recoveryField = () =>
  field({ label: t('Recovery code'), name: 'code', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', autofocus: true });

/** A link to the sign-in. */
export const back = () => h('a', { href: '#/sign-in' }, t('Sign in'));

export const register = (hallpass) => inSteps((steps) => registration(hallpass, steps));

function registration(hallpass, steps) {
  const address = email();
  const name = field({ label: t('Name'), name: 'name', autocomplete: 'name', hint: t('Optional.'), required: false, maxlength: '200' });
  const strength = meter(hallpass, () => address.input.value);
  const password = field({ label: t('Password'), name: 'password', type: 'password', autocomplete: 'new-password', extra: strength.element });
  strength.watch(password.input);
  return entry(
    t('Create an account'),
    t('with an e-mail address and a password'),
    form({ fields: [address, name, password], submit: t('Create account') }, async ({ email, name, password }) => {
      const { next } = await hallpass.signUp({ email, password, name: name || undefined });
      if (next === 'verify-email') show(steps, entry(t('Look into your mail'), t('A mail to {email} says how to go on.', { email }), null, [back()]));
    }),
    [t('Have one already?'), ' ', back()],
  );
}
