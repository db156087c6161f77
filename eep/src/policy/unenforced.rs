//! What a policy says and nothing carries out. It is told wherever a policy is checked or shown: nobody is to count on it.

use policies::event::{Message, Region};
use policies::facts::{Fact, FactSet};
use policies::model::action::{Forward, Preference};
use policies::{Action, Chain, Policy};

use crate::policy::whereabouts::Knows;

/// The names of the facts that the node has from elsewhere.
const SYSTEM: &str = "peer.asn";
const REGION: &str = "peer.region";
/// How links do: the proxylet says it.
const OF_LINKS: [Fact; 5] = [Fact::LINK, Fact::RTT, Fact::LOSS, Fact::UTIL, Fact::THROUGHPUT];

/// Facts that are not known of what nodes of other domains ask for.
const UNKNOWN_TO_MESH: [Fact; 9] = [
    Fact::ADDRESS,
    Fact::TTL,
    Fact::HOPS,
    Fact::BYTES,
    Fact::PEER_CONNECTIONS,
    Fact::PEER_RATE,
    Fact::SHA1,
    Fact::FILE_TYPE,
    Fact::FILE_BYTES,
];

/// Who asks for decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A proxylet that asks about messages and routes, as the virtual peer does.
    #[default]
    Proxylet,
    /// The node alone: the proxylet is not granted `policy`.
    Node,
    /// The mesh: what nodes of other domains ask for (see [`crate::mesh::admission`]).
    Mesh,
}

/// The kinds of message about which a chain is asked.
fn asked(chain: Chain, asker: Asker) -> &'static [Message] {
    const OF_PEERS: [Message; 10] = [
        Message::Connect,
        Message::Ping,
        Message::Pong,
        Message::Query,
        Message::QueryHit,
        Message::Push,
        Message::RouteTable,
        Message::Vendor,
        Message::Bye,
        Message::Download,
    ];
    const OF_MESH: [Message; 4] = [Message::Connect, Message::Download, Message::Deploy, Message::Relay];
    match (chain, asker) {
        (Chain::Access, Asker::Proxylet) => &OF_PEERS,
        (Chain::Access, Asker::Mesh) => &OF_MESH,
        (Chain::Traffic, Asker::Mesh) => &[],
        // The classes of traffic are of connections.
        (Chain::Access, Asker::Node) | (Chain::Traffic, _) => &[Message::Connect],
        (Chain::Routing, Asker::Proxylet) => &[Message::Query],
        (Chain::Routing, Asker::Node | Asker::Mesh) | (Chain::Cache, _) => &[],
    }
}

/// Sections, settings, facts and rules of a policy that nothing carries out, as they are called in it.
pub(crate) fn unenforced(policy: &Policy, asker: Asker, knows: Knows) -> Vec<String> {
    let mut out = Vec::new();
    for chain in [Chain::Access, Chain::Routing, Chain::Cache, Chain::Traffic] {
        let asked = asked(chain, asker);
        if asked.is_empty() && policy.speaks_of(chain) {
            out.push(chain.word().to_owned());
            continue;
        }
        let never =
            |messages: &[Message]| !messages.is_empty() && !messages.iter().any(|m| asked.contains(m));
        let rules = policy.rules_by_message(chain).filter(|(_, messages)| never(messages));
        out.extend(rules.map(|(id, _)| format!("{}: {id}", chain.word())));
    }
    let topology = [
        ("topology.degree", policy.degree().is_some() && asker != Asker::Proxylet),
        ("topology.path-length", policy.path_length_max().is_some() && asker != Asker::Proxylet),
        ("topology.link-cost", policy.link_cost().is_some() && asker != Asker::Proxylet),
    ];
    out.extend(topology.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.to_owned()));
    let forwards = || {
        policy.outcomes().filter_map(|outcome| match outcome.action {
            Action::Forward(forward) => Some(forward),
            _ => None,
        })
    };
    if asker == Asker::Proxylet && !knows.regions {
        let prefers = |forward: &Forward| forward.prefer.contains(&Preference::SameRegion);
        if forwards().any(prefers) {
            out.push("prefer: same-region".to_owned());
        }
        let avoids = |forward: &Forward| forward.avoid.regions.iter().any(|r| *r != Region::Unknown);
        if forwards().any(avoids) {
            out.push("avoid: region".to_owned());
        }
    }
    let read = [Chain::Access, Chain::Routing, Chain::Traffic]
        .into_iter()
        .flat_map(|chain| asked(chain, asker).iter().map(move |message| policy.needs(chain, *message)))
        .fold(policy.needs_of_budgets(), FactSet::and);
    let read = policy.alarms().iter().fold(read, |all, alarm| all.and(alarm.when.facts()));
    let by_proxylet = OF_LINKS.into_iter().chain([Fact::DEGREE]).filter(|_| asker != Asker::Proxylet);
    let by_node = [(Fact::ASN, knows.systems), (Fact::REGION, knows.regions)];
    let by_node =
        by_node.into_iter().filter(|(_, known)| !known || asker == Asker::Mesh).map(|(fact, _)| fact);
    let of_mesh = UNKNOWN_TO_MESH.into_iter().filter(|_| asker == Asker::Mesh);
    let unknown = by_node.chain(by_proxylet).chain(of_mesh).filter(|fact| read.contains(*fact));
    out.extend(unknown.map(|fact| fact.name(&[])));
    out
}

/// What a node has to have for a policy to be carried out, in a sentence each.
pub(crate) fn conditions(policy: &Policy) -> Vec<&'static str> {
    let told = |knows| unenforced(policy, Asker::Proxylet, knows).len();
    let all = told(Knows { systems: true, regions: true });
    let without = [
        (Knows { systems: false, regions: true }, TABLE_WANTED),
        (Knows { systems: true, regions: false }, MESH_WANTED),
    ];
    without.into_iter().filter(|(knows, _)| told(*knows) > all).map(|(_, words)| words).collect()
}

const TABLE_WANTED: &str =
    "autonomous systems are known on nodes with a table of them: `addresses` in the node file";
const MESH_WANTED: &str = "regions are known on nodes that are in a mesh: `mesh` in the node file";

/// The same in a sentence; none where all is carried out.
pub(crate) fn sentence<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    let (verb, them) = if names.len() == 1 { ("is", "it") } else { ("are", "them") };
    let of = |some: &[&str]| some.iter().any(|name| names.contains(&format!("`{name}`")));
    let fixes =
        [(TABLE_WANTED, of(&[SYSTEM])), (MESH_WANTED, of(&[REGION, "prefer: same-region", "avoid: region"]))];
    let fixes = fixes.iter().filter(|(_, wanted)| *wanted).map(|(words, _)| format!("; {words}"));
    let fixes: String = fixes.collect();
    let names = (!names.is_empty()).then(|| names.join(", "))?;
    Some(format!("{names} {verb} checked, but nothing carries {them} out{fixes}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const ALL: Knows = Knows { systems: true, regions: true };
    const NOTHING: Knows = Knows { systems: false, regions: false };

    fn policy(rest: &str) -> Policy {
        let text = format!("policy: eep/v1\nname: p\n{rest}");
        let files = BTreeMap::from([("p.yaml".to_owned(), text)]);
        let loaded = Policy::load(&files, "p.yaml", 1);
        loaded.unwrap_or_else(|report| panic!("{}", report.render(false))).policy
    }

    #[test]
    fn what_nobody_asks_about_is_told() {
        let text = "\
sets: {transit: {asn: [64500]}, near: {cidr: [192.0.2.0/24]}}
access:
  default: allow
  rules:
    - {id: near, match: {message: [connect], peer: {in: near}}, then: allow}
    - {id: pings, match: {message: [ping]}, then: drop}
    - {id: deploys, match: {message: [deploy, relay]}, then: drop}
routing:
  default: {forward: {fanout: 4, ttl: 4}}
  rules:
    - {id: hits, match: {message: [query-hit]}, then: {forward: {fanout: 1, ttl: 1}}}
    - {id: far, match: {message: [query]}, then: {forward: {fanout: 1, ttl: 1, prefer: [same-region, least-load]}}}
topology: {degree: {min: 1, target: 2, max: 3}, path-length: {max: 5}, link-cost: rtt_ms}
cache: [{id: all, match: {message: query-hit}, then: {store: {ttl: 10m, aggregate: true}}}]
traffic:
  classes: {bulk: {dscp: le, rate: 1mbit, ceil: 2mbit}}
  default: {class: bulk}
  rules: [{id: files, match: {message: [upload]}, then: {class: bulk}}]
  budgets: {month: {peers: transit, volume: 1TiB, per: 30d, then: {class: bulk}}}
";
        let both = ["cache", "traffic: files"];
        let policy = policy(text);
        let proxylet = unenforced(&policy, Asker::Proxylet, NOTHING);
        assert_eq!(
            proxylet,
            [&["access: deploys", "routing: hits"], &both[..], &["prefer: same-region", "peer.asn"]].concat()
        );
        let proxylet = unenforced(&policy, Asker::Proxylet, ALL);
        assert_eq!(proxylet, [&["access: deploys", "routing: hits"], &both[..]].concat());
        assert_eq!(conditions(&policy), [TABLE_WANTED, MESH_WANTED]);
        let node = unenforced(&policy, Asker::Node, NOTHING);
        let of_node = ["access: pings", "routing", "topology.degree", "topology.link-cost", "peer.asn"];
        for expected in both.iter().chain(&of_node) {
            assert!(node.iter().any(|name| name == expected), "{expected} in {node:?}");
        }
    }

    #[test]
    fn of_the_mesh_only_what_nodes_ask_for_is_carried_out() {
        let text = "\
sets: {near: {cidr: [192.0.2.0/24]}, isp-b: {group: [isp-b]}}
access:
  default: deny
  rules:
    - {id: streams, match: {message: [connect, relay], peer: {in: isp-b}}, when: content.text == 'edge', then: allow}
    - {id: near, match: {message: [deploy], peer: {in: near}}, then: allow}
    - {id: pings, match: {message: [ping]}, then: drop}
routing: {default: {forward: {fanout: 4, ttl: 4}}}
";
        assert_eq!(unenforced(&policy(text), Asker::Mesh, ALL), ["access: pings", "routing", "peer.address"]);
    }

    #[test]
    fn what_is_carried_out_is_not_told() {
        let text = "\
sets: {near: {cidr: [192.0.2.0/24]}}
access:
  default: allow
  rules: [{id: near, match: {peer: {not-in: near}}, when: node.cpu > 0.9, then: drop}]
routing: {default: {forward: {fanout: 4, ttl: 4, prefer: [low-rtt], avoid: {util-over: 0.8}}}}
topology: {degree: {min: 1, target: 2, max: 3}, path-length: {max: 5}, link-cost: rtt_ms + 200.0 * link.util}
";
        let policy = policy(text);
        assert_eq!(unenforced(&policy, Asker::Proxylet, NOTHING), [""; 0]);
        assert_eq!(conditions(&policy), [""; 0]);
        assert_eq!(
            unenforced(&policy, Asker::Node, NOTHING),
            ["routing", "topology.degree", "topology.path-length", "topology.link-cost"]
        );
        assert_eq!(sentence([]), None);
        assert_eq!(sentence(["cache"]).as_deref(), Some("`cache` is checked, but nothing carries it out"));
        let both = sentence(["cache", "peer.asn"]).unwrap();
        assert!(
            both.starts_with("`cache`, `peer.asn` are checked, but nothing carries them out; aut"),
            "{both}"
        );
    }
}
