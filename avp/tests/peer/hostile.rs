//! Peers that say what is not so.

use crate::net::{Net, RawId, config};
use crate::raw::{MODERN, address, guid};
use avp::gnutella::Kind;
use avp::gnutella::push::Push;
use std::net::SocketAddr;
use std::time::Duration;

const VICTIM: u8 = 50;

fn push(net: &mut Net, from: RawId, id: u8) {
    let push = Push {
        servent: guid(VICTIM),
        index: 7,
        to: "10.99.0.2:7002".parse().expect("an address"),
        extensions: &[],
    };
    net.message(from, Kind::PUSH, 4, 0, guid(id), &push.encode());
    net.run();
}

#[test]
fn a_leaf_with_the_id_of_another_servent_takes_neither_its_pushes_nor_its_place() {
    let mut net = Net::new();
    let up = net.peer(config());
    let claim = format!("X-Ultrapeer: False\r\nGUID: {}\r\n{MODERN}", guid(VICTIM));
    let (answer, thief) = net.shake(1, up, &claim);
    assert!(answer.starts_with("GNUTELLA/0.6 200"), "{answer}");
    let (answer, victim) = net.shake(2, up, &claim);
    assert!(answer.starts_with("GNUTELLA/0.6 200"), "an id is no proof: {answer}");
    net.share(victim, "walrus.mp3");
    let asker = net.ultrapeer(3, up);
    net.query(asker, 2, 1, guid(1), "walrus");
    net.hit(victim, 3, 0, guid(1), guid(VICTIM), "walrus.mp3");
    assert_eq!(net.of_kind(asker, Kind::QUERY_HIT).len(), 1);
    push(&mut net, asker, 2);
    assert_eq!(net.of_kind(victim, Kind::PUSH).len(), 1);
    net.close(thief);
    net.run();
    push(&mut net, asker, 3);
    assert_eq!(net.of_kind(victim, Kind::PUSH).len(), 1);
}

#[test]
fn hits_in_the_name_of_another_servent_do_not_turn_its_pushes_away() {
    let mut net = Net::new();
    let up = net.peer(config());
    let (asker, way, thief) =
        (net.ultrapeer(1, up), net.ultrapeer(2, up), net.sharing_leaf(3, up, "walrus.mp3"));
    net.query(asker, 3, 1, guid(1), "walrus");
    net.hit(way, 3, 1, guid(1), guid(VICTIM), "walrus.mp3");
    for _ in 0..5 {
        net.hit(thief, 3, 0, guid(1), guid(VICTIM), "walrus.mp3");
    }
    net.of_kind(way, Kind::PUSH);
    push(&mut net, asker, 2);
    assert_eq!(net.of_kind(way, Kind::PUSH).len(), 1);
}

#[test]
fn a_servent_from_the_same_host_comes_in_once() {
    let mut net = Net::new();
    let up = net.peer(config());
    let hello = format!("GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: False\r\nGUID: {}\r\n\r\n", guid(VICTIM));
    let mut connect = |port| {
        let raw = net.connect(SocketAddr::new(address(1).ip(), port), up);
        net.send(raw, hello.as_bytes());
        net.send(raw, b"GNUTELLA/0.6 200 OK\r\n\r\n");
        net.run();
        let answer = net.take(raw);
        String::from_utf8_lossy(&answer[..16]).into_owned()
    };
    assert_eq!(connect(1_000), "GNUTELLA/0.6 200");
    assert_eq!(connect(1_001), "GNUTELLA/0.6 409");
}

#[test]
fn a_hit_does_not_go_back_to_who_sent_it() {
    let mut net = Net::new();
    let up = net.peer(config());
    let asker = net.ultrapeer(1, up);
    net.query(asker, 3, 1, guid(1), "walrus");
    net.hit(asker, 3, 0, guid(1), guid(50), "walrus.mp3");
    assert!(net.of_kind(asker, Kind::QUERY_HIT).is_empty());
}

#[test]
fn a_neighbour_cannot_widen_the_search_of_a_leaf() {
    let mut net = Net::new();
    let up = net.peer(config());
    let neighbours: Vec<RawId> = (10..30).map(|n| net.ultrapeer(n, up)).collect();
    let asker = net.leaf(1, up);
    net.query(asker, 1, 0, guid(1), "walrus");
    let asked =
        |net: &mut Net| -> usize { neighbours.iter().map(|n| net.of_kind(*n, Kind::QUERY).len()).sum() };
    assert_eq!(asked(&mut net), 3);
    net.query(neighbours[0], 7, 0, guid(1), "walrus");
    assert_eq!(asked(&mut net), 0);
}

#[test]
fn an_ipv4_peer_on_an_ipv6_socket_is_known_by_its_ipv4_address() {
    let mut net = Net::new();
    let up = net.peer(config());
    let mapped = |port| SocketAddr::new("::ffff:10.99.0.1".parse().unwrap(), port);
    let raw = net.connect(mapped(5_000), up);
    net.send(raw, b"GNUTELLA CONNECT/0.6\r\nListen-IP: 10.99.0.1:7001\r\nX-Ultrapeer: True\r\n\r\n");
    net.send(raw, b"GNUTELLA/0.6 200 OK\r\n\r\n");
    net.run();
    assert_eq!(net.status(up).links[0].remote, "10.99.0.1:5000".parse().unwrap());
    assert_eq!(net.metric(up, "avp_known_hosts", &[]), 1.0);
    let (answer, _) = net.shake(1, up, "X-Ultrapeer: True\r\n");
    assert!(answer.starts_with("GNUTELLA/0.6 409"), "{answer}");
}

#[test]
fn a_host_that_lets_us_in_to_send_us_away_rests() {
    let mut net = Net::new();
    let host = address(1);
    let up = net.peer(config());
    let teller = net.ultrapeer(2, up);
    net.listen(host);
    let pong = avp::gnutella::pong::Extensions::new()
        .ultrapeer(avp::gnutella::pong::Ultrapeer { version: 2, leaf_slots: 9, ultra_slots: 9 })
        .finish();
    let SocketAddr::V4(addr) = host else { panic!() };
    let pong = avp::gnutella::pong::Pong { addr, files: 0, kbytes: 0, extensions: &pong }.encode();
    let mut dials = 0;
    for _ in 0..300 {
        net.message(teller, Kind::PONG, 1, 0, guid(1), &pong);
        net.advance(Duration::from_secs(1));
        for (ping, _) in net.of_kind(teller, Kind::PING) {
            net.message(teller, Kind::PONG, 1, 0, ping.guid, &pong);
        }
        if let Some(raw) = net.accept(host) {
            dials += 1;
            net.send(raw, b"GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: True\r\nX-Ultrapeer-Needed: False\r\n\r\n");
            net.run();
            net.close(raw);
        }
    }
    assert!((2..=4).contains(&dials), "{dials}");
}
