//! What operators and the API see of the mesh, as this node knows it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use topology::soar::{Locator, Metric};
use topology::{Instant, NodeId};

use crate::mesh::Mesh;
use crate::mesh::core::Core;
use crate::mesh::trust::Domains;
use crate::problem::Problem;

/// The most alternatives that are looked for.
pub const ROUTES_MAX: usize = 8;

/// A node in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeRef {
    /// Its id: the SHA-256 of its public key.
    pub id: String,
    /// What its certificate calls it; none where it has not proved that to this node.
    pub name: Option<String>,
    /// Its domain.
    pub domain: Option<String>,
}

impl NodeRef {
    pub(super) fn of(domains: &Domains, id: NodeId) -> Self {
        let peer = domains.known(id);
        let (name, domain) = peer.map(|peer| (peer.name, peer.domain)).unzip();
        Self { id: id.to_string(), name, domain }
    }
}

/// The map.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct MapView {
    /// This node.
    pub me: NodeRef,
    /// Where its mesh endpoint is reached, as far as it knows.
    pub address: String,
    /// Counts up with each change.
    pub version: u64,
    /// All nodes that are known.
    pub nodes: Vec<MapNode>,
    /// All links that both ends report, and paths between gateways inside other regions.
    pub links: Vec<MapLink>,
}

/// A node on the map.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct MapNode {
    /// Who.
    #[serde(flatten)]
    pub node: NodeRef,
    /// Its region, by the id of the region's lowest member; none where it is not known.
    pub region: Option<String>,
    /// Where it is reached; none where this node never had to know.
    pub address: Option<String>,
    /// Whether there is a connection with it.
    pub connected: bool,
    /// The measured round trip to it, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// How busy it says it is: processes that want to run, by processor.
    pub load: Option<f64>,
}

/// A link on the map.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct MapLink {
    /// One end's id.
    pub from: String,
    /// The other's.
    pub to: String,
    /// The round trip, in milliseconds.
    pub rtt_ms: f64,
    /// The throughput, in kbit/s, where it was measured.
    pub throughput_kbps: Option<u32>,
    /// Whether both ends hold each other for near.
    pub near: bool,
    /// Whether it is a path inside a region rather than a link.
    pub inner: bool,
}

fn ms(us: impl Into<u64>) -> f64 {
    us.into() as f64 / 1000.0
}

fn map(core: &mut Core, _: Instant) -> MapView {
    let (me, domains) = (core.me(), std::sync::Arc::clone(&core.domains));
    let edges: Vec<_> = core.soar.map().edges().collect();
    let on_map: Vec<NodeId> = core.soar.map().nodes().collect();
    let mut known: BTreeSet<NodeId> = on_map.into_iter().chain(core.links.keys().copied()).collect();
    known.extend(core.soar.region(0));
    let nodes = known.into_iter().map(|id| {
        let report = core.soar.graph(0).and_then(|level| level.get(&id));
        let home = core.soar.graph(1).and_then(|level| level.get(&id)).map(|r| r.home);
        let own = core.soar.region(0).contains(&id).then(|| core.soar.locator().first().copied()).flatten();
        let link = core.soar.links().get(&id);
        MapNode {
            node: NodeRef::of(&domains, id),
            region: own.or(home).or(report.map(|r| r.region)).map(|id| id.to_string()),
            address: if id == me { Some(core.dht.me().addr) } else { core.contact(id).map(|c| c.addr) }
                .map(|a| a.to_string()),
            connected: core.links.contains_key(&id),
            rtt_ms: link.and_then(|l| l.rtt_us).map(ms),
            load: report.map(|r| f64::from(r.load_milli) / 1000.0),
        }
    });
    let links = edges.into_iter().map(|(from, to, edge)| MapLink {
        from: from.to_string(),
        to: to.to_string(),
        rtt_ms: ms(edge.rtt_us),
        throughput_kbps: edge.throughput_kbps,
        near: edge.near,
        inner: edge.inner,
    });
    MapView {
        me: NodeRef::of(&domains, me),
        address: core.dht.me().addr.to_string(),
        version: *core.version.borrow(),
        nodes: nodes.collect(),
        links: links.collect(),
    }
}

/// Regions that are known.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct RegionsView {
    /// This node's own region first.
    pub regions: Vec<RegionView>,
}

/// One region.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct RegionView {
    /// The id of its lowest member.
    pub id: String,
    /// Whether this node is in it.
    pub own: bool,
    /// Its members, where it is this node's own; its gateways, which alone are known, where it is another.
    pub members: Vec<NodeRef>,
    /// The ways out of it.
    pub gateways: Vec<GatewayView>,
}

/// A way out of a region.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct GatewayView {
    /// The member that leads out.
    pub node: NodeRef,
    /// Its neighbour in the other region.
    pub peer: NodeRef,
    /// The other region, where it is known.
    pub region: Option<String>,
    /// The round trip between the two, in milliseconds.
    pub rtt_ms: f64,
}

fn regions(core: &mut Core, _: Instant) -> RegionsView {
    let domains = std::sync::Arc::clone(&core.domains);
    let node = |id: NodeId| NodeRef::of(&domains, id);
    let members = core.soar.region(0);
    let own = core.soar.locator().first().copied().unwrap_or(core.me());
    let gateways = core.soar.gateways(0).into_iter().map(|(region, gateway)| GatewayView {
        node: node(gateway.node),
        peer: node(gateway.peer),
        region: Some(region.to_string()),
        rtt_ms: ms(gateway.rtt_us),
    });
    let mut regions = vec![RegionView {
        id: own.to_string(),
        own: true,
        members: members.iter().map(|id| node(*id)).collect(),
        gateways: gateways.collect(),
    }];
    let mut others: BTreeMap<NodeId, RegionView> = BTreeMap::new();
    let level = core.soar.graph(1);
    let homes: BTreeMap<NodeId, NodeId> = level.into_iter().flatten().map(|(id, r)| (*id, r.home)).collect();
    for (id, report) in
        level.into_iter().flatten().filter(|(id, r)| !members.contains(id) && !r.edges.is_empty())
    {
        let region = others.entry(report.home).or_insert_with(|| RegionView {
            id: report.home.to_string(),
            own: false,
            members: Vec::new(),
            gateways: Vec::new(),
        });
        region.members.push(node(*id));
        region.gateways.extend(report.edges.iter().filter(|e| !e.inner).map(|e| GatewayView {
            node: node(*id),
            peer: node(e.to),
            region: homes.get(&e.to).map(ToString::to_string),
            rtt_ms: ms(e.rtt_us),
        }));
    }
    regions.extend(others.into_values());
    RegionsView { regions }
}

/// What routes are to be good at.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Least round trip; the cost is in milliseconds.
    #[default]
    Rtt,
    /// Least time to pass data on; the cost is in milliseconds for a megabit.
    Throughput,
    /// Least busy nodes; the cost is the sum of their loads.
    Load,
}

impl By {
    /// The metric of the measurement plane.
    #[must_use]
    pub fn metric(self) -> Metric {
        match self {
            Self::Rtt => Metric::RoundTrip,
            Self::Throughput => Metric::Throughput,
            Self::Load => Metric::Load,
        }
    }
}

/// Routes to a node.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct RoutesView {
    /// Where to.
    pub to: NodeRef,
    /// What they are good at.
    pub by: By,
    /// The cheapest first; none where the map shows no way.
    pub routes: Vec<RouteView>,
}

/// One route.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct RouteView {
    /// All nodes in turn, this one first.
    pub nodes: Vec<NodeRef>,
    /// Its cost, in the unit of what it is good at.
    pub cost: f64,
    /// False where it ends at a gateway of the target's region, which knows the rest.
    pub complete: bool,
}

/// What a node says of itself to others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct NodeFacts {
    /// What its certificate calls it.
    pub name: String,
    /// Its domain.
    pub domain: String,
    /// Its software's version.
    pub version: String,
    /// Its regions, lowest level first.
    pub locator: Vec<String>,
    /// The prefixes whose users it is to serve.
    #[schema(value_type = Vec<String>)]
    pub prefixes: Vec<ipnet::IpNet>,
    /// The services that it offers.
    pub services: Vec<String>,
    /// How busy it is: processes that want to run, by processor.
    pub load: f64,
}

impl NodeFacts {
    pub(super) fn locator_ids(&self) -> Locator {
        self.locator
            .iter()
            .filter_map(|text| super::find::parse_id(text))
            .take(super::wire::LOCATOR_MAX)
            .collect()
    }
}

fn ended() -> Box<Problem> {
    Problem::new("ending", 503, "the mesh has ended").fix("start the node again")
}

impl Mesh {
    /// The map.
    ///
    /// # Errors
    /// The mesh has ended.
    pub async fn map(&self) -> Result<MapView, Box<Problem>> {
        self.ask.core(map).await.ok_or_else(ended)
    }

    /// The regions.
    ///
    /// # Errors
    /// The mesh has ended.
    pub async fn regions(&self) -> Result<RegionsView, Box<Problem>> {
        self.ask.core(regions).await.ok_or_else(ended)
    }

    /// Routes to a node, at most [`ROUTES_MAX`].
    ///
    /// # Errors
    /// The mesh has ended.
    pub async fn routes(
        &self,
        to: NodeId,
        locator: Locator,
        by: By,
        count: usize,
    ) -> Result<RoutesView, Box<Problem>> {
        let found = self.ask.core(move |core, _| {
            let routes = core.soar.routes(by.metric(), to, &locator, count.min(ROUTES_MAX));
            let node = |id: &NodeId| NodeRef::of(&core.domains, *id);
            let routes = routes.iter().map(|route| RouteView {
                nodes: route.nodes.iter().map(node).collect(),
                cost: route.cost as f64 / 1000.0,
                complete: route.complete,
            });
            RoutesView { to: node(&to), by, routes: routes.collect() }
        });
        found.await.ok_or_else(ended)
    }

    /// Routes to a node, wherever it is: its regions are asked of itself where the map does not show it.
    ///
    /// # Errors
    /// The mesh has ended.
    pub async fn routes_to(&self, to: NodeId, by: By, count: usize) -> Result<RoutesView, Box<Problem>> {
        let found = self.routes(to, Locator::new(), by, count).await?;
        if !found.routes.is_empty() {
            return Ok(found);
        }
        match self.facts(to).await {
            Ok(facts) => self.routes(to, facts.locator_ids(), by, count).await,
            Err(_) => Ok(found),
        }
    }

    /// What this node says of itself.
    pub async fn own_facts(&self) -> NodeFacts {
        let me = self.me();
        let locator = self.ask.core(|core, _| core.soar.locator()).await.unwrap_or_default();
        let mut services = self.streams.requests.offers().services;
        services.extend(self.streams.services());
        services.sort();
        services.dedup();
        NodeFacts {
            name: me.name,
            domain: me.domain,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            locator: locator.iter().map(ToString::to_string).collect(),
            prefixes: self.settings.prefixes.clone(),
            services,
            load: super::tend::load_milli().map_or(0.0, |milli| f64::from(milli) / 1000.0),
        }
    }
}
