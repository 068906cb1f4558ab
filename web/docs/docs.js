// The page that shows the OpenAPI document. The browser client signs in: its session is the one of the console and of the
// other tabs, so a reload neither forgets it nor leaves one behind.

import { createHallpass } from '/client/hallpass.js';

const SCHEME = 'hallpass';

const hallpass = createHallpass();
// The token that requests are sent with, as Swagger UI knows it.
let held = null;

/** Replaces the token of the sign-in, which may have expired since, by a good one. A token that was pasted is kept. */
async function renew(request) {
  if (held && request.headers?.Authorization === `Bearer ${held}`) {
    request.headers.Authorization = `Bearer ${(await hallpass.token().catch(() => null)) ?? held}`;
  }
  return request;
}

let isLoaded;
// A token can be set only once the document is there.
const loaded = new Promise((resolve) => {
  isLoaded = resolve;
});

const ui = globalThis.SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  presets: [globalThis.SwaggerUIBundle.presets.apis],
  layout: 'BaseLayout',
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  requestInterceptor: renew,
  onComplete: isLoaded,
  // Nothing is stored in the browser, read from the page's URL, or sent to another server.
  persistAuthorization: false,
  queryConfigEnabled: false,
  deepLinking: false,
  validatorUrl: 'none',
  // Its colours are too close to their background; ours are in docs.css.
  syntaxHighlight: false,
});

const signIn = document.getElementById('sign-in');
const signOut = document.getElementById('sign-out');
const status = document.querySelector('output');

async function show(user) {
  await loaded;
  const before = held;
  held = user ? await hallpass.token().catch(() => null) : null;
  if (held) ui.preauthorizeApiKey(SCHEME, held);
  else if (before) ui.authActions.logout([SCHEME]);
  signIn.hidden = held !== null;
  signOut.hidden = held === null;
  status.textContent = held ? `Requests are sent as ${user.email}.` : 'Requests are sent without a token.';
}

signIn.addEventListener('submit', async (event) => {
  event.preventDefault();
  const { email, password } = signIn.elements;
  const credentials = { email: email.value, password: password.value };
  password.value = '';
  try {
    await hallpass.signIn(credentials);
  } catch ({ error, retryAfter }) {
    status.textContent =
      error === undefined ? 'The server cannot be reached.' : `Not signed in: ${error}${retryAfter ? `, try again in ${Math.ceil(retryAfter)} s` : ''}.`;
    password.focus();
  }
});

signOut.addEventListener('submit', async (event) => {
  event.preventDefault();
  try {
    await hallpass.signOut();
  } catch {
    status.textContent = 'Signed out here, but the server cannot be reached to end the session.';
  }
});

hallpass.onChange(show);

// Swagger UI has dark colours of its own, under this class.
const dark = matchMedia('(prefers-color-scheme: dark)');
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
dark.addEventListener('change', follow);
follow();

// What Swagger UI leaves out for screen readers: the level of its headings, and the names of its lists, bodies and tables.
new MutationObserver(() => {
  for (const heading of document.querySelectorAll('#swagger-ui h3.opblock-tag:not([aria-level])')) {
    heading.setAttribute('role', 'heading');
    heading.setAttribute('aria-level', '2');
  }
  for (const heading of document.querySelectorAll('#swagger-ui h4:not([aria-level]), #swagger-ui h5:not([aria-level])')) {
    heading.setAttribute('role', 'heading');
    heading.setAttribute('aria-level', heading.tagName === 'H4' ? '3' : '4');
  }
  for (const list of document.querySelectorAll('#swagger-ui select:not([aria-label])')) {
    list.setAttribute('aria-label', list.closest('.examples-select') ? 'Example' : 'Media type');
  }
  for (const body of document.querySelectorAll('#swagger-ui textarea:not([aria-label])')) body.setAttribute('aria-label', 'Request body');
  for (const button of document.querySelectorAll('#swagger-ui .copy-to-clipboard button:not([aria-label])')) button.setAttribute('aria-label', 'Copy');
  for (const table of document.querySelectorAll('#swagger-ui [role=region]:not([aria-label])')) {
    table.setAttribute('aria-label', table.id.replaceAll('_', ' ').trim() || 'Responses');
  }
}).observe(document.getElementById('swagger-ui'), { childList: true, subtree: true });
