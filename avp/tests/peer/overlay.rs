//! What neighbours see of a virtual peer: routed, pruned and dynamic queries, tables, pushes.

use crate::net::{Net, address, config};
use crate::raw::{self, guid};
use avp::Config;
use avp::gnutella::push::Push;
use avp::gnutella::qrp::{Hashes, Receiver, Table};
use avp::gnutella::vendor::{HITS_ENOUGH, Message, messages_supported};
use avp::gnutella::{Guid, Kind, query};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_neighbours_query_goes_to_matching_leaves_whatever_its_ttl_and_on_while_hops_are_left() {
    let mut net = Net::new();
    let up = net.peer(config());
    let leaf = net.sharing_leaf(1, up, "walrus concerto.mp3");
    let (a, b) = (net.ultrapeer(2, up), net.ultrapeer(3, up));
    net.share(b, "nothing here");

    net.query(a, 3, 1, guid(1), "walrus");
    assert_eq!(net.of_kind(leaf, Kind::QUERY).len(), 1);
    let on = net.of_kind(b, Kind::QUERY);
    assert_eq!((on[0].0.ttl, on[0].0.hops), (2, 2), "with hops left, the table does not matter");
    assert!(net.of_kind(a, Kind::QUERY).is_empty(), "never back");

    net.query(a, 1, 2, guid(2), "walrus");
    assert_eq!(net.of_kind(leaf, Kind::QUERY).len(), 1);
    assert!(net.of_kind(b, Kind::QUERY).is_empty());
}

#[test]
fn the_last_hop_is_taken_only_to_neighbours_that_may_answer() {
    let mut net = Net::new();
    let up = net.peer(config());
    let (a, has, has_not, unknown) =
        (net.ultrapeer(1, up), net.ultrapeer(2, up), net.ultrapeer(3, up), net.ultrapeer(4, up));
    net.share(has, "walrus concerto.mp3");
    net.share(has_not, "zebra quartet.mp3");
    net.query(a, 2, 1, guid(1), "walrus");
    assert_eq!(net.of_kind(has, Kind::QUERY).len(), 1);
    assert_eq!(net.of_kind(has_not, Kind::QUERY).len(), 0);
    assert_eq!(net.of_kind(unknown, Kind::QUERY).len(), 1, "who sent no table may have anything");
}

#[test]
fn duplicates_are_dropped_unless_their_ttl_is_higher() {
    let mut net = Net::new();
    let up = net.peer(config());
    let leaf = net.sharing_leaf(1, up, "walrus.mp3");
    let (a, b, c) = (net.ultrapeer(2, up), net.ultrapeer(3, up), net.ultrapeer(4, up));
    net.query(a, 2, 1, guid(1), "walrus");
    net.query(a, 2, 1, guid(1), "walrus");
    net.query(b, 2, 1, guid(1), "walrus");
    assert_eq!(
        net.metric(up, "avp_dropped_messages_total", &[("kind", "query"), ("reason", "duplicate")]),
        2.0
    );
    assert_eq!(net.of_kind(leaf, Kind::QUERY).len(), 1);
    assert_eq!(net.of_kind(c, Kind::QUERY).len(), 1);
    net.messages(a);
    net.query(b, 3, 1, guid(1), "walrus");
    assert_eq!(net.of_kind(c, Kind::QUERY).len(), 1, "an extended search goes on");
    assert_eq!(net.of_kind(a, Kind::QUERY).len(), 0, "but not to where it came from at first");
    assert_eq!(net.of_kind(leaf, Kind::QUERY).len(), 0, "but leaves have seen it");
}

#[test]
fn a_ttl_beyond_the_limit_is_cut_and_an_absurd_one_dropped() {
    let mut net = Net::new();
    let up = net.peer(Config { max_ttl: 3, ..config() });
    let (a, b) = (net.ultrapeer(1, up), net.ultrapeer(2, up));
    net.query(a, 7, 1, guid(1), "walrus");
    assert_eq!(net.of_kind(b, Kind::QUERY)[0].0.ttl, 2);
    net.query(a, 200, 1, guid(2), "walrus");
    net.query(a, 3, 200, guid(3), "walrus");
    net.query(a, 0, 1, guid(4), "walrus");
    assert!(net.of_kind(b, Kind::QUERY).is_empty());
    assert_eq!(net.metric(up, "avp_dropped_messages_total", &[("reason", "hops")]), 3.0);
}

#[test]
fn a_push_finds_the_servent_whose_hit_went_by() {
    let mut net = Net::new();
    let up = net.peer(config());
    let sharer = net.sharing_leaf(1, up, "walrus.mp3");
    let neighbour = net.ultrapeer(2, up);
    net.query(neighbour, 2, 1, guid(1), "walrus");
    net.hit(sharer, 1, 0, guid(1), guid(50), "walrus.mp3");
    let hit = net.of_kind(neighbour, Kind::QUERY_HIT).remove(0);
    assert!(hit.0.ttl >= 2, "a leaf's low TTL is raised");

    let push = |servent: Guid| {
        Push { servent, index: 7, to: "10.99.0.2:7002".parse().unwrap(), extensions: &[] }.encode()
    };
    net.message(neighbour, Kind::PUSH, 4, 0, guid(2), &push(guid(50)));
    net.message(neighbour, Kind::PUSH, 4, 0, guid(3), &push(guid(51)));
    net.run();
    let pushes = net.of_kind(sharer, Kind::PUSH);
    assert_eq!(pushes.len(), 1);
    assert_eq!(pushes[0].1, push(guid(50)));
    assert_eq!(
        net.metric(up, "avp_dropped_messages_total", &[("kind", "push"), ("reason", "no_route")]),
        1.0
    );
}

#[test]
fn a_push_proxy_acknowledges_and_knows_the_way_before_any_hit() {
    let mut net = Net::new();
    let up = net.peer(config());
    let firewalled = net.leaf(1, up);
    let neighbour = net.ultrapeer(2, up);
    let ask = Message::PushProxyRequest { version: 2 }.encode();
    net.message(firewalled, Kind::VENDOR, 1, 0, guid(50), &ask);
    net.run();
    let acks = net.of_kind(firewalled, Kind::VENDOR);
    assert_eq!(acks.len(), 1);
    assert_eq!(acks[0].0.guid, guid(50));
    net.message(firewalled, Kind::VENDOR, 1, 0, guid(50), &Message::PushProxyRequest { version: 1 }.encode());
    net.run();
    let old = net.of_kind(firewalled, Kind::VENDOR);
    let port = avp::gnutella::vendor::ProxyAddr::Port(net.address(up).port());
    assert_eq!(Message::parse(&old[0].1), Some(Message::PushProxyAck { at: port }));
    let at = match Message::parse(&acks[0].1) {
        Some(Message::PushProxyAck { at: avp::gnutella::vendor::ProxyAddr::Full(at) }) => at,
        other => panic!("{other:?}"),
    };
    assert_eq!(std::net::SocketAddr::from(at), net.address(up));
    let push = Push { servent: guid(50), index: 0, to: at, extensions: &[] }.encode();
    net.message(neighbour, Kind::PUSH, 4, 0, guid(3), &push);
    net.run();
    assert_eq!(net.of_kind(firewalled, Kind::PUSH).len(), 1);
}

#[test]
fn neighbours_learn_what_the_leaves_have_and_what_they_lose() {
    let mut net = Net::new();
    let up = net.peer(config());
    let (_, neighbour) = net.shake(1, up, &format!("X-Ultrapeer: True\r\n{}", raw::MODERN));
    let (mut receiver, mut table) = (Receiver::default(), Table::new(10));
    let mut follow = |net: &mut Net, table: &mut Table| {
        for (_, payload) in net.of_kind(neighbour, Kind::QRP) {
            receiver.receive(&payload, table).expect("a sound update");
        }
    };
    follow(&mut net, &mut table);
    assert_eq!((table.log2(), table.present()), (16, 0));

    let leaf = net.sharing_leaf(2, up, "walrus concerto.mp3");
    net.advance(2 * SECOND);
    follow(&mut net, &mut table);
    assert!(table.matches(&Hashes::of_text(b"walrus concerto")));
    assert!(!table.matches(&Hashes::of_text(b"zebra")));

    net.close(leaf);
    net.advance(40 * SECOND);
    follow(&mut net, &mut table);
    assert_eq!(table.present(), 0);
}

#[test]
fn two_virtual_peers_find_each_other_and_prune_by_table() {
    let mut net = Net::new();
    let a = net.peer(config());
    let b = net.peer(Config { connect: vec![address(1)], ..config() });
    net.advance(2 * SECOND);
    assert_eq!(net.status(a).ultrapeers.used, 1);
    assert_eq!(net.status(b).links[0].role, "ultrapeer");
    assert!(net.status(b).links[0].dialled);

    let sharer = net.sharing_leaf(1, a, "walrus concerto.mp3");
    let asker = net.leaf(2, b);
    net.advance(3 * SECOND);
    net.query(asker, 4, 0, guid(1), "walrus concerto");
    net.query(asker, 4, 0, guid(2), "zebra");
    let queries = net.of_kind(sharer, Kind::QUERY);
    assert_eq!(queries.len(), 1);
    assert_eq!(queries[0].0.hops, 2);
    net.hit(sharer, 3, 0, guid(1), guid(50), "walrus concerto.mp3");
    assert_eq!(net.of_kind(asker, Kind::QUERY_HIT).len(), 1);
}

#[test]
fn two_that_dial_each_other_at_once_keep_one_relation() {
    let mut net = Net::new();
    let a = net.peer(Config { connect: vec![address(2)], ..config() });
    let b = net.peer(Config { connect: vec![address(1)], ..config() });
    net.advance(100 * SECOND);
    assert_eq!((net.status(a).links.len(), net.status(b).links.len()), (1, 1));
    assert_ne!(net.status(a).links[0].dialled, net.status(b).links[0].dialled);
    assert_eq!(net.metric(a, "avp_joined_total", &[]), 2.0, "once each, and then no more");
}

#[test]
fn a_peer_of_before_ultrapeers_gets_queries_with_hops_left_and_its_hits_go_back() {
    let mut net = Net::new();
    let up = net.peer(config());
    let old = net.connect(raw::address(1), up);
    net.send(old, b"GNUTELLA CONNECT/0.4\n\n");
    net.run();
    assert!(net.take(old).starts_with(b"GNUTELLA OK\n\n"));
    let neighbour = net.ultrapeer(2, up);
    net.query(neighbour, 3, 1, guid(1), "walrus");
    assert_eq!(net.of_kind(old, Kind::QUERY).len(), 1);
    net.hit(old, 5, 0, guid(1), guid(50), "walrus.mp3");
    assert_eq!(net.of_kind(neighbour, Kind::QUERY_HIT).len(), 1);
    net.query(old, 7, 0, guid(2), "walrus");
    assert_eq!(net.of_kind(neighbour, Kind::QUERY)[0].0.ttl, 4);
}

#[test]
fn a_dynamic_query_probes_then_widens_and_ends_with_enough_results() {
    let mut net = Net::new();
    let up = net.peer(Config { query_results: 3, ..config() });
    let neighbours: Vec<_> = (10..20).map(|n| net.ultrapeer(n, up)).collect();
    for n in &neighbours[1..] {
        net.share(*n, "something else");
    }
    net.share(neighbours[0], "walrus.mp3");
    let asker = net.leaf(1, up);
    let asked = |net: &mut Net| -> Vec<(usize, u8)> {
        let mut asked = Vec::new();
        for (i, n) in neighbours.iter().enumerate() {
            asked.extend(net.of_kind(*n, Kind::QUERY).iter().map(|(h, _)| {
                assert_eq!(h.hops, 1);
                (i, h.ttl)
            }));
        }
        asked
    };
    net.query(asker, 4, 0, guid(1), "walrus");
    assert_eq!(asked(&mut net), [(0, 1)], "who has it is probed first");
    net.advance(3 * SECOND);
    let next = asked(&mut net);
    assert_eq!(next.len(), 1);
    assert!(next[0].0 != 0 && next[0].1 > 1, "{next:?}");
    for n in 0..3 {
        net.hit(neighbours[0], 3, 0, guid(1), guid(50 + n), "walrus.mp3");
    }
    net.advance(60 * SECOND);
    assert_eq!(asked(&mut net), []);
    assert_eq!(net.of_kind(asker, Kind::QUERY_HIT).len(), 3);
    assert_eq!(net.metric(up, "avp_dynamic_queries_ended_total", &[("reason", "satisfied")]), 1.0);
    assert_eq!(net.metric(up, "avp_response_seconds", &[]), 1.0);
}

#[test]
fn a_guiding_leaf_is_asked_how_much_it_keeps_and_can_stop_the_search() {
    let mut net = Net::new();
    let up = net.peer(config());
    let neighbours: Vec<_> = (10..30).map(|n| net.ultrapeer(n, up)).collect();
    let asker = net.leaf(1, up);
    let ids = [avp::gnutella::vendor::Id::new(b"BEAR", 11, 1)];
    net.message(asker, Kind::VENDOR, 1, 0, Guid::ZERO, &messages_supported(&ids));
    let guided = query::Builder::new("walrus").flags(query::Flags::LEAF_GUIDED).finish();
    net.message(asker, Kind::QUERY, 4, 0, guid(1), &guided);
    net.run();
    let probed = neighbours.iter().find(|n| !net.of_kind(**n, Kind::QUERY).is_empty()).copied().unwrap();
    for n in 0..200 {
        net.hit(probed, 3, 0, guid(1), guid(n), "walrus.mp3");
    }
    net.advance(8 * SECOND);
    let asks = net.of_kind(asker, Kind::VENDOR);
    assert_eq!(Message::parse(&asks[0].1), Some(Message::QueryStatusRequest));
    assert_eq!(asks[0].0.guid, guid(1));
    assert_eq!(net.metric(up, "avp_dynamic_queries", &[]), 1.0, "200 hits, but the leaf has kept none");
    let enough = Message::QueryStatus { hits: HITS_ENOUGH }.encode();
    net.message(asker, Kind::VENDOR, 1, 0, guid(1), &enough);
    net.run();
    assert_eq!(net.metric(up, "avp_dynamic_queries_ended_total", &[("reason", "stopped")]), 1.0);
}

#[test]
fn an_id_that_comes_again_when_its_route_is_forgotten_does_no_harm() {
    let mut net = Net::new();
    let up = net.peer(Config { query_routes: 1_024, ..config() });
    let neighbours: Vec<_> = (10..14).map(|n| net.ultrapeer(n, up)).collect();
    let asker = net.leaf(1, up);
    net.query(asker, 4, 0, guid(1), "walrus");
    for n in 0..3_000_u16 {
        let mut other = guid(2);
        other.0[..2].copy_from_slice(&n.to_le_bytes());
        net.message(asker, Kind::QUERY, 4, 0, other, b"\x80\0\0\0");
    }
    net.advance(SECOND);
    net.query(asker, 4, 0, guid(1), "walrus");
    net.advance(60 * SECOND);
    assert_eq!(net.metric(up, "avp_dynamic_queries_begun_total", &[]), 1.0);
    assert_eq!(net.metric(up, "avp_dynamic_queries_ended_total", &[("reason", "exhausted")]), 1.0);
    for n in neighbours {
        assert_eq!(net.of_kind(n, Kind::QUERY).len(), 1);
    }
}
