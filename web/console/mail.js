// The pages that links in mails lead to. The token is in the fragment, which no browser sends to a server. Nothing is posted
// before somebody asks for it: programs that check links open pages too.

import { back, codeField, email, entry, inSteps, orSecondStep, show } from './entry.js';
import { field, form, h, say } from './dom.js';
import { meter } from './strength.js';

/** Leaves the page without a trace of its token in the history. */
function go(page) {
  location.replace(`#/${page}`);
}

const sent = (address, text) => entry('Look into your mail', `If there is an account for ${address}, ${text}`, null, [back()]);

export const forgot = (hallpass) =>
  inSteps((steps) =>
    entry(
      'Forgot your password?',
      'A link to choose another one is sent to your address.',
      form({ fields: [email()], submit: 'Send the link', label: 'Forgot your password?' }, async ({ email }) => {
        await hallpass.forgotPassword({ email });
        show(steps, sent(email, 'a link to choose another password is on its way.'));
      }),
      [back()],
    ),
  );

function choose(hallpass, title, text, query) {
  const strength = meter(hallpass, () => '');
  const next = field({ label: 'New password', name: 'new_password', type: 'password', autocomplete: 'new-password', extra: strength.element, autofocus: true });
  strength.watch(next.input);
  return entry(
    title,
    text,
    form({ fields: [next], submit: 'Save', label: title }, async ({ new_password }) => {
      await hallpass.resetPassword({ token: query.get('token'), new_password });
      go('sign-in');
      say('Your password was saved. Sign in with it.');
    }),
    [back()],
  );
}

export const reset = (hallpass, user, id, query) =>
  choose(hallpass, 'Choose a password', 'All your sessions end when you save it.', query);

export const invite = (hallpass, user, id, query) =>
  choose(hallpass, 'Welcome', 'Choose a password for your new account.', query);

/** A page with one button, which posts the token. */
function button(title, text, submit, query, post) {
  return entry(title, text, form({ fields: [], submit, label: title }, () => post({ token: query.get('token') })), []);
}

export const verify = (hallpass, user, id, query) =>
  button('Verify your address', 'This confirms that mails to this address reach you.', 'Verify', query, async (link) => {
    await hallpass.verifyEmail(link);
    go('profile');
    say('Your address is verified.');
  });

export const change = (hallpass, user, id, query) =>
  button('Change your address', 'From now on you sign in with this address.', 'Change', query, async (link) => {
    await hallpass.confirmEmail(link);
    go('profile');
    say('Your address was changed. The old one gets a link that takes it back.');
  });

export const undo = (hallpass, user, id, query) =>
  button(
    'Take the change back',
    'Your old address is your account\'s again. All sessions end, and you get a link to choose another password.',
    'Take it back',
    query,
    async (link) => {
      await hallpass.undoEmailChange(link);
      go('sign-in');
      say('The change was taken back. Look into your mail for a link to choose another password.');
    },
  );

export const link = (hallpass, user, id, query) =>
  inSteps((steps) => {
    if (query.has('token')) {
      return button('Sign in', 'with the link from your mail', 'Sign in', query, async (link) => {
        await orSecondStep(hallpass, steps, hallpass.signInByLink(link));
        if (hallpass.current()) go('profile');
      });
    }
    return entry(
      'Sign in by mail',
      'A link and a code are sent to your address.',
      form({ fields: [email()], submit: 'Send', label: 'Sign in by mail' }, async ({ email }) => {
        await hallpass.askForLink({ email });
        show(steps, typed(hallpass, steps, email));
      }),
      [back()],
    );
  });

function typed(hallpass, steps, email) {
  return entry(
    'Look into your mail',
    `If there is an account for ${email}, a link and a code are on their way. Open the link in this browser, or type the code.`,
    form({ fields: [codeField()], submit: 'Sign in', label: 'Sign in with the code' }, async ({ code }) => {
      await orSecondStep(hallpass, steps, hallpass.signInByLink({ email, code }));
      if (hallpass.current()) go('profile');
    }),
    [back()],
  );
}
