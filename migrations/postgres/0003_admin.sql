-- How a session was signed in; and what the admin's pages need: the words of users, and counts of events. Times are
-- milliseconds since 1970-01-01 UTC.

-- the time at which somebody last proved who they are in this session; a refresh does not change it. Null in a session that
-- an older server began: the time of the sign-in, created_at
alter table sessions add column auth_time bigint;
-- how: the methods of RFC 8176, separated by one space ('pwd'). Null as above: by password
alter table sessions add column amr text collate "C";

-- The beginnings of words by which a user is found. The server writes them; see users_to_index.
create table user_terms (
    -- from the beginning of a word of the address or name to its end, in lower case, at most 60 characters; or '=' and a
    -- role, which no word begins with
    term text collate "C" not null,
    user_id uuid not null references users (id) on delete cascade,
    primary key (term, user_id)
);

create index user_terms_of_user on user_terms (user_id, term);

-- Users whose terms are to be written anew. The triggers see the writes of every server, older ones too.
create table users_to_index (
    user_id uuid not null primary key references users (id) on delete cascade
);

-- The update locks a row that is there already: whoever writes the terms waits for this transaction, and sees its change.
create function add_user_to_index() returns trigger language plpgsql as $$
begin
    insert into users_to_index (user_id) values (new.id) on conflict (user_id) do update set user_id = excluded.user_id;
    return null;
end $$;

create trigger users_to_index_added after insert on users for each row execute function add_user_to_index();

create trigger users_to_index_changed after update of email, name, roles on users for each row
when (old.email is distinct from new.email or old.name is distinct from new.name or old.roles is distinct from new.roles)
execute function add_user_to_index();

insert into users_to_index (user_id) select id from users;

create index users_disabled on users (id) where disabled_at is not null;
create index users_admins on users (id) where disabled_at is null and strpos(' ' || roles || ' ', ' admin ') > 0;

create index events_of_kind on events (kind, id);

-- The number of events in each hour. It outlives the events, and says nothing about anybody.
create table event_counts (
    -- the start of the hour
    hour bigint not null,
    kind text collate "C" not null,
    -- one of several rows of an hour, so that transactions seldom wait for each other; once the hour is over they become one
    shard bigint not null,
    count bigint not null,
    primary key (hour, kind, shard)
) with (fillfactor = 50);

insert into event_counts (hour, kind, shard, count)
select at / 3600000 * 3600000, kind, 0, count(*) from events group by 1, 2;

-- A connection has one shard, so that two of them seldom wait for each other.
create function count_events() returns trigger language plpgsql as $$
begin
    insert into event_counts (hour, kind, shard, count)
    select at / 3600000 * 3600000, kind, pg_backend_pid() % 64, count(*) from added group by 1, 2 order by 1, 2
    on conflict (hour, kind, shard) do update set count = event_counts.count + excluded.count;
    return null;
end $$;

create trigger event_counts_added after insert on events referencing new table as added for each statement
execute function count_events();
