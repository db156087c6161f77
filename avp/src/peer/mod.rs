//! [`VirtualPeer`]: the way a message travels.
//!
//! | file | what |
//! | --- | --- |
//! | `mod` | events in, a batch out, and when to wake up |
//! | `opening` | connections that are no relation yet: dialled, accepted, shaking hands |
//! | `admission` | who comes in, and as what |
//! | `relation` | a relation begins, speaks and ends |
//! | `table` | all relations, by connection and by place |
//! | `queries` | queries to the leaves and neighbours that may answer |
//! | `dynamic` | queries of leaves, put to one neighbour after the other |
//! | `answers` | hits and pushes, back along their routes |
//! | `pings` | pings answered, pongs kept |
//! | `policing` | what the shell's policy says about messages |
//! | `forwarding` | what it says about routes and neighbours |
//! | `survey` | what it asks of peers beside their messages |
//! | `routing` | query routing tables in and out |
//! | `strangers` | HTTP requests and datagrams |
//! | `vendor` | vendor messages |
//! | `work` | how much one call may do, and who has to wait |
//! | `memory` | what all relations make us hold, and whose end it is when that is too much |
//! | `journal` | what the operator is told in words |
//! | `upkeep` | what is done once a second: dials, routes that age, tables that are published |
//! | `address` | under which address others see this peer |
//! | `saved` | what outlives the instance |
//! | `status`, `report` | what an operator sees, and the figures |

mod address;
mod admission;
mod answers;
mod dynamic;
mod forwarding;
mod journal;
mod memory;
mod opening;
mod pings;
mod policing;
mod queries;
mod relation;
mod report;
mod routing;
mod saved;
mod status;
mod strangers;
mod survey;
mod table;
mod upkeep;
mod vendor;
mod work;

pub use saved::RestoreError;
pub use status::{LinkStatus, Slots, Status};

use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use self::address::OwnAddress;
use self::forwarding::Forwarding;
use self::journal::Journal;
use self::opening::Openings;
use self::policing::Policing;
use self::report::Counters;
use self::table::Table;
use self::work::{PAUSE, Work};
use crate::application::door::Door;
use crate::application::dynamic_query::{Active, Ask, Candidate};
use crate::application::monitoring::Monitor;
use crate::application::policy::Access;
use crate::application::query_routing::{Matrix, Published};
use crate::application::routes::{PushRoute, QueryRoute, Routes};
use crate::application::routing::{Inherited, Routing};
use crate::application::topology::Topology;
use crate::cache::hosts::HostCache;
use crate::cache::pong::PongCache;
use crate::config::Config;
use crate::gnutella::Guid;
use crate::host::{Event, Host, Instant};
use crate::link::dispatch::Dispatch;
use crate::link::schedule::Schedule;
use crate::link::{Ending, Identity};
use crate::tables::{self, GuidHasher};

/// What this peer calls itself in handshakes and Byes.
pub const USER_AGENT: &str = concat!("eep-avp/", env!("CARGO_PKG_VERSION"));
/// From one upkeep to the next.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A Gnutella ultrapeer, sans-I/O.
///
/// **Drive it so:** after each call of [`Self::handle`], carry out what it asked of the [`Host`] before the next one;
/// call it with [`Event::Timer`] at the time that it asked for last. It does nothing between calls.
#[derive(Debug)]
pub struct VirtualPeer {
    config: Config,
    access: Access,
    policing: Policing,
    forwarding: Forwarding,
    guid: Guid,
    own: OwnAddress,
    identity: Identity,
    rng: ChaCha12Rng,
    started: Instant,
    now: Instant,
    upkeep_at: Instant,
    pong_refresh_at: Instant,
    /// When the host was last asked to wake us.
    wake_asked: Option<Instant>,
    stopping: bool,

    table: Table,
    openings: Openings,
    dispatch: Dispatch,
    schedule: Schedule,
    topology: Topology,
    door: Door,

    /// Where the hits of a query go.
    query_routes: Routes<QueryRoute>,
    /// Where the pushes for a servent go.
    push_routes: Routes<PushRoute>,
    /// What the leaves have.
    leaf_tables: Matrix,
    /// What the neighbours and their leaves have.
    neighbour_tables: Matrix,
    published: Published,
    /// Memory for what has come in and is unfinished or has to wait, of all relations.
    held_bytes: usize,
    work: Work,
    dynamic: Active,
    /// Who of the neighbours gets a query, where it is not for the standard rules to say.
    routing: Option<Box<dyn Routing>>,
    inherited: Inherited,

    hosts: HostCache,
    pongs: PongCache,

    monitor: Monitor,
    counters: Counters,
    journal: Journal,
    /// The address that the operator was told.
    told_address: Option<SocketAddrV4>,

    /// The links that the message at hand goes to; kept for its memory.
    targets: Vec<u32>,
    /// The payload of the message at hand, where it had to be changed; kept for its memory.
    scratch: Vec<u8>,
    candidates: Vec<Candidate>,
    asks: Vec<Ask>,
}

impl VirtualPeer {
    /// A peer with a new identity. `config` has passed [`Config::validate`]; `seed` is fresh randomness, from which
    /// all of the peer's random choices follow.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32], now: Instant) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let guid = Guid::random(&mut rng);
        // A stream of their own: nothing that the peer does depends on how many keys its tables take.
        let mut keys = rng.clone();
        keys.set_stream(1);
        let hasher = tables::hasher(&mut keys);
        let route_age = Duration::from_secs(config.route_seconds.into());
        Self {
            access: Access::new(&config),
            policing: Policing::default(),
            forwarding: Forwarding::default(),
            guid,
            own: OwnAddress::default(),
            identity: Identity {
                user_agent: USER_AGENT.to_owned(),
                listen: None,
                guid,
                live_since_s: 0,
                degree: config.ultrapeers.max(DEGREE_SAID_MIN),
                max_ttl: config.max_ttl,
                compression: config.compression,
            },
            started: now,
            now,
            upkeep_at: now,
            pong_refresh_at: now,
            wake_asked: None,
            stopping: false,
            table: Table::new(&hasher),
            openings: Openings::new(&hasher),
            dispatch: Dispatch::default(),
            schedule: Schedule::default(),
            topology: Topology::new(&config.connect),
            door: Door::new(&hasher),
            query_routes: Routes::new(
                GuidHasher::new(&mut keys),
                config.query_routes as usize,
                route_age,
                now,
            ),
            push_routes: Routes::new(GuidHasher::new(&mut keys), config.push_routes as usize, route_age, now),
            leaf_tables: Matrix::new(config.large_table_bytes as usize),
            neighbour_tables: Matrix::new(NEIGHBOUR_LARGE_TABLE_BYTES_MAX),
            published: Published::default(),
            held_bytes: 0,
            work: Work::default(),
            dynamic: Active::new(config.dynamic_queries as usize, &hasher),
            routing: None,
            inherited: Inherited::default(),
            hosts: HostCache::new(config.allow_private_addresses, &mut keys),
            pongs: PongCache::default(),
            monitor: Monitor::default(),
            counters: Counters::default(),
            journal: Journal::new(&hasher),
            told_address: None,
            targets: Vec::new(),
            scratch: Vec::new(),
            candidates: Vec::new(),
            asks: Vec::new(),
            rng,
            config,
        }
    }

    /// Lets something else than the standard rules say which neighbours get a query.
    #[must_use]
    pub fn route_with(mut self, mut routing: Box<dyn Routing>) -> Self {
        std::mem::take(&mut self.inherited).give(routing.as_mut());
        self.routing = Some(routing);
        self
    }

    /// Takes a batch of events, in the order in which they happened.
    pub fn handle<'a>(
        &mut self,
        now: Instant,
        events: impl IntoIterator<Item = Event<'a>>,
        host: &mut impl Host,
    ) {
        self.now = self.now.max(now);
        self.work.begin();
        for event in events {
            self.event(event, host);
        }
        self.due(host);
        self.decide_waiting(host);
        self.finish(host);
    }

    fn event(&mut self, event: Event<'_>, host: &mut impl Host) {
        match event {
            Event::Received { conn, bytes } => match self.table.find(conn) {
                Some(index) => self.received(index, bytes, host),
                None => self.opening_received(conn, bytes, host),
            },
            Event::Writable { conn } => {
                if let Some(relation) = self.table.by_conn(conn) {
                    self.dispatch.writable(&mut relation.link);
                }
            }
            Event::Accepted { conn, remote, local } => self.accepted(conn, canonical(remote), local, host),
            Event::Established { conn, remote, local } => {
                self.established(conn, canonical(remote), local, host);
            }
            Event::Failed { conn, reason } => self.opening_closed(conn, reason),
            Event::Closed { conn, reason } => match self.table.find(conn) {
                Some(index) => self.end(index, Ending::Lost(reason)),
                None => self.opening_closed(conn, reason),
            },
            Event::Datagram { from, bytes } => self.datagram(from, bytes, host),
            Event::PolicyChanged { generation } => self.policy_changed(generation, host),
            Event::Timer => {}
        }
    }

    /// Does what is due.
    fn due(&mut self, host: &mut impl Host) {
        self.go_on(host);
        while let Some(conn) = self.schedule.pop_due(self.now) {
            match self.table.find(conn) {
                Some(index) => self.relation_due(index),
                None => self.opening_due(conn),
            }
        }
        self.dynamic_due(host);
        if self.now >= self.upkeep_at {
            self.upkeep_at = self.now + UPKEEP_INTERVAL;
            self.upkeep(host);
        }
    }

    /// Hands over what is to be sent, and says when to be called again.
    fn finish(&mut self, host: &mut impl Host) {
        self.dispatch.flush(self.now, host, &mut self.table);
        while let Some(conn) = self.dispatch.take_overflowed() {
            if let Some(index) = self.table.find(conn) {
                self.end(index, Ending::QueueOverflow);
            }
        }
        self.dispatch.flush(self.now, host, &mut self.table);
        self.begin_inflating(host);
        self.journal.flush(host);
        self.ask_to_be_woken(self.now, host);
    }

    /// Says when to be called again, where that is not what was said last.
    fn ask_to_be_woken(&mut self, now: Instant, host: &mut impl Host) {
        let go_on_at = self.work.has_waiting().then_some(self.now + PAUSE);
        let next = [Some(self.upkeep_at), go_on_at, self.schedule.next_at(), self.dynamic.next_at()];
        if let Some(at) = next.into_iter().flatten().min()
            && self.wake_asked != Some(at)
        {
            self.wake_asked = Some(at);
            host.wake_at(at.max(now));
        }
    }

    /// Puts another configuration in force. Relations beyond lowered limits live on; no new ones are made.
    pub fn configure(&mut self, now: Instant, config: Config, host: &mut impl Host) {
        let route_age = Duration::from_secs(config.route_seconds.into());
        self.access = Access::new(&config);
        self.identity.max_ttl = config.max_ttl;
        self.identity.compression = config.compression;
        self.topology.configure(&config.connect);
        self.query_routes.resize(config.query_routes as usize, route_age);
        self.push_routes.resize(config.push_routes as usize, route_age);
        self.dynamic.resize(config.dynamic_queries as usize);
        self.config = config;
        self.identity.degree = self.ultrapeers_max().max(DEGREE_SAID_MIN);
        self.handle(now, [], host);
    }

    /// Says goodbye to every peer and closes every connection. Who connects from now on is refused.
    pub fn stop(&mut self, now: Instant, host: &mut impl Host) {
        self.now = self.now.max(now);
        self.stopping = true;
        for index in self.table.indices() {
            self.end(index, Ending::Shutdown);
        }
        self.close_openings(host);
        self.dispatch.flush(self.now, host, &mut self.table);
    }
}

/// A peer with an IPv4 address is one, even where the shell's socket speaks IPv6.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Bytes for neighbours' query routing tables with more than 65,536 slots. Neighbours in use send 131,072 at most, which
/// take 16 KiB each.
const NEIGHBOUR_LARGE_TABLE_BYTES_MAX: usize = 8 << 20;

/// Leaves of other makes want an ultrapeer of at least this degree.
const DEGREE_SAID_MIN: u16 = 16;
