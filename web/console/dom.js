// The building blocks of the pages: elements, forms, times. Text is inserted as text and never parsed as HTML.

import { format, t, told } from './language.js';

/** Creates an element. Attributes such as `onclick` are listeners; true is an empty attribute; false and null are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

/** Shows a message for a while, and announces it to screen readers. */
export function say(text) {
  const said = document.getElementById('said');
  said.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => {
    said.textContent = '';
  }, 8000);
}

let expectedUntil = 0;

/** Runs an action that signs the user out. The caller shows its own message, so the usual one is not shown. */
export async function leaving(action) {
  expectedUntil = Infinity;
  try {
    return await action();
  } finally {
    // The next page may be shown a moment later.
    expectedUntil = performance.now() + 1000;
  }
}
leaving.isExpected = () => performance.now() < expectedUntil;

const dateAndTime = (date) => format(Intl.DateTimeFormat, { dateStyle: 'medium', timeStyle: 'short' }).format(date);

/** Shows a time in the user's language. */
export function time(moment) {
  const date = new Date(moment);
  return h('time', { datetime: date.toISOString() }, dateAndTime(date));
}

/** Shows how long ago a time was, by the server's clock. Hovering shows the full time. */
export function ago(moment, now) {
  const date = new Date(moment);
  const seconds = Math.round((date - now) / 1000);
  const units = [['day', 86_400], ['hour', 3_600], ['minute', 60]];
  const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) ?? ['second', 1];
  const text = unit === 'second' ? t('just now') : format(Intl.RelativeTimeFormat, { numeric: 'auto' }).format(Math.trunc(seconds / size), unit);
  return h('time', { datetime: date.toISOString(), title: dateAndTime(date) }, text);
}

const SENTENCES = {
  last_admin: 'This is the last admin. Give another user the role admin first.',
  role_missing: 'Your account no longer has the role admin.',
  credentials_invalid: 'The e-mail or the password is wrong.',
  password_wrong: 'That is not your current password.',
  email_taken: 'An account with this e-mail already exists.',
  registration_closed: 'Registration is closed. Ask the operator of this server for an account.',
  too_many_attempts: 'Too many attempts.',
  overloaded: 'The server is busy. Try again in a moment.',
  unavailable: 'The server cannot reach its database. Try again in a moment.',
  second_factor_invalid: 'That code is wrong, was used before, or came too late.',
  second_factor_unenrolled: 'Your role needs a second factor. Add one under Security first.',
  sign_in_stale: 'For this, sign in again first.',
  already_enrolled: 'There is one already. Remove it first.',
  token_missing: 'You are signed out.',
  link_invalid: 'This link or code does not work: it was used, has expired, or a newer one was sent.',
  email_unverified: 'Verify your address first. Another link was sent to it.',
};

/** Returns a sentence about an error, for the user. */
export function explain(error) {
  // An error without a status comes from the network.
  if (error.status === undefined) return t('The server cannot be reached. Check your connection and try again.');
  return Object.hasOwn(SENTENCES, error.error) ? t(SENTENCES[error.error]) : t('That did not work: {reason}.', { reason: told(error.message) });
}

/** Saves a text as a file. */
export function download(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  h('a', { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

let lastId = 0;

/** Creates a labelled input. `extra` is shown under it. */
export function field({ label, hint, extra, ...attributes }) {
  const id = `field-${++lastId}`;
  const problem = h('p', { class: 'problem', id: `${id}-problem` });
  const note = hint && h('p', { class: 'hint', id: `${id}-hint` }, hint);
  const described = [note?.id, problem.id].filter(Boolean).join(' ');
  const input = h('input', { id, required: true, 'aria-describedby': described, ...attributes });
  const reveal =
    attributes.type === 'password' &&
    h('button', { type: 'button', class: 'reveal', 'aria-pressed': 'false', 'aria-label': t('Show: {field}', { field: label }), onclick: toggle }, t('Show'));

  function toggle() {
    const isShown = input.type === 'password';
    input.type = isShown ? 'text' : 'password';
    reveal.setAttribute('aria-pressed', String(isShown));
    reveal.textContent = isShown ? t('Hide') : t('Show');
    input.focus();
  }

  const row = h('div', { class: 'field' }, h('label', { for: id }, label), h('div', { class: 'input' }, input, reveal), note, extra, problem);
  return {
    row,
    input,
    name: attributes.name,
    /** Shows the reasons why the value is not accepted; clears them if `reasons` is undefined. */
    blame(reasons) {
      problem.textContent = reasons ? reasons.map((reason) => `${label} ${told(reason)}.`).join(' ') : '';
      if (reasons) input.setAttribute('aria-invalid', 'true');
      else input.removeAttribute('aria-invalid');
    },
  };
}

/** Creates a form. `send` gets the values by name. If it rejects, the error is shown at its field or above the form. */
export function form({ fields, submit, danger = false, label }, send) {
  const alert = h('p', { class: 'alert', role: 'alert', hidden: true });
  const button = h('button', { class: danger ? 'danger' : 'primary' }, submit);

  function complain(text) {
    alert.textContent = text;
    alert.hidden = text === '';
  }

  /** Disables the button for as long as the server asked to wait, and counts down. */
  function hold(seconds) {
    const until = performance.now() + seconds * 1000;
    const tick = () => {
      const left = Math.ceil((until - performance.now()) / 1000);
      button.disabled = left > 0;
      button.textContent = left > 0 ? t('Try again in {left} s', { left }) : submit;
      if (left > 0 && button.isConnected) setTimeout(tick, 250);
    };
    tick();
  }

  const element = h('form', { novalidate: true, 'aria-label': label, onsubmit }, alert, fields.map((it) => it.row), button);

  async function onsubmit(event) {
    event.preventDefault();
    if (button.disabled) return;
    complain('');
    let first = null;
    for (const it of fields) {
      const isMissing = it.input.required && it.input.value === '';
      it.blame(isMissing ? ['is required'] : undefined);
      if (isMissing) first ??= it.input;
    }
    if (first) return first.focus();
    // A disabled button loses the focus.
    const hadFocus = document.activeElement === button;
    button.disabled = true;
    element.setAttribute('aria-busy', 'true');
    let seconds = null;
    try {
      await send(Object.fromEntries(fields.map((it) => [it.name, it.input.value])));
      for (const it of fields) if (it.input.type !== 'email' && !it.input.dataset.keep) it.input.value = '';
    } catch (error) {
      const blamed = fields.filter((it) => error.fields?.[it.name]);
      for (const it of blamed) it.blame(error.fields[it.name]);
      if (blamed.length === 0) complain(explain(error));
      // After a wrong password that is what is typed again.
      const wrong = ['credentials_invalid', 'password_wrong'].includes(error.error) && fields.find((it) => it.input.autocomplete === 'current-password');
      const again = blamed[0] ?? (wrong || fields[0]);
      again?.input.focus();
      if (wrong === again) again.input.select();
      seconds = error.retryAfter;
    }
    element.removeAttribute('aria-busy');
    button.disabled = false;
    if (hadFocus && document.activeElement === document.body) button.focus();
    if (seconds) hold(seconds);
  }

  return element;
}

/** Creates a section of a page. Its heading can be given the focus. */
export function card(title, ...children) {
  const id = `card-${++lastId}`;
  return h('section', { class: 'card', 'aria-labelledby': id }, h('h2', { id, tabindex: '-1' }, title), ...children);
}

/** Creates the heading of a page. */
export function heading(title, text) {
  return h('div', { class: 'heading' }, h('h1', { tabindex: '-1' }, title), text && h('p', {}, text));
}
