/** Hallpass in the browser: signs people in, and sends their token with each request. */

/** A user, as the server tells it. Times are RFC 3339 in UTC. */
export interface User {
  id: string;
  email: string;
  /** True if the user proved to read the mail of that address. */
  email_verified: boolean;
  name: string | null;
  roles: string[];
  created_at: string;
  last_login_at: string | null;
}

/** What the access token says (RFC 7519 §4.1). Times are seconds since 1970. Nothing here was verified. */
export interface Claims {
  iss: string;
  aud: string | string[];
  sub: string;
  email: string;
  email_verified: boolean;
  roles: string[];
  iat: number;
  nbf: number;
  exp: number;
  jti: string;
  sid: string;
}

/** The server said no. What keeps it from being asked at all is the browser's own `TypeError`. */
export declare class HallpassError extends Error {
  constructor(told: Pick<HallpassError, 'status' | 'error' | 'message' | 'fields'> & { retryAfter?: number | null });
  name: 'HallpassError';
  /** The HTTP status. */
  status: number;
  /** The stable name of the failure, such as `credentials_invalid`; empty where the answer was not Hallpass's. */
  error: string;
  /** What is wrong with each field that was not acceptable. */
  fields: Record<string, string[]>;
  /** Seconds to wait before the next try, where the server asks for that. */
  retryAfter?: number | null;
}

export interface Options {
  /** Where Hallpass is. Defaults to the origin of the page. */
  url?: string | URL;
  /**
   * Whether the refresh token lives in a cookie, which outlives the page and is shared by its tabs; else it lives
   * in the page's memory. The cookie needs HTTPS (or the loopback) and a page of the same site as the server.
   * Defaults to true where the server is asked over HTTPS or on the loopback.
   */
  cookie?: boolean;
  /** Further origins that `fetch` may send the token to, beside Hallpass's and the page's. */
  origins?: string[];
}

/** Its functions need no `this`. Each rejects with a {@link HallpassError}, or as the browser's `fetch` does. */
export interface Hallpass {
  /** Begins a session. */
  signIn(credentials: { email: string; password: string }): Promise<User>;

  /** Makes an account, and signs in with it. */
  signUp(account: { email: string; password: string; name?: string }): Promise<User>;

  /**
   * Ends the session, here and in every tab; `everywhere` on every device. The page forgets it at once; a rejection
   * says that the server could not be told, or with `everywhere` that it did not take the session's word any more.
   * Called again, it tells the server again.
   */
  signOut(options?: { everywhere?: boolean }): Promise<void>;

  /** Who is signed in: told by the cookie when the page was just opened. `fresh` asks the server again. */
  user(options?: { fresh?: boolean }): Promise<User | null>;

  /**
   * The browser's `fetch` with the token. A relative address is relative to Hallpass's. A token that has expired is
   * renewed, and the request sent once more; a GET that is told to come back within 30 seconds does so, once. An
   * origin that is neither Hallpass's, nor the page's, nor named in `origins` is a `TypeError`. Where another tab signs
   * somebody else in before the request is sent, it is not sent, and rejects with a 401.
   */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>;

  /**
   * Calls `listener` when another user, or none, is signed in, or what is known of the user has changed, whichever tab
   * it happened in. Returns what ends that.
   */
  onChange(listener: (user: User | null) => void): () => void;

  /** Changes the password. Every other session of the user ends; this one goes on as a new one. */
  changePassword(change: { current_password: string; new_password: string }): Promise<User>;

  /** Deletes the account. */
  deleteUser(proof: { password: string }): Promise<void>;

  /** The access token, renewed if need be, for what does not go through `fetch`. Never put it into a URL. */
  token(): Promise<string | null>;

  /** What the access token says. */
  claims(): Claims | null;

  /** The time by the server's clock, as far as it is known. */
  now(): Date;
}

/** Makes the one client of a page. */
export declare function createHallpass(options?: Options): Hallpass;
