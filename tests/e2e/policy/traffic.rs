//! Volumes and classes of traffic.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use eep_tests::loopback::Loopback;
use eep_tests::node::Node;
use eep_tests::probe;
use eep_tests::wait::{PATIENCE, until, until_true};
use serde_json::{Value, json};

use super::apply;

/// Connects from an address of this machine.
fn open(at: SocketAddr, from: Ipv4Addr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(from.into(), 0).into()).expect("an address of this machine");
    socket.connect(&at.into()).expect("it listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

#[test]
fn a_volume_that_is_used_up_ends_the_traffic_and_stays_used_up() {
    let net = Loopback::claim();
    let mut node = Node::start(&net);
    let at = probe::load(&node);
    let (near, far) = (net.ip(), net.ip());
    std::fs::write(
        node.path("p.yaml"),
        format!(
            "policy: eep/v1\nname: test\nsets:\n  far: {{cidr: [{far}]}}\ntraffic:\n  classes: {{bulk: {{dscp: le, rate: 1mbit, ceil: 2mbit}}}}\n  budgets:\n    \
             far-day: {{peers: far, volume: 1MB, per: 30d, then: {{deny: {{reason: volume}}}}}}\nalarms:\n  \
             - {{id: far, when: 'budget.far_day.used >= 1.0', severity: warning, about: tell them}}\n"
        ),
    )
    .expect("a file of ours");
    apply(&node, "probe", "p.yaml", &[]);
    // 64 KiB each time, until the node has had enough.
    let mut greedy = open(at, far);
    let mut sink = vec![0; 64 << 10];
    let mut got = 0_u64;
    while greedy.write_all(b"B\x01").is_ok() && greedy.read_exact(&mut sink).is_ok() {
        got += sink.len() as u64;
        assert!(got < 4 << 30, "{got} bytes and no end");
    }
    assert!(got >= 900_000, "{got}");
    let answers = |at: SocketAddr, from: Ipv4Addr| {
        let mut stream = open(at, from);
        let mut dot = [0];
        stream.write_all(b"E.").is_ok() && stream.read_exact(&mut dot).is_ok()
    };
    assert!(!answers(at, far) && answers(at, near));
    let used = |node: &Node| {
        node.metrics().sum("eep_policy_budget_used_ratio", &[("budget", "far-day"), ("service", "probe")])
    };
    assert!(used(&node) >= 1.0);
    until_true("the alarm", || node.metrics().sum("eep_policy_alarm", &[("alarm", "far")]) == 1.0);
    let log = || node.eep(&["logs", "probe"]).done();
    until_true("its words", || log().contains("alarm `far` (warning): tell them"));
    node.kill();
    node.run();
    let at = until("the probe", || {
        // The API answers before the services are back.
        let status = node.eep(&["status", "probe", "--json"]);
        let status: Value = serde_json::from_str(&status.stdout).ok()?;
        status["listening"][0]["address"].as_str().and_then(|a| a.parse().ok())
    });
    assert!(used(&node) >= 1.0);
    assert!(!answers(at, far) && answers(at, near));
}

/// What a class may send at once after silence, bytes, where its ceiling is low.
const CLASS_BURST_BYTES: u64 = 16_384;

/// What has come by now, at most `most` bytes. How long it waits decides only how much of it is seen.
fn drain(stream: &mut TcpStream, most: usize) -> u64 {
    stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    let (mut got, mut buffer) = (0, vec![0; most]);
    while got < most {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(e) => panic!("{e}"),
        }
    }
    got as u64
}

#[test]
fn a_class_sends_no_more_than_its_ceiling_lets_it_and_another_class_is_not_held_back() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let at = probe::load(&node);
    let (fast, slow) = (net.ip(), net.ip());
    // 125 bytes a second: what a class may send at once takes two minutes to come together again.
    let classes = |of_slow: &str| {
        let text = format!(
            "policy: eep/v1\nname: test\nsets:\n  slow: {{cidr: [{slow}]}}\ntraffic:\n  classes:\n    \
             open: {{dscp: cs3, rate: 1gbit, ceil: 100gbit}}\n    bulk: {{dscp: le, rate: 1kbit, ceil: 1kbit}}\n  \
             default: {{class: open}}\n  rules: [{{id: slow, match: {{peer: {{in: slow}}}}, then: {{class: {of_slow}}}}}]\n"
        );
        std::fs::write(node.path("p.yaml"), text).expect("a file of ours");
        assert_eq!(apply(&node, "probe", "p.yaml", &[])["not_enforced"], json!([]));
    };
    classes("bulk");
    let began = Instant::now();
    // 320 KiB of zeros each.
    const ASKED: usize = 5 << 16;
    let ask = |from: Ipv4Addr| {
        let mut stream = open(at, from);
        stream.write_all(b"B\x05").expect("sent");
        stream
    };
    let mut held = [ask(slow), ask(slow)];
    let mut zeros = vec![0; ASKED];
    ask(fast).read_exact(&mut zeros).expect("all of it comes");
    let got: Vec<u64> = held.iter_mut().map(|stream| drain(stream, ASKED)).collect();
    let most = CLASS_BURST_BYTES + 125 * (began.elapsed().as_secs() + 1);
    let sum: u64 = got.iter().sum();
    assert!(sum <= most, "{got:?} of at most {most}");
    // Another generation lets them go, and what waits leaves.
    classes("open");
    for (stream, got) in held.iter_mut().zip(got) {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.read_exact(&mut zeros[got as usize..]).expect("the rest comes");
    }
    let classed = |verdict: &str| {
        let labels = [("chain", "traffic"), ("rule", "slow"), ("verdict", verdict), ("service", "probe")];
        node.metrics().sum("eep_policy_decisions_total", &labels)
    };
    assert!(classed("class") >= 4.0);
}

#[test]
fn a_volume_that_is_used_up_puts_its_peers_into_a_class() {
    let net = Loopback::claim();
    let node = Node::start(&net);
    let at = probe::load(&node);
    let (near, far) = (net.ip(), net.ip());
    let text = format!(
        "policy: eep/v1\nname: test\nsets:\n  far: {{cidr: [{far}]}}\ntraffic:\n  classes:\n    \
         bulk: {{dscp: le, rate: 1kbit, ceil: 1kbit}}\n  budgets:\n    \
         far-day: {{peers: far, volume: 1MB, per: 30d, then: {{class: bulk}}}}\n"
    );
    std::fs::write(node.path("p.yaml"), text).expect("a file of ours");
    apply(&node, "probe", "p.yaml", &[]);
    let began = Instant::now();
    let mut sink = vec![0; 16 << 16];
    // Nearly all of the volume, and more than what is left of it.
    let mut stream = open(at, far);
    stream.write_all(b"B\x0f").expect("sent");
    stream.read_exact(&mut sink[..15 << 16]).expect("all of it comes");
    stream.write_all(b"B\x01").expect("sent");
    let labels = [("rule", "budget:far-day"), ("verdict", "class"), ("service", "probe")];
    until_true("the class", || {
        // What is used is looked at while anything happens.
        let mut other = open(at, near);
        other.write_all(b"E.").expect("sent");
        other.read_exact(&mut [0]).expect("an echo");
        node.metrics().sum("eep_policy_decisions_total", &labels) >= 1.0
    });
    assert!(node.json(&["status", "probe"])["policy"]["budgets"]["far-day"].as_f64() >= Some(1.0));
    stream.write_all(b"B\x10").expect("sent");
    // Who does not count against the budget is not in the class.
    let mut other = open(at, near);
    other.write_all(b"B\x10").expect("sent");
    other.read_exact(&mut sink).expect("all of it comes");
    let got = drain(&mut stream, 17 << 16);
    let most = (1 << 16) + CLASS_BURST_BYTES + 125 * (began.elapsed().as_secs() + 1);
    assert!(got <= most, "{got} of at most {most}");
}
