//! The app's own users: handlers get the app's `Member`, read from its table.
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

/// The app's user type, with what its handlers need.
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
            // The client gets a 503 and not a 401, since the token may be good.
            .map_err(|_| Unavailable)?;
        Ok(row.map(|(nickname, books)| Arc::new(Member { nickname, books })))
    }
}

async fn shelf(member: AuthUser<Member>) -> String {
    format!("{} has {} books.\n", member.nickname, member.books)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A database in memory lives as long as its one connection.
    let pool =
        SqlitePoolOptions::new().max_connections(1).idle_timeout(None).connect("sqlite::memory:").await?;
    sqlx::query("create table members (id text primary key, nickname text, books integer)")
        .execute(&pool)
        .await?;
    sqlx::query("insert into members values ('1', 'The Countess', 3)").execute(&pool).await?;

    let guard = support::guard().users(Members(pool)).build()?;
    // The middleware waits for the user, so the order of a handler's parameters does not matter.
    let app = move || App::new().wrap(guard.protect()).route("/", web::get().to(shelf));

    let server = HttpServer::new(app).bind(support::address())?;
    support::print_token("ADA", "1", &[]);
    support::print_token("NOBODY", "2", &[]);
    println!("listening on http://{}", server.addrs()[0]);
    Ok(server.run().await?)
}
