//! The raw peers among themselves: what the other tests rely on.

use std::net::SocketAddrV4;

use eep_tests::capture::{Tap, tshark};
use eep_tests::loopback::Loopback;
use eep_tests::peer::{Config, Peer, SharedFile, transfer};
use eep_tests::wait::until;
use eep_tests::wire::{Message, Query, kind};

#[test]
fn a_search_finds_a_file_and_downloads_it() {
    for compress in [false, true] {
        let net = Loopback::claim();
        let file = SharedFile::filled("walrus concerto.mp3", 100_000);
        let sharing = Config { compress, ..Config::ultrapeer(net.ip()) }.sharing(vec![file.clone()]);
        let (there, here) =
            (Peer::start(sharing), Peer::start(Config { compress, ..Config::leaf(net.ip()) }));
        let (there, here) = (there.expect("a port"), here.expect("a port"));

        let link = here.dial(there.address().into()).expect("a relation");
        assert_eq!(link.compressed(), (compress, compress));
        let query = here.search(&link, &Query::words("concerto walrus")).expect("sent");
        let hit = link.expect_hit(query);
        assert_eq!(hit.files[0].name, file.name);

        let got =
            transfer::download(hit.address.into(), &format!("/uri-res/N2R?{}", file.urn)).expect("a file");
        assert!(got == *file.bytes, "the same bytes");
        assert_eq!(there.served(), 1);
        assert!(until("the table", || link.table_has("walrus").then_some(true)));
    }
}

#[test]
fn a_firewalled_peer_hands_its_file_over_after_a_push() {
    let net = Loopback::claim();
    let file = SharedFile::filled("zebra quartet.mp3", 5_000);
    let sharing = Config { firewalled: true, ..Config::leaf(net.ip()) }.sharing(vec![file.clone()]);
    let (there, here) = (Peer::start(sharing).expect("a port"), Peer::start(Config::ultrapeer(net.ip())));
    let here = here.expect("a port");

    there.dial(here.address().into()).expect("a relation");
    let link = until("the relation", || here.accepted().pop());
    let query = here.search(&link, &Query::words("zebra")).expect("sent");
    let hit = link.expect_hit(query);
    assert!(hit.push);

    here.request_push(&link, &hit).expect("sent");
    let giv = until("a GIV", || here.take_giv());
    assert!(giv.line.starts_with("GIV 0:"), "{}", giv.line);
    let got = transfer::download_on(giv.stream, "here", "/get/0/zebra%20quartet.mp3").expect("a file");
    assert!(got == *file.bytes, "the same bytes");
}

#[test]
fn the_dissector_reads_what_raw_peers_send() {
    let net = Loopback::claim();
    let file = SharedFile::filled("walrus concerto.mp3", 1_000);
    let there = Peer::start(Config::ultrapeer(net.ip()).sharing(vec![file])).expect("a port");
    let here = Peer::start(Config::leaf(net.ip()).sharing(vec![SharedFile::filled("zebra.txt", 10)]));
    let here = here.expect("a port");
    let tap = Tap::start(SocketAddrV4::new(net.ip(), 0), there.address()).expect("a port");

    let link = here.dial(tap.address().into()).expect("a relation");
    let query = here.search(&link, &Query::words("walrus")).expect("sent");
    let hit = link.expect_hit(query);
    link.ping(here.fresh_guid());
    here.request_push(&link, &hit).expect("sent");
    link.ping(here.fresh_guid());

    let folder = tempfile::tempdir().expect("a folder");
    let capture = folder.path().join("session.pcap");
    tap.save(&capture).expect("a file");
    let reading = tshark::read(&capture, there.address().port());
    assert_eq!(reading.complaints, Vec::<String>::new());
    for kind in [kind::QRP, kind::QUERY, kind::HIT, kind::PING, kind::PONG, kind::PUSH] {
        assert!(reading.kinds.contains(&kind), "{kind:#04x} in {:?}", reading.kinds);
    }
    assert_eq!(reading.searches, ["walrus"]);
    assert_eq!(reading.names, ["walrus concerto.mp3"]);
}

#[test]
fn the_dissector_complains_about_a_broken_hit() {
    let net = Loopback::claim();
    let there = Peer::start(Config::ultrapeer(net.ip())).expect("a port");
    let here = Peer::start(Config::leaf(net.ip())).expect("a port");
    let tap = Tap::start(SocketAddrV4::new(net.ip(), 0), there.address()).expect("a port");

    let link = here.dial(tap.address().into()).expect("a relation");
    // Announces a file and has none.
    let broken = Message::new(here.fresh_guid(), kind::HIT, 2, vec![1; 11]);
    link.send(&broken).expect("sent");
    link.ping(here.fresh_guid());

    let folder = tempfile::tempdir().expect("a folder");
    let capture = folder.path().join("session.pcap");
    tap.save(&capture).expect("a file");
    assert!(!tshark::read(&capture, there.address().port()).complaints.is_empty());
}
