// The parts of the browser tests: a server for each test, a browser whose errors fail the test, an app on another origin.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = fileURLToPath(new URL('../..', import.meta.url));
const binary = process.env.HALLPASS_BINARY ?? join(root, 'target/debug/hallpass');

export const EMAIL = 'ada@example.com';
export const PASSWORD = 'correct horse battery';

let browser;

/** Closed when the last test has run. */
export async function closeBrowser() {
  await browser?.close();
}

/** Starts a server with one user on a new database. */
export async function startServer(t, settings = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-'));
  const env = { PATH: process.env.PATH, HALLPASS_PASSWORD__BCRYPT_COST: '4', ...settings };
  let child;

  async function start(bind, more = {}) {
    child = spawn(binary, ['serve', '--bind', bind, '--key-stdin'], { cwd: folder, env: { ...env, ...more }, stdio: ['pipe', 'pipe', 'ignore'] });
    child.stdin.end('a river of seventeen blue lanterns\n');
    const [line] = await once(createInterface(child.stdout), 'line');
    return Number(line.match(/^listening on http:\/\/127\.0\.0\.1:(\d+)$/)[1]);
  }

  async function stop() {
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }

  /** Runs `hallpass` beside the server. */
  function cli(args, input = '') {
    return execFileSync(binary, args, { cwd: folder, env, input, stdio: ['pipe', 'pipe', 'ignore'], encoding: 'utf8' });
  }

  /** Imports users without a password: user0@many.example, user1@many.example, and so on. */
  function addUsers(count) {
    const lines = Array.from({ length: count }, (_, number) => `user${number}@many.example,Number ${number},,\n`);
    writeFileSync(join(folder, 'users.csv'), `email,name,roles,password_hash\n${lines.join('')}`);
    cli(['user', 'import', 'users.csv']);
  }

  cli(['user', 'add', EMAIL, '--password-stdin'], PASSWORD);
  const port = await start('127.0.0.1:0');
  t.after(async () => {
    if (child.exitCode === null) await stop();
    rmSync(folder, { recursive: true });
  });
  return { port, url: `http://127.0.0.1:${port}`, cli, addUsers, stop, start: (more) => start(`127.0.0.1:${port}`, more) };
}

/** The code of a secret in base32, `steps` of 30 s from now (RFC 6238). */
export function totp(secret, steps = 0) {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...secret].map((letter) => letters.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const message = Buffer.alloc(8);
  message.writeBigInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const hash = createHmac('sha1', key).update(message).digest();
  const number = hash.readUInt32BE(hash[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, '0');
}

/** Fails if any page of the test logs an error, breaks its Content-Security-Policy, or stores a token. */
export async function openBrowser(t, options = {}, expected = null) {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  const context = await browser.newContext(options);
  context.setDefaultTimeout(20_000);
  const complaints = [];
  context.on('console', (message) => {
    // Chromium also logs failed answers and a cut network, which the tests cause on purpose.
    const isAsked = message.text().startsWith('Failed to load resource:') || expected?.test(message.text());
    if (['error', 'warning'].includes(message.type()) && !isAsked) {
      complaints.push(`${message.text()} at ${message.location().url}`);
    }
  });
  context.on('weberror', (error) => complaints.push(String(error.error())));
  context.on('request', (request) => {
    if (/eyJ|hpr_/.test(request.url())) complaints.push(`a token in a URL: ${request.url()}`);
  });
  t.after(async () => {
    for (const page of context.pages()) {
      if (!page.url().startsWith('http')) continue;
      const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
      if (/eyJ|hpr_/.test(kept)) complaints.push(`a token in storage: ${kept}`);
    }
    await context.close();
    assert.deepEqual(complaints, [], 'no error and no violation of the policy');
  });
  return context;
}

/** Presses the button and waits for the server, as the page says that nobody is signed in before the server knows. */
export async function signOut(page) {
  const answered = page.waitForResponse('**/auth/logout');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await answered;
}

/** Serves a static app on another origin; `files` by path. */
export async function startApp(t, files) {
  const types = { js: 'text/javascript', css: 'text/css' };
  const server = createServer((request, response) => {
    const path = new URL(request.url, 'http://app').pathname;
    const file = files[path] ?? (path === '/' ? '<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>App</title>' : null);
    response.writeHead(file === null ? 404 : 200, { 'Content-Type': types[path.split('.').pop()] ?? 'text/html' });
    response.end(file);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return server.address().port;
}

/** Opens an empty page with a client, as `client`. */
export async function openClient(context, address, options = {}, client = '/client/hallpass.js') {
  const page = await context.newPage();
  if (new URL(address).pathname === '/blank') {
    await page.route(address, (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html><link rel="icon" href="data:,">' }));
  }
  await page.goto(address);
  await page.evaluate(
    async ([from, options]) => {
      const { createHallpass } = await import(from);
      window.client = createHallpass(options);
    },
    [client, options],
  );
  return page;
}

/** Collects the changes of the page's user from now on in `window.heard`. Who is signed in now is told, and left out. */
export async function listen(page) {
  await page.evaluate(
    () =>
      new Promise((resolve) => {
        window.client.onChange((user) => {
          if (window.heard) window.heard.push(user?.email ?? null);
          else resolve((window.heard = []));
        });
      }),
  );
}

/** Gives a page an authenticator that verifies its user, and answers as if its user agreed at once. */
export async function addAuthenticator(page, options = {}) {
  const session = await page.context().newCDPSession(page);
  await session.send('WebAuthn.enable');
  const { authenticatorId } = await session.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true, ...options },
  });
  const credentials = async () => (await session.send('WebAuthn.getCredentials', { authenticatorId })).credentials;
  /** Whether its user agrees to everything, the offer in the list of a field included. */
  const agree = (enabled) => session.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId, enabled });
  return { credentials, agree };
}

/** Repeats a check until it is true, within the test's time limit. */
export async function until(condition) {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 50));
}

/** Counts the requests to a path from now on, in all pages of the context. */
export function watch(context, path) {
  const seen = [];
  context.on('request', (request) => {
    if (request.method() !== 'OPTIONS' && new URL(request.url()).pathname === path) seen.push(request);
  });
  return seen;
}

export async function signIn(page, password = PASSWORD, email = EMAIL) {
  await page.getByLabel('E-mail').fill(email);
  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

/** Returns the plain text of a mail. */
export function textOf(mail) {
  const boundary = mail.match(/boundary="([^"]+)"/)[1];
  const part = mail.split(`--${boundary}`).find((it) => it.includes('text/plain'));
  const [head, ...body] = part.trimStart().split('\r\n\r\n');
  const text = body.join('\r\n\r\n');
  if (/base64/i.test(head)) return Buffer.from(text, 'base64').toString();
  return /quoted-printable/i.test(head) ? text.replace(/=\r\n/g, '').replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16))) : text;
}

/** Returns the fragment of the link in a mail. */
export const linkIn = (mail) => textOf(mail).match(/#\/\S+/)?.[0];

/** The source of axe, and the folder of the pictures. */
export const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
export const SHOTS = join(root, 'target/browser');

/** What a user of the console sees and does. */
export const heading = (page, name) => page.getByRole('heading', { name, level: 1 }).waitFor();
export const said = (page, text) => page.locator('#said', { hasText: text }).waitFor();
export const press = (page, name) => page.getByRole('button', { name, exact: true }).click();
export const goTo = async (page, name, title = name) => {
  await page.getByRole('navigation').getByRole('link', { name, exact: true }).click();
  await heading(page, title);
};
