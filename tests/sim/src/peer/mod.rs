//! Ordinary peers: full messages, as the crate `avp` writes and reads them, and little else.
//!
//! One type for all: a leaf has no router; an ultrapeer and a peer of a flat network have one; a free rider shares
//! nothing; an attacker is a peer that does more than it should.
//!
//! | file | what |
//! | --- | --- |
//! | `mod` | the peer's state, its beginning and its end, its timers |
//! | `links` | relations: dialling, accepting, ending |
//! | `handshake` | the text before the messages |
//! | `messages` | pings, pongs, routing tables, and who gets what |
//! | `searches` | searches of its own and of others |
//! | `router` | what an ultrapeer needs beyond a leaf |
//! | `tables` | routing tables of all relations |
//! | `told` | what one peer has told of what it has |
//! | `attack` | what an attacker does |

mod attack;
mod handshake;
mod links;
mod messages;
mod router;
mod searches;
mod tables;
pub mod told;

use avp::Instant;
use avp::gnutella::Guid;
use avp::gnutella::qrp::Hashes;

pub use self::attack::Attack;
use self::links::Other;
pub use self::links::{Link, Stage};
use self::router::Router;
pub use self::searches::Search;
use crate::engine::{MS, SECOND};
use crate::internet::place::NodeId;
use crate::measure::seen::Seen;
use crate::workload::content::{FileId, WordSet, mix};
use crate::workload::klemm::{Region, between_searches_s};
use crate::workload::life::Span;
use crate::workload::preset::{Searches, Style};
use crate::world::{Bytes, End, Setup, Shard};

/// Hosts that a peer remembers.
const HOSTS_MAX: usize = 60;
/// Ids of searches that a leaf remembers, so that it answers each once.
const ANSWERED_MAX: usize = 4_000;
/// How long it remembers them, in nanoseconds: dynamic queries live as long.
const ANSWERED_AGE: u64 = 600 * SECOND;
/// Searches of its own that a peer waits for.
const SEARCHES_MAX: usize = 128;
/// Files that a peer shares at most.
const FILES_MAX: usize = 2_000;
/// Relations of a peer, of all kinds and stages.
const LINKS_MAX: usize = 400;
/// Most relations that a peer looks for.
const WANT_MAX: u16 = 300;
/// From one look at its relations to the next, while it wants more...
const TICK_BUSY: u64 = 3 * SECOND;
/// ...and when it has enough.
const TICK_CALM: u64 = 30 * SECOND;
/// Dials that come to nothing before a peer waits longer between them.
const TRIES_PATIENT: u32 = 6;
/// The longest that it waits, as a multiple of [`TICK_BUSY`].
const WAIT_FACTOR_MAX: u64 = 32;
/// Searches begin so long after their peer, at least: relations come first.
const FIRST_SEARCH_AFTER_S: f64 = 15.0;

/// Of the lives that are under way when a simulation begins, so many still have their searches before them: those take
/// some ten minutes of a stable life of two hours.
const SEARCHES_LEFT_SHARE: f64 = 0.08;

/// For what a peer set a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// To look after its relations.
    Tick,
    /// To search.
    Search,
    /// A search of its own is over.
    SearchOver,
    /// A step of a dynamic query is due.
    Dynamic,
    /// To tell its neighbours what its leaves have.
    Publish,
    /// To attack.
    Attack,
    /// A virtual peer asked to be woken.
    Wake,
}

/// What a peer is to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// In two tiers: below ultrapeers.
    Leaf,
    /// In two tiers: above leaves.
    Ultrapeer,
    /// In a flat network.
    Flat,
}

/// What a place is, as a number. It does not change from life to life: it has to do with its line and its user.
fn fate(setup: &Setup, node: NodeId) -> u64 {
    mix(u64::from(node) ^ mix(setup.seed ^ 0xfa7e))
}

impl Role {
    /// What a light peer at this place is.
    #[must_use]
    pub fn of(setup: &Setup, node: NodeId) -> Self {
        match setup.preset.style {
            Style::Flat => Self::Flat,
            Style::TwoTier if fate(setup, node) % 1_000 < u64::from(setup.preset.ultrapeers_permille) => {
                Self::Ultrapeer
            }
            Style::TwoTier => Self::Leaf,
        }
    }
}

/// An ordinary peer.
#[derive(Debug)]
pub struct Light {
    /// Where it is.
    pub node: NodeId,
    /// What it is.
    pub role: Role,
    /// Its servent GUID.
    guid: Guid,
    /// Whether this life is of the stable state.
    stable: bool,
    links: Vec<Link>,
    /// Relations of each kind that stand, or will with the next message.
    counts: [u16; Other::ALL],
    hosts: Vec<NodeId>,
    /// Dials that came to nothing since the last that did not.
    tries: u32,
    /// Relations that it looks for.
    want: u16,
    /// Since when it has had no relation, where it has none.
    alone_since: Instant,
    files: Box<[FileId]>,
    /// The words of their names.
    words: WordSet,
    /// Its routing table as messages, once somebody has asked.
    table: Option<Vec<Bytes>>,
    answered: Seen,
    searches: Vec<Search>,
    searches_left: u32,
    router: Option<Box<Router>>,
    attack: Option<Attack>,
}

impl Light {
    /// A peer that comes to this place.
    #[must_use]
    pub fn new(world: &mut Shard, node: NodeId, span: Span) -> Self {
        let preset = &world.setup.preset;
        let fate = fate(&world.setup, node);
        let role = Role::of(&world.setup, node);
        let hub = (fate >> 20) % 100 < u64::from(preset.hubs_percent);
        let want = match role {
            Role::Leaf => preset.parents,
            Role::Ultrapeer => preset.neighbours,
            Role::Flat => match preset.degree_exponent {
                Some(exponent) => long_tailed(fate, preset.neighbours, exponent),
                None if hub => preset.neighbours * 3,
                None => preset.neighbours,
            },
        };
        let rides = (fate >> 32) % 100 < u64::from(preset.free_riders_percent);
        let (files, searches) = (preset.files, preset.searches);
        let files = if rides { Vec::new() } else { library(world, files) };
        let searches_left = match searches {
            Searches::Never => 0,
            Searches::Every(_) => u32::MAX,
            Searches::Klemm if span.stable && (!span.under_way || world.dice.chance(SEARCHES_LEFT_SHARE)) => {
                Region::of_system(world.places.system(node)).searches(&mut world.dice)
            }
            Searches::Klemm => 0,
        };
        let number = world.router_number(node);
        let router = number.map(|number| Box::new(Router::new(world, number)));
        Self {
            node,
            role,
            guid: Guid::random(world.dice.rng()),
            stable: span.stable,
            links: Vec::new(),
            counts: [0; Other::ALL],
            hosts: Vec::new(),
            tries: 0,
            want,
            alone_since: world.now(),
            words: WordSet::of(&world.catalogue, &files),
            files: files.into(),
            table: None,
            answered: Seen::new(ANSWERED_AGE, ANSWERED_MAX),
            searches: Vec::new(),
            searches_left,
            router,
            attack: None,
        }
    }

    /// The first that it does.
    pub fn begin(&mut self, world: &mut Shard) {
        if self.role != Role::Leaf {
            world.announce(self.node);
            let after = world.dice.below(60_000) as u64 * MS;
            if self.role == Role::Ultrapeer {
                world.timer(self.node, router::PUBLISH_INTERVAL / 4 + after, Timer::Publish);
            }
        }
        if self.searches_left > 0 {
            let first = FIRST_SEARCH_AFTER_S + self.pause_s(world);
            world.timer(self.node, seconds(first), Timer::Search);
        }
        self.tick(world);
    }

    /// What its clock shows.
    fn time(&self, world: &Shard) -> Instant {
        world.clock(self.node).shows(world.now())
    }

    /// Time until its next search, in seconds.
    fn pause_s(&self, world: &mut Shard) -> f64 {
        match world.setup.preset.searches {
            Searches::Every(mean) => world.dice.exponential(mean),
            _ => between_searches_s(&mut world.dice),
        }
    }

    /// A timer has come.
    pub fn timer(&mut self, world: &mut Shard, timer: Timer) {
        match timer {
            Timer::Tick => self.tick(world),
            Timer::Search => self.search(world),
            Timer::SearchOver => self.search_over(world),
            Timer::Dynamic => self.dynamic_due(world),
            Timer::Publish => self.publish(world),
            Timer::Attack => self.attack_now(world),
            Timer::Wake => {}
        }
    }

    fn tick(&mut self, world: &mut Shard) {
        self.look_after_links(world);
        let busy = self.wants_more();
        if self.role != Role::Leaf {
            // A web cache is told by those who have room.
            if self.has_room_for_newcomers(world) {
                world.announce(self.node)
            } else {
                world.withdraw(self.node)
            }
        }
        let now = self.time(world);
        if let Some(router) = &mut self.router {
            router.tick(now);
        }
        let factor = (1 << (self.tries / TRIES_PATIENT).min(16)).min(WAIT_FACTOR_MAX);
        let after = if busy { TICK_BUSY * factor } else { TICK_CALM };
        // Not all at once.
        let after = after / 2 + world.dice.below(after as usize) as u64;
        world.timer(self.node, after, Timer::Tick);
    }

    /// It leaves and says so.
    pub fn leave(mut self, world: &mut Shard) {
        for n in (0..self.links.len()).rev() {
            self.end_link(world, n);
        }
        let open = std::mem::take(&mut self.searches);
        open.into_iter().for_each(|s| world.records.search(s.record(self.node)));
    }

    /// The open ends of its relations.
    #[must_use]
    pub fn ends(&self) -> Vec<End> {
        self.links.iter().map(|l| l.end).collect()
    }

    /// Who it has relations with, and since how long.
    pub fn relations(&self, now: Instant) -> impl Iterator<Item = (NodeId, Instant)> {
        let up = self.links.iter().filter(|l| l.is_up());
        up.map(move |l| (l.other, Instant(now.0 - l.since.0)))
    }

    /// The open ends of its relations that stand.
    pub fn ends_up(&self) -> impl Iterator<Item = End> {
        self.links.iter().filter(|l| l.is_up()).map(|l| l.end)
    }

    /// Since when it has had no relation, if it has none.
    #[must_use]
    pub fn alone_since(&self) -> Option<Instant> {
        (self.degree() == 0).then_some(self.alone_since)
    }

    /// Whether it is an ultrapeer that takes another leaf.
    #[must_use]
    pub fn has_room_for_leaf(&self, world: &Shard) -> bool {
        self.role == Role::Ultrapeer && self.has_room(world, Other::Leaf)
    }

    /// Lets one of its tables grow beyond its bound.
    pub fn overfill(&mut self) {
        self.hosts.resize(HOSTS_MAX + 1, self.node);
    }

    /// Reads where its parts are, for who will need them soon.
    #[must_use]
    pub fn glance(&self) -> usize {
        self.links.len() ^ usize::from(self.router.is_some() ^ self.words.is_empty())
    }

    /// Reads a link and what is beside it.
    #[must_use]
    pub fn glance_at(&self, index: u32) -> u32 {
        let link = self.links.get(index as usize).map_or(0, |link| link.serial);
        let router = self.router.as_ref().map_or(0, |router| router.glance());
        link ^ router
    }

    /// Reads what it knows of who may have what is asked for.
    #[must_use]
    pub fn glance_for(&self, hashes: &Hashes) -> u32 {
        self.router.as_ref().map_or(0, |router| router.tables.glance_for(hashes))
    }

    /// How many relations it has.
    #[must_use]
    pub fn degree(&self) -> usize {
        self.links.iter().filter(|l| l.is_up()).count()
    }

    /// Whether this life is of the stable state.
    #[must_use]
    pub fn is_stable(&self) -> bool {
        self.stable
    }

    /// Files that it shares.
    #[must_use]
    pub fn files(&self) -> &[FileId] {
        &self.files
    }

    /// The table that is beyond its bound, if one is.
    #[must_use]
    pub fn overfull(&self) -> Option<String> {
        let tables = [
            ("links", self.links.len(), LINKS_MAX),
            ("hosts", self.hosts.len(), HOSTS_MAX),
            ("answered", self.answered.len(), 2 * ANSWERED_MAX),
            ("searches", self.searches.len(), SEARCHES_MAX),
        ];
        let own = tables.into_iter().find(|(_, len, max)| len > max);
        own.map(|(name, len, max)| format!("{name}: {len} of {max}"))
            .or_else(|| self.router.as_ref().and_then(|r| r.overfull()))
    }

    /// Remembers a host.
    fn hear_of(&mut self, world: &mut Shard, host: NodeId) {
        if host == self.node || self.hosts.contains(&host) {
            return;
        }
        if self.hosts.len() < HOSTS_MAX {
            self.hosts.push(host);
        } else {
            let place = world.dice.below(HOSTS_MAX);
            self.hosts[place] = host;
        }
    }
}

/// How many relations a peer of this fate looks for, where their number falls with an exponent.
fn long_tailed(fate: u64, least: u16, exponent: f64) -> u16 {
    // Above 0, at most 1.
    let part = ((fate >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    let degree = f64::from(least) * libm::pow(part, -1.0 / (exponent - 1.0));
    degree.min(f64::from(WANT_MAX)) as u16
}

/// The files of a peer that shares: log-normal around the mean.
fn library(world: &mut Shard, mean: u32) -> Vec<FileId> {
    // exp(mu + 1/2) is the mean.
    let count = world.dice.lognormal(libm::log(f64::from(mean.max(1))) - 0.5, 1.0);
    let count = (count as usize).clamp(1, FILES_MAX);
    let mut files: Vec<FileId> = (0..count).map(|_| world.catalogue.draw(&mut world.dice)).collect();
    files.sort_unstable();
    files.dedup();
    files
}

/// Nanoseconds of so many seconds.
fn seconds(seconds: f64) -> u64 {
    (seconds * SECOND as f64) as u64
}
