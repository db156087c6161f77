//! What a policy says and nothing carries out. It is told wherever a policy is checked or shown: nobody is to count on it.

use policies::event::{Message, Region};
use policies::facts::{Fact, FactSet};
use policies::model::action::{Forward, Preference};
use policies::{Action, Chain, Policy};

/// Facts that no node knows.
const UNKNOWN: [Fact; 8] =
    [Fact::ASN, Fact::REGION, Fact::LINK, Fact::RTT, Fact::LOSS, Fact::UTIL, Fact::THROUGHPUT, Fact::DEGREE];

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
pub(crate) fn unenforced(policy: &Policy, asker: Asker) -> Vec<String> {
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
        ("topology.link-cost", policy.link_cost().is_some()),
    ];
    out.extend(topology.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.to_owned()));
    let forwards = || {
        policy.outcomes().filter_map(|outcome| match outcome.action {
            Action::Forward(forward) => Some(forward),
            _ => None,
        })
    };
    if asker == Asker::Proxylet {
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
        .fold(FactSet::default(), FactSet::and);
    let of_mesh = UNKNOWN_TO_MESH.into_iter().filter(|_| asker == Asker::Mesh);
    let unknown = UNKNOWN.into_iter().chain(of_mesh).filter(|fact| read.contains(*fact));
    out.extend(unknown.map(|fact| fact.name(&[])));
    out
}

/// The same in a sentence; none where all is carried out.
pub(crate) fn sentence<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    let verb = if names.len() == 1 { "is" } else { "are" };
    let names = (!names.is_empty()).then(|| names.join(", "))?;
    Some(format!("{names} {verb} checked, but no node carries it out yet"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn of(rest: &str, asker: Asker) -> Vec<String> {
        let text = format!("policy: eep/v1\nname: p\n{rest}");
        let files = BTreeMap::from([("p.yaml".to_owned(), text)]);
        let loaded = Policy::load(&files, "p.yaml", 1);
        unenforced(&loaded.unwrap_or_else(|report| panic!("{}", report.render(false))).policy, asker)
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
        let both = ["cache", "traffic: files", "topology.link-cost"];
        let proxylet = of(text, Asker::Proxylet);
        assert_eq!(
            proxylet,
            [&["access: deploys", "routing: hits"], &both[..], &["prefer: same-region", "peer.asn"]].concat()
        );
        let node = of(text, Asker::Node);
        for expected in both.iter().chain(&["access: pings", "routing", "topology.degree", "peer.asn"]) {
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
        assert_eq!(of(text, Asker::Mesh), ["access: pings", "routing", "peer.address"]);
    }

    #[test]
    fn what_is_carried_out_is_not_told() {
        let text = "\
sets: {near: {cidr: [192.0.2.0/24]}}
access:
  default: allow
  rules: [{id: near, match: {peer: {not-in: near}}, when: node.cpu > 0.9, then: drop}]
routing: {default: {forward: {fanout: 4, ttl: 4, prefer: [low-rtt], avoid: {util-over: 0.8}}}}
topology: {degree: {min: 1, target: 2, max: 3}, path-length: {max: 5}}
";
        assert_eq!(of(text, Asker::Proxylet), [""; 0]);
        assert_eq!(sentence([]), None);
        assert_eq!(
            sentence(["cache"]).as_deref(),
            Some("`cache` is checked, but no node carries it out yet")
        );
    }
}
