// The pages that links in mails lead to, with the mails that the server really writes.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { AXE, EMAIL, PASSWORD, SHOTS, closeBrowser, heading, linkIn, openBrowser, press, said, signIn, startServer, textOf, until } from './harness.mjs';

const NEW_PASSWORD = 'seventeen blue lanterns';

after(closeBrowser);

/** Starts a server whose mails are files, and a console. */
async function start(t, settings = {}, options = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-mails-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const server = await startServer(t, { HALLPASS_MAIL__URL: `file://${folder}`, HALLPASS_LINK__ON: 'true', ...settings });
  const context = await openBrowser(t, options);
  const page = await context.newPage();
  await page.goto(server.url);
  await heading(page, 'Sign in');

  /** Waits for the next mail to an address, and returns the fragment of its link and its code. */
  async function mail(to) {
    let found;
    await until(() => {
      for (const name of readdirSync(folder).filter((name) => name.endsWith('.eml'))) {
        const mail = readFileSync(join(folder, name), 'utf8');
        if (!mail.includes(`To: ${to}\r\n`)) continue;
        rmSync(join(folder, name));
        const text = textOf(mail);
        found = { link: linkIn(mail), code: text.match(/^\s*(\d{6})\s*$/m)?.[1], text };
      }
      return found;
    });
    return found;
  }

  const open = async (link, title) => {
    // A link opens a new page.
    await page.goto('about:blank');
    await page.goto(`${server.url}/${link}`);
    await heading(page, title);
  };
  return { server, context, page, mail, open };
}

test('a forgotten password is replaced by the link in the mail, which leaves no trace', async (t) => {
  const { page, mail, open } = await start(t);
  await page.getByRole('link', { name: 'Forgot your password?' }).click();
  await heading(page, 'Forgot your password?');
  await page.getByLabel('E-mail').fill(EMAIL);
  await press(page, 'Send the link');
  await heading(page, 'Look into your mail');
  const { link } = await mail(EMAIL);
  await open(link, 'Choose a password');
  const password = page.getByLabel('New password', { exact: true });
  await password.fill('password1');
  await press(page, 'Save');
  await page.getByText('New password is among those that are tried first').waitFor();
  await password.fill(NEW_PASSWORD);
  await press(page, 'Save');
  await heading(page, 'Sign in');
  await said(page, 'Your password was saved. Sign in with it.');
  assert.ok(!page.url().includes('token'), page.url());
  await page.goBack();
  assert.ok(!page.url().includes('token'), 'the link is not in the history');
  await page.goForward();
  await signIn(page, NEW_PASSWORD);
  await heading(page, 'Profile');

  await open(link, 'Choose a password');
  await password.fill(NEW_PASSWORD);
  await press(page, 'Save');
  await page.getByText('This link or code does not work').waitFor();
});

test('a page posts nothing before its button is pressed', async (t) => {
  const { page, mail, open, context } = await start(t);
  await page.goto(`${page.url().split('#')[0]}#/register`);
  await page.getByLabel('E-mail').fill('grace@example.com');
  await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await press(page, 'Create account');
  await heading(page, 'Profile');
  await page.getByText('not verified').waitFor();
  await mail('grace@example.com');
  await press(page, 'Send another link');
  await said(page, 'Another link is on its way.');
  const { link } = await mail('grace@example.com');
  const posts = [];
  context.on('request', (request) => request.url().includes('/auth/email/') && posts.push(request.url()));
  await open(link, 'Verify your address');
  assert.deepEqual(posts, []);
  await press(page, 'Verify');
  await heading(page, 'Profile');
  await said(page, 'Your address is verified.');
  assert.equal(posts.length, 1);
  assert.equal(await page.getByText('not verified').count(), 0);
});

test('an address is changed by its owner, and the change is taken back from the old one', async (t) => {
  const { page, mail, open } = await start(t);
  await signIn(page);
  await heading(page, 'Profile');
  await page.getByLabel('New address').fill('other@example.com');
  const card = page.getByRole('form', { name: 'Change your address' });
  await card.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await press(page, 'Send the link');
  await said(page, 'A link was sent to other@example.com.');
  await mail(EMAIL);
  await open((await mail('other@example.com')).link, 'Change your address');
  await press(page, 'Change');
  await heading(page, 'Profile');
  await page.getByText('other@example.com', { exact: true }).first().waitFor();

  await open((await mail(EMAIL)).link, 'Take the change back');
  await press(page, 'Take it back');
  await heading(page, 'Sign in');
  await open((await mail(EMAIL)).link, 'Choose a password');
  await page.getByLabel('New password', { exact: true }).fill(NEW_PASSWORD);
  await press(page, 'Save');
  await signIn(page, NEW_PASSWORD);
  await heading(page, 'Profile');
  await page.getByText(EMAIL, { exact: true }).first().waitFor();
});

test('a link signs in in the browser that asked for it, and a code anywhere', async (t) => {
  const { server, page, mail, open } = await start(t);
  const ask = async () => {
    await page.getByRole('link', { name: 'Sign in by mail' }).click();
    await page.getByLabel('E-mail').fill(EMAIL);
    await press(page, 'Send');
    await heading(page, 'Look into your mail');
    return mail(EMAIL);
  };
  const { link, code } = await ask();
  const elsewhere = await (await openBrowser(t)).newPage();
  await elsewhere.goto(`${server.url}/${link}`);
  await press(elsewhere, 'Sign in');
  await elsewhere.getByText('This link or code does not work').waitFor();

  await page.getByRole('textbox', { name: 'Code' }).fill(code === '111111' ? '222222' : '111111');
  await press(page, 'Sign in');
  await page.getByText('This link or code does not work').waitFor();
  await open(link, 'Sign in');
  await press(page, 'Sign in');
  await heading(page, 'Profile');
  await press(page, 'Sign out');

  await heading(page, 'Sign in');
  const second = await ask();
  await page.getByRole('textbox', { name: 'Code' }).fill(second.code);
  await press(page, 'Sign in');
  await heading(page, 'Profile');
});

test('somebody who must verify their address first is told so, and the same where it is taken', async (t) => {
  const { page, mail, open } = await start(t, { HALLPASS_REGISTRATION__VERIFY: 'required' });
  for (const address of ['grace@example.com', EMAIL]) {
    await page.getByRole('link', { name: 'Create an account' }).click();
    await page.getByLabel('E-mail').fill(address);
    await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
    await press(page, 'Create account');
    await heading(page, 'Look into your mail');
    await page.getByRole('link', { name: 'Sign in' }).click();
    await heading(page, 'Sign in');
  }
  const { link } = await mail('grace@example.com');
  await open(link, 'Verify your address');
  await press(page, 'Verify');
  await heading(page, 'Sign in');
  await signIn(page, PASSWORD, 'grace@example.com');
  await heading(page, 'Profile');
});

test('without mail the console offers none of it', async (t) => {
  const { page } = await start(t, { HALLPASS_MAIL__URL: undefined, HALLPASS_LINK__ON: undefined });
  assert.equal(await page.getByRole('link', { name: 'Forgot your password?' }).count(), 0);
  assert.equal(await page.getByRole('link', { name: 'Sign in by mail' }).count(), 0);
  await signIn(page);
  await heading(page, 'Profile');
  assert.equal(await page.getByLabel('New address').count(), 0);
});

for (const [look, options] of [
  ['light', { viewport: { width: 1200, height: 800 } }],
  ['phone-dark', { viewport: { width: 320, height: 690 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true, colorScheme: 'dark' }],
]) {
  test(`every page of a mail is accessible and fits: ${look}`, async (t) => {
    const { page, open } = await start(t, {}, options);
    mkdirSync(SHOTS, { recursive: true });
    for (const [name, title] of [
      ['forgot', 'Forgot your password?'],
      ['reset', 'Choose a password'],
      ['invite', 'Welcome'],
      ['verify', 'Verify your address'],
      ['change', 'Change your address'],
      ['undo', 'Take the change back'],
      ['link', 'Sign in'],
    ]) {
      await open(`#/${name}?token=none`, title);
      await page.evaluate(() => Promise.all(document.getAnimations().map((it) => it.finished)));
      await page.screenshot({ path: `${SHOTS}/mail-${name}-${look}.png` });
      await page.evaluate(AXE);
      const { violations } = await page.evaluate(() => window.axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), [], `${name}, ${look}`);
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, `${name} fits`);
    }
  });
}
