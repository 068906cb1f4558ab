// The pages of visitors who are not signed in: sign in, create an account.

import { field, form, h, heading } from './dom.js';
import { look } from './look.js';
import { meter } from './strength.js';

const email = () =>
  field({ label: 'E-mail', name: 'email', type: 'email', autocomplete: 'username', autofocus: true, autocapitalize: 'none', spellcheck: 'false' });

function entry(title, text, content, other) {
  const mark = h('img', { src: look.logo ? '/console/logo' : '/console/icon.svg', alt: '', width: '48', height: '48' });
  return h('div', { class: 'entry card' }, mark, heading(title, text), content, h('p', { class: 'other' }, ...other.filter(Boolean)));
}

export function signIn(hallpass) {
  const steps = h('div', { class: 'steps' });
  steps.append(firstStep(hallpass, steps));
  return steps;
}

function firstStep(hallpass, steps) {
  const password = field({ label: 'Password', name: 'password', type: 'password', autocomplete: 'current-password' });
  return entry(
    'Sign in',
    `to your ${look.name} account`,
    form({ fields: [email(), password], submit: 'Sign in' }, async (values) => {
      const { next, methods } = await hallpass.signIn(values);
      if (next) show(steps, secondStep(hallpass, methods, steps));
    }),
    ['New here? ', h('a', { href: '#/register' }, 'Create an account')],
  );
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
