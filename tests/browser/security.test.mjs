// Second factors in Chromium: an authenticator app that this file computes, and passkeys by the browser's own virtual
// authenticator (CDP, `WebAuthn.addVirtualAuthenticator`).

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { after, test } from 'node:test';
import { AXE, EMAIL, PASSWORD, SHOTS, closeBrowser, goTo, heading, openBrowser, press, said, signIn, startServer, until } from './harness.mjs';

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

/** Gives a page an authenticator with verification of its user. */
async function addAuthenticator(page, options = {}) {
  const session = await page.context().newCDPSession(page);
  await session.send('WebAuthn.enable');
  const { authenticatorId } = await session.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true, ...options },
  });
  return { session, authenticatorId };
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

async function addPasskey(page, name = 'Phone') {
  await goTo(page, 'Security');
  const add = page.getByRole('form', { name: 'Add a passkey' });
  await add.getByLabel('Name of the passkey').fill(name);
  await add.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await add.getByRole('button', { name: 'Add a passkey' }).click();
  await said(page, 'The passkey was added.');
}

async function signOut(page) {
  await press(page, 'Sign out');
  await heading(page, 'Sign in');
}

test('an authenticator app is set up, asked for, and removed', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const page = await openConsole(context, server);
  await signIn(page);
  await heading(page, 'Profile');
  await goTo(page, 'Security');
  const set = page.getByRole('form', { name: 'Set up an app' });
  await set.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await set.getByRole('button').last().click();
  const image = page.getByAltText('QR code of the secret below');
  await image.waitFor();
  assert.equal(await image.evaluate((it) => it.complete && it.naturalWidth > 100), true, 'the policy lets the picture be shown');
  const secret = (await page.locator('main code').first().textContent()).replaceAll(' ', '');
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: `${SHOTS}/security-app.png`, fullPage: true });
  assert.deepEqual(await violations(page), []);
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
  await page.screenshot({ path: `${SHOTS}/second-step.png` });
  assert.deepEqual(await violations(page), []);
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

test('a passkey is added, signs in by itself and by autofill, and is removed', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const page = await openConsole(context, server);
  const { session, authenticatorId } = await addAuthenticator(page);
  await signIn(page);
  await heading(page, 'Profile');
  await addPasskey(page);
  await page.getByText('Phone', { exact: true }).waitFor();
  const { credentials } = await session.send('WebAuthn.getCredentials', { authenticatorId });
  assert.equal(credentials.length, 1);
  assert.equal(credentials[0].rpId, 'localhost');
  await page.screenshot({ path: `${SHOTS}/security-passkeys.png`, fullPage: true });
  assert.deepEqual(await violations(page), []);

  // The virtual authenticator answers an offer in the list by itself, as if its user had chosen the passkey at once.
  await press(page, 'Sign out');
  await said(page, 'You are signed out.');
  await heading(page, 'Security');
  await session.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId, enabled: false });
  await signOut(page);
  await session.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId, enabled: true });
  await press(page, 'Sign in with a passkey');
  await heading(page, 'Security');

  await addPasskey(page, 'Again').then(
    () => assert.fail('the same device twice'),
    () => page.getByText('This device has a passkey for your account already.').waitFor(),
  );
  await press(page, 'Remove Phone');
  await said(page, 'The passkey was removed.');
  await session.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId, enabled: false });
  await signOut(page);
  await session.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId, enabled: true });
  await press(page, 'Sign in with a passkey');
  await page.getByText('That code is wrong, was used before, or came too late.').waitFor();
});

test('a passkey is the second factor of a password', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const page = await openConsole(context, server);
  // A security key: no passkey of its own list, and no verification of its user.
  await addAuthenticator(page, { transport: 'usb', hasResidentKey: false, hasUserVerification: false, isUserVerified: false });
  await signIn(page);
  await heading(page, 'Profile');
  await addPasskey(page, 'Key');
  await signOut(page);
  await signIn(page);
  await heading(page, 'Second step');
  await press(page, 'Use a passkey');
  await heading(page, 'Security');
});

test('a page of another origin, a replayed assertion and a deleted account are refused', async (t) => {
  const server = await startServer(t, { HALLPASS_PASSKEY__RP_ID: 'localhost', HALLPASS_PASSKEY__ORIGINS: 'http://localhost:1' });
  const context = await openBrowser(t);
  const page = await openConsole(context, server);
  await addAuthenticator(page);
  await signIn(page);
  await heading(page, 'Profile');
  await goTo(page, 'Security');
  const add = page.getByRole('form', { name: 'Add a passkey' });
  await add.getByLabel('Name of the passkey').fill('Phone');
  await add.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await add.getByRole('button', { name: 'Add a passkey' }).click();
  await page.getByText('That code is wrong, was used before, or came too late.').waitFor();

  const other = await startServer(t);
  const second = await openConsole(context, other);
  await addAuthenticator(second);
  await signIn(second);
  await heading(second, 'Profile');
  await addPasskey(second);
  const sent = [];
  second.on('request', (request) => {
    if (request.url().endsWith('/auth/passkey')) sent.push(request.postData());
  });
  await press(second, 'Sign out');
  // The offer in the list is answered at once.
  await until(() => sent.length === 1);
  await heading(second, 'Security');
  assert.equal(sent.length, 1, 'signed in by autofill');
  const replayed = await second.evaluate(async (body) => {
    const answer = await fetch('/auth/passkey', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
    return [answer.status, (await answer.json()).error];
  }, sent[0]);
  assert.deepEqual(replayed, [401, 'second_factor_invalid']);
  other.cli(['user', 'delete', EMAIL, '--yes']);
  await until(async () => (await second.evaluate(() => fetch('/user/', { method: 'HEAD' }).then((it) => it.status))) === 401);
  const left = await openConsole(context, other);
  await press(left, 'Sign in with a passkey');
  await left.getByRole('alert').getByText(/./).first().waitFor();
  await heading(left, 'Sign in');
});
