//! What follows from the reports: which edges are believed, who is in a region, who are its gateways.
//!
//! All of it is a function of the reports alone, so that nodes that hold the same reports come to the same regions
//! and gateways without a vote.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{Edge, Report};
use crate::id::NodeId;

/// An edge that both ends report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Believed {
    /// The higher of the two round trips, in microseconds: nobody draws traffic by naming a low one.
    pub rtt_us: u32,
    /// The lower of the two throughputs, in kbit/s.
    pub throughput_kbps: Option<u32>,
    /// Whether both hold each other for near.
    pub near: bool,
    /// Whether it is a path inside a region rather than a link.
    pub inner: bool,
}

/// What both ends say together.
#[must_use]
pub fn both(a: &Edge, b: &Edge) -> Believed {
    Believed {
        rtt_us: a.rtt_us.max(b.rtt_us),
        throughput_kbps: match (a.throughput_kbps, b.throughput_kbps) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        },
        near: a.near && b.near,
        inner: a.inner || b.inner,
    }
}

/// Reports of one level, by origin.
pub type Level = BTreeMap<NodeId, Report>;

/// The edge between two nodes, where both report it.
#[must_use]
pub fn believed(level: &Level, a: NodeId, b: NodeId) -> Option<Believed> {
    Some(both(level.get(&a)?.edge(b)?, level.get(&b)?.edge(a)?))
}

/// All believed edges of a node.
pub fn edges_of(level: &Level, node: NodeId) -> impl Iterator<Item = (NodeId, Believed)> + '_ {
    let edges = level.get(&node).into_iter().flat_map(|r| &r.edges);
    edges.filter_map(move |e| Some((e.to, both(e, level.get(&e.to)?.edge(node)?))))
}

/// All nodes that near edges connect with any of these.
#[must_use]
pub fn region_of(level: &Level, from: impl IntoIterator<Item = NodeId>) -> BTreeSet<NodeId> {
    let mut members: BTreeSet<NodeId> = from.into_iter().collect();
    let mut left: Vec<NodeId> = members.iter().copied().collect();
    while let Some(node) = left.pop() {
        for (to, edge) in edges_of(level, node) {
            if edge.near && members.insert(to) {
                left.push(to);
            }
        }
    }
    members
}

/// The way out of a region towards another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// The member that leads out.
    pub node: NodeId,
    /// Its neighbour in the other region.
    pub peer: NodeId,
    /// Round trip between the two, in microseconds.
    pub rtt_us: u32,
}

/// The gateway for each neighbouring region: the member with the cheapest edge into it. One that is already at work (it
/// has an edge in `above`, the next level's reports) stays until another is cheaper by `yield_percent`. Members in
/// `distrusted` have claimed an edge that its other end does not know.
#[must_use]
pub fn gateways(
    level: &Level,
    members: &BTreeSet<NodeId>,
    above: &Level,
    distrusted: &BTreeSet<(NodeId, NodeId)>,
    yield_percent: u32,
) -> BTreeMap<NodeId, Gateway> {
    let mut best: BTreeMap<NodeId, ((u64, NodeId, NodeId), Gateway)> = BTreeMap::new();
    for report in members.iter().filter_map(|m| level.get(m)) {
        let node = report.origin;
        for edge in &report.edges {
            let Some(region) = edge.region else { continue };
            if members.contains(&edge.to)
                || members.contains(&region)
                || distrusted.contains(&(node, edge.to))
            {
                continue;
            }
            let at_work = above.get(&node).is_some_and(|r| r.edge(edge.to).is_some_and(|e| e.elected));
            let percent = if at_work { 100 - yield_percent.min(99) } else { 100 };
            let rank = (u64::from(edge.rtt_us) * u64::from(percent), node.min(edge.to), node.max(edge.to));
            let offer = (rank, Gateway { node, peer: edge.to, rtt_us: edge.rtt_us });
            best.entry(region).and_modify(|b| *b = if offer.0 < b.0 { offer } else { *b }).or_insert(offer);
        }
    }
    best.into_iter().map(|(region, (_, gateway))| (region, gateway)).collect()
}

/// What is known about the round trip between two nodes that nobody measured, in microseconds: by the triangle
/// inequality, from the nodes that both have measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At least.
    pub low_us: u32,
    /// At most.
    pub high_us: u32,
}

/// Bounds from all common neighbours. None where there are none.
#[must_use]
pub fn infer(level: &Level, a: NodeId, b: NodeId) -> Option<Bounds> {
    let mut bounds: Option<Bounds> = None;
    for (middle, first) in edges_of(level, a) {
        let Some(second) = believed(level, middle, b) else { continue };
        let low = first.rtt_us.abs_diff(second.rtt_us);
        let high = first.rtt_us.saturating_add(second.rtt_us);
        let old = bounds.unwrap_or(Bounds { low_us: 0, high_us: u32::MAX });
        bounds = Some(Bounds { low_us: old.low_us.max(low), high_us: old.high_us.min(high) });
    }
    // Measurements are not a metric: where they contradict each other, the path that exists is right.
    bounds.map(|b| Bounds { low_us: b.low_us.min(b.high_us), ..b })
}
