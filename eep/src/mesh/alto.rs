//! ALTO (RFC 7285): the map for other software. A peer-to-peer program that asks which of its peers are near gets the
//! answer of the same graphs that routes are found in.
//!
//! Each node is a PID; its endpoints are the prefixes that it serves and its own address. Costs are round trips in
//! milliseconds between nodes; the cost of a PID to itself is 0.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use topology::NodeId;
use topology::soar::Metric;

use crate::mesh::Mesh;
use crate::mesh::views::NodeFacts;

/// Media types (RFC 7285, section 14).
pub const DIRECTORY: &str = "application/alto-directory+json";
/// A network map.
pub const NETWORK_MAP: &str = "application/alto-networkmap+json";
/// A cost map.
pub const COST_MAP: &str = "application/alto-costmap+json";
/// Costs between endpoints.
pub const ENDPOINT_COST: &str = "application/alto-endpointcost+json";
/// What is asked for them.
pub const ENDPOINT_COST_PARAMS: &str = "application/alto-endpointcostparams+json";
/// An error.
pub const ERROR: &str = "application/alto-error+json";

/// PIDs in a map; costs are found between all pairs of them.
const PIDS_MAX: usize = 128;
/// Endpoints in one question.
const ENDPOINTS_MAX: usize = 256;
/// Whoever asks: the API is for programs of this machine.
const ASKER: &str = "ipv4:127.0.0.1";
/// The PID of all that no node serves.
const DEFAULT_PID: &str = "default";
/// The network map's resource id.
const RESOURCE: &str = "mesh-network-map";

/// The resources that there are (section 9.2).
#[must_use]
pub fn directory() -> Value {
    let costs = json!(["num-routing", "ord-routing"]);
    json!({
        "meta": {
            "cost-types": {
                "num-routing": {"cost-mode": "numerical", "cost-metric": "routingcost", "description": "round trip in milliseconds"},
                "ord-routing": {"cost-mode": "ordinal", "cost-metric": "routingcost"}
            },
            "default-alto-network-map": RESOURCE
        },
        "resources": {
            RESOURCE: {"uri": "/alto/networkmap", "media-type": NETWORK_MAP},
            "mesh-cost-map": {"uri": "/alto/costmap", "media-type": COST_MAP, "capabilities": {"cost-type-names": ["num-routing"]}, "uses": [RESOURCE]},
            "mesh-endpoint-cost": {"uri": "/alto/endpointcost", "media-type": ENDPOINT_COST, "accepts": ENDPOINT_COST_PARAMS, "capabilities": {"cost-type-names": costs}}
        }
    })
}

/// The nodes that answer, as PIDs.
#[derive(Clone, Debug)]
struct Pids {
    by_name: BTreeMap<String, (NodeId, Vec<IpNet>)>,
}

/// Letters that a PID may have (section 10.1), of a node's name.
fn pid_name(id: NodeId, facts: &NodeFacts) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '@' | '_' | '.');
    let full = format!("{}@{}", facts.name, facts.domain);
    let name: String = full.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    if name.len() <= 64 { name } else { format!("node-{}", &id.to_string()[..16]) }
}

impl Pids {
    fn of(all: Vec<(NodeId, NodeFacts)>, addresses: &BTreeMap<NodeId, IpAddr>) -> Self {
        let mut by_name = BTreeMap::new();
        let mut taken: Vec<IpNet> = Vec::new();
        for (id, facts) in all.into_iter().take(PIDS_MAX) {
            let own = addresses.get(&id).map(|ip| IpNet::from(ip.to_canonical()));
            let nets = facts.prefixes.iter().map(IpNet::trunc).chain(own);
            // A prefix belongs to one PID (section 10.4).
            let nets: Vec<IpNet> = nets.filter(|net| !taken.contains(net)).collect();
            taken.extend(&nets);
            let mut name = pid_name(id, &facts);
            if by_name.contains_key(&name) || name == DEFAULT_PID {
                name = format!("node-{}", &id.to_string()[..16]);
            }
            by_name.insert(name, (id, nets));
        }
        Self { by_name }
    }

    fn network_map(&self) -> Value {
        let mut map = Map::new();
        for (name, (_, nets)) in &self.by_name {
            map.insert(name.clone(), group(nets));
        }
        // Where a node serves everybody, nobody is left for this one.
        let all = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        let served = |net: &IpNet| self.by_name.values().any(|(_, nets)| nets.contains(net));
        let rest: Vec<IpNet> = all.into_iter().filter(|net| !served(net)).collect();
        map.insert(DEFAULT_PID.to_owned(), group(&rest));
        Value::Object(map)
    }

    fn tag(&self) -> String {
        let hash = Sha256::digest(self.network_map().to_string());
        data_encoding::HEXLOWER.encode(&hash[..16])
    }

    /// The node with the longest prefix around an address.
    fn of_address(&self, ip: IpAddr) -> Option<NodeId> {
        let ip = ip.to_canonical();
        let all = self.by_name.values().flat_map(|(id, nets)| nets.iter().map(move |net| (net, id)));
        all.filter(|(net, _)| net.contains(&ip)).max_by_key(|(net, _)| net.prefix_len()).map(|(_, id)| *id)
    }
}

fn group(nets: &[IpNet]) -> Value {
    let mut group = Map::new();
    let of = |v4: bool| {
        nets.iter().filter(|n| matches!(n, IpNet::V4(_)) == v4).map(ToString::to_string).collect::<Vec<_>>()
    };
    for (kind, nets) in [("ipv4", of(true)), ("ipv6", of(false))] {
        if !nets.is_empty() {
            group.insert(kind.to_owned(), json!(nets));
        }
    }
    Value::Object(group)
}

/// What costs are asked for (section 11.5.1.3).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EndpointCostParams {
    cost_type: CostType,
    endpoints: Endpoints,
    /// Tests that costs have to pass; the directory does not offer them.
    #[serde(default)]
    constraints: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct CostType {
    cost_mode: String,
    cost_metric: String,
}

#[derive(Debug, Deserialize)]
struct Endpoints {
    #[serde(default)]
    srcs: Vec<String>,
    #[serde(default)]
    dsts: Vec<String>,
}

/// An error as ALTO words it (section 8.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AltoError {
    /// `E_SYNTAX`, `E_MISSING_FIELD`, `E_INVALID_FIELD_TYPE` or `E_INVALID_FIELD_VALUE`.
    pub code: &'static str,
    /// Which field.
    pub field: Option<&'static str>,
    /// Its value.
    pub value: Option<String>,
}

impl AltoError {
    /// As it travels.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut meta = Map::new();
        meta.insert("code".to_owned(), json!(self.code));
        if let Some(field) = self.field {
            meta.insert("field".to_owned(), json!(field));
        }
        if let Some(value) = &self.value {
            meta.insert("value".to_owned(), json!(value));
        }
        json!({"meta": meta})
    }
}

fn invalid(field: &'static str, value: &str) -> AltoError {
    AltoError {
        code: "E_INVALID_FIELD_VALUE",
        field: Some(field),
        value: Some(value.chars().take(100).collect()),
    }
}

/// An address as ALTO writes it: `ipv4:192.0.2.1` (section 10.4.1).
fn typed(text: &str) -> Option<IpAddr> {
    let (kind, address) = text.split_once(':')?;
    let ip: IpAddr = address.parse().ok()?;
    ((kind == "ipv4") == ip.is_ipv4() && matches!(kind, "ipv4" | "ipv6")).then_some(ip)
}

impl Mesh {
    async fn pids(&self) -> Pids {
        let all = self.all_facts().await;
        let ids: Vec<NodeId> = all.iter().map(|(id, _)| *id).collect();
        let me = self.me().id;
        let addresses = self.ask.core(move |core, _| {
            let address = |id: NodeId| {
                if id == me { Some(core.dht.me().addr) } else { core.contact(id).map(|c| c.addr) }
            };
            ids.into_iter()
                .filter_map(|id| Some((id, address(id)?.ip())))
                .filter(|(_, ip)| !ip.is_unspecified())
                .collect()
        });
        Pids::of(all, &addresses.await.unwrap_or_default())
    }

    /// The network map (section 11.2.1).
    pub async fn network_map(&self) -> Value {
        let pids = self.pids().await;
        json!({"meta": {"vtag": {"resource-id": RESOURCE, "tag": pids.tag()}}, "network-map": pids.network_map()})
    }

    /// The cost map (section 11.2.3).
    pub async fn cost_map(&self) -> Value {
        let pids = self.pids().await;
        let nodes: Vec<(String, NodeId)> =
            pids.by_name.iter().map(|(name, (id, _))| (name.clone(), *id)).collect();
        let wanted: Vec<NodeId> = nodes.iter().map(|(_, id)| *id).collect();
        let costs = self.costs(wanted.clone(), wanted).await;
        let mut map = Map::new();
        for (name, id) in &nodes {
            let row =
                nodes.iter().filter_map(|(other, to)| Some((other.clone(), json!(costs.get(&(*id, *to))?))));
            map.insert(name.clone(), Value::Object(row.collect()));
        }
        json!({
            "meta": {
                "dependent-vtags": [{"resource-id": RESOURCE, "tag": pids.tag()}],
                "cost-type": {"cost-mode": "numerical", "cost-metric": "routingcost"}
            },
            "cost-map": map
        })
    }

    async fn costs(&self, from: Vec<NodeId>, to: Vec<NodeId>) -> BTreeMap<(NodeId, NodeId), f64> {
        let found = self.ask.core(move |core, _| {
            let map = core.soar.map();
            let mut costs = BTreeMap::new();
            for (a, b) in from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))) {
                if a == b {
                    costs.insert((a, b), 0.0);
                } else if let Some((cost, _)) = map.routes(Metric::RoundTrip, a, b, 1).pop() {
                    costs.insert((a, b), cost as f64 / 1000.0);
                }
            }
            costs
        });
        found.await.unwrap_or_default()
    }

    /// Costs between endpoints (section 11.5.1). Where no source or no destination is named, whoever asks is meant.
    ///
    /// # Errors
    /// What is wrong with the question.
    pub async fn endpoint_costs(&self, asked: &EndpointCostParams) -> Result<Value, AltoError> {
        let CostType { cost_mode, cost_metric } = &asked.cost_type;
        if cost_metric != "routingcost" {
            return Err(invalid("cost-type/cost-metric", cost_metric));
        }
        if !matches!(cost_mode.as_str(), "numerical" | "ordinal") {
            return Err(invalid("cost-type/cost-mode", cost_mode));
        }
        let (srcs, dsts) = (&asked.endpoints.srcs, &asked.endpoints.dsts);
        if srcs.is_empty() && dsts.is_empty() {
            return Err(AltoError { code: "E_MISSING_FIELD", field: Some("endpoints"), value: None });
        }
        if let Some(constraints) = &asked.constraints {
            return Err(invalid("constraints", &constraints.to_string()));
        }
        let pairs_max = ENDPOINTS_MAX * 16;
        if srcs.len().max(1).saturating_mul(dsts.len().max(1)) > pairs_max {
            return Err(invalid("endpoints", &format!("more than {pairs_max} pairs")));
        }
        let read = |list: &[String], field| -> Result<Vec<(String, IpAddr)>, AltoError> {
            list.iter()
                .map(|text| typed(text).map(|ip| (text.clone(), ip)).ok_or_else(|| invalid(field, text)))
                .collect()
        };
        let srcs = read(srcs, "endpoints/srcs")?;
        let dsts = read(dsts, "endpoints/dsts")?;
        let pids = self.pids().await;
        let place = |list: Vec<(String, IpAddr)>| -> Vec<(String, NodeId)> {
            list.into_iter().filter_map(|(text, ip)| Some((text, pids.of_address(ip)?))).collect()
        };
        let me = self.me().id;
        let or_own = |list: Vec<(String, IpAddr)>| -> Vec<(String, NodeId)> {
            if list.is_empty() { vec![(ASKER.to_owned(), me)] } else { place(list) }
        };
        let (from, to) = (or_own(srcs), or_own(dsts));
        let ids = |list: &[(String, NodeId)]| list.iter().map(|(_, id)| *id).collect();
        let costs = self.costs(ids(&from), ids(&to)).await;
        let mut map = Map::new();
        for (src, a) in &from {
            let mut row: Vec<(&String, f64)> =
                to.iter().filter_map(|(dst, b)| Some((dst, *costs.get(&(*a, *b))?))).collect();
            row.sort_by(|a, b| a.1.total_cmp(&b.1));
            let ordinal = cost_mode == "ordinal";
            let cells = row.iter().enumerate().map(|(rank, (dst, cost))| {
                ((*dst).clone(), if ordinal { json!(rank + 1) } else { json!(cost) })
            });
            map.insert(src.clone(), Value::Object(cells.collect()));
        }
        Ok(json!({
            "meta": {"cost-type": {"cost-mode": cost_mode, "cost-metric": cost_metric}},
            "endpoint-cost-map": map
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> NodeId {
        NodeId::of_public_key(&[n])
    }

    fn facts(name: &str, prefixes: &[&str]) -> NodeFacts {
        NodeFacts {
            name: name.to_owned(),
            domain: "isp a".to_owned(),
            prefixes: prefixes.iter().map(|p| p.parse().unwrap()).collect(),
            ..NodeFacts::default()
        }
    }

    #[test]
    fn the_longest_prefix_wins_and_belongs_to_one_pid() {
        let all = vec![
            (id(1), facts("one", &["10.0.0.0/8", "2001:db8::/32"])),
            (id(2), facts("two", &["10.1.0.0/16", "10.0.0.0/8"])),
        ];
        let pids = Pids::of(all, &BTreeMap::from([(id(2), "192.0.2.7".parse().unwrap())]));
        let at = |ip: &str| pids.of_address(ip.parse().unwrap());
        assert_eq!(at("10.9.0.1"), Some(id(1)));
        assert_eq!(at("10.1.0.1"), Some(id(2)));
        assert_eq!(at("::ffff:192.0.2.7"), Some(id(2)));
        assert_eq!(at("192.0.2.8"), None);
        let map = pids.network_map();
        assert_eq!(map["one@isp_a"], json!({"ipv4": ["10.0.0.0/8"], "ipv6": ["2001:db8::/32"]}));
        assert_eq!(map["two@isp_a"], json!({"ipv4": ["10.1.0.0/16", "192.0.2.7/32"]}));
        assert_eq!(map["default"], json!({"ipv4": ["0.0.0.0/0"], "ipv6": ["::/0"]}));

        let all = vec![(id(1), facts("one", &["0.0.0.0/0"]))];
        let map = Pids::of(all, &BTreeMap::new()).network_map();
        assert_eq!(map["one@isp_a"], json!({"ipv4": ["0.0.0.0/0"]}));
        assert_eq!(map["default"], json!({"ipv6": ["::/0"]}), "a prefix is one PID's");
    }

    #[test]
    fn addresses_carry_their_type() {
        assert_eq!(typed("ipv4:192.0.2.1"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(typed("ipv6:2001:db8::1"), Some("2001:db8::1".parse().unwrap()));
        for wrong in ["192.0.2.1", "ipv6:192.0.2.1", "ipv4:::1", "ipv4:x", "mac:00"] {
            assert_eq!(typed(wrong), None, "{wrong}");
        }
    }
}
