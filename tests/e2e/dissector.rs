//! Wireshark's Gnutella dissector reads what a node and its peers say to each other, and finds nothing wrong.

use std::net::SocketAddrV4;

use eep_tests::capture::{Tap, tshark};
use eep_tests::loopback::Loopback;
use eep_tests::peer::{Config, Peer, SharedFile};
use eep_tests::subject::{Shell, Subject};
use eep_tests::wait::until;
use eep_tests::wire::{Query, kind};
use serde_json::json;

#[test]
fn a_session_with_every_kind_of_message() {
    let net = Loopback::claim();
    let dialled = Peer::start(Config::ultrapeer(net.ip())).expect("a port");
    // What the node says to a neighbour that it dials is looked at too.
    let far_tap = Tap::start(SocketAddrV4::new(net.ip(), 0), dialled.address()).expect("a port");
    let connect = json!({ "connect": [far_tap.address().to_string()] });
    let subject = Subject::start(Shell::Node, &net, &connect);
    let tap = Tap::start(SocketAddrV4::new(net.ip(), 0), subject.address_v4()).expect("a port");

    let (near_file, far_file) =
        (SharedFile::filled("walrus concerto.mp3", 99), SharedFile::filled("zebra.mp3", 9));
    let firewalled = Config { firewalled: true, ..Config::leaf(net.ip()) };
    let sharing = Peer::start(firewalled.sharing(vec![near_file.clone()])).expect("a port");
    let there = sharing.dial(tap.address().into()).expect("a relation");
    let neighbour = Peer::start(Config::ultrapeer(net.ip()).sharing(vec![far_file.clone()])).expect("a port");
    let between = neighbour.dial(tap.address().into()).expect("a relation");
    let searching = Peer::start(Config::leaf(net.ip())).expect("a port");
    let here = searching.dial(tap.address().into()).expect("a relation");
    let dialled_link = until("the dialled neighbour", || dialled.accepted().pop());

    until("the leaf's words at the neighbours", || {
        (between.table_has("walrus") && dialled_link.table_has("walrus")).then_some(())
    });
    let search = |text: &str| {
        let mut guids = Vec::new();
        until("a hit", || {
            guids.push(searching.search(&here, &Query::words(text)).expect("sent"));
            let limit = std::time::Duration::from_secs(1);
            here.find(limit, |m| m.kind == kind::HIT && guids.contains(&m.guid)).ok()
        })
    };
    let hit = eep_tests::wire::Hit::decode(&search("walrus").payload).expect("a well-formed hit");
    search("zebra");
    searching.request_push(&here, &hit).expect("sent");
    until("a GIV", || searching.take_giv());
    for (peer, link) in
        [(&sharing, &there), (&neighbour, &between), (&searching, &here), (&dialled, &dialled_link)]
    {
        link.ping(peer.fresh_guid());
    }

    let folder = tempfile::tempdir().expect("a folder");
    let mut kinds = Vec::new();
    let mut names = Vec::new();
    for (tap, port) in [(&tap, subject.address_v4().port()), (&far_tap, dialled.address().port())] {
        let capture = folder.path().join("session.pcap");
        tap.save(&capture).expect("a file");
        let reading = tshark::read(&capture, port);
        assert_eq!(reading.complaints, Vec::<String>::new());
        kinds.extend(reading.kinds);
        names.extend(reading.names);
    }
    for kind in [kind::PING, kind::PONG, kind::QRP, kind::VENDOR, kind::PUSH, kind::QUERY, kind::HIT] {
        assert!(kinds.contains(&kind), "{kind:#04x} among {kinds:02x?}");
    }
    // From its sharer to the node, and from the node to its searcher.
    assert!(names.iter().filter(|n| **n == near_file.name).count() >= 2, "{names:?}");
    assert!(names.iter().filter(|n| **n == far_file.name).count() >= 2, "{names:?}");
}
