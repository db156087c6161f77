//! Where peers are and how links do, as rules know it live.

use eep_tests::loopback::Loopback;
use eep_tests::node::Node;
use eep_tests::peer::{Config, Link, Peer, SharedFile};
use eep_tests::wait::until_true;
use eep_tests::wire::{Message, Query, kind};
use serde_json::{Value, json};

use super::{Stage, apply, find, search_once};

fn write_and_apply(node: &Node, rest: &str) -> Value {
    std::fs::write(node.path("p.yaml"), format!("policy: eep/v1\nname: test\n{rest}"))
        .expect("a file of ours");
    apply(node, "edge", "p.yaml", &[])
}

#[test]
fn a_peers_system_comes_from_the_nodes_table_which_is_reloaded() {
    let net = Loopback::claim();
    let mut node = Node::start(&net);
    let table = node.path("systems.txt");
    let (ours, theirs) = (net.ip(), net.ip());
    let write = |first: &str| {
        let new = table.with_extension("new");
        std::fs::write(&new, format!("127.0.0.0/8 64999\n{first}")).expect("a file of ours");
        std::fs::rename(&new, &table).expect("the same folder");
    };
    write(&format!("{theirs}\t32\t64500\n"));
    let rules = "sets: {transit: {asn: [64500]}}\naccess:\n  default: allow\n  rules:\n    \
                 - {id: transit, match: {message: [connect], peer: {in: transit}}, then: {deny: {reason: transit}}}\n";
    let edge = node.load_peer("edge", net.ip(), &json!({}));
    let gets_in = |ip| {
        let peer = Peer::start(Config::leaf(ip)).expect("a port");
        peer.dial(edge.into()).is_ok_and(|link| link.ping(peer.fresh_guid()).kind == kind::PONG)
    };
    // Without a table no rule can tell, and that is said.
    assert_eq!(write_and_apply(&node, rules)["not_enforced"], json!(["peer.asn"]));
    assert!(node.eep(&["status", "edge"]).done().contains("nothing carries it out; autonomous systems"));
    assert_eq!((gets_in(ours), gets_in(theirs)), (true, true));

    node.kill();
    let mut file: Value =
        serde_json::from_str(&std::fs::read_to_string(node.path("eep.yaml")).expect("a node file"))
            .expect("JSON");
    file["addresses"] = json!({"systems": "systems.txt"});
    std::fs::write(node.path("eep.yaml"), file.to_string()).expect("a file of ours");
    node.run();
    until_true("the table's word", || (gets_in(ours), gets_in(theirs)) == (true, false));
    assert_eq!(node.json(&["status", "edge"])["policy"]["not_enforced"], json!([]));
    assert_eq!(node.metrics().sum("eep_systems_prefixes", &[]), 2.0);
    let explain = || {
        node.eep(&[
            "policy",
            "explain",
            "edge",
            "--live",
            &format!("{{message: connect, peer: {{address: {theirs}}}}}"),
        ])
        .done()
    };
    assert!(explain().contains("access: deny (transit) by rule `transit`"), "{}", explain());

    // A broken table changes nothing, and is told.
    write("what is this\n");
    until_true("the trouble", || node.metrics().sum("eep_systems_stale", &[]) == 1.0);
    assert!(node.eep(&["status"]).done().contains("systems.txt:2:1"));
    until_true("the node's log", || node.printed().expect("a log").contains("stays as it was"));
    assert_eq!((gets_in(ours), gets_in(theirs)), (true, false));
    // The next one holds for who comes from now on.
    write(&format!("{ours}/32 AS64500\n"));
    until_true("the new table", || (gets_in(ours), gets_in(theirs)) == (false, true));
    assert_eq!(node.json(&["status"])["systems"]["stale"], Value::Null);
}

#[test]
fn searches_stay_in_the_region_that_the_mesh_says() {
    let net = Loopback::claim();
    let (near, far) = (net.ip(), net.ip());
    let node = Node::start_in_mesh(&net, None, "a", &json!({"prefixes": [format!("{near}/32")]}));
    let edge = node.load_peer("edge", net.ip(), &json!({}));
    let neighbour = |ip| {
        let peer = Peer::start(Config::ultrapeer(ip)).expect("a port");
        let link = peer.dial(edge.into()).expect("a relation");
        link.ping(peer.fresh_guid());
        (peer, link)
    };
    let (asking, here) = neighbour(net.ip());
    let (inside, outside) = (neighbour(near), neighbour(far));
    let has = |(peer, link): &(Peer, Link), guid| {
        link.ping(peer.fresh_guid());
        link.received(kind::QUERY).iter().any(|m| m.guid == guid)
    };
    let reaches = || {
        let guid = asking.fresh_guid();
        here.send(&Message::new(guid, kind::QUERY, 4, Query::words("walrus").encode())).expect("sent");
        here.ping(asking.fresh_guid());
        (has(&inside, guid), has(&outside, guid))
    };
    assert_eq!(reaches(), (true, true));
    let stay = "routing: {default: {forward: {fanout: 9, ttl: 4, avoid: {region: [other, unknown]}}}}\n";
    assert_eq!(write_and_apply(&node, stay)["not_enforced"], json!([]));
    // The first view of the mesh is put together when somebody asks for it.
    until_true("only inside", || reaches() == (true, false));
    write_and_apply(&node, "routing: {default: {forward: {fanout: 1, ttl: 4, prefer: [same-region]}}}\n");
    until_true("inside first", || reaches() == (true, false));
    // A rule may ask for it as well.
    let rule = "access:\n  default: allow\n  rules:\n    \
                - {id: strangers, match: {message: [query], direction: outbound, region: [unknown]}, then: drop}\n";
    assert_eq!(write_and_apply(&node, rule)["not_enforced"], json!([]));
    until_true("by the rule", || reaches() == (true, false));
}

#[test]
fn rules_know_how_links_do_and_how_many_neighbours_there_are() {
    let stage = Stage::set();
    let (sharing, there) = stage.leaf(&[&SharedFile::filled("walrus.mp3", 10)]);
    let (searching, here) = stage.leaf(&[]);
    find(&searching, &here, "walrus");
    let search = || search_once((&searching, &here), (&sharing, &there), "walrus");
    let rule = |when: &str| {
        format!(
            "access:\n  default: allow\n  rules:\n    \
             - {{id: by-link, match: {{message: [query], direction: inbound{when}, fail: open, then: drop}}\n"
        )
    };
    let put = |when: &str| write_and_apply(&stage.node, &rule(when))["not_enforced"].take();
    // A link that nobody uses is neither full nor slow, once the proxylet has looked at it.
    assert_eq!(put("}, when: 'link.util < 0.5 && link.kbit_s < 1000000.0'"), json!([]));
    until_true("its figures", || search() == (false, false));
    assert_eq!(put(", link: [good]}"), json!([]));
    until_true("its word", || search() == (false, false));
    put(", link: [congested, lossy]}");
    assert_eq!(search(), (true, true));
    put("}, when: 'node.degree > 1'");
    assert_eq!(search(), (true, true));
    let neighbours = [(); 2].map(|()| {
        let peer = Peer::start(Config::ultrapeer(stage.net.ip())).expect("a port");
        let link = peer.dial(stage.edge).expect("a relation");
        link.ping(peer.fresh_guid());
        (peer, link)
    });
    until_true("two neighbours", || search() == (false, false));
    let refused = "    - {id: alone, match: {message: [connect], group: ultrapeer}, then: drop}\n";
    let both = rule("}, when: 'node.degree > 1'").replace("  rules:\n", &format!("  rules:\n{refused}"));
    write_and_apply(&stage.node, &both);
    until_true("none any more", || search() == (true, true));
    drop(neighbours);
}
