// One user: see why somebody cannot sign in, and help.

import { action, plain, state, table } from './admin.js';
import { ask } from './ask.js';
import { ago, card, field, form, h, heading, say, time } from './dom.js';
import { t } from './language.js';
import { rows as eventRows } from './events.js';
import { look } from './look.js';
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
    const focused = element.contains(document.activeElement) && document.activeElement;
    element.replaceChildren(
      h('p', {}, h('a', { href: '#/users' }, t('← Users'))),
      heading(plain(user.email), user.name && h('bdi', {}, plain(user.name))),
      summary(user, events),
      roles(user),
      password(user),
      card(t('Sessions'), sessions.length === 0 ? h('p', { class: 'hint' }, t('No active sessions.')) : sessionTable(sessions), sessions.length > 0 && action(t('End all sessions'), endSessions, { sure: t('End them all?') })),
      card(t('Recent events'), table(t('Table of events'), ['Time', 'Event', '-Address', '-By'], eventRows(hallpass, events, false)), h('p', {}, h('a', { href: `#/events?user=${user.id}` }, t('All events of this user')))),
      removal(user),
    );
    if (!focused) return;
    // What had the focus is made anew, or gone: a button that has done its work has another text.
    const isSame = (it) => it.tagName === focused.tagName && it.name === focused.name && it.textContent === focused.textContent;
    ([...element.querySelectorAll('button, input')].find(isSame) ?? element.querySelector('h1')).focus();
  }

  async function change(changes, done) {
    await ask(hallpass, 'PATCH', path, changes);
    say(done);
    await show();
  }

  function summary(user, events) {
    const recent = (wanted) => events.filter(({ kind, at }) => kind === wanted && hallpass.now() - new Date(at) < HOUR).length;
    const [failed, wrong] = [recent('sign_in_failed'), recent('second_factor_failed')];
    const counted = (count) => (count === 20 ? t('at least 20') : count);
    const reasons = [
      user.disabled && t('The account is disabled, so the user cannot sign in.'),
      failed > 0 && t('Failed sign-ins in the last hour: {count}. The next one may be delayed. The user should check the password, or you can set a new one.', { count: counted(failed) }),
      wrong > 0 && t('Wrong second factors in the last hour: {count}. If the user has lost it, a recovery code signs in; or remove the second factors here.', { count: counted(wrong) }),
      !user.last_login_at && t('This user has never signed in.'),
    ].filter(Boolean);
    const rows = [
      [t('State'), state(user)],
      [t('Address'), user.email_verified ? t('verified') : t('not verified')],
      [t('Second factors'), user.second_factors.length > 0 ? user.second_factors.map((name) => h('span', { class: 'badge' }, name)) : t('none')],
      [t('Member since'), time(user.created_at)],
      [t('Last sign-in'), user.last_login_at ? ago(user.last_login_at, hallpass.now()) : t('never')],
      [t('ID'), h('code', {}, user.id)],
    ];
    return card(
      t('Account'),
      reasons.length > 0 && h('div', { class: 'alert', role: 'note' }, reasons.map((text) => h('p', {}, text))),
      h('dl', {}, rows.map(([term, value]) => h('div', {}, h('dt', {}, term), h('dd', {}, value)))),
      h(
        'div',
        { class: 'actions' },
        // Each undoes the other; only the sessions do not come back.
        user.disabled ? action(t('Enable'), () => change({ disabled: false }, t('The user can sign in again.'))) : action(t('Disable'), () => change({ disabled: true }, t('The user is disabled, and every session has ended.')), { sure: t('Disable, and end all sessions?') }),
        user.second_factors.length > 0 && action(t('Remove second factors'), resetFactors, { sure: t('The password alone will sign in. Remove them?') }),
        action(user.email_verified ? t('Mark as not verified') : t('Mark as verified'), () => change({ email_verified: !user.email_verified }, user.email_verified ? t('The address is now marked as not verified.') : t('The address is now marked as verified.'))),
      ),
    );
  }

  function roles(user) {
    const input = field({ label: t('Roles'), name: 'roles', value: user.roles.join(' '), autocapitalize: 'none', autocomplete: 'off', spellcheck: 'false', required: false, hint: t('Separated by spaces. Users with the role admin can use these pages.'), 'data-keep': true });
    return card(t('Roles'), form({ fields: [input], submit: t('Save roles'), label: t('Roles') }, (values) => change({ roles: words(values.roles) }, t('The roles were saved.'))));
  }

  function password(user) {
    const input = field({ label: t('New password'), name: 'new_password', type: 'password', autocomplete: 'new-password' });
    return card(
      t('Password'),
      h('p', { class: 'hint' }, t('This ends every session of the user. Ask the user to change the password after the next sign-in.')),
      look.mail && action(t('Mail a link to choose one'), mailLink, { sure: t('This ends every session. Send it?') }),
      form({ fields: [input], submit: t('Set password'), label: t('Set the password of {email}', { email: plain(user.email) }) }, async (values) => {
        await ask(hallpass, 'POST', `${path}/password`, values);
        say(t('The password was set.'));
        // An admin's own session has ended with the others.
        if (user.id !== me.id) await show();
      }),
    );
  }

  async function mailLink() {
    await ask(hallpass, 'POST', `${path}/password`, { mail: true });
    say(t('The link was sent.'));
    if (id !== me.id) await show();
  }

  async function resetFactors() {
    await ask(hallpass, 'DELETE', `${path}/second-factors`);
    say(t('The user has no second factor any more.'));
    await show();
  }

  async function endSessions() {
    await ask(hallpass, 'DELETE', `${path}/sessions`);
    say(t('Every session has ended.'));
    if (id !== me.id) await show();
  }

  function sessionTable(sessions) {
    const rows = sessions.map(({ user_agent: agent, ip, created_at: created, last_seen_at: seen }) =>
      h('tr', {}, h('th', { scope: 'row' }, plain(agent?.slice(0, 80) ?? t('unknown'))), h('td', { class: 'spare' }, ip ?? t('unknown')), h('td', {}, ago(seen, hallpass.now())), h('td', { class: 'spare' }, time(created))),
    );
    return table(t('Table of sessions'), ['Program', '-Address', 'Last seen', '-Since'], h('tbody', {}, rows));
  }

  function removal(user) {
    const typed = field({ label: t('E-mail of the user'), name: 'email', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', hint: t('Type the address to confirm.') });
    const forget = h('label', { class: 'choice' }, h('input', { type: 'checkbox' }), t('Also clear the events about the user'));
    return card(
      t('Delete the user'),
      h('p', {}, t('The account and all sessions are deleted immediately. This cannot be undone.')),
      forget,
      form({ fields: [typed], submit: t('Delete user'), danger: true, label: t('Delete the user') }, async ({ email }) => {
        if (email.trim().toLowerCase() !== user.email) {
          typed.blame([t('is not {email}', { email: plain(user.email) })]);
          return typed.input.focus();
        }
        await ask(hallpass, 'DELETE', path + (forget.querySelector('input').checked ? '?forget=true' : ''));
        say(t('The user was deleted.'));
        location.hash = '#/users';
      }),
    );
  }
}
