//! The terms by which users are found, and the pages of users.

use uuid::Uuid;

use super::connection::{Connection, Transaction};
use super::error::StoreError;
use super::users::{UserColumns, user_record};
use crate::server::model::{UserPage, UserRecord};

/// The most terms of a search that are sorted. If more begin so, the users are read in order instead, and each is asked
/// for its terms: a page is then found among few of them.
const SORTED: i64 = 50_000;

macro_rules! select_page {
    ($from:literal, $where:literal, $order:literal) => {
        concat!(
            "select users.id, email, email_verified_at, name, roles, password_hash, disabled_at, created_at, \
             last_login_at, second_factors from ",
            $from,
            " where ",
            $where,
            " and ($2 < 0 or (disabled_at is not null) = ($2 > 0)) order by ",
            $order,
            " desc limit $3"
        )
    };
}

const ALL: &str = select_page!("users", "users.id < $1", "users.id");
const DISABLED: &str = select_page!("users", "users.id < $1 and disabled_at is not null", "users.id");
const FEW: &str = select_page!(
    "users",
    "users.id < $1 and users.id in (select user_id from user_terms where term >= $4 and term < $5)",
    "users.id"
);
// PostgreSQL does not know how few they are, and would read all users in order and ask each. `materialized` and `offset 0` keep
// it from that: first the terms, at most SORTED, then the users of those.
const FEW_IN_POSTGRES: &str = concat!(
    "with found as materialized \
     (select user_id from user_terms where term >= $4 and term < $5 order by term, user_id limit 50000) ",
    select_page!(
        "(select distinct user_id from found where user_id < $1 order by user_id desc offset 0) as page \
         cross join lateral (select * from users where id = page.user_id offset 0) as users",
        "true",
        "page.user_id"
    )
);
// A count instead of `exists`, which PostgreSQL would turn into a join that sorts.
const MANY: &str = select_page!(
    "users",
    "users.id < $1 and (select count(*) from user_terms t where t.user_id = users.id and t.term >= $4 and t.term < $5) > 0",
    "users.id"
);
const ROLE: &str = select_page!(
    "user_terms r join users on users.id = r.user_id",
    "r.user_id < $1 and r.term = $4",
    "r.user_id"
);
const ROLE_AND_WORDS: &str = select_page!(
    "user_terms r join users on users.id = r.user_id",
    "r.user_id < $1 and r.term = $4 \
     and (select count(*) from user_terms t where t.user_id = r.user_id and t.term >= $5 and t.term < $6) > 0",
    "r.user_id"
);

/// The statements of a page for SQLite and PostgreSQL, and the numbers of their texts, for the test that asks the databases
/// how they run them.
#[cfg(feature = "testing")]
pub const PAGE_STATEMENTS: &[([&str; 2], usize)] = &[
    ([ALL; 2], 0),
    ([DISABLED; 2], 0),
    ([FEW, FEW_IN_POSTGRES], 2),
    ([MANY; 2], 2),
    ([ROLE; 2], 1),
    ([ROLE_AND_WORDS; 2], 3),
];

impl Connection {
    /// Returns the users of a page, the newest first.
    pub async fn users_page(&mut self, page: &UserPage) -> Result<Vec<UserRecord>, StoreError> {
        if let Some(email) = &page.email {
            return self.only_user(email, page).await;
        }
        let disabled: i64 = page.disabled.map_or(-1, i64::from);
        let before = page.before.unwrap_or(Uuid::max());
        let [sqlite, postgres] = match (&page.role, &page.words) {
            (Some(_), Some(_)) => [ROLE_AND_WORDS; 2],
            (Some(_), None) => [ROLE; 2],
            (None, Some(range)) if self.are_few(range).await? => [FEW, FEW_IN_POSTGRES],
            (None, Some(_)) => [MANY; 2],
            (None, None) if disabled > 0 => [DISABLED; 2],
            (None, None) => [ALL; 2],
        };
        let mut query =
            self.query_by_dialect(sqlite, postgres).bind(before).bind(disabled).bind(i64::from(page.limit));
        if let Some(role) = &page.role {
            query = query.bind(role);
        }
        if let Some((from, end)) = &page.words {
            query = query.bind(from).bind(end);
        }
        let rows: Vec<UserColumns> = query.fetch_all().await?;
        rows.into_iter().map(user_record).collect()
    }

    /// Returns the user with this address, if the page's other conditions hold.
    async fn only_user(&mut self, email: &str, page: &UserPage) -> Result<Vec<UserRecord>, StoreError> {
        let Some(user) = self.user_by_email(email).await? else { return Ok(vec![]) };
        let terms: Vec<(String,)> =
            self.query("select term from user_terms where user_id = $1").bind(user.id).fetch_all().await?;
        let has = |is_meant: &dyn Fn(&str) -> bool| terms.iter().any(|(term,)| is_meant(term));
        let is_meant = page.before.is_none_or(|before| user.id < before)
            && page.disabled.is_none_or(|disabled| disabled == user.disabled_at.is_some())
            && page.role.as_ref().is_none_or(|role| has(&|term| term == role))
            && page
                .words
                .as_ref()
                .is_none_or(|(from, end)| has(&|term| term >= from.as_str() && term < end.as_str()));
        Ok(is_meant.then_some(user).into_iter().collect())
    }

    async fn are_few(&mut self, (from, end): &(String, String)) -> Result<bool, StoreError> {
        let counted: Option<(i64,)> = self
            // In the order of the index, so that PostgreSQL reads no more than are counted.
            .query(
                "select count(*) from (select 1 from user_terms where term >= $1 and term < $2 order by term, user_id limit $3) \
                 as counted",
            )
            .bind(from)
            .bind(end)
            .bind(SORTED)
            .fetch_optional()
            .await?;
        Ok(counted.is_some_and(|(count,)| count < SORTED))
    }

    /// Tells whether there are users whose terms are to be written anew.
    pub async fn has_users_to_index(&mut self) -> Result<bool, StoreError> {
        // By the index, which remembers the rows that are gone: without the order, PostgreSQL reads all of those each time.
        let first = "select cast(1 as bigint) from users_to_index order by user_id limit 1";
        let row: Option<(i64,)> = self.query(first).fetch_optional().await?;
        Ok(row.is_some())
    }
}

impl Transaction {
    /// Takes at most `limit` users whose terms are to be written anew. The caller writes them in this transaction.
    /// Another server takes others meanwhile.
    pub async fn take_users_to_index(&mut self, limit: u32) -> Result<Vec<UserRecord>, StoreError> {
        let taken: Vec<(Uuid,)> = self
            .query_by_dialect(
                "delete from users_to_index where user_id in (select user_id from users_to_index limit $1) \
                 returning user_id",
                "delete from users_to_index where user_id in \
                 (select user_id from users_to_index order by user_id limit $1 for update skip locked) returning user_id",
            )
            .bind(i64::from(limit))
            .fetch_all()
            .await?;
        // Read after the rows were taken, so that it is the newest change that is read.
        let ids: Vec<_> = taken.into_iter().map(|(id,)| id).collect();
        self.users_kept(&ids).await
    }

    /// Replaces the terms of users.
    pub async fn replace_terms(&mut self, users: &[(Uuid, Vec<String>)]) -> Result<(), StoreError> {
        let ids = users.iter().map(|(user, _)| user.simple().to_string());
        self.query_by_dialect(
            "delete from user_terms where user_id in (select unhex(value) from json_each($1))",
            // An array, so that PostgreSQL goes by the index also where it knows of no rows yet.
            "delete from user_terms where user_id = any \
             (array(select value::uuid from jsonb_array_elements_text($1::text::jsonb) as id (value)))",
        )
        .bind(serde_json::Value::from_iter(ids).to_string())
        .execute()
        .await?;
        let rows = users.iter().flat_map(|(user, terms)| {
            let user = user.simple().to_string();
            terms.iter().map(move |term| serde_json::json!([user, term]))
        });
        self.query_by_dialect(
            "insert into user_terms (term, user_id) select value ->> 1, unhex(value ->> 0) from json_each($1)",
            "insert into user_terms (term, user_id) select value ->> 1, (value ->> 0)::uuid \
             from jsonb_array_elements($1::text::jsonb) as term (value)",
        )
        .bind(serde_json::Value::from_iter(rows).to_string())
        .execute()
        .await?;
        Ok(())
    }

    /// Returns the enabled users with the role `admin`, and locks them until the transaction ends.
    pub async fn lock_admins(&mut self) -> Result<Vec<Uuid>, StoreError> {
        let rows: Vec<(Uuid,)> = self
            .query_by_dialect(
                "select id from users where disabled_at is null and instr(' ' || roles || ' ', ' admin ') > 0 order by id",
                "select id from users where disabled_at is null and strpos(' ' || roles || ' ', ' admin ') > 0 order by id \
                 for update",
            )
            .fetch_all()
            .await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }
}
