//! Peers that send what no peer should: each is dropped and counted, and nobody else notices.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use eep_tests::dice::Dice;
use eep_tests::loopback::Loopback;
use eep_tests::peer::{Config, Link, Peer, SharedFile, random_guid};
use eep_tests::subject::{Shell, Subject};
use eep_tests::wait::{PATIENCE, until};
use eep_tests::wire::{Message, Query, kind};
use serde_json::json;

/// A handshake that the virtual peer accepts.
const LEAF: &str = "GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: False\r\nX-Query-Routing: 0.2\r\n";

/// The ultrapeer and two leaves that behave.
struct Stage {
    net: Loopback,
    subject: Subject,
    sharing: Peer,
    there: Link,
    searching: Peer,
    here: Link,
}

impl Stage {
    fn set() -> Self {
        let net = Loopback::claim();
        let subject = Subject::start(Shell::Node, &net, &json!({}));
        let file = SharedFile::filled("walrus.mp3", 10);
        let sharing = Peer::start(Config::leaf(net.ip()).sharing(vec![file])).expect("a port");
        let there = sharing.dial(subject.address()).expect("a relation");
        let searching = Peer::start(Config::leaf(net.ip())).expect("a port");
        let here = searching.dial(subject.address()).expect("a relation");
        Self { net, subject, sharing, there, searching, here }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.subject.address()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// A leaf whose handshake is done and which can now say anything.
    fn joined(&self, more_headers: &str) -> TcpStream {
        let mut stream = self.connect();
        let listen = self.net.at(7);
        write!(stream, "{LEAF}Listen-IP: {listen}\r\n{more_headers}\r\n").expect("sent");
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("GNUTELLA/0.6 200"), "{answer}");
        let encoding = if more_headers.is_empty() { "" } else { "Content-Encoding: deflate\r\n" };
        write!(stream, "GNUTELLA/0.6 200 OK\r\n{encoding}\r\n").expect("sent");
        stream
    }

    /// Sends `bytes`; the connection must end, the reason be counted, and the others' search be answered.
    fn drops(&self, mut stream: TcpStream, bytes: &[u8], reason: &str) {
        let before = self.ended(reason);
        // It may end before all has been said.
        stream.write_all(bytes).ok();
        self.ends(stream);
        until(&format!("the reason {reason}"), || (self.ended(reason) > before).then_some(()));
        self.others_notice_nothing();
    }

    fn ended(&self, reason: &str) -> f64 {
        self.subject.metrics().sum("avp_ended_total", &[("reason", reason)])
    }

    fn ends(&self, mut stream: TcpStream) {
        let mut sink = [0; 4_096];
        until("the end of the connection", || match stream.read(&mut sink) {
            Ok(0) | Err(_) => Some(()),
            Ok(_) => None,
        });
    }

    fn others_notice_nothing(&self) {
        self.there.ping(self.sharing.fresh_guid());
        let mut guids = Vec::new();
        let query = until("a search", || {
            guids.push(self.searching.search(&self.here, &Query::words("walrus")).ok()?);
            let limit = std::time::Duration::from_millis(500);
            self.here.find(limit, |m| m.kind == kind::HIT && guids.contains(&m.guid)).ok()
        });
        assert_eq!(query.kind, kind::HIT);
    }
}

#[test]
fn noise_in_place_of_a_handshake() {
    let stage = Stage::set();
    let mut dice = Dice::new(7);
    for _ in 0..20 {
        let mut noise = vec![0; 600];
        dice.fill(&mut noise);
        stage.drops(stage.connect(), &noise, "not_gnutella");
    }
}

#[test]
fn a_handshake_without_end() {
    let stage = Stage::set();
    let endless = format!("GNUTELLA CONNECT/0.6\r\nX-Filler: {}", "y".repeat(100_000));
    stage.drops(stage.connect(), endless.as_bytes(), "handshake_too_long");
}

#[test]
fn a_handshake_that_cannot_be_read() {
    let stage = Stage::set();
    stage.drops(stage.connect(), b"GNUTELLA CONNECT/0.6\r\nno header at all\r\n\r\n", "handshake_malformed");
}

#[test]
fn a_handshake_that_never_comes() {
    let stage = Stage::set();
    let before = stage.ended("handshake_timeout");
    let mut silent = stage.connect();
    let mut slow = stage.connect();
    slow.write_all(b"GNUTELLA CONN").expect("sent");
    stage.others_notice_nothing();
    // It gives them 20 s.
    until("both are dropped", || (stage.ended("handshake_timeout") >= before + 2.0).then_some(()));
    let mut sink = [0; 64];
    assert!(matches!(silent.read(&mut sink), Ok(0) | Err(_)), "closed");
    stage.others_notice_nothing();
}

#[test]
fn a_message_that_is_much_too_long() {
    let stage = Stage::set();
    let mut header = Message::new(random_guid(1), kind::QUERY, 4, Vec::new()).encode();
    header[19..23].copy_from_slice(&u32::MAX.to_le_bytes());
    stage.drops(stage.joined(""), &header, "oversize_message");
}

#[test]
fn a_broken_routing_table() {
    let stage = Stage::set();
    let patch = Message::new(random_guid(2), kind::QRP, 1, vec![1, 1, 1, 0, 4, 0xff]).encode();
    stage.drops(stage.joined(""), &patch, "bad_routing_table");
}

#[test]
fn a_compressed_link_that_is_none() {
    let stage = Stage::set();
    let noise = [0xa5; 300];
    stage.drops(stage.joined("Accept-Encoding: deflate\r\n"), &noise, "corrupt_stream");
}

#[test]
fn messages_of_unknown_kinds_and_broken_payloads_are_skipped() {
    let stage = Stage::set();
    let mut stream = stage.joined("");
    let mut said = Vec::new();
    for (n, kind) in [0x03, 0x55, 0x90, 0xff].into_iter().enumerate() {
        said.extend(Message::new(random_guid(n as u64), kind, 1, vec![n as u8; 50]).encode());
    }
    said.extend(Message::new(random_guid(9), kind::HIT, 2, vec![200; 40]).encode());
    let ping = random_guid(10);
    said.extend(Message::new(ping, kind::PING, 1, Vec::new()).encode());
    stream.write_all(&said).expect("sent");
    let mut got = Vec::new();
    let mut chunk = [0; 1_024];
    while !got.windows(16).any(|w| w == ping) {
        let n = stream.read(&mut chunk).expect("more");
        assert_ne!(n, 0, "it is still welcome");
        got.extend_from_slice(&chunk[..n]);
    }
    stage.subject.expect_figure("avp_dropped_messages_total", &[], 5.0);
    stage.others_notice_nothing();
}

#[test]
fn a_message_that_ends_in_the_middle() {
    let stage = Stage::set();
    let stream = stage.joined("");
    let query = Message::new(random_guid(3), kind::QUERY, 4, Query::words("walrus").encode()).encode();
    (&stream).write_all(&query[..query.len() - 3]).expect("sent");
    stream.shutdown(Shutdown::Write).expect("still up");
    stage.drops(stream, b"", "ended");
}

#[test]
fn a_peer_that_reads_nothing() {
    let stage = Stage::set();
    let lazy = stage.joined("");
    // Pings that it is answered and never reads, until its own side is full as well.
    let ping = Message::new(random_guid(4), kind::PING, 1, Vec::new()).encode();
    let flood = ping.repeat(1_000);
    lazy.set_write_timeout(Some(std::time::Duration::from_secs(2))).expect("a timeout");
    for _ in 0..2_000 {
        if (&lazy).write_all(&flood).is_err() {
            break;
        }
    }
    stage.others_notice_nothing();
}
