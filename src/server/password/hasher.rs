//! The hashing service: a few threads of its own at low priority, fed by a bounded queue, so that a storm
//! of sign-ins slows no request that carries a token.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use super::Password;

/// What keeps a hash from being computed or compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// As many are waiting as may wait.
    #[error("the password-hashing queue is full")]
    QueueFull,
    /// The stored string is no hash that this binary takes.
    #[error("the stored password hash is of a kind or cost that is not accepted")]
    UnknownHash,
    /// The function itself failed, or the service has stopped.
    #[error("hashing failed: {0}")]
    Failed(String),
}

enum Task {
    Hash(Password),
    Verify(Password, String),
}

enum Outcome {
    Hash(String),
    Verify(bool),
}

struct Job {
    task: Task,
    answer: oneshot::Sender<Result<Outcome, HashError>>,
}

/// The service. Clones share its threads, which end with the last of them.
#[derive(Clone)]
pub struct Hasher {
    queue: Arc<Queue>,
    /// Ends the threads when the last clone goes; the threads themselves hold only the queue.
    _life: Arc<Life>,
    cost: u32,
    /// Compared with where there is no hash to compare with, at the same price.
    decoy: Arc<str>,
}

struct Queue {
    state: Mutex<State>,
    work: Condvar,
    limit: usize,
    cost: u32,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

struct Life(Arc<Queue>);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.notify_all();
    }
}

impl Hasher {
    /// Starts `threads` threads that hash at bcrypt's `cost`; at most `queue` passwords wait for them.
    ///
    /// # Errors
    /// The system's error when no thread can be started, or bcrypt's for the cost.
    pub fn start(threads: usize, queue: usize, cost: u32) -> std::io::Result<Self> {
        // A hash of what nobody can type: random, and forgotten at once.
        let unknowable = uuid::Uuid::new_v4().to_string();
        let decoy = super::hash(&unknowable.as_str().into(), cost).map_err(std::io::Error::other)?;
        let queue = Arc::new(Queue { state: Mutex::default(), work: Condvar::new(), limit: queue, cost });
        for number in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name(format!("hash-{number}")).spawn(move || queue.serve())?;
        }
        Ok(Self { _life: Arc::new(Life(Arc::clone(&queue))), queue, cost, decoy: decoy.into() })
    }

    /// The string to store for `password`.
    ///
    /// # Errors
    /// [`HashError`], [`HashError::QueueFull`] at once.
    pub async fn hash(&self, password: &Password) -> Result<String, HashError> {
        match self.queue.run(Task::Hash(password.clone())).await? {
            Outcome::Hash(hash) => Ok(hash),
            Outcome::Verify(_) => unreachable!("a task to hash is answered with a hash"),
        }
    }

    /// Whether `password` is the one behind `stored`. Without a stored hash the answer is no, after the
    /// work of one at the policy's cost.
    ///
    /// # Errors
    /// [`HashError`], [`HashError::QueueFull`] at once.
    pub async fn verify(&self, password: &Password, stored: Option<&str>) -> Result<bool, HashError> {
        let against = stored.unwrap_or(&self.decoy).to_owned();
        match self.queue.run(Task::Verify(password.clone(), against)).await? {
            Outcome::Verify(is_right) => Ok(is_right && stored.is_some()),
            Outcome::Hash(_) => unreachable!("a task to verify is answered with a verdict"),
        }
    }

    /// Whether `stored` is due for a new hash: made elsewhere, or at a cost below the policy's.
    pub fn is_outdated(&self, stored: &str) -> bool {
        super::cost_of(stored).is_none_or(|cost| cost < self.cost)
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, task: Task) -> Result<Outcome, HashError> {
        let (answer, outcome) = oneshot::channel();
        {
            let mut state = self.lock();
            // Those whose client went away hold no place.
            if state.jobs.len() >= self.limit {
                state.jobs.retain(|job| !job.answer.is_closed());
            }
            if state.jobs.len() >= self.limit {
                return Err(HashError::QueueFull);
            }
            state.jobs.push_back(Job { task, answer });
        }
        self.work.notify_one();
        outcome.await.unwrap_or_else(|_| Err(HashError::Failed("the service has stopped".into())))
    }

    /// The life of one thread.
    fn serve(&self) {
        lower_priority();
        while let Some(job) = self.next() {
            if job.answer.is_closed() {
                continue;
            }
            let outcome = match &job.task {
                Task::Hash(password) => super::hash(password, self.cost).map(Outcome::Hash),
                Task::Verify(password, stored) => super::verify(password, stored).map(Outcome::Verify),
            };
            // Nobody may be waiting any more; then the outcome is dropped.
            let _ = job.answer.send(outcome);
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Lets request threads go first. On Linux niceness is the thread's own; elsewhere it would be the whole
/// process's.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 10) {
        log::warn!("hashing runs at normal priority: {error}");
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher")
            .field("cost", &self.cost)
            .field("limit", &self.queue.limit)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[actix_rt::test]
    async fn a_hash_made_by_the_service_is_recognised_by_it() {
        let hasher = Hasher::start(2, 8, 4).unwrap();
        let stored = hasher.hash(&"open sesame".into()).await.unwrap();
        assert_eq!(hasher.verify(&"open sesame".into(), Some(&stored)).await, Ok(true));
        assert_eq!(hasher.verify(&"open says me".into(), Some(&stored)).await, Ok(false));
        assert_eq!(hasher.verify(&"open sesame".into(), None).await, Ok(false));
    }

    #[actix_rt::test]
    async fn a_full_queue_is_told_at_once_and_those_who_left_make_room() {
        // No thread serves this queue, so what is put in stays.
        let queue = Queue { state: Mutex::default(), work: Condvar::new(), limit: 1, cost: 4 };
        let mut first = Box::pin(queue.run(Task::Hash("one".into())));
        assert!((&mut first).now_or_never().is_none());
        assert!(matches!(queue.run(Task::Hash("two".into())).await, Err(HashError::QueueFull)));
        drop(first);
        let mut third = Box::pin(queue.run(Task::Hash("three".into())));
        assert!((&mut third).now_or_never().is_none());
    }

    #[test]
    fn the_threads_end_with_the_last_handle() {
        let hasher = Hasher::start(1, 8, 4).unwrap();
        let queue = Arc::downgrade(&hasher.queue);
        drop(hasher);
        while queue.strong_count() > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn only_a_hash_below_the_policys_cost_is_outdated() {
        let hasher = Hasher::start(1, 8, 5).unwrap();
        assert!(hasher.is_outdated(&super::super::hash(&"x".into(), 4).unwrap()));
        assert!(!hasher.is_outdated(&super::super::hash(&"x".into(), 5).unwrap()));
    }
}
