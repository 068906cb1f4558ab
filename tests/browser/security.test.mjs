// Second factors in Chromium: an authenticator app that this file computes, and passkeys by the browser's own virtual
// authenticator (CDP, `WebAuthn.addVirtualAuthenticator`).

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { after, test } from 'node:test';
import { AXE, EMAIL, PASSWORD, SHOTS, addAuthenticator, closeBrowser, goTo, heading, openBrowser, press, said, signIn, startApp, startServer, totp, until, watch } from './harness.mjs';

after(closeBrowser);

/** Confirms an authenticator app: first with a wrong code, which is refused. */
async function confirmApp(page, secret) {
  await page.getByLabel('Code', { exact: true }).fill('000000');
  await press(page, 'Confirm');
  await page.getByText('That code is wrong').waitFor();
  await page.getByLabel('Code', { exact: true }).fill(totp(secret));
  await press(page, 'Confirm');
  await heading(page, 'Recovery codes');
}

/** What axe finds wrong with a page. */
async function violations(page) {
  await page.evaluate(AXE);
  const { violations, passes } = await page.evaluate(() => window.axe.run());
  assert.ok(passes.length > 10, 'axe has looked');
  return violations.map(({ id, impact, nodes }) => [id, impact, nodes.map((node) => node.html)]);
}

/** Passkeys are for names: the console by `localhost`, not by the address. */
async function openConsole(context, server) {
  const page = await context.newPage();
  await page.goto(`http://localhost:${server.port}/`);
  await heading(page, 'Sign in');
  return page;
}

async function askForPasskey(page, name = 'Phone') {
  await goTo(page, 'Security');
  const add = page.getByRole('form', { name: 'Add a passkey' });
  await add.getByLabel('Name of the passkey').fill(name);
  await add.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await add.getByRole('button', { name: 'Add a passkey' }).click();
}

async function addPasskey(page, name) {
  await askForPasskey(page, name);
  await said(page, 'The passkey was added.');
}

async function signOut(page) {
  await press(page, 'Sign out');
  await heading(page, 'Sign in');
}

/** Takes a picture, and lets axe look at the page. */
async function look(page, name) {
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: `${SHOTS}/${name}.png`, fullPage: true });
  assert.deepEqual(await violations(page), [], name);
}

test('an authenticator app is set up, asked for, and removed', async (t) => {
  const server = await startServer(t);
  const page = await openConsole(await openBrowser(t), server);
  await signIn(page);
  await heading(page, 'Profile');
  await goTo(page, 'Security');
  const set = page.getByRole('form', { name: 'Set up an app' });
  await set.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await set.getByRole('button').last().click();
  const image = page.getByAltText('QR code of the secret below');
  await image.waitFor();
  assert.equal(await image.evaluate((it) => it.decode().then(() => it.naturalWidth > 100)), true, 'the policy lets the picture be shown');
  const secret = (await page.locator('main code').first().textContent()).replaceAll(' ', '');
  await look(page, 'security-app');
  await confirmApp(page, secret);
  const codes = await page.locator('.codes code').allTextContents();
  assert.equal(codes.length, 10);
  await press(page, 'Done');
  await heading(page, 'Security');
  await page.getByText('Your app is asked for a code at each sign-in.').waitFor();
  await signOut(page);

  // By the keyboard alone: the second step has the focus.
  await signIn(page);
  await heading(page, 'Second step');
  await look(page, 'second-step');
  await page.keyboard.type('000000');
  await page.keyboard.press('Enter');
  await page.getByText('That code is wrong').waitFor();
  await page.getByLabel('Code', { exact: true }).fill(totp(secret, 1));
  await page.keyboard.press('Enter');
  // The page that the URL names.
  await heading(page, 'Security');
  await signOut(page);

  await signIn(page);
  await press(page, 'Use a recovery code');
  await page.keyboard.type(codes[0]);
  await page.keyboard.press('Enter');
  await heading(page, 'Security');
  const remove = page.getByRole('form', { name: 'Remove the app' });
  await remove.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await remove.getByRole('button', { name: 'Remove the app' }).click();
  await said(page, 'The app was removed.');
});

/** What a screen reader says of the element with the focus: its role, its name, its description. */
async function heard(page) {
  const session = (page.accessibility ??= await page.context().newCDPSession(page));
  const { result } = await session.send('Runtime.evaluate', { expression: 'document.activeElement' });
  const { nodes } = await session.send('Accessibility.getPartialAXTree', { objectId: result.objectId, fetchRelatives: false });
  const [{ role, name, description }] = nodes;
  return [role?.value, name?.value, description?.value].filter(Boolean).join(', ');
}

/** Waits until the focus is on what is heard so. */
async function expectFocus(page, expected) {
  let last;
  await until(async () => (last = await heard(page)) === expected).catch((error) => assert.equal(last, expected, error.message));
}

/** Goes on by Tab, or back by Shift+Tab, to what is heard so. Each stop on the way can be seen. */
async function tabTo(page, expected, key = 'Tab') {
  const stops = [];
  while (stops.at(-1) !== expected) {
    assert.ok(stops.length < 40, `${expected} is none of ${stops.join(' | ')}`);
    await page.keyboard.press(key);
    stops.push(await heard(page));
    const isSeen = await page.evaluate(() => document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle !== 'none');
    assert.ok(isSeen, `the focus on ${stops.at(-1)} can be seen`);
  }
}

const enter = (page, text) => page.keyboard.type(text).then(() => page.keyboard.press('Enter'));

test('second factors are set up and used by keyboard and screen reader alone', async (t) => {
  const server = await startServer(t);
  const elsewhere = await fetch(`${server.url}/auth/login`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ email: EMAIL, password: PASSWORD }) });
  assert.equal(elsewhere.status, 200);
  const page = await openConsole(await openBrowser(t), server);
  const signInByKeys = async () => {
    await expectFocus(page, 'textbox, E-mail');
    await page.keyboard.type(EMAIL);
    await tabTo(page, 'textbox, Password');
    await enter(page, PASSWORD);
  };
  const signOutByKeys = async () => {
    await tabTo(page, 'button, Sign out', 'Shift+Tab');
    await page.keyboard.press('Enter');
  };
  await signInByKeys();
  await expectFocus(page, 'heading, Profile');
  await tabTo(page, 'link, Security', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await expectFocus(page, 'heading, Security');

  // The app. What is to be done stands between the heading and the field, where both find it.
  await tabTo(page, 'button, Set up an app');
  await tabTo(page, 'textbox, Password', 'Shift+Tab');
  await enter(page, PASSWORD);
  await expectFocus(page, 'heading, Set up the app');
  const read = await page.getByRole('region', { name: 'Set up the app' }).ariaSnapshot();
  assert.match(read, /heading "Set up the app"[^]*Scan this[^]*img "QR code of the secret below"[^]*link "Open in an app[^]*Secret:[^]*textbox "Code"[^]*button "Confirm"/);
  const secret = read.match(/code: ([A-Z2-7 ]+)/)[1].replaceAll(' ', '');
  await tabTo(page, 'textbox, Code, Six digits.');
  await enter(page, '000000');
  await page.getByRole('alert').getByText('That code is wrong').waitFor();
  await expectFocus(page, 'textbox, Code, Six digits.');
  await page.keyboard.press('ControlOrMeta+A');
  await enter(page, totp(secret));
  await expectFocus(page, 'heading, Recovery codes');
  const codes = await page.getByRole('region', { name: 'Keep these codes' }).getByRole('listitem').allTextContents();
  assert.equal(codes.length, 10);
  await tabTo(page, 'button, End all other sessions');
  await page.keyboard.press('Enter');
  await page.getByRole('status').getByText('All other sessions have ended.').waitFor();
  await tabTo(page, 'button, Done');
  await page.keyboard.press('Enter');
  await expectFocus(page, 'heading, Security');

  // The second step, by a code.
  await signOutByKeys();
  await signInByKeys();
  await expectFocus(page, 'textbox, Code, Six digits.');
  await enter(page, '000000');
  await page.getByRole('alert').getByText('That code is wrong').waitFor();
  await expectFocus(page, 'textbox, Code, Six digits.');
  await page.keyboard.press('ControlOrMeta+A');
  await enter(page, totp(secret, 1));
  await expectFocus(page, 'heading, Security');

  // By a recovery code.
  await signOutByKeys();
  await signInByKeys();
  await expectFocus(page, 'textbox, Code, Six digits.');
  await tabTo(page, 'button, Use a recovery code');
  await page.keyboard.press('Enter');
  await expectFocus(page, 'textbox, Recovery code');
  await enter(page, codes[0]);
  await expectFocus(page, 'heading, Security');

  // A passkey: added, renamed, used, removed.
  const { agree } = await addAuthenticator(page);
  await tabTo(page, 'textbox, Name of the passkey, Such as “My phone”.');
  await page.keyboard.type('Phone');
  await tabTo(page, 'textbox, Password');
  await enter(page, PASSWORD);
  await page.getByRole('status').getByText('The passkey was added.').waitFor();
  await expectFocus(page, 'heading, Passkeys');
  await tabTo(page, 'button, Rename Phone');
  await page.keyboard.press('Enter');
  await expectFocus(page, 'textbox, New name');
  await enter(page, 'Old phone');
  await page.getByRole('status').getByText('The passkey was renamed.').waitFor();
  await expectFocus(page, 'heading, Passkeys');
  await agree(false);
  await signOutByKeys();
  await expectFocus(page, 'textbox, E-mail');
  await tabTo(page, 'button, Sign in with a passkey');
  await agree(true);
  await page.keyboard.press('Enter');
  await expectFocus(page, 'heading, Security');
  await tabTo(page, 'button, Remove Old phone');
  await page.keyboard.press('Enter');
  await page.getByRole('status').getByText('The passkey was removed.').waitFor();
  await expectFocus(page, 'heading, Passkeys');

  // And the app goes.
  await tabTo(page, 'button, Remove the app');
  await tabTo(page, 'textbox, Password', 'Shift+Tab');
  await enter(page, PASSWORD);
  await page.getByRole('status').getByText('The app was removed.').waitFor();
  await expectFocus(page, 'heading, Authenticator app');
  assert.equal(server.cli(['events', '--json']).match(/"second_factor_removed"/g).length, 2);

  // A change offers to end the other sessions.
  await tabTo(page, 'button, End all other sessions', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await page.getByRole('status').getByText('All other sessions have ended.').waitFor();
  await tabTo(page, 'link, Sessions', 'Shift+Tab');
  await page.keyboard.press('Enter');
  await expectFocus(page, 'heading, Sessions');
  assert.equal(await page.getByRole('region', { name: 'Active sessions' }).getByRole('listitem').count(), 1);
});

test('a passkey is added, signs in by a button, is renamed, and is removed', async (t) => {
  const server = await startServer(t);
  const page = await openConsole(await openBrowser(t), server);
  const { credentials, agree } = await addAuthenticator(page);
  await signIn(page);
  await heading(page, 'Profile');
  await addPasskey(page);
  await page.getByText('Phone', { exact: true }).waitFor();
  assert.deepEqual((await credentials()).map(({ rpId, isResidentCredential }) => [rpId, isResidentCredential]), [['localhost', true]]);
  await look(page, 'security-passkeys');

  await agree(false);
  await signOut(page);
  await look(page, 'sign-in-passkey');
  await agree(true);
  await press(page, 'Sign in with a passkey');
  await heading(page, 'Security');
  assert.deepEqual(await page.evaluate(() => fetch('/auth/refresh', { method: 'POST', headers: { 'X-Hallpass': '1' } }).then((it) => it.json()).then(({ data }) => JSON.parse(atob(data.token.split('.')[1])).amr)), ['hwk', 'mfa']);

  await page.reload();
  await askForPasskey(page, 'Again');
  await page.getByText('This device has a passkey for your account already.').waitFor();
  await page.getByRole('button', { name: 'Rename Phone' }).click();
  await page.getByLabel('New name').fill('Old phone');
  await page.keyboard.press('Enter');
  await said(page, 'The passkey was renamed.');
  await page.getByRole('button', { name: 'Remove Old phone' }).click();
  await said(page, 'The passkey was removed.');
  await page.getByText('Old phone', { exact: true }).waitFor({ state: 'detached' });
  await agree(false);
  await signOut(page);
  await agree(true);
  await press(page, 'Sign in with a passkey');
  await page.getByText('This passkey is not accepted here').waitFor();
});

test('a passkey signs in by autofill, and its assertion is accepted once', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const page = await openConsole(context, server);
  await addAuthenticator(page);
  await signIn(page);
  await heading(page, 'Profile');
  await addPasskey(page);
  const sent = watch(context, '/auth/passkey');
  await press(page, 'Sign out');
  // The authenticator answers the offer in the list of the e-mail field by itself, as if its user had chosen it.
  await until(() => sent.length === 1);
  await heading(page, 'Security');
  const { credential } = sent[0].postDataJSON();
  assert.equal(credential.type, 'public-key');
  assert.ok(credential.response.userHandle, 'the passkey names its user: no e-mail was typed');
  const replayed = await page.evaluate(async (body) => {
    const answer = await fetch('/auth/passkey', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
    return [answer.status, (await answer.json()).error];
  }, sent[0].postData());
  assert.deepEqual(replayed, [401, 'second_factor_invalid']);
});

test('a passkey is the second factor of a password', async (t) => {
  const server = await startServer(t);
  const page = await openConsole(await openBrowser(t), server);
  // A security key that stores nothing and verifies nobody.
  await addAuthenticator(page, { transport: 'usb', hasResidentKey: false, hasUserVerification: false, isUserVerified: false });
  await signIn(page);
  await heading(page, 'Profile');
  await addPasskey(page, 'Key');
  await signOut(page);
  await signIn(page);
  await heading(page, 'Second step');
  await look(page, 'second-step-passkey');
  // The button has the focus.
  await page.keyboard.press('Enter');
  await heading(page, 'Security');
  await page.getByRole('button', { name: 'Remove Key' }).click();
  await said(page, 'The passkey was removed.');
  await signOut(page);
  await signIn(page);
  await heading(page, 'Security');
});

test('a passkey that was made on a page of another origin is refused', async (t) => {
  const server = await startServer(t, { HALLPASS_PASSKEY__RP_ID: 'localhost', HALLPASS_PASSKEY__ORIGINS: 'http://localhost:1' });
  const page = await openConsole(await openBrowser(t), server);
  await addAuthenticator(page);
  await signIn(page);
  await heading(page, 'Profile');
  await askForPasskey(page);
  await page.getByText('This passkey is not accepted here').waitFor();
  assert.deepEqual(await page.locator('.passkeys li').count(), 0);
});

test('the page of another app gets nothing out of our RP ID, whatever its user agrees to', async (t) => {
  const server = await startServer(t);
  await server.stop();
  // Ours is one origin of several on this host name, which is what a company's apps are on its domain.
  await server.start({ HALLPASS_PASSKEY__RP_ID: 'localhost', HALLPASS_PASSKEY__ORIGINS: `http://localhost:${server.port}` });
  const context = await openBrowser(t);
  const page = await openConsole(context, server);
  const { agree } = await addAuthenticator(page);
  await signIn(page);
  await heading(page, 'Profile');
  await addPasskey(page);
  await agree(false);
  const post = async (path, body) => {
    const answer = await fetch(server.url + path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    return [answer.status, await answer.json()];
  };
  // The app has the options from our server, as anybody does, and hands over what the authenticator says to its page.
  const sign = async (page) => {
    const [, { data }] = await post('/auth/passkey/options', {});
    await agree(true);
    const signed = await page.evaluate(async (options) => {
      const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
      return navigator.credentials.get({ publicKey }).then((it) => it.toJSON(), (error) => error.name);
    }, data);
    await agree(false);
    return signed;
  };
  const originOf = ({ response }) => JSON.parse(Buffer.from(response.clientDataJSON, 'base64url')).origin;

  const port = await startApp(t, {});
  await page.goto(`http://localhost:${port}/`);
  const theirs = await sign(page);
  assert.equal(originOf(theirs), `http://localhost:${port}`, 'the browser lets another app of the host use the passkey');
  const [status, { error }] = await post('/auth/passkey', { credential: theirs });
  assert.deepEqual([status, error], [401, 'second_factor_invalid']);
  assert.match(server.cli(['events', '--json']), /"sign_in_failed"/);

  // Outside the RP ID, the browser does not even ask.
  await page.goto(`http://127.0.0.1:${port}/`);
  assert.equal(await sign(page), 'SecurityError');

  // The same calls, on our own page.
  await page.goto(`http://localhost:${server.port}/docs`);
  const ours = await sign(page);
  assert.equal(originOf(ours), `http://localhost:${server.port}`);
  assert.equal((await post('/auth/passkey', { credential: ours }))[0], 200, 'the origin alone made the difference');
});

test('a page outside the RP ID is told so by the browser, and the page says what to do', async (t) => {
  const server = await startServer(t, { HALLPASS_PASSKEY__RP_ID: 'id.example' });
  const page = await openConsole(await openBrowser(t), server);
  await addAuthenticator(page);
  await signIn(page);
  await heading(page, 'Profile');
  await askForPasskey(page);
  await page.getByText('Passkeys are not set up for this address. Tell the operator: passkey.rp_id.').waitFor();
});

test('the passkey of a deleted account signs in to nothing', async (t) => {
  const server = await startServer(t);
  const page = await openConsole(await openBrowser(t), server);
  const { credentials, agree } = await addAuthenticator(page);
  await signIn(page);
  await heading(page, 'Profile');
  await addPasskey(page);
  await agree(false);
  server.cli(['user', 'delete', EMAIL, '--yes']);
  await page.reload();
  await heading(page, 'Sign in');
  assert.equal((await credentials()).length, 1, 'the device has it still');
  await agree(true);
  await press(page, 'Sign in with a passkey');
  await page.getByText('This passkey is not accepted here').waitFor();
  await heading(page, 'Sign in');
});

test('by the loopback address the console says where passkeys are', async (t) => {
  const server = await startServer(t);
  const page = await (await openBrowser(t)).newPage();
  await page.goto(server.url);
  await signIn(page);
  await heading(page, 'Profile');
  assert.equal(await page.getByRole('button', { name: 'Sign in with a passkey' }).count(), 0);
  await goTo(page, 'Security');
  const link = page.getByRole('link', { name: 'Open this page on localhost' });
  assert.equal(await link.getAttribute('href'), `http://localhost:${server.port}/#/security`);
});

const LOOKS = [
  ['desk', { viewport: { width: 1280, height: 800 } }],
  ['desk-dark', { viewport: { width: 1280, height: 800 }, colorScheme: 'dark' }],
  ['tablet', { viewport: { width: 768, height: 1024 } }],
  ['phone', { viewport: { width: 320, height: 690 }, hasTouch: true, isMobile: true }],
  ['phone-dark', { viewport: { width: 320, height: 690 }, hasTouch: true, isMobile: true, colorScheme: 'dark' }],
];

for (const [name, options] of LOOKS) {
  test(`every page about second factors is accessible and fits: ${name}`, async (t) => {
    const server = await startServer(t);
    const page = await openConsole(await openBrowser(t, options), server);
    const { agree } = await addAuthenticator(page);
    await agree(false);
    const examine = async (what) => {
      // Colours are judged where they have come to rest.
      await page.evaluate(() => Promise.all(document.getAnimations().map((it) => it.finished.catch(() => {}))));
      await look(page, `${what}-${name}`);
      const wide = await page.evaluate(() => [...document.querySelectorAll('body *')].filter((it) => it.getBoundingClientRect().right > innerWidth + 0.5).map((it) => it.outerHTML.slice(0, 80)));
      assert.deepEqual(wide, [], `${what} fits, ${name}`);
    };
    await signIn(page);
    await heading(page, 'Profile');
    await goTo(page, 'Security');
    await examine('security');
    const set = page.getByRole('form', { name: 'Set up an app' });
    await set.getByLabel('Password', { exact: true }).fill(PASSWORD);
    await set.getByRole('button').last().click();
    await page.getByAltText('QR code').evaluate((it) => it.decode());
    await examine('security-app');
    const secret = (await page.locator('main code').first().textContent()).replaceAll(' ', '');
    await confirmApp(page, secret);
    const lines = await page.locator('.codes code').evaluateAll((codes) => codes.map((code) => code.getClientRects().length));
    assert.deepEqual(lines, Array(10).fill(1), 'each code is one line');
    await examine('security-codes');
    await press(page, 'Done');
    await heading(page, 'Security');
    await agree(true);
    await addPasskey(page, 'Phone');
    // The device has one for this account: the next is on a security key.
    await agree(false);
    const key = await addAuthenticator(page, { transport: 'usb' });
    await addPasskey(page, 'The long name of a key that hangs on the ring with the keys of the house');
    await examine('security-changed');
    await page.reload();
    await heading(page, 'Security');
    await examine('security-passkeys');
    await key.agree(false);
    await signOut(page);
    await signIn(page);
    await heading(page, 'Second step');
    await examine('second-step-passkey');
    await press(page, 'Use the authenticator app');
    await examine('second-step-app');
    await press(page, 'Use a recovery code');
    await heading(page, 'Recovery code');
    await examine('second-step-recovery');
  });
}
