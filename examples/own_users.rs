//! The app's own table of users behind the guard: handlers get the app's `Member`, read by the app's query.
//!
//! ```console
//! $ cargo run --example own_users
//! $ curl http://127.0.0.1:8081/ -H "Authorization: Bearer $ADA"
//! The Countess has 3 books.
//! $ curl -i http://127.0.0.1:8081/ -H "Authorization: Bearer $NOBODY"
//! HTTP/1.1 401 Unauthorized
//! {"code":401,"message":"401 Unauthorized Access","error":"token_revoked"}
//! ```

mod support;

use std::sync::Arc;

use actix_web::{App, HttpServer, web};
use hallpass::{AuthUser, Claims, Unavailable, UserSource};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};

/// The app's user: whatever its handlers need.
struct Member {
    nickname: String,
    books: i64,
}

struct Members(SqlitePool);

impl UserSource for Members {
    type User = Member;

    async fn find(&self, claims: &Claims) -> Result<Option<Arc<Member>>, Unavailable> {
        let row: Option<(String, i64)> = sqlx::query_as("select nickname, books from members where id = $1")
            .bind(&claims.sub)
            .fetch_optional(&self.0)
            .await
            // A 503, and no 401: the token may well be good.
            .map_err(|_| Unavailable)?;
        Ok(row.map(|(nickname, books)| Arc::new(Member { nickname, books })))
    }
}

async fn shelf(member: AuthUser<Member>) -> String {
    format!("{} has {} books.\n", member.nickname, member.books)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In memory, so one connection that stays.
    let pool =
        SqlitePoolOptions::new().max_connections(1).idle_timeout(None).connect("sqlite::memory:").await?;
    sqlx::query("create table members (id text primary key, nickname text, books integer)")
        .execute(&pool)
        .await?;
    sqlx::query("insert into members values ('1', 'The Countess', 3)").execute(&pool).await?;

    let guard = support::guard().users(Members(pool)).build()?;
    // The middleware waits for the user; handlers below it have their parameters in any order.
    let app = move || App::new().wrap(guard.protect()).route("/", web::get().to(shelf));

    let server = HttpServer::new(app).bind(support::address())?;
    support::introduce("ADA", "1", &[]);
    support::introduce("NOBODY", "2", &[]);
    println!("listening on http://{}", server.addrs()[0]);
    Ok(server.run().await?)
}
