/**
 * The browser client of Hallpass: signs users in, and sends their token with each request.
 *
 *     import { createHallpass } from '/client/hallpass.js';
 *     const { signIn, fetch } = createHallpass();
 *     await signIn({ email, password });
 *     const answer = await fetch('/user/');
 *
 * The access token is in this page's memory. The refresh token is in a cookie that scripts cannot read, or in memory
 * too. Neither is ever in localStorage or in a URL.
 */

/** How long before its expiry a token is renewed, ms. With a short lifetime, a tenth of the lifetime. */
const MARGIN_MS = 10_000;
/** The longest `Retry-After` that the client waits for, s. A longer one is passed to the caller. */
const PATIENCE_S = 30;
/** The timeout of a request, ms. */
const TIMEOUT_MS = 30_000;
/** The timeout of a refresh. It is shorter, so that a lost answer is requested again within `session.reuse_grace_s`. */
const REFRESH_TIMEOUT_MS = 6_000;
/** How long one challenge is offered in the list of a field, ms. The challenge is good for 300 s. */
const OFFER_MS = 240_000;
/** The longest time for which a refresh is postponed, ms. */
const POSTPONE_MS = 300_000;

/** A refusal of the server. */
export class HallpassError extends Error {
  name = 'HallpassError';

  constructor({ status, error, message, fields, retryAfter }) {
    super(message);
    Object.assign(this, { status, error, fields, retryAfter });
  }
}

/** Resolves after `seconds`, or when the request is aborted. */
const wait = (seconds, signal) =>
  new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    setTimeout(resolve, seconds * 1000);
    signal?.addEventListener('abort', resolve);
  });

/** Resolves like `promise`, but rejects as soon as the request is aborted. */
function unlessAborted(promise, signal) {
  const aborted = new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    signal?.addEventListener('abort', () => reject(signal.reason));
  });
  return Promise.race([promise, aborted]);
}

/** Returns the claims of a token. It is not verified here; the server does that. */
function read(token) {
  const payload = atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(payload, (byte) => byte.charCodeAt(0))));
}

/** Returns the `Retry-After` of an answer in seconds, or null (RFC 9110 §10.2.3). */
function retryAfter({ headers }) {
  const value = headers.get('Retry-After');
  if (value === null) return null;
  // A date is by the server's clock, and so is the `Date` of the answer.
  const now = () => Date.parse(headers.get('Date')) || Date.now();
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - now()) / 1000;
  return Number.isNaN(seconds) ? null : Math.max(0, seconds);
}

/** Returns the data of an answer. A refusal is thrown. */
async function data(answer) {
  const body = (await answer.json().catch(() => null)) ?? {};
  if (answer.status === 204 || (answer.ok && 'data' in body)) return body.data;
  const { error = '', message = `the server answered ${answer.status}, but not like Hallpass`, fields = {} } = body;
  throw new HallpassError({ status: answer.status, error, message, fields, retryAfter: retryAfter(answer) });
}

/** Returns the browser's `PublicKeyCredential`. A page without HTTPS has none, and an old browser cannot read its JSON. */
function passkeys() {
  const { PublicKeyCredential: found } = globalThis;
  if (found?.parseRequestOptionsFromJSON) return found;
  throw new DOMException('passkeys need a browser of 2025 or later, and a page over https or on localhost', 'NotSupportedError');
}

/** Sends. If the answer has a short `Retry-After`, waits and sends again. */
async function withRetry(send, signal) {
  const answer = await send();
  const seconds = [429, 503].includes(answer.status) ? retryAfter(answer) : null;
  if (seconds === null || seconds > PATIENCE_S) return answer;
  await wait(seconds, signal);
  return send();
}

export function createHallpass({ url = '/', cookie, origins = [] } = {}) {
  // There is none where a page is rendered on a server, and in Node.
  const page = globalThis.location?.href;
  // Null where a relative `url` is relative to nothing: then each call that needs the server rejects.
  const server = URL.canParse(url, page) ? new URL(url, page) : null;
  if (server && !server.pathname.endsWith('/')) server.pathname += '/';
  // Browsers accept a `Secure` cookie over HTTPS, and on the loopback. Elsewhere nothing keeps the cookie.
  const isLoopback = /^(127\.0\.0\.1|\[::1\]|(.+\.)?localhost)$/.test(server?.hostname);
  const byCookie = Boolean(page && server) && (cookie ?? (server.protocol === 'https:' || isLoopback));
  const trusted = new Set([server, page, ...origins].filter((it) => URL.canParse(it)).map((it) => new URL(it).origin));
  const name = `hallpass ${server?.href}`;

  // { token, claims, skew, user, refresh }: `skew` is how far the server's clock is ahead of this one, ms.
  let session = null;
  let refreshing = null;
  // The refusal of a postponed refresh, and the time until which it is postponed.
  let postponed = null;
  // The challenge of a sign-in that waits for its second factor.
  let pending = '';
  // The number of sessions that have ended. A refresh that was in progress at an end must not bring the session back.
  let ends = 0;
  // The session that a sign-out ends, until the server has confirmed it.
  let unconfirmed = null;
  const listeners = new Set();
  // In Node an open channel would keep the process from ending.
  const channel = page && globalThis.BroadcastChannel ? new BroadcastChannel(name) : null;

  // Remembers that there may be a session in the cookie, so that a page without one sends no request. It has no token.
  const hint = {
    get() {
      try {
        return localStorage.getItem(name) !== null;
      } catch {
        return true;
      }
    },
    set(isThere) {
      try {
        if (isThere) localStorage.setItem(name, 'signed in');
        else localStorage.removeItem(name);
      } catch {
        // Without storage, each page asks the server.
      }
    },
  };

  function setSession(next) {
    const before = JSON.stringify(session?.user);
    session = next;
    if (byCookie) hint.set(next !== null);
    const user = next?.user ?? null;
    if (JSON.stringify(next?.user) === before) return;
    // In its own task, so that a listener that throws does not disturb anything else.
    for (const listener of listeners) queueMicrotask(() => listener(user));
  }

  /** Sets the session here and in the other tabs, which have the same cookie. */
  function share(next) {
    setSession(next);
    if (byCookie) channel?.postMessage(next);
  }

  /** Stores the tokens of an answer. */
  function adopt({ token, refresh_token: refresh, user }) {
    const claims = read(token);
    share({ token, claims, skew: claims.iat * 1000 - Date.now(), user, refresh });
    postponed = null;
    return user;
  }

  function end(everyTab) {
    ends += 1;
    setSession(null);
    if (everyTab) channel?.postMessage(null);
  }

  if (channel) {
    channel.onmessage = ({ data: next }) => {
      if (next === null) ends += 1;
      if (byCookie) setSession(next);
      // Without the cookie each tab has its own session, which only that tab can end.
      else if (session && next === null) leave(false, false).catch(() => {});
    };
  }

  // The browser may show this page from its back/forward cache. It has missed the messages of other tabs then.
  globalThis.addEventListener?.('pageshow', ({ persisted }) => {
    if (persisted && byCookie && session) refresh(session.token).catch(() => {});
  });

  let queue = Promise.resolve();

  /** Runs tasks that change the refresh token one at a time, across all tabs. */
  function exclusively(task) {
    if (byCookie && globalThis.navigator?.locks) return navigator.locks.request(name, task);
    // One at a time in this tab only. Two tabs that refresh at the same time get the same next token from the server.
    const turn = queue.then(task);
    queue = turn.catch(() => {});
    return turn;
  }

  /** Returns the address of `path` at the server. */
  function at(path) {
    if (server || URL.canParse(path)) return new URL(path, server ?? undefined);
    throw new TypeError('there is no page here to find Hallpass by; name it in the option "url"');
  }

  /** Sends a request to Hallpass itself, with the cookie. */
  async function call(path, { method = 'POST', body, token, timeout = TIMEOUT_MS } = {}) {
    const headers = {};
    if (byCookie) headers['X-Hallpass'] = '1';
    if (body) headers['Content-Type'] = 'application/json';
    if (token) headers.Authorization = `Bearer ${token}`;
    return globalThis.fetch(at(path), {
      method,
      headers,
      body: body && JSON.stringify(body),
      credentials: byCookie ? 'include' : 'omit',
      cache: 'no-store',
      signal: AbortSignal.timeout(timeout),
    });
  }

  async function renew(stale) {
    // Another tab has refreshed with the same cookie, or the session has ended meanwhile.
    if (session && session.token !== stale) return;
    if (byCookie ? !session && !hint.get() : !session?.refresh) return setSession(null);
    if (postponed?.until > performance.now()) throw postponed.error;
    const before = ends;
    try {
      const body = byCookie ? undefined : { refresh_token: session.refresh };
      const send = () => call('auth/refresh', { body, timeout: REFRESH_TIMEOUT_MS });
      const tokens = await data(await withRetry(() => send().catch(send)));
      if (ends === before) adopt(tokens);
    } catch (error) {
      // Any other failure says nothing about the session, so it continues.
      if (error.status === 401 && error.error) return ends === before ? end(byCookie) : undefined;
      if (error.retryAfter) postponed = { error, until: performance.now() + Math.min(error.retryAfter * 1000, POSTPONE_MS) };
      throw error;
    }
  }

  function refresh(stale) {
    refreshing ??= exclusively(() => renew(stale)).finally(() => {
      refreshing = null;
    });
    return refreshing;
  }

  async function token({ fresh = false } = {}) {
    if (fresh && session) await refresh(session.token);
    if (!session) {
      if (byCookie && hint.get()) await refresh();
    } else {
      const { token, claims, skew } = session;
      const left = claims.exp * 1000 - skew - Date.now();
      if (left < Math.min(MARGIN_MS, (claims.exp - claims.iat) * 100)) {
        await refresh(token).catch((error) => {
          if (left <= 0) throw error;
        });
      }
    }
    return session?.token ?? null;
  }

  /** Returns true if the answer is a 401 because of the token (RFC 6750 §3.1). The answer to a HEAD has no body. */
  async function refusesToken(answer) {
    if (answer.status !== 401) return false;
    const body = await answer.clone().json().catch(() => null);
    if (!body) return /error="invalid_token"/.test(answer.headers.get('WWW-Authenticate'));
    return /^token_(expired|invalid|revoked)$/.test(body.error);
  }

  /** Sends with the token. If the server refuses the token, gets a new one for the same user and sends again. */
  async function authorized(send, signal) {
    const asked = session?.claims.sub;
    const first = await unlessAborted(token(), signal);
    const user = session?.claims.sub;
    // Another tab may have signed in another user meanwhile. The request must not be sent as that user.
    if (asked && user && user !== asked) {
      throw new HallpassError({ status: 401, error: 'token_revoked', message: 'another user has signed in meanwhile', fields: {} });
    }
    const answer = await send(first);
    if (!first || !(await refusesToken(answer))) return answer;
    await unlessAborted(refresh(first), signal);
    return session?.claims.sub === user ? send(session.token) : answer;
  }

  async function fetch(input, init) {
    const request = new Request(input instanceof Request ? input : at(input), init);
    const { origin } = new URL(request.url);
    if (!trusted.has(origin)) {
      throw new TypeError(`the token would be sent to ${origin}; to allow that, add it to the option "origins"`);
    }
    const isSafe = ['GET', 'HEAD'].includes(request.method);
    return authorized((token) => {
      const send = () => {
        const copy = request.clone();
        if (token) copy.headers.set('Authorization', `Bearer ${token}`);
        return globalThis.fetch(copy);
      };
      return isSafe ? withRetry(send, request.signal) : send();
    }, request.signal);
  }

  async function user({ fresh = false } = {}) {
    if ((await token()) && fresh) {
      const user = await data(await fetch('user/')).catch((error) => {
        if (error.status !== 401) throw error;
      });
      if (user && user.id === session?.claims.sub) share({ ...session, user });
    }
    return current();
  }

  /** Begins a session; or returns what comes next, if the account has a second factor. */
  function enter(path, body) {
    return exclusively(async () => {
      const answer = await call(path, { body });
      const { error, challenge, methods } = (answer.status === 401 && (await answer.clone().json().catch(() => null))) || {};
      if (error === 'second_factor_required') {
        pending = challenge;
        return { next: 'second-factor', methods };
      }
      const user = adopt(await data(answer));
      pending = '';
      return user;
    });
  }

  const signIn = ({ email, password }) => enter('auth/login', { email, password, cookie: byCookie });

  /** Asks the browser for an answer to a challenge of the server, by a passkey. */
  async function assertion(body, { signal, mediation } = {}) {
    const { parseRequestOptionsFromJSON: parse } = passkeys();
    const publicKey = parse(await data(await call('auth/passkey/options', { body })));
    return (await navigator.credentials.get({ publicKey, signal, mediation })).toJSON();
  }

  async function secondFactor({ code, recovery_code, passkey, signal }) {
    const credential = passkey && (await assertion({ challenge: pending }, { signal }));
    return enter('auth/second-factor', { challenge: pending, code, recovery_code, credential });
  }

  async function signInWithPasskey({ autofill = false, signal } = {}) {
    if (autofill && !(await passkeys().isConditionalMediationAvailable?.())) {
      throw new DOMException('this browser offers no passkeys in the list of a field', 'NotSupportedError');
    }
    let credential;
    while (!credential) {
      // An offer in a list stays for as long as the page; a challenge does not.
      const limit = autofill ? AbortSignal.timeout(OFFER_MS) : null;
      const signals = [limit, signal].filter(Boolean);
      try {
        credential = await assertion(undefined, {
          signal: signals.length ? AbortSignal.any(signals) : undefined,
          mediation: autofill ? 'conditional' : undefined,
        });
      } catch (error) {
        if (!limit?.aborted || signal?.aborted) throw error;
      }
    }
    return enter('auth/passkey', { credential, cookie: byCookie });
  }

  async function addPasskey({ name, password }) {
    const { parseCreationOptionsFromJSON: parse } = passkeys();
    const post = async (path, body) =>
      data(await fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }));
    const publicKey = parse(await post('user/passkeys/options', { password }));
    const credential = (await navigator.credentials.create({ publicKey })).toJSON();
    const added = await post('user/passkeys', { name, credential });
    // The next token says that the session has a second factor.
    await token({ fresh: true });
    return added;
  }

  async function signUp({ email, password, name }) {
    const answer = await call('auth/register', { body: { email, password, name } });
    await data(answer.clone());
    // The address must be verified first; whether it was free, only its owner learns.
    return answer.status === 202 ? { next: 'verify-email' } : signIn({ email, password });
  }

  const post = async (path, body) => data(await call(path, { body }));

  /** Posts the token of a mail. It may have changed the user who is signed in here, or ended their session. */
  async function redeem(path, body) {
    await post(path, body);
    if (session) await user({ fresh: true }).catch(() => {});
  }

  const signInByLink = ({ token, email, code }) => enter('auth/link/redeem', { token, email, code, cookie: byCookie });

  /** Ends the session `left` at the server, or every session of its user. */
  async function tell(left, everywhere) {
    const body = left?.refresh && { refresh_token: left.refresh };
    if (!everywhere) {
      return data(await call('auth/logout', { body, token: left?.token })).catch((error) => {
        // If the session has ended already, nothing is left to do.
        if (error.status !== 401 || !error.error) throw error;
      });
    }
    let answer = left && (await call('auth/logout-all', { token: left.token }));
    if (!answer || answer.status === 401) {
      // Only a valid access token can end the other sessions.
      const { token } = await data(await call('auth/refresh', { body }));
      answer = await call('auth/logout-all', { token });
    }
    return data(answer);
  }

  /** Forgets the session immediately, then ends it at the server. Rejects if the server could not be reached. */
  function leave(everywhere, everyTab) {
    const left = (unconfirmed = session ?? unconfirmed);
    end(everyTab);
    return exclusively(async () => {
      try {
        await tell(left, everywhere);
        if (unconfirmed === left) unconfirmed = null;
      } finally {
        // A sign-in that was in progress has begun another session meanwhile.
        if (session) end(everyTab);
      }
    });
  }

  const signOut = ({ everywhere = false } = {}) => leave(everywhere, true);

  /** Sends a change of the account, one at a time. `done` gets the data of a success. */
  async function change(path, options, done) {
    const send = (token) =>
      exclusively(async () => {
        const answer = await call(path, { ...options, token });
        if (answer.ok) done(await data(answer.clone()), token);
        return answer;
      });
    return data(await authorized(send));
  }

  async function changePassword({ current_password, new_password }) {
    return (await change('user/password', { body: { current_password, new_password } }, adopt)).user;
  }

  const changeEmail = ({ email, password }) => change('user/email', { body: { email, password } }, () => {});

  const resendVerification = () => change('auth/email/resend', {}, () => {});

  async function deleteUser({ password }) {
    await change('user/', { method: 'DELETE', body: { password } }, (_, token) => {
      if (session?.claims.sub === read(token).sub) end(true);
    });
  }

  const current = () => session?.user ?? null;

  function onChange(listener) {
    let hasHeard = false;
    const hear = (user) => {
      hasHeard = true;
      listener(user);
    };
    listeners.add(hear);
    // Who is signed in already, which the server must perhaps be asked for, is told like a change.
    const first = () => queueMicrotask(() => hasHeard || !listeners.has(hear) || hear(current()));
    user().then(first, first);
    return () => void listeners.delete(hear);
  }

  return {
    signIn,
    secondFactor,
    signInWithPasskey,
    addPasskey,
    signUp,
    signOut,
    user,
    fetch,
    onChange,
    current,
    changePassword,
    deleteUser,
    forgotPassword: ({ email }) => post('auth/password/forgot', { email }),
    resetPassword: ({ token, new_password }) => redeem('auth/password/reset', { token, new_password }),
    verifyEmail: ({ token }) => redeem('auth/email/verify', { token }),
    resendVerification,
    changeEmail,
    confirmEmail: ({ token }) => redeem('auth/email/change', { token }),
    undoEmailChange: ({ token }) => redeem('auth/email/change/undo', { token }),
    askForLink: ({ email }) => post('auth/link', { email }),
    signInByLink,
    token,
    claims: () => session?.claims ?? null,
    now: () => new Date(Date.now() + (session?.skew ?? 0)),
  };
}
