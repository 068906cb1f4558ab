// One user: see why somebody cannot sign in, and help.

import { action, plain, state, table } from './admin.js';
import { ask } from './ask.js';
import { ago, card, field, form, h, heading, say, time } from './dom.js';
import { rows as eventRows } from './events.js';
import { words } from './users.js';

const HOUR = 3_600_000;

export async function user(hallpass, me, id) {
  const path = `/admin/users/${encodeURIComponent(id)}`;
  const element = h('div', { class: 'wide' });
  await show();
  return element;

  async function show() {
    const [user, sessions, { events }] = await Promise.all([
      ask(hallpass, 'GET', path),
      ask(hallpass, 'GET', `${path}/sessions`),
      ask(hallpass, 'GET', `/admin/events?user=${encodeURIComponent(id)}&limit=20`),
    ]);
    const focused = element.contains(document.activeElement) && document.activeElement.textContent;
    element.replaceChildren(
      h('p', {}, h('a', { href: '#/users' }, '← Users')),
      heading(plain(user.email), user.name && h('bdi', {}, plain(user.name))),
      summary(user, events),
      roles(user),
      password(user),
      card('Sessions', sessions.length === 0 ? h('p', { class: 'hint' }, 'No active sessions.') : sessionTable(sessions), sessions.length > 0 && action('End all sessions', endSessions, { sure: 'End them all?' })),
      card('Recent events', table('Table of events', ['Time', 'Event', '-Address', '-By'], eventRows(hallpass, events, false)), h('p', {}, h('a', { href: `#/events?user=${user.id}` }, 'All events of this user'))),
      removal(user),
    );
    if (focused) [...element.querySelectorAll('button')].find((button) => button.textContent === focused)?.focus();
  }

  async function change(changes, done) {
    await ask(hallpass, 'PATCH', path, changes);
    say(done);
    await show();
  }

  function summary(user, events) {
    const failed = events.filter(({ kind, at }) => kind === 'sign_in_failed' && hallpass.now() - new Date(at) < HOUR).length;
    const reasons = [
      user.disabled && 'The account is disabled, so the user cannot sign in.',
      failed > 0 && `Failed sign-ins in the last hour: ${failed === 20 ? 'at least 20' : failed}. The next one may be delayed. The user should check the password, or you can set a new one.`,
      !user.last_login_at && 'This user has never signed in.',
    ].filter(Boolean);
    const rows = [
      ['State', state(user)],
      ['Address', user.email_verified ? 'verified' : 'not verified'],
      ['Member since', time(user.created_at)],
      ['Last sign-in', user.last_login_at ? ago(user.last_login_at, hallpass.now()) : 'never'],
      ['ID', h('code', {}, user.id)],
    ];
    return card(
      'Account',
      reasons.length > 0 && h('div', { class: 'alert', role: 'note' }, reasons.map((text) => h('p', {}, text))),
      h('dl', {}, rows.map(([term, value]) => h('div', {}, h('dt', {}, term), h('dd', {}, value)))),
      h(
        'div',
        { class: 'actions' },
        // Each undoes the other; only the sessions do not come back.
        user.disabled ? action('Enable', () => change({ disabled: false }, 'The user can sign in again.')) : action('Disable', () => change({ disabled: true }, 'The user is disabled, and every session has ended.'), { sure: 'Disable, and end all sessions?' }),
        user.second_factors.length > 0 && action('Remove second factors', resetFactors, { sure: 'The password alone will sign in. Remove them?' }),
        action(user.email_verified ? 'Mark as not verified' : 'Mark as verified', () => change({ email_verified: !user.email_verified }, `The address is now marked as ${user.email_verified ? 'not verified' : 'verified'}.`)),
      ),
    );
  }

  function roles(user) {
    const input = field({ label: 'Roles', name: 'roles', value: user.roles.join(' '), autocapitalize: 'none', autocomplete: 'off', spellcheck: 'false', required: false, hint: 'Separated by spaces. Users with the role admin can use these pages.', 'data-keep': true });
    return card('Roles', form({ fields: [input], submit: 'Save roles', label: 'Roles' }, (values) => change({ roles: words(values.roles) }, 'The roles were saved.')));
  }

  function password(user) {
    const input = field({ label: 'New password', name: 'new_password', type: 'password', autocomplete: 'new-password' });
    return card(
      'Password',
      h('p', { class: 'hint' }, 'This ends every session of the user. Ask the user to change the password after the next sign-in.'),
      form({ fields: [input], submit: 'Set password', label: `Set the password of ${plain(user.email)}` }, async (values) => {
        await ask(hallpass, 'POST', `${path}/password`, values);
        say('The password was set.');
        // An admin's own session has ended with the others.
        if (user.id !== me.id) await show();
      }),
    );
  }

  async function resetFactors() {
    await ask(hallpass, 'DELETE', `${path}/second-factors`);
    say('The user has no second factor any more.');
    await show();
  }

  async function endSessions() {
    await ask(hallpass, 'DELETE', `${path}/sessions`);
    say('Every session has ended.');
    if (id !== me.id) await show();
  }

  function sessionTable(sessions) {
    const rows = sessions.map(({ user_agent: agent, ip, created_at: created, last_seen_at: seen }) =>
      h('tr', {}, h('th', { scope: 'row' }, plain(agent?.slice(0, 80) ?? 'unknown')), h('td', { class: 'spare' }, ip ?? 'unknown'), h('td', {}, ago(seen, hallpass.now())), h('td', { class: 'spare' }, time(created))),
    );
    return table('Table of sessions', ['Program', '-Address', 'Last seen', '-Since'], h('tbody', {}, rows));
  }

  function removal(user) {
    const typed = field({ label: 'E-mail of the user', name: 'email', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', hint: 'Type the address to confirm.' });
    const forget = h('label', { class: 'choice' }, h('input', { type: 'checkbox' }), 'Also clear the events about the user');
    return card(
      'Delete the user',
      h('p', {}, 'The account and all sessions are deleted immediately. This cannot be undone.'),
      forget,
      form({ fields: [typed], submit: 'Delete user', danger: true, label: 'Delete the user' }, async ({ email }) => {
        if (email.trim().toLowerCase() !== user.email) {
          typed.blame([`is not ${plain(user.email)}`]);
          return typed.input.focus();
        }
        await ask(hallpass, 'DELETE', path + (forget.querySelector('input').checked ? '?forget=true' : ''));
        say('The user was deleted.');
        location.hash = '#/users';
      }),
    );
  }
}
