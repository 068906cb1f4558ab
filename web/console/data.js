// Download what is stored of the user, delete the account.

import { ask } from './ask.js';
import { card, download, explain, field, form, h, heading, leaving, say } from './dom.js';
import { t } from './language.js';

export function data(hallpass) {
  const proof = field({ label: t('Password'), name: 'password', type: 'password', autocomplete: 'current-password' });

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
    heading(t('Your data'), t('Download what is stored about you, or delete your account.')),
    card(
      t('Download'),
      h('p', {}, t('Everything that this server stores about you: your account, your sessions and the recorded events.')),
      h('button', { type: 'button', class: 'quiet', onclick: save }, t('Download your data')),
    ),
    card(
      t('Delete your account'),
      h('p', {}, t('This deletes your account and ends all your sessions immediately. It cannot be undone.')),
      form({ fields: [proof], submit: t('Delete my account'), danger: true, label: t('Delete your account') }, async (values) => {
        await leaving(() => hallpass.deleteUser(values));
        say(t('Your account was deleted.'));
      }),
    ),
  );
}
