// Show the user, change the name.

import { ask } from './ask.js';
import { card, field, form, h, heading, say, time } from './dom.js';

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

  async function rename({ name }) {
    await ask(hallpass, 'PATCH', '/user/', { name });
    await hallpass.user({ fresh: true });
    say('Your name was saved.');
  }

  return h(
    'div',
    {},
    heading('Profile', 'What this server stores about you.'),
    card('Account', h('dl', {}, rows.map(([term, value]) => h('div', {}, h('dt', {}, term), h('dd', {}, value))))),
    card('Name', form({ fields: [name], submit: 'Save', label: 'Change your name' }, rename)),
  );
}
