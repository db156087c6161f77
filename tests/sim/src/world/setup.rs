//! How a world is described and made.

use avp::{Config, Instant};
use serde::{Deserialize, Serialize};

use super::checks::Checks;
use super::faults::{Fault, Weather};
use super::floods::Floods;
use super::{Conns, Event, Records, Slot, World};
use crate::engine::{Dice, MS, Queue, SECOND, START};
use crate::internet::{Graph, Places};
use crate::measure::Ledger;
use crate::peer::Role;
use crate::peer::told::Memory;
use crate::workload::{Catalogue, Preset};

/// Mean delay of a link between two systems, in microseconds. With the paths of some thousand systems it gives round
/// trips of about 100 ms.
const LINK_DELAY_MEAN_US: f64 = 12_000.0;
/// Upstream rate of a virtual peer, in kbit/s.
const VIRTUAL_UPLINK_KBIT_S: u32 = 1_000_000;
/// Most systems: the ways between them take 8 bytes a pair.
pub const SYSTEMS_MAX: usize = 4_000;

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
    /// Seconds over which the first peers come.
    pub ramp_s: u64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
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
            ramp_s: 60,
            faults: Vec::new(),
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
        let config = self.config()?;
        let seed = self.seed;
        let places =
            if self.preset.life == crate::workload::Life::Forever { 100 } else { self.places_percent };
        let slots = self.peers * places / 100 + self.virtual_peers;
        let graph = match self.systems {
            1 => Graph::single(),
            n => Graph::generate(n, LINK_DELAY_MEAN_US, &mut Dice::new(seed, "internet")),
        };
        let places = Places::new(&graph, slots, &mut Dice::new(seed, "places"));
        let mut dice = Dice::new(seed, "peers");
        let uplinks = &self.preset.uplinks_kbit_s;
        let slots: Vec<Slot> = (0..slots)
            .map(|_| Slot {
                peer: None,
                online: false,
                epoch: 0,
                uplink_kbit_s: dice.pick(uplinks).copied().unwrap_or(VIRTUAL_UPLINK_KBIT_S),
                uplink_free: START,
                config: None,
                router: None,
                announced: None,
            })
            .collect();
        let mut world = World {
            queue: Queue::new(START),
            conns: Conns::default(),
            catalogue: Catalogue::new(&self.preset.content),
            ledger: Ledger::default(),
            checks: Checks::new(slots.len()),
            records: Records::default(),
            weather: Weather::new(slots.len(), &self.faults),
            floods: Floods::new(0),
            told: Memory::default(),
            links: 0,
            announced: Vec::new(),
            domain_peers: Vec::new(),
            crowd_dice: Dice::new(seed, "crowd"),
            transport_dice: Dice::new(seed, "transport"),
            dice,
            places,
            slots,
            setup: self,
        };
        world.place_virtual_peers(&config);
        world.number_routers();
        world.place_crowd();
        for (index, fault) in world.setup.faults.iter().enumerate() {
            world.queue.push(Instant(START.0 + fault.at_s * SECOND), Event::Fault(index, true));
            world.queue.push(Instant(START.0 + fault.until_s * SECOND), Event::Fault(index, false));
        }
        Ok(world)
    }
}

impl World {
    /// Virtual peers come first, each in a system of its own as long as there are enough, the largest first.
    fn place_virtual_peers(&mut self, config: &Config) {
        let mut systems: Vec<usize> = (0..self.places.systems()).collect();
        systems.sort_by_key(|s| (std::cmp::Reverse(self.places.members(*s).len()), *s));
        systems.retain(|s| !self.places.members(*s).is_empty());
        for n in 0..self.setup.virtual_peers {
            let system = systems[n % systems.len()];
            let members = self.places.members(system);
            let Some(node) = members.clone().find(|m| self.slots[*m as usize].config.is_none()) else {
                continue;
            };
            let address = crate::internet::place::address(node);
            let own = Config { listen: address.into(), advertise: Some(address), ..config.clone() };
            let slot = &mut self.slots[node as usize];
            slot.config = Some(Box::new(own));
            slot.uplink_kbit_s = VIRTUAL_UPLINK_KBIT_S;
            self.domain_peers.push((system, node));
            self.queue.push(START, Event::Come(node));
        }
    }

    /// Numbers the places whose peers pass searches on.
    fn number_routers(&mut self) {
        let mut routers = 0;
        for node in 0..self.slots.len() as u32 {
            let slot = &mut self.slots[node as usize];
            if slot.config.is_none() && Role::of(&self.setup, node) != Role::Leaf {
                slot.router = Some(routers);
                routers += 1;
            }
        }
        self.floods = Floods::new(routers as usize);
    }

    fn place_crowd(&mut self) {
        let crowd: Vec<u32> =
            (0..self.slots.len() as u32).filter(|n| self.slots[*n as usize].config.is_none()).collect();
        let mut here = crowd.clone();
        self.crowd_dice.shuffle(&mut here);
        let ramp_ms = (self.setup.ramp_s * 1_000).max(1);
        for (n, node) in here.into_iter().enumerate() {
            let at = if n < self.setup.peers {
                // A place is taken at some moment of the ramp.
                100 + self.crowd_dice.below(ramp_ms as usize) as u64
            } else {
                let wait = self.pause_s();
                if !wait.is_finite() {
                    continue;
                }
                ramp_ms + (wait * 1_000.0) as u64
            };
            self.queue.push(Instant(START.0 + at * MS), Event::Come(node));
        }
    }
}
