// The console as people use it: by mouse and by keyboard, on a desk and on a phone, in two tabs, through trouble.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { after, test } from 'node:test';
import {
  AXE, EMAIL, PASSWORD, SHOTS, closeBrowser, goTo, heading, openBrowser, press, said, signIn, startServer, until,
} from './harness.mjs';

const NEW_PASSWORD = 'seventeen blue lanterns';
const HOSTILE = '<img src=x onerror=alert(1)>';

after(closeBrowser);

async function openConsole(context, server, path = '/') {
  const page = await context.newPage();
  await page.goto(server.url + path);
  return page;
}

async function signedIn(context, server) {
  const page = await openConsole(context, server);
  await signIn(page);
  await heading(page, 'Profile');
  return page;
}

test('an account from registration to deletion', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const page = await openConsole(context, server);
  page.on('dialog', () => assert.fail('a name was run as a script'));
  await heading(page, 'Sign in');

  await page.getByRole('link', { name: 'Create an account' }).click();
  await heading(page, 'Create an account');
  await page.getByLabel('E-mail').fill('bob@example.com');
  const password = page.getByLabel('Password', { exact: true });
  const strength = page.locator('.strength');
  for (const [typed, expected] of [
    ['short', 'It is shorter than 8 characters'],
    ['password1', 'It is among those that are tried first'],
    [PASSWORD, 'This is strong.'],
  ]) {
    await password.fill('');
    await password.pressSequentially(typed);
    await strength.getByText(expected).waitFor();
  }
  await password.fill('password1');
  await press(page, 'Create account');
  await page.getByText('Password is among those that are tried first').waitFor();
  assert.equal(await password.getAttribute('aria-invalid'), 'true');
  assert.equal(await password.evaluate((it) => it === document.activeElement), true, 'the field that is wrong has the focus');
  await password.fill(PASSWORD);
  await page.getByLabel('Name').fill('Bob');
  await press(page, 'Create account');
  await heading(page, 'Profile');
  await page.getByText('bob@example.com', { exact: true }).first().waitFor();

  await page.getByRole('textbox', { name: 'Name' }).fill(HOSTILE);
  await press(page, 'Save');
  await said(page, 'Your name was saved.');
  assert.equal(await page.locator('.who .name').textContent(), HOSTILE);
  assert.equal(await page.locator('main img, .who img').count(), 0);
  await page.reload();
  await heading(page, 'Profile');
  assert.equal(await page.getByRole('textbox', { name: 'Name' }).inputValue(), HOSTILE);

  await goTo(page, 'Password');
  await page.getByLabel('Current password', { exact: true }).fill('wrong');
  await page.getByLabel('New password', { exact: true }).fill(NEW_PASSWORD);
  await press(page, 'Change password');
  await page.getByText('That is not your current password.').waitFor();
  await page.getByLabel('Current password', { exact: true }).fill(PASSWORD);
  await press(page, 'Change password');
  await said(page, 'Your password was changed.');

  await goTo(page, 'Token', 'Your token');
  await page.getByRole('row', { name: 'bob@example.com' }).waitFor();
  await press(page, 'Sign out');
  await heading(page, 'Sign in');
  await signIn(page, PASSWORD, 'bob@example.com');
  await page.getByText('The e-mail or the password is wrong.').waitFor();
  await signIn(page, NEW_PASSWORD, 'bob@example.com');
  await heading(page, 'Your token');

  assert.equal(await page.getByRole('button', { name: 'Delete my account' }).count(), 0, 'not on the first page');
  await goTo(page, 'Your data');
  await page.getByLabel('Password', { exact: true }).fill(NEW_PASSWORD);
  await press(page, 'Delete my account');
  await heading(page, 'Sign in');
  await said(page, 'Your account was deleted.');
  assert.doesNotMatch(server.cli(['user', 'list']), /bob@example\.com/);
});

test('a slow page does not replace a page that was requested later', async (t) => {
  const server = await startServer(t);
  const page = await signedIn(await openBrowser(t), server);
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await page.route('**/user/sessions', async (route) => {
    await held;
    await route.continue();
  });
  await page.getByRole('navigation').getByRole('link', { name: 'Sessions' }).click();
  await goTo(page, 'Token', 'Your token');
  const late = page.waitForResponse('**/user/sessions');
  release();
  await (await late).finished();
  // What would show it runs before this.
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 50)));
  await heading(page, 'Your token');
});

test('a page that loads after the sign-out is not shown', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const page = await signedIn(context, server);
  const other = await openConsole(context, server);
  await heading(other, 'Profile');
  await goTo(page, 'Token', 'Your token');
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await page.route('**/user/', async (route) => {
    await held;
    await route.continue();
  });
  await page.getByRole('navigation').getByRole('link', { name: 'Profile' }).click();
  await press(other, 'Sign out');
  await heading(page, 'Sign in');
  const late = page.waitForResponse('**/user/');
  release();
  await late;
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 50)));
  await heading(page, 'Sign in');
  assert.equal(await page.locator('.trouble').count(), 0);
});

test('every page shows the sign-in when the session has ended, and every URL shows a page', async (t) => {
  const server = await startServer(t);
  const page = await signedIn(await openBrowser(t), server);
  for (const odd of ['constructor', 'toString', '__proto__']) {
    await page.evaluate((odd) => (location.hash = `#/${odd}`), odd);
    await page.waitForFunction(() => document.title === 'Profile · Hallpass');
    await heading(page, 'Profile');
  }
  await goTo(page, 'Token', 'Your token');
  const other = await signedIn(await openBrowser(t), server);
  await goTo(other, 'Sessions');
  await other.getByRole('button', { name: /^End session/ }).click();
  await said(other, 'That session has ended.');
  await page.getByRole('navigation').getByRole('link', { name: 'Profile' }).click();
  await heading(page, 'Sign in');
  await said(page, 'You have been signed out.');
  assert.equal(await page.locator('.trouble').count(), 0);
});

test('the keyboard focus continues where it was', async (t) => {
  const server = await startServer(t);
  const page = await signedIn(await openBrowser(t), server);
  await signedIn(await openBrowser(t), server);
  await page.getByRole('textbox', { name: 'Name' }).fill('Ada');
  await page.getByRole('button', { name: 'Save' }).focus();
  await page.keyboard.press('Enter');
  await said(page, 'Your name was saved.');
  await page.waitForFunction(() => document.activeElement.textContent === 'Save');
  await goTo(page, 'Sessions');
  await page.getByRole('button', { name: /^End session/ }).focus();
  await page.keyboard.press('Enter');
  await said(page, 'That session has ended.');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Sign out');
});

test('a session on another device is listed and ended', async (t) => {
  const server = await startServer(t);
  const [desk, phone] = [await openBrowser(t), await openBrowser(t, { userAgent: 'Mozilla/5.0 (iPhone) Version/26.0 Safari/605' })];
  const pages = [await signedIn(desk, server), await signedIn(phone, server)];
  await goTo(pages[0], 'Sessions');
  await pages[0].getByText('Safari on iPhone').waitFor();
  assert.equal(await pages[0].locator('.sessions li').count(), 2);
  assert.equal(await pages[0].getByText('this session', { exact: true }).count(), 1);
  await pages[0].getByRole('button', { name: 'End session: Safari on iPhone' }).click();
  await said(pages[0], 'That session has ended.');
  assert.equal(await pages[0].locator('.sessions li').count(), 1);
  await goTo(pages[0], 'Profile');
  await pages[1].getByRole('navigation').getByRole('link', { name: 'Sessions' }).click();
  await heading(pages[1], 'Sign in');
  await said(pages[1], 'You have been signed out.');
  // A link to a page is kept until who follows it has signed in.
  await signIn(pages[1]);
  await heading(pages[1], 'Sessions');
  await press(pages[1], 'Sign out everywhere');
  await heading(pages[1], 'Sign in');
  await pages[0].reload();
  await heading(pages[0], 'Sign in');
});

test('the token page counts down by the clock of the server', async (t) => {
  const server = await startServer(t);
  const page = await openConsole(await openBrowser(t), server);
  await page.clock.install({ time: new Date(Date.now() + 5 * 3_600_000) });
  await page.reload();
  await signIn(page);
  await heading(page, 'Profile');
  await goTo(page, 'Token', 'Your token');
  const left = () => page.getByRole('timer').textContent();
  assert.match(await left(), /^(60 min 00|59 min 5\d) s$/);
  await page.clock.fastForward('30:00');
  await page.clock.runFor(1_000);
  assert.match(await left(), /^(30 min 00|29 min 5\d) s$/);
  await page.clock.fastForward('30:00');
  await page.clock.runFor(1_000);
  assert.match(await left(), /^Expired/);
  await goTo(page, 'Sessions');
  await goTo(page, 'Token', 'Your token');
  assert.match(await left(), /^(60 min 00|59 min 5\d) s$/, 'a request has brought another');
});

test('a change in one tab is shown in the other', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const two = await openConsole(context, server);
  await heading(two, 'Sign in');
  const one = await signedIn(context, server);
  await heading(two, 'Profile');
  await one.getByRole('textbox', { name: 'Name' }).fill('Ada Lovelace');
  await press(one, 'Save');
  await two.locator('.who').getByText('Ada Lovelace').waitFor();
  await press(one, 'Sign out');
  await heading(two, 'Sign in');
  await said(two, 'You have been signed out.');
});

test('two consoles that are reloaded at the same moment stay signed in', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const pages = [await signedIn(context, server), await openConsole(context, server)];
  await heading(pages[1], 'Profile');
  for (let round = 0; round < 3; round++) {
    await Promise.all(pages.map((page) => page.reload()));
    await Promise.all(pages.map((page) => heading(page, 'Profile')));
  }
});

test('a console stays open while its token expires', async (t) => {
  const server = await startServer(t, { HALLPASS_TOKEN__LIFETIME_S: '1' });
  const page = await signedIn(await openBrowser(t), server);
  const token = () => page.evaluate(async () => (await (await fetch('/auth/refresh', { method: 'POST', headers: { 'X-Hallpass': '1' } })).json()).data.token);
  const held = await token();
  await until(async () => (await fetch(`${server.url}/user/`, { headers: { Authorization: `Bearer ${held}` } })).status === 401);
  for (const name of ['Sessions', 'Password', 'Profile']) await goTo(page, name);
});

test('an open page survives a restart of the server and a cut network', async (t) => {
  const server = await startServer(t);
  const context = await openBrowser(t);
  const page = await signedIn(context, server);
  await server.stop();
  await page.getByRole('navigation').getByRole('link', { name: 'Sessions' }).click();
  await page.getByText('The server cannot be reached.').waitFor();
  await server.start();
  await press(page, 'Try again');
  await heading(page, 'Sessions');

  await context.setOffline(true);
  await page.getByRole('navigation').getByRole('link', { name: 'Profile' }).click();
  await page.getByText('The server cannot be reached.').waitFor();
  await context.setOffline(false);
  await heading(page, 'Profile');

  await goTo(page, 'Password');
  await context.setOffline(true);
  await page.getByLabel('Current password', { exact: true }).fill(PASSWORD);
  await page.getByLabel('New password', { exact: true }).fill(NEW_PASSWORD);
  await press(page, 'Change password');
  await page.getByText('The server cannot be reached.').waitFor();
  assert.equal(await page.getByLabel('New password', { exact: true }).inputValue(), NEW_PASSWORD, 'nothing that was typed is lost');
  await context.setOffline(false);
  await press(page, 'Change password');
  await said(page, 'Your password was changed.');
});

test('a disabled button shows how long to wait', async (t) => {
  const server = await startServer(t, { HALLPASS_THROTTLE__ACCOUNT_FREE: '1' });
  const page = await (await openBrowser(t)).newPage();
  await page.clock.install();
  await page.goto(server.url);
  let answer;
  do {
    [answer] = await Promise.all([page.waitForResponse('**/auth/login'), signIn(page, 'wrong')]);
  } while (answer.status() === 401);
  assert.equal(answer.status(), 429);
  const waiting = page.getByRole('button', { name: /Try again in \d+ s/ });
  assert.equal(await waiting.isDisabled(), true);
  await page.clock.fastForward('15:00');
  assert.equal(await page.getByRole('button', { name: 'Sign in' }).isEnabled(), true);
});

test('the console works by keyboard alone', async (t) => {
  const server = await startServer(t);
  const page = await openConsole(await openBrowser(t), server);
  await heading(page, 'Sign in');
  const focused = () => page.evaluate(() => document.activeElement.textContent.trim() || document.activeElement.labels?.[0]?.textContent);
  assert.equal(await focused(), 'E-mail', 'typing may begin at once');
  await page.keyboard.type(EMAIL);
  await page.keyboard.press('Tab');
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press('Enter');
  await heading(page, 'Profile');
  await until(async () => (await focused()) === 'Profile');
  await page.keyboard.press('Shift+Tab');
  assert.equal(await focused(), 'Sign out');
  for (const expected of ['Your data', 'Token', 'Sessions']) {
    await page.keyboard.press('Shift+Tab');
    assert.equal(await focused(), expected);
  }
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, 'solid', 'where one is can be seen');
  await page.keyboard.press('Enter');
  await heading(page, 'Sessions');
  await page.getByRole('button', { name: 'Skip to content' }).focus();
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
});

test('there are no animations with reduced motion', async (t) => {
  const server = await startServer(t);
  const durations = async (reducedMotion) => {
    const page = await openConsole(await openBrowser(t, { reducedMotion }), server);
    await heading(page, 'Sign in');
    return page.evaluate(() => [...document.querySelectorAll('*')].filter((it) => getComputedStyle(it).transitionDuration !== '0s').length);
  };
  assert.equal(await durations('reduce'), 0);
  assert.notEqual(await durations('no-preference'), 0, 'the question makes sense');
});

const LOOKS = [
  ['light', { viewport: { width: 1200, height: 800 } }],
  ['dark', { viewport: { width: 1200, height: 800 }, colorScheme: 'dark' }],
  ['phone', { viewport: { width: 320, height: 690 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }],
  ['phone-dark', { viewport: { width: 320, height: 690 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true, colorScheme: 'dark' }],
];

for (const [look, options] of LOOKS) {
  test(`every page is accessible and fits: ${look}`, async (t) => {
    const server = await startServer(t);
    server.cli(['user', 'add', 'grace@example.com', '--name', 'Grace Hopper', '--role', 'admin', '--role', 'editor', '--password-stdin'], PASSWORD);
    const page = await openConsole(await openBrowser(t, options), server);
    mkdirSync(SHOTS, { recursive: true });

    const examine = async (name) => {
      // Colours are judged where they have come to rest.
      await page.evaluate(() => Promise.all(document.getAnimations().map((it) => it.finished)));
      await page.screenshot({ path: `${SHOTS}/${name}-${look}.png`, fullPage: look.startsWith('phone') });
      await page.evaluate(AXE);
      const { violations, passes } = await page.evaluate(() => window.axe.run());
      assert.ok(passes.length > 10, 'axe has looked');
      assert.deepEqual(violations.map(({ id, impact, nodes }) => [id, impact, nodes.map((node) => node.html)]), [], `${name}, ${look}`);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${name} is ${overflow} px too wide, ${look}`);
      const cut = await page.evaluate(() => document.querySelector('nav').scrollWidth - document.querySelector('nav').clientWidth);
      assert.equal(cut, 0, `${name}: ${cut} px of the links are cut off, ${look}`);
    };

    await heading(page, 'Sign in');
    await examine('sign-in');
    await press(page, 'Sign in');
    await page.getByText('E-mail is required.').waitFor();
    await examine('sign-in-refused');
    await page.goto(`${server.url}/#/register`);
    await heading(page, 'Create an account');
    await page.getByLabel('E-mail').fill('bob@example.com');
    await page.getByLabel('Password', { exact: true }).pressSequentially('lantern12');
    await page.getByText('This is weak.').waitFor();
    await examine('register');
    await page.goto(`${server.url}/#/`);
    await heading(page, 'Sign in');
    await signIn(page, PASSWORD, 'grace@example.com');
    await heading(page, 'Profile');
    await examine('profile');
    await goTo(page, 'Password');
    await page.getByLabel('New password', { exact: true }).pressSequentially(NEW_PASSWORD);
    await page.getByText('This is strong.').waitFor();
    await examine('password');
    const login = { method: 'POST', headers: { 'Content-Type': 'application/json', 'User-Agent': 'curl/8.14.1' }, body: JSON.stringify({ email: 'grace@example.com', password: PASSWORD }) };
    await fetch(`${server.url}/auth/login`, login);
    await goTo(page, 'Sessions');
    await examine('sessions');
    await goTo(page, 'Token', 'Your token');
    await examine('token');
    await server.stop();
    await page.getByRole('navigation').getByRole('link', { name: 'Sessions' }).click();
    await page.getByText('The server cannot be reached.').waitFor();
    await examine('unreachable');
  });
}

test('the console runs its own scripts only', async (t) => {
  const server = await startServer(t);
  const page = await openConsole(await openBrowser(t, {}, /Content Security Policy|Trusted/), server);
  await heading(page, 'Sign in');
  const attempts = await page.evaluate(() => {
    const attempt = (act) => {
      try {
        act();
        return 'done';
      } catch (error) {
        return error.name;
      }
    };
    return [
      attempt(() => (document.body.innerHTML = '<p>')),
      attempt(() => document.body.setAttribute('onclick', 'run()')),
      attempt(() => window.trustedTypes.createPolicy('default', { createHTML: (text) => text })),
    ];
  });
  assert.deepEqual(attempts, ['TypeError', 'TypeError', 'TypeError']);
  for (const [what, act] of [
    ['a script from elsewhere', () => import('data:text/javascript,1')],
    ['a request to elsewhere', () => fetch('http://localhost:9/')],
  ]) {
    assert.equal(await page.evaluate(act).then(() => 'done', () => 'refused'), 'refused', what);
  }
});
