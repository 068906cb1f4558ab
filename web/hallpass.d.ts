/** The browser client of Hallpass. It signs users in and sends their token with each request. */

/** A user, as the server returns it. Times are RFC 3339 in UTC. */
export interface User {
  id: string;
  email: string;
  /** True if the address is verified. */
  email_verified: boolean;
  name: string | null;
  roles: string[];
  /** The kinds of second factors that the user has. */
  second_factors: ('passkey' | 'totp')[];
  created_at: string;
  last_login_at: string | null;
}

/** A passkey of a user. Times are RFC 3339 in UTC. */
export interface Passkey {
  id: string;
  name: string;
  created_at: string;
  last_used_at: string | null;
  /** It has been copied to other devices of its user. */
  synced: boolean;
}

/** What `signIn` resolves to if the account has a second factor. No session has begun. */
export interface SecondFactorNeeded {
  next: 'second-factor';
  /** What the account has. */
  methods: ('passkey' | 'recovery_code' | 'totp')[];
}

/** What `signUp` resolves to if the address must be verified first: a mail says how. */
export interface VerificationNeeded {
  next: 'verify-email';
}

/** The claims of the access token (RFC 7519 §4.1). Times are seconds since 1970. The client does not verify them. */
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
  /** The time of the sign-in; a renewed token keeps it. */
  auth_time?: number;
  /** How the user signed in (RFC 8176); has `mfa` if by more than one factor. */
  amr?: string[];
}

/**
 * The stable names of failures. Branch on these, never on `message`. A newer server may have others, so any string is
 * accepted; `''` means that the response is not from Hallpass.
 */
export type ErrorSlug =
  | 'json_malformed'
  | 'request_invalid'
  | 'link_invalid'
  | 'token_missing'
  | 'token_invalid'
  | 'token_expired'
  | 'token_revoked'
  | 'credentials_invalid'
  | 'second_factor_required'
  | 'second_factor_invalid'
  | 'refresh_invalid'
  | 'role_missing'
  | 'email_unverified'
  | 'second_factor_unenrolled'
  | 'last_admin'
  | 'password_wrong'
  | 'sign_in_stale'
  | 'registration_closed'
  | 'csrf_rejected'
  | 'not_found'
  | 'method_not_allowed'
  | 'email_taken'
  | 'already_enrolled'
  | 'body_too_large'
  | 'unsupported_media_type'
  | 'validation_failed'
  | 'too_many_attempts'
  | 'overloaded'
  | 'unavailable'
  | 'internal'
  | ''
  | (string & {});

/** The server refused a request. If it cannot be reached, the error is the browser's `TypeError`. */
export declare class HallpassError extends Error {
  constructor(told: Pick<HallpassError, 'status' | 'error' | 'message' | 'fields'> & { retryAfter?: number | null });
  name: 'HallpassError';
  /** The HTTP status. */
  status: number;
  /** The stable name of the failure. */
  error: ErrorSlug;
  /** The fields that were refused, each with the reasons. */
  fields: Record<string, string[]>;
  /** Seconds to wait before the next attempt, if the server requires it. */
  retryAfter?: number | null;
}

export interface Options {
  /** The URL of the server. Defaults to the origin of the page. Requests need it where there is no page, as in Node. */
  url?: string | URL;
  /**
   * Whether the refresh token is kept in a cookie, which all tabs share and which remains after the page is closed.
   * Otherwise it is kept in the page's memory. The cookie needs HTTPS (or the loopback address) and a page on the same
   * site as the server. Defaults to true if the server's URL is HTTPS or on the loopback address;
   * always false where there is no page.
   */
  cookie?: boolean;
  /** Other origins that `fetch` may send the token to, besides the server's and the page's. */
  origins?: string[];
}

/** The client. Its functions need no `this`. They reject with a {@link HallpassError}, or as the browser's `fetch`. */
export interface Hallpass {
  /** Begins a session. If the account has a second factor, it resolves to what is needed for `secondFactor`. */
  signIn(credentials: { email: string; password: string }): Promise<User | SecondFactorNeeded>;

  /**
   * Ends the sign-in that `signIn` has begun. A wrong answer rejects with `second_factor_invalid`, and another one may be
   * given; after five, or after five minutes, `signIn` again.
   */
  secondFactor(answer: { code: string } | { recovery_code: string } | { passkey: true; signal?: AbortSignal }): Promise<User>;

  /**
   * Begins a session by a passkey; no e-mail is asked for. With `autofill`, the browser offers its passkeys in the list of a
   * field with `autocomplete="username webauthn"`, until `signal` ends that. Rejects with the browser's `DOMException` if the
   * user chooses none (`NotAllowedError`), or if the browser or the page has none (`NotSupportedError`).
   */
  signInWithPasskey(options?: { autofill?: boolean; signal?: AbortSignal }): Promise<User>;

  /**
   * Adds a passkey of this device, or of a security key, to the account. The sign-in must be a fresh one, else it rejects
   * with `sign_in_stale`; with the browser's `DOMException` as above, and `InvalidStateError` if the device has one already.
   */
  addPasskey(passkey: { name: string; password: string }): Promise<Passkey>;

  /**
   * Creates an account, and signs in. If the address must be verified first (`registration.verify`), it resolves to that,
   * whether or not the address was free.
   */
  signUp(account: { email: string; password: string; name?: string }): Promise<User | VerificationNeeded | SecondFactorNeeded>;

  /** Sends a link to choose another password, if the address has an account. Nobody learns whether it has. */
  forgotPassword(account: { email: string }): Promise<void>;

  /** Sets the password by the token of such a link, or of an invitation. All sessions of the account end. */
  resetPassword(change: { token: string; new_password: string }): Promise<void>;

  /** Marks the address as verified, by the token of a link to it. */
  verifyEmail(link: { token: string }): Promise<void>;

  /** Sends the user another such link. */
  resendVerification(): Promise<void>;

  /** Sends a link to another address, and a notice to the present one. Nothing changes before `confirmEmail`. */
  changeEmail(change: { email: string; password: string }): Promise<void>;

  /** Makes the other address the account's, by the token of that link. */
  confirmEmail(link: { token: string }): Promise<void>;

  /** Takes a change of the address back, by the token of the link to the old address. The password no longer works then. */
  undoEmailChange(link: { token: string }): Promise<void>;

  /** Sends a link and a code to sign in, if the address has an account. The link works only in this browser. */
  askForLink(account: { email: string }): Promise<void>;

  /** Begins a session by the token of that link, or by the code beside it. */
  signInByLink(proof: { token: string } | { email: string; code: string }): Promise<User | SecondFactorNeeded>;

  /**
   * Ends the session in all tabs; with `everywhere`, ends all sessions of the user. The page forgets the session
   * immediately. Rejects if the server could not be reached, or with `everywhere` if it no longer accepts the session;
   * a second call sends the request again.
   */
  signOut(options?: { everywhere?: boolean }): Promise<void>;

  /**
   * Returns the user who is signed in, or null. On a new page, the cookie restores the session. `fresh` asks the server
   * again.
   */
  user(options?: { fresh?: boolean }): Promise<User | null>;

  /**
   * The browser's `fetch`, with the token. A relative URL is relative to the server's. If the token has expired, it is
   * renewed and the request is sent once more. A GET that gets a `Retry-After` of at most 30 seconds is sent once more
   * after that time. Only the server's origin, the page's and those in `origins` are allowed; others reject with a
   * `TypeError`. If somebody else signs in in another tab before the request is sent, it is not sent, and rejects with
   * a 401.
   */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>;

  /** Returns the user that the page knows, without a request; null too if it has not asked yet. */
  current(): User | null;

  /**
   * Calls `listener` once it is known who is signed in (with null if the server cannot be reached), and when a user signs
   * in or out, or the user's data changes, in any tab. Never calls it before `onChange` returns. Returns a function that
   * removes the listener.
   */
  onChange(listener: (user: User | null) => void): () => void;

  /** Changes the password. All sessions of the user end, and this page gets a new one. */
  changePassword(change: { current_password: string; new_password: string }): Promise<User>;

  /** Deletes the account. */
  deleteUser(proof: { password: string }): Promise<void>;

  /**
   * The access token, renewed if need be, for what does not go through `fetch`. Never put it into a URL. `fresh` renews it in
   * any case, so that it says how the session is signed in now.
   */
  token(options?: { fresh?: boolean }): Promise<string | null>;

  /** Returns the claims of the access token. */
  claims(): Claims | null;

  /** Returns the time of the server's clock, or of the browser's if that is not known yet. */
  now(): Date;
}

/** Creates the client. Call it once per page. Never throws and sends nothing, so it works during server-side rendering. */
export declare function createHallpass(options?: Options): Hallpass;
