-- Password hashes are sealed, and the installation key can be replaced. Times are milliseconds since 1970-01-01 UTC.

-- the number of the installation key that sealed_key holds: 1 for the first, one more after each replacement
alter table installation add column generation bigint not null default 1;
-- the time of the last replacement; null if there was none
alter table installation add column rekeyed_at bigint;

-- Earlier installation keys. They unseal what is not sealed anew yet.
create table earlier_installation_keys (
    generation bigint not null primary key,
    -- the key, sealed under the newest installation key; generation is its associated data
    sealed bytea not null
);

-- What is still being sealed anew after the installation key was replaced.
create table reseals (
    -- the table
    subject text collate "C" not null primary key,
    -- the key of the last row that was sealed anew; null: none yet
    done_to bytea
);

-- Running servers that ask for the newest installation key, and the answers of processes that have it. A row is deleted by
-- the server that asked.
create table key_handovers (
    id uuid not null primary key,
    -- the newest installation key that the server has, and the one that it asks for
    from_generation bigint not null,
    to_generation bigint not null,
    -- the server's public key for this row alone (X25519, RFC 7748)
    public_key bytea not null,
    -- the public key of the process that answered, and the installation key, encrypted under a secret of both and of the
    -- earlier installation key; null until there is an answer
    answer bytea,
    created_at bigint not null
);

-- Users whose hash was written by a command, which has no passphrase: a server seals it. A sealed hash begins with $sealed$.
create index users_to_seal on users (id) where substr(password_hash, 1, 8) <> '$sealed$';
