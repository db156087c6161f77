//! A network of nodes under virtual time: messages take an exponentially distributed time, nodes come and go.

#![allow(clippy::disallowed_methods, reason = "a test's own chance and statistics")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use topology::dht::{Action, Config, Dht, LookupId, Outcome, Stats};
use topology::{Contact, Instant, NodeId};

/// Mean time that a message is under way, one way.
pub(crate) const HOP_MEAN: Duration = Duration::from_millis(50);

/// The run's dice.
pub(crate) struct Dice(ChaCha12Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn exponential(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.unit()).ln())
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n.max(1) as u64) as usize
    }

    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}

enum Event {
    Deliver { to: Contact, from: Contact, bytes: Vec<u8> },
    WrongIdentity { to: usize, claimed: Contact },
    Wake(usize),
}

/// What answers at a node's place instead of a [`Dht`].
pub(crate) type Stranger = fn(me: Contact, from: Contact, bytes: &[u8]) -> Option<Vec<u8>>;

enum Seat {
    /// Created when the first message comes, with a table as a long-lived node would have it.
    Ready,
    Up(Box<Dht>),
    Stranger(Stranger),
    Gone,
}

/// All nodes, and the messages between them.
pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) dice: Dice,
    pub(crate) config: Config,
    pub(crate) done: BTreeMap<(usize, LookupId), (Outcome, Instant)>,
    pub(crate) banned: Vec<(usize, NodeId)>,
    contacts: Vec<Contact>,
    seats: Vec<Seat>,
    wakes: Vec<Option<Instant>>,
    /// Ids of ready nodes, sorted, with their seats.
    ready: Vec<(NodeId, usize)>,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    events: BTreeMap<u64, Event>,
    serial: u64,
    pub(crate) departed: Stats,
}

impl Net {
    pub(crate) fn new(seed: u64, config: Config) -> Self {
        Self {
            now: Instant(0),
            dice: Dice::new(seed),
            config,
            done: BTreeMap::new(),
            banned: Vec::new(),
            contacts: Vec::new(),
            seats: Vec::new(),
            wakes: Vec::new(),
            ready: Vec::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            serial: 0,
            departed: Stats::default(),
        }
    }

    fn seat(&mut self, seat: Seat) -> usize {
        let index = self.seats.len();
        let key = self.dice.bytes();
        let addr = SocketAddr::from((Ipv6Addr::from(0xfd00 << 112 | index as u128), 6340));
        self.contacts.push(Contact { id: NodeId::of_public_key(&key), addr });
        self.seats.push(seat);
        self.wakes.push(None);
        index
    }

    fn index(contact: Contact) -> usize {
        match contact.addr {
            SocketAddr::V6(a) => (u128::from(*a.ip()) & 0xffff_ffff) as usize,
            SocketAddr::V4(_) => usize::MAX,
        }
    }

    pub(crate) fn contact(&self, node: usize) -> Contact {
        self.contacts[node]
    }

    pub(crate) fn get(&self, node: usize) -> &Dht {
        match &self.seats[node] {
            Seat::Up(dht) => dht,
            _ => panic!("node {node} is not up"),
        }
    }

    pub(crate) fn is_up(&self, node: usize) -> bool {
        matches!(self.seats[node], Seat::Up(_))
    }

    pub(crate) fn up(&self) -> Vec<usize> {
        (0..self.seats.len()).filter(|&i| self.is_up(i)).collect()
    }

    /// A new node that joins through some that are up.
    pub(crate) fn join(&mut self, seeds: &[usize]) -> usize {
        let node = self.seat(Seat::Gone);
        let dht = Dht::new(self.config.clone(), self.contacts[node], self.dice.bytes(), self.now);
        self.seats[node] = Seat::Up(Box::new(dht.expect("within bounds")));
        let seeds: Vec<Contact> = seeds.iter().map(|&s| self.contacts[s]).collect();
        self.with(node, |dht, now| dht.join(now, &seeds));
        node
    }

    /// A place where something else than our code answers.
    pub(crate) fn stranger(&mut self, stranger: Stranger) -> usize {
        self.seat(Seat::Stranger(stranger))
    }

    /// So many nodes that have been up for long; each takes memory only once a message comes to it.
    pub(crate) fn long_lived(&mut self, count: usize) {
        self.ready = (0..count)
            .map(|_| {
                let node = self.seat(Seat::Ready);
                (self.contacts[node].id, node)
            })
            .collect();
        self.ready.sort_unstable();
    }

    /// Makes a ready node: each bucket holds a random choice of the nodes that belong into it.
    fn wake_up(&mut self, node: usize) {
        let me = self.contacts[node];
        let mut dht = Dht::new(self.config.clone(), me, self.dice.bytes(), self.now).expect("within bounds");
        let (mut low, mut high) = (0, self.ready.len());
        for bit in 0.. {
            if high - low <= 1 {
                break;
            }
            let middle = low + self.ready[low..high].partition_point(|(id, _)| is_zero(id, bit));
            let (own, other) = if is_zero(&me.id, bit) {
                ((low, middle), (middle, high))
            } else {
                ((middle, high), (low, middle))
            };
            let (from, len) = (other.0, other.1 - other.0);
            for i in 0..self.config.k.min(len) {
                let at = if len <= self.config.k { from + i } else { from + self.dice.below(len) };
                dht.handle_connected(self.now, self.contacts[self.ready[at].1], None);
            }
            (low, high) = own;
        }
        self.seats[node] = Seat::Up(Box::new(dht));
    }

    /// Ends a node without a word to anybody.
    pub(crate) fn kill(&mut self, node: usize) {
        if let Seat::Up(dht) = std::mem::replace(&mut self.seats[node], Seat::Gone) {
            add(&mut self.departed, &dht.stats());
        }
    }

    /// Totals over all nodes, those that have left included.
    pub(crate) fn totals(&self) -> Stats {
        let mut totals = self.departed;
        for node in self.up() {
            add(&mut totals, &self.get(node).stats());
        }
        totals
    }

    /// Does something with a node and carries out what it asks for.
    pub(crate) fn with<T>(&mut self, node: usize, f: impl FnOnce(&mut Dht, Instant) -> T) -> T {
        if matches!(self.seats[node], Seat::Ready) {
            self.wake_up(node);
        }
        let now = self.now;
        let Seat::Up(dht) = &mut self.seats[node] else { panic!("node {node} is not up") };
        let out = f(dht, now);
        let mut sends = Vec::new();
        while let Some(action) = dht.poll_action() {
            match action {
                Action::Send { to, bytes } => sends.push((to, bytes)),
                Action::Done { lookup, outcome } => {
                    self.done.insert((node, lookup), (outcome, now));
                }
                Action::Banned { peer, .. } => self.banned.push((node, peer)),
            }
        }
        let timeout = dht.poll_timeout();
        for (to, bytes) in sends {
            self.post(self.contacts[node], to, bytes);
        }
        if let Some(at) = timeout
            && self.wakes[node].is_none_or(|planned| at < planned)
        {
            self.wakes[node] = Some(at);
            self.push(at, Event::Wake(node));
        }
        out
    }

    /// Puts a message on its way.
    pub(crate) fn post(&mut self, from: Contact, to: Contact, bytes: Vec<u8>) {
        let at = self.now + self.dice.exponential(HOP_MEAN);
        self.push(at, Event::Deliver { to, from, bytes });
    }

    fn push(&mut self, at: Instant, event: Event) {
        self.serial += 1;
        self.queue.push(Reverse((at, self.serial)));
        self.events.insert(self.serial, event);
    }

    /// Lets the time pass until then.
    pub(crate) fn run_until(&mut self, end: Instant) {
        while self.queue.peek().is_some_and(|Reverse((at, _))| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Runs until a lookup is over, and says how long that took.
    pub(crate) fn finish(&mut self, node: usize, lookup: LookupId) -> (Outcome, Duration) {
        let started = self.now;
        loop {
            if let Some((outcome, at)) = self.done.remove(&(node, lookup)) {
                return (outcome, at.since(started));
            }
            assert!(self.step(), "the lookup never ends");
        }
    }

    fn step(&mut self) -> bool {
        let Some(Reverse((at, serial))) = self.queue.pop() else { return false };
        self.now = at;
        match self.events.remove(&serial) {
            Some(Event::Deliver { to, from, bytes }) => self.deliver(to, from, &bytes),
            Some(Event::WrongIdentity { to, claimed }) if self.is_up(to) => {
                self.with(to, |dht, now| dht.handle_wrong_identity(now, claimed));
            }
            Some(Event::Wake(node)) if self.is_up(node) && self.wakes[node] == Some(at) => {
                self.wakes[node] = None;
                self.with(node, |dht, now| dht.handle_timeout(now));
            }
            _ => {}
        }
        true
    }

    fn deliver(&mut self, to: Contact, from: Contact, bytes: &[u8]) {
        let node = Self::index(to);
        let Some(there) = self.contacts.get(node).copied() else { return };
        if there.id != to.id {
            let at = self.now + self.dice.exponential(HOP_MEAN);
            return self.push(at, Event::WrongIdentity { to: Self::index(from), claimed: to });
        }
        match self.seats[node] {
            Seat::Gone => {}
            Seat::Stranger(answer) => {
                if let Some(bytes) = answer(there, from, bytes) {
                    self.post(there, from, bytes);
                }
            }
            Seat::Ready | Seat::Up(_) => self.with(node, |dht, now| dht.handle_message(now, from, bytes)),
        }
    }
}

fn is_zero(id: &NodeId, bit: usize) -> bool {
    id.as_bytes()[bit / 8] >> (7 - bit % 8) & 1 == 0
}

fn add(to: &mut Stats, other: &Stats) {
    to.sent_frames += other.sent_frames;
    to.sent_bytes += other.sent_bytes;
    to.received_frames += other.received_frames;
    to.received_bytes += other.received_bytes;
    to.unanswered += other.unanswered;
    to.unknown_kinds += other.unknown_kinds;
    to.records_refused += other.records_refused;
    to.refused.bans += other.refused.bans;
    to.refused.from_banned += other.refused.from_banned;
    for (sum, n) in to.refused.offences.iter_mut().zip(other.refused.offences) {
        *sum += n;
    }
}

/// A network of so many nodes that joined one after the other within a minute, and then settled for another.
pub(crate) fn joined(seed: u64, count: usize) -> Net {
    let mut net = Net::new(seed, Config::default());
    let gap = Duration::from_secs(60) / count as u32;
    for _ in 0..count {
        let up = net.seats.len();
        let seeds: Vec<usize> = (0..3.min(up)).map(|_| net.dice.below(up)).collect();
        net.join(&seeds);
        net.run_for(gap);
    }
    net.run_for(Duration::from_secs(60));
    net
}

/// Nodes that come at random and stay for an exponentially distributed time, so that their number holds.
pub(crate) struct Churn {
    mean_online: Duration,
    size: usize,
    leaves: BinaryHeap<Reverse<(Instant, usize)>>,
    next_arrival: Instant,
}

impl Churn {
    pub(crate) fn over(net: &mut Net, mean_online: Duration) -> Self {
        let up = net.up();
        let now = net.now;
        let leaves = up.iter().map(|&n| Reverse((now + net.dice.exponential(mean_online), n))).collect();
        Self { mean_online, size: up.len(), leaves, next_arrival: now }
    }

    pub(crate) fn run_for(&mut self, net: &mut Net, time: Duration) {
        let end = net.now + time;
        loop {
            let leaving = self.leaves.peek().map_or(end, |Reverse((at, _))| *at);
            let at = leaving.min(self.next_arrival);
            if at >= end {
                net.run_until(end);
                return;
            }
            net.run_until(at);
            if at == leaving {
                let Some(Reverse((_, node))) = self.leaves.pop() else { continue };
                net.kill(node);
            } else {
                let up = net.up();
                let seeds: Vec<usize> = (0..3).map(|_| up[net.dice.below(up.len())]).collect();
                let node = net.join(&seeds);
                self.leaves.push(Reverse((at + net.dice.exponential(self.mean_online), node)));
                let gap = net.dice.exponential(self.mean_online / self.size as u32);
                self.next_arrival = at + gap;
            }
        }
    }
}

/// How many of the five nodes that are nearest to a node in truth it has as its five nearest, on the average of all
/// nodes that have been up for a while (the last ones to come are left out: they are still joining).
pub(crate) fn neighbours_known(net: &Net, settled: usize) -> f64 {
    let up = net.up();
    let asked: Vec<usize> = up.iter().copied().filter(|&n| n < settled).collect();
    let known: usize = asked
        .iter()
        .map(|&node| {
            let me = net.contact(node).id;
            let mut others: Vec<NodeId> =
                up.iter().filter(|&&o| o != node).map(|&o| net.contact(o).id).collect();
            others.sort_unstable_by_key(|id| id.distance(me));
            let believed = net.get(node).neighbours(5);
            others.iter().take(5).filter(|id| believed.iter().any(|c| c.id == **id)).count()
        })
        .sum();
    known as f64 / asked.len().max(1) as f64
}

/// A mean and its 95% confidence interval, from Student's distribution.
pub(crate) fn interval(samples: &[f64], unit: &str) -> String {
    const T: [f64; 9] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    if samples.len() < 2 {
        return format!("{mean:.2} {unit}");
    }
    let variance = samples.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let t = T.get(samples.len() - 2).copied().unwrap_or(2.228);
    format!("{mean:.2} {unit} +- {:.2} (95%)", t * (variance / n).sqrt())
}
