// Change the password.

import { card, field, form, h, heading, say } from './dom.js';
import { t } from './language.js';
import { meter } from './strength.js';

export function password(hallpass, user) {
  const strength = meter(hallpass, () => user.email);
  const current = field({ label: t('Current password'), name: 'current_password', type: 'password', autocomplete: 'current-password' });
  const next = field({ label: t('New password'), name: 'new_password', type: 'password', autocomplete: 'new-password', extra: strength.element });
  strength.watch(next.input);
  // Tells password managers whose password this is.
  const who = h('input', { type: 'email', autocomplete: 'username', value: user.email, hidden: true, tabindex: '-1', 'aria-hidden': 'true' });
  const change = form({ fields: [current, next], submit: t('Change password'), label: t('Change your password') }, async (values) => {
    await hallpass.changePassword(values);
    say(t('Your password was changed. All other sessions have ended.'));
  });
  change.prepend(who);
  return h('div', {}, heading(t('Password'), t('Changing your password signs you out everywhere else.')), card(t('Change your password'), change));
}
