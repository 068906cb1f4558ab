//! The last uses of sessions. Each is noted in memory at most once a minute; the database gets them in batches.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};
use quick_cache::sync::Cache;
use uuid::Uuid;

/// The shortest time between two notes of a session's use.
const NOTE_EVERY: Duration = Duration::minutes(1);

/// The most sessions in memory; the least used are dropped first.
const MAX_SESSIONS: usize = 100_000;

pub(super) struct LastSeen {
    /// Milliseconds since 1970.
    noted: Cache<Uuid, Arc<AtomicI64>>,
    unwritten: Mutex<HashMap<Uuid, DateTime<Utc>>>,
}

impl LastSeen {
    pub(super) fn new() -> Self {
        Self { noted: Cache::new(MAX_SESSIONS), unwritten: Mutex::default() }
    }

    pub(super) fn note(&self, session: Uuid, now: DateTime<Utc>) {
        let millis = now.timestamp_millis();
        match self.noted.get(&session) {
            Some(noted) => {
                let last = noted.load(Ordering::Relaxed);
                let is_due = millis - last >= NOTE_EVERY.num_milliseconds();
                // Of concurrent requests, only one notes it.
                if !is_due
                    || noted.compare_exchange(last, millis, Ordering::Relaxed, Ordering::Relaxed).is_err()
                {
                    return;
                }
            }
            None => self.noted.insert(session, Arc::new(AtomicI64::new(millis))),
        }
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).insert(session, now);
    }

    pub(super) fn get(&self, session: Uuid) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.noted.get(&session)?.load(Ordering::Relaxed))
    }

    pub(super) fn take_unwritten(&self) -> Vec<(Uuid, DateTime<Utc>)> {
        let unwritten = std::mem::take(&mut *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner));
        unwritten.into_iter().collect()
    }
}
