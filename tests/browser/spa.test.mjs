// The guide's examples, word for word: type-checked, built, and used in a browser from another origin.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { compileScript, parse } from 'vue/compiler-sfc';
import { EMAIL, PASSWORD, closeBrowser, linkIn, openBrowser, openClient, signIn, signOut, startApp, startServer, until } from './harness.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const web = join(here, '../../web');
const folder = join(here, 'spa');
const APPS = ['plain', 'react', 'vue'];
const RESETS = APPS.map((app) => `reset/${app}`);

/** Vue's own compiler, for a file of script and template. */
const vue = {
  name: 'vue',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.vue$/ }, ({ path: filename }) => {
      const { descriptor } = parse(readFileSync(filename, 'utf8'), { filename });
      return { contents: compileScript(descriptor, { id: 'app', inlineTemplate: true }).content, loader: 'ts' };
    }),
};

before(() => {
  rmSync(folder, { recursive: true, force: true });
  const guide = readFileSync(join(here, '../../docs/spa.md'), 'utf8');
  for (const [, name, code] of guide.matchAll(/^\*\*`([^`]+)`\*\*\n\n```\w+\n([\s\S]*?)^```$/gm)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), code);
  }
  for (const app of [...APPS, ...RESETS, 'factors', 'passkeys']) for (const file of ['hallpass.js', 'hallpass.d.ts']) copyFileSync(join(web, file), join(folder, app, file));
});

after(closeBrowser);

test('tsc accepts the examples, and rejects what the declarations do not have', () => {
  const files = readdirSync(folder, { recursive: true }).filter((name) => /(?<!\.d)\.(ts|tsx|vue)$/.test(name));
  assert.deepEqual(files.sort(), [
    'factors/main.ts', 'passkeys/main.ts', 'plain/main.ts', 'react/main.tsx',
    'reset/plain/main.ts', 'reset/react/main.tsx', 'reset/vue/Reset.vue', 'reset/vue/main.ts', 'vue/App.vue', 'vue/main.ts',
  ]);
  const check = (program) => execFileSync(join(here, 'node_modules/.bin', program), ['--project', here], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  // Vue's files are known to its own front to tsc alone; the declarations themselves are checked by tsc as it is.
  assert.equal(check('vue-tsc'), '');
  assert.equal(execFileSync(join(here, 'node_modules/.bin/tsc'), ['--strict', '--noEmit', '--lib', 'esnext,dom', join(web, 'hallpass.d.ts')], { encoding: 'utf8' }), '');
});

test('the declarations match the client', async (t) => {
  const server = await startServer(t);
  const page = await openClient(await openBrowser(t), `${server.url}/blank`);
  const declared = readFileSync(join(web, 'hallpass.d.ts'), 'utf8').split('export interface Hallpass ')[1];
  const names = [...declared.matchAll(/^ {2}(\w+)\(/gm)].map(([, name]) => name);
  assert.deepEqual((await page.evaluate(() => Object.keys(window.client))).sort(), names.sort());
});

/** Builds an example and serves it on another origin than a server's. Returns its address and the server. */
async function serve(t, app, settings = {}) {
  const files = {};
  const origin = `http://localhost:${await startApp(t, files)}`;
  const server = await startServer(t, { HALLPASS_SERVER__CORS_ORIGINS: origin, ...settings });
  const page = readFileSync(join(folder, app, 'index.html'), 'utf8');
  const entry = page.match(/src="\.\/(main\.tsx?)"/)[1];
  const define = { __VUE_OPTIONS_API__: 'false', __VUE_PROD_DEVTOOLS__: 'false', __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false', 'process.env.NODE_ENV': '"production"' };
  const { outputFiles } = await build({ entryPoints: [join(folder, app, entry)], bundle: true, write: false, format: 'esm', jsx: 'automatic', define, plugins: [vue] });
  files['/main.js'] = outputFiles[0].text.replaceAll('http://localhost:8080', `http://localhost:${server.port}`);
  files['/'] = page.replace(entry, 'main.js').replace('<title>', '<link rel="icon" href="data:,"><title>');
  return { origin, server };
}

for (const app of APPS) {
  test(`the example signs in and out, in every tab: ${app}`, async (t) => {
    const { origin } = await serve(t, app);
    const context = await openBrowser(t);
    const pages = [await context.newPage(), await context.newPage()];
    const says = (page, text) => page.getByRole('status').filter({ hasText: text }).waitFor();
    for (const page of pages) {
      await page.goto(origin);
      await says(page, 'Please sign in.');
    }
    await signIn(pages[0], 'wrong');
    await says(pages[0], '401 Unauthorized Access');
    await signIn(pages[0], PASSWORD);
    for (const page of pages) await says(page, `Hello, ${EMAIL}!`);
    await pages[1].reload();
    await says(pages[1], `Hello, ${EMAIL}!`);
    await signOut(pages[1]);
    for (const page of pages) await page.getByText(`Hello, ${EMAIL}!`).waitFor({ state: 'detached' });
  });
}

for (const app of RESETS) {
  test(`the example resets a password: ${app}`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'hallpass-mails-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const { origin, server } = await serve(t, app, { HALLPASS_MAIL__URL: `file://${folder}` });
    const body = JSON.stringify({ email: EMAIL });
    await fetch(`${server.url}/auth/password/forgot`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
    const mails = () => readdirSync(folder).filter((name) => name.endsWith('.eml'));
    await until(() => mails().length > 0);
    const link = linkIn(readFileSync(join(folder, mails()[0]), 'utf8'));

    const page = await (await openBrowser(t)).newPage();
    await page.goto(`${origin}/${link}`);
    const says = (text) => page.getByRole('status').filter({ hasText: text }).waitFor();
    await page.getByLabel('New password').fill('password1');
    await page.getByRole('button', { name: 'Save' }).click();
    await says('is among those that are tried first');
    await page.getByLabel('New password').fill('seventeen blue lanterns');
    await page.getByRole('button', { name: 'Save' }).click();
    await says('Saved. Sign in with it.');
    assert.equal(page.url(), `${origin}/`);
    const login = JSON.stringify({ email: EMAIL, password: 'seventeen blue lanterns' });
    const answer = await fetch(`${server.url}/auth/login`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: login });
    assert.equal(answer.status, 200);
  });
}
