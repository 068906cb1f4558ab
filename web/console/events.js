// All events: filters, follow, export.

import { KINDS, choice, pageOf, plain, table } from './admin.js';
import { ask } from './ask.js';
import { ago, download, explain, h, heading, say } from './dom.js';
import { t } from './language.js';

/** How often to look for new events, ms. */
const FOLLOW = 2000;

/** The most events of an export. */
const MOST = 10_000;

const TIMES = [['', 'any time'], [3600, 'the last hour'], [86_400, 'the last 24 hours'], [604_800, 'the last 7 days']];

export async function events(hallpass, me, id, query) {
  const user = query.get('user');
  const wanted = { kind: '', age: '' };
  const told = h('p', { class: 'hint', role: 'status' });
  const more = h('button', { type: 'button', class: 'quiet', hidden: true, onclick: () => load(false) }, t('Show more'));
  const list = h('tbody');
  const follow = h('input', { type: 'checkbox', onchange: again });
  let cursor = null;
  let newest = 0;
  let asked;

  const parameters = (more) => {
    const since = wanted.age && new Date(hallpass.now() - wanted.age * 1000).toISOString();
    return new URLSearchParams(Object.entries({ user, kind: wanted.kind, since, ...more }).filter(([, value]) => value));
  };

  async function load(isNew) {
    const mine = (asked = {});
    try {
      const page = await ask(hallpass, 'GET', `/admin/events?${parameters({ cursor: isNew ? '' : cursor })}`);
      if (mine !== asked) return;
      const added = rows(hallpass, page.events, !user).children;
      if (isNew) list.replaceChildren(...added);
      else list.append(...added);
      cursor = page.next_cursor;
      if (isNew) newest = page.events[0]?.id ?? 0;
      told.textContent = list.children.length === 0 ? t('No events.') : '';
    } catch (error) {
      if (mine !== asked) return;
      told.textContent = explain(error);
    }
    more.hidden = cursor === null;
  }

  /** Adds what is new at the top, for as long as the page is shown and the box is ticked. */
  async function again() {
    if (!follow.checked || !follow.isConnected) return;
    try {
      const page = await ask(hallpass, 'GET', `/admin/events?${parameters({ limit: 200 })}`);
      const fresh = page.events.filter((event) => event.id > newest);
      list.prepend(...rows(hallpass, fresh, !user).children);
      newest = fresh[0]?.id ?? newest;
    } catch (error) {
      told.textContent = explain(error);
    }
    setTimeout(again, FOLLOW);
  }

  async function all() {
    const found = [];
    let next = '';
    do {
      const page = await ask(hallpass, 'GET', `/admin/events?${parameters({ limit: 200, cursor: next })}`);
      found.push(...page.events);
      next = page.next_cursor;
    } while (next && found.length < MOST);
    if (next) say(t('The newest {count} events were saved.', { count: MOST }));
    return found;
  }

  const save = (name, type, write) =>
    h('button', { type: 'button', class: 'quiet', onclick: () => all().then((found) => download(name, type, write(found)), (error) => say(explain(error))) }, t('Save as {format}', { format: name.endsWith('.csv') ? 'CSV' : 'JSON lines' }));

  await load(true);
  return h(
    'div',
    { class: 'wide' },
    heading(t('Events'), user && h('a', { href: pageOf(user) }, t('of one user'))),
    h(
      'section',
      { class: 'card', 'aria-label': t('Events') },
      h(
        'div',
        { class: 'filters' },
        choice(t('Kind'), [['', t('all')], ...Object.keys(KINDS).map((kind) => [kind, kind])], (value) => ((wanted.kind = value), load(true))),
        choice(t('Time'), TIMES.map(([age, text]) => [age, t(text)]), (value) => ((wanted.age = value), load(true))),
        h('label', { class: 'choice' }, follow, t('Follow')),
      ),
      told,
      table(t('Table of events'), ['Time', 'Event', ...(user ? [] : ['User']), '-Address', '-By'], list),
      more,
      h('div', { class: 'actions' }, save('events.csv', 'text/csv', csv), save('events.jsonl', 'application/jsonl', (found) => found.map((event) => JSON.stringify(event) + '\n').join(''))),
    ),
  );
}

/** Returns the rows of a table of events. */
export function rows(hallpass, events, withUser) {
  return h(
    'tbody',
    {},
    events.map((event) => {
      const change = 'to' in event.details ? `: ${said(event.details.from)} → ${said(event.details.to)}` : '';
      const who = event.user_id && h('a', { href: pageOf(event.user_id) }, plain(event.email ?? event.user_id.slice(-12)));
      return h(
        'tr',
        { class: event.kind === 'sign_in_failed' && 'failed' },
        h('td', {}, ago(event.at, hallpass.now())),
        h('th', { scope: 'row', title: plain(t(KINDS[event.kind] ?? event.kind)) }, plain(event.kind + change)),
        withUser && h('td', {}, who || '–'),
        h('td', { class: 'spare' }, event.ip ?? '–'),
        h('td', { class: 'spare' }, event.by ? h('a', { href: pageOf(event.by) }, t('an admin')) : '–'),
      );
    }),
  );
}

const said = (value) => (Array.isArray(value) ? value.join(' ') || t('none') : String(value ?? t('none')));

const COLUMNS = ['id', 'at', 'kind', 'user_id', 'email', 'session_id', 'ip', 'request_id', 'by', 'details'];

/** Writes events as CSV (RFC 4180). A cell that a spreadsheet would run gets an apostrophe. */
function csv(found) {
  const cell = (value) => {
    const text = value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);
    return `"${text.replace(/^[=+\-@\t\r]/, "'$&").replaceAll('"', '""')}"`;
  };
  return [COLUMNS, ...found.map((event) => COLUMNS.map((name) => event[name]))].map((line) => line.map(cell).join(',') + '\r\n').join('');
}
