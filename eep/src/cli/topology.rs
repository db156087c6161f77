//! `eep topology`

use clap::Subcommand;
use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::output::{BOLD, DIM, GOOD, Outcome, json, paint, print, table};
use crate::cli::service::read;
use crate::cli::target::{Target, block_on};
use crate::mesh::views::{By, NodeFacts, NodeRef};

/// See the mesh: nodes, regions, routes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  eep topology map                         every node that is known, and how far it is
  eep topology regions                     how nodes have clustered, and their gateways
  eep topology route edge-7                ways to a node, with alternatives
  eep topology node edge-7                 what a node says of itself
  eep topology nearest 192.0.2.0/24        the node for the users of a prefix
  eep topology find service:edge           who runs a service; also a node, sha256:HEX, random")]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Every node that is known, and how far it is.
    #[command(
        after_help = "Examples:\n  eep topology map\n  eep topology map --by throughput\n  eep topology map --json"
    )]
    Map {
        /// Show the links instead, the best by this first.
        #[arg(long, value_enum)]
        by: Option<By>,
        #[command(flatten)]
        target: Target,
    },
    /// How nodes have clustered themselves, and the gateways between regions.
    #[command(after_help = "Examples:\n  eep topology regions\n  eep topology regions --json")]
    Regions {
        #[command(flatten)]
        target: Target,
    },
    /// Ways to a node, the best first.
    #[command(
        after_help = "Examples:\n  eep topology route edge-7\n  eep topology route edge-7@isp-b --by load --count 1"
    )]
    Route {
        /// NAME, NAME@DOMAIN, or an id or its first digits.
        #[arg(value_name = "NODE")]
        to: String,
        /// What the routes are to be good at.
        #[arg(long, value_enum, default_value_t)]
        by: By,
        /// How many, at most 8.
        #[arg(long, default_value_t = 3)]
        count: usize,
        #[command(flatten)]
        target: Target,
    },
    /// The nodes for the users of an address or a prefix, the nearest first.
    #[command(
        after_help = "Examples:\n  eep topology nearest 192.0.2.7\n  eep topology nearest 2001:db8::/32 --by load"
    )]
    Nearest {
        /// An address or a prefix.
        #[arg(value_name = "CIDR")]
        to: String,
        /// What is near.
        #[arg(long, value_enum, default_value_t)]
        by: By,
        #[command(flatten)]
        target: Target,
    },
    /// Ask a node about itself, over the best route that works.
    #[command(after_help = "Examples:\n  eep topology node edge-7\n  eep topology node edge-7@isp-b --json")]
    Node {
        /// NAME, NAME@DOMAIN, or an id or its first digits.
        #[arg(value_name = "NODE")]
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// Look for a node, for who offers a service, or for who holds code.
    #[command(
        after_help = "Examples:\n  eep topology find edge-7\n  eep topology find service:edge\n  eep topology find sha256:HEX\n  eep topology find random"
    )]
    Find {
        /// A node, service:NAME, sha256:HEX, or random.
        what: String,
        /// By which those that are found are sorted.
        #[arg(long, value_enum, default_value_t)]
        by: By,
        #[command(flatten)]
        target: Target,
    },
}

impl Args {
    fn target(&self) -> &Target {
        match &self.verb {
            Verb::Map { target, .. }
            | Verb::Regions { target }
            | Verb::Route { target, .. }
            | Verb::Nearest { target, .. }
            | Verb::Node { target, .. }
            | Verb::Find { target, .. } => target,
        }
    }

    pub(super) fn json(&self) -> bool {
        self.target().json
    }

    fn path(&self) -> String {
        let with = |path: &str, pairs: &[(&str, &str)]| {
            // Any base does: only the encoded query is taken from it.
            let url = Url::parse_with_params("http://eep", pairs).ok();
            format!("/v1/topology/{path}?{}", url.as_ref().and_then(Url::query).unwrap_or_default())
        };
        let word = |by: &By| match by {
            By::Rtt => "rtt",
            By::Throughput => "throughput",
            By::Load => "load",
        };
        match &self.verb {
            Verb::Map { .. } => "/v1/topology/map".to_owned(),
            Verb::Regions { .. } => "/v1/topology/regions".to_owned(),
            Verb::Route { to, by, count, .. } => {
                with("routes", &[("to", to), ("by", word(by)), ("count", &count.to_string())])
            }
            Verb::Node { name, .. } => {
                let mut url = Url::parse("http://eep/v1/topology/nodes").ok();
                if let Some(mut segments) = url.as_mut().and_then(|url| url.path_segments_mut().ok()) {
                    segments.push(name);
                }
                url.map(|url| url.path().to_owned()).unwrap_or_default()
            }
            Verb::Nearest { to, by, .. } => with("nearest", &[("to", to), ("by", word(by))]),
            Verb::Find { what, by, .. } => with("find", &[("what", what), ("by", word(by))]),
        }
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let answer = block_on(async { args.target().client()?.get(&args.path()).await })?;
    if args.json() {
        json(&answer);
        return Ok(());
    }
    print(&match &args.verb {
        Verb::Map { by: None, .. } => show_map(&answer)?,
        Verb::Map { by: Some(by), .. } => show_links(&answer, *by)?,
        Verb::Regions { .. } => show_regions(&answer)?,
        Verb::Route { to, .. } => show_routes(&answer, to)?,
        Verb::Node { .. } => show_facts(&answer)?,
        Verb::Nearest { .. } | Verb::Find { .. } => show_found(&answer)?,
    });
    Ok(())
}

type Shown = Result<String, crate::cli::output::Failure>;

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

fn called(node: &NodeRef) -> String {
    match (&node.name, &node.domain) {
        (Some(name), Some(domain)) => format!("{name}@{domain}"),
        _ => format!("{}…", short(&node.id)),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

#[derive(Deserialize)]
struct Map {
    me: NodeRef,
    address: String,
    nodes: Vec<MapNode>,
    links: Vec<MapLink>,
}

#[derive(Deserialize)]
struct MapLink {
    from: String,
    to: String,
    rtt_ms: f64,
    throughput_kbps: Option<u32>,
}

#[derive(Deserialize)]
struct MapNode {
    #[serde(flatten)]
    node: NodeRef,
    region: Option<String>,
    address: Option<String>,
    connected: bool,
    rtt_ms: Option<f64>,
    load: Option<f64>,
}

fn show_map(answer: &Value) -> Shown {
    let map: Map = read(answer)?;
    let mut rows = Vec::new();
    for node in &map.nodes {
        let link = if node.node.id == map.me.id {
            "self"
        } else if node.connected {
            "direct"
        } else {
            "-"
        };
        rows.push(vec![
            called(&node.node),
            short(&node.node.id).to_owned(),
            node.region.as_deref().map_or("-", |region| short(region)).to_owned(),
            node.address.clone().unwrap_or_else(|| "-".to_owned()),
            link.to_owned(),
            number(node.rtt_ms),
            number(node.load),
        ]);
    }
    let mut out = format!(
        "{} at {}: {} nodes, {} links\n",
        paint(BOLD, &called(&map.me)),
        map.address,
        map.nodes.len(),
        map.links.len()
    );
    out += &table(&["NODE", "ID", "REGION", "ADDRESS", "LINK", "RTT ms", "LOAD"], &rows);
    Ok(out)
}

fn show_links(answer: &Value, by: By) -> Shown {
    let map: Map = read(answer)?;
    let node = |id: &str| map.nodes.iter().find(|node| node.node.id == id);
    let name = |id: &str| node(id).map_or_else(|| short(id).to_owned(), |node| called(&node.node));
    let load = |link: &MapLink| Some((node(&link.from)?.load? + node(&link.to)?.load?) / 2.0);
    let mbits = |link: &MapLink| link.throughput_kbps.map(|kbps| f64::from(kbps) / 1000.0);
    let mut links: Vec<&MapLink> = map.links.iter().collect();
    links.sort_by(|a, b| {
        let last = |value: Option<f64>| value.unwrap_or(f64::INFINITY);
        match by {
            By::Rtt => a.rtt_ms.total_cmp(&b.rtt_ms),
            By::Throughput => mbits(b).unwrap_or(0.0).total_cmp(&mbits(a).unwrap_or(0.0)),
            By::Load => last(load(a)).total_cmp(&last(load(b))),
        }
    });
    let rows = links.iter().map(|link| {
        let (from, to) = (name(&link.from), name(&link.to));
        vec![from, to, number(Some(link.rtt_ms)), number(mbits(link)), number(load(link))]
    });
    Ok(table(&["FROM", "TO", "RTT ms", "MBIT/S", "LOAD"], &rows.collect::<Vec<_>>()))
}

#[derive(Deserialize)]
struct Regions {
    regions: Vec<Region>,
}

#[derive(Deserialize)]
struct Region {
    id: String,
    own: bool,
    members: Vec<NodeRef>,
    gateways: Vec<Gateway>,
}

#[derive(Deserialize)]
struct Gateway {
    node: NodeRef,
    peer: NodeRef,
    region: Option<String>,
    rtt_ms: f64,
}

fn show_regions(answer: &Value) -> Shown {
    let regions: Regions = read(answer)?;
    let mut out = String::new();
    for region in &regions.regions {
        let own = if region.own { paint(GOOD, " (this node's)") } else { String::new() };
        out += &format!("{}{own}\n", paint(BOLD, short(&region.id)));
        let members: Vec<String> = region.members.iter().map(called).collect();
        let key = if region.own { "members" } else { "known" };
        out += &format!("  {} {}\n", paint(DIM, &format!("{key:<9}")), members.join(", "));
        for gateway in &region.gateways {
            let to =
                gateway.region.as_deref().map(|region| format!(" in {}", short(region))).unwrap_or_default();
            let words = format!(
                "{} to {}{to}, {:.2} ms",
                called(&gateway.node),
                called(&gateway.peer),
                gateway.rtt_ms
            );
            out += &format!("  {} {words}\n", paint(DIM, &format!("{:<9}", "gateway")));
        }
    }
    Ok(out)
}

#[derive(Deserialize)]
struct Routes {
    routes: Vec<Route>,
}

#[derive(Deserialize)]
struct Route {
    nodes: Vec<NodeRef>,
    cost: f64,
    complete: bool,
}

fn show_routes(answer: &Value, to: &str) -> Shown {
    let routes: Routes = read(answer)?;
    if routes.routes.is_empty() {
        return Ok(format!("no way to {to} is on the map\n"));
    }
    let rows = routes.routes.iter().map(|route| {
        let way: Vec<String> = route.nodes.iter().map(called).collect();
        let rest = if route.complete { "" } else { " > …" };
        vec![
            format!("{:.2}", route.cost),
            (route.nodes.len().saturating_sub(1)).to_string(),
            way.join(" > ") + rest,
        ]
    });
    Ok(table(&["COST", "HOPS", "WAY"], &rows.collect::<Vec<_>>()))
}

#[derive(Deserialize)]
struct Facts {
    node: NodeRef,
    via: NodeRef,
    took_ms: f64,
    facts: NodeFacts,
}

fn show_facts(answer: &Value) -> Shown {
    let Facts { node, via, took_ms, facts } = read(answer)?;
    let mut out = format!("{} {}\n", paint(BOLD, &called(&node)), paint(DIM, &node.id));
    let mut row =
        |key: &str, value: &str| out += &format!("  {}{value}\n", paint(DIM, &format!("{key:<11}")));
    let way = if via.id == node.id { "direct".to_owned() } else { format!("over {}", called(&via)) };
    row("asked", &format!("{way}, {took_ms:.1} ms"));
    row("version", &facts.version);
    row("load", &format!("{:.2}", facts.load));
    let list = |items: Vec<String>| if items.is_empty() { "-".to_owned() } else { items.join(", ") };
    row("region", &list(facts.locator.iter().map(|id| short(id).to_owned()).collect()));
    row("services", &list(facts.services));
    row("prefixes", &list(facts.prefixes.iter().map(ToString::to_string).collect()));
    Ok(out)
}

#[derive(Deserialize)]
struct Found {
    what: String,
    nodes: Vec<FoundNode>,
    took_ms: f64,
}

#[derive(Deserialize)]
struct FoundNode {
    #[serde(flatten)]
    node: NodeRef,
    address: Option<String>,
    cost: Option<f64>,
}

fn show_found(answer: &Value) -> Shown {
    let found: Found = read(answer)?;
    if found.nodes.is_empty() {
        return Ok(format!("nobody was found for {} ({:.0} ms)\n", found.what, found.took_ms));
    }
    let rows = found.nodes.iter().map(|node| {
        let address = node.address.clone().unwrap_or_else(|| "-".to_owned());
        vec![called(&node.node), short(&node.node.id).to_owned(), address, number(node.cost)]
    });
    Ok(table(&["NODE", "ID", "ADDRESS", "COST"], &rows.collect::<Vec<_>>()))
}
