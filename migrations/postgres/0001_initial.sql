-- Times are milliseconds since 1970-01-01 UTC; ids are UUIDv7. Text is compared and sorted by its bytes (collate "C"), as
-- SQLite does. The connection's search_path names the schema.

-- The one row that makes a database an installation of its own.
create table installation (
    singleton bigint not null primary key check (singleton = 1),
    id uuid not null,
    -- the cost of stretching the passphrase: Argon2id (RFC 9106), memory in KiB
    kdf_memory_kib bigint not null,
    kdf_iterations bigint not null,
    kdf_lanes bigint not null,
    salt bytea not null,
    -- the random installation key, sealed under the stretched passphrase; never stored in plaintext
    sealed_key bytea not null,
    created_at bigint not null
);

create table signing_keys (
    kid text collate "C" not null primary key,
    algorithm text collate "C" not null,
    purpose text collate "C" not null,
    created_at bigint not null,
    -- the key does not sign before this time, so that every verifier knows it by then
    signs_from bigint not null,
    -- the longest lifetime of the tokens that it may have signed, seconds; a retired key is kept for as long
    token_lifetime bigint not null,
    -- the private key, sealed under a key derived from the installation key; all columns above except token_lifetime
    -- are its associated data
    sealed bytea not null
);

create table users (
    id uuid not null primary key,
    -- trimmed and in ASCII lower case; of two registrations at once, this index lets one through
    email text collate "C" not null unique,
    name text collate "C",
    -- sorted, separated by one space; no role contains a space
    roles text collate "C" not null,
    -- the password's hash with scheme, cost and salt; null for a user who cannot sign in by password;
    -- never leaves the server
    password_hash text collate "C",
    disabled_at bigint,
    created_at bigint not null,
    last_login_at bigint
);

create table sessions (
    -- the `sid` of its tokens
    id uuid not null primary key,
    -- null once the user is deleted: the id alone stays until its last token has expired
    user_id uuid references users (id) on delete set null,
    created_at bigint not null,
    -- the last refresh, from which the idle lifetime counts
    refreshed_at bigint not null,
    -- the last use, written at most once a minute
    last_seen_at bigint not null,
    -- the expiry of the session's last access token
    token_until bigint not null,
    ended_at bigint,
    -- SHA-256 of the one refresh token that is valid now; the token itself is never stored
    refresh_digest bytea not null,
    -- true: its refresh tokens travel in the cookie alone
    by_cookie boolean not null,
    -- of the last sign-in or refresh; null once the user is deleted
    user_agent text collate "C",
    address text collate "C"
);

create index sessions_of_user on sessions (user_id);
create index sessions_ended on sessions (token_until) where ended_at is not null;

-- Refresh tokens that were used a moment ago. The same token gets the same successor within the grace period; the
-- successor is derived from the token and this salt.
create table rotations (
    -- SHA-256 of the token that was used
    digest bytea not null primary key,
    session_id uuid not null references sessions (id) on delete cascade,
    salt bytea not null,
    at bigint not null
);

create index rotations_of_session on rotations (session_id);

-- What happened to accounts, sessions and keys. Rows are added and, when they are old, deleted; never changed. No
-- column holds typed text.
create table events (
    id bigint not null generated always as identity primary key,
    at bigint not null,
    kind text collate "C" not null,
    user_id uuid,
    session_id uuid,
    address text collate "C",
    request_id text collate "C",
    -- what else is to be told, as a JSON object of names and values
    details text collate "C"
);

create index events_of_user on events (user_id, id);
create index events_by_time on events (at);

-- Changes that running servers must learn of. Each is written in the transaction that makes it. A reader asks for the rows
-- that its last snapshot did not see and the present one does (docs/scale.md says why none is ever missed), so xid, not
-- seq, decides what is new.
create table changes (
    seq bigint not null generated always as identity primary key,
    -- 'user': the user was changed or deleted; 'session': the session ended; 'keys': the signing keys changed
    kind text collate "C" not null,
    subject uuid not null,
    at bigint not null,
    -- the transaction that wrote the row
    xid xid8 not null default pg_current_xact_id()
);

create index changes_by_xid on changes (xid);

-- The deletion of changes. A reader has missed none of the deleted ones if its last snapshot sees the transaction that
-- deleted last, or if every transaction up to the newest deleted change had ended when that snapshot was taken. Any other
-- reader reads everything anew.
create table changes_deleted (
    singleton bigint not null primary key check (singleton = 1),
    -- the newest transaction whose changes have been deleted
    through xid8 not null,
    -- the transaction that deleted last
    deleted_by xid8 not null
);

insert into changes_deleted (singleton, through, deleted_by) values (1, '0', '0');

-- Identifies an unbroken sequence of transaction numbers. After a crash or on a promoted replica a number may be given a
-- second time, to another transaction, and exactly then PostgreSQL empties a table that is not logged. Whoever finds no
-- row adds one.
create unlogged table xid_sequence (
    singleton bigint not null primary key check (singleton = 1),
    id uuid not null default gen_random_uuid()
);

-- Attempts to sign in, register or refresh, counted before any password is hashed. Neither the account nor the address
-- can be told from a row.
create table attempts (
    -- the kind of counter and 18 bits of an HMAC of the account or address: so the number of rows is bounded
    slot bigint not null primary key,
    -- failed attempts not yet cleared by a success
    failures bigint not null,
    last_at bigint not null,
    -- the start of the day (the hour for registrations and refreshes), and the attempts since
    window_began bigint not null,
    in_window bigint not null
);

-- Addresses from which somebody has signed in to an account: an HMAC of both.
create table known_addresses (
    pair bytea not null primary key,
    until bigint not null
);
