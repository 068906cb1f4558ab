// Second factors in Chromium: an authenticator app that this file computes, and passkeys by the browser's own virtual
// authenticator (CDP, `WebAuthn.addVirtualAuthenticator`).

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { after, test } from 'node:test';
import { AXE, EMAIL, PASSWORD, SHOTS, addAuthenticator, closeBrowser, goTo, heading, openBrowser, press, said, signIn, startApp, startServer, until, watch } from './harness.mjs';

after(closeBrowser);

/** The code of a secret in base32, `steps` of 30 s from now (RFC 6238). */
function totp(secret, steps = 0) {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...secret].map((letter) => letters.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const message = Buffer.alloc(8);
  message.writeBigInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const hash = createHmac('sha1', key).update(message).digest();
  const number = hash.readUInt32BE(hash[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, '0');
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
  await page.getByLabel('Code', { exact: true }).fill('000000');
  await press(page, 'Confirm');
  await page.getByText('That code is wrong').waitFor();
  await page.getByLabel('Code', { exact: true }).fill(totp(secret));
  await press(page, 'Confirm');
  await heading(page, 'Recovery codes');
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
