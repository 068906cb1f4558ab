// The page that shows the OpenAPI document. The token of a sign-in is only in this page's memory, so closing or
// reloading the page forgets it.
'use strict';

const SCHEME = 'hallpass';

const ui = SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  presets: [SwaggerUIBundle.presets.apis],
  layout: 'BaseLayout',
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  // Nothing is stored in the browser, read from the page's URL, or sent to another server.
  persistAuthorization: false,
  queryConfigEnabled: false,
  deepLinking: false,
  validatorUrl: 'none',
});

const signIn = document.getElementById('sign-in');
const signOut = document.getElementById('sign-out');
const status = document.querySelector('output');
let token = null;

function show(message) {
  status.textContent = message;
  signIn.hidden = token !== null;
  signOut.hidden = token === null;
}

async function post(path, headers, body) {
  const answer = await fetch(path, { method: 'POST', headers, body, cache: 'no-store' });
  return { answer, json: answer.status === 204 ? null : await answer.json() };
}

signIn.addEventListener('submit', async (event) => {
  event.preventDefault();
  const { email, password } = signIn.elements;
  const body = JSON.stringify({ email: email.value, password: password.value });
  password.value = '';
  try {
    const { answer, json } = await post('/auth/login', { 'Content-Type': 'application/json' }, body);
    if (answer.ok) {
      token = json.data.token;
      ui.preauthorizeApiKey(SCHEME, token);
      show(`Requests are sent as ${json.data.user.email}.`);
    } else {
      const wait = answer.headers.get('Retry-After');
      show(`Not signed in: ${json.error}${wait ? `, try again in ${wait} s` : ''}.`);
    }
  } catch {
    show('The server cannot be reached.');
  }
});

signOut.addEventListener('submit', async (event) => {
  event.preventDefault();
  const authorization = { Authorization: `Bearer ${token}` };
  token = null;
  ui.authActions.logout([SCHEME]);
  show('Requests are sent without a token.');
  try {
    await post('/auth/logout', authorization);
  } catch {
    show('Signed out here, but the server cannot be reached to end the session.');
  }
});
