//! Generations: applied, confirmed, rolled back, reloaded, and kept through a kill.

use std::path::Path;

use eep_tests::http;
use eep_tests::loopback::Loopback;
use eep_tests::node::Node;
use eep_tests::peer::{Config, Peer};
use eep_tests::wait::{until, until_true};
use eep_tests::wire::kind;
use serde_json::{Value, json};

use super::{Stage, apply, write_policy};

#[test]
fn what_is_not_confirmed_goes_back() {
    let stage = Stage::set();
    stage.apply("", "");
    write_policy(&stage.node, "new.yaml", "", "    - {id: pings, match: {message: [ping]}, then: drop}");
    let trial = apply(&stage.node, "edge", "new.yaml", &["--confirm", "1s"]);
    assert_eq!((&trial["generation"], &trial["trial"]["back_to"]), (&json!(2), &json!(1)));
    until("generation 1", || {
        let now = stage.node.json(&["policy", "history", "edge"]);
        (now["generation"] == 1 && now["trial"].is_null()).then_some(())
    });
    // It is in force before it is told.
    until_true("its words", || {
        let told = stage.node.eep(&["logs", "edge"]).done();
        told.contains("generation 2 was not confirmed in time: generation 1 is in force again")
    });

    apply(&stage.node, "edge", "new.yaml", &["--confirm", "1h"]);
    assert_eq!(stage.node.json(&["policy", "confirm", "edge"])["trial"], Value::Null);
    assert!(stage.node.eep(&["policy", "confirm", "edge"]).refused().contains("nothing waits"));
    assert_eq!(stage.node.json(&["policy", "rollback", "edge"])["generation"], 1);
    assert!(stage.node.eep(&["policy", "rollback", "edge"]).refused().contains("--to 0"));
}

#[test]
fn a_killed_node_comes_back_with_the_generation_in_force() {
    let mut stage = Stage::set();
    stage.apply("", "    - {id: downloads, match: {message: [download]}, then: {deny: {reason: none}}}");
    apply(&stage.node, "edge", "p.yaml", &["--confirm", "1h"]);
    let before = stage.node.json(&["policy", "history", "edge"]);
    stage.node.kill();
    // Whatever has become of the file.
    std::fs::write(stage.node.path("p.yaml"), "policy: [").expect("a file of ours");
    stage.node.run();
    let denied = || http::get(stage.edge, "/get/1/a.mp3").is_ok_and(|answer| answer.status == 403);
    until_true("the rule", denied);
    let after = stage.node.json(&["policy", "history", "edge"]);
    assert_eq!((&after["generation"], &after["trial"]), (&before["generation"], &before["trial"]));
    assert_eq!(after["history"], before["history"]);
    until_true("it is told of the file", || {
        stage.node.json(&["policy", "history", "edge"])["file_differs"] == true
    });
    // A broken policy is refused with its line, and changes nothing.
    let told = stage.node.eep(&["policy", "apply", "edge"]).refused();
    assert!(told.contains("p.yaml:1:"), "{told}");
    assert_eq!(stage.node.json(&["policy", "history", "edge"])["generation"], before["generation"]);

    // A trial that nobody confirms ends, though the node was killed meanwhile.
    write_policy(&stage.node, "new.yaml", "", "    - {id: pings, match: {message: [ping]}, then: drop}");
    let trial = apply(&stage.node, "edge", "new.yaml", &["--confirm", "2s"]);
    // The one before was not confirmed either.
    assert_eq!(trial["trial"]["back_to"], 1);
    stage.node.kill();
    stage.node.run();
    until("generation 1", || {
        // The API answers before the services are back.
        let now = stage.node.eep(&["policy", "history", "edge", "--json"]);
        let now: Value = serde_json::from_str(&now.stdout).ok()?;
        (now["generation"] == 1 && now["trial"].is_null()).then_some(())
    });
}

#[test]
fn sets_are_reloaded_and_a_broken_one_leaves_the_last_good() {
    let stage = Stage::set();
    let (first, second) = (stage.net.ip(), stage.net.ip());
    let list = stage.node.path("abusers.cidr");
    let write = |text: &str| replace(&list, text);
    write(&format!("{first}\n"));
    stage.apply(
        "  abusers: {cidr: {file: abusers.cidr}}",
        "    - {id: abusers, match: {message: [connect], peer: {in: abusers}}, then: drop}",
    );
    let gets_in = |ip| {
        let peer = Peer::start(Config::leaf(ip)).expect("a port");
        peer.dial(stage.edge).is_ok_and(|link| link.ping(peer.fresh_guid()).kind == kind::PONG)
    };
    assert_eq!((gets_in(first), gets_in(second)), (false, true));

    write("no address\n");
    let stale = until("the trouble", || {
        let now = stage.node.json(&["status", "edge"])["policy"].take();
        now["stale"].is_object().then_some(now)
    });
    assert_eq!(stale["generation"], 1);
    assert!(stale["stale"]["what"].as_str().is_some_and(|w| w.contains("abusers.cidr:1:1")), "{stale}");
    assert_eq!(stage.node.metrics().sum("eep_policy_stale", &[("service", "edge")]), 1.0);
    assert!(stage.node.metrics().sum("eep_policy_reload_failures_total", &[]) >= 1.0);
    assert!(stage.node.eep(&["status", "edge"]).done().contains("cannot be reloaded"));
    // Logs follow what is shown.
    until_true("the log", || {
        stage.node.eep(&["logs", "edge"]).done().contains("generation 1 stays in force")
    });
    until_true("the node's log", || stage.node.printed().expect("a log").contains("cannot be reloaded"));
    assert_eq!((gets_in(first), gets_in(second)), (false, true));

    write(&format!("{second}\n"));
    until_true("generation 2", || stage.node.json(&["policy", "history", "edge"])["generation"] == 2);
    // What an operator puts in force decides when the command is over; what is reloaded, a moment after it is shown.
    until_true("what it says", || (gets_in(first), gets_in(second)) == (true, false));
    let now = stage.node.json(&["status", "edge"])["policy"].take();
    assert_eq!((&now["stale"], &now["generation"]), (&Value::Null, &json!(2)));
    assert_eq!(stage.node.metrics().sum("eep_policy_stale", &[("service", "edge")]), 0.0);
}

/// Puts a new file in the place of the old one at once, as tools do.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("a file of ours");
    std::fs::rename(&new, path).expect("the same folder");
}

#[test]
fn a_service_whose_policy_is_broken_is_not_loaded() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let manifest = |policy: &str| {
        let address = std::net::SocketAddrV4::new(net.ip(), eep_tests::node::GNUTELLA_PORT);
        let path = node.peer_manifest("edge", address, &json!({}));
        let mut text: Value =
            serde_json::from_str(&std::fs::read_to_string(&path).expect("just written")).expect("JSON");
        text["policy"] = policy.into();
        std::fs::write(&path, text.to_string()).expect("a file of ours");
        path
    };
    std::fs::write(node.path("bad.yaml"), "policy: eep/v1\nname: bad\naccess: {defualt: allow}\n")
        .expect("a file");
    let path = manifest("bad.yaml");
    let told = node.eep(&["load", "--manifest", path.to_str().expect("UTF-8")]).refused();
    assert!(told.contains("bad.yaml:3:") && told.contains("default"), "{told}");
    assert_eq!(node.json(&["list"]), json!([]));
    write_policy(&node, "good.yaml", "", "");
    let path = manifest("good.yaml");
    let loaded = node.json(&["load", "--manifest", path.to_str().expect("UTF-8")]);
    assert_eq!(loaded["policy"]["generation"], 1);
    let told = node.eep(&["policy", "history", "edge"]).done();
    assert!(told.contains("edge decides by test, generation 1"), "{told}");
}
