//! gtk-gnutella, the strictest peer in use, where one is installed: see `eep_tests::gtkg`.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use eep_tests::gtkg::{self, GtkGnutella, Mode, Options};
use eep_tests::loopback::Loopback;
use eep_tests::namespace::Namespace;
use eep_tests::node::GNUTELLA_PORT;
use eep_tests::peer::{Config, Link, Peer, SharedFile, transfer};
use eep_tests::subject::{Shell, Subject};
use eep_tests::wait::{until, until_within};
use eep_tests::wire::{Hit, Query, kind};
use serde_json::json;

/// Public, so that it takes none of them for private; nobody's, so that no packet goes anywhere.
const fn ip(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(100, 64, 77, host)
}

const fn at(host: u8) -> SocketAddrV4 {
    SocketAddrV4::new(ip(host), GNUTELLA_PORT)
}

/// A network with some hosts in it, for the whole test.
fn network() -> Namespace {
    Namespace::enter(&[ip(1), ip(2), ip(3), ip(4), ip(5)])
}

/// A node's virtual peer at a host.
fn node(host: u8, config: &serde_json::Value) -> Subject {
    Subject::start_at(Shell::Node, &Loopback::claim(), ip(host), config)
}

/// The real peer at a host.
fn gtk(binary: &Path, host: u8, options: &Options) -> GtkGnutella {
    GtkGnutella::start(binary, at(host), options)
}

const BINARY: &str = "EEP_TEST_GTK_GNUTELLA";
const BINARY_GUI: &str = "EEP_TEST_GTK_GNUTELLA_GUI";

/// Searches until there is a hit. Repeats of a text on one link are ignored by it, so only a few are made.
fn search(peer: &Peer, link: &Link, text: &str) -> Hit {
    let mut guids = Vec::new();
    let found = until_within(Duration::from_secs(60), &format!("a hit for {text:?}"), || {
        guids.push(peer.search(link, &Query::words(text)).expect("sent"));
        link.find(Duration::from_secs(5), |m| m.kind == kind::HIT && guids.contains(&m.guid)).ok()
    });
    Hit::decode(&found.payload).expect("a well-formed hit")
}

fn fetch(hit: &Hit, file: &SharedFile) {
    assert_eq!(hit.files[0].urn.as_deref(), Some(file.urn.as_str()));
    let got = transfer::download(hit.address.into(), &format!("/uri-res/N2R?{}", file.urn)).expect("a file");
    assert!(got == *file.bytes, "the same bytes");
}

#[test]
fn as_a_leaf_it_joins_a_raw_ultrapeer_and_shares() {
    let Some(binary) = gtkg::binary(BINARY) else { return };
    let _network = network();
    let file = SharedFile::filled("zebra quartet symphony.mp3", 300_000);
    let options = Options { files: vec![file.clone()], ..Options::new(Mode::Leaf) };
    let leaf = gtk(&binary, 1, &options);
    let ultrapeer = Peer::start(Config::ultrapeer(ip(2))).expect("a port");

    leaf.connect(ultrapeer.address());
    let link = until("the relation", || ultrapeer.accepted().pop());
    until("its table", || link.table_has("zebra").then_some(()));
    fetch(&search(&ultrapeer, &link, "zebra symphony"), &file);
}

#[test]
fn as_a_leaf_it_joins_a_node_and_is_found_there() {
    let Some(binary) = gtkg::binary(BINARY) else { return };
    let _network = network();
    let file = SharedFile::filled("walrus nocturne.mp3", 200_000);
    let options = Options { files: vec![file.clone()], ..Options::new(Mode::Leaf) };
    let leaf = gtk(&binary, 1, &options);
    let subject = node(2, &json!({}));

    let neighbour = leaf.connect(subject.address_v4());
    assert!(neighbour.flags.starts_with('U'), "a leaf's link to an ultrapeer: {neighbour:?}");
    let searching = Peer::start(Config::leaf(ip(3))).expect("a port");
    let link = searching.dial(subject.address()).expect("a relation");
    fetch(&search(&searching, &link, "walrus nocturne"), &file);
    subject.expect_figure("avp_links", &[("role", "leaf")], 2.0);
}

/// A leaf of each ultrapeer, with a file that the other's leaf searches for and downloads.
fn search_both_ways(subject: &Subject, ultrapeer: &GtkGnutella) {
    let (near_file, far_file) =
        (SharedFile::filled("teal widgeon.txt", 5_000), SharedFile::filled("kestrel merlin.txt", 6_000));
    let near = Peer::start(Config::leaf(ip(3)).sharing(vec![near_file.clone()])).expect("a port");
    let near_link = near.dial(subject.address()).expect("a relation");
    let far = Peer::start(Config::leaf(ip(4)).sharing(vec![far_file.clone()])).expect("a port");
    let far_link = far.dial(ultrapeer.address().into()).expect("a relation");

    fetch(&search(&near, &near_link, "kestrel merlin"), &far_file);
    fetch(&search(&far, &far_link, "teal widgeon"), &near_file);
    assert_eq!((near.served(), far.served()), (1, 1));
}

#[test]
fn as_an_ultrapeer_it_dials_a_node_and_they_search_both_ways() {
    let Some(binary) = gtkg::binary(BINARY) else { return };
    let _network = network();
    let ultrapeer = gtk(&binary, 1, &Options::new(Mode::Ultrapeer));
    let subject = node(2, &json!({}));
    let neighbour = ultrapeer.connect(subject.address_v4());
    assert!(neighbour.flags.starts_with('U'), "a link between ultrapeers: {neighbour:?}");
    subject.expect_figure("avp_links", &[("role", "ultrapeer")], 1.0);
    search_both_ways(&subject, &ultrapeer);
}

#[test]
fn as_an_ultrapeer_it_is_dialled_by_a_node_and_they_search_both_ways() {
    let Some(binary) = gtkg::binary(BINARY) else { return };
    let _network = network();
    let ultrapeer = gtk(&binary, 1, &Options::new(Mode::Ultrapeer));
    let subject = node(2, &json!({ "connect": [ultrapeer.address().to_string()] }));
    subject.expect_figure("avp_links", &[("role", "ultrapeer")], 1.0);
    search_both_ways(&subject, &ultrapeer);
}

#[test]
fn it_searches_through_a_node_and_downloads_what_another_one_shares() {
    let Some(binary) = gtkg::binary(BINARY) else { return };
    let Some(gui) = gtkg::binary(BINARY_GUI) else { return };
    let _network = network();
    let file = SharedFile::filled("ostrich fugue waltz.mp3", 150_000);
    let sharing = Options { files: vec![file.clone()], ..Options::new(Mode::Leaf) };
    let searching = Options { gui: true, ..Options::new(Mode::Leaf) };
    let here = gtk(&gui, 1, &searching);
    let there = gtk(&binary, 3, &sharing);
    let subject = node(2, &json!({}));

    there.connect(subject.address_v4());
    here.connect(subject.address_v4());
    // The node knows what it shares when a leaf of ours finds it.
    let probing = Peer::start(Config::leaf(ip(4))).expect("a port");
    let link = probing.dial(subject.address()).expect("a relation");
    search(&probing, &link, "ostrich waltz");

    let found = here.search("ostrich fugue");
    assert_eq!((found.from, found.size), (there.address(), file.bytes.len()));
    let urn = found.urn.expect("a hit with its urn");
    assert_eq!(urn, file.urn);
    let got = here.download(&urn, found.from, &file.name, found.size);
    assert!(got == *file.bytes, "the same bytes");
}
