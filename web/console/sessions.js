// List the sessions, and end them.

import { ask } from './ask.js';
import { ago, card, explain, h, heading, leaving, say, time } from './dom.js';
import { t } from './language.js';

export async function sessions(hallpass) {
  const all = await ask(hallpass, 'GET', '/user/sessions');
  const list = h('ul', { class: 'sessions' }, all.map((session) => row(hallpass, session)));
  const everywhere = h('button', { type: 'button', class: 'danger', onclick: () => attempt(() => leaving(() => hallpass.signOut({ everywhere: true })), t('You are signed out everywhere.')) }, t('Sign out everywhere'));
  return h('div', {}, heading(t('Sessions'), t('Where you are signed in.')), card(t('Active sessions'), list), card(t('All sessions'), h('p', {}, t('Ends every session, including this one.')), everywhere));
}

function row(hallpass, { id, user_agent: agent, ip, created_at: created, last_seen_at: seen, expires_at: expires, current }) {
  const device = nameOf(agent);
  const action = current ? t('Sign out') : t('End session');
  const end = h('button', { type: 'button', class: 'quiet', 'aria-label': `${action}: ${device}`, onclick: () => attempt(leave, t('That session has ended.')) }, action);
  const element = h(
    'li',
    {},
    h(
      'div',
      {},
      h('p', { class: 'device', title: agent }, device, current && h('span', { class: 'badge' }, t('this session'))),
      h('p', { class: 'hint' }, ip ?? t('address unknown'), ' · ', t('seen'), ' ', ago(seen, hallpass.now()), ' · ', t('since'), ' ', time(created), ' · ', t('until'), ' ', time(expires)),
    ),
    end,
  );

  async function leave() {
    if (current) return leaving(() => hallpass.signOut());
    // A 404 means that the session has ended already.
    await ask(hallpass, 'DELETE', `/user/sessions/${id}`).catch((error) => {
      if (error.status !== 404) throw error;
    });
    // Keyboard users continue at the next entry of the list.
    const next = (element.nextElementSibling ?? element.previousElementSibling)?.querySelector('button');
    element.remove();
    next?.focus();
  }

  return element;
}

async function attempt(action, done) {
  try {
    await action();
    say(done);
  } catch (error) {
    say(explain(error));
  }
}

const BROWSERS = [['Edge', /Edg\//], ['Opera', /OPR\//], ['Firefox', /Firefox\//], ['Chrome', /Chrome\//], ['Safari', /Safari\//], ['curl', /^curl\//], ['Postman', /Postman/]];
const SYSTEMS = [['iPhone', /iPhone/], ['iPad', /iPad/], ['Android', /Android/], ['Windows', /Windows/], ['macOS', /Mac OS X/], ['Linux', /Linux/]];

/** Returns a readable name of a device, or else the beginning of its User-Agent. */
function nameOf(agent) {
  if (!agent) return t('Unknown device');
  const known = (table) => table.find(([, pattern]) => pattern.test(agent))?.[0];
  const [browser, system] = [known(BROWSERS), known(SYSTEMS)];
  if (!browser) return agent.slice(0, 60);
  return system ? t('{browser} on {system}', { browser, system }) : browser;
}
