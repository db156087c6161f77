//! Relations of virtual peers that only one side believes in.
//!
//! An end travels: behind what waits at the uplink of who is gone, seconds late. So how old a relation is tells nothing
//! of how long it has had one side, and it is remembered what was seen each time that one looked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use avp::Instant;
use avp::config::GNUTELLA_PORT;

use super::World;
use crate::engine::SECOND;
use crate::internet::place::{NodeId, node_at};

/// How long one side may believe in a relation that the other has ended, where a fault may have kept it from learning
/// so: alive pings are 120 s apart, four may fail.
const SILENT_MAX: u64 = 700 * SECOND;
/// The same where everybody learns of an end: handshakes end within this time.
const CALM_MAX: u64 = 60 * SECOND;

/// Which side of a relation believes in it, where the other does not: virtual peer, other peer, whether it is the former.
type OneSided = (NodeId, NodeId, bool);

/// Relations that have had one side each time that one looked, and since when.
#[derive(Debug, Default)]
pub(super) struct HalfOpen(BTreeMap<OneSided, Instant>);

impl HalfOpen {
    /// Looks, and answers those that have been so for longer than may be.
    pub(super) fn look(&mut self, world: &World) -> Vec<String> {
        let now = world.now();
        let silence = world.setup.faults.iter().any(|fault| fault.kind.silences());
        let most = if silence { SILENT_MAX } else { CALM_MAX };
        let before = std::mem::take(&mut self.0);
        for (relation, began) in one_sided(world) {
            // One that began since is another one.
            let since = before.get(&relation).copied().filter(|since| *since >= began).unwrap_or(now);
            self.0.insert(relation, since);
        }
        let changed = world.weather_changed();
        let late = self.0.iter().filter(|(_, since)| now.0.saturating_sub((**since).max(changed).0) > most);
        late.map(|((node, other, virtual_believes), _)| match virtual_believes {
            true => format!("virtual peer {node} believes in peer {other}, which is not there"),
            false => format!("peer {other} believes in virtual peer {node}, which has forgotten it"),
        })
        .collect()
    }
}

/// Relations of virtual peers that only one side believes in now, and since when it has.
fn one_sided(world: &World) -> Vec<(OneSided, Instant)> {
    let now = world.now();
    let virtual_nodes: BTreeSet<NodeId> = world.virtual_peers().map(|(n, _)| n).collect();
    // Both sides' relations, by node of the virtual peer and node of the other.
    let mut of_virtual: BTreeMap<(NodeId, NodeId), Instant> = BTreeMap::new();
    for (node, avp) in world.virtual_peers() {
        for link in avp.peer().status().links {
            let remote = SocketAddr::new(link.remote.ip(), GNUTELLA_PORT);
            let other = node_at(remote, world.len());
            if let Some(other) = other.filter(|n| !world.is_excused(*n) && !virtual_nodes.contains(n)) {
                // Whole seconds, of a clock that may be wrong by a twentieth: rather too old than too young.
                let age = (link.age_seconds + 1).saturating_mul(SECOND) / 10 * 11;
                of_virtual.insert((node, other), Instant(now.0.saturating_sub(age)));
            }
        }
    }
    let mut of_light = BTreeMap::new();
    for (node, light) in world.light().filter(|(n, _)| !world.is_excused(*n)) {
        for (other, age) in light.relations(now).filter(|(other, _)| virtual_nodes.contains(other)) {
            of_light.insert((other, node), Instant(now.0 - age.0));
        }
    }
    let alone = |ours: &BTreeMap<(NodeId, NodeId), Instant>, theirs: &BTreeMap<_, _>, side: bool| {
        let alone = ours.iter().filter(|(pair, _)| !theirs.contains_key(*pair));
        alone.map(|((node, other), began)| ((*node, *other, side), *began)).collect::<Vec<_>>()
    };
    let mut all = alone(&of_virtual, &of_light, true);
    all.extend(alone(&of_light, &of_virtual, false));
    all
}
