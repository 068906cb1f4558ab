// Find users, and add one. Each change of the filters sends a request; only the latest response is shown.

import { choice, pageOf, plain, state, table } from './admin.js';
import { ask } from './ask.js';
import { ago, card, explain, field, form, h, heading, say } from './dom.js';
import { t } from './language.js';
import { look } from './look.js';

const PAUSE = 150;

export async function users(hallpass) {
  const wanted = { q: '', role: '', disabled: '' };
  const body = h('tbody');
  const told = h('p', { class: 'hint', role: 'status' });
  const more = h('button', { type: 'button', class: 'quiet', onclick: () => load(false), hidden: true }, t('Show more'));
  const search = h('input', { type: 'search', 'aria-label': t('Search by e-mail or name'), placeholder: t('Search by e-mail or name'), autofocus: true, spellcheck: 'false', maxlength: '200' });
  const role = h('input', { 'aria-label': t('Role'), placeholder: t('Role'), autocapitalize: 'none', spellcheck: 'false', maxlength: '32', class: 'short' });
  let cursor = null;
  let asked;
  let timer;

  function changed() {
    clearTimeout(timer);
    timer = setTimeout(() => load(true), PAUSE);
  }
  search.addEventListener('input', () => ((wanted.q = search.value.trim()), changed()));
  role.addEventListener('input', () => ((wanted.role = role.value.trim().toLowerCase()), changed()));
  const disabled = choice(t('State'), [['', t('all')], ['false', t('enabled')], ['true', t('disabled')]], (value) => ((wanted.disabled = value), load(true)));

  /** Loads the first page, or the next one. */
  async function load(isNew) {
    const mine = (asked = {});
    const query = new URLSearchParams(Object.entries({ ...wanted, cursor: isNew ? '' : cursor }).filter(([, value]) => value));
    try {
      const page = await ask(hallpass, 'GET', `/admin/users?${query}`);
      if (mine !== asked) return;
      const rows = page.users.map((user) => row(hallpass, user));
      if (isNew) body.replaceChildren(...rows);
      else body.append(...rows);
      cursor = page.next_cursor;
      const count = body.children.length;
      told.textContent = count === 0 ? t('No users found.') : cursor ? t('The newest {count} are shown.', { count }) : t('{count} found.', { count });
      if (!isNew) rows[0]?.querySelector('a').focus();
    } catch (error) {
      if (mine !== asked) return;
      cursor = null;
      body.replaceChildren();
      told.textContent = explain(error);
    }
    more.hidden = cursor === null;
  }

  await load(true);
  return h(
    'div',
    { class: 'wide' },
    heading(t('Users')),
    h('section', { class: 'card', 'aria-label': t('Users') }, h('div', { class: 'filters', role: 'search' }, search, role, disabled), told, table(t('Table of users'), ['E-mail', '-Name', '-Roles', 'State', '-Last sign-in'], body), more),
    addition(hallpass, () => load(true)),
  );
}

function row(hallpass, user) {
  return h(
    'tr',
    {},
    h('th', { scope: 'row' }, h('a', { href: pageOf(user.id) }, plain(user.email))),
    h('td', { class: 'spare' }, h('bdi', {}, user.name === null ? '–' : plain(user.name))),
    h('td', { class: 'spare' }, user.roles.map((name) => h('span', { class: 'badge' }, name))),
    h('td', {}, state(user)),
    h('td', { class: 'spare' }, user.last_login_at ? ago(user.last_login_at, hallpass.now()) : t('never')),
  );
}

function addition(hallpass, done) {
  const fields = [
    field({ label: t('E-mail'), name: 'email', type: 'email', autocomplete: 'off' }),
    field({ label: t('Password'), name: 'password', type: 'password', autocomplete: 'new-password', required: !look.mail, hint: look.mail && t('Leave it empty to send the user a link to choose one.') }),
    field({ label: t('Name'), name: 'name', autocomplete: 'off', required: false, maxlength: '200' }),
    field({ label: t('Roles'), name: 'roles', autocomplete: 'off', autocapitalize: 'none', required: false, hint: t('Separated by spaces.') }),
  ];
  return card(
    t('Add a user'),
    form({ fields, submit: t('Add user'), label: t('Add a user') }, async ({ email, password, name, roles }) => {
      await ask(hallpass, 'POST', '/admin/users', { email, roles: words(roles), ...(password && { password }), ...(name && { name }) });
      say(password ? t('The user was added.') : t('The user was added, and the invitation was sent.'));
      fields[0].input.value = '';
      await done();
    }),
  );
}

/** Returns the roles in a text. */
export const words = (text) => text.split(/[\s,]+/).filter(Boolean);
