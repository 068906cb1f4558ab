// The overview: charts of sign-ins, failures, refreshes and added users, and the totals.

import { choice } from './admin.js';
import { ask } from './ask.js';
import { chart } from './chart.js';
import { explain, h, heading } from './dom.js';
import { format, number, t } from './language.js';

const DAY = 86_400_000;
const RANGES = { '24 hours': [DAY, 'hour'], '30 days': [30 * DAY, 'day'], 'a year': [365 * DAY, 'day'] };
const SERIES = { sign_ins: 'Sign-ins', sign_ins_failed: 'Failed sign-ins', refreshes: 'Refreshes', registrations: 'Users added' };
const TOTALS = { users: 'users', users_disabled: 'disabled', sessions: 'sessions', second_factors: 'second factors' };
const FORMATS = { hour: { dateStyle: 'short', timeStyle: 'short' }, day: { dateStyle: 'medium', timeZone: 'UTC' } };

export async function overview(hallpass) {
  const totals = h('ul', { class: 'totals' });
  const charts = h('div', { class: 'charts' });
  const problem = h('p', { class: 'alert', role: 'alert', hidden: true });
  let asked;

  async function load(range) {
    const mine = (asked = {});
    const [length, step] = RANGES[range];
    const since = new Date(hallpass.now() - length).toISOString();
    const stats = await ask(hallpass, 'GET', `/admin/stats?${new URLSearchParams({ since, step })}`);
    if (mine !== asked) return;
    const written = (at) => format(Intl.DateTimeFormat, FORMATS[step]).format(new Date(at));
    totals.replaceChildren(...Object.entries(TOTALS).map(([name, text]) => h('li', {}, h('strong', {}, number(stats.totals[name])), ` ${t(text)}`)));
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
  return h('div', { class: 'wide' }, heading(t('Overview')), totals, h('div', { class: 'filters' }, choice(t('Time'), Object.keys(RANGES).map((name) => [name, t(name)]), change)), problem, charts);
}
