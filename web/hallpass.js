/**
 * Hallpass in the browser: signs people in, and sends their token with each request.
 *
 *     import { createHallpass } from '/client/hallpass.js';
 *     const { signIn, fetch } = createHallpass();
 *     await signIn({ email, password });
 *     const answer = await fetch('/user/');
 *
 * The access token lives in this page's memory. The refresh token lives in a cookie that no script reads, or in
 * memory too. Neither is ever in localStorage or in a URL.
 */

/** How long before its end a token is renewed, ms; of a short-lived one, a tenth of its life. */
const MARGIN_MS = 10_000;
/** The longest `Retry-After` that is waited for, s. A longer one is told to the caller. */
const PATIENCE_S = 30;
/** How long the server may take, ms. */
const TIMEOUT_MS = 30_000;
/** The same for a refresh: an answer that was lost is asked for again within `session.reuse_grace_s`. */
const REFRESH_TIMEOUT_MS = 6_000;
/** For how long a refresh is put off at most, ms. */
const PUT_OFF_MS = 300_000;

/** The server said no. */
export class HallpassError extends Error {
  name = 'HallpassError';

  constructor({ status, error, message, fields, retryAfter }) {
    super(message);
    Object.assign(this, { status, error, fields, retryAfter });
  }
}

/** Resolves after so many seconds, or when the request is given up. */
const wait = (seconds, signal) =>
  new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    setTimeout(resolve, seconds * 1000);
    signal?.addEventListener('abort', resolve);
  });

/** What `promise` brings, unless the request is given up first. */
function unlessGivenUp(promise, signal) {
  const givenUp = new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    signal?.addEventListener('abort', () => reject(signal.reason));
  });
  return Promise.race([promise, givenUp]);
}

/** The claims of a token, which was not verified: that is the server's business. */
function read(token) {
  const payload = atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(payload, (byte) => byte.charCodeAt(0))));
}

/** The seconds that the answer asks to wait, or null (RFC 9110 §10.2.3). */
function retryAfter({ headers }) {
  const value = headers.get('Retry-After');
  if (value === null) return null;
  // A date is the server's, by whose clock the answer is dated too.
  const now = () => Date.parse(headers.get('Date')) || Date.now();
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - now()) / 1000;
  return Number.isNaN(seconds) ? null : Math.max(0, seconds);
}

/** What the answer brings. */
async function data(answer) {
  const body = (await answer.json().catch(() => null)) ?? {};
  if (answer.status === 204 || (answer.ok && 'data' in body)) return body.data;
  const { error = '', message = `the server answered ${answer.status}, and not as Hallpass does`, fields = {} } = body;
  throw new HallpassError({ status: answer.status, error, message, fields, retryAfter: retryAfter(answer) });
}

/** Sends; where the answer asks for a short wait, waits and sends once more. */
async function patiently(send, signal) {
  const answer = await send();
  const seconds = [429, 503].includes(answer.status) ? retryAfter(answer) : null;
  if (seconds === null || seconds > PATIENCE_S) return answer;
  await wait(seconds, signal);
  return send();
}

export function createHallpass({ url = '/', cookie, origins = [] } = {}) {
  const server = new URL(url, location.href);
  if (!server.pathname.endsWith('/')) server.pathname += '/';
  // Browsers keep a `Secure` cookie over HTTPS, and on the loopback.
  const isLoopback = /^(127\.0\.0\.1|\[::1\]|(.+\.)?localhost)$/.test(server.hostname);
  const byCookie = cookie ?? (server.protocol === 'https:' || isLoopback);
  const trusted = new Set([server.href, location.href, ...origins].map((it) => new URL(it).origin));
  const name = `hallpass ${server.href}`;

  // { token, claims, skew, user, refresh }: `skew` is how far the server's clock is ahead of this one, ms.
  let session = null;
  let refreshing = null;
  // A refresh that the server put off, and until when.
  let putOff = null;
  // How often a session ended; so a refresh that was under way then brings none back.
  let ends = 0;
  // What a sign-out was to end, until the server has heard of it.
  let owed = null;
  const listeners = new Set();
  const channel = globalThis.BroadcastChannel && new BroadcastChannel(name);

  // Whether there may be a session in the cookie; so a stranger's page asks nothing. No token is in it.
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
        // Without storage each page finds out by asking.
      }
    },
  };

  function become(next) {
    const before = JSON.stringify(session?.user);
    session = next;
    if (byCookie) hint.set(next !== null);
    const user = next?.user ?? null;
    if (JSON.stringify(next?.user) === before) return;
    // A listener that throws spoils nothing but itself.
    for (const listener of listeners) queueMicrotask(() => listener(user));
  }

  /** The other tabs, which have the same cookie, know what this one knows. */
  function share(next) {
    become(next);
    if (byCookie) channel?.postMessage(next);
  }

  /** Takes the tokens of an answer. */
  function adopt({ token, refresh_token: refresh, user }) {
    const claims = read(token);
    share({ token, claims, skew: claims.iat * 1000 - Date.now(), user, refresh });
    putOff = null;
    return user;
  }

  function end(reachesOthers) {
    ends += 1;
    become(null);
    if (reachesOthers) channel?.postMessage(null);
  }

  if (channel) {
    channel.onmessage = ({ data: told }) => {
      if (told === null) ends += 1;
      if (byCookie) become(told);
      // Without the cookie each tab has a session of its own, which only it can end.
      else if (session && told === null) leave(false, false).catch(() => {});
    };
  }

  // Whoever goes back may get this page as it was left, which has not heard what others said since.
  globalThis.addEventListener?.('pageshow', ({ persisted }) => {
    if (persisted && byCookie && session) refresh(session.token).catch(() => {});
  });

  let queue = Promise.resolve();

  /** One at a time, over all tabs: whatever brings a new refresh token. */
  function exclusively(task) {
    if (byCookie && globalThis.navigator?.locks) return navigator.locks.request(name, task);
    // One at a time in this tab. Two tabs that refresh at once get the same successor from the server.
    const turn = queue.then(task);
    queue = turn.catch(() => {});
    return turn;
  }

  /** A request to Hallpass itself, with the cookie. */
  function call(path, { method = 'POST', body, token, timeout = TIMEOUT_MS } = {}) {
    const headers = {};
    if (byCookie) headers['X-Hallpass'] = '1';
    if (body) headers['Content-Type'] = 'application/json';
    if (token) headers.Authorization = `Bearer ${token}`;
    return globalThis.fetch(new URL(path, server), {
      method,
      headers,
      body: body && JSON.stringify(body),
      credentials: byCookie ? 'include' : 'omit',
      cache: 'no-store',
      signal: AbortSignal.timeout(timeout),
    });
  }

  async function renew(stale) {
    // Another tab was first, with the same cookie; or the session has ended meanwhile.
    if (session && session.token !== stale) return;
    if (byCookie ? !session && !hint.get() : !session?.refresh) return become(null);
    if (putOff?.until > performance.now()) throw putOff.error;
    const before = ends;
    try {
      const body = byCookie ? undefined : { refresh_token: session.refresh };
      const send = () => call('auth/refresh', { body, timeout: REFRESH_TIMEOUT_MS });
      const tokens = await data(await patiently(() => send().catch(send)));
      if (ends === before) adopt(tokens);
    } catch (error) {
      // Any other failure says nothing about the session, which goes on.
      if (error.status === 401 && error.error) return ends === before ? end(byCookie) : undefined;
      if (error.retryAfter) putOff = { error, until: performance.now() + Math.min(error.retryAfter * 1000, PUT_OFF_MS) };
      throw error;
    }
  }

  function refresh(stale) {
    refreshing ??= exclusively(() => renew(stale)).finally(() => {
      refreshing = null;
    });
    return refreshing;
  }

  async function token() {
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

  /** Whether the answer is 401 because of the token (RFC 6750 §3.1). One to a HEAD has no body. */
  async function refusesToken(answer) {
    if (answer.status !== 401) return false;
    const body = await answer.clone().json().catch(() => null);
    if (!body) return /error="invalid_token"/.test(answer.headers.get('WWW-Authenticate'));
    return /^token_(expired|invalid|revoked)$/.test(body.error);
  }

  /** Sends with the token; where the server refuses that, once more with another of the same user. */
  async function authorized(send, signal) {
    const asked = session?.claims.sub;
    const first = await unlessGivenUp(token(), signal);
    const user = session?.claims.sub;
    // Another tab may have signed somebody else in, whose request this is not.
    if (asked && user && user !== asked) {
      throw new HallpassError({ status: 401, error: 'token_revoked', message: 'somebody else has signed in meanwhile', fields: {} });
    }
    const answer = await send(first);
    if (!first || !(await refusesToken(answer))) return answer;
    await unlessGivenUp(refresh(first), signal);
    return session?.claims.sub === user ? send(session.token) : answer;
  }

  async function fetch(input, init) {
    const request = new Request(input instanceof Request ? input : new URL(input, server), init);
    const { origin } = new URL(request.url);
    if (!trusted.has(origin)) {
      throw new TypeError(`${origin} would see the token; if it may, name it in the option "origins"`);
    }
    const isSafe = ['GET', 'HEAD'].includes(request.method);
    return authorized((token) => {
      const send = () => {
        const copy = request.clone();
        if (token) copy.headers.set('Authorization', `Bearer ${token}`);
        return globalThis.fetch(copy);
      };
      return isSafe ? patiently(send, request.signal) : send();
    }, request.signal);
  }

  async function user({ fresh = false } = {}) {
    if ((await token()) && fresh) {
      const user = await data(await fetch('user/')).catch((error) => {
        if (error.status !== 401) throw error;
      });
      if (user && user.id === session?.claims.sub) share({ ...session, user });
    }
    return session?.user ?? null;
  }

  function signIn({ email, password }) {
    return exclusively(async () => adopt(await data(await call('auth/login', { body: { email, password, cookie: byCookie } }))));
  }

  async function signUp({ email, password, name }) {
    await data(await call('auth/register', { body: { email, password, name } }));
    return signIn({ email, password });
  }

  /** Tells the server that the session of `left` is to end, or every one of its user. */
  async function tell(left, everywhere) {
    const body = left?.refresh && { refresh_token: left.refresh };
    if (!everywhere) {
      return data(await call('auth/logout', { body, token: left?.token })).catch((error) => {
        // A session that has ended already is as signed out as can be.
        if (error.status !== 401 || !error.error) throw error;
      });
    }
    let answer = left && (await call('auth/logout-all', { token: left.token }));
    if (!answer || answer.status === 401) {
      // Only a good token ends the other sessions.
      const { token } = await data(await call('auth/refresh', { body }));
      answer = await call('auth/logout-all', { token });
    }
    return data(answer);
  }

  /** Forgets the session at once; then tells the server, and says so if that was not reached. */
  function leave(everywhere, everyTab) {
    const left = (owed = session ?? owed);
    end(everyTab);
    return exclusively(async () => {
      try {
        await tell(left, everywhere);
        if (owed === left) owed = null;
      } finally {
        // A sign-in that was under way has brought another session meanwhile.
        if (session) end(everyTab);
      }
    });
  }

  const signOut = ({ everywhere = false } = {}) => leave(everywhere, true);

  /** Changes something of the user's own, one at a time; `done` gets what a success brings. */
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

  async function deleteUser({ password }) {
    await change('user/', { method: 'DELETE', body: { password } }, (_, token) => {
      if (session?.claims.sub === read(token).sub) end(true);
    });
  }

  return {
    signIn,
    signUp,
    signOut,
    user,
    fetch,
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    changePassword,
    deleteUser,
    token,
    claims: () => session?.claims ?? null,
    now: () => new Date(Date.now() + (session?.skew ?? 0)),
  };
}
