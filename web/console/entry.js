// The pages of visitors who are not signed in: sign in, create an account.

import { field, form, h, heading } from './dom.js';
import { look } from './look.js';
import { meter } from './strength.js';

const email = () =>
  field({ label: 'E-mail', name: 'email', type: 'email', autocomplete: 'username', autofocus: true, autocapitalize: 'none', spellcheck: 'false' });

function entry(title, text, content, other) {
  const mark = h('img', { src: look.logo ? '/console/logo' : '/console/icon.svg', alt: '', width: '48', height: '48' });
  return h('div', { class: 'entry card' }, mark, heading(title, text), content, h('p', { class: 'other' }, ...other));
}

export function signIn(hallpass) {
  const password = field({ label: 'Password', name: 'password', type: 'password', autocomplete: 'current-password' });
  return entry(
    'Sign in',
    `to your ${look.name} account`,
    form({ fields: [email(), password], submit: 'Sign in' }, (values) => hallpass.signIn(values)),
    ['New here? ', h('a', { href: '#/register' }, 'Create an account')],
  );
}

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
