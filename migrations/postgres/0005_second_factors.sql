-- Second factors: codes of an authenticator app (TOTP, RFC 6238), recovery codes and passkeys (WebAuthn). Times are
-- milliseconds since 1970-01-01 UTC.

-- the kinds of second factors that the user has, sorted, separated by one space ('passkey totp'); empty where a password
-- is enough. Written in the transaction that adds or removes one of the rows below
alter table users add column second_factors text collate "C" not null default '';

-- The secret that a user shares with an authenticator app.
create table totp (
    user_id uuid not null primary key references users (id) on delete cascade,
    -- the secret, sealed; the user's id is its associated data
    sealed bytea not null,
    created_at bigint not null,
    -- the time at which its user entered a first code; null until then, and nobody is asked for a code before
    confirmed_at bigint,
    -- the time step (RFC 6238 §4.2) of the last code that was accepted; no code of this step or an earlier one is accepted
    last_step bigint not null
);

-- Recovery codes. Each is good once: its row is deleted by its use.
create table recovery_codes (
    -- SHA-256 of the code, which has 128 random bits; the code itself is never stored
    digest bytea not null primary key,
    user_id uuid not null references users (id) on delete cascade,
    created_at bigint not null
);

create index recovery_codes_of_user on recovery_codes (user_id);

create table passkeys (
    id uuid not null primary key,
    user_id uuid not null references users (id) on delete cascade,
    -- the id that the authenticator gave it
    credential_id bytea not null unique,
    -- COSE_Key (RFC 9052 §7)
    public_key bytea not null,
    -- the name that its user gave it
    name text collate "C" not null,
    -- the authenticator's count of its signatures; 0 where it does not count
    sign_count bigint not null,
    -- it may be copied to other devices (backup eligible)
    syncable boolean not null,
    -- it has been copied (backup state)
    synced boolean not null,
    created_at bigint not null,
    last_used_at bigint
);

create index passkeys_of_user on passkeys (user_id);

-- Sign-ins whose first factor was right and that wait for the second.
create table sign_in_challenges (
    -- SHA-256 of the challenge; the challenge itself is never stored
    digest bytea not null primary key,
    user_id uuid not null references users (id) on delete cascade,
    -- how the first factor was proved: methods of RFC 8176, separated by one space ('pwd')
    amr text collate "C" not null,
    -- the refresh tokens of the session will travel in the cookie alone
    by_cookie boolean not null,
    -- answers so far, right or wrong
    tries bigint not null,
    created_at bigint not null,
    expires_at bigint not null
);

create index sign_in_challenges_of_user on sign_in_challenges (user_id, created_at);
create index sign_in_challenges_by_expiry on sign_in_challenges (expires_at);

-- WebAuthn challenges that were answered. The server signs them instead of storing them, so that asking for one writes
-- nothing.
create table used_challenges (
    -- SHA-256 of the challenge
    digest bytea not null primary key,
    expires_at bigint not null
);

create index used_challenges_by_expiry on used_challenges (expires_at);
