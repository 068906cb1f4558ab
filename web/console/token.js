// The access token: what it says, and how long it lives.

import { card, h, heading, say, time } from './dom.js';

const MEANINGS = {
  iss: 'who issued it',
  aud: 'whom it is for',
  sub: 'your id',
  email: 'your address',
  roles: 'your roles when it was issued',
  iat: 'issued',
  nbf: 'not good before',
  exp: 'good until',
  jti: 'its own id',
  sid: 'the session',
};
const TIMES = ['iat', 'nbf', 'exp'];

export async function token(hallpass) {
  await hallpass.token();
  const body = h('tbody');
  const left = h('p', { class: 'left', role: 'timer', 'aria-live': 'off' });
  const life = h('progress', { max: '1', 'aria-label': 'Life that is left' });
  const element = h(
    'div',
    {},
    heading('Your token', 'What this page sends with each request. It is in the memory of this page and nowhere else.'),
    card('Time left', left, life, h('p', { class: 'hint' }, 'When it is about to end, the next request renews it.')),
    card(
      'Claims',
      h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Table of the claims' }, h('table', {}, h('thead', {}, h('tr', {}, ['Claim', 'Meaning', 'Value'].map((name) => h('th', { scope: 'col' }, name)))), body)),
    ),
    card(
      'Use it elsewhere',
      h('p', {}, 'In curl or Postman, as ', h('code', {}, 'Authorization: Bearer …'), '. Whoever has it is you until it ends.'),
      h('button', { type: 'button', class: 'quiet', onclick: copy }, 'Copy the token'),
    ),
  );

  async function copy() {
    try {
      const token = await hallpass.token();
      if (token === null) return;
      await navigator.clipboard.writeText(token);
      say('The token was copied.');
    } catch {
      say('The browser does not allow copying here.');
    }
  }

  let shown;

  function tick() {
    const claims = hallpass.claims();
    if (!claims) return clearInterval(timer);
    if (claims.jti !== shown) {
      shown = claims.jti;
      const value = (name) => (TIMES.includes(name) ? time(claims[name] * 1000) : h('code', {}, [claims[name]].flat().join(', ') || 'none'));
      body.replaceChildren(...Object.keys(claims).map((name) => h('tr', {}, h('th', { scope: 'row' }, h('code', {}, name)), h('td', {}, MEANINGS[name] ?? ''), h('td', {}, value(name)))));
    }
    const seconds = Math.max(0, Math.round(claims.exp - hallpass.now() / 1000));
    left.textContent = seconds > 0 ? `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s` : 'It has ended; the next request brings another.';
    life.value = seconds / (claims.exp - claims.iat);
    // Another page has taken its place, or came first. The first tick is before it is shown.
    if (ticks++ > 0 && !element.isConnected) clearInterval(timer);
  }

  let ticks = 0;
  const timer = setInterval(tick, 1000);
  tick();
  return element;
}
