// Second factors: the authenticator app, passkeys and the recovery codes.

import { ask } from './ask.js';
import { card, download, explain, field, form, h, heading, say, time } from './dom.js';
import { codeField, explainPasskey, hasPasskeys } from './entry.js';

/** How long ago a sign-in may be for a change, s. The server has the last word (`second_factor.fresh_s`). */
const FRESH = 600;

const passwordField = () => field({ label: 'Password', name: 'password', type: 'password', autocomplete: 'current-password' });

export async function security(hallpass) {
  const page = h('div');
  await show();
  return page;

  async function show() {
    const user = await hallpass.user({ fresh: true });
    if (!user) return;
    const { auth_time: at = 0, amr = [] } = hallpass.claims();
    const has = user.second_factors;
    const isFresh = hallpass.now() / 1000 - at < FRESH && (has.length === 0 || amr.includes('mfa'));
    const keys = await ask(hallpass, 'GET', '/user/passkeys');
    page.replaceChildren(
      heading('Security', 'A second factor protects your account from whoever knows your password.'),
      ...(isFresh ? [app(has), passkeys(keys), has.length > 0 && recovery()].filter(Boolean) : [confirmation(user)]),
    );
  }

  /** Asks for a sign-in, as changes need one that is not old. */
  function confirmation(user) {
    const section = card('Confirm that it is you', h('p', {}, 'To change your second factors, sign in again.'));
    const first = form({ fields: [passwordField()], submit: 'Continue', label: 'Sign in again' }, async ({ password }) => {
      const { next, methods } = await hallpass.signIn({ email: user.email, password });
      if (!next) return show();
      if (methods.includes('passkey') && hasPasskeys()) {
        await hallpass.secondFactor({ passkey: true });
        return show();
      }
      const usesApp = methods.includes('totp');
      const code = usesApp ? codeField() : field({ label: 'Recovery code', name: 'code', autocomplete: 'off', autofocus: true });
      const second = form({ fields: [code], submit: 'Continue', label: 'Second step' }, async ({ code }) => {
        await hallpass.secondFactor(usesApp ? { code } : { recovery_code: code });
        await show();
      });
      first.replaceWith(second);
      code.input.focus();
    });
    section.append(first);
    return section;
  }

  function app(has) {
    if (has.includes('totp')) {
      return card(
        'Authenticator app',
        h('p', {}, 'Your app is asked for a code at each sign-in.'),
        form({ fields: [passwordField()], submit: 'Remove the app', danger: true, label: 'Remove the app' }, async (values) => {
          await ask(hallpass, 'DELETE', '/user/totp', values);
          await show();
          say('The app was removed.');
        }),
      );
    }
    const section = card(
      'Authenticator app',
      h('p', {}, 'An app on your phone shows a code that changes every 30 seconds. You enter it after your password.'),
      form({ fields: [passwordField()], submit: 'Set up an app', label: 'Set up an app' }, async (values) => {
        section.replaceWith(confirmApp(await ask(hallpass, 'POST', '/user/totp', values)));
        page.querySelector('[autofocus]').focus();
      }),
    );
    return section;
  }

  function confirmApp({ secret, uri, qr }) {
    return card(
      'Set up the app',
      h('p', {}, 'Scan this with your authenticator app, or type the secret into it.'),
      // As an image, no part of it is ever run.
      h('img', { class: 'qr', src: `data:image/svg+xml;base64,${btoa(qr)}`, alt: 'QR code of the secret below', width: '200', height: '200' }),
      h('p', {}, h('a', { href: uri }, 'Open in an app on this device')),
      h('p', {}, 'Secret: ', h('code', {}, secret.replace(/.{4}(?=.)/g, '$& '))),
      form({ fields: [codeField()], submit: 'Confirm', label: 'Confirm the app' }, async ({ code }) => {
        const { recovery_codes: codes } = await ask(hallpass, 'POST', '/user/totp/confirm', { code });
        // So that the token says that this session has a second factor.
        await hallpass.token({ fresh: true });
        shownOnce(codes, 'The app is set up. Each sign-in asks for its code now.');
      }),
    );
  }

  function passkeys(keys) {
    const rows = keys.map(({ id, name, created_at: created, last_used_at: used, synced }) => {
      const remove = async () => {
        await ask(hallpass, 'DELETE', `/user/passkeys/${id}`);
        await show();
        say('The passkey was removed.');
      };
      const button = h('button', { type: 'button', class: 'danger', 'aria-label': `Remove ${name}`, onclick: () => remove().catch((error) => say(explain(error))) }, 'Remove');
      return h('li', {}, h('span', {}, h('strong', {}, name), synced && h('span', { class: 'badge' }, 'synced'), h('span', { class: 'hint' }, ' added ', time(created), used ? [', last used ', time(used)] : ', not used yet')), button);
    });
    const problem = h('p', { class: 'alert', role: 'alert', hidden: true });
    const name = field({ label: 'Name of the passkey', name: 'name', maxlength: '200', autocomplete: 'off', hint: 'Such as “My phone”.' });
    const add = form({ fields: [name, passwordField()], submit: 'Add a passkey', label: 'Add a passkey' }, async (values) => {
      problem.hidden = true;
      try {
        await hallpass.addPasskey(values);
      } catch (error) {
        if (!(error instanceof DOMException)) throw error;
        problem.textContent = explainPasskey(error);
        problem.hidden = false;
        return;
      }
      await show();
      say('The passkey was added.');
    });
    return card(
      'Passkeys',
      h('p', {}, 'A passkey signs you in with the screen lock of your device, or with a security key.'),
      rows.length > 0 && h('ul', { class: 'passkeys' }, rows),
      problem,
      hasPasskeys() ? add : h('p', { class: 'hint' }, 'This browser, or this address, has no passkeys.'),
    );
  }

  function recovery() {
    return card(
      'Recovery codes',
      h('p', {}, 'For the day when your phone is lost. New codes replace the ones that you have.'),
      form({ fields: [passwordField()], submit: 'Make new codes', label: 'Make new recovery codes' }, async (values) => {
        const { recovery_codes: codes } = await ask(hallpass, 'POST', '/user/recovery-codes', values);
        shownOnce(codes, 'These are your new recovery codes. Earlier ones are no longer good.');
      }),
    );
  }

  function shownOnce(codes, text) {
    const save = () => download('recovery-codes.txt', 'text/plain', `${codes.join('\n')}\n`);
    const others = async (event) => {
      event.target.disabled = true;
      const sessions = await ask(hallpass, 'GET', '/user/sessions');
      for (const { id } of sessions.filter((it) => !it.current)) await ask(hallpass, 'DELETE', `/user/sessions/${id}`);
      say('All other sessions have ended.');
    };
    const title = heading('Recovery codes', text);
    page.replaceChildren(
      title,
      card(
        'Keep these codes',
        h('p', {}, 'Each signs you in once, in place of your second factor. They are shown this once: store them where your phone is not.'),
        h('ul', { class: 'codes' }, codes.map((code) => h('li', {}, h('code', {}, code)))),
        h(
          'div',
          { class: 'actions' },
          h('button', { type: 'button', class: 'primary', onclick: save }, 'Save as a file'),
          h('button', { type: 'button', class: 'quiet', onclick: others }, 'End all other sessions'),
          h('button', { type: 'button', class: 'quiet', onclick: show }, 'Done'),
        ),
      ),
    );
    title.querySelector('h1').focus();
  }
}
