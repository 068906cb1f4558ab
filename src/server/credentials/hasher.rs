//! The hashing service: separate threads that take passwords from a bounded queue (see `queue`). They run at the lowest
//! priority, so that many sign-ins do not slow down requests with a token. If such requests leave these threads almost
//! no time, the same number of threads at nearly normal priority takes jobs too, so that sign-ins do not starve. Each
//! thread computes up to four bcrypt hashes at a time (see `lanes`).

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::batch::{Batch, Outcome, Task};
use super::error::HashError;
use super::origin::{Class, Origin};
use super::password::{StoredHash, cost_of, hash, is_nfc};
use super::queue::FairQueue;
use super::{Password, PasswordContext, Strength};
use crate::server::metrics::{Counters, Histogram};

struct Job {
    task: Task,
    class: Class,
    queued_at: Instant,
    answer: Sender,
}

impl Job {
    /// Tells whether its client is still there.
    fn is_alive(&self) -> bool {
        !self.answer.is_closed()
    }
}

type Sender = oneshot::Sender<Result<Outcome, HashError>>;

/// To whom an outcome goes, and when its task was taken from the queue.
type Answer = (Sender, Class, Instant);

/// The service. Clones share its threads, which end with the last of them.
#[derive(Clone)]
pub struct Hasher {
    queue: Arc<Queue>,
    /// Ends the threads when the last clone goes; the threads themselves hold only the queue.
    _life: Arc<Life>,
    cost: u32,
    /// New hashes are of passwords normalised to NFC.
    nfc: bool,
    /// The hash to compare with where the user has none, so that the answer takes as long.
    decoy: Arc<str>,
}

struct Queue {
    state: Mutex<State>,
    work: Condvar,
    limit: usize,
    cost: u32,
    counts: HashCounts,
    /// The threads of lowest priority, by their thread ids.
    patient: Mutex<Vec<i32>>,
}

/// Metrics of hashing, by class.
#[derive(Debug)]
pub(crate) struct HashCounts {
    waits: [Histogram; 3],
    hashes: [Histogram; 3],
    /// Tasks that found no place in the queue.
    pub shed: Counters,
}

impl HashCounts {
    fn new() -> Self {
        Self { waits: Default::default(), hashes: Default::default(), shed: Counters::new(&Class::NAMES) }
    }

    /// Returns, by class, the times that tasks have waited and those that they took.
    pub(crate) fn times(&self) -> impl Iterator<Item = (&'static str, &Histogram, &Histogram)> {
        let times = self.waits.iter().zip(&self.hashes);
        Class::NAMES.into_iter().zip(times).map(|(class, (waits, hashes))| (class, waits, hashes))
    }
}

/// How busy the service is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// The passwords in the queue.
    pub waiting: usize,
    /// How long the oldest of them has waited.
    pub longest_wait: Duration,
}

/// The niceness of the patient threads: they run when no other thread wants to.
const PATIENT: i32 = 19;

/// The niceness of the steady threads: a little below the threads of requests.
const STEADY: i32 = 3;

/// How long the patient threads are watched before a steady one takes a job.
const WATCH: Duration = Duration::from_millis(100);

struct State {
    jobs: FairQueue<Job>,
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
    /// Starts `threads` threads that hash at bcrypt's `cost`; at most `queue` passwords from known addresses and as
    /// many from others wait for them.
    ///
    /// # Errors
    /// The system's error when no thread can be started, or bcrypt's for the cost.
    pub fn start(threads: usize, queue: usize, cost: u32) -> std::io::Result<Self> {
        // The hash of a random text that is not kept, so no password matches it.
        let unknowable = uuid::Uuid::new_v4().to_string();
        let decoy = hash(&unknowable.as_str().into(), cost).map_err(std::io::Error::other)?;
        let queue = Arc::new(Queue::new(queue, cost));
        for number in 0..threads.max(1) {
            let patient = Arc::clone(&queue);
            thread::Builder::new().name(format!("hash-{number}")).spawn(move || patient.serve_patiently())?;
            // On other systems niceness belongs to the process, so no thread is starved by it.
            if cfg!(target_os = "linux") {
                let steady = Arc::clone(&queue);
                thread::Builder::new()
                    .name(format!("hash-floor-{number}"))
                    .spawn(move || steady.serve_steadily())?;
            }
        }
        Ok(Self { _life: Arc::new(Life(Arc::clone(&queue))), queue, cost, nfc: false, decoy: decoy.into() })
    }

    /// Sets whether new hashes are of passwords normalised to NFC. Defaults to false.
    #[must_use]
    pub fn nfc(mut self, is_on: bool) -> Self {
        self.nfc = is_on;
        self
    }

    /// Returns the string to store for `password`.
    ///
    /// # Errors
    /// [`HashError`]; where the queue is full, the newest password of the network with most in it.
    pub async fn hash(&self, password: &Password, origin: Origin) -> Result<String, HashError> {
        let password = if self.nfc { password.nfc() } else { password.clone() };
        match self.queue.run(Task::Hash(password), origin).await? {
            Outcome::Hash(hash) => Ok(hash),
            _ => unreachable!("a task to hash is answered with a hash"),
        }
    }

    /// Tells whether `stored` is the hash of `password`. Without a stored hash the answer is no, after the work of one
    /// at the configured cost. A bcrypt hash of a lower cost takes as long too.
    ///
    /// # Errors
    /// [`HashError`]; where the queue is full, the newest password of the network with most in it.
    pub(crate) async fn verify(
        &self,
        password: &Password,
        stored: Option<StoredHash>,
        origin: Origin,
    ) -> Result<bool, HashError> {
        let is_there = stored.is_some();
        let against = stored.unwrap_or_else(|| self.decoy.to_string().into());
        match self.queue.run(Task::Verify(password.clone(), against), origin).await? {
            Outcome::Verify(is_right) => Ok(is_right && is_there),
            _ => unreachable!("a task to verify is answered with a verdict"),
        }
    }

    /// Estimates how good `password` would be for the user of `context`. That takes a part of the time of a hash, so it
    /// waits for the same threads, in a line of its own.
    ///
    /// # Errors
    /// [`HashError`]; where the queue is full, the newest password of the network with most in it.
    pub(crate) async fn estimate(
        &self,
        password: &Password,
        context: PasswordContext,
        origin: Origin,
    ) -> Result<Strength, HashError> {
        let origin = origin.in_class(Class::Estimate);
        match self.queue.run(Task::Estimate(password.clone(), context), origin).await? {
            Outcome::Estimate(strength) => Ok(strength),
            _ => unreachable!("a task to estimate is answered with an estimate"),
        }
    }

    /// Tells whether the queue has no place for a password of `origin`. So its request can be refused before the
    /// database is asked to count it.
    pub(crate) fn would_shed(&self, origin: Origin) -> bool {
        self.queue.lock().jobs.would_shed(origin, Instant::now(), Job::is_alive)
    }

    /// Notes that a request of `origin` was refused for that reason.
    pub(crate) fn note_shed(&self, origin: Origin) {
        self.queue.counts.shed.count(origin.class().name());
        self.queue.lock().jobs.note_shed(origin, Instant::now());
    }

    /// Returns the most passwords in a line of the queue.
    pub(crate) fn places(&self) -> usize {
        self.queue.limit
    }

    /// Returns what was counted.
    pub(crate) fn counts(&self) -> &HashCounts {
        &self.queue.counts
    }

    /// Returns the number of passwords that wait, by class.
    pub(crate) fn waiting(&self) -> [(&'static str, usize); 3] {
        let mut waiting = Class::NAMES.map(|class| (class, 0));
        self.queue.lock().jobs.jobs().for_each(|job| waiting[job.class as usize].1 += 1);
        waiting
    }

    /// Returns how busy the service is.
    pub(crate) fn load(&self) -> Load {
        self.queue.load()
    }

    /// Tells whether `stored` is due for a new hash: made by another program, or at a cost below the configured one.
    pub(crate) fn is_outdated(&self, stored: &str) -> bool {
        cost_of(stored).is_none_or(|cost| cost < self.cost) || (self.nfc && !is_nfc(stored))
    }
}

impl Queue {
    fn new(limit: usize, cost: u32) -> Self {
        let state = Mutex::new(State { jobs: FairQueue::new(limit), closed: false });
        let counts = HashCounts::new();
        Self { state, work: Condvar::new(), limit, cost, counts, patient: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self) -> Load {
        let state = self.lock();
        Load {
            waiting: state.jobs.jobs().count(),
            longest_wait: state.jobs.jobs().map(|job| job.queued_at.elapsed()).max().unwrap_or_default(),
        }
    }

    async fn run(&self, task: Task, origin: Origin) -> Result<Outcome, HashError> {
        let (answer, outcome) = oneshot::channel();
        let now = Instant::now();
        let job = Job { task, class: origin.class(), queued_at: now, answer };
        let shed = self.lock().jobs.push(origin, job, now, Job::is_alive);
        if let Some(job) = shed {
            self.counts.shed.count(job.class.name());
            // The client may have gone away, here and below.
            let _ = job.answer.send(Err(HashError::QueueFull));
        }
        // All of them: a thread that is woken alone may be a steady one, which only watches.
        self.work.notify_all();
        outcome.await.unwrap_or_else(|_| Err(HashError::Failed("the service has stopped".into())))
    }

    /// Runs a patient thread, which takes every job that it can get.
    fn serve_patiently(&self) {
        be_nice(PATIENT);
        #[cfg(target_os = "linux")]
        self.patient
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(rustix::thread::gettid().as_raw_nonzero().get());
        let mut batch = Batch::new(self.cost);
        while !batch.is_empty() || self.wait_for_work() {
            // One at a time, so that idle threads share what waits. It may be gone.
            if batch.has_room()
                && let Some(job) = self.take()
            {
                self.add(&mut batch, job);
            }
            batch.advance(|answer, outcome| self.send(answer, outcome));
        }
    }

    /// Runs a steady thread, which takes a job only while the patient threads are starved.
    fn serve_steadily(&self) {
        be_nice(STEADY);
        while self.wait_for_work() {
            let (before, began) = (self.patient_time(), Instant::now());
            #[expect(clippy::disallowed_methods, reason = "this thread is the hasher's own")]
            thread::sleep(WATCH);
            let ran = self.patient_time().saturating_sub(before);
            let threads = self.patient.lock().unwrap_or_else(PoisonError::into_inner).len();
            if !is_starved(ran, began.elapsed(), threads) {
                continue;
            }
            let mut batch = Batch::new(self.cost);
            while batch.has_room()
                && let Some(job) = self.take()
            {
                self.add(&mut batch, job);
            }
            while !batch.is_empty() {
                batch.advance(|answer, outcome| self.send(answer, outcome));
            }
        }
    }

    /// Begins a job.
    fn add(&self, batch: &mut Batch<Answer>, job: Job) {
        let now = Instant::now();
        self.counts.waits[job.class as usize].observe(now - job.queued_at);
        batch.add(job.task, (job.answer, job.class, now), |answer, outcome| self.send(answer, outcome));
    }

    /// Sends an outcome to the client.
    fn send(&self, (answer, class, began): Answer, outcome: Result<Outcome, HashError>) {
        self.counts.hashes[class as usize].observe(began.elapsed());
        let _ = answer.send(outcome);
    }

    /// Takes the next job whose client is still there.
    fn take(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            let job = state.jobs.pop(Instant::now())?;
            if job.is_alive() {
                return Some(job);
            }
        }
    }

    /// Waits for a job. Returns `false` once the service has stopped.
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

    /// Returns the time for which all patient threads have run.
    fn patient_time(&self) -> Duration {
        let threads = self.patient.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().map(|thread| run_time(*thread)).sum()
    }
}

/// Tells whether `threads` threads that had work for the time `watched` ran for less than a quarter of it: for `ran`
/// together.
fn is_starved(ran: Duration, watched: Duration, threads: usize) -> bool {
    ran.as_secs_f64() < watched.as_secs_f64() * threads as f64 / 4.0
}

/// Returns the time for which a thread has run, as the kernel counts it. Where the kernel does not say, it is so long
/// that the thread does not count as starved.
fn run_time(thread: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    nanos.map_or(Duration::MAX / 1024, Duration::from_nanos)
}

/// Lowers the priority of the running thread. On Linux niceness belongs to the thread; elsewhere it would lower that of
/// the whole process.
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
        let stored = hasher.hash(&"open sesame".into(), Origin::LOCAL).await.unwrap();
        assert_eq!(
            hasher.verify(&"open sesame".into(), Some(stored.clone().into()), Origin::LOCAL).await,
            Ok(true)
        );
        assert_eq!(
            hasher.verify(&"open says me".into(), Some(stored.clone().into()), Origin::LOCAL).await,
            Ok(false)
        );
        assert_eq!(hasher.verify(&"open sesame".into(), None, Origin::LOCAL).await, Ok(false));
    }

    #[actix_rt::test]
    async fn a_full_queue_is_told_at_once_and_those_who_left_make_room() {
        // No thread serves this queue, so what is put in stays.
        let queue = Queue::new(1, 4);
        let mut first = Box::pin(queue.run(Task::Hash("one".into()), Origin::LOCAL));
        assert!((&mut first).now_or_never().is_none());
        assert!(matches!(
            queue.run(Task::Hash("two".into()), Origin::LOCAL).await,
            Err(HashError::QueueFull)
        ));
        drop(first);
        let mut third = Box::pin(queue.run(Task::Hash("three".into()), Origin::LOCAL));
        assert!((&mut third).now_or_never().is_none());
    }

    #[actix_rt::test]
    async fn the_load_tells_how_many_wait_and_how_long_the_first_has() {
        // No thread serves this queue, so what is put in stays.
        let queue = Queue::new(8, 4);
        assert_eq!(queue.load(), Load::default());
        let mut jobs = ["one", "two"].map(|text| Box::pin(queue.run(Task::Hash(text.into()), Origin::LOCAL)));
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
