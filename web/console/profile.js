// Show the user, change the name, delete the account.

import { ask } from './ask.js';
import { card, download, explain, field, form, h, heading, leaving, say, time } from './dom.js';

export async function profile(hallpass) {
  const user = await hallpass.user({ fresh: true });
  // The session has just ended; the sign-in page follows.
  if (!user) return h('div');
  const rows = [
    ['E-mail', user.email],
    ['Roles', user.roles.length > 0 ? user.roles.map((role) => h('span', { class: 'badge' }, role)) : 'none'],
    ['Member since', time(user.created_at)],
    ['Last sign-in', user.last_login_at ? time(user.last_login_at) : 'never'],
    ['ID', h('code', {}, user.id)],
  ];
  const name = field({ label: 'Name', name: 'name', autocomplete: 'name', maxlength: '200', value: user.name ?? '', 'data-keep': true });
  const proof = field({ label: 'Password', name: 'password', type: 'password', autocomplete: 'current-password' });

  async function rename({ name }) {
    await ask(hallpass, 'PATCH', '/user/', { name });
    await hallpass.user({ fresh: true });
    say('Your name was saved.');
  }

  async function save() {
    try {
      download('hallpass.json', 'application/json', JSON.stringify(await ask(hallpass, 'GET', '/user/export'), null, 2));
    } catch (error) {
      say(explain(error));
    }
  }

  return h(
    'div',
    {},
    heading('Profile', 'What this server stores about you.'),
    card('Account', h('dl', {}, rows.map(([term, value]) => h('div', {}, h('dt', {}, term), h('dd', {}, value))))),
    card('Name', form({ fields: [name], submit: 'Save', label: 'Change your name' }, rename)),
    card(
      'Your data',
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
