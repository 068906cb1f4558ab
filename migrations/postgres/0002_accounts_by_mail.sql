-- Accounts by mail: proof of an address, tokens that are sent by mail, and the mails that wait to be sent. Times are
-- milliseconds since 1970-01-01 UTC.

-- the time at which somebody proved to read the mail of `email`; null where nobody has
alter table users add column email_verified_at bigint;

-- Tokens that were sent by mail. Each is good once: its row is deleted by its use.
create table mail_tokens (
    -- SHA-256 of the token; the token itself is not stored here
    digest bytea not null primary key,
    -- 'verify', 'reset', 'change', 'undo' or 'link'
    purpose text collate "C" not null,
    user_id uuid not null references users (id) on delete cascade,
    -- the address that the token is about: the one to verify, the new one of a change, the old one of an undo
    email text collate "C" not null,
    -- HMAC of the 6-digit code that was sent with a sign-in link; null for every other purpose
    code bytea,
    -- wrong codes so far
    tries bigint not null default 0,
    -- SHA-256 of the cookie of the browser that asked for a sign-in link; null where it had none
    browser bytea,
    created_at bigint not null,
    expires_at bigint not null
);

create index mail_tokens_of_user on mail_tokens (user_id, purpose);
create index mail_tokens_undo on mail_tokens (email) where purpose = 'undo';
create index mail_tokens_by_expiry on mail_tokens (expires_at);

-- Mails that wait to be sent, each written in the transaction that causes it and deleted once it was sent.
create table mail_outbox (
    id uuid not null primary key,
    -- the name of the template
    kind text collate "C" not null,
    recipient text collate "C" not null,
    -- the user it is about; null where only an address was given, which is looked up when the mail is sent
    user_id uuid references users (id) on delete cascade,
    -- what the text tells besides: time, client address and program of the request, as a JSON object
    details text collate "C" not null,
    -- SHA-256 of the token in the mail; null until there is one
    digest bytea,
    -- the token, sealed; the columns id, kind and recipient are its associated data
    sealed bytea,
    created_at bigint not null,
    -- no server sends the mail before this time: after a failure, or while a server is sending it
    next_try_at bigint not null,
    tries bigint not null default 0,
    -- the reason why the last try failed; for the operator
    last_error text collate "C"
);

create index mail_outbox_due on mail_outbox (next_try_at);
create index mail_outbox_of_recipient on mail_outbox (recipient);
