// Download what is stored of the user, delete the account.

import { ask } from './ask.js';
import { card, download, explain, field, form, h, heading, leaving, say } from './dom.js';

export function data(hallpass) {
  const proof = field({ label: 'Password', name: 'password', type: 'password', autocomplete: 'current-password' });

  async function save() {
    try {
      download('account.json', 'application/json', JSON.stringify(await ask(hallpass, 'GET', '/user/export'), null, 2));
    } catch (error) {
      say(explain(error));
    }
  }

  return h(
    'div',
    {},
    heading('Your data', 'Download what is stored about you, or delete your account.'),
    card(
      'Download',
      h('p', {}, 'Everything that this server stores about you: your account, your sessions and the recorded events.'),
      h('button', { type: 'button', class: 'quiet', onclick: save }, 'Download your data'),
    ),
    card(
      'Delete your account',
      h('p', {}, 'This deletes your account and ends all your sessions immediately. It cannot be undone.'),
      form({ fields: [proof], submit: 'Delete my account', danger: true, label: 'Delete your account' }, async (values) => {
        await leaving(() => hallpass.deleteUser(values));
        say('Your account was deleted.');
      }),
    ),
  );
}
