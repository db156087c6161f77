//! A Gnutella peer under traffic is recorded in a node, and replayed without one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use eep_tests::dice::Dice;
use eep_tests::loopback::Loopback;
use eep_tests::node::{Node, Outcome, eep_binary};
use eep_tests::peer::{Config, Link, Peer, SharedFile};
use eep_tests::probe;
use eep_tests::wait::{until, until_true};
use eep_tests::wire::{Query, kind};
use serde_json::{Value, json};

/// Loads the stock Gnutella peer with `record` in its manifest.
fn load(node: &Node, net: &Loopback, record: &Value) -> std::net::SocketAddr {
    let address = std::net::SocketAddrV4::new(net.ip(), eep_tests::node::GNUTELLA_PORT);
    let path = node.peer_manifest("edge", address, &json!({}));
    let text = std::fs::read_to_string(&path).expect("the manifest");
    let mut manifest: Value = serde_json::from_str(&text).expect("it was written as JSON");
    manifest["record"] = record.clone();
    std::fs::write(&path, manifest.to_string()).expect("the manifest");
    let _ = node.eep(&["load", "--manifest", path.to_str().expect("UTF-8")]).done();
    address.into()
}

/// Peers that come, share, search, find, and go.
fn traffic(net: &Loopback, address: std::net::SocketAddr, rounds: u64) {
    let mut dice = Dice::new(rounds);
    let file = SharedFile::filled("merlin symphony.ogg", 2_000);
    let sharing = Peer::start(Config::leaf(net.ip()).sharing(vec![file])).expect("a port");
    let _there = until("a relation", || sharing.dial(address).ok());
    let mut searching: Vec<(Peer, Link)> = Vec::new();
    for _ in 0..rounds {
        if searching.len() < 3 || dice.below(4) == 0 {
            let mut config = Config::leaf(net.ip());
            config.compress = dice.below(2) == 0;
            let peer = Peer::start(config).expect("a port");
            let link = until("a relation", || peer.dial(address).ok());
            searching.push((peer, link));
        }
        if searching.len() > 6 {
            searching.swap_remove(dice.below(searching.len())).1.close();
        }
        let (peer, link) = &searching[dice.below(searching.len())];
        link.ping(peer.fresh_guid());
        let words = if dice.below(2) == 0 { "merlin symphony" } else { "nobody has this" };
        let _ = peer.search(link, &Query::words(words)).expect("sent");
    }
    let (peer, link) = &searching[0];
    let mut guids = Vec::new();
    let _ = until("a hit", || {
        guids.push(peer.search(link, &Query::words("merlin symphony")).expect("sent"));
        link.find(std::time::Duration::from_secs(1), |m| m.kind == kind::HIT && guids.contains(&m.guid)).ok()
    });
}

fn file_of(node: &Node) -> PathBuf {
    let status = node.json(&["status", "edge"]);
    PathBuf::from(status["recording"]["file"].as_str().unwrap_or_else(|| panic!("no recording in {status}")))
}

fn replay(file: &Path, more: &[&str]) -> Outcome {
    let out = Command::new(eep_binary())
        .args(["proxylet", "replay"])
        .arg(file)
        .args(more)
        .stdin(Stdio::null())
        .output()
        .expect("eep runs");
    Outcome {
        code: out.status.code(),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

fn outcome(file: &Path, more: &[&str]) -> Value {
    let out = replay(file, &[&["--json"], more].concat());
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", out.stdout, out.stderr))
}

#[test]
fn what_a_peer_did_under_traffic_it_does_again() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let address = load(&node, &net, &json!("on"));
    traffic(&net, address, 40);
    let file = file_of(&node);
    let _ = node.eep(&["stop", "edge"]).done();

    let outcome = outcome(&file, &[]);
    assert_eq!((&outcome["equal"], &outcome["exact"]), (&json!(true), &json!(true)), "{outcome}");
    assert_eq!((&outcome["ending"], &outcome["lost_calls"]), (&json!("whole"), &json!(0)), "{outcome}");
    assert!(
        outcome["calls"].as_u64() > Some(50) && outcome["received_bytes"].as_u64() > Some(5_000),
        "{outcome}"
    );
    let told = replay(&file, &["--until", "2", "--trace"]).done();
    assert!(told.contains("start({") && told.contains("net.listen("), "{told}");

    // A proxylet that is something else altogether does something else, and that is shown.
    let echo = eep_tests::node::proxylet("echo");
    let other = replay(&file, &["--wasm", echo.to_str().expect("UTF-8")]);
    assert!(other.stdout.contains("other code") && other.stdout.contains("\ncall 1"), "{}", other.stdout);
    assert!(other.refused().contains("it does not do the same again"));
}

/// Each file but the first begins where the peer stood by then, with searches and dials under way. What it does and saves
/// from there on follows from that alone.
#[test]
fn each_file_of_a_long_recording_is_done_again_exactly() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    // A file of a quarter of it has as much of what happens as of the state that it begins with.
    let address = load(&node, &net, &json!({ "budget": "8MiB" }));
    let folder = node.data().join("recordings");
    let files = || {
        let files = std::fs::read_dir(&folder).into_iter().flatten();
        let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
        files.sort();
        files
    };
    traffic(&net, address, 20);
    let first = files();
    let peers: Vec<(Peer, Link)> = (0..6)
        .map(|n| {
            let file = SharedFile::filled(&format!("opus{n} sonata.ogg"), 2_000);
            let peer = Peer::start(Config::leaf(net.ip()).sharing(vec![file])).expect("a port");
            let link = until("a relation", || peer.dial(address).ok());
            (peer, link)
        })
        .collect();
    let mut dice = Dice::new(7);
    until_true("a third file", || {
        for _ in 0..200 {
            let (peer, link) = &peers[dice.below(peers.len())];
            // Words that nothing makes shorter.
            let mut words = format!("opus{} sonata", dice.below(9));
            (0..8).for_each(|_| words += &format!(" {:x}", dice.below(1 << 32)));
            let _ = peer.search(link, &Query::words(&words)).expect("sent");
        }
        let new = files().into_iter().filter(|file| !first.contains(file));
        new.count() >= 2
    });
    traffic(&net, address, 10);
    let _ = node.eep(&["stop", "edge"]).done();

    let files: Vec<PathBuf> = files().into_iter().filter(|file| !first.contains(file)).collect();
    let (mut calls, mut saves) = (0, 0);
    for file in &files {
        let again = replay(file, &["--json", "--trace"]);
        saves += again.stderr.lines().filter(|line| line.contains(" save(")).count();
        let whole: Value = serde_json::from_str(&again.done()).expect("JSON");
        assert_eq!((&whole["equal"], &whole["exact"]), (&json!(true), &json!(false)), "{whole}");
        assert_eq!((&whole["ending"], &whole["lost_calls"]), (&json!("whole"), &json!(0)), "{whole}");
        calls += whole["calls"].as_u64().expect("a number");
    }
    assert!(files.len() >= 2 && calls > 50 && saves > 0, "{calls} calls, {saves} saves in {files:?}");
}

#[test]
fn a_recording_that_kill_9_has_cut_is_replayed_up_to_the_cut() {
    let net = Loopback::claim();
    let mut node = Node::start(&net);
    let address = load(&node, &net, &json!({ "budget": "64MiB" }));
    traffic(&net, address, 20);
    let file = file_of(&node);
    // What was written by now stays, whatever happens.
    let written =
        until("something on disk", || std::fs::metadata(&file).ok().map(|m| m.len()).filter(|n| *n > 1_000));
    node.kill();
    assert!(std::fs::metadata(&file).expect("the file").len() >= written);

    let whole = outcome(&file, &[]);
    assert_eq!((&whole["equal"], &whole["exact"]), (&json!(true), &json!(true)), "{whole}");
    let bytes = std::fs::read(&file).expect("the file");
    for part in [bytes.len() - 1, bytes.len() - 500] {
        let path = node.path("cut.eeprec");
        std::fs::write(&path, &bytes[..part]).expect("a file");
        let cut = outcome(&path, &[]);
        assert_eq!((&cut["equal"], &cut["ending"]), (&json!(true), &json!("cut")), "{cut}");
        assert!(cut["calls"].as_u64() <= whole["calls"].as_u64());
    }
    // The node comes back and records on, in a new file.
    node.run();
    until_true("the service", || node.eep(&["status", "edge"]).stdout.contains("running"));
    assert_ne!(file_of(&node), file);
    assert!(file.exists());
}

#[test]
fn a_service_that_runs_is_recorded_by_hand() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let address = load(&node, &net, &json!("off"));
    traffic(&net, address, 3);
    let file = node.path("by-hand.eeprec");
    let text = file.to_str().expect("UTF-8").to_owned();
    let recording = std::thread::scope(|scope| {
        let recording = scope.spawn(|| node.eep(&["logs", "edge", "--record", &text, "--for", "5s"]));
        until("the file", || file.exists().then_some(()));
        while !recording.is_finished() {
            traffic(&net, address, 3);
        }
        recording.join().expect("no panic")
    });
    assert!(recording.done().contains("eep proxylet replay"));
    let outcome = outcome(&file, &[]);
    assert_eq!((&outcome["exact"], &outcome["ending"]), (&json!(false), &json!("whole")), "{outcome}");
    assert_eq!(
        (&outcome["equal"], &outcome["differences"]["changed"]),
        (&json!(true), &json!(0)),
        "{outcome}"
    );
    assert!(outcome["calls"].as_u64() > Some(5) && outcome["lost_calls"] == 0, "{outcome}");
    let again = node.eep(&["logs", "edge", "--record", &text, "--for", "1s"]).refused();
    assert!(again.contains("name a file that is not there yet"), "{again}");
}

#[test]
fn a_trap_leaves_what_led_to_it_and_says_how_to_see_it_again() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let probe = probe::load(&node);
    probe::say(probe, b"T");
    until_true("the restart", || node.json(&["status", "probe"])["restarts"] == 1);
    let trap = node.json(&["status", "probe"])["last_trap"].clone();
    let file = PathBuf::from(trap["recording"].as_str().unwrap_or_else(|| panic!("no recording in {trap}")));
    assert!(file.starts_with(node.data()));
    let outcome = outcome(&file, &[]);
    assert_eq!((&outcome["equal"], &outcome["trap"]["same"]), (&json!(true), &json!(true)), "{outcome}");
    let frames = trap["backtrace"].as_array().expect("a list");
    let replayed = outcome["trap"]["replayed"].as_array().expect("a list");
    assert_eq!(replayed.len(), 1 + frames.len());
    for (frame, line) in frames.iter().zip(&replayed[1..]) {
        assert!(line.as_str().expect("text").ends_with(frame.as_str().expect("text")), "{frame} {line}");
    }
    let said = node.eep(&["logs", "probe"]).done();
    let command = format!("eep proxylet replay {}", file.display());
    assert!(said.contains(&command), "{said}");
    assert!(node.eep(&["status", "probe"]).done().contains(&command));
}
