//! The most frequent transactions of a busy server, each as one statement in PostgreSQL: a refresh, the parts of a
//! sign-in, and the record of a failed one. As separate statements, a sign-in would take twenty round trips. In SQLite, a
//! refresh is several statements in one text, because each text costs two switches of threads. They handle the usual
//! case of the rules in `sessions/` and `abuse/`. In every other case, the rule decides.

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::Store;
use super::connection::{Connection, time};
use super::counts::Timed;
use super::error::{Fault, StoreError};
use super::retry::with_timeout;
use super::sessions::authentication;
use super::users::{UserColumns, user_record};
use crate::server::model::{
    Authentication, Client, CounterKey, Digest, Event, EventKind, KnownAddress, Lifetimes, NewSession,
    Rotation, UserRecord,
};

/// The first use of a refresh token, as a client presents it.
#[derive(Debug)]
pub struct FirstUse<'a> {
    /// The session that the token names.
    pub session: Uuid,
    /// The digest of the token.
    pub digest: Digest,
    /// The digest of its successor.
    pub successor: Digest,
    /// The salt of the successor, and the time.
    pub rotation: &'a Rotation,
    /// It came in the cookie.
    pub by_cookie: bool,
    /// The expiry of the access token that is handed out.
    pub token_until: DateTime<Utc>,
    /// The client.
    pub client: &'a Client,
    /// The lifetimes of sessions.
    pub lifetimes: &'a Lifetimes,
    /// The counters of the session and of the address, and the most refreshes in an hour; none where limits are off.
    pub limit: Option<([CounterKey; 2], u32)>,
}

type FirstUseColumns = (
    Uuid,
    String,
    Option<i64>,
    Option<String>,
    String,
    Option<String>,
    Option<i64>,
    i64,
    Option<i64>,
    String,
    i64,
    Option<i64>,
    Option<String>,
);

/// A counter of attempts, and the region in which its limit delays none.
#[derive(Debug, Clone, Copy)]
pub struct FreeCount {
    /// The counter.
    pub key: CounterKey,
    /// There is no delay before this many failures.
    pub free: u32,
    /// The most attempts in a window.
    pub most: u32,
    /// Failures are forgotten if the last attempt was not after this.
    pub forgotten: DateTime<Utc>,
    /// A window that did not begin after this is over.
    pub window_over: DateTime<Utc>,
}

/// The counters in which an attempt was counted without a delay.
#[derive(Debug)]
pub enum Counted {
    /// All of them.
    All(Vec<CounterKey>),
    /// Some, or none. The rule must decide, and take these back.
    Some(Vec<CounterKey>),
}

/// Without a limit no counter has this key.
const NO_COUNTER: i64 = -1;

impl Store {
    /// Gives a refresh token that is used for the first time its successor, in one round trip. Returns the user, the
    /// time at which the session began and how it was signed in; `None` where the rule must decide, and nothing was
    /// changed: for a token that was used before, for a session that is over, over a limit, and where the connection
    /// was lost.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used.
    pub async fn try_first_use(
        &self,
        first: &FirstUse<'_>,
    ) -> Result<Option<(UserRecord, DateTime<Utc>, Authentication)>, StoreError> {
        let row = if self.is_sqlite() {
            self.write(async |tx| advance(tx, first).await).await?
        } else {
            self.run_alone(async |connection| advance(connection, first).await).await?
        };
        let Some((
            id,
            email,
            verified,
            name,
            roles,
            hash,
            disabled,
            created,
            last_login,
            second_factors,
            began,
            auth_time,
            amr,
        )) = row
        else {
            return Ok(None);
        };
        let columns: UserColumns =
            (id, email, verified, name, roles, hash, disabled, created, last_login, second_factors);
        let user = user_record(columns)?;
        let event = Event::new(EventKind::Refreshed, first.rotation.at);
        self.counts.record(&event.user(user.id).session(first.session).by(first.client));
        Ok(Some((user, time(began)?, authentication(auth_time, amr.as_deref(), began)?)))
    }

    /// Counts an attempt at `at` in one round trip, if no counter delays it: in the counters `if_known` where somebody
    /// has signed in from `pair` before, in `otherwise` where not. A counter is never raised above its limit, however
    /// many servers count at once. Each row is locked only while this statement runs.
    ///
    /// Where the connection was lost, the attempt may be counted nevertheless.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used.
    pub async fn try_count(
        &self,
        pair: &KnownAddress,
        if_known: &[FreeCount],
        otherwise: &[FreeCount],
        at: DateTime<Utc>,
    ) -> Result<Counted, StoreError> {
        let all = || if_known.iter().chain(otherwise);
        let known = if_known.iter().map(|_| "true").chain(otherwise.iter().map(|_| "false"));
        let rows: Option<Vec<(i64, bool)>> = self
            .run_alone(async |connection| {
                let counted = connection
                    .query(
                        "with asked as materialized ( \
                           select slot, free, most, forgotten, over from unnest($3::text::boolean[], $4::text::bigint[], \
                             $5::text::bigint[], $6::text::bigint[], $7::text::bigint[], $8::text::bigint[]) \
                             as asked (if_known, slot, free, most, forgotten, over) \
                           where if_known = exists (select 1 from known_addresses where pair = $1 and until > $2) \
                         ), counted as ( \
                           insert into attempts as stored (slot, failures, last_at, window_began, in_window) \
                           select slot, 1, $2, $2, 1 from asked where not exists ( \
                             select 1 from asked join attempts using (slot) where (last_at > forgotten and failures >= free) \
                               or (window_began > over and in_window >= most)) \
                           order by slot \
                           on conflict (slot) do update set last_at = $2, \
                             failures = case when stored.last_at > (select forgotten from asked where slot = excluded.slot) \
                               then stored.failures + 1 else 1 end, \
                             window_began = case when stored.window_began > (select over from asked where slot = excluded.slot) \
                               then least(stored.window_began, $2) else $2 end, \
                             in_window = case when stored.window_began > (select over from asked where slot = excluded.slot) \
                               then stored.in_window + 1 else 1 end \
                           where exists (select 1 from asked where slot = excluded.slot \
                             and (stored.last_at <= forgotten or stored.failures < free) \
                             and (stored.window_began <= over or stored.in_window < most)) \
                           returning slot \
                         ) \
                         select slot, exists (select 1 from counted where counted.slot = asked.slot) from asked",
                    )
                    .bind(&pair.0[..])
                    .bind(at.timestamp_millis())
                    .bind(array(known.clone()))
                    .bind(array(all().map(|count| count.key.0)))
                    .bind(array(all().map(|count| count.free)))
                    .bind(array(all().map(|count| count.most)))
                    .bind(array(all().map(|count| count.forgotten.timestamp_millis())))
                    .bind(array(all().map(|count| count.window_over.timestamp_millis())))
                    .fetch_all()
                    .await?;
                Ok(Some(counted))
            })
            .await?;
        let Some(rows) = rows else { return Ok(Counted::Some(vec![])) };
        let counted: Vec<_> =
            rows.iter().filter(|(_, is_counted)| *is_counted).map(|(slot, _)| CounterKey(*slot)).collect();
        Ok(if counted.len() == rows.len() { Counted::All(counted) } else { Counted::Some(counted) })
    }

    /// Records an event in one round trip. Returns whether it did; not on SQLite, and where the connection was lost it
    /// may have been recorded nevertheless.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used.
    pub async fn try_record(&self, event: &Event) -> Result<bool, StoreError> {
        let recorded =
            self.run_alone(async |connection| connection.insert_event(event).await.map(Some)).await?;
        if recorded.is_some() {
            self.counts.record(event);
        }
        Ok(recorded.is_some())
    }

    /// Begins a session of a user who is enabled, has no second factor, has fewer than `most` sessions and the stored hash `hash`, in one
    /// round trip: the session, the time of the sign-in, the change and the event; takes the attempt back from
    /// `counted` and remembers the address. Returns the user; `None` where the rule must decide, and nothing was
    /// changed.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used.
    pub async fn try_begin_session(
        &self,
        session: &NewSession,
        hash: &str,
        counted: &[CounterKey],
        known: (&KnownAddress, DateTime<Utc>),
        most: u32,
    ) -> Result<Option<UserRecord>, StoreError> {
        let key = |place: usize| counted.get(place).map_or(NO_COUNTER, |key| key.0);
        let row: Option<UserColumns> = self
            .run_alone(async |connection| {
                connection
                    .query(
                        "with signed_in as ( \
                           update users set last_login_at = $3 \
                           where id = $2 and password_hash = $4 and disabled_at is null and second_factors = '' \
                             and (select count(*) from sessions where user_id = $2 and ended_at is null) < $17 \
                           returning id, email, email_verified_at, name, roles, password_hash, disabled_at, created_at, \
                             last_login_at, second_factors \
                         ), began as ( \
                           insert into sessions (id, user_id, created_at, refreshed_at, last_seen_at, token_until, \
                             refresh_digest, by_cookie, user_agent, address, auth_time, amr) \
                           select $1, id, $3, $3, $3, $5, $6, $7, $8, $9, $3, $16 from signed_in \
                         ), changed as ( \
                           insert into changes (kind, subject, at) select 'user', id, $3 from signed_in \
                         ), recorded as ( \
                           insert into events (at, kind, user_id, session_id, address, request_id) \
                           select $3, $10, id, $1, $9, $11 from signed_in \
                         ), uncounted as ( \
                           update attempts set failures = greatest(failures - 1, 0), in_window = greatest(in_window - 1, 0) \
                           where slot in (select slot from attempts where slot in ($12, $13, $18) order by slot for update) \
                             and exists (select 1 from signed_in) \
                         ), remembered as ( \
                           insert into known_addresses (pair, until) select $14, $15 from signed_in \
                           on conflict (pair) do update set until = excluded.until \
                         ) \
                         select * from signed_in",
                    )
                    .bind(session.id)
                    .bind(session.user_id)
                    .bind(session.at.timestamp_millis())
                    .bind(hash)
                    .bind(session.token_until.timestamp_millis())
                    .bind(&session.refresh_digest[..])
                    .bind(session.by_cookie)
                    .bind(&session.client.user_agent)
                    .bind(session.client.address.map(|address| address.to_string()))
                    .bind(EventKind::SignedIn.name())
                    .bind(&session.client.request_id)
                    .bind(key(0))
                    .bind(key(1))
                    .bind(&known.0.0[..])
                    .bind(known.1.timestamp_millis())
                    .bind(session.authentication.methods.join(" "))
                    .bind(i64::from(most))
                    .bind(key(2))
                    .fetch_optional()
                    .await
            })
            .await?;
        let Some(user) = row.map(user_record).transpose()? else { return Ok(None) };
        let event = Event::new(EventKind::SignedIn, session.at);
        self.counts.record(&event.user(user.id).session(session.id).by(&session.client));
        self.notify_changes();
        Ok(Some(user))
    }

    /// Runs one statement outside a transaction, on PostgreSQL alone. A conflict or a lost connection is no error here:
    /// the rule runs next, in a transaction of its own, and finds out what is so.
    async fn run_alone<T>(
        &self,
        mut work: impl AsyncFnMut(&mut Connection) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        if self.is_sqlite() {
            return Ok(None);
        }
        let _timed = Timed::begin(&self.counts.writes);
        with_timeout(&self.counts, async {
            let Ok(mut connection) = self.acquire().await else { return Ok(None) };
            match work(&mut connection).await {
                Err(error) if connection.fault != Fault::None => {
                    self.counts.fail(Some(&error), connection.fault);
                    self.release(connection);
                    Ok(None)
                }
                other => other,
            }
        })
        .await
    }
}

/// Advances a session to its next refresh token. SQLite has no update within a query, so the statements after the first
/// ask whether it has taken place: the successor's digest is new.
async fn advance(
    connection: &mut Connection,
    first: &FirstUse<'_>,
) -> Result<Option<FirstUseColumns>, StoreError> {
    let at = first.rotation.at;
    let (keys, most) = first.limit.unwrap_or(([CounterKey(NO_COUNTER); 2], u32::MAX));
    let hour_ago = at - Duration::hours(1);
    connection
        .query_by_dialect(
            "update sessions set refresh_digest = $3, refreshed_at = $4, \
               last_seen_at = max(last_seen_at, $4), token_until = max(token_until, $5), \
               user_agent = $6, address = $7 \
             where id = $1 and refresh_digest = $2 and ended_at is null and by_cookie = $8 \
               and created_at > $9 and refreshed_at > $10 \
               and exists (select 1 from users where users.id = sessions.user_id) \
               and not exists (select 1 from attempts where slot in ($11, $12) \
                 and window_began > $13 and in_window >= $14); \
             insert into rotations (digest, session_id, salt, at) \
             select $2, $1, $15, $4 from sessions where id = $1 and refresh_digest = $3; \
             insert into attempts (slot, failures, last_at, window_began, in_window) \
             select $11, 1, $4, $4, 1 from sessions where id = $1 and refresh_digest = $3 and $11 >= 0 \
             on conflict (slot) do update set failures = failures + 1, last_at = $4, \
               window_began = case when window_began > $13 then window_began else $4 end, \
               in_window = case when window_began > $13 then in_window + 1 else 1 end; \
             insert into events (at, kind, user_id, session_id, address, request_id) \
             select $4, $16, user_id, $1, $7, $17 from sessions where id = $1 and refresh_digest = $3; \
             select users.id, email, email_verified_at, name, roles, password_hash, disabled_at, users.created_at, \
               last_login_at, second_factors, sessions.created_at, auth_time, amr \
             from sessions join users on users.id = sessions.user_id \
             where sessions.id = $1 and refresh_digest = $3",
            "with advanced as ( \
               update sessions set refresh_digest = $3, refreshed_at = $4, \
                 last_seen_at = greatest(last_seen_at, $4), token_until = greatest(token_until, $5), \
                 user_agent = $6, address = $7 \
               where id = $1 and refresh_digest = $2 and ended_at is null and by_cookie = $8 \
                 and created_at > $9 and refreshed_at > $10 \
                 and exists (select 1 from users where users.id = sessions.user_id) \
                 and not exists (select 1 from attempts where slot in ($11, $12) \
                   and window_began > $13 and in_window >= $14) \
               returning user_id, created_at, auth_time, amr \
             ), rotated as ( \
               insert into rotations (digest, session_id, salt, at) select $2, $1, $15, $4 from advanced \
             ), counted as ( \
               insert into attempts (slot, failures, last_at, window_began, in_window) \
               select $11, 1, $4, $4, 1 from advanced where $11 >= 0 \
               on conflict (slot) do update set failures = attempts.failures + 1, last_at = $4, \
                 window_began = case when attempts.window_began > $13 then attempts.window_began else $4 end, \
                 in_window = case when attempts.window_began > $13 then attempts.in_window + 1 else 1 end \
             ), recorded as ( \
               insert into events (at, kind, user_id, session_id, address, request_id) \
               select $4, $16, user_id, $1, $7, $17 from advanced \
             ) \
             select users.id, email, email_verified_at, name, roles, password_hash, disabled_at, users.created_at, \
               last_login_at, second_factors, advanced.created_at, auth_time, amr \
             from advanced join users on users.id = advanced.user_id",
        )
        .bind(first.session)
        .bind(&first.digest[..])
        .bind(&first.successor[..])
        .bind(at.timestamp_millis())
        .bind(first.token_until.timestamp_millis())
        .bind(&first.client.user_agent)
        .bind(first.client.address.map(|address| address.to_string()))
        .bind(first.by_cookie)
        .bind((at - first.lifetimes.absolute).timestamp_millis())
        .bind((at - first.lifetimes.idle).timestamp_millis())
        .bind(keys[0].0)
        .bind(keys[1].0)
        .bind(hour_ago.timestamp_millis())
        .bind(i64::from(most))
        .bind(&first.rotation.salt[..])
        .bind(EventKind::Refreshed.name())
        .bind(&first.client.request_id)
        .fetch_optional()
        .await
}

/// Writes an array as PostgreSQL reads it.
fn array(values: impl Iterator<Item = impl std::fmt::Display>) -> String {
    let values: Vec<_> = values.map(|value| value.to_string()).collect();
    format!("{{{}}}", values.join(","))
}
