// What the operator sets about the console: its name, logo and colour, and where it sends people after sign-in.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { AXE, PASSWORD, closeBrowser, heading, openBrowser, signIn, startApp, startServer } from './harness.mjs';

after(closeBrowser);

const LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><script>throw new Error("run")</script><rect width="8" height="8" fill="#a16207"/></svg>';

test('the console has the name, the logo and the colour of the operator, readable in light and dark', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-look-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'logo.svg'), LOGO);
  // Yellow: neither white nor black text on it would do in both.
  const server = await startServer(t, {
    HALLPASS_CONSOLE__NAME: 'Museum of Clocks',
    HALLPASS_CONSOLE__LOGO: join(folder, 'logo.svg'),
    HALLPASS_CONSOLE__ACCENT: '#facc15',
  });
  for (const colorScheme of ['light', 'dark']) {
    const context = await openBrowser(t, { colorScheme });
    const page = await context.newPage();
    await page.goto(server.url);
    await heading(page, 'Sign in');
    assert.equal(await page.title(), 'Sign in · Museum of Clocks');
    await page.getByText('to your Museum of Clocks account').waitFor();
    assert.equal(await page.locator('main img').getAttribute('src'), '/console/logo');
    assert.ok(await page.locator('main img').evaluate((image) => image.decode().then(() => image.naturalWidth > 0)));
    const axe = async () => {
      await page.evaluate(`${AXE};0`);
      const { violations } = await page.evaluate(() => window.axe.run(document));
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].target}`), [], colorScheme);
    };
    await axe();
    await signIn(page);
    await heading(page, 'Profile');
    assert.equal(await page.locator('#bar .brand').textContent(), 'Museum of Clocks');
    await axe();
  }
});

test('a logo that is opened as a page runs no script', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-look-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'logo.svg'), LOGO);
  const server = await startServer(t, { HALLPASS_CONSOLE__LOGO: join(folder, 'logo.svg') });
  const page = await (await openBrowser(t, {}, /Blocked script execution|Content Security Policy/)).newPage();
  assert.equal((await page.goto(`${server.url}/console/logo`)).status(), 200);
  // What the harness looks at does not exist in a sandbox.
  await page.close();
});

test('after a wrong password the focus is on the password, selected', async (t) => {
  const server = await startServer(t);
  const page = await (await openBrowser(t)).newPage();
  await page.goto(server.url);
  await signIn(page, 'wrong');
  await page.getByText('The e-mail or the password is wrong.').waitFor();
  const password = page.getByLabel('Password', { exact: true });
  assert.ok(await password.evaluate((input) => input === document.activeElement));
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press('Enter');
  await heading(page, 'Profile');
});

test('a sign-in sends people on to the origins that are set, and nowhere else', async (t) => {
  const origin = `http://localhost:${await startApp(t, {})}`;
  const server = await startServer(t, { HALLPASS_CONSOLE__CONTINUE_ORIGINS: origin });
  const context = await openBrowser(t);
  const open = async (target) => {
    const page = await context.newPage();
    await page.goto(`${server.url}/#/sign-in?continue=${encodeURIComponent(target)}`);
    return page;
  };
  const page = await open(`${origin}/?from=console#top`);
  // The detour over the other page keeps where to go.
  await page.getByRole('link', { name: 'Create an account' }).click();
  await heading(page, 'Create an account');
  await page.getByRole('link', { name: 'Sign in', exact: true }).click();
  await heading(page, 'Sign in');
  await signIn(page);
  await page.waitForURL(`${origin}/?from=console#top`);

  const again = await open(`${origin}/?next`);
  await again.waitForURL(`${origin}/?next`);
  const within = await open('/docs');
  await within.waitForURL(`${server.url}/docs`);

  for (const target of ['https://evil.example/', '//evil.example', 'javascript:alert(1)', 'data:text/html,x', `${origin}.evil.example/`, `${origin}@evil.example/`, '']) {
    const stays = await open(target);
    await heading(stays, 'Profile');
    assert.equal(new URL(stays.url()).origin, server.url, target);
  }
});
