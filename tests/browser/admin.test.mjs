// The console's admin pages: find a user, see why they cannot sign in, help; events; the overview.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import {
  AXE, EMAIL, PASSWORD, SHOTS, closeBrowser, goTo, heading, linkIn, openBrowser, press, said, signIn, startServer, totp, until,
} from './harness.mjs';

const ADMIN = 'root@example.com';

after(closeBrowser);

async function asAdmin(context, server) {
  server.cli(['user', 'add', ADMIN, '--role', 'admin', '--password-stdin'], PASSWORD);
  const page = await context.newPage();
  await page.goto(server.url);
  await signIn(page, PASSWORD, ADMIN);
  await heading(page, 'Profile');
  return page;
}

const post = (server, path, body, token) =>
  fetch(`${server.url}${path}`, { method: 'POST', headers: { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) }, body: JSON.stringify(body) });

const login = (server, email, password) => post(server, '/auth/login', { email, password });

/** Gives the user an authenticator app. */
async function withTotp(server) {
  const { data: { token } } = await (await login(server, EMAIL, PASSWORD)).json();
  const { data: { secret } } = await (await post(server, '/user/totp', { password: PASSWORD }, token)).json();
  assert.equal((await post(server, '/user/totp/confirm', { code: totp(secret) }, token)).status, 200);
}

test('somebody on the phone who cannot sign in is found and helped', async (t) => {
  const server = await startServer(t, { HALLPASS_THROTTLE__ON: 'false' });
  const page = await asAdmin(await openBrowser(t), server);
  for (let failed = 0; failed < 3; failed++) await login(server, EMAIL, 'wrong horse battery');
  server.cli(['user', 'disable', EMAIL]);

  await goTo(page, 'Users');
  assert.equal(await page.evaluate(() => document.activeElement.type), 'search', 'typing may begin at once');
  await page.keyboard.type('ada@');
  await page.getByText('1 found.').waitFor();
  await page.keyboard.press('Tab');
  await page.getByRole('link', { name: EMAIL }).focus();
  await page.keyboard.press('Enter');
  await heading(page, EMAIL);
  await page.getByText('The account is disabled').waitFor();
  await page.getByText('Failed sign-ins in the last hour: 3.').waitFor();
  await press(page, 'Enable');
  await said(page, 'The user can sign in again.');
  await page.getByRole('button', { name: 'Disable', exact: true }).waitFor();
  await page.getByLabel('New password', { exact: true }).fill('seventeen blue lanterns');
  await press(page, 'Set password');
  await said(page, 'The password was set.');
  assert.equal((await login(server, EMAIL, 'seventeen blue lanterns')).status, 200);

  await page.reload();
  await heading(page, EMAIL);
  await press(page, 'End all sessions');
  await press(page, 'End them all?');
  await said(page, 'Every session has ended.');
  await page.getByText('No active sessions.').waitFor();
  await page.getByRole('textbox', { name: 'Roles' }).fill('editor owner');
  await press(page, 'Save roles');
  await said(page, 'The roles were saved.');
  await page.getByText('user_roles_changed: none → editor owner').waitFor();

  await page.getByLabel('E-mail of the user').fill('ada');
  await press(page, 'Delete user');
  await page.getByText(`is not ${EMAIL}`).waitFor();
  await page.getByLabel('E-mail of the user').fill(EMAIL);
  await press(page, 'Delete user');
  await heading(page, 'Users');
  assert.doesNotMatch(server.cli(['user', 'list']), /ada@example\.com/);
});

test('an admin mails a link to choose a password, and invites, where there is mail', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-mails-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const mails = () => readdirSync(folder).filter((name) => name.endsWith('.eml')).map((name) => readFileSync(join(folder, name), 'utf8'));
  const server = await startServer(t, { HALLPASS_MAIL__URL: `file://${folder}` });
  const page = await asAdmin(await openBrowser(t), server);
  await goTo(page, 'Users');
  await page.getByRole('link', { name: EMAIL }).click();
  await press(page, 'Mail a link to choose one');
  await press(page, 'This ends every session. Send it?');
  await said(page, 'The link was sent.');
  await until(() => mails().some((mail) => mail.includes(`To: ${EMAIL}`) && linkIn(mail).startsWith('#/reset')));

  await goTo(page, 'Users');
  const add = page.getByRole('form', { name: 'Add a user' });
  await add.getByLabel('E-mail').fill('bob@example.com');
  await add.getByRole('button', { name: 'Add user' }).click();
  await said(page, 'The user was added, and the invitation was sent.');
  await until(() => mails().some((mail) => mail.includes('To: bob@example.com') && linkIn(mail).startsWith('#/invite')));
});

test('without mail, the admin pages offer no link and ask for a password', async (t) => {
  const server = await startServer(t);
  const page = await asAdmin(await openBrowser(t), server);
  await goTo(page, 'Users');
  const add = page.getByRole('form', { name: 'Add a user' });
  await add.getByLabel('E-mail').fill('bob@example.com');
  await add.getByRole('button', { name: 'Add user' }).click();
  await page.getByText('Password is required.').waitFor();
  await page.getByRole('link', { name: EMAIL }).click();
  await heading(page, EMAIL);
  assert.equal(await page.getByRole('button', { name: 'Mail a link' }).count(), 0);
});

test('the overview shows the state of the server that answers', async (t) => {
  const server = await startServer(t, { HALLPASS_THROTTLE__ON: 'false' });
  const page = await asAdmin(await openBrowser(t), server);
  await goTo(page, 'Overview');
  const figures = page.getByRole('region', { name: 'This server' }).getByRole('listitem');
  await figures.filter({ hasText: 'age of the newest key' }).waitFor();
  assert.deepEqual((await figures.allTextContents()).slice(0, 4), ['0 passwords waiting', '0 passwords turned away', '0 requests delayed', '1 signing keys']);
  assert.match(await figures.last().textContent(), /^\d+ minutes? age of the newest key$/);
});

test('a second factor that is lost is seen and removed', async (t) => {
  const server = await startServer(t, { HALLPASS_THROTTLE__ON: 'false' });
  const page = await asAdmin(await openBrowser(t), server);
  await withTotp(server);
  for (let wrong = 0; wrong < 2; wrong++) {
    const { challenge } = await (await login(server, EMAIL, PASSWORD)).json();
    await post(server, '/auth/second-factor', { challenge, code: '000000' });
  }
  await goTo(page, 'Users');
  await page.getByRole('link', { name: EMAIL }).click();
  await page.getByText('Wrong second factors in the last hour: 2.').waitFor();
  await page.getByText('totp', { exact: true }).waitFor();
  await press(page, 'Remove second factors');
  await press(page, 'The password alone will sign in. Remove them?');
  await said(page, 'The user has no second factor any more.');
  await page.getByText('totp', { exact: true }).waitFor({ state: 'detached' });
});

test('the keyboard alone finds a user, enables them, sets a password, reads events and the overview', async (t) => {
  const server = await startServer(t, { HALLPASS_THROTTLE__ON: 'false' });
  const page = await asAdmin(await openBrowser(t), server);
  server.cli(['user', 'disable', EMAIL]);
  const focused = () => page.evaluate(() => {
    const at = document.activeElement;
    // The label of a choice also contains its options.
    return at.getAttribute('aria-label') ?? at.labels?.[0]?.firstChild.textContent ?? at.textContent;
  });
  /** Presses Tab until what is focused has that name, and checks that the focus can be seen. */
  async function tabTo(name) {
    for (let presses = 0; presses < 60; presses++) {
      await page.keyboard.press('Tab');
      if ((await focused()) !== name) continue;
      const seen = await page.evaluate(() => {
        const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(document.activeElement);
        return (outlineStyle !== 'none' && outlineWidth !== '0px') || boxShadow !== 'none';
      });
      return assert.ok(seen, `the focus on ${name} cannot be seen`);
    }
    assert.fail(`${name} is not reached by the keyboard`);
  }
  const enter = () => page.keyboard.press('Enter');

  await tabTo('Users');
  await enter();
  await heading(page, 'Users');
  await until(async () => (await focused()) === 'Search by e-mail or name');
  await page.keyboard.type('ada@');
  await page.getByText('1 found.').waitFor();
  await tabTo(EMAIL);
  await enter();
  await heading(page, EMAIL);
  await tabTo('Enable');
  await enter();
  await said(page, 'The user can sign in again.');
  // The page is shown anew, and the button that undoes it has come.
  await page.getByRole('button', { name: 'Disable', exact: true }).waitFor();
  await until(async () => (await focused()) === EMAIL);
  await tabTo('New password');
  await page.keyboard.type('seventeen blue lanterns');
  await enter();
  await said(page, 'The password was set.');
  assert.equal((await login(server, EMAIL, 'seventeen blue lanterns')).status, 200);

  await page.keyboard.press('Control+Home');
  await page.evaluate(() => document.activeElement.blur());
  await tabTo('Events');
  await enter();
  await heading(page, 'Events');
  await tabTo('Kind');
  await page.keyboard.press('ArrowDown');
  assert.notEqual(await page.getByLabel('Kind').inputValue(), '', 'the arrow keys choose a kind');
  await page.evaluate(() => document.activeElement.blur());
  await tabTo('Overview');
  await enter();
  await heading(page, 'Overview');
  await tabTo('As a table');
  await enter();
  await page.getByRole('columnheader', { name: 'Number' }).first().waitFor();
});

test('10,000 users are searched and paged, and no name harms the page', async (t) => {
  const server = await startServer(t);
  const page = await asAdmin(await openBrowser(t), server);
  page.on('dialog', () => assert.fail('a name was run as a script'));
  const token = (await (await login(server, ADMIN, PASSWORD)).json()).data.token;
  const add = (email, name) =>
    fetch(`${server.url}/admin/users`, { method: 'POST', headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` }, body: JSON.stringify({ email, name, password: PASSWORD }) });
  server.addUsers(10_000);
  assert.equal((await add('evil@example.com', '<img src=x onerror=alert(1)>\u202egnp.exe\u2028x')).status, 201);

  // After an import the server writes the words of so many users in the background.
  const found = async () => (await (await fetch(`${server.url}/admin/users?q=user777`, { headers: { Authorization: `Bearer ${token}` } })).json()).data.users.length;
  await until(async () => (await found()) === 11);

  await goTo(page, 'Users');
  await page.getByText('The newest 50 are shown.').waitFor();
  const rows = page.locator('tbody tr');
  assert.match(await rows.first().textContent(), /evil@example\.com<img src=x onerror=alert\(1\)>\\u\{202e\}gnp\.exe\\u\{2028\}x/);
  assert.equal(await page.locator('main img').count(), 0);
  await press(page, 'Show more');
  await until(async () => (await rows.count()) === 100);
  const emails = await page.locator('tbody th').allTextContents();
  assert.equal(new Set(emails).size, 100, 'each once');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), emails[50], 'the keyboard goes on at the first new row');

  await page.getByRole('searchbox').fill('user777');
  await page.getByText('11 found.').waitFor();
  await page.getByRole('searchbox').fill('%');
  await page.getByText('No users found.').waitFor();
  await page.getByRole('searchbox').fill('');
  await page.getByLabel('State').selectOption('disabled');
  await page.getByText('No users found.').waitFor();
});

test('events are filtered, followed and saved', async (t) => {
  const server = await startServer(t);
  const page = await asAdmin(await openBrowser(t), server);
  await login(server, EMAIL, 'wrong horse battery');
  await goTo(page, 'Events');
  assert.equal(await page.getByLabel('Time').inputValue(), '', 'any time');
  await page.getByLabel('Kind').selectOption('sign_in_failed');
  const rows = page.locator('tbody tr');
  await until(async () => (await rows.count()) === 1);
  await page.getByLabel('Follow').check();
  await login(server, EMAIL, 'wrong horse battery');
  await until(async () => (await rows.count()) === 2);
  for (const [name, pattern] of [
    ['Save as CSV', /^"id","at","kind",.*\r\n"\d+","[^"]+","sign_in_failed".*\r\n.*\r\n$/],
    ['Save as JSON lines', /^\{"id":\d+.*\n\{.*"kind":"sign_in_failed".*\}\n$/],
  ]) {
    const download = page.waitForEvent('download');
    await press(page, name);
    assert.match(readFileSync(await (await download).path(), 'utf8'), pattern);
  }
});

test('a user downloads all that is stored of them', async (t) => {
  const server = await startServer(t);
  const page = await (await openBrowser(t)).newPage();
  await page.goto(server.url);
  await signIn(page);
  await heading(page, 'Profile');
  await goTo(page, 'Your data');
  const download = page.waitForEvent('download');
  await press(page, 'Download your data');
  const data = JSON.parse(readFileSync(await (await download).path(), 'utf8'));
  assert.equal(data.user.email, EMAIL);
  assert.deepEqual(data.events.map((event) => event.kind), ['signed_in', 'user_added']);
  assert.equal(data.sessions.length, 1);
});

test('an admin who is no longer one sees no admin page', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const page = await asAdmin(context, server);
  assert.equal(await page.getByRole('navigation').getByRole('link').count(), 9);
  const other = await (await openBrowser(t)).newPage();
  await other.goto(`${server.url}/#/users`);
  await signIn(other);
  await heading(other, 'Profile');
  assert.equal(await other.getByRole('navigation').getByRole('link').count(), 6);
});

const LOOKS = [
  ['light', { viewport: { width: 1440, height: 900 } }],
  ['dark', { viewport: { width: 1440, height: 900 }, colorScheme: 'dark' }],
  ['tablet', { viewport: { width: 768, height: 1024 } }],
  ['tablet-dark', { viewport: { width: 768, height: 1024 }, colorScheme: 'dark' }],
  ['phone', { viewport: { width: 320, height: 690 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }],
  ['phone-dark', { viewport: { width: 320, height: 690 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true, colorScheme: 'dark' }],
];

for (const [look, options] of LOOKS) {
  test(`every admin page is accessible and fits: ${look}`, async (t) => {
    const server = await startServer(t, { HALLPASS_THROTTLE__ON: 'false' });
    const page = await asAdmin(await openBrowser(t, options), server);
    server.addUsers(60);
    await login(server, EMAIL, 'wrong horse battery');
    await login(server, EMAIL, PASSWORD);
    mkdirSync(SHOTS, { recursive: true });
    const examine = async (name) => {
      await page.evaluate(() => Promise.all(document.getAnimations().map((it) => it.finished)));
      await page.screenshot({ path: `${SHOTS}/admin-${name}-${look}.png`, fullPage: look.startsWith('phone') });
      await page.evaluate(AXE);
      const { violations } = await page.evaluate(() => window.axe.run());
      assert.deepEqual(violations.map(({ id, impact, nodes }) => [id, impact, nodes.map((node) => node.html)]), [], `${name}, ${look}`);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${name} is ${overflow} px too wide, ${look}`);
      const cut = await page.evaluate(() => document.querySelector('nav').scrollWidth - document.querySelector('nav').clientWidth);
      assert.equal(cut, 0, `${name}: ${cut} px of the links are cut off, ${look}`);
    };
    await goTo(page, 'Overview');
    await page.getByRole('img', { name: /^Sign-ins: 2/ }).waitFor();
    await examine('overview');
    await page.getByText('As a table').first().click();
    await page.getByLabel('Time').selectOption('a year');
    await page.getByRole('img', { name: /^Failed sign-ins: 1/ }).waitFor();
    await examine('overview-year');
    await goTo(page, 'Users');
    await examine('users');
    await page.getByRole('searchbox').fill('ada');
    await page.getByText('1 found.').waitFor();
    await page.getByRole('link', { name: EMAIL }).click();
    await heading(page, EMAIL);
    await examine('user');
    await goTo(page, 'Events');
    await examine('events');
    await server.stop();
    await page.getByLabel('Time').selectOption('the last hour');
    await page.getByText('The server cannot be reached.').waitFor();
    await examine('events-unreachable');
  });
}
