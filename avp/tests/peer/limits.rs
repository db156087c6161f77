//! Bounds, time limits and misbehaviour: who does what is not done is dropped, and nobody else notices.

use crate::net::{Net, RawId, address, config};
use crate::raw::{self, guid, hit_payload};
use avp::Config;
use avp::gnutella::bye::Bye;
use avp::gnutella::ping::{CachedPongs, asking_for_hosts};
use avp::gnutella::pong::Pong;
use avp::gnutella::qrp::{Compressor, RouteUpdate};
use avp::gnutella::vendor::Message;
use avp::gnutella::{Guid, Header, Kind, udp};
use proptest::prelude::*;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The code of the Bye that a scripted peer has got, which is closed after it.
fn bye(net: &mut Net, raw: RawId) -> u16 {
    let byes = net.of_kind(raw, Kind::BYE);
    assert!(net.is_closed(raw));
    byes.last().and_then(|(_, payload)| Bye::parse(payload)).expect("a Bye").code
}

#[test]
fn a_peer_that_answers_no_pings_is_told_and_left() {
    let mut net = Net::new();
    let up = net.peer(config());
    let (leaf, neighbour) = (net.leaf(1, up), net.ultrapeer(2, up));
    net.advance(150 * SECOND);
    assert_eq!(bye(&mut net, neighbour), 406);
    assert!(!net.is_closed(leaf), "a leaf is given more time");
    net.advance(500 * SECOND);
    assert_eq!(bye(&mut net, leaf), 406);
    assert_eq!(net.metric(up, "avp_links", &[]), 0.0);
    assert_eq!(net.metric(up, "avp_ended_total", &[("reason", "silent")]), 2.0);
}

#[test]
fn a_peer_that_answers_pings_stays_and_its_round_trip_is_known() {
    let mut net = Net::new();
    let up = net.peer(config());
    let neighbour = net.ultrapeer(1, up);
    for _ in 0..300 {
        net.advance(SECOND);
        for (ping, _) in net.of_kind(neighbour, Kind::PING) {
            let pong = Pong { addr: "10.99.0.1:7001".parse().unwrap(), files: 0, kbytes: 0, extensions: &[] };
            net.message(neighbour, Kind::PONG, 1, 0, ping.guid, &pong.encode());
        }
    }
    assert!(!net.is_closed(neighbour));
    let link = &net.status(up).links[0];
    assert!(link.rtt_ms.is_some_and(|rtt| rtt <= 1_000));
    assert_eq!(link.loss, Some(0.0));
    assert!(link.sent_bytes_per_second > 1.0 && link.received_bytes_per_second > 1.0, "{link:?}");
}

#[test]
fn alive_pings_are_always_answered_and_others_once_a_second() {
    let mut net = Net::new();
    let up = net.peer(config());
    let leaf = net.leaf(1, up);
    for n in 0..20 {
        net.message(leaf, Kind::PING, 1, 0, guid(n), &[]);
    }
    net.run();
    let pongs = net.of_kind(leaf, Kind::PONG);
    assert_eq!(pongs.len(), 20);
    let (header, payload) = &pongs[7];
    assert_eq!((header.guid, header.ttl, header.hops), (guid(7), 1, 0));
    let pong = Pong::parse(payload).unwrap();
    assert_eq!(std::net::SocketAddr::from(pong.addr), net.address(up));
    assert_eq!(pong.ultrapeer().unwrap().leaf_slots, 255);

    for n in 0..20 {
        net.message(leaf, Kind::PING, 4, 0, guid(n), &[]);
    }
    net.run();
    assert_eq!(net.of_kind(leaf, Kind::PONG).len(), 1);
    net.advance(SECOND);
    net.message(leaf, Kind::PING, 4, 0, guid(30), &[]);
    net.run();
    assert_eq!(net.of_kind(leaf, Kind::PONG).len(), 1);
    assert_eq!(
        net.metric(up, "avp_dropped_messages_total", &[("kind", "ping"), ("reason", "throttled")]),
        19.0
    );
}

#[test]
fn pongs_of_others_come_from_the_cache_with_the_hops_they_have_made() {
    let mut net = Net::new();
    let up = net.peer(config());
    let (neighbour, leaf) = (net.ultrapeer(1, up), net.leaf(2, up));
    for n in 1..=30_u8 {
        let addr = format!("10.50.0.{n}:6346").parse().unwrap();
        let pong = Pong { addr, files: 3, kbytes: 4, extensions: &[] }.encode();
        net.message(neighbour, Kind::PONG, 3, n % 3, guid(n), &pong);
    }
    net.message(leaf, Kind::PING, 7, 0, guid(99), &asking_for_hosts(CachedPongs::default()));
    net.run();
    let pongs = net.of_kind(leaf, Kind::PONG);
    assert_eq!(pongs.len(), 11, "our own and ten of others");
    for (header, _) in &pongs {
        assert_eq!(header.guid, guid(99));
        assert_eq!(header.ttl + header.hops, 7);
    }
    assert_eq!(Pong::parse(&pongs[0].1).unwrap().packed_hosts(), ["10.99.0.1:7001".parse().unwrap()]);
}

#[test]
fn a_leaf_that_relays_is_sent_away() {
    let mut net = Net::new();
    let up = net.peer(config());
    for kind in [Kind::QUERY, Kind::QUERY_HIT, Kind::PUSH, Kind::PING, Kind::PONG, Kind::QRP, Kind::VENDOR] {
        let leaf = net.leaf(1, up);
        let payload = match kind {
            Kind::QUERY => b"\x80\0walrus\0".to_vec(),
            Kind::QUERY_HIT => hit_payload(guid(1), "walrus"),
            _ => vec![0; 26],
        };
        net.message(leaf, kind, 2, 1, guid(1), &payload);
        net.run();
        assert_eq!(bye(&mut net, leaf), 414, "{kind:?}");
    }
}

#[test]
fn a_patch_before_a_reset_ends_the_relation() {
    let mut net = Net::new();
    let up = net.peer(config());
    let leaf = net.leaf(1, up);
    net.message(leaf, Kind::QRP, 1, 0, guid(1), &[1, 1, 1, 0, 8, 0, 0]);
    net.run();
    assert_eq!(bye(&mut net, leaf), 413);
}

#[test]
fn tables_that_change_all_the_time_end_the_relation() {
    let mut net = Net::new();
    let up = net.peer(config());
    let leaf = net.leaf(1, up);
    for n in 0..10 {
        net.share(leaf, &format!("walrus {n}"));
        net.advance(4 * SECOND);
    }
    assert!(!net.is_closed(leaf));
    for n in 0..20 {
        net.share(leaf, &format!("zebra {n}"));
    }
    assert_eq!(bye(&mut net, leaf), 413);
}

#[test]
fn what_peers_make_us_hold_is_bounded_and_who_holds_most_goes() {
    const HELD_BYTES: u32 = 4 << 20;
    let mut net = Net::new();
    let up = net.peer(Config { held_bytes: HELD_BYTES, ..config() });
    let reset = RouteUpdate::Reset { slots_log2: 21, infinity: 2 }.encode();
    let patch = |seq| {
        let data = &[0; 15_000];
        RouteUpdate::Patch { seq, count: 255, compressor: Compressor::None, bits: 4, data }.encode()
    };
    let modest = net.leaf(1, up);
    net.message(modest, Kind::QRP, 1, 0, guid(1), &reset);
    net.message(modest, Kind::QRP, 1, 0, guid(1), &patch(1));
    // The beginning of a hit, as long as hits may be.
    let stream = Header { guid: guid(1), kind: Kind::QUERY_HIT, ttl: 1, hops: 0, len: 0 }.frame(&[0; 16_000]);
    let slow = net.leaf(2, up);
    net.send(slow, &stream[..15_000]);
    let greedy: Vec<RawId> = (3..=40).map(|n| net.leaf(n, up)).collect();
    for leaf in &greedy {
        net.message(*leaf, Kind::QRP, 1, 0, guid(1), &reset);
        for seq in 1..=60 {
            net.message(*leaf, Kind::QRP, 1, 0, guid(1), &patch(seq));
        }
        net.run();
        assert!(net.metric(up, "avp_held_bytes", &[]) <= f64::from(HELD_BYTES));
    }
    let closed = greedy.iter().filter(|leaf| net.is_closed(**leaf)).count();
    assert!((30..38).contains(&closed), "{closed}");
    assert!(!net.is_closed(modest) && !net.is_closed(slow));
    assert_eq!(net.metric(up, "avp_ended_total", &[("reason", "out_of_memory")]), closed as f64);

    for leaf in &greedy {
        net.close(*leaf);
    }
    net.close(slow);
    net.close(modest);
    net.run();
    assert_eq!(net.metric(up, "avp_held_bytes", &[]), 0.0, "nothing is counted that is not held");
}

#[test]
fn leaves_that_take_nothing_are_bounded_together() {
    const HELD_BYTES: u32 = 1 << 20;
    let mut net = Net::new();
    let up = net.peer(Config { held_bytes: HELD_BYTES, ..config() });
    let stalled: Vec<RawId> = (1..=60).map(|n| net.sharing_leaf(n, up, "walrus.mp3")).collect();
    let asker = net.leaf(100, up);
    for leaf in &stalled {
        net.set_full(*leaf, true);
    }
    for n in 0..2_000_u16 {
        let mut id = guid(1);
        id.0[..2].copy_from_slice(&n.to_le_bytes());
        net.query(asker, 4, 0, id, "walrus");
        assert!(net.metric(up, "avp_held_bytes", &[]) <= f64::from(HELD_BYTES));
    }
    let ended = net.metric(up, "avp_ended_total", &[("reason", "out_of_memory")]);
    assert!(ended > 0.0);
    assert!(!net.is_closed(asker));
    for leaf in stalled {
        net.set_full(leaf, false);
    }
    net.run();
    assert_eq!(net.metric(up, "avp_held_bytes", &[]), 0.0);
}

#[test]
fn costly_messages_wait_for_their_turn_and_are_not_lost() {
    const COSTLY: u16 = 12_000;
    let mut net = Net::new();
    let up = net.peer(config());
    let sharers: Vec<RawId> = (1..=400).map(|n| net.sharing_leaf(n, up, "walrus.mp3")).collect();
    let (flooder, other) = (net.ultrapeer(500, up), net.leaf(501, up));
    let mut flood = Vec::new();
    for n in 0..COSTLY {
        let mut id = guid(1);
        id.0[..2].copy_from_slice(&n.to_le_bytes());
        let query = Header { guid: id, kind: Kind::QUERY, ttl: 1, hops: 1, len: 0 };
        flood.extend(query.frame(b"\x80\0walrus\0"));
    }
    let (first, second) = flood.split_at(flood.len() / 3);
    net.send(flooder, first);
    net.send(flooder, second);
    net.query(other, 4, 0, guid(2), "zebra walrus");
    let got = net.of_kind(sharers[0], Kind::QUERY);
    assert!((1_000..usize::from(COSTLY)).contains(&got.len()), "{}", got.len());
    net.advance(SECOND);
    let late = net.of_kind(sharers[0], Kind::QUERY);
    assert_eq!(got.len() + late.len(), usize::from(COSTLY));
    let ids: Vec<u16> =
        got.iter().chain(&late).map(|(h, _)| u16::from_le_bytes([h.guid.0[0], h.guid.0[1]])).collect();
    assert!(ids.is_sorted(), "in the order in which they came");
    assert_eq!(net.metric(up, "avp_held_bytes", &[]), 0.0);
}

#[test]
fn who_leaves_gets_no_more_and_its_route_is_gone() {
    let mut net = Net::new();
    let up = net.peer(config());
    let (asker, sharer) = (net.leaf(1, up), net.sharing_leaf(2, up, "walrus.mp3"));
    net.query(asker, 4, 0, guid(1), "walrus");
    net.close(asker);
    net.run();
    // The place of the asker goes to somebody who has asked for nothing.
    let next = net.leaf(3, up);
    net.hit(sharer, 3, 0, guid(1), guid(50), "walrus.mp3");
    assert!(net.of_kind(next, Kind::QUERY_HIT).is_empty());
    net.close(sharer);
    net.run();
    net.query(next, 4, 0, guid(2), "walrus");
    assert_eq!(net.metric(up, "avp_dropped_messages_total", &[("reason", "no_route")]), 1.0);
    assert_eq!(net.metric(up, "avp_relayed_messages_total", &[("kind", "query")]), 1.0);
}

#[test]
fn routes_are_bounded() {
    let mut net = Net::new();
    let up = net.peer(Config { query_routes: 1_024, ..config() });
    let leaf = net.leaf(1, up);
    for n in 0..5_000_u16 {
        let mut guid = guid(7);
        guid.0[..2].copy_from_slice(&n.to_le_bytes());
        net.message(leaf, Kind::QUERY, 4, 0, guid, b"\x80\0walrus\0");
        if n % 100 == 0 {
            net.run();
            assert!(net.metric(up, "avp_routes", &[("kind", "query")]) <= 2_048.0);
        }
    }
}

#[test]
fn a_congested_leaf_gets_the_rest_when_it_has_room() {
    let mut net = Net::new();
    let up = net.peer(config());
    let (asker, sharer) = (net.leaf(1, up), net.sharing_leaf(2, up, "walrus.mp3"));
    net.set_full(sharer, true);
    for n in 0..5 {
        net.query(asker, 4, 0, guid(n), "walrus");
    }
    assert_eq!(net.of_kind(sharer, Kind::QUERY).len(), 1, "the first one showed that it is congested");
    net.set_full(sharer, false);
    net.run();
    assert_eq!(net.of_kind(sharer, Kind::QUERY).len(), 4);
}

#[test]
fn the_same_peer_and_ourselves_are_refused() {
    let mut net = Net::new();
    let up = net.peer(config());
    let own = net.status(up).guid;
    let _leaf = net.leaf(1, up);
    for (n, headers, code) in [
        (1, String::new(), "409"),
        (2, format!("GUID: {own}\r\n"), "409"),
        (3, "User-Agent: BadShare/9\r\n".to_owned(), "403"),
    ] {
        net.configure(up, Config { deny_user_agents: vec!["badshare".into()], ..config() });
        let (answer, raw) = net.shake(n, up, &format!("X-Ultrapeer: False\r\n{headers}"));
        assert!(answer.starts_with(&format!("GNUTELLA/0.6 {code} ")), "{answer}");
        assert!(net.is_closed(raw));
    }
}

#[test]
fn a_stopping_peer_says_goodbye_and_lets_nobody_in() {
    let mut net = Net::new();
    let up = net.peer(config());
    let (leaf, neighbour) = (net.leaf(1, up), net.ultrapeer(2, up));
    net.stop(up);
    assert_eq!((bye(&mut net, leaf), bye(&mut net, neighbour)), (200, 200));
    let late = net.connect(raw::address(3), up);
    net.run();
    assert!(net.is_closed(late));
}

#[test]
fn an_unfinished_handshake_is_given_up() {
    let mut net = Net::new();
    let up = net.peer(config());
    let slow = net.connect(raw::address(1), up);
    net.send(slow, b"GNUTELLA CONN");
    net.advance(19 * SECOND);
    assert!(!net.is_closed(slow));
    net.advance(2 * SECOND);
    assert!(net.is_closed(slow));
    assert_eq!(net.metric(up, "avp_openings", &[]), 0.0);
}

#[test]
fn who_does_not_come_to_the_point_makes_room_for_others() {
    let mut net = Net::new();
    let up = net.peer(config());
    let text = [b"GNUTELLA CONNECT/0.6\r\nX-Endless: ".to_vec(), vec![b'x'; 7_000]].concat();
    let slow: Vec<RawId> = (0..4_500)
        .map(|n| {
            let raw = net.connect(raw::address(n), up);
            net.send(raw, &text);
            raw
        })
        .collect();
    net.run();
    assert!(net.metric(up, "avp_openings", &[]) <= 4_096.0);
    assert!(net.metric(up, "avp_held_bytes", &[]) <= f64::from(9 << 20));
    assert!(net.is_closed(slow[0]) && !net.is_closed(slow[4_499]));
    net.leaf(5_000, up);
    net.advance(21 * SECOND);
    assert_eq!(net.metric(up, "avp_held_bytes", &[]), 0.0);
    assert_eq!(net.metric(up, "avp_ended_total", &[("reason", "handshake_timeout")]), 4_500.0);
}

#[test]
fn a_host_that_refuses_is_dialled_again_later_and_later() {
    let mut net = Net::new();
    let host = raw::address(1);
    let up = net.peer(Config { connect: vec![host], ..config() });
    net.listen(host);
    let mut dials = Vec::new();
    let start = net.now;
    for _ in 0..300 {
        net.advance(SECOND);
        if let Some(raw) = net.accept(host) {
            dials.push(net.now.since(start).as_secs());
            let request = String::from_utf8(net.take(raw)).unwrap();
            assert!(request.starts_with("GNUTELLA CONNECT/0.6\r\n"), "{request}");
            net.send(raw, b"GNUTELLA/0.6 503 Full\r\nX-Try-Ultrapeers: 10.99.0.2:7002\r\n\r\n");
        }
    }
    assert!((3..=4).contains(&dials.len()) && dials[1] - dials[0] >= 40, "{dials:?}");
    assert!(net.metric(up, "avp_known_hosts", &[]) <= 1.0);
}

#[test]
fn a_connection_back_is_made_once_a_minute() {
    let mut net = Net::new();
    let up = net.peer(config());
    let leaf = net.leaf(1, up);
    let at = std::net::SocketAddr::new(raw::address(1).ip(), 7777);
    net.listen(at);
    for _ in 0..3 {
        net.message(leaf, Kind::VENDOR, 1, 0, Guid::ZERO, &Message::TcpConnectBack { port: 7777 }.encode());
    }
    net.run();
    let back = net.accept(at).expect("a connection back");
    assert_eq!(net.take(back), b"\n\n");
    assert!(net.is_closed(back));
    assert!(net.accept(at).is_none());
    net.advance(61 * SECOND);
    net.message(
        leaf,
        Kind::VENDOR,
        1,
        0,
        guid(9),
        &Message::UdpConnectBack { port: 7778, guid: None }.encode(),
    );
    net.run();
    let (_, to, bytes) = net.datagrams.pop().expect("a datagram");
    assert_eq!(to.port(), 7778);
    assert_eq!(udp::parse(&bytes).unwrap().header.guid, guid(9));
}

#[test]
fn strangers_get_hosts_over_http_and_by_datagram() {
    let mut net = Net::new();
    let up = net.peer(config());
    let _neighbour = net.ultrapeer(1, up);
    let browser = net.connect(raw::address(2), up);
    net.send(browser, b"GET /gwc?hostfile=1&client=TEST HTTP/1.1\r\nHost: h\r\n\r\n");
    net.run();
    let answer = String::from_utf8(net.take(browser)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("10.99.0.1:7001"), "{answer}");
    assert!(net.is_closed(browser));

    let ping = Header { guid: guid(1), kind: Kind::PING, ttl: 1, hops: 0, len: 0 };
    net.datagram(raw::address(3), up, &ping.frame(&asking_for_hosts(CachedPongs::default())));
    net.datagram(raw::address(4), up, b"garbage");
    net.run();
    let (_, to, bytes) = net.datagrams.pop().expect("a pong");
    assert_eq!(to, raw::address(3));
    let pong = udp::parse(&bytes).unwrap();
    assert_eq!(Pong::parse(&pong.payload).unwrap().packed_hosts(), ["10.99.0.1:7001".parse().unwrap()]);
    assert!(net.datagrams.is_empty());
}

#[test]
fn a_push_proxy_can_be_asked_over_http() {
    let mut net = Net::new();
    let up = net.peer(config());
    let firewalled = net.leaf(1, up);
    let request = format!(
        "GET /gnutella/push-proxy?ServerId={} HTTP/1.1\r\nX-Node: 10.99.0.9:7009\r\n\r\n",
        guid(50).base32()
    );
    let ask = |net: &mut Net| {
        let browser = net.connect(raw::address(2), up);
        net.send(browser, request.as_bytes());
        net.run();
        String::from_utf8(net.take(browser)).unwrap()
    };
    assert!(ask(&mut net).starts_with("HTTP/1.1 410 "));
    net.message(firewalled, Kind::VENDOR, 1, 0, guid(50), &Message::PushProxyRequest { version: 2 }.encode());
    net.run();
    assert!(ask(&mut net).starts_with("HTTP/1.1 202 "));
    let pushes = net.of_kind(firewalled, Kind::PUSH);
    assert_eq!(avp::gnutella::push::Push::parse(&pushes[0].1).unwrap().to, "10.99.0.9:7009".parse().unwrap());
}

#[test]
fn virtual_peers_with_compression_understand_each_other_from_the_first_byte() {
    let mut net = Net::new();
    let a = net.peer(config());
    let b = net.peer(Config { connect: vec![address(1)], ..config() });
    net.advance(3 * SECOND);
    assert!(net.status(a).links[0].compressed && net.status(b).links[0].compressed);
    assert!(net.status(a).links[0].query_routing && net.status(b).links[0].query_routing);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever strangers and neighbours send, in whatever pieces: nothing panics, nobody else is lost.
    #[test]
    fn garbage_harms_nobody_else(steps in prop::collection::vec((0_usize..6, garbage()), 1_000)) {
        let mut net = Net::new();
        let up = net.peer(config());
        let good = net.sharing_leaf(1, up, "walrus.mp3");
        let asker = net.leaf(2, up);
        let mut n = 10;
        let mut bad: Vec<RawId> = Vec::new();
        for (who, bytes) in steps {
            while bad.len() < 6 {
                n += 1;
                bad.push(match bad.len() {
                    0 | 1 => net.leaf(n, up),
                    2 | 3 => net.ultrapeer(n, up),
                    _ => net.connect(raw::address(n), up),
                });
            }
            net.send(bad[who], &bytes);
            net.run();
            if net.is_closed(bad[who]) {
                // Whoever is closed is replaced; so are those behind it, which keeps the roles in order.
                for raw in bad.drain(who..) {
                    net.close(raw);
                }
                net.run();
            }
        }
        prop_assert!(!net.is_closed(good) && !net.is_closed(asker));
        net.messages(good);
        // An id that no garbage has had.
        net.query(asker, 4, 0, Guid([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0]), "walrus");
        prop_assert_eq!(net.of_kind(good, Kind::QUERY).len(), 1);
    }
}

/// Random bytes, or a message whose header is sound and whose payload is not.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop::sample::select(vec![0x00_u8, 0x01, 0x02, 0x30, 0x31, 0x32, 0x40, 0x80, 0x81, 0x55]);
    let framed = (kinds, any::<u8>(), 0_u8..8, 0_u8..4, prop::collection::vec(any::<u8>(), 0..60)).prop_map(
        |(kind, id, ttl, hops, payload)| {
            Header { guid: guid(id), kind: Kind(kind), ttl, hops, len: 0 }.frame(&payload)
        },
    );
    prop_oneof![4 => framed, 1 => prop::collection::vec(any::<u8>(), 1..80)]
}
