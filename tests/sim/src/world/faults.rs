//! What goes wrong, as an input.

use serde::{Deserialize, Serialize};

use super::shard::Peer;
use super::{Clock, Plant, Shard};
use crate::engine::{Dice, MS};
use crate::internet::place::NodeId;
use crate::workload::content::mix;

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    /// From when, in seconds from the beginning.
    pub at_s: u64,
    /// Until when; what happens once happens at the beginning.
    pub until_s: u64,
    /// What.
    pub kind: FaultKind,
}

/// What can go wrong. Shares are of a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The network falls into two parts that hear nothing of each other; this share of the systems is one of them.
    Partition(u8),
    /// This share of all peers is gone at once, without a word.
    Kill(u8),
    /// The virtual peers are gone at once, without a word, and new ones start where they were when it ends.
    KillVirtual,
    /// This share of all messages is lost.
    Loss(u8),
    /// This share of all messages comes late, by up to two seconds, and is overtaken by others.
    Disorder(u8),
    /// This share of all peers is slow: a hundredth of their rate, and their timers take twice as long.
    Slow(u8),
    /// Clocks gain or lose: each peer's by up to so many thousandths. From the beginning to the end of a run,
    /// whatever the times say.
    Skew(u8),
    /// This share of all peers does what it should not.
    Byzantine(u8),
    /// A rule is broken that must hold: the run ends with the violation.
    Plant(Plant),
}

impl FaultKind {
    /// Whether a peer may not hear that another has ended a relation, or is gone.
    #[must_use]
    pub const fn silences(self) -> bool {
        !matches!(self, Self::Skew(_) | Self::Plant(_))
    }
}

/// The most by which a message comes late.
const LATE_MAX: u64 = 2_000 * MS;
/// A slow peer's rate is divided by this.
const SLOW_RATE: u64 = 100;

/// The faults that are on.
#[derive(Debug)]
pub(super) struct Weather {
    loss: f64,
    disorder: f64,
    /// Which part each system is in; empty where there are no parts.
    apart: Vec<bool>,
    slow_percent: u8,
    skew_permille: u8,
    /// Whether any of this is on: most runs have none.
    any: bool,
}

impl Weather {
    pub(super) fn new(peers: usize, faults: &[Fault]) -> Self {
        let skew = faults.iter().find_map(|f| match f.kind {
            FaultKind::Skew(permille) => Some(permille),
            _ => None,
        });
        Self {
            loss: 0.0,
            disorder: 0.0,
            apart: Vec::with_capacity(peers),
            slow_percent: 0,
            skew_permille: skew.unwrap_or(0),
            any: false,
        }
    }

    /// Whether two peers are in different parts.
    pub(super) fn parts(&self, a: NodeId, b: NodeId) -> bool {
        !self.apart.is_empty() && self.apart[a as usize] != self.apart[b as usize]
    }

    /// Whether a message between them is lost.
    pub(super) fn loses(&self, a: NodeId, b: NodeId, dice: &mut Dice) -> bool {
        self.any && (self.parts(a, b) || (self.loss > 0.0 && dice.chance(self.loss)))
    }

    /// By how much a message comes late.
    pub(super) fn disorder(&self, dice: &mut Dice) -> u64 {
        if self.disorder > 0.0 && dice.chance(self.disorder) {
            dice.below(LATE_MAX as usize) as u64 + 1
        } else {
            0
        }
    }

    fn is_slow(&self, node: NodeId) -> bool {
        self.slow_percent > 0 && mix(u64::from(node) ^ 0x510) % 100 < u64::from(self.slow_percent)
    }

    /// How many times as long a peer's uplink takes.
    pub(super) fn slowness(&self, node: NodeId) -> u64 {
        if self.is_slow(node) { SLOW_RATE } else { 1 }
    }

    /// How long a timer takes.
    pub(super) fn stretch(&self, node: NodeId, after: u64) -> u64 {
        if self.is_slow(node) { after.saturating_mul(2) } else { after }
    }

    /// A peer's clock.
    pub(super) fn clock(&self, node: NodeId) -> Clock {
        let most = i64::from(self.skew_permille) * 1_000;
        if most == 0 {
            return Clock::default();
        }
        Clock::gaining((mix(u64::from(node)) % (2 * most as u64 + 1)) as i64 - most)
    }

    fn renew(&mut self) {
        self.any = self.loss > 0.0 || self.disorder > 0.0 || !self.apart.is_empty();
    }
}

impl Shard {
    pub(super) fn fault(&mut self, index: usize, begins: bool) {
        let Some(fault) = self.setup.faults.get(index).cloned() else { return };
        let share = |percent: u8| if begins { f64::from(percent) / 100.0 } else { 0.0 };
        match fault.kind {
            FaultKind::Partition(percent) => {
                self.weather.apart.clear();
                if begins {
                    let seed = self.setup.seed;
                    let part = |system: usize| mix(system as u64 ^ mix(seed)) % 100 < u64::from(percent);
                    let apart = (0..self.len() as NodeId).map(|n| part(self.places.system(n))).collect();
                    self.weather.apart = apart;
                }
            }
            FaultKind::Loss(percent) => self.weather.loss = share(percent),
            FaultKind::Disorder(percent) => self.weather.disorder = share(percent),
            FaultKind::Slow(percent) => self.weather.slow_percent = if begins { percent } else { 0 },
            FaultKind::Skew(_) => {}
            FaultKind::Kill(percent) if begins => {
                for node in self.nodes() {
                    let light = self.slot(node).config.is_none();
                    if light && self.transport_dice.chance(share(percent)) {
                        self.kill(node);
                    }
                }
            }
            FaultKind::KillVirtual => {
                for node in self.nodes() {
                    if self.slot(node).config.is_none() {
                        continue;
                    }
                    if begins { self.kill(node) } else { self.bring(node, None) }
                }
            }
            FaultKind::Byzantine(percent) if begins => {
                for node in self.nodes() {
                    if self.transport_dice.chance(share(percent)) {
                        self.with(node, |world, peer| {
                            if let Peer::Light(light) = peer {
                                light.turn_byzantine(world);
                            }
                        });
                    }
                }
            }
            FaultKind::Plant(plant) => {
                // One rule, once.
                if begins && self.index == 0 {
                    self.plant(plant);
                }
                return;
            }
            FaultKind::Kill(_) | FaultKind::Byzantine(_) => {}
        }
        self.weather.renew();
        self.checks.weather_changes(self.now());
    }
}
