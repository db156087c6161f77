//! A policy in force: real peers, a node in a process of its own, its command line.

#[path = "policy/traffic.rs"]
mod traffic;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eep_tests::loopback::Loopback;
use eep_tests::node::Node;
use eep_tests::peer::{Config, HandshakeError, Link, Peer, SharedFile};
use eep_tests::wait::{PATIENCE, until, until_true};
use eep_tests::wire::{Guid, Hit, Message, Query, kind};
use eep_tests::{http, probe};
use serde_json::{Value, json};

/// A node with the stock peer, called `edge`.
struct Stage {
    net: Loopback,
    node: Node,
    edge: SocketAddr,
}

impl Stage {
    fn set() -> Self {
        let net = Loopback::claim();
        let node = Node::start(&net);
        let edge = node.load_peer("edge", net.ip(), &json!({}));
        Self { net, node, edge: edge.into() }
    }

    fn leaf(&self, files: &[&SharedFile]) -> (Peer, Link) {
        self.leaf_at(self.net.ip(), files)
    }

    fn leaf_at(&self, ip: Ipv4Addr, files: &[&SharedFile]) -> (Peer, Link) {
        let files = files.iter().map(|file| (*file).clone()).collect();
        let peer = Peer::start(Config::leaf(ip).sharing(files)).expect("a port");
        let link = peer.dial(self.edge).expect("a relation");
        (peer, link)
    }

    /// Writes a policy with these sets and access rules, and puts it in force.
    fn apply(&self, sets: &str, rules: &str) -> Value {
        write_policy(&self.node, "p.yaml", sets, rules);
        apply(&self.node, "edge", "p.yaml", &[])
    }

    fn counted(&self, rule: &str, verdict: &str, shadow: bool) -> f64 {
        let shadow = if shadow { "true" } else { "false" };
        let labels = [
            ("chain", "access"),
            ("rule", rule),
            ("verdict", verdict),
            ("shadow", shadow),
            ("service", "edge"),
        ];
        self.node.metrics().sum("eep_policy_decisions_total", &labels)
    }
}

fn write_policy(node: &Node, file: &str, sets: &str, rules: &str) {
    let text = format!(
        "policy: eep/v1\nname: test\nsets:\n  nobody: {{cidr: [203.0.113.1]}}\n{sets}\naccess:\n  default: allow\n  \
         rules:\n    - {{id: nobody, match: {{peer: {{in: nobody}}}}, then: {{deny: {{reason: test}}}}}}\n{rules}\n"
    );
    std::fs::write(node.path(file), text).expect("a file of ours");
}

fn apply(node: &Node, service: &str, file: &str, more: &[&str]) -> Value {
    let path = node.path(file);
    let path = path.to_str().expect("temporary folders have UTF-8 names");
    node.json(&[&["policy", "apply", service, path], more].concat())
}

/// Searches until there is a hit: a routing table takes effect when it has been read, which nothing announces.
fn find(peer: &Peer, link: &Link, words: &str) -> Hit {
    let mut guids: Vec<Guid> = Vec::new();
    until(&format!("a hit for {words}"), || {
        guids.push(peer.search(link, &Query::words(words)).expect("sent"));
        let found = link.find(Duration::from_millis(500), |m| m.kind == kind::HIT && guids.contains(&m.guid));
        found.ok().map(|m| Hit::decode(&m.payload).expect("a well-formed hit"))
    })
}

/// Searches once, and waits until the search was handled and all that it brought about has arrived: what was sent
/// before a pong arrives before it, on the way there and on the way back.
fn search_once(searching: (&Peer, &Link), sharing: (&Peer, &Link), words: &str) -> (bool, bool) {
    let guid = searching.0.search(searching.1, &Query::words(words)).expect("sent");
    searching.1.ping(searching.0.fresh_guid());
    sharing.1.ping(sharing.0.fresh_guid());
    searching.1.ping(searching.0.fresh_guid());
    let has = |link: &Link, k: u8| link.received(k).iter().any(|m| m.guid == guid);
    (has(sharing.1, kind::QUERY), has(searching.1, kind::HIT))
}

#[test]
fn a_rule_reloaded_under_load_changes_verdicts_from_one_message_to_the_next() {
    let stage = Stage::set();
    let (walrus, zebra) = (SharedFile::filled("walrus.mp3", 10), SharedFile::filled("zebra.mp3", 10));
    let (sharing, there) = stage.leaf(&[&walrus, &zebra]);
    let (searching, here) = stage.leaf(&[]);
    let (loading, load) = stage.leaf(&[]);
    find(&searching, &here, "walrus");
    find(&loading, &load, "zebra");

    let over = AtomicBool::new(false);
    let asked: Vec<Guid> = std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let mut asked = Vec::new();
            while !over.load(Ordering::Relaxed) {
                asked.push(loading.search(&load, &Query::words("zebra")).expect("still connected"));
                if asked.len() % 8 == 0 {
                    load.ping(loading.fresh_guid());
                }
            }
            asked
        });
        for round in 0..4 {
            assert_eq!(
                search_once((&searching, &here), (&sharing, &there), "walrus"),
                (true, true),
                "{round}"
            );
            let rule = "    - {id: no-walrus, match: {message: [query], content: {in: hot}}, then: drop}";
            stage.apply("  hot: {keywords: [walrus]}", rule);
            assert_eq!(
                search_once((&searching, &here), (&sharing, &there), "walrus"),
                (false, false),
                "{round}"
            );
            let _ = stage.node.json(&["policy", "rollback", "edge", "--to", "0"]);
        }
        over.store(true, Ordering::Relaxed);
        busy.join().expect("the load goes on")
    });
    load.ping(loading.fresh_guid());
    there.ping(sharing.fresh_guid());
    load.ping(loading.fresh_guid());
    let answered: HashSet<Guid> = load.received(kind::HIT).iter().map(|m| m.guid).collect();
    let unanswered = asked.iter().filter(|guid| !answered.contains(*guid)).count();
    assert_eq!(unanswered, 0, "of {}", asked.len());
    for link in [&there, &here, &load] {
        assert_eq!(link.closed(), None);
    }
    assert_eq!(stage.node.json(&["status", "edge"])["restarts"], 0);
    assert!(stage.counted("no-walrus", "drop", false) >= 4.0);
}

#[test]
fn connections_are_refused_by_what_the_peer_says_and_by_where_it_is() {
    let stage = Stage::set();
    let (bad, good) = (stage.net.ip(), stage.net.ip());
    let (kept, link) = stage.leaf_at(good, &[]);
    let (_lost, ended) = stage.leaf_at(bad, &[]);
    stage.apply(
        &format!("  abusers: {{cidr: [{bad}]}}\n  agents: {{user-agent: ['BadClient/*']}}"),
        "    - {id: abusers, match: {message: [connect], peer: {in: abusers}}, then: {deny: {reason: abuse}}}\n    \
         - {id: agents, match: {message: [connect], peer: {in: agents}}, then: {deny: {reason: agent}}}",
    );
    // Who is there already goes.
    until("the end", || ended.closed());
    // Who comes from there is not spoken to at all.
    let again = Peer::start(Config::leaf(bad)).expect("a port");
    match again.dial(stage.edge) {
        Err(HandshakeError::Refused(answer)) => panic!("nothing is said to it, not {answer:?}"),
        Err(_) => {}
        Ok(_) => panic!("it must not get in"),
    }
    // Who says the wrong name is told.
    let mut stream = TcpStream::connect(stage.edge).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
        .write_all(b"GNUTELLA CONNECT/0.6\r\nUser-Agent: BadClient/1.0\r\nX-Ultrapeer: False\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and an end");
    assert!(answer.starts_with("GNUTELLA/0.6 403"), "{answer}");
    link.ping(kept.fresh_guid());
    let other = Peer::start(Config::leaf(stage.net.ip())).expect("a port");
    other.dial(stage.edge).expect("everybody else is let in").ping(other.fresh_guid());
    assert!(stage.counted("abusers", "deny", false) >= 2.0);
    until_true("the guest's counts", || stage.counted("agents", "deny", false) >= 1.0);
}

#[test]
fn queries_hits_pushes_and_downloads_are_each_decided() {
    let stage = Stage::set();
    let (song, film) = (SharedFile::filled("ostrich.mp3", 10), SharedFile::filled("ostrich.avi", 10));
    let firewalled = Config { firewalled: true, ..Config::leaf(stage.net.ip()) };
    let sharing = Peer::start(firewalled.sharing(vec![song.clone()])).expect("a port");
    let there = sharing.dial(stage.edge).expect("a relation");
    let (watching, elsewhere) = stage.leaf(&[&film]);
    let (searching, here) = stage.leaf(&[]);
    find(&searching, &here, "ostrich mp3");
    find(&searching, &here, "ostrich avi");

    // Hits: those for films do not come back, and those for songs do, though both were asked.
    stage.apply("", "    - {id: films, match: {message: [query-hit], content: {type: avi}}, then: drop}");
    assert_eq!(search_once((&searching, &here), (&watching, &elsewhere), "ostrich avi"), (true, false));
    assert_eq!(search_once((&searching, &here), (&sharing, &there), "ostrich mp3"), (true, true));

    // Queries: by who asks.
    stage.apply(
        "",
        "    - {id: leaves, match: {message: [query], direction: inbound, group: leaf}, then: drop}",
    );
    assert_eq!(search_once((&searching, &here), (&sharing, &there), "ostrich mp3"), (false, false));

    // Queries to peers: not to that one.
    let there_ip = there.local().expect("a socket").ip();
    stage.apply(
        &format!("  far: {{cidr: [{there_ip}]}}"),
        "    - {id: stay-near, match: {message: [query], direction: outbound, peer: {in: far}}, then: drop}",
    );
    assert_eq!(search_once((&searching, &here), (&sharing, &there), "ostrich mp3"), (false, false));
    assert_eq!(search_once((&searching, &here), (&watching, &elsewhere), "ostrich avi"), (true, true));

    // Pushes.
    let _ = stage.node.json(&["policy", "rollback", "edge", "--to", "0"]);
    let hit = find(&searching, &here, "ostrich mp3");
    stage.apply("", "    - {id: pushes, match: {message: [push]}, then: {deny: {reason: none-here}}}");
    searching.request_push(&here, &hit).expect("sent");
    here.ping(searching.fresh_guid());
    there.ping(sharing.fresh_guid());
    assert_eq!(there.received(kind::PUSH), []);
    let _ = stage.node.json(&["policy", "rollback", "edge", "--to", "0"]);
    searching.request_push(&here, &hit).expect("sent");
    there.expect("push", |m| m.kind == kind::PUSH);
    until("a GIV", || searching.take_giv());

    // Downloads: the peer has no files, which is another answer than that one may not ask.
    let path = format!("/uri-res/N2R?{}", song.urn);
    assert_eq!(http::get(stage.edge, &path).expect("an answer").status, 404);
    let digest = song.urn.strip_prefix("urn:sha1:").expect("a SHA-1");
    stage.apply(
        &format!("  blocked: {{sha1: [{digest}]}}"),
        "    - {id: blocked, match: {message: [download], content: {in: blocked}}, then: {deny: {reason: notice}}}",
    );
    assert_eq!(http::get(stage.edge, &path).expect("an answer").status, 403);
    let other = format!("/uri-res/N2R?{}", film.urn);
    assert_eq!(http::get(stage.edge, &other).expect("an answer").status, 404);
    for (rule, verdict) in [
        ("films", "drop"),
        ("leaves", "drop"),
        ("stay-near", "drop"),
        ("pushes", "deny"),
        ("blocked", "deny"),
    ] {
        until_true(rule, || stage.counted(rule, verdict, false) >= 1.0);
    }
}

#[test]
fn rules_in_shadow_are_counted_and_change_nothing() {
    let stage = Stage::set();
    let file = SharedFile::filled("walrus.mp3", 10);
    let (sharing, there) = stage.leaf(&[&file]);
    let (searching, here) = stage.leaf(&[]);
    find(&searching, &here, "walrus");
    stage.apply(
        "  hot: {keywords: [walrus]}",
        "    - {id: hot, mode: shadow, match: {message: [query], content: {in: hot}}, then: drop}",
    );
    assert_eq!(search_once((&searching, &here), (&sharing, &there), "walrus"), (true, true));
    assert!(stage.counted("hot", "drop", true) >= 1.0);
    // What was decided is on record, in a form that can be replayed.
    let tap = stage.node.eep(&["policy", "tap", "edge", "--json"]).done();
    let records: Vec<Value> = tap.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    let shadowed = |r: &&Value| r["shadow"]["rule"] == "hot";
    let record = records.iter().find(shadowed).expect("the shadow verdict is on record");
    assert_eq!((&record["rule"], &record["enforced"]), (&json!("default"), &json!(true)));
    assert_eq!(record["event"]["content"]["text"], "walrus");
    let lines = stage.node.eep(&["policy", "tap", "edge", "--recording"]).done();
    assert_eq!(lines.lines().count(), records.len());
}

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
fn a_proxylet_that_does_not_ask_cannot_get_round_it() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let at = probe::load(&node);
    let say = |from: Ipv4Addr, words: &[u8], len: usize| -> Vec<u8> {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(from.into(), 0).into()).expect("an address of this machine");
        socket.connect(&at.into()).expect("it listens");
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut answer = vec![0; len];
        // It is closed at once where it is denied.
        match stream.write_all(words).and_then(|()| stream.read_exact(&mut answer)) {
            Ok(()) => answer,
            Err(_) => Vec::new(),
        }
    };
    let (good, bad) = (net.ip(), net.ip());
    let target = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let connect = format!("U{}", target.local_addr().expect("bound").port());
    assert_eq!(say(good, connect.as_bytes(), 1), b".");
    assert_eq!(say(bad, b"E.", 1), b".");
    // A connection from there that lives on.
    let mut there = TcpStream::connect(at).expect("it listens");
    there.set_read_timeout(Some(PATIENCE)).expect("a timeout");

    write_policy(
        &node,
        "p.yaml",
        &format!("  bad: {{cidr: [{bad}, 127.0.0.1]}}"),
        "    - {id: bad, match: {peer: {in: bad}}, then: {deny: {reason: test}}}\n    \
         - {id: crowd, match: {message: [connect], direction: inbound}, when: 'peer.connections > 2', then: drop}",
    );
    apply(&node, "probe", "p.yaml", &[]);
    // What was there is ended,
    assert_eq!(there.read(&mut [0; 1]).unwrap_or(0), 0);
    // what comes from there does not reach it,
    assert_eq!(say(bad, b"E.", 1), b"");
    // and it gets nowhere there by itself: the answer is the number of `net-error.not-granted`.
    assert_eq!(say(good, connect.as_bytes(), 1), [0]);
    // Two connections from one address, and no third.
    let hold = |from: Ipv4Addr| {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(from.into(), 0).into()).expect("an address of this machine");
        socket.connect(&at.into()).expect("it listens");
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut dot = [0];
        let answers = stream.write_all(b"E.").and_then(|()| stream.read_exact(&mut dot)).is_ok();
        (answers, stream)
    };
    let crowd = net.ip();
    let held = [hold(crowd), hold(crowd), hold(crowd)];
    assert_eq!(held.each_ref().map(|(in_there, _)| *in_there), [true, true, false]);
    let metrics = node.metrics();
    assert!(metrics.sum("eep_service_connections_denied_total", &[("service", "probe")]) >= 4.0);
}

#[test]
fn a_decision_on_record_is_explained_by_the_generation_that_made_it() {
    let stage = Stage::set();
    let (searching, here) = stage.leaf(&[]);
    let rules = "    - {id: no-apes, match: {message: [query], content: {in: apes}}, then: drop}\n    \
                 - {id: no-walrus, match: {message: [query], content: {in: hot}}, when: 'message.hops < 9', then: drop}";
    stage.apply("  hot: {keywords: [walrus]}\n  apes: {keywords: [gorilla]}", rules);
    searching.search(&here, &Query::words("walrus")).expect("sent");
    here.ping(searching.fresh_guid());
    let tap = || -> Vec<Value> {
        let lines = stage.node.eep(&["policy", "tap", "edge", "--json"]).done();
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let record = until("its record", || tap().into_iter().find(|record| record["rule"] == "no-walrus"));
    let id = record["id"].as_str().expect("an id");
    let explain = |more: &[&str]| stage.node.eep(&[&["policy", "explain", "edge", "--live"], more].concat());
    let check = || {
        let told = explain(&["--id", id]).done();
        assert!(told.contains(&format!("{id} by generation 1, ")), "{told}");
        assert!(told.contains("access: drop (no-walrus) by rule `no-walrus`"), "{told}");
        assert!(told.contains("p.yaml:11:12) no match: the content is not in `apes`"), "{told}");
        assert!(told.contains("p.yaml:12:12) decided"), "{told}");
        assert!(told.contains("message.hops 0"), "{told}");
    };
    check();
    // Whatever is in force by now.
    stage.apply("", "");
    check();
    let told: Value = serde_json::from_str(&explain(&["--id", id, "--json"]).done()).expect("JSON");
    assert_eq!((&told["generation"], &told["record"]), (&json!(1), &record));
    assert_eq!(told["explanations"][0]["decision"]["rule"], "no-walrus");
    // An event is decided by what is in force now.
    let told = explain(&["{message: query, content: {text: walrus}}"]).done();
    assert!(told.contains("access: allow by the default"), "{told}");
    assert!(explain(&["--id", "1-999999"]).refused().contains("no decision on record has the id `1-999999`"));
    assert!(explain(&["{message: quer}"]).refused().contains("event:1:11"));
}

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
    assert_eq!(applied["not_enforced"], json!(["cache", "topology.link-cost"]));
    let told = stage.node.eep(&["status", "edge"]).done();
    assert!(
        told.contains("`cache`, `topology.link-cost` are checked, but no node carries it out yet"),
        "{told}"
    );
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
