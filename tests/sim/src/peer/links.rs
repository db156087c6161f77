//! Relations: dialling, accepting, ending.

use avp::Instant;

use super::tables::Lane;
use super::told::Known;
use super::{LINKS_MAX, Light, Role, TRIES_PATIENT};
use crate::engine::SECOND;
use crate::internet::place::NodeId;
use crate::world::{Bytes, End, Keep, RelationRecord, Shard};

/// A handshake that takes longer is given up.
const HANDSHAKE_MAX: u64 = 25 * SECOND;
/// A relation that was silent for so long is pinged...
const SILENT_PING: u64 = 60 * SECOND;
/// ...and one that was silent for so long is ended.
const SILENT_END: u64 = 180 * SECOND;
/// Dials under way.
const DIALS_MAX: usize = 4;

/// How far a relation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Dialled, not connected.
    Dialling,
    /// We have said who we are.
    Asked,
    /// They have connected.
    Accepted,
    /// We have said yes, as what they are to us.
    Answered,
    /// It stands.
    Up,
}

/// What the other is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// Not known yet.
    Unknown,
    /// Our leaf.
    Leaf,
    /// Our ultrapeer, we are its leaf.
    Parent,
    /// A neighbour.
    Neighbour,
}

impl Other {
    /// How many kinds there are.
    pub(super) const ALL: usize = 4;
}

/// One relation, or what may become one.
#[derive(Debug)]
pub struct Link {
    /// Our end.
    pub end: End,
    /// Who.
    pub other: NodeId,
    /// What they are to us.
    pub what: Other,
    /// How far it is.
    pub stage: Stage,
    /// Since when it is so far.
    pub since: Instant,
    /// When we last asked for pongs.
    pub pinged: Instant,
    /// Its number: there is no other link that has it.
    pub serial: u32,
    /// With how many ultrapeers they say to be connected.
    pub degree: u16,
    /// Their highest TTL.
    pub max_ttl: u8,
    /// Its number among leaves, where it is one.
    pub(super) lane: Option<Lane>,
    /// What a leaf has told us.
    pub(super) told: Known,
}

impl Link {
    /// Whether it stands.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.stage == Stage::Up
    }

    /// When we last heard from them, or began to listen.
    #[must_use]
    pub fn heard(&self, world: &Shard) -> Instant {
        world.heard(self.end).unwrap_or(self.since).max(self.since)
    }
}

impl Light {
    fn add_link(&mut self, world: &mut Shard, end: End, other: NodeId, stage: Stage) {
        world.links += 1;
        let now = world.now();
        world.keep(end, self.keep(self.links.len()));
        self.links.push(Link {
            end,
            other,
            what: Other::Unknown,
            stage,
            since: now,
            pinged: Instant(0),
            serial: world.links,
            degree: 0,
            max_ttl: 0,
            lane: None,
            told: None,
        });
    }

    fn keep(&self, index: usize) -> Keep {
        let (router, born) = self.router.as_ref().map_or((u32::MAX, 0), |r| (r.number, r.born));
        Keep { index: index as u32, router, born }
    }

    /// Takes a link out of the list; what it has told us is forgotten.
    fn remove_link(&mut self, world: &mut Shard, n: usize) -> Link {
        let link = self.links.swap_remove(n);
        if let Some(moved) = self.links.get(n) {
            world.keep(moved.end, self.keep(n));
        }
        if matches!(link.stage, Stage::Up | Stage::Answered) {
            self.counts[link.what as usize] -= 1;
        }
        if let Some(router) = &mut self.router {
            router.forget(&link);
        }
        if link.is_up() {
            if self.degree() == 0 {
                self.alone_since = world.now();
            }
            let seconds = (world.now().0 - link.since.0) as f64 / SECOND as f64;
            world.records.relation(RelationRecord { node: self.node, other: link.other, seconds });
        }
        link
    }

    /// Ends a link from our side.
    pub(super) fn end_link(&mut self, world: &mut Shard, n: usize) {
        let link = self.remove_link(world, n);
        world.close(link.end);
    }

    /// Ends all of them and looks for no more.
    pub fn give_up(&mut self, world: &mut Shard) {
        self.want = 0;
        for n in (0..self.links.len()).rev() {
            self.end_link(world, n);
        }
    }

    /// Forgets a relation, and the other side does not learn it.
    pub fn forget(&mut self, world: &mut Shard, other: NodeId) {
        if let Some(n) = self.links.iter().position(|l| l.other == other && l.is_up()) {
            let link = self.remove_link(world, n);
            world.keep(link.end, Keep::default());
        }
    }

    /// How many links of a kind there are.
    pub(super) fn count(&self, what: Other) -> usize {
        self.counts[what as usize].into()
    }

    /// Relations that it looked for and has.
    fn wanted_now(&self) -> usize {
        let what = if self.role == Role::Leaf { Other::Parent } else { Other::Neighbour };
        self.count(what)
    }

    /// Whether it still looks for relations.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        self.wanted_now() < usize::from(self.want)
    }

    pub(super) fn look_after_links(&mut self, world: &mut Shard) {
        let (clock, now) = (world.clock(self.node), world.now());
        let age = |since: Instant| clock.since(since, now);
        for n in (0..self.links.len()).rev() {
            let link = &self.links[n];
            let dead = match link.stage {
                Stage::Up => age(link.heard(world)) > SILENT_END,
                _ => age(link.since) > HANDSHAKE_MAX,
            };
            if dead {
                self.end_link(world, n);
            }
        }
        self.ping_silent(world, SILENT_PING);
        self.dial_more(world);
    }

    fn dial_more(&mut self, world: &mut Shard) {
        let dialling =
            self.links.iter().filter(|l| matches!(l.stage, Stage::Dialling | Stage::Asked)).count();
        let missing = usize::from(self.want).saturating_sub(self.wanted_now());
        let mut dials = missing.min(DIALS_MAX).saturating_sub(dialling);
        while dials > 0 && self.links.len() < LINKS_MAX {
            if self.hosts.is_empty() {
                let mut told = Vec::new();
                world.tell_hosts(self.node, self.tries < TRIES_PATIENT, &mut told);
                told.retain(|h| *h != self.node && !self.links.iter().any(|l| l.other == *h));
                if told.is_empty() {
                    return;
                }
                self.hosts = told;
            }
            // In the order in which a knowing source named them, else any.
            let ordered = world.setup.preset.choice != crate::workload::preset::Choice::Random;
            let place = if ordered { 0 } else { world.dice.below(self.hosts.len()) };
            let host = self.hosts.remove(place);
            if self.links.iter().any(|l| l.other == host) {
                continue;
            }
            let end = world.connect(self.node, host);
            self.add_link(world, end, host, Stage::Dialling);
            dials -= 1;
        }
    }

    /// A dial came to nothing: another one follows at once, unless many have.
    pub(super) fn came_to_nothing(&mut self, world: &mut Shard) {
        self.tries += 1;
        if self.tries < TRIES_PATIENT && self.wants_more() {
            self.dial_more(world);
        }
    }

    /// Somebody connects.
    pub fn accepted(&mut self, world: &mut Shard, end: End, from: NodeId) {
        if self.links.len() >= LINKS_MAX {
            world.close(end);
            return;
        }
        self.add_link(world, end, from, Stage::Accepted);
    }

    /// A dial has succeeded.
    pub fn established(&mut self, world: &mut Shard, end: End) {
        let Some(n) = self.links.iter().position(|l| l.end == end) else { return };
        let request = self.request_text(self.links[n].other);
        self.stage(world, n, Stage::Asked);
        world.send(end, &request);
    }

    pub(super) fn stage(&mut self, world: &mut Shard, n: usize, stage: Stage) {
        let counted = |stage| matches!(stage, Stage::Up | Stage::Answered);
        let link = &mut self.links[n];
        if counted(stage) && !counted(link.stage) {
            self.counts[link.what as usize] += 1;
        }
        (link.stage, link.since) = (stage, world.now());
        if let (Stage::Up, Some(router)) = (stage, &mut self.router) {
            match link.what {
                Other::Leaf => link.lane = router.tables.insert(link.end),
                Other::Neighbour => router.tables.meet(link.end),
                Other::Parent | Other::Unknown => {}
            }
        }
    }

    /// A dial has failed, or the other side has closed.
    pub fn closed(&mut self, world: &mut Shard, index: u32, failed: bool) {
        let n = index as usize;
        if n >= self.links.len() {
            return;
        }
        let link = self.remove_link(world, n);
        if !failed && link.stage == Stage::Asked {
            world.records.refused += 1;
        }
        if matches!(link.stage, Stage::Dialling | Stage::Asked) {
            self.came_to_nothing(world);
        }
    }

    /// Bytes have come in: text before the relation stands, messages then.
    pub fn received(&mut self, world: &mut Shard, index: u32, bytes: &Bytes) {
        let n = index as usize;
        let Some(link) = self.links.get(n) else { return };
        match link.stage {
            Stage::Up => self.messages(world, n, bytes, 0),
            Stage::Asked | Stage::Accepted | Stage::Answered => self.text(world, n, bytes),
            Stage::Dialling => self.end_link(world, n),
        }
    }
}
