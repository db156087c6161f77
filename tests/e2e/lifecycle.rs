//! A service's life as its operator sees it: load, stop, start, modify, unload, and what survives.

use eep_tests::http::{Served, Server};
use eep_tests::loopback::Loopback;
use eep_tests::node::{GNUTELLA_PORT, Node, proxylet, sha256};
use eep_tests::peer::{Config, Link, Peer, SharedFile};
use eep_tests::probe;
use eep_tests::wait::{until, until_true};
use eep_tests::wire::{self, Query, kind};
use serde_json::json;

fn leaf(net: &Loopback) -> Peer {
    Peer::start(Config::leaf(net.ip())).expect("a port")
}

/// Joins as soon as the ultrapeer listens.
fn join(peer: &Peer, address: std::net::SocketAddr) -> Link {
    until("a relation", || peer.dial(address).ok())
}

#[test]
fn a_proxylet_is_fetched_over_http_verified_and_used() {
    let net = Loopback::claim();
    let code = std::fs::read(proxylet("gnutella-peer")).expect("the guest");
    let server = Server::start(net.at(0)).expect("a port");
    let url = server.put("/gnutella-peer.wasm", Served::Whole(code.clone()));
    let node = Node::start(&net);
    let listen = net.at(GNUTELLA_PORT);

    let said = node
        .eep(&[
            "load",
            &url,
            "--name",
            "edge",
            "--sha256",
            &sha256(&code),
            "--set",
            &format!("listen={listen}"),
            "--set",
            "allow-private-addresses=true",
        ])
        .done();
    assert!(said.contains(&listen.to_string()), "{said}");
    assert_eq!(server.requests(), 1);
    let services = node.json(&["list"]);
    assert_eq!(services[0]["name"], "edge");
    assert_eq!(services[0]["state"], "running");
    assert_eq!(services[0]["digest"], json!(sha256(&code)));

    let peer = leaf(&net);
    let link = join(&peer, listen);
    link.ping(peer.fresh_guid());
    until_true("the leaf in the figures", || node.metrics().sum("avp_links", &[("role", "leaf")]) == 1.0);
}

#[test]
fn stop_start_and_unload_do_what_they_say() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let address = node.load_peer("edge", net.ip(), &json!({}));
    let peer = leaf(&net);
    let link = join(&peer, address.into());

    let _ = node.eep(&["stop", "edge"]).done();
    let bye = link.expect("Bye", |m| m.kind == kind::BYE);
    assert_eq!(wire::bye(&bye.payload).map(|(code, _)| code), Some(200));
    assert!(peer.dial(address.into()).is_err(), "nobody listens");
    assert_eq!(node.json(&["status", "edge"])["state"], "stopped");

    let _ = node.eep(&["start", "edge"]).done();
    join(&peer, address.into()).ping(peer.fresh_guid());
    let logs = node.eep(&["logs", "edge"]).done();
    assert!(!logs.trim().is_empty(), "a service that ran has said something");

    let _ = node.eep(&["unload", "edge"]).done();
    assert_eq!(node.json(&["list"]), json!([]));
    assert!(peer.dial(address.into()).is_err(), "nobody listens");
}

#[test]
fn a_new_configuration_takes_effect_without_dropping_a_leaf() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let address = node.load_peer("edge", net.ip(), &json!({}));
    let (first, second) = (leaf(&net), leaf(&net));
    let link = join(&first, address.into());

    let _ = node.eep(&["modify", "edge", "--set", "leaves=1"]).done();
    until_true("a refusal", || second.dial(address.into()).is_err());
    link.ping(first.fresh_guid());
    assert_eq!(node.json(&["status", "edge"])["config"]["leaves"], 1);
}

#[test]
fn after_kill_9_the_same_services_come_back_by_themselves() {
    let net = Loopback::claim();
    let code = std::fs::read(proxylet("gnutella-peer")).expect("the guest");
    let server = Server::start(net.at(0)).expect("a port");
    let url = server.put("/gnutella-peer.wasm", Served::Whole(code.clone()));
    let mut node = Node::start(&net);
    let (running, stopped) = (net.at(GNUTELLA_PORT), net.at(GNUTELLA_PORT));
    for (name, listen) in [("edge", running), ("spare", stopped)] {
        let _ = node
            .eep(&[
                "load",
                &url,
                "--name",
                name,
                "--sha256",
                &sha256(&code),
                "--set",
                &format!("listen={listen}"),
            ])
            .done();
    }
    let _ = node.eep(&["stop", "spare"]).done();
    drop(server);

    node.kill();
    node.run();
    let peer = leaf(&net);
    join(&peer, running).ping(peer.fresh_guid());
    let services = node.json(&["list"]);
    let states: Vec<_> =
        services.as_array().expect("a list").iter().map(|s| (&s["name"], &s["state"])).collect();
    assert_eq!(states, [(&json!("edge"), &json!("running")), (&json!("spare"), &json!("stopped"))]);
    assert!(peer.dial(stopped).is_err(), "what was stopped stays stopped");
}

#[test]
fn a_trap_costs_its_own_service_only() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let address = node.load_peer("edge", net.ip(), &json!({}));
    let peer = leaf(&net);
    let link = join(&peer, address.into());
    let probe = probe::load(&node);

    probe::say(probe, b"T");
    until_true("the restart", || node.json(&["status", "probe"])["restarts"] == 1);
    until_true("it runs again", || node.json(&["status", "probe"])["state"] == "running");
    let trap = node.json(&["status", "probe"])["last_trap"].clone();
    assert!(trap["message"].as_str().is_some_and(|m| m.contains("unreachable")), "{trap}");
    link.ping(peer.fresh_guid());
    assert_eq!(node.json(&["status", "edge"])["restarts"], 0);
}

#[test]
fn an_endless_loop_ends_and_its_neighbour_goes_on_meanwhile() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let address = node.load_peer("edge", net.ip(), &json!({}));
    let peer = leaf(&net);
    let link = join(&peer, address.into());
    let probe = probe::load(&node);

    probe::say(probe, b"L");
    until_true("the restart", || {
        link.ping(peer.fresh_guid());
        node.json(&["status", "probe"])["restarts"] == 1
    });
    link.ping(peer.fresh_guid());
}

#[test]
fn two_nodes_route_a_search_across() {
    let net = Loopback::claim();
    let (near, far) = (Node::start(&net), Node::start(&net));
    let far_address = far.load_peer("edge", net.ip(), &json!({}));
    let near_address = near.load_peer("edge", net.ip(), &json!({ "connect": [far_address.to_string()] }));
    let file = SharedFile::filled("merlin symphony.ogg", 2_000);
    let sharing = Peer::start(Config::leaf(net.ip()).sharing(vec![file.clone()])).expect("a port");
    let _there = join(&sharing, far_address.into());
    let searching = leaf(&net);
    let here = join(&searching, near_address.into());
    for node in [&near, &far] {
        until_true("the relation between the nodes", || {
            // Each may have dialled the other: they dial from an address that is not the one they listen on.
            node.metrics().sum("avp_links", &[("role", "ultrapeer")]) >= 1.0
        });
    }

    let mut guids = Vec::new();
    let hit = until("a hit from the other node's leaf", || {
        guids.push(searching.search(&here, &Query::words("merlin symphony")).expect("sent"));
        here.find(std::time::Duration::from_secs(1), |m| m.kind == kind::HIT && guids.contains(&m.guid)).ok()
    });
    let hit = wire::Hit::decode(&hit.payload).expect("a well-formed hit");
    assert_eq!((hit.address, hit.files[0].name.as_str()), (sharing.address(), file.name.as_str()));
}
