// Second factors: the authenticator app, passkeys and the recovery codes.

import { ask } from './ask.js';
import { card, download, explain, field, form, h, heading, say, time } from './dom.js';
import { codeField } from './entry.js';
import { t } from './language.js';
import { explainPasskey, hasPasskeys, namedPage } from './passkeys.js';

/** How long ago a sign-in may be for a change, s. The server has the last word (`second_factor.fresh_s`). */
const FRESH = 600;

const passwordField = () => field({ label: t('Password'), name: 'password', type: 'password', autocomplete: 'current-password' });

export async function security(hallpass) {
  const page = h('div');
  await show();
  return page;

  async function show(offer) {
    const user = await hallpass.user({ fresh: true });
    if (!user) return;
    const { auth_time: at = 0, amr = [] } = hallpass.claims();
    const has = user.second_factors;
    const isFresh = hallpass.now() / 1000 - at < FRESH && (has.length === 0 || amr.includes('mfa'));
    const keys = isFresh && (await ask(hallpass, 'GET', '/user/passkeys'));
    page.replaceChildren(
      heading(t('Security'), t('A second factor protects your account from whoever knows your password.')),
      ...(isFresh ? [offer, passkeys(keys), app(has), has.length > 0 && recovery()].filter(Boolean) : [confirmation(user)]),
    );
    focusOn(t('Security'));
  }

  /** Shows the page after a change of the section with this title, which gets the focus; what had it is gone. */
  async function changed(title, text) {
    const offer = card(t('Other sessions'), h('p', {}, t('Where you are signed in elsewhere, you stay signed in.')), h('div', { class: 'actions' }, othersButton()));
    offer.classList.add('whole-row');
    await show(offer);
    focusOn(title);
    say(text);
  }

  function focusOn(title) {
    [...page.querySelectorAll('h1, h2')].find((it) => it.textContent === title)?.focus();
  }

  /** Asks for a sign-in, as changes need one that is not old. */
  function confirmation(user) {
    const section = card(t('Confirm that it is you'), h('p', {}, t('To change your second factors, sign in again.')));
    const first = form({ fields: [passwordField()], submit: t('Continue'), label: t('Sign in again') }, async ({ password }) => {
      const { next, methods } = await hallpass.signIn({ email: user.email, password });
      if (!next) return show();
      if (methods.includes('passkey') && hasPasskeys()) return withPasskey();
      const usesApp = methods.includes('totp');
      const code = usesApp ? codeField() : field({ label: t('Recovery code'), name: 'code', autocomplete: 'off', autofocus: true });
      const second = form({ fields: [code], submit: t('Continue'), label: t('Second step') }, async ({ code }) => {
        await hallpass.secondFactor(usesApp ? { code } : { recovery_code: code });
        await show();
      });
      first.replaceWith(second);
      code.input.focus();
    });

    async function withPasskey() {
      await hallpass.secondFactor({ passkey: true }).then(() => show(), (error) => {
        section.replaceChildren(...confirmation(user).childNodes);
        section.querySelector('.alert').textContent = explainPasskey(error);
        section.querySelector('.alert').hidden = false;
        section.querySelector('input').focus();
      });
    }

    section.append(first);
    return section;
  }

  function app(has) {
    if (has.includes('totp')) {
      return card(
        t('Authenticator app'),
        h('p', {}, t('Your app is asked for a code at each sign-in.')),
        form({ fields: [passwordField()], submit: t('Remove the app'), danger: true, label: t('Remove the app') }, async (values) => {
          await ask(hallpass, 'DELETE', '/user/totp', values);
          await changed(t('Authenticator app'), t('The app was removed.'));
        }),
      );
    }
    const section = card(
      t('Authenticator app'),
      h('p', {}, t('An app on your phone shows a code that changes every 30 seconds. You enter it after your password.')),
      form({ fields: [passwordField()], submit: t('Set up an app'), label: t('Set up an app') }, async (values) => {
        section.replaceWith(confirmApp(await ask(hallpass, 'POST', '/user/totp', values)));
        // Not the field: what is to be done stands before it, and a phone's keyboard would cover the picture.
        focusOn(t('Set up the app'));
      }),
    );
    return section;
  }

  function confirmApp({ secret, uri, qr }) {
    return card(
      t('Set up the app'),
      h('p', {}, t('Scan this with your authenticator app, or type the secret into it.')),
      // As an image, no part of it is ever run.
      h('img', { class: 'qr', src: `data:image/svg+xml;base64,${btoa(qr)}`, alt: t('QR code of the secret below'), width: '200', height: '200' }),
      h('p', {}, h('a', { href: uri }, t('Open in an app on this device'))),
      h('p', {}, t('Secret:'), ' ', h('code', {}, secret.replace(/.{4}(?=.)/g, '$& '))),
      form({ fields: [codeField()], submit: t('Confirm'), label: t('Confirm the app') }, async ({ code }) => {
        const { recovery_codes: codes } = await ask(hallpass, 'POST', '/user/totp/confirm', { code });
        // So that the token says that this session has a second factor.
        await hallpass.token({ fresh: true });
        shownOnce(codes, t('The app is set up. Each sign-in asks for its code now.'));
      }),
    );
  }

  function passkeys(keys) {
    const name = field({ label: t('Name of the passkey'), name: 'name', maxlength: '200', autocomplete: 'off', hint: t('Such as “My phone”.') });
    const problem = h('p', { class: 'alert', role: 'alert', hidden: true });
    const add = form({ fields: [name, passwordField()], submit: t('Add a passkey'), label: t('Add a passkey') }, async (values) => {
      problem.hidden = true;
      try {
        await hallpass.addPasskey(values);
      } catch (error) {
        if (!(error instanceof DOMException) && error.error !== 'second_factor_invalid') throw error;
        problem.textContent = explainPasskey(error);
        problem.hidden = false;
        return;
      }
      await changed(t('Passkeys'), t('The passkey was added.'));
    });
    const named = namedPage();
    const elsewhere = named ? [t('Passkeys belong to a name.'), ' ', h('a', { href: named }, t('Open this page on localhost')), '.'] : [t('This browser, or this address, has no passkeys.')];
    return card(
      t('Passkeys'),
      h('p', {}, t('A passkey signs you in with the screen lock of your device, or with a security key.')),
      keys.length > 0 && h('ul', { class: 'passkeys' }, keys.map(passkey)),
      problem,
      hasPasskeys() ? add : h('p', { class: 'hint' }, elsewhere),
    );
  }

  function passkey({ id, name, created_at: created, last_used_at: used, synced }) {
    const path = `/user/passkeys/${id}`;
    const button = (text, label, style, action) =>
      h('button', { type: 'button', class: style, 'aria-label': label, onclick: () => action().catch((error) => say(explain(error))) }, text);
    async function remove() {
      await ask(hallpass, 'DELETE', path);
      await changed(t('Passkeys'), t('The passkey was removed.'));
    }
    async function rename() {
      const other = field({ label: t('New name'), name: 'name', value: name, maxlength: '200', autocomplete: 'off' });
      row.replaceChildren(
        form({ fields: [other], submit: t('Save'), label: t('Rename {name}', { name }) }, async (values) => {
          await ask(hallpass, 'PATCH', path, values);
          await show();
          focusOn(t('Passkeys'));
          say(t('The passkey was renamed.'));
        }),
      );
      other.input.select();
    }
    const row = h(
      'li',
      {},
      h(
        'div',
        {},
        h('bdi', {}, name),
        synced && h('span', { class: 'badge', title: t('It is on other devices of yours too.') }, t('synced')),
        h('span', { class: 'hint' }, t('Added:'), ' ', time(created), ' · ', t('Last used:'), ' ', used ? time(used) : t('never')),
      ),
      button(t('Rename'), t('Rename {name}', { name }), 'quiet', rename),
      button(t('Remove'), t('Remove {name}', { name }), 'danger', remove),
    );
    return row;
  }

  function recovery() {
    return card(
      t('Recovery codes'),
      h('p', {}, t('For the day when your phone is lost. New codes replace the ones that you have.')),
      form({ fields: [passwordField()], submit: t('Make new codes'), label: t('Make new recovery codes') }, async (values) => {
        const { recovery_codes: codes } = await ask(hallpass, 'POST', '/user/recovery-codes', values);
        shownOnce(codes, t('These are your new recovery codes. Earlier ones are no longer good.'));
      }),
    );
  }

  /** A button that ends the other sessions. It stays enabled, as a disabled one loses the focus. */
  function othersButton() {
    async function end() {
      const sessions = await ask(hallpass, 'GET', '/user/sessions');
      for (const { id } of sessions.filter((it) => !it.current)) await ask(hallpass, 'DELETE', `/user/sessions/${id}`);
      say(t('All other sessions have ended.'));
    }
    return h('button', { type: 'button', class: 'quiet', onclick: () => end().catch((error) => say(explain(error))) }, t('End all other sessions'));
  }

  function shownOnce(codes, text) {
    const save = () => download('recovery-codes.txt', 'text/plain', `${codes.join('\n')}\n`);
    const title = heading(t('Recovery codes'), text);
    page.replaceChildren(
      title,
      card(
        t('Keep these codes'),
        h('p', {}, t('Each signs you in once, in place of your second factor. They are shown this once: store them where your phone is not.')),
        h('ul', { class: 'codes' }, codes.map((code) => h('li', {}, h('code', {}, code)))),
        h(
          'div',
          { class: 'actions' },
          h('button', { type: 'button', class: 'primary', onclick: save }, t('Save as a file')),
          othersButton(),
          h('button', { type: 'button', class: 'quiet', onclick: () => show() }, t('Done')),
        ),
      ),
    );
    title.querySelector('h1').focus();
  }
}
