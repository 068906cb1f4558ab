// Signs in and out with an app of docs/ssr.md, in two tabs: `node recipe.mjs NAME URL`. Run by .ci/recipes.

import { chromium } from 'playwright-core';

const [name, url] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
const context = await browser.newContext();
context.setDefaultTimeout(30_000);
const complaints = [];
context.on('console', (message) => {
  // Chromium logs the refused sign-in and an icon that the app does not have.
  if (message.type() === 'error' && !message.text().startsWith('Failed to load resource:')) complaints.push(message.text());
});
context.on('weberror', (error) => complaints.push(String(error.error())));

const pages = [await context.newPage(), await context.newPage()];
const say = async (text) => {
  for (const page of pages) await page.getByRole('status').filter({ hasText: text }).waitFor();
};
for (const page of pages) await page.goto(url);
await say('Please sign in.');
await pages[0].getByLabel('E-mail').fill('ada@example.com');
await pages[0].getByLabel('Password').fill('correct horse battery');
await pages[0].getByRole('button', { name: 'Sign in' }).click();
await say('Hello, ada@example.com!');
await pages[1].reload();
await say('Hello, ada@example.com!');
// The page says it before the server knows.
const answered = pages[1].waitForResponse('**/auth/logout');
await pages[1].getByRole('button', { name: 'Sign out' }).click();
await answered;
await say('Please sign in.');
await browser.close();
if (complaints.length > 0) throw new Error(`${name}: ${complaints.join('\n')}`);
console.log(`${name}: signed in and out, in every tab`);
