//! Where searches go, and how many neighbours there are.

use eep_tests::peer::{Config, Peer};
use eep_tests::wait::until_true;
use eep_tests::wire::{Message, Query, kind};
use serde_json::json;

use super::{Stage, apply};

#[test]
fn searches_go_to_as_many_neighbours_and_as_far_as_the_rule_in_force_says() {
    let stage = Stage::set();
    let neighbour = || {
        let peer = Peer::start(Config::ultrapeer(stage.net.ip())).expect("a port");
        let link = peer.dial(stage.edge).expect("a relation");
        // The last word of the handshake was heard.
        link.ping(peer.fresh_guid());
        (peer, link)
    };
    let (asking, here) = neighbour();
    let others = [neighbour(), neighbour(), neighbour(), neighbour()];
    // The TTLs of the search at those whom it has reached.
    let reached = |words: &str| -> Vec<u8> {
        let guid = asking.fresh_guid();
        here.send(&Message::new(guid, kind::QUERY, 4, Query::words(words).encode())).expect("sent");
        here.ping(asking.fresh_guid());
        let ttls = others.iter().flat_map(|(peer, link)| {
            link.ping(peer.fresh_guid());
            link.received(kind::QUERY).into_iter().filter(|m| m.guid == guid).map(|m| m.ttl)
        });
        ttls.collect()
    };
    assert_eq!(reached("walrus"), [3; 4]);
    let put = |rest: &str| {
        let text = format!("policy: eep/v1\nname: test\nsets: {{rare: {{keywords: [zebra]}}}}\n{rest}");
        std::fs::write(stage.node.path("p.yaml"), text).expect("a file of ours");
        apply(&stage.node, "edge", "p.yaml", &[])
    };
    let applied = put("routing:\n  default: {forward: {fanout: 2, ttl: 2}}\n  rules:\n    \
         - {id: rare, match: {message: query, content: {in: rare}}, then: {forward: {fanout: 9, ttl: 9}}}\n    \
         - {id: none, match: {message: query}, when: 'size(content.text) < 3', then: drop}\n");
    assert_eq!(applied["not_enforced"], json!([]));
    assert_eq!(reached("walrus"), [2; 2]);
    assert_eq!(reached("zebra"), [3; 4]);
    assert_eq!(reached("ox"), [0; 0]);
    let counted = |rule: &str, verdict: &str| {
        let labels = [("chain", "routing"), ("rule", rule), ("verdict", verdict), ("service", "edge")];
        stage.node.metrics().sum("eep_policy_decisions_total", &labels)
    };
    assert_eq!(
        [counted("default", "forward"), counted("rare", "forward"), counted("none", "drop")],
        [1.0, 1.0, 1.0]
    );

    // In shadow it counts, and searches go where they would without.
    put(
        "mode: shadow\nrouting: {default: {forward: {fanout: 1, ttl: 1}}}\ntopology: {degree: {min: 0, target: 1, max: 1}}\n",
    );
    assert_eq!(reached("walrus"), [3; 4]);
    // No more neighbours than the policy wants; what nothing carries out is told wherever it is shown.
    let applied = put("topology: {degree: {min: 0, target: 2, max: 3}, link-cost: rtt_ms}\n\
         cache: [{id: hits, match: {message: query-hit}, then: {store: {ttl: 10m, aggregate: true}}}]\n");
    assert_eq!(applied["not_enforced"], json!(["cache"]));
    let told = stage.node.eep(&["status", "edge"]).done();
    assert!(told.contains("`cache` is checked, but nothing carries it out"), "{told}");
    let closed =
        || [&here].into_iter().chain(others.iter().map(|(_, link)| link)).filter(|l| l.closed().is_some());
    until_true("three have gone", || closed().count() == 3);
    let late = Peer::start(Config::ultrapeer(stage.net.ip())).expect("a port");
    let _third = late.dial(stage.edge).expect("there is room for one");
    // One more may be a leaf, if it likes.
    let later = Peer::start(Config::ultrapeer(stage.net.ip())).expect("a port");
    let _fourth = later.dial(stage.edge);
    let ultrapeers = || stage.node.metrics().sum("avp_links", &[("role", "ultrapeer"), ("service", "edge")]);
    until_true("the guest's count", || ultrapeers() == 3.0);
}
