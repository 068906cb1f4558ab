// The page /docs in a real browser: node page.mjs URL E-MAIL PASSWORD CHROMIUM
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

// Installed beside the working folder, not beside this file.
const { chromium } = createRequire(`${process.cwd()}/`)('playwright-core');
const [url, email, password, executablePath] = process.argv.slice(2);

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
try {
  const page = await browser.newPage();
  const complaints = [];
  const elsewhere = [];
  page.on('console', (message) => {
    // The browser reports every 401 too; those are asked for below.
    if (['error', 'warning'].includes(message.type()) && !message.text().includes('401')) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => {
    const to = request.url();
    if (!to.startsWith(`${url}/`) && !to.startsWith('data:')) elsewhere.push(to);
  });

  const said = (text) => page.waitForFunction((text) => document.querySelector('output').textContent.includes(text), text);
  const signIn = async (password) => {
    await page.getByRole('textbox', { name: 'E-mail' }).fill(email);
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
  await signIn(password);
  await said(`as ${email}`);
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
    body: JSON.stringify({ email, password }),
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

  assert.deepEqual(complaints, [], 'no error, no violation of the policy');
  assert.deepEqual(elsewhere, [], 'nothing from elsewhere');
  console.log('docs-page: signs in and out, tries out, keeps nothing, loads nothing from elsewhere');
} finally {
  await browser.close();
}
