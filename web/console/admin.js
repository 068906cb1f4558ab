// Parts of the admin's pages: escaped names, a user's state, buttons with an action, tables.

import { explain, h, say } from './dom.js';
import { t } from './language.js';

/** Characters that turn or break the line, or that cannot be seen. */
const HARMFUL = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/gu;

/** Returns a text in which such characters are written as their numbers. */
export function plain(text) {
  return String(text).replace(HARMFUL, (character) => `\\u{${character.codePointAt(0).toString(16)}}`);
}

/** Returns the address of the page of a user. */
export const pageOf = (id) => `#/users/${id}`;

/** Shows whether a user can sign in. */
export function state(user) {
  return user.disabled ? h('span', { class: 'badge bad' }, t('disabled')) : h('span', {}, t('enabled'));
}

/** Creates a button. While its action runs it is disabled; a failure is shown. `sure`: the question to answer first. */
export function action(title, run, { danger = false, sure } = {}) {
  const button = h('button', { type: 'button', class: danger ? 'danger' : 'quiet', onclick }, title);
  async function onclick() {
    if (button.hasAttribute('aria-disabled')) return;
    if (sure && !button.dataset.asked) {
      button.dataset.asked = 'true';
      button.textContent = sure;
      button.addEventListener('blur', calm, { once: true });
      return;
    }
    // Not `disabled`: that would take the focus away.
    button.setAttribute('aria-disabled', 'true');
    try {
      await run();
    } catch (error) {
      say(explain(error));
    }
    button.removeAttribute('aria-disabled');
    calm();
  }
  function calm() {
    delete button.dataset.asked;
    button.textContent = title;
  }
  return button;
}

/** Creates a table that scrolls by itself. `columns` are names; one that begins with `-` is left out on a phone. */
export function table(label, columns, body) {
  const head = columns.map((name) => h('th', { scope: 'col', class: name.startsWith('-') && 'spare' }, t(name.replace(/^-/, ''))));
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': label }, h('table', { class: 'list' }, h('thead', {}, h('tr', {}, head)), body));
}

/** Creates a labelled choice. `options` are values and texts; the first is chosen. */
export function choice(label, options, onchange) {
  const select = h('select', { onchange: () => onchange(select.value) }, options.map(([value, text]) => h('option', { value }, text)));
  return h('label', { class: 'choice' }, label, select);
}

/** The meaning of each kind of event. */
export const KINDS = {
  signed_in: 'signed in',
  sign_in_failed: 'sign-in failed: wrong password, or the account is disabled',
  refreshed: 'session continued',
  refresh_reused: 'a refresh token was used twice: session ended',
  signed_out: 'signed out',
  signed_out_everywhere: 'all sessions ended',
  session_ended: 'one session ended',
  user_added: 'added',
  user_renamed: 'name changed',
  user_roles_changed: 'roles changed',
  email_verification_set: 'address marked as verified or not verified',
  password_changed: 'password changed, all sessions ended',
  user_disabled: 'disabled, all sessions ended',
  user_enabled: 'enabled',
  user_deleted: 'deleted',
  second_factor_asked: 'password right, second factor asked for',
  second_factor_failed: 'second factor wrong',
  recovery_code_used: 'a recovery code was used',
  second_factor_added: 'second factor added',
  second_factor_removed: 'second factor removed',
  recovery_codes_made: 'new recovery codes',
  second_factors_reset: 'all second factors removed',
  all_sessions_ended: 'all sessions of all users ended',
  users_imported: 'users imported',
  password_reset_asked: 'a link to reset the password was asked for',
  password_reset: 'password reset by mail, all sessions ended',
  email_verified: 'address verified by mail',
  email_taken: 'registration with an address that has an account',
  email_change_asked: 'another address was asked for',
  email_changed: 'address changed',
  email_change_undone: 'change of address taken back, all sessions ended',
  mail_sent: 'a mail was sent',
  mail_delayed: 'a mail could not be sent yet',
  mail_failed: 'a mail was given up',
  key_added: 'new signing key',
  key_revoked: 'signing key revoked',
  key_dropped: 'retired signing key removed',
  passphrase_changed: 'passphrase changed',
  installation_key_replaced: 'installation key replaced',
  passkey_renamed: 'passkey renamed',
  passkey_cloned: 'a passkey may have been copied: sign-in refused',
};
