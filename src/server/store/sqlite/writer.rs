//! The connection that writes. Operations that wait for it share one transaction and its commit.
//!
//! A commit waits for the disk, which takes most of the time of a small write. So an operation leaves the transaction open
//! to those that wait behind it, each in a savepoint of its own, and is answered after the commit of them all. The commit
//! queues behind those that wait when the transaction begins: a lone operation is committed at once, and nobody waits for
//! operations that come later.
//!
//! Processes take turns too. SQLite does not queue them: whoever waits looks again after a pause, and one that writes all the
//! time would leave it no chance. So a process that waits to begin a transaction holds a file lock, and none begins while
//! another holds it.

use std::fs::{File, TryLockError};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection as _, Executor};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};

use crate::server::store::classify::classify;
use crate::server::store::error::{CommitError, StoreError};

/// How often the file lock is asked for while another process holds it.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The longest wait for the file lock: a process that is stopped while it holds the lock keeps nobody from writing.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Waits in one line for the connection. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    /// The lock is fair: whoever asks first has it first.
    line: Arc<Mutex<Line>>,
    /// Wakes the thread that commits; there is never more than one commit to come.
    opened: mpsc::Sender<()>,
}

/// What the one whose turn it is holds.
#[derive(Debug)]
struct Line {
    /// Replaced when its state is in doubt.
    connection: Option<SqliteConnection>,
    options: Arc<SqliteConnectOptions>,
    /// Locked by the process that waits to begin a transaction.
    next: Arc<File>,
    /// The transaction that is open.
    group: Option<Group>,
    is_closed: bool,
}

/// The operations in the open transaction.
#[derive(Debug)]
struct Group {
    /// The savepoint of the last one.
    last: Savepoint,
    /// Those who are answered after the commit.
    waiting: Vec<oneshot::Sender<Result<(), CommitError>>>,
}

/// The savepoint of an operation, before the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Savepoint {
    /// The operation has succeeded.
    Keep,
    /// The operation runs, was refused, failed, or nobody waits for it any more.
    Undo,
    /// A statement that begins an operation has not ended.
    Unknown,
}

/// The turn of one operation, in a savepoint. Dropped, what it wrote is undone.
#[derive(Debug)]
pub(in crate::server::store) struct Turn(OwnedMutexGuard<Line>);

impl Writer {
    /// Writes on `connection`. Another one with the same `options` replaces it when it fails. `next` is a file that every
    /// process opens for the same database.
    ///
    /// # Errors
    /// The system's error if there can be no further thread.
    pub(super) fn start(
        connection: SqliteConnection,
        options: Arc<SqliteConnectOptions>,
        next: File,
    ) -> std::io::Result<Self> {
        let (writer, mut opened) = Self::on(connection, options, next);
        let line = Arc::clone(&writer.line);
        // A thread of its own: a request can be given up at any point, and a commit for others must not be.
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        std::thread::Builder::new().name("hallpass-commit".into()).spawn(move || {
            runtime.block_on(async {
                while opened.recv().await.is_some() {
                    line.lock().await.commit().await;
                }
            });
        })?;
        Ok(writer)
    }

    fn on(
        connection: SqliteConnection,
        options: Arc<SqliteConnectOptions>,
        next: File,
    ) -> (Self, mpsc::Receiver<()>) {
        let (connection, next) = (Some(connection), Arc::new(next));
        let line = Line { connection, options, next, group: None, is_closed: false };
        let (opened, to_commit) = mpsc::channel(1);
        (Self { line: Arc::new(Mutex::new(line)), opened }, to_commit)
    }

    /// Waits for the turn, and begins.
    pub(super) async fn begin(&self) -> Result<Turn, sqlx::Error> {
        let mut line = Arc::clone(&self.line).lock_owned().await;
        if line.group.is_none() {
            // If it is full, the commit is to come anyway.
            let _ = self.opened.try_send(());
        }
        // As a task of its own: a request that was given up in the middle of it would leave the others' transaction in doubt.
        let begun = tokio::spawn(async move { line.begin().await.map(|()| Turn(line)) });
        begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.line.try_lock().is_ok()
    }

    /// Commits what is open, and closes the connection.
    pub(super) async fn close(&self) {
        let mut line = Arc::clone(&self.line).lock_owned().await;
        // As above.
        let closed = tokio::spawn(async move {
            line.is_closed = true;
            line.commit().await;
            line.give_up(&CommitError::Conflict).await;
        });
        // It fails only with the runtime, which closes the connection too.
        let _ = closed.await;
    }
}

impl Line {
    async fn begin(&mut self) -> Result<(), sqlx::Error> {
        if self.is_closed {
            return Err(sqlx::Error::PoolClosed);
        }
        if let Some(group) = &mut self.group {
            let join = match std::mem::replace(&mut group.last, Savepoint::Unknown) {
                Savepoint::Keep => Some("release operation; savepoint operation"),
                Savepoint::Undo => Some("rollback to operation; release operation; savepoint operation"),
                Savepoint::Unknown => None,
            };
            // It fails if SQLite has rolled back by itself, as it does when the disk is full.
            let has_joined = match join {
                Some(sql) => self.run(sql).await.is_ok(),
                None => false,
            };
            if has_joined {
                self.set_last(Savepoint::Undo);
                return Ok(());
            }
            self.give_up(&CommitError::Conflict).await;
        }
        if self.connection.is_none() {
            self.connection = Some(self.options.connect().await?);
        }
        let _next = Next::enter(Arc::clone(&self.next)).await;
        self.group = Some(Group { last: Savepoint::Unknown, waiting: Vec::new() });
        // Not deferred: a transaction that reads first and then writes fails where this waits for the lock.
        match self.run("begin immediate; savepoint operation").await {
            Ok(()) => {
                self.set_last(Savepoint::Undo);
                Ok(())
            }
            Err(error) => {
                self.give_up(&CommitError::Conflict).await;
                Err(error)
            }
        }
    }

    /// Commits the open transaction, if there is one, and answers those who wait for it.
    async fn commit(&mut self) {
        let Some(group) = &self.group else { return };
        match (group.last, group.waiting.is_empty()) {
            (Savepoint::Keep, _) => {}
            (Savepoint::Undo, true) => {
                return match self.run("rollback").await {
                    Ok(()) => self.group = None,
                    Err(_) => self.give_up(&CommitError::Conflict).await,
                };
            }
            (Savepoint::Undo, false) if self.run("rollback to operation").await.is_ok() => {}
            _ => return self.give_up(&CommitError::Conflict).await,
        }
        match self.run("commit").await {
            Ok(()) => self.answer(&Ok(())),
            Err(error) => self.give_up(&CommitError::Failed(classify(error).0)).await,
        }
    }

    /// Gives up the open transaction and the connection, since the state of either is in doubt.
    async fn give_up(&mut self, why: &CommitError) {
        // First, so that nothing is committed even if this is given up as well.
        let connection = self.connection.take();
        self.answer(&Err(why.clone()));
        if let Some(connection) = connection {
            // It fails only if the connection is closed already.
            let _ = connection.close().await;
        }
    }

    fn answer(&mut self, outcome: &Result<(), CommitError>) {
        for waiting in self.group.take().into_iter().flat_map(|group| group.waiting) {
            // Whoever does not wait any more needs no answer.
            let _ = waiting.send(outcome.clone());
        }
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        connection.execute(sqlx::query(sql)).await.map(drop)
    }

    fn set_last(&mut self, last: Savepoint) {
        if let Some(group) = &mut self.group {
            group.last = last;
        }
    }

    fn wait(&mut self) -> oneshot::Receiver<Result<(), CommitError>> {
        let (answer, outcome) = oneshot::channel();
        if let Some(group) = &mut self.group {
            group.waiting.push(answer);
        }
        outcome
    }
}

/// The lock of the process whose transaction is next. Dropped, it is released.
struct Next(Arc<File>);

impl Next {
    /// Waits until no other process is next. A file that cannot be locked keeps nobody from writing.
    async fn enter(file: Arc<File>) -> Self {
        let until = tokio::time::Instant::now() + LONGEST_WAIT;
        while let Err(TryLockError::WouldBlock) = file.try_lock()
            && tokio::time::Instant::now() < until
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Self(file)
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        // If it was not locked, there is nothing to release.
        let _ = self.0.unlock();
    }
}

impl Deref for Turn {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match &self.0.connection {
            Some(connection) => connection,
            None => unreachable!("a turn begins with a connection, and nobody takes it meanwhile"),
        }
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match &mut self.0.connection {
            Some(connection) => connection,
            None => unreachable!("a turn begins with a connection, and nobody takes it meanwhile"),
        }
    }
}

impl Turn {
    /// Keeps what was written, and waits for its commit.
    pub(super) async fn commit(mut self) -> Result<(), CommitError> {
        self.0.set_last(Savepoint::Keep);
        self.outcome().await
    }

    /// Undoes what was written. Then waits for the commit of what the operation may have seen of others.
    pub(super) async fn roll_back(self) -> Result<(), CommitError> {
        if self.0.group.as_ref().is_none_or(|group| group.waiting.is_empty()) {
            return Ok(());
        }
        self.outcome().await
    }

    async fn outcome(mut self) -> Result<(), CommitError> {
        let outcome = self.0.wait();
        drop(self);
        outcome.await.unwrap_or_else(|_| {
            Err(CommitError::Failed(StoreError::Unavailable("the commit was given up".into())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = tokio::task::JoinHandle<Result<(), CommitError>>;

    /// A writer whose commits the test makes, on a database with a table of numbers.
    struct Subject {
        writer: Writer,
        reader: SqliteConnection,
        _to_commit: mpsc::Receiver<()>,
        folder: tempfile::TempDir,
    }

    impl Subject {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let options = SqliteConnectOptions::new()
                .filename(folder.path().join("test.db"))
                .create_if_missing(true)
                .foreign_keys(true)
                .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
            let mut connection = options.connect().await.unwrap();
            connection
                .execute(
                    "create table numbers (n integer primary key, other integer references numbers (n) deferrable initially deferred)",
                )
                .await
                .unwrap();
            let reader = options.connect().await.unwrap();
            let (writer, _to_commit) = Writer::on(connection, Arc::new(options), lock_in(&folder));
            Self { writer, reader, _to_commit, folder }
        }

        /// Starts a writer as another process would have.
        async fn start_another(&self) -> Writer {
            let options = Arc::clone(&self.writer.line.lock().await.options);
            Writer::start(options.connect().await.unwrap(), options, lock_in(&self.folder)).unwrap()
        }

        /// Begins an operation that writes a number.
        async fn write(&self, number: i64) -> Turn {
            let mut turn = self.writer.begin().await.unwrap();
            let insert = sqlx::query("insert into numbers (n) values ($1)").bind(number);
            insert.execute(&mut *turn).await.unwrap();
            turn
        }

        async fn keep(&self, number: i64) -> Outcome {
            tokio::spawn(self.write(number).await.commit())
        }

        async fn refuse(&self, number: i64) -> Outcome {
            tokio::spawn(self.write(number).await.roll_back())
        }

        /// Commits, after those whose turn it was have gone on.
        async fn commit(&self) {
            self.writer.line.lock().await.commit().await;
        }

        async fn committed(&mut self) -> Vec<i64> {
            let rows: Vec<(i64,)> =
                sqlx::query_as("select n from numbers order by n").fetch_all(&mut self.reader).await.unwrap();
            rows.into_iter().map(|(number,)| number).collect()
        }
    }

    fn lock_in(folder: &tempfile::TempDir) -> File {
        File::options().create(true).write(true).truncate(false).open(folder.path().join("lock")).unwrap()
    }

    fn is_conflict(outcome: &Result<(), CommitError>) -> bool {
        matches!(outcome, Err(CommitError::Conflict))
    }

    #[tokio::test]
    async fn operations_are_committed_together_and_those_that_were_refused_or_given_up_are_undone() {
        let mut subject = Subject::new().await;
        let first = subject.keep(1).await;
        let refused = subject.refuse(2).await;
        let second = subject.keep(3).await;
        drop(subject.write(4).await);
        let last = subject.keep(5).await;
        drop(subject.write(6).await);
        assert_eq!(subject.committed().await, [0; 0]);
        assert!([&first, &refused, &second, &last].iter().all(|outcome| !outcome.is_finished()));
        subject.commit().await;
        for outcome in [first, refused, second, last] {
            outcome.await.unwrap().unwrap();
        }
        assert_eq!(subject.committed().await, [1, 3, 5]);
    }

    #[tokio::test]
    async fn an_operation_sees_those_before_it_that_are_not_committed() {
        let subject = Subject::new().await;
        let _first = subject.keep(1).await;
        drop(subject.write(2).await);
        let mut turn = subject.writer.begin().await.unwrap();
        let seen: Vec<(i64,)> = sqlx::query_as("select n from numbers").fetch_all(&mut *turn).await.unwrap();
        assert_eq!(seen, [(1,)]);
    }

    #[tokio::test]
    async fn a_refusal_that_saw_nothing_uncommitted_is_answered_at_once() {
        let mut subject = Subject::new().await;
        subject.write(1).await.roll_back().await.unwrap();
        subject.write(2).await.roll_back().await.unwrap();
        subject.commit().await;
        assert_eq!(subject.committed().await, [0; 0]);
    }

    #[tokio::test]
    async fn when_sqlite_has_rolled_back_by_itself_those_who_wait_are_run_again() {
        let mut subject = Subject::new().await;
        for is_joined in [true, false] {
            let first = subject.keep(1).await;
            let mut failing = subject.write(2).await;
            // As it does when the disk is full.
            failing.execute("rollback").await.unwrap();
            drop(failing);
            if is_joined {
                subject.write(3).await.roll_back().await.unwrap();
            } else {
                subject.commit().await;
            }
            assert!(is_conflict(&first.await.unwrap()));
            subject.commit().await;
            assert_eq!(subject.committed().await, [0; 0]);
        }
        let again = subject.keep(1).await;
        subject.commit().await;
        again.await.unwrap().unwrap();
        assert_eq!(subject.committed().await, [1]);
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_while_it_begins_undoes_nothing_of_the_others() {
        let mut subject = Subject::new().await;
        let first = subject.keep(1).await;
        drop(subject.writer.line.lock().await);
        let mut begin = Box::pin(subject.writer.begin());
        assert!(futures_util::FutureExt::now_or_never(begin.as_mut()).is_none(), "it has begun to begin");
        drop(begin);
        let second = subject.keep(2).await;
        subject.commit().await;
        first.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
        assert_eq!(subject.committed().await, [1, 2]);
    }

    #[tokio::test]
    async fn a_beginning_whose_end_is_unknown_loses_nothing_that_was_answered() {
        let mut subject = Subject::new().await;
        for is_joined in [true, false] {
            let first = subject.keep(1).await;
            let mut line = subject.writer.line.lock().await;
            line.set_last(Savepoint::Unknown);
            line.run("release operation").await.unwrap();
            drop(line);
            if is_joined {
                subject.write(3).await.roll_back().await.unwrap();
            }
            subject.commit().await;
            assert!(is_conflict(&first.await.unwrap()));
            assert_eq!(subject.committed().await, [0; 0]);
        }
    }

    #[tokio::test]
    async fn a_commit_that_fails_fails_for_all_and_the_next_operation_works() {
        let mut subject = Subject::new().await;
        let first = subject.keep(1).await;
        let mut turn = subject.writer.begin().await.unwrap();
        turn.execute("insert into numbers (n, other) values (2, 7)").await.unwrap();
        let second = tokio::spawn(turn.commit());
        let refused = subject.refuse(3).await;
        subject.commit().await;
        for outcome in [first, second, refused] {
            assert!(matches!(outcome.await.unwrap(), Err(CommitError::Failed(_))));
        }
        let later = subject.keep(4).await;
        subject.commit().await;
        later.await.unwrap().unwrap();
        assert_eq!(subject.committed().await, [4]);
    }

    #[tokio::test]
    async fn a_writer_that_was_started_commits_by_itself() {
        let mut subject = Subject::new().await;
        let writer = subject.start_another().await;
        let mut turn = writer.begin().await.unwrap();
        turn.execute("insert into numbers (n) values (1)").await.unwrap();
        turn.commit().await.unwrap();
        assert_eq!(subject.committed().await, [1]);
    }

    #[tokio::test]
    async fn closing_commits_what_is_open_and_nobody_begins_after_it() {
        let mut subject = Subject::new().await;
        let last = subject.keep(1).await;
        subject.writer.close().await;
        last.await.unwrap().unwrap();
        assert_eq!(subject.committed().await, [1]);
        assert!(matches!(subject.writer.begin().await, Err(sqlx::Error::PoolClosed)));
    }

    #[tokio::test]
    async fn a_process_that_is_stopped_before_it_writes_keeps_nobody_from_writing() {
        let mut subject = Subject::new().await;
        let stopped = lock_in(&subject.folder);
        stopped.lock().unwrap();
        let first = subject.keep(1).await;
        subject.commit().await;
        first.await.unwrap().unwrap();
        assert_eq!(subject.committed().await, [1]);
    }

    #[tokio::test]
    async fn a_process_that_waits_writes_before_another_one_begins_again() {
        let mut subject = Subject::new().await;
        let waits = subject.start_another().await;
        let lock = lock_in(&subject.folder);
        let first = subject.keep(1).await;
        let other = tokio::spawn(async move { (waits.begin().await.unwrap(), waits) });
        while lock.try_lock().is_ok() {
            lock.unlock().unwrap();
            tokio::task::yield_now().await;
        }
        subject.commit().await;
        first.await.unwrap().unwrap();
        let again = subject.writer.clone();
        let again = tokio::spawn(async move { again.begin().await });
        // If the first had begun again, this one would wait for it in vain.
        let (mut turn, _waits) = other.await.unwrap();
        turn.execute("insert into numbers (n) values (2)").await.unwrap();
        turn.commit().await.unwrap();
        again.await.unwrap().unwrap();
        assert_eq!(subject.committed().await, [1, 2]);
    }
}
