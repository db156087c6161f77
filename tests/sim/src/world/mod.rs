//! Peers, their connections, and virtual time.
//!
//! | file | what |
//! | --- | --- |
//! | `mod` | the world's state and how an event reaches a peer |
//! | `setup` | how a world is described and made |
//! | `conns` | connections between peers |
//! | `floods` | which routers have seen which search |
//! | `plant` | broken rules on purpose |
//! | `transport` | connecting, sending and closing: delays, rates, what is lost |
//! | `crowd` | peers come and go |
//! | `virtual_peer` | the shell of the product's virtual peer |
//! | `faults` | what goes wrong, as an input |
//! | `checks` | what must hold all the time |

pub mod checks;
pub mod conns;
pub mod crowd;
pub mod faults;
pub mod floods;
pub mod plant;
pub mod setup;
pub mod transport;
pub mod virtual_peer;

use std::rc::Rc;

use avp::host::CloseReason;
use avp::{Config, Instant};

pub use self::checks::{Checks, Violation};
pub use self::conns::{Conns, End, Keep};
use self::faults::Weather;
pub use self::faults::{Fault, FaultKind};
use self::floods::Floods;
pub use self::plant::Plant;
pub use self::setup::Setup;
use self::virtual_peer::Avp;
use crate::engine::{Dice, Queue};
use crate::internet::Places;
use crate::internet::place::NodeId;
use crate::measure::Ledger;
use crate::peer::told::Memory;
use crate::peer::{Light, Timer};
use crate::workload::Catalogue;
use crate::workload::content::mix;
use crate::workload::life::Span;

/// Bytes on their way; those of one message to many are there once.
pub type Bytes = Rc<[u8]>;

/// What happens.
#[derive(Debug)]
pub enum Event {
    /// Bytes arrive at an end.
    Deliver {
        /// Where.
        to: End,
        /// What.
        bytes: Bytes,
    },
    /// A connection arrives at who was dialled.
    Arrive {
        /// The end of who was dialled.
        to: End,
    },
    /// The dialler learns that it is connected.
    Established {
        /// Its end.
        to: End,
    },
    /// The dialler learns that it is not, or the other side has closed.
    Closed {
        /// The end that learns it.
        to: End,
        /// Why.
        reason: CloseReason,
        /// Whether it never was established.
        failed: bool,
    },
    /// A congested end has room again.
    Writable {
        /// The end.
        to: End,
    },
    /// A datagram arrives.
    Datagram {
        /// At whom.
        to: NodeId,
        /// From whom.
        from: NodeId,
        /// What.
        bytes: Bytes,
    },
    /// A peer's own time has come.
    Timer {
        /// Whose.
        node: NodeId,
        /// In which of its lives.
        epoch: u32,
        /// For what.
        timer: Timer,
    },
    /// A peer comes.
    Come(NodeId),
    /// A peer goes, if this life is still its present one.
    Go(NodeId, u32),
    /// A fault begins (true) or ends.
    Fault(usize, bool),
}

/// A peer that is here.
#[derive(Debug)]
pub enum Peer {
    /// One of many.
    Light(Box<Light>),
    /// The product.
    Virtual(Box<Avp>),
}

/// A place for a peer.
#[derive(Debug)]
pub struct Slot {
    /// Who is here now.
    pub peer: Option<Peer>,
    /// Whether somebody is here; true as well while that peer is at work.
    pub online: bool,
    /// Counts its lives.
    pub epoch: u32,
    /// Upstream rate in kbit/s.
    pub uplink_kbit_s: u32,
    /// When its uplink will have sent what it was given.
    pub uplink_free: Instant,
    /// The virtual peer's configuration, where this is a virtual peer's place.
    pub config: Option<Box<Config>>,
    /// Number among the places whose peers pass searches on; those of other peers have none.
    pub router: Option<u32>,
    /// Position in the list of hosts that newcomers are told of.
    announced: Option<u32>,
}

/// One search, when it is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchRecord {
    /// Who asked.
    pub node: NodeId,
    /// Seconds from the beginning of the simulation.
    pub at_s: f64,
    /// Seconds to the first answer, where there was one.
    pub first_s: Option<f64>,
    /// Files found.
    pub hits: u32,
}

/// One relation of a light peer, when it is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RelationRecord {
    /// Who tells.
    pub node: NodeId,
    /// The other.
    pub other: NodeId,
    /// How long it was, in seconds.
    pub seconds: f64,
}

/// Most records of each kind that are kept.
const RECORDS_MAX: usize = 4_000_000;

/// What was written down.
#[derive(Debug, Default)]
pub struct Records {
    /// Searches that are over.
    pub searches: Vec<SearchRecord>,
    /// Relations that are over.
    pub relations: Vec<RelationRecord>,
    /// Lives that have begun.
    pub lives: u64,
    /// Relations that were made by light peers, both ends counted.
    pub joined: u64,
    /// Times that a light peer was refused.
    pub refused: u64,
    /// Searches that reached a light peer, each peer once: where a search of this peer's got.
    pub reached: u64,
    /// Events that have happened.
    pub events: u64,
}

impl Records {
    /// Writes a search down.
    pub fn search(&mut self, record: SearchRecord) {
        if self.searches.len() < RECORDS_MAX {
            self.searches.push(record);
        }
    }

    /// Writes a relation down.
    pub fn relation(&mut self, record: RelationRecord) {
        if self.relations.len() < RECORDS_MAX {
            self.relations.push(record);
        }
    }
}

/// A network under virtual time. It follows from its [`Setup`] alone.
#[derive(Debug)]
pub struct World {
    /// How it was made.
    pub setup: Setup,
    queue: Queue<Event>,
    slots: Vec<Slot>,
    conns: Conns,
    /// Where everybody is.
    pub places: Places,
    /// Which files there are.
    pub catalogue: Catalogue,
    /// Every byte.
    pub ledger: Ledger,
    /// What must hold.
    pub checks: Checks,
    /// What was written down.
    pub records: Records,
    weather: Weather,
    /// Who has seen which search.
    pub floods: Floods,
    /// What has become of routing tables.
    pub told: Memory,
    /// Counts the links of light peers: each has a number of its own.
    pub links: u32,
    /// Hosts that newcomers are told of (a web cache knows those who announce themselves).
    announced: Vec<NodeId>,
    /// Virtual peers, by system.
    domain_peers: Vec<(usize, NodeId)>,
    /// Chance of comings and goings.
    crowd_dice: Dice,
    /// Chance of the transport: losses, disorder.
    transport_dice: Dice,
    /// Chance of what peers do.
    pub dice: Dice,
}

impl World {
    /// The present.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.queue.now()
    }

    /// Seconds since the beginning.
    #[must_use]
    pub fn elapsed_s(&self) -> f64 {
        (self.now().0 - crate::engine::START.0) as f64 / crate::engine::SECOND as f64
    }

    /// Places for peers, whether somebody is there or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether this is a virtual peer's place.
    #[must_use]
    pub fn is_virtual(&self, node: NodeId) -> bool {
        self.slots[node as usize].config.is_some()
    }

    /// Whether somebody is at this place.
    #[must_use]
    pub fn is_online(&self, node: NodeId) -> bool {
        self.slots[node as usize].online
    }

    /// Everybody who is here.
    pub fn peers(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.slots.iter().enumerate().filter_map(|(n, s)| Some((n as NodeId, s.peer.as_ref()?)))
    }

    /// All light peers that are here.
    pub fn light(&self) -> impl Iterator<Item = (NodeId, &Light)> {
        self.peers().filter_map(|(n, p)| match p {
            Peer::Light(light) => Some((n, &**light)),
            Peer::Virtual(_) => None,
        })
    }

    /// All virtual peers that are here.
    pub fn virtual_peers(&self) -> impl Iterator<Item = (NodeId, &Avp)> {
        self.peers().filter_map(|(n, p)| match p {
            Peer::Virtual(avp) => Some((n, &**avp)),
            Peer::Light(_) => None,
        })
    }

    /// The number of a place's peer among those who pass searches on.
    #[must_use]
    pub fn router_number(&self, node: NodeId) -> Option<u32> {
        self.slots[node as usize].router
    }

    /// A number that differs where anything that was counted or written down does.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let (ledger, records) = (&self.ledger, &self.records);
        let classes = ledger.sent.iter().flat_map(|count| [count.messages, count.bytes]);
        let bytes = [ledger.delivered_bytes, ledger.lost_bytes, ledger.late_bytes, ledger.transit_bytes];
        let counts = [records.events, records.lives, records.joined, records.refused, records.reached];
        let searches = records.searches.iter().flat_map(|s| {
            [u64::from(s.node), s.at_s.to_bits(), s.first_s.unwrap_or(-1.0).to_bits(), u64::from(s.hits)]
        });
        let relations = records
            .relations
            .iter()
            .flat_map(|r| [u64::from(r.node) << 32 | u64::from(r.other), r.seconds.to_bits()]);
        let all = classes.chain(bytes).chain(counts).chain(searches).chain(relations);
        all.fold(0, |digest, number| mix(digest ^ number))
    }

    /// Lets everything happen up to a time, in seconds from the beginning.
    pub fn run_until(&mut self, seconds: u64) {
        let until = Instant(crate::engine::START.0 + seconds * crate::engine::SECOND);
        while let Some(event) = self.queue.pop(until) {
            self.records.events += 1;
            self.happen(event);
        }
        // So that the present is the end, whenever the last event was.
        self.queue.push(until, Event::Fault(usize::MAX, false));
        let _ = self.queue.pop(until);
    }

    /// Like [`Self::run_until`], and looks every `every` seconds whether all that must hold does.
    pub fn run_checked(&mut self, seconds: u64, every: u64) {
        let mut at = self.elapsed_s() as u64;
        while at < seconds && self.checks.violations().is_empty() {
            at = (at + every).min(seconds);
            self.run_until(at);
            checks::inspect(self);
        }
    }

    /// Asks for a timer in so many nanoseconds.
    pub fn timer(&mut self, node: NodeId, after: u64, timer: Timer) {
        let after = self.weather.stretch(node, after);
        let epoch = self.slots[node as usize].epoch;
        self.queue.push(Instant(self.now().0.saturating_add(after)), Event::Timer { node, epoch, timer });
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { to, bytes } => self.deliver(to, &bytes),
            Event::Timer { node, epoch, timer } => {
                if self.slots[node as usize].epoch == epoch {
                    self.with(node, |world, peer| match peer {
                        Peer::Light(light) => light.timer(world, timer),
                        Peer::Virtual(avp) => avp.timer(world, timer),
                    });
                }
            }
            Event::Arrive { to } => self.arrive(to),
            Event::Established { to } => self.established(to),
            Event::Closed { to, reason, failed } => self.learn_closed(to, reason, failed),
            Event::Writable { to } => {
                if let Some(node) = self.conns.open_at(to) {
                    self.with(node, |world, peer| {
                        if let Peer::Virtual(avp) = peer {
                            avp.writable(world, to);
                        }
                    });
                }
            }
            Event::Datagram { to, from, bytes } => self.with(to, |world, peer| {
                if let Peer::Virtual(avp) = peer {
                    avp.datagram(world, from, &bytes);
                }
            }),
            Event::Come(node) => self.come(node, None),
            Event::Go(node, epoch) => {
                if self.slots[node as usize].epoch == epoch {
                    self.go(node);
                }
            }
            Event::Fault(index, begins) => self.fault(index, begins),
        }
    }

    /// Lets a peer do something with the world that it is taken out of for as long.
    fn with(&mut self, node: NodeId, act: impl FnOnce(&mut Self, &mut Peer)) {
        let Some(mut peer) = self.slots[node as usize].peer.take() else { return };
        act(self, &mut peer);
        // It may have left by what it did.
        let slot = &mut self.slots[node as usize];
        if slot.online {
            slot.peer = Some(peer);
        }
    }

    /// Brings a peer here now, as a life of this length, or one that the preset draws.
    pub fn bring(&mut self, node: NodeId, span: Option<Span>) {
        self.come(node, span);
    }
}
