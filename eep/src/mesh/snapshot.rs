//! A view of the mesh that is put together once and read often, by services.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use topology::NodeId;

use crate::mesh::Mesh;
use crate::mesh::find::parse_id;
use crate::mesh::views::{By, MapView, NodeFacts, RouteView};

/// Nodes of a view.
const NODES_MAX: usize = 256;

/// The mesh at one moment, as this node saw it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Counts up with each snapshot that says something new; whoever keeps it, counts.
    pub version: u64,
    /// The map.
    pub map: MapView,
    /// What nodes say of themselves, by id.
    pub facts: BTreeMap<NodeId, NodeFacts>,
    /// The cheapest route to each node by metric.
    routes: BTreeMap<(NodeId, usize), RouteView>,
}

/// The place of a metric in the table of routes.
fn place(by: By) -> usize {
    match by {
        By::Rtt => 0,
        By::Throughput => 1,
        By::Load => 2,
    }
}

impl Snapshot {
    /// The cheapest route to a node.
    #[must_use]
    pub fn route(&self, to: NodeId, by: By) -> Option<&RouteView> {
        self.routes.get(&(to, place(by)))
    }

    /// What it costs to reach a node.
    #[must_use]
    pub fn cost(&self, to: NodeId, by: By) -> Option<f64> {
        if to.to_string() == self.map.me.id {
            return Some(0.0);
        }
        self.route(to, by).map(|route| route.cost)
    }

    /// Nodes for the users of a prefix, as [`Mesh::near_prefix`] has them.
    #[must_use]
    pub fn nearest(&self, prefix: IpNet, by: By) -> Vec<(NodeId, Option<f64>)> {
        let around = |facts: &NodeFacts| {
            facts.prefixes.iter().filter(|p| p.contains(&prefix)).map(IpNet::prefix_len).max()
        };
        let longest = self.facts.values().filter_map(around).max();
        let fits = |facts: &NodeFacts| longest.is_none() || around(facts) == longest;
        self.by_cost(self.facts.iter().filter(|(_, facts)| fits(facts)).map(|(id, _)| *id), by)
    }

    /// Nodes of a region, by its id or its first digits; of this node's own where none is named.
    #[must_use]
    pub fn region(&self, region: Option<&str>, by: By) -> Vec<(NodeId, Option<f64>)> {
        let own = self.map.nodes.iter().find(|node| node.node.id == self.map.me.id);
        let Some(region) = region.or_else(|| own?.region.as_deref()) else { return Vec::new() };
        let region = region.to_ascii_lowercase();
        let nodes = self.map.nodes.iter();
        let fits = nodes.filter(|node| node.region.as_ref().is_some_and(|r| r.starts_with(&region)));
        self.by_cost(fits.filter_map(|node| parse_id(&node.node.id)), by)
    }

    fn by_cost(&self, among: impl Iterator<Item = NodeId>, by: By) -> Vec<(NodeId, Option<f64>)> {
        let mut found: Vec<(NodeId, Option<f64>)> = among.map(|id| (id, self.cost(id, by))).collect();
        found.sort_by(|a, b| {
            let cost = |cost: Option<f64>| cost.unwrap_or(f64::MAX);
            cost(a.1).total_cmp(&cost(b.1)).then(a.0.cmp(&b.0))
        });
        found
    }

    /// Whether it says the same as an earlier one, but for what changes all the time: costs and loads.
    #[must_use]
    pub fn is_like(&self, earlier: &Self) -> bool {
        let about = |view: &Self| -> BTreeSet<(String, Option<String>)> {
            view.map.nodes.iter().map(|node| (node.node.id.clone(), node.region.clone())).collect()
        };
        let links = |view: &Self| -> BTreeSet<(String, String)> {
            view.map.links.iter().map(|link| (link.from.clone(), link.to.clone())).collect()
        };
        let offers = |view: &Self| -> Vec<(NodeId, Vec<IpNet>, Vec<String>)> {
            let facts = view.facts.iter();
            facts.map(|(id, facts)| (*id, facts.prefixes.clone(), facts.services.clone())).collect()
        };
        about(self) == about(earlier) && links(self) == links(earlier) && offers(self) == offers(earlier)
    }
}

impl Mesh {
    /// Puts a view together; none where the mesh has ended.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        let mut map = self.map().await.ok()?;
        map.nodes.truncate(NODES_MAX);
        let known: BTreeSet<String> = map.nodes.iter().map(|node| node.node.id.clone()).collect();
        map.links.retain(|link| !link.inner && known.contains(&link.from) && known.contains(&link.to));
        let facts = self.all_facts().await.into_iter().filter(|(id, _)| known.contains(&id.to_string()));
        let facts: BTreeMap<NodeId, NodeFacts> = facts.collect();
        let mut routes = BTreeMap::new();
        for id in map.nodes.iter().filter_map(|node| parse_id(&node.node.id)) {
            let locator = facts.get(&id).map(NodeFacts::locator_ids).unwrap_or_default();
            for by in [By::Rtt, By::Throughput, By::Load] {
                // One question after the other: whatever else the mesh has to do comes in between.
                let found = self.routes(id, locator.clone(), by, 1).await.ok()?;
                if let Some(route) = found.routes.into_iter().next() {
                    routes.insert((id, place(by)), route);
                }
            }
        }
        Some(Snapshot { version: 0, map, facts, routes })
    }
}
