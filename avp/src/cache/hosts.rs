//! The host cache: ultrapeers to connect to, and to tell others of.
//!
//! Everybody may fill it with lies, so it is bounded, holds few addresses of one network, prefers what has proved
//! itself over what was heard, and never gives what was heard from nobody lately.

mod saved;

use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;

use crate::host::Instant;
use crate::tables::{self, Map};

/// Hosts that are held. Each costs about 100 bytes.
pub const HOSTS_MAX: usize = 2_000;
/// Public addresses of one /24 (IPv4) or /48 (IPv6) that are held.
pub const PER_NETWORK_MAX: u16 = 4;
/// A host that failed so often in a row, without ever having answered, is forgotten.
pub const FAILURES_MAX: u8 = 3;
/// A host that has answered before is forgotten only after so many failures.
pub const FAILURES_PROVEN_MAX: u8 = 8;
/// How long a host rests after its first failure, and after each answer; doubled with each further failure.
pub const REST: Duration = Duration::from_secs(60);
/// A host is recommended to others only if it was heard of in this time.
pub const FRESH: Duration = Duration::from_secs(3_600);
/// When the cache is full, the worst of so many, chosen at random, makes room.
const EVICTION_SAMPLE: usize = 16;

/// What is said of a host when it is heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Average daily uptime, in seconds.
    pub daily_uptime_s: u32,
    /// Free places for ultrapeers; `None` where nobody said.
    pub free_ultrapeer_slots: Option<u8>,
    /// Free places for leaves; `None` where nobody said.
    pub free_leaf_slots: Option<u8>,
}

/// One host.
#[derive(Clone, Copy, Debug)]
struct Known {
    address: SocketAddr,
    report: Report,
    seen_at: Instant,
    /// Not to be dialled before.
    rests_until: Instant,
    failures: u8,
    /// A relation with it has lasted.
    proven: bool,
}

/// The hosts that are known.
#[derive(Debug)]
pub struct HostCache {
    /// In no order.
    hosts: Vec<Known>,
    /// Where each address is in `hosts`.
    index: Map<SocketAddr, u32>,
    networks: Map<IpAddr, u16>,
    allow_private: bool,
}

impl HostCache {
    /// An empty cache. With `allow_private`, addresses that the public Internet does not route are held as well, and
    /// as many of one network as there are.
    #[must_use]
    pub fn new(allow_private: bool, rng: &mut ChaCha12Rng) -> Self {
        let index = Map::with_hasher(tables::hasher(rng));
        let networks = Map::with_hasher(tables::hasher(rng));
        Self { hosts: Vec::new(), index, networks, allow_private }
    }

    /// How many hosts are known, at most [`HOSTS_MAX`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether no host is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Somebody says that there is an ultrapeer at `address`. Whether it was taken.
    pub fn heard(
        &mut self,
        now: Instant,
        address: SocketAddr,
        report: Report,
        rng: &mut ChaCha12Rng,
    ) -> bool {
        if let Some(known) = self.get_mut(address) {
            known.seen_at = known.seen_at.max(now);
            known.report = Report {
                daily_uptime_s: report.daily_uptime_s.max(known.report.daily_uptime_s),
                free_ultrapeer_slots: report.free_ultrapeer_slots.or(known.report.free_ultrapeer_slots),
                free_leaf_slots: report.free_leaf_slots.or(known.report.free_leaf_slots),
            };
            return true;
        }
        self.insert(
            Known { address, report, seen_at: now, rests_until: now, failures: 0, proven: false },
            rng,
        )
    }

    /// A relation with this ultrapeer lasts, whoever dialled.
    pub fn connected(&mut self, now: Instant, address: SocketAddr, rng: &mut ChaCha12Rng) {
        if self.heard(now, address, Report::default(), rng)
            && let Some(known) = self.get_mut(address)
        {
            (known.proven, known.failures) = (true, 0);
            known.rests_until = now + REST;
        }
    }

    /// It answered, but has no room: it lives, and is left alone for a while.
    pub fn refused(&mut self, now: Instant, address: SocketAddr) {
        if let Some(known) = self.get_mut(address) {
            known.seen_at = known.seen_at.max(now);
            known.report.free_ultrapeer_slots = Some(0);
            known.failures = known.failures.saturating_add(1).min(FAILURES_MAX - 1);
            known.rests_until = now + rest(known.failures);
        }
    }

    /// It could not be reached, or spoke no Gnutella.
    pub fn failed(&mut self, now: Instant, address: SocketAddr) {
        let Some(known) = self.get_mut(address) else { return };
        known.failures = known.failures.saturating_add(1);
        known.rests_until = now + rest(known.failures);
        if known.failures >= if known.proven { FAILURES_PROVEN_MAX } else { FAILURES_MAX } {
            self.remove(address);
        }
    }

    /// Appends up to `n` hosts to dial now, the most promising first, with chance among equals. They rest for a while,
    /// so that none is given twice.
    pub fn candidates(
        &mut self,
        now: Instant,
        n: usize,
        skip: impl Fn(SocketAddr) -> bool,
        rng: &mut ChaCha12Rng,
        into: &mut Vec<SocketAddr>,
    ) {
        let mut ready: BinaryHeap<(u64, usize)> = (0..self.hosts.len())
            .filter(|i| self.hosts[*i].rests_until <= now && !skip(self.hosts[*i].address))
            .map(|i| (self.hosts[i].promise(now) << 32 | u64::from(rng.next_u32()), i))
            .collect();
        for (_, i) in std::iter::from_fn(|| ready.pop()).take(n) {
            self.hosts[i].rests_until = now + REST;
            into.push(self.hosts[i].address);
        }
    }

    /// Appends up to `n` hosts to tell others of: heard of lately, not known to fail, in random order; with the time
    /// since they were heard of.
    pub fn recommend(
        &self,
        now: Instant,
        n: usize,
        rng: &mut ChaCha12Rng,
        into: &mut Vec<(SocketAddr, Duration)>,
    ) {
        if self.hosts.is_empty() {
            return;
        }
        let (mut taken, start) = (0, rng.next_u64() as usize % self.hosts.len());
        for i in 0..self.hosts.len() {
            let known = &self.hosts[(start + i) % self.hosts.len()];
            let age = now.since(known.seen_at);
            if taken < n && known.failures == 0 && age <= FRESH {
                into.push((known.address, age));
                taken += 1;
            }
        }
    }

    /// Whether an address may be dialled and told to others at all.
    #[must_use]
    pub fn is_usable(&self, address: SocketAddr) -> bool {
        is_host(address) && (self.allow_private || is_public(address.ip()))
    }

    fn insert(&mut self, known: Known, rng: &mut ChaCha12Rng) -> bool {
        if !self.is_usable(known.address) {
            return false;
        }
        let network = network(known.address.ip());
        if let Some(network) = network
            && self.networks.get(&network).is_some_and(|n| *n >= PER_NETWORK_MAX)
        {
            return false;
        }
        if self.hosts.len() >= HOSTS_MAX && !self.evict(&known, rng) {
            return false;
        }
        if let Some(network) = network {
            *self.networks.entry(network).or_insert(0) += 1;
        }
        self.index.insert(known.address, self.hosts.len() as u32);
        self.hosts.push(known);
        true
    }

    /// Makes room for a newcomer, if there is a host that is worth less.
    fn evict(&mut self, newcomer: &Known, rng: &mut ChaCha12Rng) -> bool {
        let now = newcomer.seen_at;
        let worst = (0..EVICTION_SAMPLE)
            .map(|_| &self.hosts[rng.next_u64() as usize % self.hosts.len()])
            .min_by_key(|k| (k.promise(now), k.seen_at));
        let Some(worst) = worst else { return false };
        if (worst.promise(now), worst.seen_at) > (newcomer.promise(now), newcomer.seen_at) {
            return false;
        }
        let address = worst.address;
        self.remove(address);
        true
    }

    fn remove(&mut self, address: SocketAddr) {
        let Some(i) = self.index.remove(&address) else { return };
        self.hosts.swap_remove(i as usize);
        if let Some(moved) = self.hosts.get(i as usize) {
            self.index.insert(moved.address, i);
        }
        if let Some(network) = network(address.ip())
            && let Some(n) = self.networks.get_mut(&network)
        {
            *n -= 1;
            if *n == 0 {
                self.networks.remove(&network);
            }
        }
    }

    fn get_mut(&mut self, address: SocketAddr) -> Option<&mut Known> {
        let i = *self.index.get(&address)?;
        self.hosts.get_mut(i as usize)
    }
}

impl Known {
    /// How much is to be hoped from it; higher is better.
    fn promise(&self, now: Instant) -> u64 {
        let fresh = now.since(self.seen_at) <= FRESH;
        let slots = match self.report.free_ultrapeer_slots {
            Some(0) => 0,
            None => 1,
            Some(_) => 2,
        };
        let uptime = match self.report.daily_uptime_s {
            0..3_600 => 0,
            3_600..43_200 => 1,
            _ => 2,
        };
        let failures = u64::from(FAILURES_PROVEN_MAX.saturating_sub(self.failures));
        failures * 3 + u64::from(self.proven) * 6 + u64::from(fresh) * 4 + slots * 2 + uptime
    }
}

/// How long a host rests after so many failures in a row.
fn rest(failures: u8) -> Duration {
    REST * (1 << failures.saturating_sub(1).min(6))
}

/// Whether an address names one host and a port.
fn is_host(address: SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast() || v4.octets()[0] == 0);
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// Whether the public Internet routes an address (IANA's special-purpose registries, RFC 6890).
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || v4.is_unspecified()
                || a == 0
                || a >= 224
                || (a == 100 && b & 0xc0 == 64)
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && b & 0xfe == 18))
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            // Global unicast is 2000::/3; of it, documentation is not routed.
            a & 0xe000 == 0x2000 && !(a == 0x2001 && b == 0x0db8)
        }
    }
}

/// The network whose share is limited: /24 or /48. None for addresses that are not public, which are held only where
/// the operator trusts the network they are in.
fn network(ip: IpAddr) -> Option<IpAddr> {
    if !is_public(ip) {
        return None;
    }
    Some(match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            IpAddr::from([a, b, c, 0, 0, 0, 0, 0])
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::state::{Reader, Writer};
    use std::collections::BTreeMap;

    const fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    fn cache(allow_private: bool) -> (HostCache, ChaCha12Rng) {
        let mut rng = ChaCha12Rng::seed_from_u64(7);
        (HostCache::new(allow_private, &mut rng), rng)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn candidates(hosts: &mut HostCache, now: Instant, n: usize, rng: &mut ChaCha12Rng) -> Vec<SocketAddr> {
        let mut found = Vec::new();
        hosts.candidates(now, n, |_| false, rng, &mut found);
        found
    }

    /// When the first host may be dialled again.
    fn next_at(hosts: &HostCache) -> Option<Instant> {
        hosts.hosts.iter().map(|k| k.rests_until).min()
    }

    #[test]
    fn one_network_gets_a_few_places_and_no_more() {
        let (mut hosts, mut rng) = cache(false);
        let taken = (1..=50)
            .filter(|i| hosts.heard(at(1), address(&format!("9.9.9.{i}:6346")), Report::default(), &mut rng))
            .count();
        assert_eq!(taken, usize::from(PER_NETWORK_MAX));
        assert!(hosts.heard(at(1), address("9.9.10.1:6346"), Report::default(), &mut rng));
        let taken = (1..=50)
            .filter(|i| {
                hosts.heard(at(1), address(&format!("[2a00:1:2:{i}::1]:1")), Report::default(), &mut rng)
            })
            .count();
        assert_eq!(taken, usize::from(PER_NETWORK_MAX));
    }

    #[test]
    fn addresses_that_nobody_routes_are_taken_only_where_the_operator_says_so() {
        let private = ["127.0.0.1:1", "10.1.2.3:1", "100.64.77.1:6346", "[fd00::1]:5", "192.168.1.1:9"];
        let never = ["0.0.0.0:6346", "9.9.9.9:0", "224.0.0.1:6346", "255.255.255.255:1", "[ff02::1]:1"];
        for allow in [false, true] {
            let (mut hosts, mut rng) = cache(allow);
            for text in private {
                assert_eq!(hosts.heard(at(1), address(text), Report::default(), &mut rng), allow, "{text}");
            }
            for text in never {
                assert!(!hosts.heard(at(1), address(text), Report::default(), &mut rng), "{text}");
            }
        }
        let (mut hosts, mut rng) = cache(true);
        for port in 1..=100 {
            assert!(hosts.heard(
                at(1),
                SocketAddr::from(([127, 0, 0, 1], port)),
                Report::default(),
                &mut rng
            ));
        }
    }

    #[test]
    fn the_promising_are_dialled_first_and_nobody_twice() {
        let (mut hosts, mut rng) = cache(false);
        let (plain, roomy, proven) = (address("9.0.0.1:1"), address("9.0.1.1:1"), address("9.0.2.1:1"));
        hosts.heard(at(1), plain, Report::default(), &mut rng);
        hosts.heard(at(1), roomy, Report { free_ultrapeer_slots: Some(3), ..Report::default() }, &mut rng);
        hosts.connected(at(1), proven, &mut rng);
        let later = at(1) + REST;
        assert_eq!(candidates(&mut hosts, later, 2, &mut rng), [proven, roomy]);
        assert_eq!(candidates(&mut hosts, later, 2, &mut rng), [plain]);
        assert_eq!(candidates(&mut hosts, later, 2, &mut rng), []);
        assert_eq!(next_at(&hosts), Some(later + REST));
        assert_eq!(candidates(&mut hosts, later + REST, 9, &mut rng).len(), 3);
    }

    #[test]
    fn failures_rest_longer_each_time_until_the_host_is_forgotten() {
        let (mut hosts, mut rng) = cache(false);
        let host = address("9.0.0.1:1");
        hosts.connected(at(0), host, &mut rng);
        let mut rests = Vec::new();
        let mut now = at(0);
        while !hosts.is_empty() {
            now = next_at(&hosts).unwrap();
            assert_eq!(candidates(&mut hosts, now, 1, &mut rng), [host]);
            hosts.failed(now, host);
            rests.extend(next_at(&hosts).map(|t| t.since(now).as_secs()));
        }
        assert_eq!(rests, [60, 120, 240, 480, 960, 1920, 3840]);
        hosts.heard(now, host, Report::default(), &mut rng);
        for _ in 0..FAILURES_MAX {
            hosts.failed(now, host);
        }
        assert!(hosts.is_empty());
    }

    #[test]
    fn a_full_house_is_not_forgotten_however_often_it_says_so() {
        let (mut hosts, mut rng) = cache(false);
        let host = address("9.0.0.1:1");
        hosts.heard(at(0), host, Report::default(), &mut rng);
        for i in 0..20 {
            hosts.refused(at(i), host);
        }
        assert_eq!(hosts.len(), 1);
    }

    #[test]
    fn what_was_heard_does_not_displace_what_has_proved_itself() {
        let (mut hosts, mut rng) = cache(false);
        let mut proven = Vec::new();
        for i in 0..HOSTS_MAX / 2 {
            let host = SocketAddr::from(([20, (i >> 8) as u8, i as u8, 1], 6346));
            hosts.connected(at(1), host, &mut rng);
            proven.push(host);
        }
        for i in 0..40_000 {
            let host = SocketAddr::from(([30 + (i >> 16) as u8, (i >> 8) as u8, i as u8, 1], 6346));
            hosts.heard(at(2), host, Report { free_ultrapeer_slots: Some(9), ..Report::default() }, &mut rng);
        }
        assert_eq!(hosts.len(), HOSTS_MAX);
        let left = proven.iter().filter(|h| hosts.index.contains_key(*h)).count();
        assert!(left * 10 > proven.len() * 9, "{left}");
    }

    #[test]
    fn only_the_fresh_and_sound_are_recommended() {
        let (mut hosts, mut rng) = cache(false);
        let (old, bad, good) = (address("9.0.0.1:1"), address("9.0.1.1:1"), address("9.0.2.1:1"));
        hosts.heard(at(0), old, Report::default(), &mut rng);
        hosts.heard(at(5_000), bad, Report::default(), &mut rng);
        hosts.failed(at(5_000), bad);
        hosts.heard(at(5_000), good, Report::default(), &mut rng);
        let mut told = Vec::new();
        hosts.recommend(at(5_010), 10, &mut rng, &mut told);
        assert_eq!(told, [(good, Duration::from_secs(10))]);
    }

    fn addresses() -> impl Strategy<Value = SocketAddr> {
        // Few addresses, so that they meet again.
        (prop::sample::select(vec![9u8, 10, 127, 100]), 0u8..3, 0u8..3, 0u8..8, 0u16..3)
            .prop_map(|(a, b, c, d, port)| SocketAddr::from(([a, b, c, d], port)))
    }

    proptest! {
        #[test]
        fn bounds_hold_and_the_saved_cache_comes_back(
            allow_private: bool,
            steps in prop::collection::vec((0u8..5, addresses()), 0..300),
        ) {
            let (mut hosts, mut rng) = cache(allow_private);
            for (i, (step, address)) in steps.into_iter().enumerate() {
                let now = at(i as u64 * 20);
                match step {
                    0 | 1 => { hosts.heard(now, address, Report::default(), &mut rng); }
                    2 => hosts.connected(now, address, &mut rng),
                    3 => hosts.failed(now, address),
                    _ => { candidates(&mut hosts, now, 2, &mut rng); }
                }
                prop_assert_eq!(hosts.index.len(), hosts.hosts.len());
                let mut networks: Vec<IpAddr> = hosts.hosts.iter().filter_map(|k| network(k.address.ip())).collect();
                networks.sort_unstable();
                for same in networks.chunk_by(|a, b| a == b) {
                    prop_assert!(same.len() <= usize::from(PER_NETWORK_MAX));
                    prop_assert_eq!(usize::from(hosts.networks[&same[0]]), same.len());
                }
                for (i, known) in hosts.hosts.iter().enumerate() {
                    prop_assert!(hosts.is_usable(known.address));
                    prop_assert_eq!(hosts.index[&known.address], i as u32);
                }
            }
            let mut saved = Writer::default();
            hosts.save(&mut saved);
            let saved = saved.finish();
            let (mut again, _) = cache(allow_private);
            prop_assert_eq!(again.load(&mut Reader::new(&saved)), Ok(()));
            prop_assert_eq!(format!("{:?}", again.hosts), format!("{:?}", hosts.hosts));
            let networks = |hosts: &HostCache| hosts.networks.iter().map(|(k, n)| (*k, *n)).collect::<BTreeMap<_, _>>();
            prop_assert_eq!(networks(&again), networks(&hosts));
            prop_assert_eq!(again.index, hosts.index);
        }
    }
}
