// The npm package: what `npm pack` puts into it, used where there is no page, and its entries for React and Vue.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { EMAIL, PASSWORD, closeBrowser, openBrowser, signIn, signOut, startServer } from './harness.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const web = join(here, '../../web');
const folder = mkdtempSync(join(tmpdir(), 'hallpass-package-'));
const installed = join(here, 'node_modules/hallpass-client');
let packed;

before(() => {
  const run = (program, args, options) => execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], ...options });
  [packed] = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', folder, '--loglevel=error'], { cwd: web }));
  rmSync(installed, { recursive: true, force: true });
  mkdirSync(installed);
  run('tar', ['-xzf', join(folder, packed.filename), '-C', installed, '--strip-components=1']);
});

after(async () => {
  rmSync(folder, { recursive: true });
  rmSync(installed, { recursive: true, force: true });
  await closeBrowser();
});

/** Runs a module in Node. It must end by itself. */
function node(code) {
  const file = join(here, 'node_modules', `.hallpass-${process.pid}.mjs`);
  writeFileSync(file, code);
  try {
    return execFileSync(process.execPath, [file], { encoding: 'utf8', timeout: 20_000 }).trim();
  } finally {
    rmSync(file);
  }
}

/** The React or Vue app of a test, bundled. */
async function bundle(code) {
  const define = { __VUE_OPTIONS_API__: 'false', __VUE_PROD_DEVTOOLS__: 'false', __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false', 'process.env.NODE_ENV': '"production"' };
  const { outputFiles } = await build({ stdin: { contents: code, resolveDir: here, loader: 'jsx' }, bundle: true, write: false, format: 'esm', jsx: 'automatic', define });
  return outputFiles[0].text;
}

test('the package has its files, its licences and nothing else', () => {
  const files = packed.files.map(({ path }) => path).sort();
  assert.deepEqual(files, ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'hallpass.d.ts', 'hallpass.js', 'package.json', 'react.d.ts', 'react.js', 'vue.d.ts', 'vue.js']);
  for (const entry of ['react', 'vue']) {
    const lines = readFileSync(join(web, `${entry}.js`), 'utf8').split('\n').length - 1;
    assert.ok(lines < 60, `${entry}.js has ${lines} lines`);
  }
});

test('its version is the one of the crate', () => {
  const manifest = readFileSync(join(here, '../../Cargo.toml'), 'utf8');
  assert.equal(packed.version, manifest.match(/^version = "(.+)"$/m)[1]);
});

test('where there is no page, importing and creating neither throws nor keeps the process alive', () => {
  const said = node(`
    import { createHallpass } from 'hallpass-client';
    for (const options of [undefined, {}, { url: '/id' }, { url: 'https://id.example' }, { cookie: true }, { origins: ['nonsense'] }]) {
      const client = createHallpass(options);
      const heard = [];
      client.onChange((user) => heard.push(user));
      console.log(heard.length, client.current(), client.claims(), await client.user(), await client.token());
      await new Promise((resolve) => setImmediate(resolve));
      console.log(JSON.stringify(heard));
    }
    const failed = await createHallpass().signIn({ email: '', password: '' }).catch((error) => error);
    console.log(failed.name, failed.message);
  `);
  const each = '0 null null null null\n[null]\n'.repeat(6);
  assert.equal(said, `${each}TypeError there is no page here to find Hallpass by; name it in the option "url"`);
});

test('in Node it signs in, with the tokens in memory', async (t) => {
  const server = await startServer(t);
  const said = node(`
    import { HallpassError, createHallpass } from 'hallpass-client';
    const { signIn, fetch, signOut, current } = createHallpass({ url: '${server.url}' });
    const refused = await signIn({ email: '${EMAIL}', password: 'wrong' }).catch((error) => error);
    console.log(refused instanceof HallpassError, refused.error);
    await signIn({ email: '${EMAIL}', password: '${PASSWORD}' });
    console.log(current().email, (await fetch('/user/')).status);
    await signOut();
    console.log(current());
  `);
  assert.equal(said, `true credentials_invalid\n${EMAIL} 200\nnull`);
});

test('on a server, React and Vue render that nothing is known yet', () => {
  const said = node(`
    import { createHallpass } from 'hallpass-client';
    import { HallpassProvider, useUser } from 'hallpass-client/react';
    import { hallpass, useHallpass } from 'hallpass-client/vue';
    import { createElement } from 'react';
    import { renderToString } from 'react-dom/server';
    import { createSSRApp, h } from 'vue';
    import { renderToString as renderVue } from 'vue/server-renderer';
    const client = createHallpass();
    const Who = () => createElement('p', null, String(useUser()));
    console.log(renderToString(createElement(HallpassProvider, { client }, createElement(Who))));
    const app = createSSRApp({ setup: () => { const { user } = useHallpass(); return () => h('p', String(user.value)); } });
    console.log(await renderVue(app.use(hallpass(client))));
  `);
  assert.equal(said, '<p>undefined</p>\n<p>undefined</p>');
});

const APPS = {
  react: `
    import { createHallpass } from 'hallpass-client';
    import { HallpassProvider, useHallpass, useUser } from 'hallpass-client/react';
    import { StrictMode, useState } from 'react';
    import { createRoot } from 'react-dom/client';
    const client = createHallpass();
    function App() {
      const user = useUser();
      const { signIn, signOut } = useHallpass();
      const [problem, setProblem] = useState('');
      const submit = (form) => signIn(Object.fromEntries(form)).catch(({ error }) => setProblem(error));
      if (user === undefined) return <p role="status">…</p>;
      if (user) return <p role="status">Hello, {user.email}! <button onClick={() => signOut()}>Sign out</button></p>;
      return <form action={submit}><input name="email" aria-label="E-mail" /><input name="password" type="password" aria-label="Password" /><button>Sign in</button><p role="status">Nobody. {problem}</p></form>;
    }
    createRoot(document.getElementById('app')).render(<StrictMode><HallpassProvider client={client}><App /></HallpassProvider></StrictMode>);
  `,
  vue: `
    import { createHallpass } from 'hallpass-client';
    import { hallpass, useHallpass } from 'hallpass-client/vue';
    import { createApp, h, ref } from 'vue';
    const App = {
      setup() {
        const { user, signIn, signOut } = useHallpass();
        const problem = ref('');
        const submit = (event) => {
          event.preventDefault();
          signIn(Object.fromEntries(new FormData(event.target))).catch(({ error }) => (problem.value = error));
        };
        return () =>
          user.value === undefined ? h('p', { role: 'status' }, '…')
          : user.value ? h('p', { role: 'status' }, ['Hello, ' + user.value.email + '! ', h('button', { onClick: () => signOut() }, 'Sign out')])
          : h('form', { onSubmit: submit }, [h('input', { name: 'email', 'aria-label': 'E-mail' }), h('input', { name: 'password', type: 'password', 'aria-label': 'Password' }), h('button', 'Sign in'), h('p', { role: 'status' }, 'Nobody. ' + problem.value)]);
      },
    };
    createApp(App).use(hallpass(createHallpass())).mount('#app');
  `,
};

for (const [name, code] of Object.entries(APPS)) {
  test(`the entry for it tells every tab who is signed in, from the first moment: ${name}`, async (t) => {
    const server = await startServer(t);
    const script = await bundle(code);
    const context = await openBrowser(t);
    await context.route(`${server.url}/app`, (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html><link rel="icon" href="data:,"><div id="app"></div><script type="module" src="/app.js"></script>' }));
    await context.route(`${server.url}/app.js`, (route) => route.fulfill({ contentType: 'text/javascript', body: script }));
    const pages = [await context.newPage(), await context.newPage()];
    const says = (page, text) => page.getByRole('status').filter({ hasText: text }).waitFor();
    for (const page of pages) {
      await page.goto(`${server.url}/app`);
      await says(page, 'Nobody.');
    }
    await signIn(pages[0], 'wrong');
    await says(pages[0], 'Nobody. credentials_invalid');
    await signIn(pages[0]);
    for (const page of pages) await says(page, `Hello, ${EMAIL}!`);
    await pages[1].reload();
    await says(pages[1], `Hello, ${EMAIL}!`);
    await signOut(pages[1]);
    for (const page of pages) await says(page, 'Nobody.');
  });
}
