//! The memory of the hashing queue: which origins were served lately, and which clients were shed.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::origin::Origin;

/// How long a service counts against an origin.
const LATELY: Duration = Duration::from_secs(60);

/// The most services that are remembered, and the most shed clients. Under a flood the oldest are forgotten earlier.
const MAX_SERVED: usize = 1_024;
const MAX_SHED: usize = 65_536;

/// How long a client that was shed waits before it asks again, in seconds: the `Retry-After` of `overloaded`.
pub(crate) const RETRY_AFTER_SECS: u64 = 2;

/// How long a client that was shed has to come back.
const KEPT: Duration = Duration::from_secs(30);

/// How often each network and each address occurs.
#[derive(Default)]
pub(super) struct Counts {
    networks: HashMap<u64, usize>,
    addresses: HashMap<u64, usize>,
}

impl Counts {
    pub(super) fn add(&mut self, origin: Origin) {
        *self.networks.entry(origin.network()).or_default() += 1;
        *self.addresses.entry(origin.address()).or_default() += 1;
    }

    fn remove(&mut self, origin: Origin) {
        for (counts, key) in [(&mut self.networks, origin.network()), (&mut self.addresses, origin.address())]
        {
            if let Some(count) = counts.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&key);
                }
            }
        }
    }

    /// Returns how often its network occurs, and how often its address.
    pub(super) fn of(&self, origin: Origin) -> (usize, usize) {
        let count = |counts: &HashMap<u64, usize>, key| counts.get(&key).copied().unwrap_or(0);
        (count(&self.networks, origin.network()), count(&self.addresses, origin.address()))
    }
}

/// The networks that were served in the last minute.
#[derive(Default)]
pub(super) struct Served {
    order: VecDeque<(Instant, Origin)>,
    counts: Counts,
}

impl Served {
    pub(super) fn add(&mut self, origin: Origin, now: Instant) {
        self.order.push_back((now, origin));
        self.counts.add(origin);
        while let Some((at, oldest)) = self.order.front().copied()
            && (self.order.len() > MAX_SERVED || now.saturating_duration_since(at) > LATELY)
        {
            self.order.pop_front();
            self.counts.remove(oldest);
        }
    }

    /// Returns how often the network of `origin` was served, and how often its address.
    pub(super) fn count(&self, origin: Origin) -> (usize, usize) {
        self.counts.of(origin)
    }
}

/// Clients that were shed. One that comes back no earlier than it was told keeps its seniority; one that asks earlier
/// begins anew, so a flood has none.
#[derive(Default)]
pub(super) struct ShedClients {
    clients: HashMap<Origin, ShedClient>,
    order: VecDeque<(Instant, Origin)>,
}

struct ShedClient {
    /// When it asked first.
    since: Instant,
    /// When it was shed.
    at: Instant,
}

impl ShedClients {
    /// Notes that a client, which has waited or come back since `since`, is shed.
    pub(super) fn add(&mut self, origin: Origin, since: Instant, now: Instant) {
        self.clients.insert(origin, ShedClient { since, at: now });
        self.order.push_back((now, origin));
        while let Some((at, oldest)) = self.order.front().copied()
            && (self.order.len() > MAX_SHED || now.saturating_duration_since(at) > KEPT)
        {
            self.order.pop_front();
            // It may have been shed again since.
            if self.clients.get(&oldest).is_some_and(|client| client.at == at) {
                self.clients.remove(&oldest);
            }
        }
    }

    /// Returns the time since which a client that asks now is taken to wait. One that asks too early is forgotten.
    pub(super) fn since(&mut self, origin: Origin, now: Instant) -> Instant {
        let Some(client) = self.clients.get(&origin) else { return now };
        let away = now.saturating_duration_since(client.at);
        if (Duration::from_secs(RETRY_AFTER_SECS)..=KEPT).contains(&away) {
            return client.since;
        }
        self.clients.remove(&origin);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::super::origin::Class;
    use super::*;

    fn from(address: &str) -> Origin {
        Origin::new(Class::Stranger, address.parse().unwrap())
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_service_counts_for_a_minute_by_network_and_address() {
        let (mut served, now) = (Served::default(), Instant::now());
        let (one, neighbour) = (from("192.0.2.1"), from("192.0.2.2"));
        served.add(one, now);
        served.add(neighbour, now + secs(30));
        assert_eq!(served.count(one), (2, 1));
        assert_eq!(served.count(from("198.51.100.1")), (0, 0));
        served.add(neighbour, now + secs(61));
        assert_eq!(served.count(one), (2, 0));
    }

    #[test]
    fn a_client_keeps_its_seniority_only_if_it_comes_back_when_it_was_told_to() {
        let (mut shed, now, client) = (ShedClients::default(), Instant::now(), from("192.0.2.1"));
        let told = secs(RETRY_AFTER_SECS);
        shed.add(client, now, now);
        assert_eq!(shed.since(client, now + told), now);
        shed.add(client, now, now + secs(5));
        assert_eq!(shed.since(client, now + secs(5) + told), now, "however often it is shed");
        shed.add(client, now, now);
        let early = now + told - Duration::from_millis(1);
        assert_eq!(shed.since(client, early), early, "too early");
        assert_eq!(shed.since(client, now + told), now + told, "asking early forfeits it");
        shed.add(client, now, now);
        assert_eq!(shed.since(client, now + secs(31)), now + secs(31), "too late");
        assert_eq!(shed.since(from("192.0.2.2"), now), now, "another address");
    }

    #[test]
    fn a_flood_of_addresses_takes_bounded_memory() {
        let (mut shed, mut served, now) = (ShedClients::default(), Served::default(), Instant::now());
        for number in 0..70_000_u32 {
            let origin = Origin::new(Class::Stranger, std::net::Ipv4Addr::from_bits(number << 8).into());
            shed.add(origin, now, now);
            served.add(origin, now);
        }
        assert_eq!((shed.clients.len(), shed.order.len()), (MAX_SHED, MAX_SHED));
        assert_eq!((served.counts.networks.len(), served.order.len()), (MAX_SERVED, MAX_SERVED));
        shed.add(from("192.0.2.1"), now, now + secs(31));
        served.add(from("192.0.2.1"), now + secs(61));
        assert_eq!((shed.clients.len(), served.counts.networks.len()), (1, 1), "what is old is forgotten");
    }
}
