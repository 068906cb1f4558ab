-- Times are milliseconds since 1970-01-01 UTC; ids are the 16 bytes of a UUIDv7.

-- The one row that makes a database an installation of its own.
create table installation (
    singleton integer not null primary key check (singleton = 1),
    id blob not null,
    -- the cost of stretching the passphrase: Argon2id (RFC 9106), memory in KiB
    kdf_memory_kib integer not null,
    kdf_iterations integer not null,
    kdf_lanes integer not null,
    salt blob not null,
    -- the random installation key, sealed under the stretched passphrase; never stored in plaintext
    sealed_key blob not null,
    created_at integer not null
) strict;

create table signing_keys (
    kid text not null primary key,
    algorithm text not null,
    purpose text not null,
    created_at integer not null,
    -- the key does not sign before this time, so that every verifier knows it by then
    signs_from integer not null,
    -- the longest lifetime of the tokens that it may have signed, seconds; a retired key is kept for as long
    token_lifetime integer not null,
    -- the private key, sealed under a key derived from the installation key; all columns above except token_lifetime
    -- are its associated data
    sealed blob not null
) strict;

create table users (
    id blob not null primary key,
    -- trimmed and in ASCII lower case; of two registrations at once, this index lets one through
    email text not null unique,
    name text,
    -- sorted, separated by one space; no role contains a space
    roles text not null,
    -- the password's hash with scheme, cost and salt; null for a user who cannot sign in by password;
    -- never leaves the server
    password_hash text,
    disabled_at integer,
    created_at integer not null,
    last_login_at integer
) strict;

create table sessions (
    -- the `sid` of its tokens
    id blob not null primary key,
    -- null once the user is deleted: the id alone stays until its last token has expired
    user_id blob references users (id) on delete set null,
    created_at integer not null,
    -- the last refresh, from which the idle lifetime counts
    refreshed_at integer not null,
    -- the last use, written at most once a minute
    last_seen_at integer not null,
    -- the expiry of the session's last access token
    token_until integer not null,
    ended_at integer,
    -- SHA-256 of the one refresh token that is valid now; the token itself is never stored
    refresh_digest blob not null,
    -- 1: its refresh tokens travel in the cookie alone
    by_cookie integer not null,
    -- of the last sign-in or refresh; null once the user is deleted
    user_agent text,
    address text
) strict;

create index sessions_of_user on sessions (user_id);
create index sessions_ended on sessions (token_until) where ended_at is not null;

-- Refresh tokens that were used a moment ago. The same token gets the same successor within the grace period; the
-- successor is derived from the token and this salt.
create table rotations (
    -- SHA-256 of the token that was used
    digest blob not null primary key,
    session_id blob not null references sessions (id) on delete cascade,
    salt blob not null,
    at integer not null
) strict, without rowid;

create index rotations_of_session on rotations (session_id);

-- What happened to accounts, sessions and keys. Rows are added and, when they are old, deleted; never changed. No
-- column holds typed text.
create table events (
    id integer not null primary key autoincrement,
    at integer not null,
    kind text not null,
    user_id blob,
    session_id blob,
    address text,
    request_id text,
    -- what else is to be told, as a JSON object of names and values
    details text
) strict;

create index events_of_user on events (user_id, id);
create index events_by_time on events (at);

-- Changes that running servers must learn of, in the order of their commits. Each is written in the transaction that
-- makes it.
create table changes (
    seq integer not null primary key autoincrement,
    -- 'user': the user was changed or deleted; 'session': the session ended; 'keys': the signing keys changed
    kind text not null,
    subject blob not null,
    at integer not null
) strict;

-- Attempts to sign in, register or refresh, counted before any password is hashed. Neither the account nor the address
-- can be told from a row.
create table attempts (
    -- the kind of counter and 18 bits of an HMAC of the account or address: so the number of rows is bounded
    slot integer not null primary key,
    -- failed attempts not yet cleared by a success
    failures integer not null,
    last_at integer not null,
    -- the start of the day (the hour for registrations and refreshes), and the attempts since
    window_began integer not null,
    in_window integer not null
) strict;

-- Addresses from which somebody has signed in to an account: an HMAC of both.
create table known_addresses (
    pair blob not null primary key,
    until integer not null
) strict;
