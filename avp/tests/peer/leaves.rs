//! What leaves of one virtual peer see of each other.

use crate::net::{Net, config};
use crate::raw::{guid, hit_payload};
use avp::Config;
use avp::gnutella::Kind;

#[test]
fn a_query_reaches_only_the_leaf_that_may_answer_and_its_hit_comes_back() {
    let mut net = Net::new();
    let up = net.peer(config());
    let asker = net.leaf(1, up);
    let walrus = net.sharing_leaf(2, up, "walrus concerto.mp3");
    let zebra = net.sharing_leaf(3, up, "zebra quartet.mp3");

    net.query(asker, 4, 0, guid(1), "Walrus concerto");
    let queries = net.of_kind(walrus, Kind::QUERY);
    assert_eq!(queries.len(), 1);
    let (header, payload) = &queries[0];
    assert_eq!((header.guid, header.ttl, header.hops), (guid(1), 3, 1));
    assert_eq!(payload, b"\x80\0Walrus concerto\0");
    assert!(net.messages(zebra).is_empty());
    assert!(net.messages(asker).is_empty());

    net.hit(walrus, 3, 0, guid(1), guid(50), "walrus concerto.mp3");
    let hits = net.of_kind(asker, Kind::QUERY_HIT);
    assert_eq!(hits.len(), 1);
    assert_eq!((hits[0].0.guid, hits[0].0.hops), (guid(1), 1));
    assert!(hits[0].0.ttl >= 1);
    assert_eq!(hits[0].1, hit_payload(guid(50), "walrus concerto.mp3"));
    assert!(net.messages(zebra).is_empty());
    assert_eq!(net.metric(up, "avp_relayed_messages_total", &[("kind", "query_hit")]), 1.0);
}

#[test]
fn an_old_leafs_query_without_flags_and_hops_is_served() {
    let mut net = Net::new();
    let up = net.peer(config());
    let (answer, old) =
        net.shake(1, up, "User-Agent: MLDonkey/3.2.1\r\nX-Query-Routing: 0.1\r\nX-Ultrapeer: False\r\n");
    assert!(answer.starts_with("GNUTELLA/0.6 200"), "{answer}");
    let sharer = net.sharing_leaf(2, up, "walrus concerto.mp3");
    let neighbour = net.ultrapeer(3, up);
    net.message(old, Kind::QUERY, 1, 0, guid(1), b"\0\0avp walrus\0urn:\0");
    net.message(old, Kind::QUERY, 1, 0, guid(2), b"\x94\0concerto\0");
    net.message(old, Kind::QUERY, 1, 0, guid(3), b"\x80\0    \0");
    net.run();
    let asked = net.of_kind(neighbour, Kind::QUERY);
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].1, b"\x80\0avp walrus\0urn:\0", "marked, so that strict peers answer");
    assert_eq!(asked[1].1, b"\x90\0concerto\0", "hits come back this way, not by datagram");
    assert_eq!(net.of_kind(sharer, Kind::QUERY).len(), 1);
}

#[test]
fn an_old_neighbours_query_is_marked_on_its_way_too() {
    let mut net = Net::new();
    let up = net.peer(config());
    let old = net.connect(crate::raw::address(1), up);
    net.send(old, b"GNUTELLA CONNECT/0.4\n\n");
    net.run();
    net.take(old);
    let (sharer, neighbour) = (net.sharing_leaf(2, up, "walrus concerto.mp3"), net.ultrapeer(3, up));
    net.message(old, Kind::QUERY, 5, 0, guid(1), b"\0\0concerto\0");
    net.run();
    for raw in [sharer, neighbour] {
        assert_eq!(net.of_kind(raw, Kind::QUERY)[0].1, b"\x80\0concerto\0");
    }
}

#[test]
fn a_hit_whose_hops_are_used_up_still_reaches_a_leaf() {
    let mut net = Net::new();
    let up = net.peer(config());
    let (asker, neighbour, other) = (net.leaf(1, up), net.ultrapeer(2, up), net.ultrapeer(3, up));
    net.query(asker, 4, 0, guid(1), "walrus");
    net.query(other, 3, 1, guid(2), "walrus");
    for query in [1, 2] {
        net.hit(neighbour, 0, 5, guid(query), guid(50), "walrus.mp3");
    }
    let hits = net.of_kind(asker, Kind::QUERY_HIT);
    assert_eq!((hits.len(), hits[0].0.ttl), (1, 1));
    assert!(net.of_kind(other, Kind::QUERY_HIT).is_empty(), "a neighbour is not the end of the way");
    net.hit(neighbour, 200, 3, guid(2), guid(50), "walrus.mp3");
    let hits = net.of_kind(other, Kind::QUERY_HIT);
    assert_eq!((hits[0].0.ttl, hits[0].0.hops), (11, 4), "the bound on hops and TTL together");
}

#[test]
fn a_leaf_without_query_routing_gets_every_query() {
    let mut net = Net::new();
    let up = net.peer(config());
    let (_, blind) = net.shake(1, up, "X-Ultrapeer: False\r\n");
    let (routed, asker) = (net.leaf(2, up), net.leaf(3, up));
    net.query(asker, 4, 0, guid(1), "walrus");
    assert_eq!(net.of_kind(blind, Kind::QUERY).len(), 1);
    assert_eq!(
        net.of_kind(routed, Kind::QUERY).len(),
        0,
        "who could have sent a table and has none has no files"
    );
}

#[test]
fn slots_that_are_taken_are_refused_with_hosts_to_try() {
    let mut net = Net::new();
    let up = net.peer(Config { leaves: 1, ..config() });
    let _neighbour = net.ultrapeer(9, up);
    let leaf = net.leaf(1, up);
    let (answer, raw) = net.shake(2, up, "X-Ultrapeer: False\r\n");
    assert!(answer.starts_with("GNUTELLA/0.6 503 "), "{answer}");
    assert!(answer.contains("X-Try-Ultrapeers: 10.99.0.9:7009\r\n"), "{answer}");
    assert!(net.is_closed(raw));
    net.close(leaf);
    net.run();
    net.leaf(2, up);
    assert_eq!(net.metric(up, "avp_refused_total", &[("reason", "leaves_full")]), 1.0);
}
