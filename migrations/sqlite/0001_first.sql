-- Times are milliseconds since 1970-01-01 UTC; ids are the 16 bytes of a UUIDv7.

-- The one row that makes a database an installation of its own.
create table installation (
    the_only integer not null primary key check (the_only = 1),
    id blob not null,
    -- how the passphrase is stretched: Argon2id (RFC 9106), memory in KiB
    kdf_memory_kib integer not null,
    kdf_iterations integer not null,
    kdf_lanes integer not null,
    salt blob not null,
    -- the random installation key, sealed under the stretched passphrase; never stored in clear
    sealed_key blob not null,
    created_at integer not null
) strict;

create table signing_keys (
    kid text not null primary key,
    algorithm text not null,
    purpose text not null,
    created_at integer not null,
    -- not used for signing before this time, so that every verifier knows it by then
    signs_from integer not null,
    -- the longest lifetime of the tokens that it may have signed, seconds: how long it is kept once it is retired
    token_lifetime integer not null,
    -- the private key, sealed under a key derived from the installation key, with all columns above but
    -- the last as associated data
    sealed blob not null
) strict;

create table users (
    id blob not null primary key,
    -- trimmed and in ASCII lower case; this index alone decides who was first
    email text not null unique,
    name text,
    -- separated by one space, sorted; no role holds a space
    roles text not null,
    -- the password's hash with scheme, cost and salt; null for a user who cannot sign in by password;
    -- never leaves the server
    password_hash text,
    disabled_at integer,
    created_at integer not null,
    last_login_at integer
) strict;

create table sessions (
    -- the token's `sid`
    id blob not null primary key,
    -- null once the user is deleted: the id alone stays until its last token has expired
    user_id blob references users (id) on delete set null,
    created_at integer not null,
    -- when it was last refreshed: since then it has been idle
    refreshed_at integer not null,
    -- when it was last seen in use, written at most once a minute
    last_seen_at integer not null,
    -- when the last access token of the session expires
    token_until integer not null,
    ended_at integer,
    -- SHA-256 of the one refresh token that is good now; none rests in clear
    refresh_digest blob not null,
    -- whether its refresh tokens travel in the cookie alone
    by_cookie integer not null,
    -- as of the last sign-in or refresh; null once the user is deleted
    user_agent text,
    address text
) strict;

create index sessions_of_user on sessions (user_id);
create index sessions_ended on sessions (token_until) where ended_at is not null;

-- Refresh tokens that were used a moment ago. Whoever presents one again gets the same successor, which
-- is made from the token and this salt.
create table rotations (
    -- SHA-256 of the token that was used
    digest blob not null primary key,
    session_id blob not null references sessions (id) on delete cascade,
    salt blob not null,
    at integer not null
) strict, without rowid;

create index rotations_of_session on rotations (session_id);

-- What happened to accounts, sessions and keys. Rows are added, and cleared away when they are old; never
-- changed. No column holds anything that was typed.
create table events (
    id integer not null primary key autoincrement,
    at integer not null,
    kind text not null,
    user_id blob,
    session_id blob,
    address text,
    request_id text
) strict;

create index events_of_user on events (user_id, id);
create index events_by_time on events (at);

-- What running servers must hear of, in the order in which it was committed. Each change is written in
-- the transaction that makes it.
create table changes (
    seq integer not null primary key autoincrement,
    -- 'user': the user's row changed or went; 'session': the session ended; 'keys': the signing keys changed
    kind text not null,
    subject blob not null,
    at integer not null
) strict;

-- Tries to sign in or to register, counted before the password's hash is begun. Who tried, and with which
-- address, cannot be told from it.
create table tries (
    -- what is counted (account, known address of an account, address, registrations), and 18 bits of an HMAC of
    -- who: so there are never more rows than that, whatever is invented
    slot integer not null primary key,
    -- tries that were not given back by success
    failures integer not null,
    last_at integer not null,
    -- the beginning of the day, or of the hour for registrations, and the tries since
    window_began integer not null,
    in_window integer not null
) strict;

-- Addresses from which somebody has signed in to an account: an HMAC of both.
create table known_addresses (
    pair blob not null primary key,
    until integer not null
) strict;
