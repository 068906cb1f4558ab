//! The queue of the hashing service. It decides which job is next, and which is refused when the queue is full.
//!
//! There are three lines. Sign-ins from an address that has signed in to the account before wait in the first, other
//! sign-ins and registrations in the second, and passwords that are only rated in the third. Each line has its own
//! places. Within a line, the network that was served least in the last minute is next, and within it the address. So a
//! client gains nothing by sending more requests or opening more connections. If a line is full, the newest job of the
//! network with the most jobs is refused (shed).
//!
//! A flood from ever new addresses looks like many new clients. So a client that was shed and waits as long as
//! `Retry-After` says is treated as if it had waited since its first request. It is then served before the flood.

use std::time::Instant;

use super::origin::{Class, Origin};
use super::queue_memory::{Counts, Served, ShedClients};

/// Which line is served first, in turn; the others follow in the order of [`Class`]. Known addresses come first; a
/// quarter of the turns is the strangers', so that new devices get in, and an eighth the estimates'.
const TURNS: [Class; 8] = [
    Class::Known,
    Class::Known,
    Class::Stranger,
    Class::Known,
    Class::Known,
    Class::Stranger,
    Class::Known,
    Class::Estimate,
];

/// Jobs that wait.
pub(super) struct FairQueue<T> {
    known: Line<T>,
    strangers: Line<T>,
    estimates: Line<T>,
    turn: usize,
    shed: ShedClients,
}

struct Line<T> {
    limit: usize,
    /// In the order in which they came.
    waiting: Vec<Waiting<T>>,
    served: Served,
}

struct Waiting<T> {
    origin: Origin,
    /// When its client asked first.
    since: Instant,
    job: T,
}

impl<T> FairQueue<T> {
    /// Returns a queue with `limit` places for known addresses, as many for strangers, and a quarter for estimates.
    pub(super) fn new(limit: usize) -> Self {
        let line = |limit| Line { limit, waiting: Vec::new(), served: Served::default() };
        Self {
            known: line(limit),
            strangers: line(limit),
            estimates: line(limit.div_ceil(4)),
            turn: 0,
            shed: ShedClients::default(),
        }
    }

    /// Adds a job. Where the line is full, returns the job that is shed for it, which may be the same.
    pub(super) fn push(
        &mut self,
        origin: Origin,
        job: T,
        now: Instant,
        is_alive: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let since = self.shed.since(origin, now);
        let line = self.line(origin.class());
        let place = line.place_to_shed(origin, since, is_alive);
        line.waiting.push(Waiting { origin, since, job });
        let shed = line.waiting.remove(place?);
        self.shed.add(shed.origin, shed.since, now);
        Some(shed.job)
    }

    /// Tells whether a job of `origin` would be shed at once.
    pub(super) fn would_shed(&mut self, origin: Origin, now: Instant, is_alive: impl Fn(&T) -> bool) -> bool {
        let since = self.shed.since(origin, now);
        let line = self.line(origin.class());
        line.place_to_shed(origin, since, is_alive) == Some(line.waiting.len())
    }

    /// Notes that a job of `origin` was shed before it was added.
    pub(super) fn note_shed(&mut self, origin: Origin, now: Instant) {
        let since = self.shed.since(origin, now);
        self.shed.add(origin, since, now);
    }

    /// Takes the next job.
    pub(super) fn pop(&mut self, now: Instant) -> Option<T> {
        let first = TURNS[self.turn % TURNS.len()];
        let mut classes = [first, Class::Known, Class::Stranger, Class::Estimate].into_iter();
        let job = classes.find_map(|class| self.line(class).pop(now))?;
        self.turn = self.turn.wrapping_add(1);
        Some(job)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs().next().is_none()
    }

    /// Returns every job, in no order.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &T> {
        let lines = [&self.known, &self.strangers, &self.estimates].into_iter();
        lines.flat_map(|line| &line.waiting).map(|waiting| &waiting.job)
    }

    fn line(&mut self, class: Class) -> &mut Line<T> {
        match class {
            Class::Known => &mut self.known,
            Class::Stranger => &mut self.strangers,
            Class::Estimate => &mut self.estimates,
        }
    }
}

impl<T> Line<T> {
    /// Takes the job of the network that was served least lately, in it of the address that was; of several, the one
    /// that has waited longest.
    fn pop(&mut self, now: Instant) -> Option<T> {
        let next = self.waiting.iter().enumerate();
        let next = next.min_by_key(|(_, waiting)| (self.served.count(waiting.origin), waiting.since));
        let (place, _) = next?;
        let Waiting { origin, job, .. } = self.waiting.remove(place);
        self.served.add(origin, now);
        Some(job)
    }

    /// Returns the place of the job to shed for one of `origin` that is added at the end; `None` where there is room.
    /// It is of the network that waits and was served most, in it of the address that does; of several, the newest.
    fn place_to_shed(
        &mut self,
        origin: Origin,
        since: Instant,
        is_alive: impl Fn(&T) -> bool,
    ) -> Option<usize> {
        if self.waiting.len() >= self.limit {
            // Jobs whose client went away do not count.
            self.waiting.retain(|waiting| is_alive(&waiting.job));
        }
        if self.waiting.len() < self.limit {
            return None;
        }
        let all = || self.waiting.iter().map(|one| (one.origin, one.since)).chain([(origin, since)]);
        let mut waiting = Counts::default();
        all().for_each(|(origin, _)| waiting.add(origin));
        let load = |origin| {
            let ((network, address), (networks, addresses)) = (self.served.count(origin), waiting.of(origin));
            (network + networks, address + addresses)
        };
        all().enumerate().max_by_key(|(_, (origin, since))| (load(*origin), *since)).map(|(place, _)| place)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::queue_memory::RETRY_AFTER_SECS;
    use super::*;

    fn from(class: Class, address: &str) -> Origin {
        Origin::new(class, address.parse().unwrap())
    }

    /// Adds a job that is named after its origin, and returns the one that is shed.
    fn push(queue: &mut FairQueue<String>, class: Class, address: &str, name: &str) -> Option<String> {
        queue.push(from(class, address), name.to_owned(), Instant::now(), |_| true)
    }

    fn names(queue: &mut FairQueue<String>) -> String {
        std::iter::from_fn(|| queue.pop(Instant::now())).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn networks_take_turns_and_in_a_network_its_addresses() {
        let mut queue = FairQueue::new(16);
        for (address, name) in [
            ("192.0.2.1", "a1"),
            ("192.0.2.1", "a2"),
            ("192.0.2.1", "a3"),
            ("192.0.2.9", "b1"),
            ("198.51.100.1", "c1"),
            ("198.51.100.1", "c2"),
            ("2001:db8:0:1::1", "d1"),
            ("2001:db8:0:1::2", "d2"),
            ("2001:db8:0:2::1", "e1"),
        ] {
            assert_eq!(push(&mut queue, Class::Stranger, address, name), None);
        }
        assert_eq!(names(&mut queue), "a1 c1 d1 b1 e1 c2 a2 d2 a3");
    }

    #[test]
    fn known_addresses_come_first_and_nobody_else_waits_for_ever() {
        let mut queue = FairQueue::new(16);
        for number in 0..8 {
            push(&mut queue, Class::Known, &format!("192.0.2.{number}"), "k");
            push(&mut queue, Class::Stranger, &format!("192.0.2.{number}"), "s");
        }
        push(&mut queue, Class::Estimate, "192.0.2.1", "e");
        assert_eq!(names(&mut queue), "k k s k k s k e k k s k s s s s s");
    }

    #[test]
    fn the_newest_of_the_network_with_most_is_shed() {
        let mut queue = FairQueue::new(4);
        for name in ["a1", "a2", "a3"] {
            push(&mut queue, Class::Stranger, "192.0.2.1", name);
        }
        push(&mut queue, Class::Stranger, "192.0.2.2", "b1");
        assert_eq!(push(&mut queue, Class::Stranger, "198.51.100.1", "c1").as_deref(), Some("a3"));
        assert_eq!(push(&mut queue, Class::Stranger, "192.0.2.1", "a4").as_deref(), Some("a4"), "oneself");
        assert_eq!(push(&mut queue, Class::Known, "192.0.2.1", "k1"), None, "places of their own");
        assert_eq!(names(&mut queue), "k1 a1 c1 b1 a2");
    }

    #[test]
    fn a_network_that_was_not_served_lately_comes_first_and_is_not_shed() {
        let mut queue = FairQueue::new(2);
        for _ in 0..3 {
            push(&mut queue, Class::Stranger, "192.0.2.1", "often");
            queue.pop(Instant::now());
        }
        push(&mut queue, Class::Stranger, "192.0.2.1", "often");
        push(&mut queue, Class::Stranger, "198.51.100.1", "first");
        assert_eq!(push(&mut queue, Class::Stranger, "203.0.113.1", "second").as_deref(), Some("often"));
        assert_eq!(names(&mut queue), "first second");
    }

    #[test]
    fn who_would_be_shed_is_known_before_and_keeps_its_seniority_all_the_same() {
        let (mut queue, now) = (FairQueue::new(1), Instant::now());
        let (one, other) = (from(Class::Stranger, "192.0.2.1"), from(Class::Stranger, "198.51.100.1"));
        assert!(!queue.would_shed(other, now, |_| true), "there is room");
        queue.push(one, "one", now, |_| true);
        assert!(queue.would_shed(other, now, |_| true));
        assert!(!queue.would_shed(other, now, |_| false), "the client of the other went away");
        queue.push(one, "one", now, |_| true);
        queue.note_shed(other, now);
        let later = now + Duration::from_secs(RETRY_AFTER_SECS);
        queue.pop(later);
        queue.push(one, "one", later, |_| true);
        assert!(!queue.would_shed(other, later, |_| true), "the one that waits is newer");
    }

    #[test]
    fn a_client_that_was_shed_and_came_back_as_told_is_served_before_ever_new_addresses() {
        let (mut queue, now) = (FairQueue::new(2), Instant::now());
        let new = |number: u8| from(Class::Stranger, &format!("198.51.{number}.1"));
        let client = from(Class::Stranger, "192.0.2.1");
        for number in 0..2 {
            queue.push(new(number), "flood", now, |_| true);
        }
        assert_eq!(queue.push(client, "client", now, |_| true), Some("client"));
        let later = now + Duration::from_secs(RETRY_AFTER_SECS);
        for number in 2..4 {
            queue.pop(later);
            queue.push(new(number), "flood", later, |_| true);
        }
        assert_eq!(queue.push(client, "client", later, |_| true), Some("flood"), "the newest");
        assert_eq!(queue.pop(later), Some("client"));
    }

    #[test]
    fn jobs_whose_client_went_away_make_room_and_no_place_means_none() {
        let mut queue = FairQueue::new(1);
        let origin = from(Class::Stranger, "192.0.2.1");
        assert_eq!(queue.push(origin, "gone", Instant::now(), |_| true), None);
        assert_eq!(queue.push(origin, "next", Instant::now(), |job| *job != "gone"), None);
        assert_eq!((queue.pop(Instant::now()), queue.pop(Instant::now())), (Some("next"), None));
        assert_eq!(FairQueue::new(0).push(origin, "one", Instant::now(), |_| true), Some("one"));
    }

    fn class() -> impl Strategy<Value = Class> {
        prop_oneof![Just(Class::Known), Just(Class::Stranger), Just(Class::Estimate)]
    }

    proptest! {
        /// However many jobs a flood has waiting, and however many connections they come over, one job of another
        /// network is served after a bounded number of others, and is never shed.
        #[test]
        fn a_flood_delays_another_network_by_a_bounded_number_of_jobs(
            flood in proptest::collection::vec((class(), 0_u8..4, 0_u8..=255), 0..300),
            later in proptest::collection::vec((class(), 0_u8..4, 0_u8..=255), 0..300),
            mine in class(),
        ) {
            let mut queue = FairQueue::new(64);
            let add = |queue: &mut FairQueue<bool>, (class, network, host): (Class, u8, u8)| {
                let address = std::net::Ipv4Addr::new(198, 51, network, host);
                let shed = queue.push(Origin::new(class, address.into()), false, Instant::now(), |_| true);
                assert_ne!(shed, Some(true), "the other network's job was shed");
            };
            for job in flood {
                add(&mut queue, job);
            }
            prop_assert_ne!(queue.push(from(mine, "192.0.2.1"), true, Instant::now(), |_| true), Some(true));
            let mut waited = 0;
            let mut later = later.into_iter();
            while !queue.pop(Instant::now()).expect("it waits") {
                waited += 1;
                for job in later.by_ref().take(2) {
                    add(&mut queue, job);
                }
            }
            // Four networks come before it in its line, and the line has one turn in eight at least.
            prop_assert!(waited <= 5 * 8, "{} jobs came first", waited);
        }

        /// A client's share does not grow with the number of its jobs.
        #[test]
        fn asking_more_often_gains_nothing(count in 1_usize..60) {
            let mut queue = FairQueue::new(256);
            for _ in 0..count {
                push(&mut queue, Class::Stranger, "192.0.2.1", "many");
            }
            for _ in 0..count {
                push(&mut queue, Class::Stranger, "198.51.100.1", "other");
            }
            let first: Vec<_> = (0..count).filter_map(|_| queue.pop(Instant::now())).collect();
            let many = first.iter().filter(|name| *name == "many").count();
            prop_assert!(many <= count.div_ceil(2));
        }

        /// What was added comes out once, or is shed once; memory is bounded by the places.
        #[test]
        fn nothing_is_lost_and_the_places_are_the_bound(
            jobs in proptest::collection::vec((class(), any::<u32>(), any::<bool>()), 0..400)
        ) {
            let mut queue = FairQueue::new(16);
            let mut ended = Vec::new();
            let mut added = 0;
            for (class, address, pops) in jobs {
                ended.extend(queue.push(Origin::new(class, std::net::Ipv4Addr::from_bits(address).into()), added, Instant::now(), |_| true));
                added += 1;
                if pops {
                    ended.extend(queue.pop(Instant::now()));
                }
                prop_assert!(queue.jobs().count() <= 16 + 16 + 4);
            }
            ended.extend(std::iter::from_fn(|| queue.pop(Instant::now())));
            ended.sort_unstable();
            prop_assert_eq!(ended, (0..added).collect::<Vec<_>>());
            prop_assert!(queue.is_empty());
        }
    }
}
