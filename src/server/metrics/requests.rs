//! Requests by route, method and status, and how long they took. A worker of the server counts in tables of its own, of
//! which it is the only writer; they are added up when they are read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::counters::{Distribution, Histogram, add_alone};

/// The methods that are told apart. The last stands for all others: a method is any text that a client makes up.
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS", "other"];

/// The statuses that are told apart. The last stands for all others.
const STATUSES: &[u16] = &[
    200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409, 410, 412,
    413, 414, 415, 416, 417, 422, 425, 429, 431, 500, 501, 502, 503, 504, 0,
];

/// The counts of all routes of a server.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// The tables of each worker.
    all: Mutex<Vec<Arc<RouteCounts>>>,
}

/// The table of one route in one worker.
#[derive(Debug)]
pub(crate) struct RouteCounts {
    route: String,
    /// The number of requests by method and status.
    requests: Box<[AtomicU64]>,
    durations: Histogram,
}

/// The counts of a route, of all workers.
#[derive(Debug, Default)]
pub(crate) struct Route {
    /// The number of requests by method and status.
    pub requests: BTreeMap<(&'static str, u16), u64>,
    /// How long they took.
    pub durations: Distribution,
}

impl Requests {
    /// Adds a table for requests to `route` that only this thread counts.
    pub(crate) fn table(&self, route: &str) -> Arc<RouteCounts> {
        let table = Arc::new(RouteCounts {
            route: route.to_owned(),
            requests: (0..METHODS.len() * STATUSES.len()).map(|_| AtomicU64::new(0)).collect(),
            durations: Histogram::default(),
        });
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&table));
        table
    }

    /// Returns the counts by the route's pattern.
    pub(crate) fn routes(&self) -> BTreeMap<String, Route> {
        let mut routes = BTreeMap::<_, Route>::new();
        for table in &*self.all.lock().unwrap_or_else(PoisonError::into_inner) {
            let route = routes.entry(table.route.clone()).or_default();
            route.durations.add(&table.durations);
            for (place, count) in table.requests.iter().enumerate() {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let key = (METHODS[place / STATUSES.len()], STATUSES[place % STATUSES.len()]);
                    *route.requests.entry(key).or_default() += count;
                }
            }
        }
        routes
    }
}

impl RouteCounts {
    /// Counts a request. To be called by the thread that the table was made for.
    pub(crate) fn count(&self, method: &str, status: u16, duration: Duration) {
        let method = METHODS.iter().position(|own| *own == method).unwrap_or(METHODS.len() - 1);
        let status = STATUSES.iter().position(|own| *own == status).unwrap_or(STATUSES.len() - 1);
        add_alone(&self.requests[method * STATUSES.len() + status], 1);
        self.durations.observe_alone(duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_all_workers_are_added_up_and_unknown_methods_are_one() {
        let requests = Requests::default();
        for _ in 0..2 {
            let table = requests.table("/user");
            table.count("GET", 200, Duration::from_millis(1));
            table.count("BREW", 418, Duration::from_millis(1));
        }
        requests.table("unmatched").count("GET", 404, Duration::ZERO);
        let routes = requests.routes();
        let user = &routes["/user"];
        assert_eq!(
            user.requests.clone().into_iter().collect::<Vec<_>>(),
            [(("GET", 200), 2), (("other", 0), 2)]
        );
        assert_eq!(user.durations.count(), 4);
        assert_eq!(routes["unmatched"].requests[&("GET", 404)], 1);
    }
}
