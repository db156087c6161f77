//! Peers, their connections, and virtual time.
//!
//! | file | what |
//! | --- | --- |
//! | `mod` | the whole world, as those see it who ask how it is |
//! | `setup` | how a world is described and made |
//! | `shard` | a part of it: some peers, and how an event reaches one |
//! | `run` | all parts side by side, on as many threads as one likes |
//! | `ahead` | reading what is needed next |
//! | `mail` | what one part has for another |
//! | `event` | what happens |
//! | `clock` | clocks that may be wrong |
//! | `conns` | connections between peers |
//! | `floods` | which routers have seen which search |
//! | `hosts` | whom newcomers are told of |
//! | `plant` | broken rules on purpose |
//! | `transport` | connecting, sending and closing: delays, rates, what is lost |
//! | `crowd` | peers come and go |
//! | `virtual_peer` | the shell of the product's virtual peer |
//! | `faults` | what goes wrong, as an input |
//! | `checks` | what must hold all the time |
//! | `half_open` | of that: relations that only one side believes in |
//! | `records` | what was written down |

mod ahead;
pub mod checks;
pub mod clock;
pub mod conns;
pub mod crowd;
pub mod event;
pub mod faults;
pub mod floods;
mod half_open;
mod hosts;
mod mail;
pub mod plant;
pub mod records;
mod run;
pub mod setup;
pub mod shard;
pub mod transport;
pub mod virtual_peer;

use std::sync::Arc;

use avp::Instant;

pub use self::checks::{Checks, Violation};
pub use self::clock::Clock;
pub use self::conns::{Conns, End, Keep};
pub use self::event::{Bytes, Event};
pub use self::faults::{Fault, FaultKind};
pub use self::floods::Floods;
pub use self::plant::Plant;
pub use self::records::{Records, RelationRecord, SearchRecord};
pub use self::setup::Setup;
use self::shard::Peer;
pub use self::shard::Shard;
use self::virtual_peer::Avp;
use crate::internet::Places;
use crate::internet::place::NodeId;
use crate::measure::Ledger;
use crate::peer::Light;
use crate::workload::content::mix;

/// A network under virtual time. It follows from its [`Setup`] alone, on however many threads it runs.
#[derive(Debug)]
pub struct World {
    /// How it was made.
    pub setup: Arc<Setup>,
    /// Where everybody is.
    pub places: Arc<Places>,
    /// Every byte.
    pub ledger: Ledger,
    /// What was written down.
    pub records: Records,
    shards: Vec<Shard>,
    threads: usize,
    violations: Vec<Violation>,
    half_open: half_open::HalfOpen,
}

impl World {
    /// Runs on so many threads from now on, at most one a shard; without it on one.
    #[must_use]
    pub fn on_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Instant {
        // All shards rest at the same time.
        self.shards[0].now()
    }

    /// Seconds since the beginning.
    #[must_use]
    pub fn elapsed_s(&self) -> f64 {
        (self.now().0 - crate::engine::START.0) as f64 / crate::engine::SECOND as f64
    }

    /// Places for peers, whether somebody is there or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Parts that may run at the same time.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Everybody who is here.
    pub fn peers(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.shards.iter().flat_map(Shard::peers)
    }

    /// All light peers that are here.
    pub fn light(&self) -> impl Iterator<Item = (NodeId, &Light)> {
        self.shards.iter().flat_map(Shard::light)
    }

    /// All virtual peers that are here.
    pub fn virtual_peers(&self) -> impl Iterator<Item = (NodeId, &Avp)> {
        self.shards.iter().flat_map(Shard::virtual_peers)
    }

    /// Relations that stand, or are being made.
    #[must_use]
    pub fn connections(&self) -> usize {
        // Both sides have an end.
        self.shards.iter().map(|shard| shard.conns.standing()).sum::<usize>() / 2
    }

    /// What was found that must not be.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// A peer's clock.
    #[must_use]
    pub fn clock(&self, node: NodeId) -> Clock {
        // All shards have the same weather.
        self.shards[0].clock(node)
    }

    /// Whether a peer is one that keeps to no rule.
    fn is_excused(&self, node: NodeId) -> bool {
        self.shards.iter().any(|shard| shard.checks.is_excused(node))
    }

    /// When a fault began or ended last.
    fn weather_changed(&self) -> Instant {
        self.shards[0].checks.weather_changed()
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
        run::run(&mut self.shards, self.threads, until);
        for shard in &mut self.shards {
            self.ledger.add(&std::mem::take(&mut shard.ledger));
            self.records.append(std::mem::take(&mut shard.records));
            self.violations.append(&mut shard.checks.take());
        }
    }

    /// Like [`Self::run_until`], and looks every `every` seconds whether all that must hold does.
    pub fn run_checked(&mut self, seconds: u64, every: u64) {
        let mut at = self.elapsed_s() as u64;
        while at < seconds && self.violations.is_empty() {
            at = (at + every).min(seconds);
            self.run_until(at);
            let mut half_open = std::mem::take(&mut self.half_open);
            let found = checks::inspect(self, &mut half_open);
            self.half_open = half_open;
            self.violations.extend(found);
        }
    }
}
