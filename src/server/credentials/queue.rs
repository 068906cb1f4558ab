//! Who is hashed next, and who is shed: one decision about who waits and who asks.
//!
//! There are three lines. An address that has signed in to the account before waits in the first, everybody else in the
//! second, and what is judged and not hashed in the third; each has its own places, which the others cannot take. In a
//! line, networks take turns, and in a network its addresses: a client gains nothing by asking more often or over more
//! connections. Where a line is full, the newest of whoever has most waiting is shed.

use std::collections::VecDeque;
use std::net::IpAddr;

/// The line to wait in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Its address has signed in to the account before.
    Known,
    /// Anybody else.
    Stranger,
    /// A password to judge.
    Estimate,
}

/// Who asks for a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    class: Class,
    network: u64,
    address: u64,
}

impl Origin {
    /// Returns the origin of a request from `address`. IPv6 addresses of a /64 are one, since one subscriber has at
    /// least that (RFC 6177); their network is the /48, that of an IPv4 address the /24.
    pub(crate) fn new(class: Class, address: IpAddr) -> Self {
        let (network, address) = match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = u64::from(address.to_bits());
                (bits >> 8, bits)
            }
            IpAddr::V6(address) => {
                let bits = (address.to_bits() >> 64) as u64;
                // No IPv4 network has so high a number.
                (bits >> 16 | 1 << 63, bits)
            }
        };
        Self { class, network, address }
    }

    /// The command line, or a test.
    pub const LOCAL: Self = Self { class: Class::Known, network: 0, address: 0 };

    /// The same client in another line.
    pub(crate) fn in_class(self, class: Class) -> Self {
        Self { class, ..self }
    }
}

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
    served: usize,
}

struct Line<T> {
    limit: usize,
    /// The networks with jobs, the next to be served in front.
    networks: VecDeque<Network<T>>,
}

struct Network<T> {
    key: u64,
    /// Its addresses with jobs, the next to be served in front.
    addresses: VecDeque<(u64, VecDeque<T>)>,
}

impl<T> FairQueue<T> {
    /// Returns a queue with `limit` places for known addresses, as many for strangers, and a quarter for estimates.
    pub(super) fn new(limit: usize) -> Self {
        let line = |limit| Line { limit, networks: VecDeque::new() };
        Self { known: line(limit), strangers: line(limit), estimates: line(limit.div_ceil(4)), served: 0 }
    }

    /// Adds a job. Where the line is full, returns the job that is shed for it, which may be the same.
    pub(super) fn push(&mut self, origin: Origin, job: T, is_alive: impl Fn(&T) -> bool) -> Option<T> {
        let line = self.line(origin.class);
        if line.len() >= line.limit {
            // Jobs whose client went away do not count.
            line.retain(is_alive);
        }
        line.push(origin, job);
        if line.len() > line.limit { line.shed() } else { None }
    }

    /// Takes the next job.
    pub(super) fn pop(&mut self) -> Option<T> {
        let first = TURNS[self.served % TURNS.len()];
        let mut classes = [first, Class::Known, Class::Stranger, Class::Estimate].into_iter();
        let job = classes.find_map(|class| self.line(class).pop())?;
        self.served = self.served.wrapping_add(1);
        Some(job)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs().next().is_none()
    }

    /// Returns every job, in no order.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &T> {
        let lines = [&self.known, &self.strangers, &self.estimates].into_iter();
        lines
            .flat_map(|line| &line.networks)
            .flat_map(|network| &network.addresses)
            .flat_map(|(_, jobs)| jobs)
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
    fn len(&self) -> usize {
        self.networks.iter().map(Network::len).sum()
    }

    fn push(&mut self, origin: Origin, job: T) {
        let place = self.networks.iter().position(|network| network.key == origin.network);
        let place = place.unwrap_or_else(|| {
            self.networks.push_back(Network { key: origin.network, addresses: VecDeque::new() });
            self.networks.len() - 1
        });
        let addresses = &mut self.networks[place].addresses;
        let place = addresses.iter().position(|(key, _)| *key == origin.address);
        let place = place.unwrap_or_else(|| {
            addresses.push_back((origin.address, VecDeque::new()));
            addresses.len() - 1
        });
        addresses[place].1.push_back(job);
    }

    fn pop(&mut self) -> Option<T> {
        let mut network = self.networks.pop_front()?;
        let (address, mut jobs) = network.addresses.pop_front()?;
        let job = jobs.pop_front();
        if !jobs.is_empty() {
            network.addresses.push_back((address, jobs));
        }
        if !network.addresses.is_empty() {
            self.networks.push_back(network);
        }
        job
    }

    /// Takes the newest job of the address with most, of the network with most; of several such, the last to be served.
    fn shed(&mut self) -> Option<T> {
        let network = self.networks.iter_mut().max_by_key(|network| network.len())?;
        let (_, jobs) = network.addresses.iter_mut().max_by_key(|(_, jobs)| jobs.len())?;
        let job = jobs.pop_back();
        self.drop_empty();
        job
    }

    fn retain(&mut self, is_alive: impl Fn(&T) -> bool) {
        for network in &mut self.networks {
            for (_, jobs) in &mut network.addresses {
                jobs.retain(&is_alive);
            }
        }
        self.drop_empty();
    }

    fn drop_empty(&mut self) {
        for network in &mut self.networks {
            network.addresses.retain(|(_, jobs)| !jobs.is_empty());
        }
        self.networks.retain(|network| !network.addresses.is_empty());
    }
}

impl<T> Network<T> {
    fn len(&self) -> usize {
        self.addresses.iter().map(|(_, jobs)| jobs.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from(class: Class, address: &str) -> Origin {
        Origin::new(class, address.parse().unwrap())
    }

    /// Adds a job that is named after its origin, and returns the one that is shed.
    fn push(queue: &mut FairQueue<String>, class: Class, address: &str, name: &str) -> Option<String> {
        queue.push(from(class, address), name.to_owned(), |_| true)
    }

    fn names(queue: &mut FairQueue<String>) -> String {
        std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>().join(" ")
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
        assert_eq!(names(&mut queue), "a1 c1 d1 b1 c2 e1 a2 d2 a3");
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
    fn the_newest_of_whoever_has_most_waiting_is_shed() {
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
    fn jobs_whose_client_went_away_make_room_and_no_place_means_none() {
        let mut queue = FairQueue::new(1);
        let origin = from(Class::Stranger, "192.0.2.1");
        assert_eq!(queue.push(origin, "gone", |_| true), None);
        assert_eq!(queue.push(origin, "next", |job| *job != "gone"), None);
        assert_eq!((queue.pop(), queue.pop()), (Some("next"), None));
        assert_eq!(FairQueue::new(0).push(origin, "one", |_| true), Some("one"));
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
                let shed = queue.push(Origin::new(class, address.into()), false, |_| true);
                assert_ne!(shed, Some(true), "the other network's job was shed");
            };
            for job in flood {
                add(&mut queue, job);
            }
            prop_assert_ne!(queue.push(from(mine, "192.0.2.1"), true, |_| true), Some(true));
            let mut waited = 0;
            let mut later = later.into_iter();
            while !queue.pop().expect("it waits") {
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
            let first: Vec<_> = (0..count).filter_map(|_| queue.pop()).collect();
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
                ended.extend(queue.push(Origin::new(class, std::net::Ipv4Addr::from_bits(address).into()), added, |_| true));
                added += 1;
                if pops {
                    ended.extend(queue.pop());
                }
                prop_assert!(queue.jobs().count() <= 16 + 16 + 4);
            }
            ended.extend(std::iter::from_fn(|| queue.pop()));
            ended.sort_unstable();
            prop_assert_eq!(ended, (0..added).collect::<Vec<_>>());
            prop_assert!(queue.is_empty());
        }
    }
}
