//! SOAR: nodes that measure their neighbours, cluster themselves into regions and find routes.
//!
//! Each node probes its neighbours and reports what it measured. Reports travel through the region; both ends of an
//! edge must report it before anybody believes it. A region is what edges under a threshold connect, with hysteresis.
//! For each pair of regions the members with the cheapest edge between them are the gateways; gateways report on the
//! next level, and so on up to a top level that all nodes know. So a node's tables grow with its region and the number
//! of gateways, not with the network.
//!
//! # Driving it
//!
//! **After every call that takes `&mut self`, drain [`Soar::poll_action`] until it gives None, then ask
//! [`Soar::poll_timeout`] when [`Soar::handle_timeout`] is next due.** Frames between neighbours arrive in order or
//! not at all, probes and their echoes ([`Action::Probe`]) in any order; a frame is at most [`report::FRAME_BYTES_MAX`] long. The shell makes and authenticates connections, and
//! says so with [`Soar::link_up`] and [`Soar::link_down`].
//!
//! # What protects it
//!
//! A report is sealed by its origin ([`Seal`]), so nobody speaks for another node. A claimed edge whose other end does
//! not report it is no edge, and of two measurements the worse one counts: a liar can only make itself less attractive.
//! A gateway whose edge is not confirmed is passed over. Frames per neighbour, edges per report, and reports are
//! bounded ([`Config`]); what is refused is counted ([`Soar::stats`]).

pub mod config;
mod exchange;
pub mod link;
mod loss;
pub mod report;
pub mod routes;
mod settle;
pub mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub use config::Config;
pub use routes::{Metric, Route};

use crate::id::NodeId;
use crate::time::{Instant, micros};
use link::{Link, Links};
use report::{Message, Sealed};
use routes::Map;
use view::{Bounds, Gateway, Level};

/// Ties reports to their origin. The node signs with its key; the simulator may take the origin's word.
pub trait Seal: Send {
    /// A seal of our own over these bytes.
    fn seal(&self, bytes: &[u8]) -> Vec<u8>;
    /// Whether `origin` made this seal over these bytes.
    fn holds(&self, origin: NodeId, bytes: &[u8], seal: &[u8]) -> bool;
}

/// What the shell is to do, or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes to that neighbour, as one message.
    Send {
        /// To whom.
        to: NodeId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Send these bytes to that neighbour at once and once: where they are lost, they are not to be repeated, since what
    /// comes late would count as a long round trip.
    Probe {
        /// To whom.
        to: NodeId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Regions, gateways or edges are not what they were: routes in use are to be looked up again.
    Changed,
}

/// What was received and refused, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames handed out to be sent.
    pub sent_frames: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Frames received.
    pub received_frames: u64,
    /// Frames from nodes that are no neighbours.
    pub strangers: u64,
    /// Frames over a neighbour's allowance.
    pub floods: u64,
    /// Frames or reports that are none.
    pub malformed: u64,
    /// Reports whose seal is not their origin's.
    pub forged: u64,
    /// Reports that are older than what is known: repeated or overtaken on the way.
    pub stale: u64,
    /// Reports for which there is no room.
    pub no_room: u64,
    /// Times that a neighbour was seen to claim half of the round trip that we measure, or less.
    pub lying: u64,
    /// Frames of a kind that only a newer version knows.
    pub unknown_kinds: u64,
    /// Links found dead by unanswered probes.
    pub links_died: u64,
}

/// Where a node is, in few words: the region that it is in on each level, lowest first. To be published with its
/// contact, so that far nodes find a route to its region.
pub type Locator = Vec<NodeId>;

/// The links are at their bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("links_max is at its bound of {0}: drop a link first or raise the setting")]
pub struct LinksFull(pub usize);

#[derive(Clone, Debug)]
struct Held {
    sealed: Sealed,
    at: Instant,
}

/// One node's part of the measurement plane. See the module's text for how to drive it.
pub struct Soar {
    config: Config,
    me: NodeId,
    rng: ChaCha12Rng,
    seal: Box<dyn Seal>,
    links: Links,
    load_milli: u32,
    /// Reports by level; the last level is the top.
    levels: Vec<Level>,
    held: BTreeMap<(u8, NodeId), Held>,
    /// Versions of reports that were forgotten, so that they do not come back from others.
    forgotten: BTreeMap<(u8, NodeId), (u64, Instant)>,
    /// Members of our region on each level but the top.
    members: Vec<BTreeSet<NodeId>>,
    /// When our region last changed, on each level but the top.
    changed_at: Vec<Instant>,
    gateways: Vec<BTreeMap<NodeId, Gateway>>,
    /// Since when members of our region claim edges that the other end does not report.
    unconfirmed: Vec<BTreeMap<(NodeId, NodeId), Instant>>,
    /// Drawn when it is asked for.
    map: Option<Map>,
    /// Reports that came in and were not passed on yet, with who sent them.
    fresh: BTreeMap<(u8, NodeId), NodeId>,
    settle_at: Option<Instant>,
    renew_at: Instant,
    last_version: u64,
    last_probe: u64,
    /// When all links were last probed since one was in doubt.
    hastened_at: Option<Instant>,
    actions: VecDeque<Action>,
    stats: Stats,
}

impl Soar {
    /// A node on its own. `epoch` must be higher than at the last start (seconds since 1970 will do): versions begin
    /// there. `rng_seed` is the source of all its choices.
    #[must_use]
    pub fn new(
        config: Config,
        me: NodeId,
        seal: Box<dyn Seal>,
        epoch: u64,
        rng_seed: [u8; 32],
        now: Instant,
    ) -> Self {
        let top = config.near.len().min(7);
        let renew_at = now + config.renew_interval;
        let mut soar = Self {
            me,
            rng: ChaCha12Rng::from_seed(rng_seed),
            seal,
            links: Links::new(),
            load_milli: 0,
            levels: vec![Level::new(); top + 1],
            held: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            members: vec![BTreeSet::from([me]); top],
            changed_at: vec![now; top],
            gateways: vec![BTreeMap::new(); top],
            unconfirmed: vec![BTreeMap::new(); top],
            map: None,
            fresh: BTreeMap::new(),
            settle_at: Some(now),
            renew_at,
            last_version: epoch << 24,
            last_probe: 0,
            hastened_at: None,
            actions: VecDeque::new(),
            stats: Stats::default(),
            config,
        };
        soar.settle(now);
        soar
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let links = self.links.values().map(|l| l.due);
        links.chain(self.settle_at).chain([self.renew_at]).min()
    }

    /// There is a connection with this neighbour: it is probed from now on.
    ///
    /// # Errors
    /// Where there are `links_max` links.
    pub fn link_up(&mut self, now: Instant, peer: NodeId) -> Result<(), LinksFull> {
        if peer == self.me || self.links.contains_key(&peer) {
            return Ok(());
        }
        if self.links.len() >= self.config.links_max {
            return Err(LinksFull(self.config.links_max));
        }
        // A little apart, so that answers do not wait for each other.
        let soon = now + self.config.settle * (self.rng.next_u32() % 1024) / 1024;
        self.links.insert(peer, Link::new(now, soon, &self.config));
        self.tell_all(peer, true);
        Ok(())
    }

    /// The connection with this neighbour is gone.
    pub fn link_down(&mut self, now: Instant, peer: NodeId) {
        if self.links.remove(&peer).is_some() {
            self.settle(now);
        }
    }

    /// The shell has measured the throughput of a link, in kbit/s.
    pub fn throughput(&mut self, now: Instant, peer: NodeId, kbps: u32) {
        let change = u64::from(self.config.change_percent);
        if let Some(link) = self.links.get_mut(&peer) {
            let old = link.throughput_kbps.unwrap_or(0);
            if u64::from(kbps.abs_diff(old)) * 100 > u64::from(old) * change {
                link.throughput_kbps = Some(kbps);
                self.soon(now);
            }
        }
    }

    /// What the transport has counted on a link since the last time, packets sent, and of them lost; and the round trip
    /// that it has measured itself, where packets came back since then. To be told four times a second or so.
    pub fn transport(&mut self, now: Instant, peer: NodeId, sent: u64, lost: u64, rtt: Option<Duration>) {
        let change = self.config.change_percent;
        let Some(link) = self.links.get_mut(&peer) else { return };
        let news = link.transport(sent, lost, change);
        let calm = !link.in_doubt();
        if let Some(rtt) = rtt {
            link.suspect(now, micros(rtt));
        }
        let doubted = calm && link.in_doubt();
        if news {
            self.soon(now);
        }
        if doubted {
            self.hasten(now);
        }
    }

    /// A link has come to be in doubt: what delays this node rather than one link is seen on all of them at the same time.
    fn hasten(&mut self, now: Instant) {
        let pause = self.config.probe_interval;
        if self.hastened_at.is_some_and(|at| now.since(at) < pause) {
            return;
        }
        self.hastened_at = Some(now);
        self.links.values_mut().for_each(|link| link.hasten(now, &self.config));
    }

    /// How busy this node is, in thousandths.
    pub fn load(&mut self, now: Instant, milli: u32) {
        if u64::from(milli.abs_diff(self.load_milli)) * 100 > u64::from(self.config.change_percent) * 1000 / 4
        {
            self.load_milli = milli;
            self.soon(now);
        }
    }

    /// A message came in from a neighbour whose identity the transport has checked.
    pub fn handle_message(&mut self, now: Instant, from: NodeId, bytes: &[u8]) {
        self.stats.received_frames += 1;
        let Some(link) = self.links.get_mut(&from) else {
            self.stats.strangers += 1;
            return;
        };
        if !link.allow(now, self.config.frames_per_second) {
            self.stats.floods += 1;
            return;
        }
        match Message::decode(bytes) {
            Ok(Message::Probe(number)) => self.send_once(from, Message::Echo(number)),
            Ok(Message::SureProbe(number)) => self.send(from, Message::Echo(number)),
            Ok(Message::Echo(number)) => self.echo(now, from, number),
            Ok(Message::Reports(reports)) => reports.into_iter().for_each(|r| self.news(now, from, r)),
            Ok(Message::Have { names, answer }) => self.compare(from, &names, answer),
            Err(report::Malformed::UnknownKind(_)) => self.stats.unknown_kinds += 1,
            Err(_) => self.stats.malformed += 1,
        }
    }

    /// Does what is due by now.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<NodeId> = self.links.iter().filter(|(_, l)| l.due <= now).map(|(id, _)| *id).collect();
        let (mut probed, mut doubted) = (false, false);
        for peer in due {
            let Some(link) = self.links.get_mut(&peer) else { continue };
            self.last_probe += 1;
            let calm = !link.in_doubt();
            let tick = link.tick(now, self.last_probe, &self.config);
            doubted |= calm && link.in_doubt();
            if tick.died {
                self.stats.links_died += 1;
                self.settle(now);
            }
            self.send_once(peer, Message::Probe(self.last_probe));
            if tick.surely {
                self.send(peer, Message::SureProbe(self.last_probe));
            }
            probed = true;
        }
        if doubted {
            self.hasten(now);
        }
        if probed && self.unconfirmed.iter().any(|claims| !claims.is_empty()) {
            self.soon(now);
        }
        if self.renew_at <= now {
            self.renew(now);
        }
        if self.settle_at.is_some_and(|at| at <= now) {
            self.settle(now);
        }
    }

    fn echo(&mut self, now: Instant, from: NodeId, number: u64) {
        let Some(link) = self.links.get_mut(&from) else { return };
        let (was_dead, calm) = (link.dead, !link.in_doubt());
        let news = link.echo(now, number, &self.config);
        let doubted = calm && link.in_doubt();
        if news {
            // The measurement has moved, or the link has come to life.
            self.soon(now);
        }
        if doubted {
            self.hasten(now);
        }
        if was_dead && self.links.get(&from).is_some_and(|link| !link.dead) {
            // It was told nothing meanwhile.
            self.tell_all(from, true);
        }
    }

    fn soon(&mut self, now: Instant) {
        let at = now + self.config.settle;
        self.settle_at = Some(self.settle_at.map_or(at, |planned| planned.min(at)));
    }

    fn send(&mut self, to: NodeId, message: Message) {
        let bytes = self.counted(message);
        self.actions.push_back(Action::Send { to, bytes });
    }

    fn send_once(&mut self, to: NodeId, message: Message) {
        let bytes = self.counted(message);
        self.actions.push_back(Action::Probe { to, bytes });
    }

    fn counted(&mut self, message: Message) -> Vec<u8> {
        let bytes = message.encode();
        self.stats.sent_frames += 1;
        self.stats.sent_bytes += bytes.len() as u64;
        bytes
    }

    /// The top level's number.
    fn top(&self) -> usize {
        self.levels.len() - 1
    }

    /// Our name on each level.
    #[must_use]
    pub fn locator(&self) -> Locator {
        (0..self.members.len()).map(|level| self.region_id(level)).collect()
    }

    /// A region goes by its lowest member; one without a way out, by its name on the level below.
    fn region_id(&self, level: usize) -> NodeId {
        self.members[..=level].iter().rev().find_map(|m| m.first().copied()).unwrap_or(self.me)
    }

    /// Who is in our region on a level; everybody known at the top.
    #[must_use]
    pub fn region(&self, level: usize) -> BTreeSet<NodeId> {
        match self.members.get(level) {
            Some(members) => members.clone(),
            None => self.levels.get(level).into_iter().flat_map(Level::keys).copied().collect(),
        }
    }

    /// The gateway from our region on a level to each neighbouring region.
    #[must_use]
    pub fn gateways(&self, level: usize) -> BTreeMap<NodeId, Gateway> {
        self.gateways.get(level).cloned().unwrap_or_default()
    }

    /// Our id.
    #[must_use]
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// The reports of a level, by origin: the measurement graph as it is known here.
    #[must_use]
    pub fn graph(&self, level: usize) -> Option<&Level> {
        self.levels.get(level)
    }

    /// Reports held, over all levels.
    #[must_use]
    pub fn reports_held(&self) -> usize {
        self.held.len()
    }

    /// All that routes are found in.
    pub fn map(&mut self) -> &Map {
        let map = self.map.take().unwrap_or_else(|| self.draw_map());
        self.map.insert(map)
    }

    /// Our links.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// What was received and refused.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Up to `count` routes to a node, cheapest first. One that is not in our tables is reached through the gateways
    /// of its region, which the locator names; such a route is not complete.
    pub fn routes(&mut self, metric: Metric, to: NodeId, locator: &[NodeId], count: usize) -> Vec<Route> {
        let me = self.me;
        let known = self.map().routes(metric, me, to, count);
        if !known.is_empty() {
            return known.into_iter().map(|(cost, nodes)| Route { nodes, cost, complete: true }).collect();
        }
        for (above, region) in (1..).zip(locator) {
            let level = self.levels.get(above).into_iter().flat_map(Level::values);
            let homes: Vec<NodeId> = level.filter(|r| r.home == *region).map(|r| r.origin).collect();
            let map = self.map();
            let ways = homes.into_iter().flat_map(|gateway| map.routes(metric, me, gateway, count));
            let mut found: Vec<Route> =
                ways.map(|(cost, nodes)| Route { nodes, cost, complete: false }).collect();
            if !found.is_empty() {
                found.sort_by_key(|r| (r.cost, r.nodes.len()));
                found.truncate(count);
                return found;
            }
        }
        Vec::new()
    }

    /// Of some nodes the one that is cheapest to reach, with the cost.
    pub fn nearest(&mut self, metric: Metric, among: &[NodeId]) -> Option<(NodeId, u64)> {
        let me = self.me;
        let map = self.map();
        let cost = |id: &NodeId| {
            let own = (*id == me).then_some(0);
            own.or_else(|| map.routes(metric, me, *id, 1).first().map(|(cost, _)| *cost))
        };
        among.iter().filter_map(|id| Some((cost(id)?, *id))).min().map(|(cost, id)| (id, cost))
    }

    /// What is known of the round trip between two nodes of our region that do not measure each other.
    #[must_use]
    pub fn infer(&self, a: NodeId, b: NodeId) -> Option<Bounds> {
        view::infer(&self.levels[0], a, b)
    }

    /// Nodes of our region without a link to us that are likely near, nearest first: worth a connection.
    #[must_use]
    pub fn worth_measuring(&self, count: usize) -> Vec<(NodeId, Bounds)> {
        let region = self.levels[0].keys().filter(|id| **id != self.me && !self.links.contains_key(id));
        let mut found: Vec<(NodeId, Bounds)> =
            region.filter_map(|id| Some((*id, self.infer(self.me, *id)?))).collect();
        found.sort_by_key(|(_, b)| u64::from(b.low_us) + u64::from(b.high_us));
        found.truncate(count);
        found
    }
}
