// Shows the strength of a password while it is typed. The server estimates it, by the rules that it applies later.

import { ask } from './ask.js';
import { h } from './dom.js';
import { t, told } from './language.js';

const WORDS = ['very weak', 'weak', 'fair', 'good', 'strong'];
/** The pause in typing after which the server is asked, ms. */
const PAUSE_MS = 250;

/** Creates the meter. `email` returns the address of the account. */
export function meter(hallpass, email) {
  const bar = h('div', { class: 'strength-bar', 'aria-hidden': 'true' }, WORDS.slice(1).map(() => h('span')));
  const text = h('p', { class: 'hint', role: 'status' }, t('Several unrelated words make a strong password.'));
  const element = h('div', { class: 'strength' }, bar, text);
  let timer;
  let latest;

  async function judge(password) {
    const mine = (latest = Symbol('the latest request'));
    try {
      const { score, reason, advice } = await ask(hallpass, 'POST', '/auth/password-strength', { password, email: email() });
      // An answer to an earlier text is ignored.
      if (mine === latest) show(reason ? Math.min(score, 1) : score, reason ? t('It {reason}.', { reason: told(reason) }) : told(advice.join(' ')));
    } catch {
      if (mine === latest) show(null, '');
    }
  }

  function show(score, advice) {
    element.dataset.score = score ?? '';
    text.textContent = score === null ? '' : `${t('This is {word}.', { word: t(WORDS[score]) })} ${advice}`;
  }

  return {
    element,
    watch(input) {
      input.addEventListener('input', () => {
        clearTimeout(timer);
        latest = null;
        if (input.value === '') return show(null, '');
        timer = setTimeout(() => judge(input.value), PAUSE_MS);
      });
    },
  };
}
