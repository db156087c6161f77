//! A mesh of nodes: the product's distributed hash table exactly as it is shipped, under virtual time.
//!
//! As in the first founding paper a message takes an exponential time, nodes stay for an exponential time and come as a
//! Poisson process that holds their number.

use std::collections::BTreeMap;
use std::time::Duration;

use avp::Instant;
use topology::dht::{Action, Config, Dht, LookupId, Outcome};
use topology::{Contact, NodeId};

use crate::engine::{Dice, MS, Queue, SECOND, START};
use crate::internet::place::{address, node_at};

/// Mean time that a message is under way.
const HOP_MEAN_MS: f64 = 50.0;
/// Nodes that a newcomer is told of.
const SEEDS: usize = 3;

#[derive(Debug)]
enum Event {
    Deliver { to: usize, from: usize, bytes: Vec<u8> },
    Wake(usize),
    Come,
    Go(usize),
    Ask,
}

/// A node's place.
#[derive(Debug)]
enum Seat {
    /// It has been here for long, and is made when it is first spoken to.
    Waiting,
    Here(Box<Dht>),
    Gone,
}

/// One lookup that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LookupRecord {
    /// How long it took, in milliseconds.
    pub ms: f64,
    /// Whether the node was found.
    pub found: bool,
}

/// The mesh.
#[derive(Debug)]
pub struct Mesh {
    queue: Queue<Event>,
    contacts: Vec<Contact>,
    seats: Vec<Seat>,
    wakes: Vec<Option<Instant>>,
    /// Who is here, in no particular order, and where each is in it.
    here: Vec<usize>,
    place: BTreeMap<usize, usize>,
    /// Ids of those that have been here for long, sorted.
    waiting: Vec<(NodeId, usize)>,
    asked: BTreeMap<(usize, LookupId), Instant>,
    /// Seconds that nodes stay in the mean, and seconds between arrivals.
    churn: Option<(f64, f64)>,
    /// Seconds between lookups in the mean.
    ask_every_s: Option<f64>,
    dice: Dice,
    /// Lookups that are over.
    pub lookups: Vec<LookupRecord>,
    /// Bytes that were sent.
    pub sent_bytes: u64,
}

impl Mesh {
    fn empty(seed: u64) -> Self {
        Self {
            queue: Queue::new(START),
            contacts: Vec::new(),
            seats: Vec::new(),
            wakes: Vec::new(),
            here: Vec::new(),
            place: BTreeMap::new(),
            waiting: Vec::new(),
            asked: BTreeMap::new(),
            churn: None,
            ask_every_s: None,
            dice: Dice::new(seed, "mesh"),
            lookups: Vec::new(),
            sent_bytes: 0,
        }
    }

    /// So many nodes that joined one after the other within a minute, and had another to settle.
    #[must_use]
    pub fn joined(nodes: usize, seed: u64) -> Self {
        let mut mesh = Self::empty(seed);
        for n in 0..nodes {
            mesh.come();
            mesh.run_until(Instant(START.0 + 60 * SECOND * (n as u64 + 1) / nodes as u64));
        }
        mesh.run_for(60);
        mesh
    }

    /// So many nodes that have been here for long: their tables hold random nodes of each distance. One takes memory
    /// only once it is spoken to.
    #[must_use]
    pub fn long_lived(nodes: usize, seed: u64) -> Self {
        let mut mesh = Self::empty(seed);
        for _ in 0..nodes {
            let node = mesh.seat(Seat::Waiting);
            mesh.waiting.push((mesh.contacts[node].id, node));
        }
        mesh.waiting.sort_unstable();
        mesh
    }

    /// From now on nodes come and go, and stay for so many minutes in the mean.
    pub fn churn(&mut self, online_minutes: f64) {
        let online_s = online_minutes * 60.0;
        self.churn = Some((online_s, online_s / self.here.len() as f64));
        for node in self.here.clone() {
            self.plan_end(node);
        }
        self.plan_arrival();
    }

    /// From now on somebody looks somebody else up, with exponential pauses of this mean.
    pub fn ask_every(&mut self, seconds: f64) {
        self.ask_every_s = Some(seconds);
        self.after_s(seconds, Event::Ask);
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.queue.now()
    }

    /// How many nodes are here.
    #[must_use]
    pub fn len(&self) -> usize {
        // Who has been here for long stays in the list of those who may not have been spoken to.
        self.here.len().max(self.waiting.len())
    }

    /// How many of them have taken memory.
    #[must_use]
    pub fn made(&self) -> usize {
        self.here.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets so many seconds pass.
    pub fn run_for(&mut self, seconds: u64) {
        let until = Instant(self.now().0 + seconds * SECOND);
        self.run_until(until);
    }

    fn run_until(&mut self, until: Instant) {
        while let Some(event) = self.queue.pop(until) {
            self.happen(event);
        }
        // So that the present is the end: waking nobody does nothing.
        self.queue.push(until, Event::Wake(usize::MAX));
        let _ = self.queue.pop(until);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { to, from, bytes } => {
                let from = self.contacts[from];
                self.with(to, |dht, now| dht.handle_message(now, from, &bytes));
            }
            Event::Wake(node) => {
                if self.wakes.get(node).copied().flatten().is_some_and(|at| at <= self.now()) {
                    self.wakes[node] = None;
                    self.with(node, |dht, now| dht.handle_timeout(now));
                }
            }
            Event::Come => {
                let node = self.come();
                self.plan_end(node);
                self.plan_arrival();
            }
            Event::Go(node) => self.go(node),
            Event::Ask => self.ask(),
        }
    }

    fn after_s(&mut self, mean_s: f64, event: Event) {
        let after = self.dice.exponential(mean_s) * SECOND as f64;
        self.queue.push(Instant(self.now().0 + after as u64), event);
    }

    fn plan_end(&mut self, node: usize) {
        if let Some((online_s, _)) = self.churn {
            self.after_s(online_s, Event::Go(node));
        }
    }

    fn plan_arrival(&mut self) {
        if let Some((_, between_s)) = self.churn {
            self.after_s(between_s, Event::Come);
        }
    }

    fn seat(&mut self, seat: Seat) -> usize {
        let node = self.seats.len();
        let id = NodeId::from_bytes(self.dice.seed());
        self.contacts.push(Contact { id, addr: address(node as u32).into() });
        self.seats.push(seat);
        self.wakes.push(None);
        node
    }

    fn come(&mut self) -> usize {
        let node = self.seat(Seat::Gone);
        let seeds: Vec<Contact> = (0..SEEDS)
            .filter_map(|_| self.dice.pick(&self.here).copied())
            .map(|n| self.contacts[n])
            .collect();
        self.make(node);
        self.with(node, |dht, now| dht.join(now, &seeds));
        node
    }

    fn make(&mut self, node: usize) {
        let now = topology_time(self.now());
        // The default settings fit together: their own tests say so.
        let Ok(dht) = Dht::new(Config::default(), self.contacts[node], self.dice.seed(), now) else { return };
        self.seats[node] = Seat::Here(Box::new(dht));
        self.place.insert(node, self.here.len());
        self.here.push(node);
    }

    /// A node is gone without a word.
    fn go(&mut self, node: usize) {
        self.seats[node] = Seat::Gone;
        let Some(place) = self.place.remove(&node) else { return };
        self.here.swap_remove(place);
        if let Some(moved) = self.here.get(place) {
            self.place.insert(*moved, place);
        }
    }

    /// Makes a node that has been here for long: of the nodes that share its first bits and then differ it knows as many
    /// as a bucket holds.
    fn make_long_lived(&mut self, node: usize) {
        self.make(node);
        let own = self.contacts[node].id;
        let (mut low, mut high) = (0, self.waiting.len());
        let mut known = Vec::new();
        for bit in 0.. {
            if high - low <= 1 {
                break;
            }
            let middle = low + self.waiting[low..high].partition_point(|(id, _)| !has_bit(*id, bit));
            let (mine, others) =
                if has_bit(own, bit) { (middle..high, low..middle) } else { (low..middle, middle..high) };
            for _ in 0..Config::default().k.min(others.len()) {
                known.push(self.waiting[others.start + self.dice.below(others.len())].1);
            }
            (low, high) = (mine.start, mine.end);
        }
        let contacts: Vec<Contact> = known.into_iter().map(|n| self.contacts[n]).collect();
        self.with(node, |dht, now| contacts.iter().for_each(|c| dht.handle_connected(now, *c, None)));
    }

    fn with(&mut self, node: usize, act: impl FnOnce(&mut Dht, topology::Instant)) {
        if matches!(self.seats.get(node), Some(Seat::Waiting)) {
            self.make_long_lived(node);
        }
        let now = self.now();
        let Some(Seat::Here(dht)) = self.seats.get_mut(node) else { return };
        act(dht, topology_time(now));
        let (mut sends, mut ends) = (Vec::new(), Vec::new());
        while let Some(action) = dht.poll_action() {
            match action {
                Action::Send { to, bytes } => sends.push((to, bytes)),
                Action::Done { lookup, outcome } => ends.push((lookup, outcome)),
                Action::Banned { .. } => {}
            }
        }
        let timeout = dht.poll_timeout().map(|at| Instant(at.0));
        for (to, bytes) in sends {
            self.sent_bytes += bytes.len() as u64;
            let after = (self.dice.exponential(HOP_MEAN_MS) * MS as f64) as u64;
            if let Some(to) = node_at(to.addr, self.seats.len()) {
                let event = Event::Deliver { to: to as usize, from: node, bytes };
                self.queue.push(Instant(now.0 + after), event);
            }
        }
        for (lookup, outcome) in ends {
            if let Some(began) = self.asked.remove(&(node, lookup)) {
                let ms = (now.0 - began.0) as f64 / MS as f64;
                self.lookups.push(LookupRecord { ms, found: matches!(outcome, Outcome::Node(_)) });
            }
        }
        if let Some(at) = timeout
            && self.wakes[node].is_none_or(|planned| at < planned)
        {
            self.wakes[node] = Some(at);
            self.queue.push(at, Event::Wake(node));
        }
    }

    /// Somebody looks somebody else up. Both are here; the other may be gone before it is found.
    pub fn ask(&mut self) {
        if let Some(mean) = self.ask_every_s {
            self.after_s(mean, Event::Ask);
        }
        let mut any = || match self.waiting.is_empty() {
            true => self.dice.pick(&self.here).copied(),
            false => self.dice.pick(&self.waiting).map(|w| w.1),
        };
        let (Some(asker), Some(target)) = (any(), any()) else { return };
        let (now, id) = (self.now(), self.contacts[target].id);
        let mut begun = None;
        if matches!(self.seats[asker], Seat::Waiting) {
            self.make_long_lived(asker);
        }
        // The lookup is entered before its outcome can be known: a node asked for itself answers at once.
        if let Seat::Here(dht) = &mut self.seats[asker] {
            begun = dht.find_node(topology_time(now), id).ok();
        }
        if let Some(lookup) = begun {
            self.asked.insert((asker, lookup), now);
            self.with(asker, |_, _| ());
        }
    }

    /// How many of the five nodes nearest to it a node knows as such, on average.
    #[must_use]
    pub fn neighbours_correct(&self) -> f64 {
        let mut sum = 0;
        for node in &self.here {
            let Seat::Here(dht) = &self.seats[*node] else { continue };
            let own = self.contacts[*node].id;
            let mut others: Vec<NodeId> =
                self.here.iter().filter(|n| *n != node).map(|n| self.contacts[*n].id).collect();
            others.sort_unstable_by_key(|id| id.distance(own));
            let believed = dht.neighbours(5);
            sum += others.iter().take(5).filter(|id| believed.iter().any(|c| c.id == **id)).count();
        }
        sum as f64 / self.here.len().max(1) as f64
    }
}

fn topology_time(now: Instant) -> topology::Instant {
    topology::Instant(Duration::from_nanos(now.0).as_nanos() as u64)
}

fn has_bit(id: NodeId, bit: usize) -> bool {
    id.as_bytes()[bit / 8] >> (7 - bit % 8) & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mesh_repeats_and_everybody_is_found() {
        let run = |seed| {
            let mut mesh = Mesh::joined(60, seed);
            (0..50).for_each(|_| mesh.ask());
            mesh.run_for(30);
            (mesh.sent_bytes, mesh.lookups)
        };
        let (bytes, lookups) = run(1);
        assert_eq!(run(1), (bytes, lookups.clone()));
        assert_ne!(run(2).0, bytes);
        assert_eq!(lookups.len(), 50);
        assert!(lookups.iter().all(|l| l.found));
    }

    #[test]
    fn churn_holds_the_number_of_nodes_and_changes_who_they_are() {
        let mut mesh = Mesh::joined(60, 3);
        let before = mesh.here.clone();
        mesh.churn(10.0);
        mesh.run_for(1_800);
        assert!((35..95).contains(&mesh.len()), "{}", mesh.len());
        assert!(before.iter().filter(|n| mesh.here.contains(n)).count() < 20);
        assert!(mesh.neighbours_correct() > 4.0);
    }

    #[test]
    fn nodes_that_have_been_here_for_long_are_found_without_all_of_them_being_made() {
        let mut mesh = Mesh::long_lived(20_000, 4);
        (0..20).for_each(|_| mesh.ask());
        mesh.run_for(10);
        assert_eq!(mesh.lookups.iter().filter(|l| l.found).count(), 20);
        assert!(mesh.here.len() < 5_000, "{}", mesh.here.len());
    }
}
