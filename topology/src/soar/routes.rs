//! Routes by metric, with alternatives (petgraph searches, we keep paths simple: Yen's algorithm).

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::astar;
use petgraph::graph::{NodeIndex, UnGraph};
use petgraph::visit::{EdgeFiltered, EdgeRef};

use super::view::Believed;
use crate::id::NodeId;

/// Throughput taken for an edge on which none was measured, in kbit/s.
const THROUGHPUT_UNKNOWN_KBPS: u32 = 1000;
/// What each hop adds to the load metric, in thousandths, so that detours cost something.
const LOAD_PER_HOP_MILLI: u64 = 10;

/// What a route is to be good at. All costs add up over the hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Least round trip; cost in microseconds.
    RoundTrip,
    /// Least time to pass on data hop by hop; cost in microseconds for a megabit.
    Throughput,
    /// Least busy nodes; cost in thousandths.
    Load,
}

/// A way to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// All nodes in turn, ourselves first. Between two gateways of a foreign region the path inside it is left to them.
    pub nodes: Vec<NodeId>,
    /// By the metric asked for.
    pub cost: u64,
    /// False where the route ends at a gateway of the target's region, which knows the rest.
    pub complete: bool,
}

/// The part of the network that we know, ready to be searched.
#[derive(Clone, Debug, Default)]
pub struct Map {
    graph: UnGraph<NodeId, (Believed, u64)>,
    index: BTreeMap<NodeId, NodeIndex>,
}

impl Map {
    /// Adds a node.
    pub fn node(&mut self, id: NodeId) -> NodeIndex {
        let graph = &mut self.graph;
        *self.index.entry(id).or_insert_with(|| graph.add_node(id))
    }

    /// Adds an edge or replaces it. Loads are those of both ends, in thousandths.
    pub fn edge(&mut self, a: NodeId, b: NodeId, edge: Believed, loads_milli: [u32; 2]) {
        let (a, b) = (self.node(a), self.node(b));
        let load = loads_milli.iter().map(|l| u64::from(*l)).sum::<u64>() / 2;
        self.graph.update_edge(a, b, (edge, load));
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.index.keys().copied()
    }

    /// All edges.
    pub fn edges(&self) -> impl Iterator<Item = (NodeId, NodeId, Believed)> + '_ {
        self.graph.edge_references().map(|e| (self.graph[e.source()], self.graph[e.target()], e.weight().0))
    }

    fn cost(metric: Metric, (edge, load_milli): &(Believed, u64)) -> u64 {
        match metric {
            Metric::RoundTrip => u64::from(edge.rtt_us),
            Metric::Throughput => {
                1_000_000_000 / u64::from(edge.throughput_kbps.unwrap_or(THROUGHPUT_UNKNOWN_KBPS).max(1))
            }
            Metric::Load => load_milli + LOAD_PER_HOP_MILLI,
        }
    }

    /// The best way that avoids some nodes and some edges.
    fn best(
        &self,
        metric: Metric,
        from: NodeIndex,
        to: NodeIndex,
        nodes: &[NodeIndex],
        edges: &BTreeSet<(NodeIndex, NodeIndex)>,
    ) -> Option<(u64, Vec<NodeIndex>)> {
        let allowed = EdgeFiltered::from_fn(&self.graph, |e: petgraph::graph::EdgeReference<'_, _>| {
            let (a, b) = (e.source(), e.target());
            !nodes.contains(&a) && !nodes.contains(&b) && !edges.contains(&(a.min(b), a.max(b)))
        });
        astar(&allowed, from, |n| n == to, |e| Self::cost(metric, e.weight()), |_| 0)
    }

    fn path_cost(&self, metric: Metric, path: &[NodeIndex]) -> u64 {
        let edges = path.windows(2).filter_map(|p| self.graph.find_edge(p[0], p[1]));
        edges.map(|e| Self::cost(metric, &self.graph[e])).sum()
    }

    /// Up to `count` ways between two nodes, cheapest first, none with a node twice.
    #[must_use]
    pub fn routes(&self, metric: Metric, from: NodeId, to: NodeId, count: usize) -> Vec<(u64, Vec<NodeId>)> {
        let (Some(&from), Some(&to)) = (self.index.get(&from), self.index.get(&to)) else {
            return Vec::new();
        };
        let mut found: Vec<(u64, Vec<NodeIndex>)> =
            self.best(metric, from, to, &[], &BTreeSet::new()).into_iter().collect();
        let mut candidates = BTreeSet::new();
        while found.len() < count {
            let Some((_, last)) = found.last().cloned() else { break };
            for turn in 0..last.len().saturating_sub(1) {
                let (root, at) = (&last[..turn], last[turn]);
                let taken = found.iter().filter(|(_, p)| p.len() > turn + 1 && p[..=turn] == last[..=turn]);
                let taken = taken.map(|(_, p)| (at.min(p[turn + 1]), at.max(p[turn + 1]))).collect();
                if let Some((_, rest)) = self.best(metric, at, to, root, &taken) {
                    let path: Vec<NodeIndex> = root.iter().copied().chain(rest).collect();
                    candidates.insert((self.path_cost(metric, &path), path));
                }
            }
            candidates.retain(|c| !found.contains(c));
            let Some(next) = candidates.pop_first() else { break };
            found.push(next);
        }
        found.truncate(count);
        found
            .into_iter()
            .map(|(cost, path)| (cost, path.into_iter().map(|i| self.graph[i]).collect()))
            .collect()
    }
}
