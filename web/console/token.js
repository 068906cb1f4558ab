// Show the access token: its claims and the time left.

import { card, h, heading, say, time } from './dom.js';
import { t } from './language.js';

const MEANINGS = {
  iss: 'issuer',
  aud: 'audience',
  sub: 'your user ID',
  email: 'your e-mail',
  roles: 'your roles when it was issued',
  iat: 'issued at',
  nbf: 'not valid before',
  exp: 'expires at',
  jti: 'token ID',
  sid: 'session ID',
  auth_time: 'when you last proved your identity',
  amr: 'how you signed in',
};
const TIMES = ['iat', 'nbf', 'exp', 'auth_time'];

export async function token(hallpass) {
  await hallpass.token();
  const body = h('tbody');
  const left = h('p', { class: 'left', role: 'timer', 'aria-live': 'off' });
  const life = h('progress', { max: '1', 'aria-label': t('Time left') });
  const element = h(
    'div',
    {},
    heading(t('Your token'), t('This page sends the token with each request. It is stored in the memory of this page only.')),
    card(t('Time left'), left, life, h('p', { class: 'hint' }, t('When the token is about to expire, the next request renews it.'))),
    card(
      t('Claims'),
      h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('Table of claims') }, h('table', {}, h('thead', {}, h('tr', {}, ['Claim', 'Meaning', 'Value'].map((name) => h('th', { scope: 'col' }, t(name))))), body)),
    ),
    card(
      t('Use it elsewhere'),
      h('p', {}, t('Send it from curl or Postman as'), ' ', h('code', {}, 'Authorization: Bearer …'), '. ', t('Anybody who has the token can act as you until it expires.')),
      h('button', { type: 'button', class: 'quiet', onclick: copy }, t('Copy token')),
    ),
  );

  async function copy() {
    try {
      const token = await hallpass.token();
      if (token === null) return;
      await navigator.clipboard.writeText(token);
      say(t('The token was copied.'));
    } catch {
      say(t('The browser does not allow copying here.'));
    }
  }

  let shown;

  function tick() {
    const claims = hallpass.claims();
    if (!claims) return clearInterval(timer);
    if (claims.jti !== shown) {
      shown = claims.jti;
      const value = (name) => (TIMES.includes(name) ? time(claims[name] * 1000) : h('code', {}, [claims[name]].flat().join(', ') || t('none')));
      body.replaceChildren(...Object.keys(claims).map((name) => h('tr', {}, h('th', { scope: 'row' }, h('code', {}, name)), h('td', {}, t(MEANINGS[name] ?? '')), h('td', {}, value(name)))));
    }
    const seconds = Math.max(0, Math.round(claims.exp - hallpass.now() / 1000));
    left.textContent = seconds > 0 ? t('{minutes} min {seconds} s', { minutes: Math.floor(seconds / 60), seconds: String(seconds % 60).padStart(2, '0') }) : t('Expired. The next request gets a new one.');
    life.value = seconds / (claims.exp - claims.iat);
    // Stops when another page is shown. At the first tick this page is not shown yet.
    if (ticks++ > 0 && !element.isConnected) clearInterval(timer);
  }

  let ticks = 0;
  const timer = setInterval(tick, 1000);
  tick();
  return element;
}
