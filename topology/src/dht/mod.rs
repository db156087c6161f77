//! Kademlia: finding a node by its id, a random node, and records (which node offers which service, who holds which
//! digest), in a network whose nodes come and go.
//!
//! # Driving it
//!
//! [`Dht`] is a state machine. **After every call that takes `&mut self`, drain [`Dht::poll_action`] until it gives
//! None, then ask [`Dht::poll_timeout`] when [`Dht::handle_timeout`] is next due.** All time comes in as `now`, all
//! randomness from the seed that [`Dht::new`] got: the same calls give the same actions.
//!
//! The transport authenticates: the [`Contact`] that comes with a message is the identity that the sender proved and
//! the address of its mesh endpoint. Frames may be lost; a frame is at most [`FRAME_BYTES_MAX`] long.
//!
//! # What protects it
//!
//! - Only nodes that were heard under their own id get into the table and into answers; what others tell is hearsay
//!   that is tried in the one lookup that it was told to.
//! - A record names who stored it and nobody else, so nobody speaks for another node.
//! - Who tells of wrong identities, impossible distances or nodes that are not there, who answers what was not asked
//!   or asks too much is refused, counted ([`Dht::stats`]) and after some offences banned ([`Action::Banned`]).
//! - Every table has a bound; see [`Config`]. At most `lookups_max` times [`lookup::CANDIDATES_MAX`] questions and one
//!   for each contact are open at a time.

mod answer;
pub mod config;
pub mod guard;
pub mod lookup;
pub mod message;
pub mod records;
mod search;
pub mod table;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub use config::{BadConfig, Config};
pub use guard::{Counts, Offence};
pub use lookup::LookupId;
pub use message::FRAME_BYTES_MAX;
pub use records::Key;

use crate::id::{Contact, NodeId};
use crate::time::Instant;
use guard::Guard;
use lookup::Lookup;
use message::{Body, Message};
use records::Records;
use table::Table;

/// Hearsay remembered so that a lie that shows after its lookup can still be held against who told it.
const RUMOURS_MAX: usize = 1024;
/// Seeds remembered for the next attempt to join.
const SEEDS_MAX: usize = 64;

/// What the shell is to do, or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes to that node, as one message.
    Send {
        /// To whom; where another identity answers at its address, say so with [`Dht::handle_wrong_identity`].
        to: Contact,
        /// The message.
        bytes: Vec<u8>,
    },
    /// A lookup is over.
    Done {
        /// Which.
        lookup: LookupId,
        /// What came of it.
        outcome: Outcome,
    },
    /// A peer is not listened to any more.
    Banned {
        /// Who.
        peer: NodeId,
        /// Until when.
        until: Instant,
        /// The last of its offences.
        offence: Offence,
    },
}

/// What came of a lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The node's contact. It may be hearsay until the shell has reached the node; where another identity answers
    /// there, say so with [`Dht::handle_wrong_identity`] and look again.
    Node(Contact),
    /// Who said that they hold the record; at least one.
    Holders(Vec<Contact>),
    /// Our record was sent to so many nodes.
    Published {
        /// Nodes that it was sent to; our own copy comes on top.
        copies: usize,
    },
    /// The nodes nearest to the point have answered, and what was looked for is not there.
    NotFound,
}

/// A lookup or record was refused since a bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is at its bound of {max}: try again later or raise the setting")]
pub struct Busy {
    /// The setting.
    pub what: &'static str,
    /// Its value.
    pub max: usize,
}

/// What went over the wire and what was refused, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames handed out to be sent.
    pub sent_frames: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Frames received, refused ones included.
    pub received_frames: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Questions that were left unanswered.
    pub unanswered: u64,
    /// Frames of a kind that only a newer version knows.
    pub unknown_kinds: u64,
    /// Records that were not taken for want of room.
    pub records_refused: u64,
    /// Offences, bans and what banned peers sent.
    pub refused: Counts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A question is late, or too late.
    Question(u64),
    Join,
    Neighbours,
    FirstRefresh(u32),
    Refresh,
    Republish(Key),
    Expire,
}

#[derive(Clone, Copy, Debug)]
enum Purpose {
    Lookup(LookupId),
    Ping,
    Store,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    to: Contact,
    sent: Instant,
    timer: Instant,
    late: bool,
    purpose: Purpose,
}

/// One node's part of the distributed hash table. See the module's text for how to drive it.
#[derive(Debug)]
pub struct Dht {
    config: Config,
    me: Contact,
    rng: ChaCha12Rng,
    table: Table,
    guard: Guard,
    records: Records,
    published: BTreeSet<Key>,
    lookups: BTreeMap<LookupId, Lookup>,
    questions: BTreeMap<u64, Question>,
    timers: BTreeSet<(Instant, Timer)>,
    actions: VecDeque<Action>,
    /// Who told of whom, the latest last.
    rumours: VecDeque<(NodeId, NodeId)>,
    seeds: Vec<Contact>,
    joined: bool,
    /// Rounds of looking after the neighbours.
    rounds: u32,
    /// [`Table::size_bits`] when it was last asked.
    size_bits: Option<u32>,
    last_lookup: u64,
    last_transaction: u64,
    stats: Stats,
}

impl Dht {
    /// A node on its own. `seed` is the source of all its choices and must not be guessable by others.
    ///
    /// # Errors
    /// Where the settings do not fit together.
    pub fn new(config: Config, me: Contact, seed: [u8; 32], now: Instant) -> Result<Self, BadConfig> {
        config.check()?;
        let mut rng = ChaCha12Rng::from_seed(seed);
        let table = Table::new(
            me.id,
            table::Bounds {
                k: config.k,
                replacements_max: config.replacements_max,
                failures_max: config.failures_max,
                swap_interval: config.swap_interval,
            },
        );
        let guard = Guard::new(
            guard::Limits {
                per_second: config.questions_per_second,
                burst: config.questions_burst,
                watched_max: config.watched_max,
                ban: config.ban,
                banned_max: config.banned_max,
            },
            now,
        );
        let records = Records::new(
            me.id,
            records::Bounds {
                points_max: config.points_max,
                holders_max: config.holders_max,
                points_per_node_max: config.points_per_node_max,
                ttl: config.record_ttl,
            },
        );
        let last_transaction = rng.next_u64() >> 1;
        let mut dht = Self {
            config,
            me,
            rng,
            table,
            guard,
            records,
            published: BTreeSet::new(),
            lookups: BTreeMap::new(),
            questions: BTreeMap::new(),
            timers: BTreeSet::new(),
            actions: VecDeque::new(),
            rumours: VecDeque::new(),
            seeds: Vec::new(),
            joined: false,
            rounds: 0,
            size_bits: None,
            last_lookup: 0,
            last_transaction,
            stats: Stats::default(),
        };
        dht.start_timers(now);
        Ok(dht)
    }

    /// Our own contact.
    #[must_use]
    pub fn me(&self) -> Contact {
        self.me
    }

    /// Our endpoint is reached at another address than was thought: what others see is known only after a while.
    /// Records that we publish name it from now on.
    pub fn moved(&mut self, now: Instant, addr: std::net::SocketAddr) {
        self.me.addr = addr;
        for key in self.published.clone() {
            self.records.store(now, key.point(), self.me, self.config.record_ttl);
        }
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A message came in from a node whose identity the transport has checked.
    pub fn handle_message(&mut self, now: Instant, from: Contact, bytes: &[u8]) {
        self.stats.received_frames += 1;
        self.stats.received_bytes += bytes.len() as u64;
        if from.id == self.me.id || !self.guard.admit(now, from.id) {
            return;
        }
        match Message::decode(bytes) {
            Ok(message) => self.take(now, from, message),
            Err(message::Malformed::UnknownKind(_)) => self.stats.unknown_kinds += 1,
            Err(_) => self.offend(now, from.id, Offence::Malformed),
        }
    }

    /// The transport has made a connection with this node and checked its identity; `rtt` where it measured one.
    pub fn handle_connected(&mut self, now: Instant, node: Contact, rtt: Option<Duration>) {
        if node.id != self.me.id && !self.guard.is_banned(now, node.id) {
            self.hear(now, node, rtt.map(crate::time::micros));
        }
    }

    /// The transport could not reach this node or has lost it.
    pub fn handle_unreachable(&mut self, now: Instant, node: NodeId) {
        let open: Vec<u64> =
            self.questions.iter().filter(|(_, q)| q.to.id == node).map(|(t, _)| *t).collect();
        if open.is_empty() {
            self.lost(now, node);
        }
        for transaction in open {
            self.give_up(now, transaction);
        }
    }

    /// At this contact's address another identity answered. Who told of it is held responsible.
    pub fn handle_wrong_identity(&mut self, now: Instant, claimed: Contact) {
        let mut tellers: BTreeSet<NodeId> = BTreeSet::new();
        let open: Vec<u64> =
            self.questions.iter().filter(|(_, q)| q.to == claimed).map(|(t, _)| *t).collect();
        for transaction in open {
            tellers.extend(self.give_up(now, transaction));
        }
        tellers.extend(self.rumours.iter().filter(|(who, _)| *who == claimed.id).map(|(_, teller)| *teller));
        self.rumours.retain(|(who, _)| *who != claimed.id);
        if self.table.get(claimed.id).is_some_and(|e| e.contact == claimed) {
            self.table.remove(claimed.id);
        }
        for teller in tellers {
            self.offend(now, teller, Offence::WrongIdentity);
        }
    }

    /// The nodes nearest to ourselves that we hold for alive, nearest first.
    #[must_use]
    pub fn neighbours(&self, count: usize) -> Vec<Contact> {
        self.closest(self.me.id, count)
    }

    /// The nodes nearest to a point that we hold for alive, nearest first; asks nobody.
    #[must_use]
    pub fn closest(&self, point: NodeId, count: usize) -> Vec<Contact> {
        self.table.closest(point, count).into_iter().map(|e| e.contact).collect()
    }

    /// All contacts with their smoothed round trips in microseconds: for a view, or to be kept for the next start.
    pub fn contacts(&self) -> impl Iterator<Item = (Contact, Option<u32>)> + '_ {
        self.table.entries().map(|e| (e.contact, e.rtt_us))
    }

    /// What went over the wire and what was refused.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { refused: self.guard.counts(), ..self.stats }
    }

    /// Whether this peer is banned.
    #[must_use]
    pub fn is_banned(&self, now: Instant, peer: NodeId) -> bool {
        self.guard.is_banned(now, peer)
    }

    fn send(&mut self, to: Contact, transaction: u64, body: Body) {
        let bytes = Message { transaction, body }.encode();
        self.stats.sent_frames += 1;
        self.stats.sent_bytes += bytes.len() as u64;
        self.actions.push_back(Action::Send { to, bytes });
    }

    fn offend(&mut self, now: Instant, peer: NodeId, offence: Offence) {
        if let Some(until) = self.guard.offend(now, peer, offence) {
            self.table.remove(peer);
            self.rumours.retain(|(_, teller)| *teller != peer);
            self.actions.push_back(Action::Banned { peer, until, offence });
        }
    }

    /// A node was heard under its own id.
    fn hear(&mut self, now: Instant, node: Contact, rtt_us: Option<u32>) {
        let Some(silent) = self.table.hear(now, node, rtt_us) else { return };
        let heard = self.table.get(silent.id).map_or(now, |e| e.heard);
        if now.since(heard) > self.config.refresh_interval {
            self.ping(now, silent);
        }
    }
}
