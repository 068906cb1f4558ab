// The console: decides which page to show. Each page is a function that takes the client and returns an element.

import { createHallpass } from '/client/hallpass.js';
import { data } from './data.js';
import { explain, h, heading, leaving, say } from './dom.js';
import { register, signIn } from './entry.js';
import { events } from './events.js';
import { LANGUAGES, choose, current, t } from './language.js';
import { look, onward, wear } from './look.js';
import { change, forgot, invite, link, reset, undo, verify } from './mail.js';
import { overview } from './overview.js';
import { password } from './password.js';
import { profile } from './profile.js';
import { security } from './security.js';
import { sessions } from './sessions.js';
import { token } from './token.js';
import { user as onePage } from './user.js';
import { users } from './users.js';

const hallpass = createHallpass();

/** The pages of signed-in users, in the order of the navigation. */
const PAGES = {
  profile: { title: 'Profile', page: profile },
  password: { title: 'Password', page: password },
  security: { title: 'Security', page: security },
  sessions: { title: 'Sessions', page: sessions },
  token: { title: 'Token', page: token },
  data: { title: 'Your data', page: data },
};

/** The pages of admins, after those. */
const ADMIN_PAGES = {
  overview: { title: 'Overview', page: overview },
  users: { title: 'Users', page: (hallpass, user, id, query) => (id ? onePage : users)(hallpass, user, id, query) },
  events: { title: 'Events', page: events },
};

/** The pages of visitors who are not signed in. */
const ENTRIES = {
  'sign-in': { title: 'Sign in', page: signIn },
  register: { title: 'Create an account', page: register },
};

/** The pages that links in mails lead to, for everybody. */
const MAIL_PAGES = {
  forgot: { title: 'Forgot your password?', page: forgot },
  reset: { title: 'Choose a password', page: reset },
  invite: { title: 'Choose a password', page: invite },
  verify: { title: 'Verify your address', page: verify },
  change: { title: 'Change your address', page: change },
  undo: { title: 'Take the change back', page: undo },
  link: { title: 'Sign in by mail', page: link },
};

const bar = document.getElementById('bar');
const main = document.getElementById('main');
let shownTo;
// The current rendering. If two overlap, the later one is shown, however long the first takes.
let rendering;

/** Returns the parts of the URL's fragment: `#/page/id?query`. */
function asked() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, id] = path.split('/');
  return { name, id, query: new URLSearchParams(query) };
}

const pagesOf = (user) => (user.roles.includes('admin') ? { ...PAGES, ...ADMIN_PAGES } : PAGES);

function showBar(user) {
  bar.hidden = user === null;
  if (!user) return;
  const pages = pagesOf(user);
  bar.className = pages === PAGES ? '' : 'wide';
  const shown = Object.hasOwn(pages, asked().name) ? asked().name : 'profile';
  const links = Object.entries(pages).map(([name, { title }]) => h('a', { href: `#/${name}`, 'aria-current': name === shown && 'page' }, t(title)));
  bar.querySelector('nav').replaceChildren(...links);
  // On a phone the links are one row that scrolls.
  links.find((link) => link.hasAttribute('aria-current'))?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  bar.querySelector('.who').replaceChildren(
    h('span', { class: 'name', title: user.email }, user.name ?? user.email),
    h('button', { type: 'button', class: 'quiet', onclick: leave }, t('Sign out')),
  );
}

async function leave() {
  try {
    await leaving(() => hallpass.signOut());
    say(t('You are signed out.'));
  } catch (error) {
    say(`${t('You are signed out in this browser, but the session may still be active.')} ${explain(error)}`);
  }
}

/** Shows the page that the URL names. `isNew`: the user navigated to it. */
async function render(isNew) {
  const mine = (rendering = {});
  let user;
  try {
    user = await hallpass.user();
  } catch (error) {
    if (mine !== rendering) return;
    bar.hidden = true;
    return put(look.name, cannot(error), isNew);
  }
  if (mine !== rendering) return;
  const wasShownTo = shownTo;
  shownTo = user?.id ?? null;
  showBar(user);
  const { name, id, query } = asked();
  const [pages, fallback] = user ? [pagesOf(user), 'profile'] : [ENTRIES, 'sign-in'];
  // Somebody who is signed in has nothing left to do at the sign-in.
  const next = user && Object.hasOwn(ENTRIES, name) && onward(query);
  if (next) return location.replace(next);
  const all = { ...pages, ...MAIL_PAGES };
  const { title, page } = all[Object.hasOwn(all, name) ? name : fallback];
  if (wasShownTo && !user && !leaving.isExpected()) say(t('You have been signed out.'));
  let content;
  try {
    content = await page(hallpass, user, id, query);
  } catch (error) {
    // The end of the session shows the sign-in page anyway.
    if (error.status === 401) return;
    content = cannot(error);
  }
  if (mine === rendering) put(t(title), content, isNew || wasShownTo !== shownTo);
}

function put(title, content, isNew) {
  document.title = title === look.name ? title : `${title} · ${look.name}`;
  main.className = shownTo && !content.matches('.entry, .steps') ? 'inside' : 'outside';
  main.replaceChildren(content);
  main.removeAttribute('aria-busy');
  // The pages of visitors link to each other; where to go on to is kept.
  const { query } = asked();
  if (!shownTo && query.has('continue')) for (const link of main.querySelectorAll('a[href^="#/"]')) link.href += `?${query}`;
  // Users of a keyboard or a screen reader start at the top of the new page.
  if (isNew) (content.querySelector('[autofocus]') ?? content.querySelector('h1'))?.focus();
}

function cannot(error) {
  const again = h('button', { type: 'button', class: 'primary', onclick: () => render(true) }, t('Try again'));
  return h('div', { class: 'trouble' }, heading(t('Something went wrong'), explain(error)), again);
}

/** Offers the languages, and puts the parts of the page that are always there into the one in use. */
function speak() {
  document.documentElement.lang = current();
  document.getElementById('skip').textContent = t('Skip to content');
  bar.querySelector('nav').setAttribute('aria-label', t('Pages'));
  for (const button of languages.children) button.setAttribute('aria-pressed', String(button.lang === current()));
  languages.setAttribute('aria-label', t('Language'));
}

const languages = document.getElementById('languages');
languages.append(
  ...Object.entries(LANGUAGES).map(([code, name]) =>
    h('button', { type: 'button', class: 'link', lang: code, onclick: () => (choose(code), speak(), render(false)) }, name),
  ),
);
speak();

document.getElementById('skip').addEventListener('click', () => main.focus());
addEventListener('hashchange', () => render(true));
addEventListener('online', () => main.querySelector('.trouble') && render(true));
// If only the user's data changed, only the bar is updated, so text that is being typed stays.
hallpass.onChange((user) => ((user?.id ?? null) === (shownTo ?? null) ? showBar(user) : render(false)));
await wear();
render(false);
