-- Accounts by mail: proof of an address, tokens that are sent by mail, and the mails that wait to be sent. Times are
-- milliseconds since 1970-01-01 UTC.

-- the time at which somebody proved to read the mail of `email`; null where nobody has
alter table users add column email_verified_at integer;

-- Tokens that were sent by mail. Each is good once: its row is deleted by its use.
create table mail_tokens (
    -- SHA-256 of the token; the token itself is not stored here
    digest blob not null primary key,
    -- 'verify', 'reset', 'change', 'undo' or 'link'
    purpose text not null,
    user_id blob not null references users (id) on delete cascade,
    -- the address that the token is about: the one to verify, the new one of a change, the old one of an undo
    email text not null,
    -- HMAC of the 6-digit code that was sent with a sign-in link; null for every other purpose
    code blob,
    -- wrong codes so far
    tries integer not null default 0,
    -- SHA-256 of the cookie of the browser that asked for a sign-in link; null where it had none
    browser blob,
    created_at integer not null,
    expires_at integer not null
) strict, without rowid;

create index mail_tokens_of_user on mail_tokens (user_id, purpose);
create index mail_tokens_undo on mail_tokens (email) where purpose = 'undo';
create index mail_tokens_by_expiry on mail_tokens (expires_at);

-- Mails that wait to be sent, each written in the transaction that causes it and deleted once it was sent.
create table mail_outbox (
    id blob not null primary key,
    -- the name of the template
    kind text not null,
    recipient text not null,
    -- the user it is about; null where only an address was given, which is looked up when the mail is sent
    user_id blob references users (id) on delete cascade,
    -- what the text tells besides: time, client address and program of the request, as a JSON object
    details text not null,
    -- SHA-256 of the token in the mail; null until there is one
    digest blob,
    -- the token, sealed; the columns id, kind and recipient are its associated data
    sealed blob,
    created_at integer not null,
    -- no server sends the mail before this time: after a failure, or while a server is sending it
    next_try_at integer not null,
    tries integer not null default 0,
    -- the reason why the last try failed; for the operator
    last_error text
) strict, without rowid;

create index mail_outbox_due on mail_outbox (next_try_at);
create index mail_outbox_of_recipient on mail_outbox (recipient);
