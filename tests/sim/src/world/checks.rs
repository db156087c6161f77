//! What must hold all the time.
//!
//! - **No message is answered twice**: no peer sends the same hit twice on a connection, and none sends a search on a
//!   connection again, unless it asks for more hops than before (`X-Ext-Probes`).
//! - **No route loop**: hops and TTL of what is passed on stay together within the hard limit; a hit passes each peer
//!   once.
//! - **No unbounded table**: every table of every peer is within its bound.
//! - **No leaf lost**: a relation with a virtual peer that one side has, the other has too, but for the time that an end
//!   needs to be noticed; and no leaf is without an ultrapeer for long while one has room for it.
//! - **Bytes are conserved**: what was sent has arrived, was lost, came too late, or is under way; and all of it is in
//!   one class.
//!
//! [`super::Plant`] breaks each of them, and the tests see it noticed.

use std::collections::BTreeSet;

use avp::Instant;
use avp::application::topology::DIALS_MAX;
use avp::cache::{hosts::HOSTS_MAX, pong};
use avp::gnutella::{HEADER_LEN, Header, Kind};

use super::half_open::HalfOpen;
use super::shard::Peer;
use super::{End, Shard, World};
use crate::engine::SECOND;
use crate::internet::place::NodeId;
use crate::measure::ledger::text_len;
use crate::measure::seen::Seen;
use crate::peer::{Light, Role};
use crate::workload::content::mix;

/// Hops that a message may have made, or may make yet.
const HOPS_MAX: u8 = 15;
/// How long what was sent is remembered.
const MEMORY: u64 = 600 * SECOND;
/// Most things remembered; in large worlds a sample of the messages is looked at.
const MEMORY_MAX: usize = 400_000;
/// Worlds with more places look at one in so many messages.
const ALL_UP_TO: usize = 3_000;
const SAMPLE: u64 = 64;
/// Violations that are kept; a run ends at the first.
const VIOLATIONS_MAX: usize = 16;
/// How long a leaf may be without an ultrapeer: its dials are at most 144 s apart.
const ALONE_MAX: u64 = 900 * SECOND;
/// Connections that a virtual peer may be opening (a bound of its own, that it does not publish).
const OPENINGS_MAX: f64 = 4_096.0;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What must hold.
    pub rule: &'static str,
    /// What was seen, and where.
    pub seen: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule, self.seen)
    }
}

/// Looks at everything that is sent, and keeps what must not be.
#[derive(Debug)]
pub struct Checks {
    seen: Seen,
    one_in: u64,
    byzantine: BTreeSet<NodeId>,
    /// Searches of those. They do not remember their own, and an answer then goes round in a circle until its TTL is used
    /// up, through peers that do as they should.
    tainted: Seen,
    weather_changed: Instant,
    violations: Vec<Violation>,
}

impl Checks {
    /// For a world of so many places.
    #[must_use]
    pub fn new(places: usize) -> Self {
        Self {
            seen: Seen::new(MEMORY, MEMORY_MAX),
            one_in: if places <= ALL_UP_TO { 1 } else { SAMPLE },
            byzantine: BTreeSet::new(),
            tainted: Seen::new(MEMORY, MEMORY_MAX),
            weather_changed: Instant(0),
            violations: Vec::new(),
        }
    }

    /// What was found since somebody asked.
    pub(super) fn take(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.violations)
    }

    /// From now on this peer is not expected to keep to any rule.
    pub fn excuse(&mut self, node: NodeId) {
        self.byzantine.insert(node);
    }

    /// Whether it is one of those.
    #[must_use]
    pub fn is_excused(&self, node: NodeId) -> bool {
        self.byzantine.contains(&node)
    }

    pub(super) fn weather_changes(&mut self, now: Instant) {
        self.weather_changed = now;
    }

    /// When a fault began or ended last.
    pub(super) fn weather_changed(&self) -> Instant {
        self.weather_changed
    }

    /// Writes down what must not be.
    pub fn violate(&mut self, rule: &'static str, seen: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { rule, seen });
        }
    }

    /// A search is from somebody who keeps to no rule. Whether that was not known yet.
    pub(super) fn taint(&mut self, now: Instant, search: u64) -> bool {
        !self.tainted.again(now, (search, 0))
    }

    /// A peer sends. Answers the number of a search that other shards are to hear is tainted.
    pub(super) fn sent(&mut self, now: Instant, from: End, sender: NodeId, bytes: &[u8]) -> Option<u64> {
        if !self.byzantine.is_empty() && self.byzantine.contains(&sender) {
            let query = Header::parse(bytes).filter(|h| h.kind == Kind::QUERY && h.hops == 0);
            let search = query.map(|header| number(&header));
            return search.filter(|search| self.taint(now, *search));
        }
        let mut rest = &bytes[text_len(bytes)..];
        while let Some(header) = Header::parse(rest) {
            let len = HEADER_LEN + header.len as usize;
            let Some((message, next)) = rest.split_at_checked(len) else {
                self.violate("whole messages are sent", format!("peer {sender}: {header:?}"));
                return None;
            };
            rest = next;
            self.message(now, from, sender, &header, &message[HEADER_LEN..]);
        }
        None
    }

    fn message(&mut self, now: Instant, from: End, sender: NodeId, header: &Header, payload: &[u8]) {
        if header.hops > HOPS_MAX || header.ttl > HOPS_MAX + 1 - header.hops {
            self.violate("no route loop", format!("peer {sender} at {}: {header:?}", now.0));
        }
        let id = number(header);
        let sampled = self.one_in == 1 || id.is_multiple_of(self.one_in);
        if !sampled || self.tainted.has((id, 0)) {
            return;
        }
        let way = mix(from.number());
        let (what, content) = match header.kind {
            Kind::QUERY => ("a query", u64::from(header.ttl)),
            Kind::QUERY_HIT => ("a hit", digest(payload)),
            _ => return,
        };
        if self.seen.again(now, (id ^ mix(content), way)) {
            self.violate(
                "no message is answered twice",
                format!("peer {sender} sends {what} again on the same connection: {header:?}"),
            );
        } else if header.kind == Kind::QUERY_HIT
            && self.seen.again(now, (mix(id ^ mix(content)), !u64::from(sender)))
        {
            self.violate("no route loop", format!("peer {sender} passes {what} on again: {header:?}"));
        }
    }
}

/// A number for a message's id.
fn number(header: &Header) -> u64 {
    let id = u128::from_le_bytes(header.guid.0);
    mix(id as u64 ^ mix((id >> 64) as u64))
}

/// A number for a payload.
fn digest(payload: &[u8]) -> u64 {
    payload.chunks(8).fold(0, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(hash ^ u64::from_le_bytes(word))
    })
}

/// Looks at everybody. Costs time in proportion to the world's size.
pub(super) fn inspect(world: &World, half_open: &mut HalfOpen) -> Vec<Violation> {
    let mut found = Vec::new();
    let queued = world.shards.iter().map(Shard::queued_bytes).sum::<u64>();
    let books = world.ledger.under_way();
    if books != queued {
        found.push((
            "bytes are conserved",
            format!("{books} are under way by the books, {queued} in the queue"),
        ));
    }
    for floods in world.shards.iter().map(|shard| &shard.floods) {
        if floods.len() > floods.bound() {
            found.push(("no unbounded table", format!("searches seen: {}", floods.len())));
        }
    }
    let classes: u64 = world.ledger.sent.iter().map(|count| count.bytes).sum();
    if classes != world.ledger.sent_bytes {
        let seen = format!("{classes} in all classes, {} sent", world.ledger.sent_bytes);
        found.push(("bytes are conserved", seen));
    }
    for (node, peer) in world.peers() {
        match peer {
            Peer::Light(light) => {
                if let Some(table) = light.overfull() {
                    found.push(("no unbounded table", format!("peer {node}: {table}")));
                }
            }
            Peer::Virtual(avp) => {
                for (name, value, bound) in bounds(avp) {
                    if value > bound {
                        found.push((
                            "no unbounded table",
                            format!("virtual peer {node}: {name} is {value}, bound {bound}"),
                        ));
                    }
                }
            }
        }
    }
    let lost = half_open.look(world).into_iter().chain(alone(world));
    found.extend(lost.map(|seen| ("no leaf is lost", seen)));
    found.into_iter().map(|(rule, seen)| Violation { rule, seen }).collect()
}

/// Tables of a virtual peer: name, entries, bound.
pub fn bounds(avp: &super::virtual_peer::Avp) -> Vec<(&'static str, f64, f64)> {
    let limits = avp.limits();
    let gauge = |name, labels: &[(&str, &str)]| avp.metric(name, labels);
    let pongs = (usize::from(pong::HOPS_MAX) + 1) * pong::PONGS_PER_HOP;
    vec![
        ("query routes", gauge("avp_routes", &[("kind", "query")]), 2.0 * f64::from(limits.query_routes)),
        ("push routes", gauge("avp_routes", &[("kind", "push")]), 2.0 * f64::from(limits.push_routes)),
        ("known hosts", gauge("avp_known_hosts", &[]), HOSTS_MAX as f64),
        ("cached pongs", gauge("avp_cached_pongs", &[]), pongs as f64),
        ("dynamic queries", gauge("avp_dynamic_queries", &[]), limits.dynamic_queries.into()),
        ("openings", gauge("avp_openings", &[]), OPENINGS_MAX),
        ("dials", gauge("avp_dialling", &[]), DIALS_MAX as f64),
        ("leaves", gauge("avp_links", &[("role", "leaf")]), limits.leaves.into()),
        (
            "ultrapeers",
            gauge("avp_links", &[("role", "ultrapeer")]),
            f64::from(limits.ultrapeers) + DIALS_MAX as f64,
        ),
    ]
}

/// Leaves that have been without an ultrapeer for longer than it takes to find one, while there is one with room.
fn alone(world: &World) -> Vec<String> {
    let now = world.now();
    if now.0.saturating_sub(world.weather_changed().0) < ALONE_MAX {
        return Vec::new();
    }
    let is_alone = |light: &Light| {
        light.role == Role::Leaf && light.alone_since().is_some_and(|since| now.0 - since.0 > ALONE_MAX)
    };
    let mut lost: Vec<String> = world
        .light()
        .filter(|(node, light)| is_alone(light) && !world.is_excused(*node))
        .map(|(node, _)| format!("leaf {node} finds no ultrapeer"))
        .collect();
    let leaves = |avp: &super::virtual_peer::Avp| avp.metric("avp_links", &[("role", "leaf")]);
    let room = |(_, avp): (_, &super::virtual_peer::Avp)| leaves(avp) < f64::from(avp.limits().leaves);
    let takes = |shard: &Shard| shard.light().any(|(_, light)| light.has_room_for_leaf(shard));
    if !world.virtual_peers().any(room) && !world.shards.iter().any(takes) {
        lost.clear();
    }
    lost
}
