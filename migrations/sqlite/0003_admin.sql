-- How a session was signed in; and what the admin's pages need: the words of users, and counts of events. Times are
-- milliseconds since 1970-01-01 UTC.

-- the time at which somebody last proved who they are in this session; a refresh does not change it. Null in a session that
-- an older server began: the time of the sign-in, created_at
alter table sessions add column auth_time integer;
-- how: the methods of RFC 8176, separated by one space ('pwd'). Null as above: by password
alter table sessions add column amr text;

-- The beginnings of words by which a user is found. The server writes them; see users_to_index.
create table user_terms (
    -- from the beginning of a word of the address or name to its end, in lower case, at most 60 characters; or '=' and a
    -- role, which no word begins with
    term text not null,
    user_id blob not null references users (id) on delete cascade,
    primary key (term, user_id)
) strict, without rowid;

create index user_terms_of_user on user_terms (user_id, term);

-- Users whose terms are to be written anew. The triggers see the writes of every server, older ones too.
create table users_to_index (
    user_id blob not null primary key references users (id) on delete cascade
) strict, without rowid;

create trigger users_to_index_added after insert on users begin
    insert or ignore into users_to_index (user_id) values (new.id);
end;

create trigger users_to_index_changed after update of email, name, roles on users
when old.email is not new.email or old.name is not new.name or old.roles is not new.roles begin
    insert or ignore into users_to_index (user_id) values (new.id);
end;

insert into users_to_index (user_id) select id from users;

create index users_disabled on users (id) where disabled_at is not null;
create index users_admins on users (id) where disabled_at is null and instr(' ' || roles || ' ', ' admin ') > 0;

create index events_of_kind on events (kind, id);

-- The number of events in each hour. It outlives the events, and says nothing about anybody.
create table event_counts (
    -- the start of the hour
    hour integer not null,
    kind text not null,
    -- in PostgreSQL several rows share an hour, so that transactions do not wait for each other; here 0
    shard integer not null,
    count integer not null,
    primary key (hour, kind, shard)
) strict, without rowid;

insert into event_counts (hour, kind, shard, count)
select at / 3600000 * 3600000, kind, 0, count(*) from events group by 1, 2;

create trigger event_counts_added after insert on events begin
    insert into event_counts (hour, kind, shard, count) values (new.at / 3600000 * 3600000, new.kind, 0, 1)
    on conflict (hour, kind, shard) do update set count = count + 1;
end;
