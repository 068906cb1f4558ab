// The page /docs: signs in, tries requests out, keeps no token, loads nothing from elsewhere, and axe finds nothing.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { after, test } from 'node:test';
import { AXE, EMAIL, PASSWORD, SHOTS, closeBrowser, openBrowser, startServer } from './harness.mjs';

after(closeBrowser);

test('the page signs in and out, sends requests, and stores nothing', async (t) => {
  const { url, cli } = await startServer(t);
  const context = await openBrowser(t);
  const page = await context.newPage();
  const elsewhere = [];
  page.on('request', (request) => {
    const to = request.url();
    if (!to.startsWith(`${url}/`) && !to.startsWith('data:')) elsewhere.push(to);
  });

  const said = (text) => page.locator('output', { hasText: text }).waitFor();
  const signIn = async (password) => {
    await page.getByRole('textbox', { name: 'E-mail' }).fill(EMAIL);
    await page.getByRole('textbox', { name: 'Password' }).fill(password);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  };
  const block = page.locator('#operations-Account-showUser');
  const execute = async () => {
    const answered = page.waitForResponse((answer) => answer.url() === `${url}/user/`);
    await block.getByRole('button', { name: 'Execute' }).click();
    return (await answered).status();
  };

  // What stands in the address is no configuration.
  await page.goto(`${url}/docs?url=/health/live&configUrl=/health/live&persistAuthorization=true`);
  await block.locator('.opblock-summary-control').click();
  await block.getByRole('button', { name: 'Try it out' }).click();
  assert.equal(await execute(), 401, 'a stranger');

  await signIn('wrong');
  await said('credentials_invalid');
  await signIn(PASSWORD);
  await said(`as ${EMAIL}`);
  assert.equal(await execute(), 200, 'with the token');

  // The client's hint that there may be a session is all.
  const kept = () => page.evaluate(() => [Object.values(localStorage).join(), sessionStorage.length, document.cookie]);
  assert.deepEqual(await kept(), ['signed in', 0, ''], 'no token is kept');
  await page.reload();
  await said(`as ${EMAIL}`);
  await block.locator('.opblock-summary-control').click();
  await block.getByRole('button', { name: 'Try it out' }).click();
  assert.equal(await execute(), 200, 'after a reload');
  assert.equal(cli(['events', '--json']).match(/"signed_in"/g).length, 1, 'a reload leaves no session behind');

  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await said('without a token');
  assert.equal(await execute(), 401, 'signed out');

  // Swagger UI's own way in, with a token from elsewhere.
  const login = await fetch(`${url}/auth/login`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ email: EMAIL, password: PASSWORD }),
  });
  await page.locator('.auth-wrapper > .authorize').click();
  const dialog = page.locator('.modal-ux');
  const bearer = dialog.locator('.auth-container', { hasText: 'Bearer' });
  await bearer.getByRole('textbox').fill((await login.json()).data.token);
  await bearer.locator('button.authorize').click();
  await dialog.locator('.close-modal').click();
  assert.equal(await execute(), 200, 'with a token that was pasted');
  assert.deepEqual(await kept(), ['', 0, ''], 'nothing is kept');

  await page.reload();
  await said('without a token');
  assert.deepEqual(await kept(), ['', 0, ''], 'nothing is kept');
  assert.deepEqual(elsewhere, [], 'nothing from elsewhere');
});

/** Returns the texts that lie on another text. */
const overlaps = (page) =>
  page.evaluate(() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const texts = [];
    while (walker.nextNode()) {
      const node = walker.currentNode;
      const isSeen = node.parentElement.checkVisibility({ opacityProperty: true, visibilityProperty: true });
      if (!isSeen || node.data.trim() === '' || node.parentElement.closest('script, style, option, [hidden]')) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      for (const rect of range.getClientRects()) texts.push({ text: node.data.trim().slice(0, 40), node, rect });
    }
    const found = [];
    texts.forEach((a, index) => {
      for (const b of texts.slice(index + 1)) {
        if (a.node === b.node) continue;
        const width = Math.min(a.rect.right, b.rect.right) - Math.max(a.rect.left, b.rect.left);
        const height = Math.min(a.rect.bottom, b.rect.bottom) - Math.max(a.rect.top, b.rect.top);
        // The boxes of neighbouring lines touch; letters do not before they share a third of the line.
        if (width > 2 && height > Math.min(a.rect.height, b.rect.height) / 3) found.push(`${a.text} / ${b.text}`);
      }
    });
    return found;
  });

for (const [name, colorScheme, width] of [['light', 'light', 1280], ['dark', 'dark', 1280], ['on a phone', 'light', 375]]) {
  test(`axe finds nothing, no text lies on another, and nothing is wider than the page: ${name}`, async (t) => {
    const { url } = await startServer(t);
    const context = await openBrowser(t, { colorScheme, viewport: { width, height: 900 } });
    const page = await context.newPage();
    await page.goto(`${url}/docs`);
    const rename = page.locator('#operations-Account-renameUser');
    await rename.locator('.opblock-summary-control').click();
    await rename.getByRole('button', { name: 'Try it out' }).click();
    const answered = page.waitForResponse((answer) => answer.url() === `${url}/user/`);
    await rename.getByRole('button', { name: 'Execute' }).click();
    await answered;
    await rename.locator('.live-responses-table').waitFor();
    await page.locator('#operations-Sessions-endSession .opblock-summary-control').click();
    await page.locator('#operations-Admin-listUsers .opblock-summary-control').click();
    await page.locator('#operations-Admin-listUsers .parameters').first().waitFor();
    await page.evaluate(`${AXE};0`);
    const found = async () => {
      const { violations } = await page.evaluate(() => window.axe.run(document));
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target).join(', ')}`);
    };
    // Until the sections have opened, their colours are mixed.
    let violations = await found();
    for (let tries = 0; violations.length > 0 && tries < 20; tries++) violations = await found();
    assert.deepEqual(violations, []);
    assert.equal(await page.evaluate(() => document.documentElement.classList.contains('dark-mode')), name === 'dark');
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
    assert.deepEqual(await overlaps(page), [], 'no text lies on another');
    mkdirSync(SHOTS, { recursive: true });
    await page.screenshot({ path: `${SHOTS}/docs-${name.replaceAll(' ', '-')}.png`, fullPage: true });
  });
}
