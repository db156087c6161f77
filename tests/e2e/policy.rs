//! A policy in force: real peers, a node in a process of its own, its command line.

#[path = "policy/generations.rs"]
mod generations;
#[path = "policy/places.rs"]
mod places;
#[path = "policy/record.rs"]
mod record;
#[path = "policy/routes.rs"]
mod routes;
#[path = "policy/traffic.rs"]
mod traffic;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eep_tests::loopback::Loopback;
use eep_tests::node::Node;
use eep_tests::peer::{Config, HandshakeError, Link, Peer, SharedFile};
use eep_tests::wait::{PATIENCE, until, until_true};
use eep_tests::wire::{Guid, Hit, Query, kind};
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
