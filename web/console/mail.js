// The pages that links in mails lead to. The token is in the fragment, which no browser sends to a server. Nothing is posted
// before somebody asks for it: programs that check links open pages too.

import { back, codeField, email, entry, inSteps, orSecondStep, show } from './entry.js';
import { field, form, h, say } from './dom.js';
import { t } from './language.js';
import { meter } from './strength.js';

/** Leaves the page without a trace of its token in the history. */
function go(page) {
  location.replace(`#/${page}`);
}

export const forgot = (hallpass) =>
  inSteps((steps) =>
    entry(
      t('Forgot your password?'),
      t('A link to choose another one is sent to your address.'),
      form({ fields: [email()], submit: t('Send the link'), label: t('Forgot your password?') }, async ({ email }) => {
        await hallpass.forgotPassword({ email });
        const text = t('If there is an account for {email}, a link to choose another password is on its way.', { email });
        show(steps, entry(t(t('Look into your mail')), text, null, [back()]));
      }),
      [back()],
    ),
  );

function choose(hallpass, title, text, query) {
  const strength = meter(hallpass, () => '');
  const next = field({ label: t('New password'), name: 'new_password', type: 'password', autocomplete: 'new-password', extra: strength.element, autofocus: true });
  strength.watch(next.input);
  return entry(
    title,
    text,
    form({ fields: [next], submit: t('Save'), label: title }, async ({ new_password }) => {
      await hallpass.resetPassword({ token: query.get('token'), new_password });
      go('sign-in');
      say(t('Your password was saved. Sign in with it.'));
    }),
    [back()],
  );
}

export const reset = (hallpass, user, id, query) =>
  choose(hallpass, t('Choose a password'), t('All your sessions end when you save it.'), query);

export const invite = (hallpass, user, id, query) =>
  choose(hallpass, t('Welcome'), t('Choose a password for your new account.'), query);

/** A page with one button, which posts the token. */
function button(title, text, submit, query, post) {
  return entry(title, text, form({ fields: [], submit, label: title }, () => post({ token: query.get('token') })), []);
}

export const verify = (hallpass, user, id, query) =>
  button(t('Verify your address'), t('This confirms that mails to this address reach you.'), t('Verify'), query, async (link) => {
    await hallpass.verifyEmail(link);
    go('profile');
    say(t('Your address is verified.'));
  });

export const change = (hallpass, user, id, query) =>
  button(t('Change your address'), t('From now on you sign in with this address.'), t('Change'), query, async (link) => {
    await hallpass.confirmEmail(link);
    go('profile');
    say(t('Your address was changed. The old one gets a link that takes it back.'));
  });

export const undo = (hallpass, user, id, query) =>
  button(
    t('Take the change back'),
    t('Your account has its old address again. All sessions end, and you get a link to choose another password.'),
    t('Take it back'),
    query,
    async (link) => {
      await hallpass.undoEmailChange(link);
      go('sign-in');
      say(t('The change was taken back. Look into your mail for a link to choose another password.'));
    },
  );

export const link = (hallpass, user, id, query) =>
  inSteps((steps) => {
    if (query.has('token')) {
      return button(t('Sign in'), t('with the link from your mail'), t('Sign in'), query, async (link) => {
        await orSecondStep(hallpass, steps, hallpass.signInByLink(link));
        if (hallpass.current()) go('profile');
      });
    }
    return entry(
      t('Sign in by mail'),
      t('A link and a code are sent to your address.'),
      form({ fields: [email()], submit: t('Send'), label: t('Sign in by mail') }, async ({ email }) => {
        await hallpass.askForLink({ email });
        show(steps, typed(hallpass, steps, email));
      }),
      [back()],
    );
  });

function typed(hallpass, steps, email) {
  return entry(
    t('Look into your mail'),
    t('If there is an account for {email}, a link and a code are on their way. Open the link in this browser, or type the code.', { email }),
    form({ fields: [codeField()], submit: t('Sign in'), label: t('Sign in with the code') }, async ({ code }) => {
      await orSecondStep(hallpass, steps, hallpass.signInByLink({ email, code }));
      if (hallpass.current()) go('profile');
    }),
    [back()],
  );
}
