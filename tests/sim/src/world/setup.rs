//! How a world is described and made.

use std::net::SocketAddr;
use std::sync::Arc;

use avp::config::LIST_MAX;
use avp::gnutella::qrp::sender::Deflater;
use avp::{Config, Instant};
use serde::{Deserialize, Serialize};

use super::checks::Checks;
use super::faults::{Fault, Weather};
use super::floods::Floods;
use super::half_open::HalfOpen;
use super::hosts::Hosts;
use super::mail::Parcel;
use super::shard::{Atlas, Shard, Slot};
use super::{Conns, Event, Records, World};
use crate::engine::{Dice, MS, Queue, SECOND, START};
use crate::internet::place::NodeId;
use crate::internet::{Graph, Places};
use crate::measure::Ledger;
use crate::peer::Role;
use crate::peer::told::Memory;
use crate::workload::content::mix;
use crate::workload::{Catalogue, Preset};

/// Mean delay of a link between two systems, in microseconds. With the paths of some thousand systems it gives round
/// trips of about 100 ms.
const LINK_DELAY_MEAN_US: f64 = 12_000.0;
/// Upstream rate of a virtual peer, in kbit/s.
const VIRTUAL_UPLINK_KBIT_S: u32 = 1_000_000;
/// Most systems: the ways between them take 8 bytes a pair.
pub const SYSTEMS_MAX: usize = 4_000;
/// Most shards: each has tables in proportion to the whole world.
pub const SHARDS_MAX: usize = 64;
/// Shards of a large network, unless one says otherwise: more of them have more to tell each other.
const SHARDS_LARGE: usize = 8;
/// Peers of a network that are worth a shard.
const SHARD_PEERS: usize = 10_000;

/// Everything that a run follows from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Setup {
    /// Of all its chance.
    pub seed: u64,
    /// What kind of network.
    pub preset: Preset,
    /// Light peers that are here at a time, on average.
    pub peers: usize,
    /// Places for each hundred peers that are here: those beyond a hundred are empty at a time.
    pub places_percent: usize,
    /// Autonomous systems.
    pub systems: usize,
    /// Virtual peers, in the systems with the most peers first.
    pub virtual_peers: usize,
    /// Their configuration, as JSON; where they listen and what their address is follows from their place.
    pub config: serde_json::Value,
    /// Whether virtual peers know each other's addresses, as those of operators who have to do with each other, and stay
    /// connected.
    #[serde(default)]
    pub acquainted: bool,
    /// When virtual peers start, in seconds from the beginning; those beyond the list are there from the beginning.
    #[serde(default)]
    pub virtual_at_s: Vec<u64>,
    /// Seconds over which the first peers come.
    pub ramp_s: u64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Parts that may run at the same time, of as many places each. Chance is drawn part by part: another number is
    /// another run.
    pub shards: usize,
}

impl Setup {
    /// A network of so many peers without faults and virtual peers.
    #[must_use]
    pub fn new(preset: Preset, peers: usize, seed: u64) -> Self {
        Self {
            seed,
            preset,
            peers,
            places_percent: 150,
            systems: (peers / 100).clamp(10, 1_000),
            virtual_peers: 0,
            config: serde_json::json!({}),
            acquainted: false,
            virtual_at_s: Vec::new(),
            ramp_s: 60,
            faults: Vec::new(),
            shards: (peers / SHARD_PEERS).clamp(1, SHARDS_LARGE),
        }
    }

    /// With so many virtual peers.
    #[must_use]
    pub fn with_virtual(self, virtual_peers: usize, config: serde_json::Value) -> Self {
        Self { virtual_peers, config, ..self }
    }

    /// The virtual peers' configuration.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn config(&self) -> Result<Config, String> {
        let config: Config =
            serde_json::from_value(self.config.clone()).map_err(|e| format!("config: {e}"))?;
        config.validate().map_err(|e| format!("config: {e}"))?;
        // The simulator has no zlib streams: bytes are counted before compression.
        Ok(Config { compression: false, ..config })
    }

    /// Makes the world.
    ///
    /// # Errors
    /// Names what cannot be.
    pub fn build(self) -> Result<World, String> {
        if self.systems == 0 || self.systems > SYSTEMS_MAX {
            return Err(format!("systems: is {}; it may be 1 to {SYSTEMS_MAX}", self.systems));
        }
        if self.peers == 0 || self.places_percent < 100 {
            return Err("peers: at least 1; places-percent: at least 100".to_owned());
        }
        if self.shards == 0 || self.shards > SHARDS_MAX {
            return Err(format!("shards: is {}; it may be 1 to {SHARDS_MAX}", self.shards));
        }
        let config = self.config()?;
        let seed = self.seed;
        let percent =
            if self.preset.life == crate::workload::Life::Forever { 100 } else { self.places_percent };
        let count = self.peers * percent / 100 + self.virtual_peers;
        let graph = match self.systems {
            1 => Graph::single(),
            n => Graph::generate(n, LINK_DELAY_MEAN_US, &mut Dice::new(seed, "internet")),
        };
        let places = Places::new(&graph, count, &mut Dice::new(seed, "places"));
        let mut dice = Dice::new(seed, "peers");
        let uplinks = &self.preset.uplinks_kbit_s;
        let mut slots: Vec<Slot> = (0..count)
            .map(|_| Slot {
                peer: None,
                online: false,
                epoch: 0,
                uplink_kbit_s: dice.pick(uplinks).copied().unwrap_or(VIRTUAL_UPLINK_KBIT_S),
                uplink_free: START,
                config: None,
            })
            .collect();
        let domain_peers = self.place_virtual_peers(&config, &places, &mut slots);
        let routers = self.number_routers(&slots);
        let mut crowd_dice = Dice::new(seed, "crowd");
        let starts = self.virtual_at_s.iter().copied().chain(std::iter::repeat(0));
        let mut first_events: Vec<(Instant, Event)> = domain_peers
            .iter()
            .zip(starts)
            .map(|((_, node), at_s)| (Instant(START.0 + at_s * SECOND), Event::Come(*node)))
            .collect();
        first_events.extend(self.place_crowd(&slots, &mut crowd_dice));

        let starts = (0..=self.shards).map(|n| (count * n / self.shards) as NodeId).collect();
        let atlas = Arc::new(Atlas { starts, routers, domain_peers });
        let setup = Arc::new(self);
        let made = Made {
            catalogue: Arc::new(Catalogue::new(&setup.preset.content)),
            places: Arc::new(places),
            setup,
            atlas,
            told: Arc::default(),
        };
        let mut slots = slots.into_iter();
        let mut shards: Vec<Shard> = (0..made.setup.shards).map(|n| made.shard(n, &mut slots)).collect();
        // The first goes on with what was begun with.
        shards[0].crowd_dice = crowd_dice;
        shards[0].dice = dice;
        for (at, event) in first_events {
            if let Event::Come(node) = event {
                shards[made.atlas.shard(node)].queue.push(at, event);
            }
        }
        for shard in &mut shards {
            shard.expect_faults();
        }
        Ok(World {
            setup: made.setup,
            places: made.places,
            ledger: Ledger::default(),
            records: Records::default(),
            shards,
            threads: 1,
            violations: Vec::new(),
            half_open: HalfOpen::default(),
        })
    }

    /// Virtual peers come first, each in a system of its own as long as there are enough, the largest first. Answers where
    /// they are: system and node.
    fn place_virtual_peers(
        &self,
        config: &Config,
        places: &Places,
        slots: &mut [Slot],
    ) -> Vec<(usize, NodeId)> {
        let mut systems: Vec<usize> = (0..places.systems()).collect();
        systems.sort_by_key(|s| (std::cmp::Reverse(places.members(*s).len()), *s));
        systems.retain(|s| !places.members(*s).is_empty());
        let mut placed = Vec::new();
        for n in 0..self.virtual_peers {
            let system = systems[n % systems.len()];
            let free = places.members(system).find(|m| slots[*m as usize].config.is_none());
            let Some(node) = free else { continue };
            let address = crate::internet::place::address(node);
            let own = Config { listen: address.into(), advertise: Some(address), ..config.clone() };
            let slot = &mut slots[node as usize];
            slot.config = Some(Box::new(own));
            slot.uplink_kbit_s = VIRTUAL_UPLINK_KBIT_S;
            placed.push((system, node));
        }
        if self.acquainted {
            acquaint(&placed, slots);
        }
        placed
    }

    /// Numbers the places whose peers pass searches on.
    fn number_routers(&self, slots: &[Slot]) -> Vec<Option<u32>> {
        let mut routers = 0..;
        let passes_on =
            |(node, slot): (u32, &Slot)| slot.config.is_none() && Role::of(self, node) != Role::Leaf;
        (0..).zip(slots).map(|place| passes_on(place).then(|| routers.next()).flatten()).collect()
    }

    /// When who comes for the first time.
    fn place_crowd(&self, slots: &[Slot], dice: &mut Dice) -> Vec<(Instant, Event)> {
        let mut here: Vec<u32> =
            (0..slots.len() as u32).filter(|n| slots[*n as usize].config.is_none()).collect();
        dice.shuffle(&mut here);
        let ramp_ms = (self.ramp_s * 1_000).max(1);
        let mut come = Vec::new();
        for (n, node) in here.into_iter().enumerate() {
            let at = if n < self.peers {
                // A place is taken at some moment of the ramp.
                100 + dice.below(ramp_ms as usize) as u64
            } else {
                let wait = self.pause_s(dice);
                if !wait.is_finite() {
                    continue;
                }
                ramp_ms + (wait * 1_000.0) as u64
            };
            come.push((Instant(START.0 + at * MS), Event::Come(node)));
        }
        come
    }

    /// Seconds for which a place stays empty: so that, in the mean, as many places are taken as there are peers.
    pub(super) fn pause_s(&self, dice: &mut Dice) -> f64 {
        let life = self.preset.life;
        if life == crate::workload::Life::Forever {
            return f64::INFINITY;
        }
        let empty = (self.places_percent - 100) as f64 / 100.0;
        dice.exponential(life.mean_s() * empty)
    }
}

/// Of each two virtual peers one dials the other, as far as the list of those whom it dials goes.
fn acquaint(placed: &[(usize, NodeId)], slots: &mut [Slot]) {
    let addresses: Vec<SocketAddr> =
        placed.iter().map(|(_, node)| crate::internet::place::address(*node).into()).collect();
    for (n, (_, node)) in placed.iter().enumerate() {
        if let Some(config) = &mut slots[*node as usize].config {
            config.connect = addresses[n + 1..].iter().copied().take(LIST_MAX).collect();
        }
    }
}

/// What all shards of a world share.
struct Made {
    setup: Arc<Setup>,
    places: Arc<Places>,
    catalogue: Arc<Catalogue>,
    atlas: Arc<Atlas>,
    told: Arc<Memory>,
}

impl Made {
    /// The shard of this number, which takes its places from what is left of all.
    fn shard(&self, index: usize, slots: &mut impl Iterator<Item = Slot>) -> Shard {
        let [first, end] = [index, index + 1].map(|n| self.atlas.starts[n]);
        let count = self.places.len();
        // Streams of its own.
        let dice = |what: &str| match index {
            0 => Dice::new(self.setup.seed, what),
            n => Dice::new(mix(self.setup.seed ^ mix(n as u64)), what),
        };
        let mut routers = self.atlas.routers[first as usize..end as usize].iter().flatten();
        let first_router = routers.next().copied().unwrap_or(0);
        let last_router = routers.next_back().copied().unwrap_or(first_router);
        Shard {
            setup: self.setup.clone(),
            places: self.places.clone(),
            catalogue: self.catalogue.clone(),
            atlas: self.atlas.clone(),
            index,
            first,
            slots: slots.take((end - first) as usize).collect(),
            queue: Queue::new(START),
            conns: Conns::default(),
            out: (0..self.setup.shards).map(|_| Parcel::default()).collect(),
            ledger: Ledger::default(),
            checks: Checks::new(count),
            records: Records::default(),
            weather: Weather::new(count, &self.setup.faults),
            floods: Floods::new(first_router..last_router + 1, self.setup.shards),
            told: self.told.clone(),
            deflater: Deflater::default(),
            links: 0,
            hosts: Hosts::new(count),
            crowd_dice: dice("crowd"),
            transport_dice: dice("transport"),
            dice: dice("peers"),
        }
    }
}

impl Shard {
    /// All shards have the same weather.
    fn expect_faults(&mut self) {
        for (index, fault) in self.setup.faults.iter().enumerate() {
            self.queue.push(Instant(START.0 + fault.at_s * SECOND), Event::Fault(index, true));
            self.queue.push(Instant(START.0 + fault.until_s * SECOND), Event::Fault(index, false));
        }
    }
}
