// How good the password that is being typed would be. The server judges, by the rules that it will apply.

import { ask } from './ask.js';
import { h } from './dom.js';

const WORDS = ['very weak', 'weak', 'fair', 'good', 'strong'];
/** How long typing must pause before the server is asked, ms. */
const PAUSE_MS = 250;

/** A meter for a password; `email` gives the address that it is for. */
export function meter(hallpass, email) {
  const bar = h('div', { class: 'strength-bar', 'aria-hidden': 'true' }, WORDS.slice(1).map(() => h('span')));
  const text = h('p', { class: 'hint', role: 'status' }, 'Several unrelated words make a strong password.');
  const element = h('div', { class: 'strength' }, bar, text);
  let timer;
  let latest;

  async function judge(password) {
    const mine = (latest = Symbol('the latest request'));
    try {
      const { score, reason, advice } = await ask(hallpass, 'POST', '/auth/password-strength', { password, email: email() });
      // An answer to what was typed before says nothing any more.
      if (mine === latest) show(reason ? Math.min(score, 1) : score, reason ? `It ${reason}.` : advice.join(' '));
    } catch {
      if (mine === latest) show(null, '');
    }
  }

  function show(score, advice) {
    element.dataset.score = score ?? '';
    text.textContent = score === null ? '' : `This is ${WORDS[score]}. ${advice}`;
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
