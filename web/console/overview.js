// The overview: charts of sign-ins, failures, refreshes and added users, the totals, and the state of the server that answers.

import { choice } from './admin.js';
import { ask } from './ask.js';
import { chart } from './chart.js';
import { card, explain, h, heading } from './dom.js';
import { format, number, t } from './language.js';

const DAY = 86_400_000;
const RANGES = { '24 hours': [DAY, 'hour'], '30 days': [30 * DAY, 'day'], 'a year': [365 * DAY, 'day'] };
const SERIES = { sign_ins: 'Sign-ins', sign_ins_failed: 'Failed sign-ins', refreshes: 'Refreshes', registrations: 'Users added' };
const TOTALS = { users: 'users', users_disabled: 'disabled', sessions: 'sessions', second_factors: 'second factors' };
const FIGURES = { passwords_waiting: 'passwords waiting', passwords_shed: 'passwords turned away', delayed: 'requests delayed', signing_keys: 'signing keys' };
const FORMATS = { hour: { dateStyle: 'short', timeStyle: 'short' }, day: { dateStyle: 'medium', timeZone: 'UTC' } };

const figure = (value, text) => h('li', {}, h('strong', {}, value), ` ${text}`);

/** Shows how long the newest signing key has been in use. */
function age({ signing_key_age_s: seconds }) {
  const [unit, size] = seconds < 2 * 3600 ? ['minute', 60] : seconds < 2 * 86_400 ? ['hour', 3600] : ['day', 86_400];
  const text = format(Intl.NumberFormat, { style: 'unit', unit, unitDisplay: 'long' }).format(Math.floor((seconds ?? 0) / size));
  return figure(seconds === null ? '–' : h('time', { datetime: `PT${seconds}S` }, text), t('age of the newest key'));
}

export async function overview(hallpass) {
  const totals = h('ul', { class: 'totals' });
  const charts = h('div', { class: 'charts' });
  const server = h('ul', { class: 'totals' });
  const problem = h('p', { class: 'alert', role: 'alert', hidden: true });
  let asked;

  async function load(range) {
    const mine = (asked = {});
    const [length, step] = RANGES[range];
    const since = new Date(hallpass.now() - length).toISOString();
    const stats = await ask(hallpass, 'GET', `/admin/stats?${new URLSearchParams({ since, step })}`);
    if (mine !== asked) return;
    const written = (at) => format(Intl.DateTimeFormat, FORMATS[step]).format(new Date(at));
    totals.replaceChildren(...Object.entries(TOTALS).map(([name, text]) => figure(number(stats.totals[name]), t(text))));
    server.replaceChildren(...Object.entries(FIGURES).map(([name, text]) => figure(number(stats.server[name]), t(text))), age(stats.server));
    charts.replaceChildren(...Object.entries(SERIES).map(([name, title]) => chart(t(title), stats.series[name], written)));
  }

  function change(range) {
    problem.hidden = true;
    load(range).catch((error) => {
      problem.textContent = explain(error);
      problem.hidden = false;
    });
  }

  await load('24 hours');
  return h('div', { class: 'wide' }, heading(t('Overview')), totals, h('div', { class: 'filters' }, choice(t('Time'), Object.keys(RANGES).map((name) => [name, t(name)]), change)), problem, charts, card(t('This server'), server, h('p', { class: 'hint' }, t('Counted since this server started. Passwords wait for their turn to be hashed; those that found no place were turned away.'))));
}
