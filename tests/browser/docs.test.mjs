// The page /docs: signs in, tries requests out, keeps nothing, loads nothing from elsewhere.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { EMAIL, PASSWORD, closeBrowser, openBrowser, startServer } from './harness.mjs';

after(closeBrowser);

test('the page signs in and out, sends requests, and stores nothing', async (t) => {
  const { url } = await startServer(t);
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

  const kept = () => page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]);
  assert.deepEqual(await kept(), [0, 0, ''], 'nothing is kept');

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
  assert.deepEqual(await kept(), [0, 0, ''], 'nothing is kept');

  await page.reload();
  await said('without a token');
  assert.deepEqual(await kept(), [0, 0, ''], 'nothing is kept');
  assert.deepEqual(elsewhere, [], 'nothing from elsewhere');
});
