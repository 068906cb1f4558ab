//! The hashing service: a few threads of its own at the lowest priority, fed by a bounded queue, so that a
//! storm of sign-ins slows no request that carries a token. Where requests leave those threads next to
//! nothing, as many others at nearly normal priority step in, so that sign-ins do not starve either.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::error::HashError;
use super::password::{cost_of, hash, verify};
use super::rules::strength;
use super::{Password, Strength};

enum Task {
    Hash(Password),
    Verify(Password, String),
    Estimate { password: Password, email: String, min_chars: usize },
}

enum Outcome {
    Hash(String),
    Verify(bool),
    Estimate(Strength),
}

struct Job {
    task: Task,
    queued_at: Instant,
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
    /// The threads of lowest priority, by the system's number.
    patient: Mutex<Vec<i32>>,
}

/// How busy the service is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Passwords that wait for their hash to begin.
    pub waiting: usize,
    /// How long the first of them has waited.
    pub longest_wait: Duration,
}

/// How nice the patient threads are: they run where nobody else wants to.
const PATIENT: i32 = 19;

/// How nice the others are: little more than a request's thread.
const STEADY: i32 = 3;

/// How long the patient threads are watched before the others step in.
const WATCH: Duration = Duration::from_millis(100);

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
        let decoy = hash(&unknowable.as_str().into(), cost).map_err(std::io::Error::other)?;
        let queue = Arc::new(Queue::new(queue, cost));
        for number in 0..threads.max(1) {
            let patient = Arc::clone(&queue);
            thread::Builder::new().name(format!("hash-{number}")).spawn(move || patient.serve_patiently())?;
            // Elsewhere niceness is not a thread's own, and nobody starves.
            if cfg!(target_os = "linux") {
                let steady = Arc::clone(&queue);
                thread::Builder::new()
                    .name(format!("hash-floor-{number}"))
                    .spawn(move || steady.serve_steadily())?;
            }
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
            _ => unreachable!("a task to hash is answered with a hash"),
        }
    }

    /// Whether `password` is the one behind `stored`. Without a stored hash the answer is no, after the
    /// work of one at the policy's cost.
    ///
    /// # Errors
    /// [`HashError`], [`HashError::QueueFull`] at once.
    pub(crate) async fn verify(&self, password: &Password, stored: Option<&str>) -> Result<bool, HashError> {
        let against = stored.unwrap_or(&self.decoy).to_owned();
        match self.queue.run(Task::Verify(password.clone(), against)).await? {
            Outcome::Verify(is_right) => Ok(is_right && stored.is_some()),
            _ => unreachable!("a task to verify is answered with a verdict"),
        }
    }

    /// How good `password` would be for the user with this `email`: an estimate that a stranger can make as dear as
    /// a hash, and that therefore stands in the same queue.
    ///
    /// # Errors
    /// [`HashError`], [`HashError::QueueFull`] at once.
    pub(crate) async fn estimate(
        &self,
        password: &Password,
        email: &str,
        min_chars: usize,
    ) -> Result<Strength, HashError> {
        let task = Task::Estimate { password: password.clone(), email: email.to_owned(), min_chars };
        match self.queue.run(task).await? {
            Outcome::Estimate(strength) => Ok(strength),
            _ => unreachable!("a task to judge is answered with an estimate"),
        }
    }

    /// How busy it is.
    pub(crate) fn load(&self) -> Load {
        self.queue.load()
    }

    /// Whether `stored` is due for a new hash: made elsewhere, or at a cost below the policy's.
    pub(crate) fn is_outdated(&self, stored: &str) -> bool {
        cost_of(stored).is_none_or(|cost| cost < self.cost)
    }
}

impl Queue {
    fn new(limit: usize, cost: u32) -> Self {
        Self { state: Mutex::default(), work: Condvar::new(), limit, cost, patient: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self) -> Load {
        let state = self.lock();
        Load {
            waiting: state.jobs.len(),
            longest_wait: state.jobs.front().map_or(Duration::ZERO, |job| job.queued_at.elapsed()),
        }
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
            state.jobs.push_back(Job { task, queued_at: Instant::now(), answer });
        }
        // Whoever wakes may be one that only watches.
        self.work.notify_all();
        outcome.await.unwrap_or_else(|_| Err(HashError::Failed("the service has stopped".into())))
    }

    /// The life of a patient thread: it takes whatever comes.
    fn serve_patiently(&self) {
        be_nice(PATIENT);
        #[cfg(target_os = "linux")]
        self.patient
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(rustix::thread::gettid().as_raw_nonzero().get());
        while self.wait_for_work() {
            // Another may have been quicker.
            if let Some(job) = self.take() {
                self.compute(job);
            }
        }
    }

    /// The life of a steady thread: it takes a job only while the patient ones get next to no time.
    fn serve_steadily(&self) {
        be_nice(STEADY);
        while self.wait_for_work() {
            let (before, began) = (self.patient_time(), Instant::now());
            #[expect(clippy::disallowed_methods, reason = "this thread is the hasher's own")]
            thread::sleep(WATCH);
            let ran = self.patient_time().saturating_sub(before);
            let threads = self.patient.lock().unwrap_or_else(PoisonError::into_inner).len();
            if is_starved(ran, began.elapsed(), threads)
                && let Some(job) = self.take()
            {
                self.compute(job);
            }
        }
    }

    fn compute(&self, job: Job) {
        if job.answer.is_closed() {
            return;
        }
        let outcome = match &job.task {
            Task::Hash(password) => hash(password, self.cost).map(Outcome::Hash),
            Task::Verify(password, stored) => verify(password, stored).map(Outcome::Verify),
            Task::Estimate { password, email, min_chars } => {
                Ok(Outcome::Estimate(strength(password, email, *min_chars)))
            }
        };
        // Nobody may be waiting any more; then the outcome is dropped.
        let _ = job.answer.send(outcome);
    }

    fn take(&self) -> Option<Job> {
        self.lock().jobs.pop_front()
    }

    /// Returns when a job waits; `false` when there will be none any more.
    fn wait_for_work(&self) -> bool {
        let mut state = self.lock();
        while state.jobs.is_empty() {
            if state.closed {
                return false;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// How long the patient threads have run altogether.
    fn patient_time(&self) -> Duration {
        let threads = self.patient.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().map(|thread| run_time(*thread)).sum()
    }
}

/// Whether `threads` threads that have work, and together ran for `ran` in a while of `watched`, got less than
/// a quarter of the time.
fn is_starved(ran: Duration, watched: Duration, threads: usize) -> bool {
    ran.as_secs_f64() < watched.as_secs_f64() * threads as f64 / 4.0
}

/// How long a thread of ours has run, as the kernel counts it; "ever" where it does not tell, which is not
/// starving.
fn run_time(thread: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    nanos.map_or(Duration::MAX / 1024, Duration::from_nanos)
}

/// Lets other threads go first. On Linux niceness is a thread's own; elsewhere it would be the whole process's.
fn be_nice(niceness: i32) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, niceness) {
        log::warn!("hashing runs at normal priority: {error}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = niceness;
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
        let queue = Queue::new(1, 4);
        let mut first = Box::pin(queue.run(Task::Hash("one".into())));
        assert!((&mut first).now_or_never().is_none());
        assert!(matches!(queue.run(Task::Hash("two".into())).await, Err(HashError::QueueFull)));
        drop(first);
        let mut third = Box::pin(queue.run(Task::Hash("three".into())));
        assert!((&mut third).now_or_never().is_none());
    }

    #[actix_rt::test]
    async fn the_load_tells_how_many_wait_and_how_long_the_first_has() {
        // No thread serves this queue, so what is put in stays.
        let queue = Queue::new(8, 4);
        assert_eq!(queue.load(), Load::default());
        let mut jobs = ["one", "two"].map(|text| Box::pin(queue.run(Task::Hash(text.into()))));
        for job in &mut jobs {
            assert!(job.now_or_never().is_none());
        }
        let load = queue.load();
        assert_eq!(load.waiting, 2);
        assert!(load.longest_wait > Duration::ZERO);
        assert!(queue.load().longest_wait >= load.longest_wait, "it is the first's, and grows");
    }

    #[test]
    fn threads_with_work_that_got_less_than_a_quarter_of_the_time_are_starved() {
        let (window, quarter) = (Duration::from_millis(100), Duration::from_millis(50));
        assert!(is_starved(Duration::ZERO, window, 2));
        assert!(is_starved(quarter - Duration::from_millis(1), window, 2));
        assert!(!is_starved(quarter, window, 2));
        assert!(!is_starved(Duration::MAX / 1024, window, 2), "where the system does not tell");
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
        assert!(hasher.is_outdated(&hash(&"x".into(), 4).unwrap()));
        assert!(!hasher.is_outdated(&hash(&"x".into(), 5).unwrap()));
    }
}
