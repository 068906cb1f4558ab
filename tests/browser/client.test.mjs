// The browser client on a page with nothing else on it.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { EMAIL, PASSWORD, closeBrowser, listen, openBrowser, openClient, startApp, startServer, until, watch } from './harness.mjs';

const NEW_PASSWORD = 'seventeen blue lanterns';

after(closeBrowser);

const signIn = (page) => page.evaluate((credentials) => window.client.signIn(credentials), { email: EMAIL, password: PASSWORD });
const status = (page, path = '/user/') => page.evaluate(async (path) => (await window.client.fetch(path)).status, path);
const userOf = (page) => page.evaluate(async () => (await window.client.user())?.email ?? null);
const failure = (page, call) =>
  page.evaluate(
    (call) => new Function('client', `return ${call}`)(window.client).then(() => null, ({ name, message, status, error, fields, retryAfter }) => ({ name, message, status, error, fields, retryAfter })),
    call,
  );
/** Returns the server's `error` for a token. */
const verdict = async (url, token) => (await (await fetch(`${url}/user/`, { headers: { Authorization: `Bearer ${token}` } })).json()).error;

test('the client is one module without imports, sent as less than 7 KB and told once', async (t) => {
  const source = readFileSync(new URL('../../web/hallpass.js', import.meta.url), 'utf8');
  assert.doesNotMatch(source, /^\s*(import|export .* from)\b/m);
  const { url } = await startServer(t);
  for (const encoding of ['br', 'gzip']) {
    // Node's own fetch decompresses, and tells the length that was sent.
    const answer = await fetch(`${url}/client/hallpass.js`, { headers: { 'Accept-Encoding': encoding } });
    assert.equal(answer.headers.get('Content-Encoding'), encoding);
    assert.equal(answer.headers.get('Vary'), 'accept-encoding');
    const length = Number(answer.headers.get('Content-Length'));
    assert.ok(length > 0 && length < 7 * 1024, `${encoding}: ${length} bytes`);
    assert.match(await answer.text(), /export function createHallpass/);
    const tag = answer.headers.get('ETag');
    const again = await fetch(`${url}/client/hallpass.js`, { headers: { 'Accept-Encoding': encoding, 'If-None-Match': tag } });
    assert.equal(again.status, 304);
  }
});

test('a listener is told once who is signed in, as soon as that is known', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const heard = (page) =>
    page.evaluate(async () => {
      const [heard, gone] = [[], []];
      const known = window.client.current()?.email ?? null;
      window.client.onChange((user) => heard.push(user?.email ?? null));
      const stop = window.client.onChange((user) => gone.push(user));
      stop();
      const atOnce = heard.length;
      await window.client.user();
      await new Promise((resolve) => setTimeout(resolve));
      return { known, atOnce, heard, gone, current: window.client.current()?.email ?? null };
    });
  const page = await openClient(context, `${server.url}/blank`);
  assert.deepEqual(await heard(page), { known: null, atOnce: 0, heard: [null], gone: [], current: null });
  await signIn(page);
  assert.deepEqual(await heard(page), { known: EMAIL, atOnce: 0, heard: [EMAIL], gone: [], current: EMAIL });
  const later = await openClient(context, `${server.url}/blank`);
  assert.deepEqual(await heard(later), { known: null, atOnce: 0, heard: [EMAIL], gone: [], current: EMAIL });
});

test('a listener is told of nobody where the server cannot be reached, and of the user later', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  await signIn(await openClient(context, `${server.url}/blank`));
  const page = await openClient(context, `${server.url}/blank`);
  await context.setOffline(true);
  await listen(page);
  assert.equal(await page.evaluate(() => window.client.current()), null);
  await context.setOffline(false);
  assert.equal(await userOf(page), EMAIL);
  await page.waitForFunction((email) => window.heard.join() === email, EMAIL);
});

test('a visitor without a session sends no refresh', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const refreshes = watch(context, '/auth/refresh');
  const page = await openClient(context, `${server.url}/blank`);
  assert.equal(await userOf(page), null);
  assert.equal(await status(page), 401);
  assert.equal(await page.evaluate(() => window.client.claims()), null);
  assert.equal(refreshes.length, 0);
});

test('a signed-in user is known in every tab and after a reload, until the sign-out', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const one = await openClient(context, `${server.url}/blank`);
  const two = await openClient(context, `${server.url}/blank`);
  await listen(two);
  assert.equal((await signIn(one)).email, EMAIL);
  assert.equal(await status(one), 200);
  await two.waitForFunction(() => window.heard.length > 0);
  assert.equal(await userOf(two), EMAIL, 'the other tab');
  const three = await openClient(context, `${server.url}/blank`);
  assert.equal(await userOf(three), EMAIL, 'a tab that was opened later');

  const held = await three.evaluate(() => window.client.token());
  await listen(one);
  await listen(three);
  await one.evaluate(() => window.client.signOut());
  for (const page of [one, two, three]) {
    await page.waitForFunction(() => window.heard.at(-1) === null);
    assert.equal(await userOf(page), null);
    assert.equal(await status(page), 401);
  }
  assert.equal(await verdict(server.url, held), 'token_revoked', 'the server ended it too');
  assert.equal(await userOf(await openClient(context, `${server.url}/blank`)), null);
});

for (const locks of ['with Web Locks', 'without them']) {
  test(`two tabs that refresh at the same moment both stay signed in, ${locks}`, async (t) => {
    const server = await startServer(t);
    const context = await openBrowser(t);
    if (locks === 'without them') await context.addInitScript(() => delete Navigator.prototype.locks);
    const tabs = [await openClient(context, `${server.url}/blank`), await openClient(context, `${server.url}/blank`)];
    await signIn(tabs[0]);
    for (let round = 0; round < 5; round++) {
      // A page that was just opened has no token but the one that the refresh brings.
      const pages = await Promise.all(tabs.map(() => openClient(context, `${server.url}/blank`)));
      assert.deepEqual(await Promise.all(pages.map((page) => status(page))), [200, 200]);
      assert.deepEqual(await Promise.all(pages.map(userOf)), [EMAIL, EMAIL]);
    }
    assert.deepEqual(server.cli(['events', '--json']).match(/refresh_reused/g), null);
  });
}

test('one tab refreshes once, however many requests wait for it', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  await signIn(await openClient(context, `${server.url}/blank`));
  const page = await openClient(context, `${server.url}/blank`);
  const refreshes = watch(context, '/auth/refresh');
  const statuses = await page.evaluate(() => Promise.all(Array.from({ length: 10 }, async () => (await window.client.fetch('/user/')).status)));
  assert.deepEqual(statuses, Array(10).fill(200));
  assert.equal(refreshes.length, 1);
});

test('a token that the server finds expired is renewed, and the request sent once more', async (t) => {
  const server = await startServer(t, { HALLPASS_TOKEN__LIFETIME_S: '1' });
  const context = await openBrowser(t);
  const page = await openClient(context, `${server.url}/blank`);
  // This page's clock stands still, so that only the server knows.
  await page.clock.setFixedTime(new Date());
  await signIn(page);
  const held = await page.evaluate(() => window.client.token());
  await until(async () => (await verdict(server.url, held)) === 'token_expired');
  const refreshes = watch(context, '/auth/refresh');
  const renames = watch(context, '/user/');
  const name = await page.evaluate(async () => {
    const answer = await window.client.fetch('/user/', { method: 'PATCH', headers: { 'Content-Type': 'application/json' }, body: '{"name":"Ada"}' });
    return (await answer.json()).data.name;
  });
  assert.equal(name, 'Ada', 'the body was sent again too');
  assert.equal(refreshes.length, 1);
  assert.equal(renames.length, 2);
});

test('a token that is about to expire is renewed before it is sent', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const page = await openClient(context, `${server.url}/blank`);
  await page.clock.install({ time: new Date() });
  await signIn(page);
  const refreshes = watch(context, '/auth/refresh');
  await page.clock.fastForward('59:40');
  assert.equal(await status(page), 200);
  assert.equal(refreshes.length, 0, 'twenty seconds before');
  await page.clock.fastForward('00:15');
  assert.equal(await status(page), 200);
  assert.equal(refreshes.length, 1, 'five seconds before');
});

test('a clock that is a day off changes nothing', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  for (const hours of [-24, 24]) {
    const page = await openClient(context, `${server.url}/blank`);
    await page.clock.setFixedTime(new Date(Date.now() + hours * 3_600_000));
    await signIn(page);
    const refreshes = watch(context, '/auth/refresh');
    assert.equal(await status(page), 200);
    assert.equal(await status(page), 200);
    assert.equal(refreshes.length, 0);
    const now = await page.evaluate(() => window.client.now().getTime());
    assert.ok(Math.abs(now - Date.now()) < 60_000, 'it knows the time by the server');
  }
});

test('the client waits for a short Retry-After and passes on a long one', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const page = await openClient(context, `${server.url}/blank`);
  await signIn(page);
  const busy = (seconds) => ({
    status: 503,
    headers: { 'Retry-After': String(seconds) },
    json: { code: 503, error: 'overloaded', message: 'busy' },
  });
  await page.clock.install({ time: new Date() });

  const asked = watch(context, '/user/');
  await page.route('**/user/', (route) => route.fulfill(busy(20)), { times: 1 });
  await page.evaluate(() => {
    window.answer = null;
    window.client.fetch('/user/').then(({ status }) => (window.answer = status));
  });
  await page.waitForResponse('**/user/').catch(() => {});
  await page.clock.fastForward(19_000);
  assert.equal(asked.length, 1, 'not before its time');
  await page.clock.fastForward(2_000);
  await page.waitForFunction(() => window.answer === 200);
  assert.equal(asked.length, 2);

  await page.route('**/user/', (route) => route.fulfill(busy(31)), { times: 1 });
  assert.equal(await status(page), 503, 'what is too long to wait for');
  await page.route('**/auth/login', (route) => route.fulfill({ ...busy(40), status: 429 }), { times: 1 });
  const refused = await failure(page, `client.signIn({ email: 'a@example.com', password: 'x' })`);
  assert.equal(refused.retryAfter, 40);
});

test('a refresh with a Retry-After is not repeated before that time, and ends no session', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  await signIn(await openClient(context, `${server.url}/blank`));
  const page = await openClient(context, `${server.url}/blank`);
  await page.clock.install({ time: new Date() });
  const json = { code: 429, error: 'too_many_attempts', message: 'later' };
  await page.route('**/auth/refresh', (route) => route.fulfill({ status: 429, headers: { 'Retry-After': '600' }, json }), { times: 1 });
  const refreshes = watch(context, '/auth/refresh');
  for (let round = 0; round < 3; round++) {
    const refused = await failure(page, `client.fetch('/user/')`);
    assert.deepEqual([refused.status, refused.error, refused.retryAfter], [429, 'too_many_attempts', 600]);
  }
  assert.equal(refreshes.length, 1);
  await page.clock.fastForward(601_000);
  assert.equal(await status(page), 200);
});

test('the client recovers when the network or the server was away', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const page = await openClient(context, `${server.url}/blank`);
  await signIn(page);
  await context.setOffline(true);
  assert.equal((await failure(page, `client.fetch('/user/')`)).name, 'TypeError');
  assert.equal(await userOf(page), EMAIL, 'nobody is signed out by that');
  await context.setOffline(false);
  assert.equal(await status(page), 200);
  await server.stop();
  assert.equal((await failure(page, `client.fetch('/user/')`)).name, 'TypeError');
  await server.start();
  assert.equal(await status(page), 200, 'the token outlives the restart');
  await page.reload();
  assert.equal(await userOf(await openClient(context, `${server.url}/blank`)), EMAIL, 'and so does the session');
});

test('a sign-out without a network forgets the session and rejects', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const page = await openClient(context, `${server.url}/blank`);
  await signIn(page);
  await context.setOffline(true);
  assert.equal((await failure(page, 'client.signOut()')).name, 'TypeError');
  assert.equal(await userOf(page), null);
  await context.setOffline(false);
});

test('a session that was ended elsewhere ends here with the next request', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const page = await openClient(context, `${server.url}/blank`);
  await listen(page);
  await signIn(page);
  server.cli(['user', 'disable', EMAIL]);
  await until(async () => (await status(page)) === 401);
  assert.equal(await userOf(page), null);
  assert.deepEqual(await page.evaluate(() => window.heard), [EMAIL, null]);
});

/** Answers the next request to `path` as a server that finds the token expired does. */
const expireOnce = (page, path, answer = {}) =>
  page.route(
    path,
    (route) => route.fulfill({ status: 401, headers: { 'WWW-Authenticate': 'Bearer error="invalid_token"' }, json: { code: 401, error: 'token_expired', message: '' }, ...answer }),
    { times: 1 },
  );

test('signing out everywhere ends the other sessions also where the token has just expired', async (t) => {
  const server = await startServer(t);
  const [here, there] = [await openBrowser(t), await openBrowser(t)];
  const [page, other] = [await openClient(here, `${server.url}/blank`), await openClient(there, `${server.url}/blank`)];
  await signIn(page);
  await signIn(other);
  await expireOnce(page, '**/auth/logout-all');
  await page.evaluate(() => window.client.signOut({ everywhere: true }));
  assert.equal(await status(other), 401);
  assert.equal((await failure(page, 'client.signOut({ everywhere: true })')).status, 401, 'who is nobody ends nothing, and is told so');
});

test('a sign-out that did not reach the server is sent when it is called again', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  for (const [cookie, everywhere] of [[false, false], [false, true], [true, true]]) {
    const page = await openClient(context, `${server.url}/blank`, { cookie });
    await signIn(page);
    const held = await page.evaluate(() => window.client.token());
    await context.setOffline(true);
    assert.equal((await failure(page, `client.signOut({ everywhere: ${everywhere} })`)).name, 'TypeError');
    assert.equal(await page.evaluate(() => window.client.claims()), null);
    await context.setOffline(false);
    assert.equal(await verdict(server.url, held), undefined, 'still good');
    assert.equal(await failure(page, `client.signOut({ everywhere: ${everywhere} })`), null);
    assert.equal(await verdict(server.url, held), 'token_revoked');
  }
});

test('a request of one user is not sent as another who signs in before it', async (t) => {
  const server = await startServer(t);
  server.cli(['user', 'add', 'bob@example.com', '--password-stdin'], PASSWORD);
  const context = await openBrowser(t);
  const page = await openClient(context, `${server.url}/blank`);
  const other = await openClient(context, `${server.url}/blank`);
  await page.clock.install({ time: new Date() });
  await signIn(page);
  await page.clock.fastForward('59:55');
  const renames = watch(context, '/user/');
  // The other tab's sign-in is under way, so that this one's refresh waits for it.
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await other.route('**/auth/login', async (route) => {
    await held;
    await route.continue();
  });
  const signingIn = other.evaluate((credentials) => window.client.signIn(credentials), { email: 'bob@example.com', password: PASSWORD });
  await until(() => other.evaluate(async () => (await navigator.locks.query()).held.length === 1));
  const rename = failure(page, `client.fetch('/user/', { method: 'PATCH', headers: { 'Content-Type': 'application/json' }, body: '{"name":"meant for Ada"}' })`);
  await until(() => page.evaluate(async () => (await navigator.locks.query()).pending.length === 1));
  release();
  await signingIn;
  assert.equal((await rename).error, 'token_revoked');
  assert.equal(renames.length, 0);
});

test('a refresh whose answer was lost is sent again', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const page = await openClient(context, `${server.url}/blank`);
  await signIn(page);
  await page.route(
    '**/auth/refresh',
    async (route) => {
      await route.fetch();
      await route.abort('connectionreset');
    },
    { times: 1 },
  );
  await expireOnce(page, '**/user/');
  assert.equal(await status(page), 200);
  assert.doesNotMatch(server.cli(['events']), /refresh_reused/);
});

test('only the server ends a session, not a cleared storage or a 401 of a proxy', async (t) => {
  const server = await startServer(t);
  const page = await openClient(await openBrowser(t), `${server.url}/blank`);
  await signIn(page);
  await page.evaluate(() => localStorage.clear());
  await expireOnce(page, '**/user/');
  assert.equal(await status(page), 200);
  await expireOnce(page, '**/user/');
  await page.route('**/auth/refresh', (route) => route.fulfill({ status: 401, contentType: 'text/html', body: '<h1>Proxy' }), { times: 1 });
  assert.equal((await failure(page, `client.fetch('/user/')`)).status, 401);
  assert.equal(await userOf(page), EMAIL);
  assert.equal(await status(page), 200);
});

test('a HEAD, whose answer has no body, is renewed like a GET', async (t) => {
  const server = await startServer(t);
  const page = await openClient(await openBrowser(t), `${server.url}/blank`);
  await signIn(page);
  await expireOnce(page, '**/user/', { json: undefined, body: '' });
  assert.equal(await page.evaluate(async () => (await window.client.fetch('/user/', { method: 'HEAD' })).status), 200);
});

test('a server that does not answer like Hallpass causes a clear error', async (t) => {
  const server = await startServer(t);
  const page = await openClient(await openBrowser(t), `${server.url}/blank`);
  const attempt = `client.signIn({ email: '${EMAIL}', password: '${PASSWORD}' })`;
  for (const answer of [{ status: 200, contentType: 'text/html', body: '<h1>An app' }, { status: 502, json: null }]) {
    await page.route('**/auth/login', (route) => route.fulfill(answer), { times: 1 });
    const { name, message } = await failure(page, attempt);
    assert.deepEqual([name, message], ['HallpassError', `the server answered ${answer.status}, but not like Hallpass`]);
  }
});

test('a request that is aborted while its token is renewed rejects immediately', async (t) => {
  const server = await startServer(t);
  const page = await openClient(await openBrowser(t), `${server.url}/blank`);
  await signIn(page);
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await page.route('**/auth/refresh', async (route) => {
    await held;
    await route.continue();
  });
  await expireOnce(page, '**/user/');
  const refused = page.evaluate(() => {
    window.given = new AbortController();
    return window.client.fetch('/user/', { signal: window.given.signal }).then(() => null, ({ name }) => name);
  });
  await page.waitForRequest('**/auth/refresh');
  await page.evaluate(() => window.given.abort());
  assert.equal(await refused, 'AbortError');
  release();
  await until(async () => (await status(page)) === 200);
});

test('a page from the back/forward cache learns who is signed in now', async (t) => {
  const server = await startServer(t);
  server.cli(['user', 'add', 'bob@example.com', '--password-stdin'], PASSWORD);
  const context = await openBrowser(t);
  // As in the browser's back-forward cache, they hear nothing of each other.
  await context.addInitScript(() => delete globalThis.BroadcastChannel);
  const [page, other] = [await openClient(context, `${server.url}/blank`), await openClient(context, `${server.url}/blank`)];
  const comesBack = () => page.evaluate(() => void dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })));
  await signIn(page);
  await listen(page);
  await other.evaluate((credentials) => window.client.signIn(credentials), { email: 'bob@example.com', password: PASSWORD });
  await comesBack();
  await page.waitForFunction(() => window.heard.at(-1) === 'bob@example.com');
  await other.evaluate(() => window.client.signOut());
  await comesBack();
  await page.waitForFunction(() => window.heard.at(-1) === null);
});

test('a new password keeps this session and ends the others', async (t) => {
  const server = await startServer(t);
  const [here, there] = [await openBrowser(t), await openBrowser(t)];
  const pages = [await openClient(here, `${server.url}/blank`), await openClient(here, `${server.url}/blank`), await openClient(there, `${server.url}/blank`)];
  await signIn(pages[0]);
  await signIn(pages[2]);
  const change = (current_password) => `client.changePassword({ current_password: '${current_password}', new_password: '${NEW_PASSWORD}' })`;
  assert.equal((await failure(pages[0], change('wrong'))).error, 'password_wrong');
  assert.equal(await failure(pages[0], change(PASSWORD)), null);
  assert.deepEqual(await Promise.all(pages.map((page) => status(page))), [200, 200, 401]);
  await pages[0].reload();
  assert.equal(await userOf(await openClient(here, `${server.url}/blank`)), EMAIL, 'the cookie is the new one');
});

test('an account is created and deleted', async (t) => {
  const server = await startServer(t);
  const page = await openClient(await openBrowser(t), `${server.url}/blank`);
  const account = `{ email: 'bob@example.com', password: '${PASSWORD}', name: 'Bob' }`;
  assert.deepEqual((await failure(page, `client.signUp({ email: 'bob', password: 'x' })`)).fields, {
    email: ['is not an e-mail address like ada@example.com, in plain ASCII'],
    password: ['is shorter than 8 characters; a few words make a good one'],
  });
  assert.equal(await failure(page, `client.signUp(${account})`), null);
  assert.equal((await page.evaluate(() => window.client.user())).name, 'Bob');
  assert.equal((await failure(page, `client.signUp(${account})`)).error, 'email_taken');
  assert.equal((await failure(page, `client.deleteUser({ password: 'wrong' })`)).error, 'password_wrong');
  assert.equal(await failure(page, `client.deleteUser({ password: '${PASSWORD}' })`), null);
  assert.equal(await userOf(page), null);
  assert.equal((await failure(page, `client.signIn(${account})`)).error, 'credentials_invalid');
});

test('a request of one user is never repeated as another', async (t) => {
  const server = await startServer(t);
  server.cli(['user', 'add', 'bob@example.com', '--password-stdin'], PASSWORD);
  const context = await openBrowser(t);
  const [page, other] = [await openClient(context, `${server.url}/blank`), await openClient(context, `${server.url}/blank`)];
  await signIn(page);
  await listen(page);
  const renames = watch(context, '/user/');
  await page.route('**/user/', async (route) => {
    await other.evaluate((credentials) => window.client.signIn(credentials), { email: 'bob@example.com', password: PASSWORD });
    await page.waitForFunction(() => window.heard.at(-1) === 'bob@example.com');
    await route.fulfill({ status: 401, json: { code: 401, error: 'token_expired', message: '' } });
  });
  const rename = { method: 'PATCH', headers: { 'Content-Type': 'application/json' }, body: '{"name":"Ada"}' };
  assert.equal(await page.evaluate(async (rename) => (await window.client.fetch('/user/', rename)).status, rename), 401);
  assert.equal(renames.length, 1);
});

test('a request that is aborted while it waits rejects immediately', async (t) => {
  const server = await startServer(t);
  const page = await openClient(await openBrowser(t), `${server.url}/blank`);
  await signIn(page);
  await page.route('**/user/', (route) => route.fulfill({ status: 503, headers: { 'Retry-After': '29' }, json: {} }), { times: 1 });
  const refused = page.evaluate(() => {
    window.given = new AbortController();
    return window.client.fetch('/user/', { signal: window.given.signal }).then(() => null, ({ name }) => name);
  });
  await page.waitForResponse('**/user/');
  await page.clock.install();
  await page.evaluate(() => window.given.abort());
  assert.equal(await refused, 'AbortError');
});

test('the token is sent only to the allowed origins', async (t) => {
  const server = await startServer(t);
  const elsewhere = `http://127.0.0.1:${await startApp(t, {})}`;
  const page = await openClient(await openBrowser(t), `${server.url}/blank`);
  await signIn(page);
  const refused = await failure(page, `client.fetch('${elsewhere}/')`);
  assert.equal(refused.name, 'TypeError');
  assert.match(refused.message, /add it to the option "origins"/);
});

test('an app on another origin of the same site signs in with the cookie', async (t) => {
  const port = await startApp(t, {});
  const app = `http://localhost:${port}/`;
  const server = await startServer(t, { HALLPASS_SERVER__CORS_ORIGINS: app.slice(0, -1) });
  const url = `http://localhost:${server.port}`;
  const context = await openBrowser(t);
  const open = () => openClient(context, app, { url }, `${url}/client/hallpass.js`);
  const page = await open();
  await signIn(page);
  assert.equal(await status(page), 200);
  assert.equal(await status(page, '/nowhere'), 404, 'a failure is readable too');
  const later = await open();
  assert.equal(await userOf(later), EMAIL, 'the cookie came along');
  assert.equal(await later.evaluate(async () => (await window.client.fetch('/user/')).headers.get('X-Request-Id') !== null), true);
  await listen(page);
  await later.evaluate(() => window.client.signOut());
  await page.waitForFunction(() => window.heard.at(-1) === null);
  assert.equal((await failure(page, `client.signIn({ email: '${EMAIL}', password: 'wrong' })`)).error, 'credentials_invalid');
});

test('an app on another site keeps the refresh token in its memory', async (t) => {
  const port = await startApp(t, {});
  const app = `http://localhost:${port}/`;
  const server = await startServer(t, { HALLPASS_SERVER__CORS_ORIGINS: app.slice(0, -1) });
  const context = await openBrowser(t);
  const open = () => openClient(context, app, { url: server.url, cookie: false }, `${server.url}/client/hallpass.js`);
  const [one, two] = [await open(), await open()];
  for (const page of [one, two]) {
    await page.clock.install({ time: new Date() });
    await signIn(page);
    await page.clock.fastForward('59:55');
    assert.equal(await status(page), 200, 'refreshed from memory');
  }
  assert.deepEqual(await context.cookies(), []);
  const held = await two.evaluate(() => window.client.token());
  await listen(two);
  await one.evaluate(() => window.client.signOut());
  await two.waitForFunction(() => window.heard.at(-1) === null);
  await until(async () => (await verdict(server.url, held)) === 'token_revoked');
  assert.equal(await userOf(await open()), null, 'a reload begins anew');
});

test('an app on an origin that is not configured learns nothing', async (t) => {
  const server = await startServer(t);
  const port = await startApp(t, {});
  const page = await (await openBrowser(t, {}, /blocked by CORS policy/)).newPage();
  await page.goto(`http://localhost:${port}/`);
  for (const path of ['/user/', '/health/live']) {
    const told = await page.evaluate((url) => fetch(url).then(() => 'readable', (error) => error.name), server.url + path);
    assert.equal(told, 'TypeError', path);
  }
});

test('a page of another origin cannot use the cookie', async (t) => {
  const server = await startServer(t);
  // The cookie is of `localhost`. Other ports there are the same site, and `127.0.0.1` is another.
  const refresh = `http://localhost:${server.port}/auth/refresh`;
  const context = await openBrowser(t);
  await signIn(await openClient(context, `http://localhost:${server.port}/blank`));
  const port = await startApp(t, { '/': `<!doctype html><link rel="icon" href="data:,"><form method="post" action="${refresh}"><button>Win</button></form>` });
  for (const [host, expected] of [['localhost', 403], ['127.0.0.1', 401]]) {
    const page = await context.newPage();
    await page.goto(`http://${host}:${port}/`);
    const answer = async (act) => (await Promise.all([page.waitForResponse(refresh), act()]))[0].status();
    const script = () => page.evaluate((url) => fetch(url, { method: 'POST', mode: 'no-cors', credentials: 'include' }).then(() => null), refresh);
    assert.equal(await answer(script), expected, `a script from ${host}`);
    assert.equal(await answer(() => page.getByRole('button').click()), 415, `a form from ${host}`);
    await page.waitForURL(refresh);
  }
  assert.equal(await userOf(await openClient(context, `http://localhost:${server.port}/blank`)), EMAIL, 'and the session goes on');
});
