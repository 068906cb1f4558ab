// The console's second language: by the browser's wish, switchable, and nothing is left in English.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { GERMAN } from '../../web/console/german.js';
import { AXE, EMAIL, PASSWORD, addAuthenticator, closeBrowser, heading, openBrowser, startServer } from './harness.mjs';

after(closeBrowser);

const ADMIN = 'root@example.com';
const GERMAN_BROWSER = { locale: 'de-AT' };

async function signIn(page, email = EMAIL) {
  await page.getByLabel('E-Mail').fill(email);
  await page.getByLabel('Passwort', { exact: true }).fill(PASSWORD);
  await page.getByRole('button', { name: 'Anmelden' }).click();
}

test('a German browser gets German pages, times and advice, and stays readable', async (t) => {
  const server = await startServer(t);
  const page = await (await openBrowser(t, GERMAN_BROWSER)).newPage();
  await page.goto(server.url);
  await heading(page, 'Anmelden');
  assert.equal(await page.title(), 'Anmelden · Hallpass');
  assert.equal(await page.locator('html').getAttribute('lang'), 'de');
  await page.getByRole('button', { name: 'Anmelden' }).click();
  await page.getByText('E-Mail fehlt.').waitFor();

  await page.getByRole('link', { name: 'Konto anlegen' }).click();
  await heading(page, 'Konto anlegen');
  await page.getByLabel('E-Mail').fill('bob@example.com');
  const password = page.getByLabel('Passwort', { exact: true });
  const strength = page.locator('.strength p');
  for (const [typed, expected] of [
    ['short', 'Das ist sehr schwach. Es hat weniger als 8 Zeichen; ein paar Wörter ergeben ein gutes.'],
    ['password1', 'Das ist sehr schwach. Es ist unter denen, die zuerst versucht werden: es ist ein sehr häufiges Passwort: fügen Sie noch ein oder zwei Wörter hinzu. Seltene Wörter sind besser; wählen Sie ein anderes.'],
    ['hallpass-2026', 'Das ist schwach. Es ist wenig mehr als "hallpass", was hier zuerst versucht wird; wählen Sie ein anderes.'],
    [PASSWORD, 'Das ist stark. '],
  ]) {
    await password.fill(typed);
    await strength.filter({ hasText: expected.slice(0, 40) }).waitFor();
    assert.equal(await strength.textContent(), expected);
  }
  await page.getByRole('link', { name: 'Anmelden' }).click();
  await signIn(page);
  await heading(page, 'Profil');
  const since = await page.locator('dd time').first().textContent();
  assert.match(since, /^\d\d?\. ?[A-Z][a-zä]+\.? \d{4}|^\d\d\.\d\d\.\d{4}/, 'a date as it is written there');
  await page.evaluate(`${AXE};0`);
  const { violations } = await page.evaluate(() => window.axe.run(document));
  assert.deepEqual(violations.map(({ id }) => id), []);
});

test('the language can be switched on every page, without a reload, and is remembered', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const page = await context.newPage();
  await page.goto(server.url);
  await heading(page, 'Sign in');
  await page.evaluate(() => (window.isTheSame = true));
  await page.getByRole('button', { name: 'Deutsch' }).click();
  await heading(page, 'Anmelden');
  const german = page.getByRole('button', { name: 'Deutsch' });
  assert.equal(await german.getAttribute('aria-pressed'), 'true');
  assert.equal(await german.evaluate((it) => it === document.activeElement), true, 'the focus stays');
  await signIn(page);
  await heading(page, 'Profil');
  await page.getByRole('button', { name: 'English' }).click();
  await heading(page, 'Profile');
  await page.getByRole('button', { name: 'Deutsch' }).click();
  await heading(page, 'Profil');
  assert.equal(await page.evaluate(() => window.isTheSame), true);
  const later = await context.newPage();
  await later.goto(server.url);
  await heading(later, 'Profil');
  assert.equal(await later.evaluate(() => document.documentElement.lang), 'de');
});

test('a browser that asks for a language that is not there gets the next one that is', async (t) => {
  const server = await startServer(t);
  for (const [asked, expected] of [[['fr-FR', 'de-CH', 'en'], 'Anmelden'], [['fr-FR'], 'Sign in'], [['en-GB', 'de'], 'Sign in']]) {
    const context = await openBrowser(t);
    await context.addInitScript((asked) => Object.defineProperty(navigator, 'languages', { get: () => asked }), asked);
    const page = await context.newPage();
    await page.goto(server.url);
    await heading(page, expected);
  }
});

/** A table that has every text, as ⟦text⟧, and keeps which ones were asked for. */
const PSEUDO = `
globalThis.askedTexts = new Set();
export const GERMAN = new Proxy({}, {
  has: () => true,
  get(_, key) {
    if (typeof key !== 'string') return undefined;
    globalThis.askedTexts.add(key);
    return '⟦' + key + '⟧';
  },
});`;

/** What a page shows, or tells a screen reader, that did not come from the table. What people and programs have named is left out. */
const untold = () => {
  const found = [];
  const names = 'code, time, .badge, bdi, .brand, .name, #languages button, .device, noscript, script, style, .strength p';
  const take = (text, element) => {
    let own = text;
    while (own !== (own = own.replace(/⟦[^⟦⟧]*⟧/g, '')));
    const rest = own.replace(/[\w.+-]+@[\w.-]+/g, '').replace(/\b([a-z]+_[a-z_]+|refreshed)\b/g, '');
    if (/\p{L}{2}/u.test(rest) && !element.closest(names)) found.push(text.trim());
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) take(walker.currentNode.data, walker.currentNode.parentElement);
  for (const element of document.querySelectorAll('[aria-label], [title], [placeholder], [alt]')) {
    for (const name of ['aria-label', 'title', 'placeholder', 'alt']) take(element.getAttribute(name) ?? '', element);
  }
  return found;
};

test('every text of every page is in the German table', async (t) => {
  const mails = mkdtempSync(join(tmpdir(), 'hallpass-mails-'));
  t.after(() => rmSync(mails, { recursive: true }));
  const server = await startServer(t, {
    HALLPASS_THROTTLE__ON: 'false',
    HALLPASS_MAIL__URL: `file://${mails}`,
    HALLPASS_MAIL__LINK_BASE: 'http://localhost/',
    HALLPASS_LINK__ON: 'true',
  });
  server.cli(['user', 'add', ADMIN, '--role', 'admin', '--password-stdin'], PASSWORD);
  const context = await openBrowser(t, GERMAN_BROWSER);
  await context.route('**/console/german.js', (route) => route.fulfill({ contentType: 'text/javascript', body: PSEUDO }));
  const page = await context.newPage();
  const asked = new Set();
  const examine = async (name) => {
    await page.locator('h1').filter({ hasText: /⟦|@/ }).waitFor();
    assert.deepEqual(await page.evaluate(untold), [], name);
    for (const text of await page.evaluate(() => [...globalThis.askedTexts])) asked.add(text);
  };
  const go = async (path, text) => {
    await page.evaluate((path) => (location.hash = path), path);
    await page.getByText(`⟦${text}⟧`).first().waitFor();
    await examine(path);
  };
  const submit = (name) => page.getByRole('button', { name: `⟦${name}⟧`, exact: true }).click();
  const label = (name) => page.getByLabel(`⟦${name}⟧`, { exact: true });

  await page.goto(server.url);
  await examine('sign-in');
  await submit('Sign in');
  await examine('sign-in with a complaint');
  await go('#/register', 'Create account');
  for (const [path, text] of [
    ['#/forgot', 'Send the link'],
    ['#/reset?token=unknown', 'All your sessions end when you save it.'],
    ['#/invite?token=unknown', 'Welcome'],
    ['#/change?token=unknown', 'From now on you sign in with this address.'],
    ['#/undo?token=unknown', 'Take it back'],
    ['#/link?token=unknown', 'with the link from your mail'],
    ['#/link', 'Send'],
    ['#/verify?token=unknown', 'Verify'],
  ]) {
    await go(path, text);
  }
  await submit('Verify');
  await page.getByText('⟦This link or code does not work').waitFor();
  await go('#/sign-in', 'New here?');
  await label('E-mail').fill(ADMIN);
  await label('Password').fill('wrong horse battery');
  await submit('Sign in');
  await page.getByText('⟦The e-mail or the password is wrong.⟧').waitFor();
  await label('Password').fill(PASSWORD);
  await submit('Sign in');
  await page.getByText('⟦What this server stores about you.⟧').waitFor();
  await examine('profile');
  await go('#/password', 'Changing your password signs you out everywhere else.');
  await go('#/security', 'Set up an app');
  await label('Password').fill(PASSWORD);
  await submit('Set up an app');
  await page.getByText('⟦Set up the app⟧').first().waitFor();
  await examine('the secret of an app');
  await go('#/sessions', 'Where you are signed in.');
  await go('#/token', 'Use it elsewhere');
  await go('#/data', 'Delete my account');
  await go('#/overview', 'Refreshes');
  await go('#/users', 'Add a user');
  await page.getByRole('link', { name: EMAIL }).click();
  await page.getByText('⟦Remove second factors⟧').or(page.getByText('⟦Mark as verified⟧')).or(page.getByText('⟦Mark as not verified⟧')).first().waitFor();
  await examine('one user');
  server.cli(['user', 'disable', EMAIL]);
  await page.reload();
  await page.getByText('⟦Enable⟧').waitFor();
  await examine('one user who is disabled');
  await go('#/events', 'Follow');
  await submit('Sign out');
  await page.getByText('⟦You are signed out.⟧').waitFor();
  await examine('signed out');

  // Texts of the server that the table does not have are shown as they come.
  const missing = [...asked].filter((text) => text !== '' && !Object.hasOwn(GERMAN, text) && !/[a-z]+_[a-z]|server answered/.test(text));
  assert.deepEqual(missing, []);
});

test('every text about passkeys is in the German table', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t, GERMAN_BROWSER);
  await context.route('**/console/german.js', (route) => route.fulfill({ contentType: 'text/javascript', body: PSEUDO }));
  const page = await context.newPage();
  const see = async (text) => {
    await page.getByText(`⟦${text}⟧`).first().waitFor();
    assert.deepEqual(await page.evaluate(untold), [], text);
  };
  const submit = (name) => page.getByRole('button', { name: `⟦${name}⟧`, exact: true }).click();
  const password = async (typed) => {
    await page.getByLabel('⟦E-mail⟧').fill(EMAIL);
    await page.getByLabel('⟦Password⟧', { exact: true }).fill(typed);
    await submit('Sign in');
  };
  await page.goto(`http://localhost:${server.port}/#/security`);
  await see('Sign in with a passkey');
  const { agree } = await addAuthenticator(page);
  await password(PASSWORD);
  await see('A passkey signs you in with the screen lock of your device, or with a security key.');
  const add = page.getByRole('form', { name: '⟦Add a passkey⟧' });
  for (const text of ['The passkey was added.', 'This device has a passkey for your account already.']) {
    await add.getByLabel('⟦Name of the passkey⟧').fill('__');
    await add.getByLabel('⟦Password⟧', { exact: true }).fill(PASSWORD);
    await add.getByRole('button', { name: '⟦Add a passkey⟧' }).click();
    await see(text);
  }
  await page.getByRole('button', { name: '⟦Rename __⟧' }).click();
  await see('Save');
  await agree(false);
  await submit('Sign out');
  await see('New here?');
  await password(PASSWORD);
  await see('Use the passkey of your account.');
  await page.goto(`${server.url}/#/sign-in`);
  await page.reload();
  await password(PASSWORD);
  await see('Your account has a passkey, and this browser or this address has none.');
  const missing = (await page.evaluate(() => [...globalThis.askedTexts])).filter((text) => text !== '' && !Object.hasOwn(GERMAN, text));
  assert.deepEqual(missing, []);
});

test('the advice about passwords and the reasons of a 422 are in the table', async (t) => {
  const server = await startServer(t, { HALLPASS_THROTTLE__ON: 'false' });
  const page = await (await openBrowser(t, GERMAN_BROWSER)).newPage();
  await page.goto(`${server.url}/#/register`);
  await heading(page, 'Konto anlegen');
  const english = await page.evaluate(async () => {
    const { told } = await import('/console/language.js');
    const left = [];
    const passwords = ['a', 'password', 'qwertyuiop', 'aaaaaaaa', 'abcabcabc', 'abcdefgh', '19841984', 'Elizabeth1', 'drowssap', 'P@ssword', 'zxcvbnmlkjh', '2019-03-04', 'WILLIAM', 'smith', 'lantern', 'x'.repeat(257)];
    for (const password of passwords) {
      const body = JSON.stringify({ email: 'bob@example.com', password });
      const ask = (path) => fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body }).then((answer) => answer.json());
      const { data, fields } = await ask('/auth/password-strength');
      const texts = [...(data ? [data.reason, ...data.advice] : []), ...Object.values(fields ?? {}).flat()].filter(Boolean);
      for (const text of texts) {
        for (const part of text.split(/[:;] |(?<=\.) /)) if (told(part) === part) left.push(part);
      }
    }
    return left;
  });
  assert.deepEqual(english, []);
});
