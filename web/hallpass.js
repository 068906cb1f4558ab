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
/** How long the server may take over a sign-in or a refresh, ms. */
const TIMEOUT_MS = 30_000;

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

/** The claims of a token, which was not verified: that is the server's business. */
function read(token) {
  const payload = atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(payload, (byte) => byte.charCodeAt(0))));
}

/** The seconds that the answer asks to wait, or null (RFC 9110 §10.2.3). */
function retryAfter({ headers }) {
  const value = headers.get('Retry-After');
  if (value === null) return null;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? null : Math.max(0, seconds);
}

/** What the answer brings. */
async function data(answer) {
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body.data;
  const { error = '', message = `the server answered ${answer.status}`, fields = {} } = body;
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
    become(null);
    if (reachesOthers) channel?.postMessage(null);
  }

  if (channel) {
    channel.onmessage = ({ data: told }) => {
      if (byCookie) become(told);
      // Without the cookie each tab has a session of its own, which only it can end.
      else if (session && told === null) leave('auth/logout').catch(() => {});
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
  function post(path, body, token) {
    const headers = {};
    if (byCookie) headers['X-Hallpass'] = '1';
    if (body) headers['Content-Type'] = 'application/json';
    if (token) headers.Authorization = `Bearer ${token}`;
    return globalThis.fetch(new URL(path, server), {
      method: 'POST',
      headers,
      body: body && JSON.stringify(body),
      credentials: byCookie ? 'include' : 'omit',
      cache: 'no-store',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  }

  async function renew(stale) {
    // Another tab was first, with the same cookie; or the session has ended meanwhile.
    if (session && session.token !== stale) return;
    if (byCookie ? !hint.get() : !session?.refresh) return become(null);
    if (putOff?.until > Date.now()) throw putOff.error;
    try {
      const body = byCookie ? undefined : { refresh_token: session.refresh };
      adopt(await data(await patiently(() => post('auth/refresh', body))));
    } catch (error) {
      // Any other failure says nothing about the session, which goes on.
      if (error.status === 401) return end(byCookie);
      if (error.retryAfter) putOff = { error, until: Date.now() + error.retryAfter * 1000 };
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

  /** Sends with the token; where the server refuses that, once more with another of the same user. */
  async function authorized(send) {
    const first = await token();
    const user = session?.claims.sub;
    const answer = await send(first);
    if (!first || answer.status !== 401) return answer;
    const { error } = await answer.clone().json().catch(() => ({}));
    if (!/^token_(expired|invalid|revoked)$/.test(error)) return answer;
    await refresh(first);
    // Another tab may have signed somebody else in, whose request this is not.
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
    });
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
    return exclusively(async () => adopt(await data(await post('auth/login', { email, password, cookie: byCookie }))));
  }

  async function signUp({ email, password, name }) {
    await data(await post('auth/register', { email, password, name }));
    return signIn({ email, password });
  }

  /** Forgets the session at once; then tells the server, and says so if that was not reached. */
  function leave(path, everyTab = false) {
    const left = session;
    end(everyTab);
    return exclusively(async () => {
      const body = left?.refresh && { refresh_token: left.refresh };
      try {
        await data(await post(path, body, left?.token));
      } catch (error) {
        // A session that has ended already is as signed out as can be.
        if (error.status !== 401) throw error;
      } finally {
        // A refresh that was under way has brought another token meanwhile.
        end(everyTab);
      }
    });
  }

  async function signOut({ everywhere = false } = {}) {
    // Only a good token ends the other sessions.
    if (everywhere) await token();
    return leave(everywhere ? 'auth/logout-all' : 'auth/logout', true);
  }

  async function changePassword({ current_password, new_password }) {
    const body = { current_password, new_password };
    const change = (token) =>
      exclusively(async () => {
        const answer = await post('user/password', body, token);
        if (answer.ok) adopt(await data(answer.clone()));
        return answer;
      });
    return (await data(await authorized(change))).user;
  }

  async function deleteUser({ password }) {
    const headers = { 'Content-Type': 'application/json' };
    await data(await fetch('user/', { method: 'DELETE', headers, body: JSON.stringify({ password }) }));
    end(true);
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
