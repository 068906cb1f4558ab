//! A database of its own for a test: a SQLite file in a temporary folder, or a schema in PostgreSQL that is dropped at the
//! end. `HALLPASS_TEST_DATABASE=postgres` chooses the latter for the whole run.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use hallpass::server::config::{self, DatabaseUrl};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Executor};
use tempfile::TempDir;

/// Where the tests find PostgreSQL, unless `HALLPASS_TEST_POSTGRES_URL` says otherwise.
const LOCAL_POSTGRES: &str = "postgres://postgres@127.0.0.1:5432/postgres";

static POSTGRES_URL: LazyLock<String> = LazyLock::new(|| {
    std::env::var("HALLPASS_TEST_POSTGRES_URL").unwrap_or_else(|_| LOCAL_POSTGRES.to_owned())
});

/// Tells whether the tests of this run use PostgreSQL.
pub fn is_postgres() -> bool {
    std::env::var("HALLPASS_TEST_DATABASE").is_ok_and(|name| name == "postgres")
}

/// Connects to PostgreSQL; the reason where that is not possible.
pub async fn connect_postgres(schema: &str) -> Result<PgConnection, String> {
    let options: PgConnectOptions = POSTGRES_URL.parse().map_err(|error| format!("{error}"))?;
    let options = options.options([("search_path", schema)]);
    options.connect().await.map_err(|error| format!("{} does not answer: {error}", &*POSTGRES_URL))
}

/// A database of its own. Clones share it; the last one removes it.
#[derive(Clone)]
pub struct TestDatabase {
    pub settings: config::Database,
    inner: Arc<Inner>,
}

enum Inner {
    Sqlite { _folder: TempDir },
    Postgres { schema: String },
}

impl TestDatabase {
    /// An empty database of the kind that this run is for.
    pub fn new() -> Self {
        if is_postgres() { Self::postgres() } else { Self::sqlite() }
    }

    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = config::Settings::default().database;
        settings.url = DatabaseUrl::Sqlite(folder.path().join("test.db"));
        Self { settings, inner: Arc::new(Inner::Sqlite { _folder: folder }) }
    }

    pub fn postgres() -> Self {
        let schema = format!("hallpass_test_{}", uuid::Uuid::new_v4().simple());
        let mut settings = config::Settings::default().database;
        settings.url = POSTGRES_URL.parse().unwrap();
        settings.schema = schema.clone();
        settings.pool = 4;
        Self { settings, inner: Arc::new(Inner::Postgres { schema }) }
    }

    /// The files of a SQLite database, read whole; none for PostgreSQL.
    pub fn files(&self) -> Vec<Vec<u8>> {
        let DatabaseUrl::Sqlite(path) = &self.settings.url else { return vec![] };
        let wal = PathBuf::from(format!("{}-wal", path.display()));
        [path.clone(), wal].iter().filter_map(|path| std::fs::read(path).ok()).collect()
    }

    /// Runs a statement beside every server.
    pub async fn execute(&self, sql: &str) {
        let statement = sqlx::AssertSqlSafe(sql.to_owned());
        match &*self.inner {
            Inner::Sqlite { .. } => {
                let mut connection = self.sqlite_connection().await;
                connection.execute(sqlx::raw_sql(statement)).await.unwrap();
            }
            Inner::Postgres { schema } => {
                let mut connection = connect_postgres(schema).await.unwrap();
                connection.execute(sqlx::raw_sql(statement)).await.unwrap();
            }
        }
    }

    /// Connects to the SQLite file.
    pub async fn sqlite_connection(&self) -> sqlx::SqliteConnection {
        let DatabaseUrl::Sqlite(path) = &self.settings.url else { panic!("not SQLite") };
        sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap()
    }

    /// Bytes as this database writes them in a statement.
    pub fn literal(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match &*self.inner {
            Inner::Sqlite { .. } => format!("x'{hex}'"),
            Inner::Postgres { .. } => format!("'\\x{hex}'"),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Self::Postgres { schema } = self else { return };
        let statement = sqlx::AssertSqlSafe(format!("drop schema if exists {schema} cascade"));
        // On a thread of its own, since a runtime may be running on this one.
        let dropped = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async {
                let mut connection = connect_postgres("public").await?;
                connection.execute(sqlx::raw_sql(statement)).await.map_err(|error| error.to_string())
            })
        });
        if let Ok(Err(error)) = dropped.join() {
            eprintln!("a test's schema is left behind: {error}");
        }
    }
}
