//! Counters and histograms. Threads write to slots of their own, so that counting costs an addition and no wait for
//! another core; a reader adds the slots up.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The slots of a counter. Threads beyond that share them.
const SLOTS: usize = 8;

/// The upper bounds of a histogram of durations, in seconds.
const BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// A number alone in its cache line, so that cores do not pass lines to and fro.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Slot(AtomicU64);

/// Returns the slot of this thread.
fn slot() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    OWN.with(|own| {
        if own.get() == usize::MAX {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed) % SLOTS);
        }
        own.get()
    })
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter([Slot; SLOTS]);

impl Counter {
    /// Adds 1.
    pub(crate) fn count(&self) {
        self.0[slot()].0.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the sum.
    pub(crate) fn value(&self) -> u64 {
        self.0.iter().map(|slot| slot.0.load(Ordering::Relaxed)).sum()
    }
}

/// A counter for each of some names.
#[derive(Debug)]
pub(crate) struct Counters {
    names: &'static [&'static str],
    counters: Box<[Counter]>,
}

impl Counters {
    /// Returns counters for these names. The last of them also counts what has none of the names.
    pub(crate) fn new(names: &'static [&'static str]) -> Self {
        Self { names, counters: names.iter().map(|_| Counter::default()).collect() }
    }

    /// Adds 1 to the counter of `name`.
    pub(crate) fn count(&self, name: &str) {
        let place = self.names.iter().position(|own| *own == name);
        if let Some(counter) = self.counters.get(place.unwrap_or(self.names.len() - 1)) {
            counter.count();
        }
    }

    /// Returns each name with its number.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.names.iter().zip(&self.counters).map(|(name, counter)| (*name, counter.value()))
    }
}

/// How long something took, each time.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// How many were within each bound and above the one before; the last is of those above all.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// A histogram, read.
#[derive(Debug, Default)]
pub(crate) struct Distribution {
    counts: [u64; BOUNDS.len() + 1],
    nanos: u64,
}

impl Histogram {
    /// Adds a duration.
    pub(crate) fn observe(&self, duration: Duration) {
        self.counts[bucket(duration)].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos(duration), Ordering::Relaxed);
    }

    /// Adds a duration, where this thread is the only one that ever does: cheaper than [`observe`](Self::observe).
    pub(super) fn observe_alone(&self, duration: Duration) {
        add_alone(&self.counts[bucket(duration)], 1);
        add_alone(&self.nanos, nanos(duration));
    }

    /// Reads it.
    pub(crate) fn read(&self) -> Distribution {
        let mut read = Distribution::default();
        read.add(self);
        read
    }
}

impl Distribution {
    /// Adds what another histogram has.
    pub(crate) fn add(&mut self, other: &Histogram) {
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
        self.nanos += other.nanos.load(Ordering::Relaxed);
    }

    /// Returns the number of durations.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns their sum in seconds.
    pub(crate) fn sum(&self) -> f64 {
        Duration::from_nanos(self.nanos).as_secs_f64()
    }

    /// Returns each upper bound with the number of durations below it and above the bound before.
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        BOUNDS.iter().copied().chain([f64::INFINITY]).zip(self.counts).collect()
    }
}

/// Adds to a number that no other thread writes. A reader sees the number before or after.
pub(super) fn add_alone(number: &AtomicU64, more: u64) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

fn bucket(duration: Duration) -> usize {
    let secs = duration.as_secs_f64();
    BOUNDS.iter().position(|bound| secs <= *bound).unwrap_or(BOUNDS.len())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_threads_count_is_added_up() {
        let (counter, named) = (Counter::default(), Counters::new(&["right", "other"]));
        std::thread::scope(|scope| {
            for _ in 0..2 * SLOTS {
                scope.spawn(|| {
                    for name in ["right", "wrong", "right"] {
                        counter.count();
                        named.count(name);
                    }
                });
            }
        });
        assert_eq!(counter.value(), 48);
        assert_eq!(named.values().collect::<Vec<_>>(), [("right", 32), ("other", 16)]);
    }

    #[test]
    fn a_duration_counts_in_the_bucket_whose_bound_it_does_not_pass() {
        let histogram = Histogram::default();
        for millis in [0, 1, 2, 30, 60_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let read = histogram.read();
        let counted: Vec<_> = read.buckets().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(0.0005, 1), (0.001, 1), (0.0025, 1), (0.05, 1), (f64::INFINITY, 1)]);
        assert_eq!(read.count(), 5);
        assert!((read.sum() - 60.033).abs() < 1e-9, "{}", read.sum());
    }
}
