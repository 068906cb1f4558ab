//! A database of its own for a test: a SQLite file in a temporary folder, or a schema in PostgreSQL that is dropped at
//! the end. `HALLPASS_TEST_DATABASE=postgres` chooses the latter for the whole run; the module `postgres` runs the
//! tests so. With `HALLPASS_TEST_POOLER_URL` the servers reach the same PostgreSQL through a pooler in transaction
//! mode.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use hallpass::server::config::{self, DatabaseUrl};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Executor};
use tempfile::TempDir;
use uuid::Uuid;

/// Where the tests find PostgreSQL, unless `HALLPASS_TEST_POSTGRES_URL` says otherwise.
const LOCAL_POSTGRES: &str = "postgres://postgres@127.0.0.1:5432/postgres";

/// The beginning of the names of schemas; the rest is random.
pub const SCHEMA_PREFIX: &str = "hallpass_test_";

/// Another beginning of these names, for a run whose schemas are looked for at its end.
pub const PREFIX_VARIABLE: &str = "HALLPASS_TEST_SCHEMA_PREFIX";

static POSTGRES_URL: LazyLock<String> = LazyLock::new(|| {
    std::env::var("HALLPASS_TEST_POSTGRES_URL").unwrap_or_else(|_| LOCAL_POSTGRES.to_owned())
});

static POSTGRES_ANSWERS: LazyLock<bool> = LazyLock::new(|| {
    let Err(reason) = block_on_another_thread(async || connect_postgres("public").await.map(drop)) else {
        return true;
    };
    assert!(std::env::var_os("HALLPASS_TEST_REQUIRE_POSTGRES").is_none(), "PostgreSQL is required: {reason}");
    // Not by a macro that prints, whose output the test harness keeps to itself.
    let _ = writeln!(
        std::io::stderr(),
        "\nThe tests on PostgreSQL are skipped: {reason}. HALLPASS_TEST_POSTGRES_URL names a server to use.\n"
    );
    false
});

/// Tells whether the tests of this run use PostgreSQL.
pub fn is_postgres() -> bool {
    std::env::var("HALLPASS_TEST_DATABASE").is_ok_and(|name| name == "postgres")
}

/// Tells whether there is a PostgreSQL to test with. Where there is none, the reason is written to standard error once,
/// and it is a failure where `HALLPASS_TEST_REQUIRE_POSTGRES` is set.
pub fn postgres_answers() -> bool {
    *POSTGRES_ANSWERS
}

/// Runs something that waits, whether or not a runtime is running on this thread.
fn block_on_another_thread<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope.spawn(|| actix_rt::System::new().block_on(work())).join().expect("the thread does not panic")
    })
}

/// Connects to PostgreSQL; the reason where that is not possible.
pub async fn connect_postgres(schema: &str) -> Result<PgConnection, String> {
    let options: PgConnectOptions = POSTGRES_URL.parse().map_err(|error| format!("{error}"))?;
    let options = options.options([("search_path", schema)]);
    options.connect().await.map_err(|error| format!("{} does not answer: {error}", &*POSTGRES_URL))
}

/// The URL of a database of the server that the tests use, or of a proxy in front of it on the local port.
fn url_of(database: &str, port: Option<u16>) -> String {
    let options: PgConnectOptions = POSTGRES_URL.parse().unwrap();
    let host = if port.is_some() { "127.0.0.1" } else { options.get_host() };
    format!("postgres://{}@{host}:{}/{database}", options.get_username(), port.unwrap_or(options.get_port()))
}

/// A database of its own. Clones share it; the last one removes it.
#[derive(Clone)]
pub struct TestDatabase {
    pub settings: config::Database,
    inner: Arc<Inner>,
}

enum Inner {
    Sqlite {
        _folder: TempDir,
    },
    /// The schema, and the database where it is alone in one.
    Postgres {
        schema: String,
        database: Option<String>,
    },
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
        let prefix = std::env::var(PREFIX_VARIABLE).unwrap_or_else(|_| SCHEMA_PREFIX.to_owned());
        let schema = format!("{prefix}{}", Uuid::new_v4().simple());
        let mut settings = config::Settings::default().database;
        settings.url = POSTGRES_URL.parse().unwrap();
        settings.schema = schema.clone();
        settings.pool = 4;
        if let Ok(url) = std::env::var("HALLPASS_TEST_POOLER_URL") {
            (settings.url, settings.pooler) = (url.parse().unwrap(), true);
        }
        Self { settings, inner: Arc::new(Inner::Postgres { schema, database: None }) }
    }

    /// A whole database in PostgreSQL.
    pub async fn postgres_alone() -> Self {
        let Self { mut settings, .. } = Self::postgres();
        let name = settings.schema.clone();
        let create = sqlx::AssertSqlSafe(format!("create database {name}"));
        connect_postgres("public").await.unwrap().execute(sqlx::raw_sql(create)).await.unwrap();
        settings.url = url_of(&name, None).parse().unwrap();
        let inner = Inner::Postgres { schema: name.clone(), database: Some(name) };
        Self { settings, inner: Arc::new(inner) }
    }

    /// The same PostgreSQL database, through a proxy on the local port.
    pub fn through(&self, port: u16) -> Self {
        let options: PgConnectOptions = self.settings.url.to_string().parse().unwrap();
        let url = url_of(options.get_database().unwrap_or("postgres"), Some(port));
        let mut settings = self.settings.clone();
        settings.url = format!("{url}?sslmode=disable").parse().unwrap();
        Self { settings, inner: Arc::clone(&self.inner) }
    }

    /// The host and port of the server that the tests use.
    pub fn postgres_address() -> (String, u16) {
        let options: PgConnectOptions = POSTGRES_URL.parse().unwrap();
        (options.get_host().to_owned(), options.get_port())
    }

    /// Connects to this PostgreSQL database.
    pub async fn postgres_connection(&self) -> PgConnection {
        self.options().connect().await.unwrap()
    }

    /// The tests themselves connect directly.
    fn options(&self) -> PgConnectOptions {
        let url = if self.settings.pooler { POSTGRES_URL.clone() } else { self.settings.url.to_string() };
        let options: PgConnectOptions = url.parse().unwrap();
        options.options([("search_path", self.settings.schema.as_str())])
    }

    /// One of each kind there is: always SQLite, and PostgreSQL where it answers.
    pub fn each() -> Vec<Self> {
        let mut databases = vec![Self::sqlite()];
        databases.extend(postgres_answers().then(Self::postgres));
        databases
    }

    pub fn is_sqlite(&self) -> bool {
        matches!(&*self.inner, Inner::Sqlite { .. })
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
            Inner::Postgres { .. } => {
                let mut connection = self.postgres_connection().await;
                connection.execute(sqlx::raw_sql(statement)).await.unwrap();
            }
        }
    }

    /// Connects to the SQLite file.
    pub async fn sqlite_connection(&self) -> sqlx::SqliteConnection {
        let DatabaseUrl::Sqlite(path) = &self.settings.url else { panic!("not SQLite") };
        sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap()
    }

    /// A UUID as this database writes it in a statement.
    pub fn uuid(&self, id: Uuid) -> String {
        match &*self.inner {
            Inner::Sqlite { .. } => self.literal(id.as_bytes()),
            Inner::Postgres { .. } => format!("'{id}'::uuid"),
        }
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
        let statement = match self {
            Self::Sqlite { .. } => return,
            Self::Postgres { database: Some(name), .. } => {
                format!("drop database if exists {name} with (force)")
            }
            Self::Postgres { schema, .. } => format!("drop schema if exists {schema} cascade"),
        };
        let statement = sqlx::AssertSqlSafe(statement);
        let dropped = block_on_another_thread(async || {
            let mut connection = connect_postgres("public").await?;
            connection.execute(sqlx::raw_sql(statement)).await.map_err(|error| error.to_string())
        });
        if let Err(error) = dropped {
            eprintln!("a test's database is left behind: {error}");
        }
    }
}
