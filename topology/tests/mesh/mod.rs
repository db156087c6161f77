//! Clusters of nodes with links between them, under virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use topology::soar::view::believed;
use topology::soar::{Action, Config, Metric, Seal, Soar};
use topology::{Instant, NodeId};

/// Takes the origin's word where the seal is its id: enough to show what a forged seal brings about.
pub(crate) struct Word(pub(crate) NodeId);

impl Seal for Word {
    fn seal(&self, _: &[u8]) -> Vec<u8> {
        self.0.as_bytes().to_vec()
    }
    fn holds(&self, origin: NodeId, _: &[u8], seal: &[u8]) -> bool {
        seal == origin.as_bytes()
    }
}

/// All nodes, their links, and the messages between them.
pub(crate) struct Mesh {
    pub(crate) now: Instant,
    pub(crate) rng: ChaCha12Rng,
    pub(crate) ids: Vec<NodeId>,
    pub(crate) index: BTreeMap<NodeId, usize>,
    pub(crate) nodes: Vec<Soar>,
    pub(crate) cluster: Vec<usize>,
    /// Round trips of links, in microseconds.
    pub(crate) links: BTreeMap<(usize, usize), u64>,
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) last_change: Instant,
    /// Share of what is sent once and not repeated that is lost.
    pub(crate) lost: f64,
    wakes: Vec<Option<Instant>>,
    arrivals: BTreeMap<(usize, usize), Instant>,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    events: BTreeMap<u64, Event>,
    serial: u64,
}

enum Event {
    Deliver(usize, usize, Vec<u8>),
    Wake(usize),
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl Mesh {
    /// Clusters on a plane. Inside one, each node has links to its two neighbours on a ring and to two others, of 1 to
    /// 8 ms; each cluster has three links to each of its nearest clusters, of 20 ms and more.
    pub(crate) fn new(seed: u64, clusters: usize, size: usize, config: &Config) -> Self {
        let count = clusters * size;
        let rng = ChaCha12Rng::seed_from_u64(seed);
        let ids: Vec<NodeId> = (0..count)
            .map(|i| NodeId::of_public_key(&[seed.to_be_bytes(), i.to_be_bytes()].concat()))
            .collect();
        let nodes = ids.iter().enumerate().map(|(i, id)| {
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&i.to_be_bytes());
            Soar::new(config.clone(), *id, Box::new(Word(*id)), 1, seed, Instant(0))
        });
        let mut mesh = Self {
            now: Instant(0),
            rng,
            index: ids.iter().enumerate().map(|(i, id)| (*id, i)).collect(),
            nodes: nodes.collect(),
            cluster: (0..count).map(|i| i / size).collect(),
            ids,
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            last_change: Instant(0),
            lost: 0.0,
            wakes: vec![None; count],
            arrivals: BTreeMap::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            serial: 0,
        };
        let places: Vec<[f64; 2]> =
            (0..clusters).map(|_| [mesh.unit() * 100.0, mesh.unit() * 100.0]).collect();
        for node in 0..count {
            let first = node / size * size;
            let at = node - first;
            let far = [first + mesh.below(size), first + mesh.below(size)];
            for other in [first + (at + 1) % size].into_iter().chain(far) {
                let rtt = 1000 + mesh.below(7000) as u64;
                mesh.link(node, other, rtt);
            }
        }
        for a in 0..clusters {
            let apart = |b: usize| (places[a][0] - places[b][0]).hypot(places[a][1] - places[b][1]);
            let mut others: Vec<usize> = (0..clusters).filter(|b| *b != a).collect();
            others.sort_by(|x, y| apart(*x).total_cmp(&apart(*y)));
            // The next one of a ring too, so that all hang together.
            let near: BTreeSet<usize> = others.iter().take(3).copied().chain([(a + 1) % clusters]).collect();
            for b in near.into_iter().filter(|b| *b != a) {
                for _ in 0..3 {
                    let rtt = 20_000 + (apart(b) * 1000.0) as u64 + mesh.below(5000) as u64;
                    let ends = (a * size + mesh.below(size), b * size + mesh.below(size));
                    mesh.link(ends.0, ends.1, rtt);
                }
            }
        }
        mesh
    }

    pub(crate) fn unit(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.rng.next_u64() % n as u64) as usize
    }

    pub(crate) fn link(&mut self, a: usize, b: usize, rtt_us: u64) {
        if a != b && !self.links.contains_key(&pair(a, b)) {
            self.links.insert(pair(a, b), rtt_us);
            for (x, y) in [(a, b), (b, a)] {
                let peer = self.ids[y];
                self.with(x, |soar, now| soar.link_up(now, peer)).expect("few links");
            }
        }
    }

    /// Does something with a node and carries out what it asks for.
    pub(crate) fn with<T>(&mut self, node: usize, f: impl FnOnce(&mut Soar, Instant) -> T) -> T {
        let now = self.now;
        let out = f(&mut self.nodes[node], now);
        while let Some(action) = self.nodes[node].poll_action() {
            match action {
                Action::Probe { .. } if self.lost > 0.0 && self.unit() < self.lost => {}
                Action::Send { to, bytes } | Action::Probe { to, bytes } => {
                    self.post(node, self.index[&to], bytes)
                }
                Action::Changed => self.last_change = now,
            }
        }
        if let Some(at) = self.nodes[node].poll_timeout()
            && self.wakes[node].is_none_or(|planned| at < planned)
        {
            self.wakes[node] = Some(at);
            self.push(at, Event::Wake(node));
        }
        out
    }

    pub(crate) fn post(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let Some(rtt) = self.links.get(&pair(from, to)).copied() else { return };
        if self.cut.contains(&pair(from, to)) {
            return;
        }
        let jitter = 1.0 + self.unit() / 10.0;
        let way = Duration::from_micros(rtt / 2).mul_f64(jitter);
        let last = self.arrivals.entry((from, to)).or_default();
        let at = (self.now + way).max(*last);
        *last = at;
        self.push(at, Event::Deliver(from, to, bytes));
    }

    fn push(&mut self, at: Instant, event: Event) {
        self.serial += 1;
        self.queue.push(Reverse((at, self.serial)));
        self.events.insert(self.serial, event);
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(&Reverse((at, serial))) = self.queue.peek()
            && at <= end
        {
            self.queue.pop();
            self.now = at;
            match self.events.remove(&serial) {
                Some(Event::Deliver(from, to, bytes)) => {
                    let from = self.ids[from];
                    self.with(to, |soar, now| soar.handle_message(now, from, &bytes));
                }
                Some(Event::Wake(node)) if self.wakes[node] == Some(at) => {
                    self.wakes[node] = None;
                    self.with(node, |soar, now| soar.handle_timeout(now));
                }
                _ => {}
            }
        }
        self.now = end;
    }

    /// Nodes whose region is not their cluster, who see other gateways than the rest of their cluster or such that are not
    /// at work, or another top level than node 0.
    pub(crate) fn astray(&self) -> usize {
        let mut truth: BTreeMap<usize, BTreeSet<NodeId>> = BTreeMap::new();
        for (node, cluster) in self.cluster.iter().enumerate() {
            truth.entry(*cluster).or_default().insert(self.ids[node]);
        }
        let top = self.nodes[0].graph(1);
        let mut first = BTreeMap::new();
        let right = |node: &usize| {
            let soar = &self.nodes[*node];
            let gateways = soar.gateways(0);
            let agreed = *first.entry(self.cluster[*node]).or_insert_with(|| gateways.clone()) == gateways;
            let led = gateways.values().all(|g| top.is_some_and(|t| believed(t, g.node, g.peer).is_some()));
            led && soar.region(0) == truth[&self.cluster[*node]] && agreed && soar.graph(1) == top
        };
        let fine = (0..self.nodes.len()).filter(right).count();
        self.nodes.len() - fine
    }

    /// Goes from node to node as each one routes. None where a node knows no way or the way comes back on itself.
    pub(crate) fn walk(&mut self, from: usize, to: usize) -> Option<Vec<usize>> {
        let target = self.ids[to];
        let locator = self.nodes[to].locator();
        let mut way = vec![from];
        let mut at = from;
        while at != to {
            let soar = &mut self.nodes[at];
            let route = soar.routes(Metric::RoundTrip, target, &locator, 1).into_iter().next()?;
            let mut next = *route.nodes.get(1)?;
            // Through each level of regions.
            while !soar.links().contains_key(&next) {
                let nearer = *soar.routes(Metric::RoundTrip, next, &[], 1).first()?.nodes.get(1)?;
                if nearer == next {
                    return None;
                }
                next = nearer;
            }
            at = self.index[&next];
            if way.contains(&at) {
                return None;
            }
            way.push(at);
        }
        Some(way)
    }

    /// Whether a way goes over links that are not cut.
    pub(crate) fn passable(&self, way: &[usize]) -> bool {
        way.windows(2).all(|p| {
            let link = pair(p[0], p[1]);
            self.links.contains_key(&link) && !self.cut.contains(&link)
        })
    }

    /// Cuts a link without a word to anybody.
    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        self.cut.insert(pair(a, b));
    }
}
