//! Peers in systems, and addresses that tell where they are.
//!
//! Peers are numbered system by system, so a system is a range of numbers and, as addresses follow numbers, a range of
//! addresses. A few systems have most of the peers: their shares fall as their rank to the power of -0.9 (a model, not
//! a measurement).

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use avp::config::GNUTELLA_PORT;

use super::generate::Graph;
use super::paths::{Path, Paths};
use crate::engine::Dice;

/// Number of a peer.
pub type NodeId = u32;

/// Address of peer 0. From here on more than a billion addresses are public.
const FIRST_ADDRESS: u32 = 0x0b00_0000;
/// From one peer's address to the next: four peers in a /24, as many as the virtual peer's host cache keeps of one.
const ADDRESS_STEP: u32 = 64;
/// Exponent of the systems' shares.
const SHARE_EXPONENT: f64 = 0.9;
/// Delay of a peer's own access, one way, in microseconds.
const ACCESS_DELAY_US: u32 = 5_000;

/// Where everybody is.
#[derive(Clone, Debug)]
pub struct Places {
    /// The first peer of each system, and the end.
    starts: Vec<NodeId>,
    systems: Vec<u16>,
    paths: Paths,
}

impl Places {
    /// The least delay between two peers, one way, in microseconds: that of both accesses.
    pub const LEAST_DELAY_US: u32 = 2 * ACCESS_DELAY_US;

    /// Places so many peers in a graph's systems.
    #[must_use]
    pub fn new(graph: &Graph, peers: usize, dice: &mut Dice) -> Self {
        let mut order: Vec<usize> = (0..graph.len()).collect();
        dice.shuffle(&mut order);
        let mut weights = vec![0.0; graph.len()];
        for (rank, system) in order.iter().enumerate() {
            weights[*system] = libm::pow(rank as f64 + 1.0, -SHARE_EXPONENT);
        }
        let whole: f64 = weights.iter().sum();
        let (mut starts, mut sum) = (vec![0], 0.0);
        for weight in weights {
            sum += weight;
            starts.push(libm::round(sum / whole * peers as f64) as NodeId);
        }
        let systems = starts
            .windows(2)
            .enumerate()
            .flat_map(|(system, w)| std::iter::repeat_n(system as u16, (w[1] - w[0]) as usize))
            .collect();
        Self { starts, systems, paths: Paths::new(graph) }
    }

    /// How many peers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.systems.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.systems.is_empty()
    }

    /// The system of a peer.
    #[must_use]
    pub fn system(&self, node: NodeId) -> usize {
        self.systems[node as usize].into()
    }

    /// How many systems there are.
    #[must_use]
    pub fn systems(&self) -> usize {
        self.starts.len() - 1
    }

    /// The peers of a system.
    #[must_use]
    pub fn members(&self, system: usize) -> std::ops::Range<NodeId> {
        self.starts[system]..self.starts[system + 1]
    }

    /// How far apart two peers are, their own access included.
    #[must_use]
    pub fn path(&self, a: NodeId, b: NodeId) -> Path {
        let between = self.paths.between(self.system(a), self.system(b));
        Path { delay_us: between.delay_us.saturating_add(Self::LEAST_DELAY_US), ..between }
    }

    /// The probability that two peers taken at random are in the same system.
    #[must_use]
    pub fn random_locality(&self) -> f64 {
        let all = self.systems.len() as f64;
        (0..self.systems()).map(|s| self.members(s).len() as f64 / all).map(|share| share * share).sum()
    }
}

/// The address of a peer.
#[must_use]
pub fn address(node: NodeId) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(FIRST_ADDRESS + node * ADDRESS_STEP), GNUTELLA_PORT)
}

/// The peer at an address; of `peers` that there are.
#[must_use]
pub fn node_at(address: SocketAddr, peers: usize) -> Option<NodeId> {
    let SocketAddr::V4(v4) = address else { return None };
    let offset = v4.ip().to_bits().checked_sub(FIRST_ADDRESS)?;
    let node = offset / ADDRESS_STEP;
    (offset % ADDRESS_STEP == 0 && (node as usize) < peers).then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use avp::cache::hosts::is_public;

    #[test]
    fn every_peer_has_a_system_and_an_address_of_its_own() {
        let graph = Graph::generate(50, 10_000.0, &mut Dice::new(1, "graph"));
        let places = Places::new(&graph, 1_000, &mut Dice::new(1, "places"));
        let mut seen = 0;
        for system in 0..places.systems() {
            for node in places.members(system) {
                assert_eq!(places.system(node), system);
                assert_eq!(node_at(address(node).into(), 1_000), Some(node));
                seen += 1;
            }
        }
        assert_eq!(seen, 1_000);
        assert!(is_public((*address(999_999).ip()).into()) && is_public((*address(0).ip()).into()));
        assert_eq!(node_at(address(1_000).into(), 1_000), None);
        assert_eq!(node_at("11.0.0.1:6346".parse().unwrap(), 1_000), None);
    }
}
