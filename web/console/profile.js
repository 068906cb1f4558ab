// Show the user, change the name and the address.

import { ask } from './ask.js';
import { card, field, form, h, heading, say, time } from './dom.js';
import { t } from './language.js';
import { look } from './look.js';

export async function profile(hallpass) {
  const user = await hallpass.user({ fresh: true });
  // The session has just ended; the sign-in page follows.
  if (!user) return h('div');
  const rows = [
    [t('E-mail'), [h('span', {}, user.email), !user.email_verified && h('span', { class: 'badge' }, t('not verified'))]],
    [t('Roles'), user.roles.length > 0 ? user.roles.map((role) => h('span', { class: 'badge' }, role)) : t('none')],
    [t('Member since'), time(user.created_at)],
    [t('Last sign-in'), user.last_login_at ? time(user.last_login_at) : t('never')],
    [t('ID'), h('code', {}, user.id)],
  ];
  const name = field({ label: t('Name'), name: 'name', autocomplete: 'name', maxlength: '200', value: user.name ?? '', 'data-keep': true });

  async function rename({ name }) {
    await ask(hallpass, 'PATCH', '/user/', { name });
    await hallpass.user({ fresh: true });
    say(t('Your name was saved.'));
  }

  return h(
    'div',
    {},
    heading(t('Profile'), t('What this server stores about you.')),
    card(t('Account'), h('dl', {}, rows.map(([term, value]) => h('div', {}, h('dt', {}, term), h('dd', {}, value))))),
    look.mail && !user.email_verified && verification(hallpass),
    card(t('Name'), form({ fields: [name], submit: t('Save'), label: t('Change your name') }, rename)),
    look.mail && address(hallpass),
  );
}

/** The card of a user whose address is not verified. */
function verification(hallpass) {
  const text = h('p', {}, t('A link to verify your address was sent to it.'));
  return card(t('Verify your address'), text, form({ fields: [], submit: t('Send another link'), label: t('Verify your address') }, async () => {
    await hallpass.resendVerification();
    say(t('Another link is on its way.'));
  }));
}

/** The card to change the address. */
function address(hallpass) {
  const email = field({ label: t('New address'), name: 'email', type: 'email', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' });
  const proof = field({ label: t('Password'), name: 'password', type: 'password', autocomplete: 'current-password' });
  return card(
    t('E-mail address'),
    h('p', {}, t('A link is sent to the new address. Nothing changes before you use it.')),
    form({ fields: [email, proof], submit: t('Send the link'), label: t('Change your address') }, async (values) => {
      await hallpass.changeEmail(values);
      say(t('A link was sent to {email}.', { email: values.email }));
    }),
  );
}
