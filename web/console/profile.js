// Show the user, change the name and the address.

import { ask } from './ask.js';
import { card, field, form, h, heading, say, time } from './dom.js';
import { look } from './look.js';

export async function profile(hallpass) {
  const user = await hallpass.user({ fresh: true });
  // The session has just ended; the sign-in page follows.
  if (!user) return h('div');
  const rows = [
    ['E-mail', [user.email, !user.email_verified && h('span', { class: 'badge' }, 'not verified')]],
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
    look.mail && !user.email_verified && verification(hallpass),
    card('Name', form({ fields: [name], submit: 'Save', label: 'Change your name' }, rename)),
    look.mail && address(hallpass),
  );
}

/** The card of a user whose address is not verified. */
function verification(hallpass) {
  const text = h('p', {}, 'A link to verify your address was sent to it.');
  return card('Verify your address', text, form({ fields: [], submit: 'Send another link', label: 'Verify your address' }, async () => {
    await hallpass.resendVerification();
    say('Another link is on its way.');
  }));
}

/** The card to change the address. */
function address(hallpass) {
  const email = field({ label: 'New address', name: 'email', type: 'email', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' });
  const proof = field({ label: 'Password', name: 'password', type: 'password', autocomplete: 'current-password' });
  return card(
    'E-mail address',
    h('p', {}, 'A link is sent to the new address. Nothing changes before you use it.'),
    form({ fields: [email, proof], submit: 'Send the link', label: 'Change your address' }, async (values) => {
      await hallpass.changeEmail(values);
      say(`A link was sent to ${values.email}.`);
    }),
  );
}
