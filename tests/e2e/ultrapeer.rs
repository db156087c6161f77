//! What ordinary peers get from the virtual peer, in a node and natively.

use std::net::UdpSocket;
use std::time::Duration;

use eep_tests::http;
use eep_tests::loopback::Loopback;
use eep_tests::peer::{Config, HandshakeError, Link, Peer, SharedFile, random_guid, transfer};
use eep_tests::subject::{Shell, Subject};
use eep_tests::wait::{PATIENCE, until};
use eep_tests::wire::{self, Guid, Message, Query, kind};
use serde_json::json;

/// Runs each scenario in both shells.
macro_rules! scenarios {
    ($($name:ident)*) => {
        mod in_a_node {
            $(#[test] fn $name() { super::$name(eep_tests::subject::Shell::Node); })*
        }
        mod natively {
            $(#[test] fn $name() { super::$name(eep_tests::subject::Shell::Native); })*
        }
    };
}

scenarios! {
    a_leafs_search_finds_a_file_on_another_leaf
    a_search_by_urn_finds_the_file
    a_firewalled_leaf_is_pushed
    compressed_links_carry_the_same
    a_query_goes_to_no_leaf_without_its_words
    tables_of_every_width_are_understood
    an_ultrapeer_neighbour_is_asked_and_asks
    it_dials_its_neighbours
    leaves_beyond_the_limit_are_refused_with_other_addresses
    a_leaf_that_relays_is_sent_off
    a_search_without_flags_is_served
    a_peer_of_version_0_4_is_served
    a_udp_ping_gets_hosts
    a_web_cache_client_gets_hosts
}

fn start(peer: Config) -> Peer {
    Peer::start(peer).expect("a port")
}

fn join(peer: &Peer, subject: &Subject) -> Link {
    peer.dial(subject.address()).expect("a relation")
}

/// Searches until there is a hit: a routing table takes effect when it has been read, which nothing announces.
fn search(peer: &Peer, link: &Link, query: &Query) -> wire::Hit {
    let mut guids: Vec<Guid> = Vec::new();
    until(&format!("a hit for {query:?}"), || {
        guids.push(peer.search(link, query).expect("sent"));
        let found = link.find(Duration::from_millis(500), |m| m.kind == kind::HIT && guids.contains(&m.guid));
        found.ok().map(|m| wire::Hit::decode(&m.payload).expect("a well-formed hit"))
    })
}

fn a_leafs_search_finds_a_file_on_another_leaf(shell: Shell) {
    let net = Loopback::claim();
    let subject = Subject::start(shell, &net, &json!({}));
    let file = SharedFile::filled("walrus concerto in g.mp3", 50_000);
    let sharing = start(Config::leaf(net.ip()).sharing(vec![file.clone()]));
    let _there = join(&sharing, &subject);
    let searching = start(Config::leaf(net.ip()));
    let here = join(&searching, &subject);

    let hit = search(&searching, &here, &Query::words("concerto walrus"));
    assert_eq!(hit.files[0].name, file.name);
    assert_eq!(hit.address, sharing.address());
    let got = transfer::download(hit.address.into(), &format!("/uri-res/N2R?{}", file.urn)).expect("a file");
    assert!(got == *file.bytes, "the same bytes");
    subject.expect_figure("avp_relayed_messages_total", &[("kind", "query")], 1.0);
    subject.expect_figure("avp_relayed_messages_total", &[("kind", "query_hit")], 1.0);
}

fn a_search_by_urn_finds_the_file(shell: Shell) {
    let net = Loopback::claim();
    let subject = Subject::start(shell, &net, &json!({}));
    let file = SharedFile::filled("zebra quartet.mp3", 1_000);
    let sharing = start(Config::leaf(net.ip()).sharing(vec![file.clone()]));
    let _there = join(&sharing, &subject);
    let searching = start(Config::leaf(net.ip()));
    let here = join(&searching, &subject);

    let hit = search(&searching, &here, &Query::urn(&file.urn));
    assert_eq!(hit.files[0].urn.as_deref(), Some(file.urn.as_str()));
}

fn a_firewalled_leaf_is_pushed(shell: Shell) {
    let net = Loopback::claim();
    let subject = Subject::start(shell, &net, &json!({}));
    let file = SharedFile::filled("ostrich fugue.mp3", 5_000);
    let firewalled = Config { firewalled: true, ..Config::leaf(net.ip()) }.sharing(vec![file.clone()]);
    let sharing = start(firewalled);
    let _there = join(&sharing, &subject);
    let searching = start(Config::leaf(net.ip()));
    let here = join(&searching, &subject);

    let hit = search(&searching, &here, &Query::words("ostrich"));
    assert!(hit.push);
    searching.request_push(&here, &hit).expect("sent");
    let giv = until("a GIV", || searching.take_giv());
    let got = transfer::download_on(giv.stream, "here", "/get/0/ostrich%20fugue.mp3").expect("a file");
    assert!(got == *file.bytes, "the same bytes");
}

fn compressed_links_carry_the_same(shell: Shell) {
    let net = Loopback::claim();
    let subject = Subject::start(shell, &net, &json!({}));
    let file = SharedFile::filled("gadget sprocket.bin", 1_000);
    let compressing = Config { compress: true, ..Config::leaf(net.ip()) }.sharing(vec![file.clone()]);
    let sharing = start(compressing);
    let there = join(&sharing, &subject);
    assert_eq!(there.compressed(), (true, true), "offered, so used: {:?}", there.headers());
    let searching = start(Config { compress: true, ..Config::leaf(net.ip()) });
    let here = join(&searching, &subject);

    let hit = search(&searching, &here, &Query::words("sprocket"));
    assert_eq!(hit.files[0].name, file.name);
}

fn a_query_goes_to_no_leaf_without_its_words(shell: Shell) {
    let net = Loopback::claim();
    let subject = Subject::start(shell, &net, &json!({}));
    let file = SharedFile::filled("polka flugel.mp3", 10);
    let sharing = start(Config::leaf(net.ip()).sharing(vec![file]));
    let there = join(&sharing, &subject);
    let other = start(Config::leaf(net.ip()).sharing(vec![SharedFile::filled("tango.mp3", 10)]));
    let elsewhere = join(&other, &subject);
    let searching = start(Config::leaf(net.ip()));
    let here = join(&searching, &subject);

    search(&searching, &here, &Query::words("polka"));
    assert!(!there.received(kind::QUERY).is_empty());
    // What was sent before this pong has arrived before it.
    elsewhere.ping(other.fresh_guid());
    assert_eq!(elsewhere.received(kind::QUERY), []);
}

fn tables_of_every_width_are_understood(shell: Shell) {
    let net = Loopback::claim();
    let subject = Subject::start(shell, &net, &json!({}));
    let searching = start(Config::leaf(net.ip()));
    let here = join(&searching, &subject);
    for (bits, entry_bits, zlib) in
        [(13, 1, true), (14, 2, false), (16, 4, true), (17, 8, true), (20, 4, true)]
    {
        let name = format!("marimba{bits}x{entry_bits}.mid");
        let mut config = Config::leaf(net.ip()).sharing(vec![SharedFile::filled(&name, 10)]);
        config.qrp = wire::QrpShape { bits, entry_bits, zlib };
        let sharing = start(config);
        let _there = join(&sharing, &subject);
        let hit = search(&searching, &here, &Query::words(&name[..name.len() - 4]));
        assert_eq!(hit.files[0].name, name);
    }
}

fn an_ultrapeer_neighbour_is_asked_and_asks(shell: Shell) {
    let net = Loopback::claim();
    let subject = Subject::start(shell, &net, &json!({}));
    let there = SharedFile::filled("kestrel merlin.txt", 10);
    let neighbour = start(Config::ultrapeer(net.ip()).sharing(vec![there.clone()]));
    let between = join(&neighbour, &subject);
    let here = SharedFile::filled("teal widgeon.txt", 10);
    let leaf = start(Config::leaf(net.ip()).sharing(vec![here.clone()]));
    let link = join(&leaf, &subject);

    // The leaf's search goes out.
    let hit = search(&leaf, &link, &Query::words("kestrel"));
    assert_eq!(hit.files[0].name, there.name);
    // The neighbour learns what the leaves have, and finds it there.
    until("the leaf's words in the table", || between.table_has("widgeon").then_some(()));
    let hit = search(&neighbour, &between, &Query::words("teal widgeon"));
    assert_eq!(hit.files[0].name, here.name);
}

fn it_dials_its_neighbours(shell: Shell) {
    let net = Loopback::claim();
    let neighbour = start(Config::ultrapeer(net.ip()));
    let connect = json!({ "connect": [neighbour.address().to_string()] });
    let subject = Subject::start(shell, &net, &connect);
    let link = until("the relation", || neighbour.accepted().pop());
    assert_eq!(link.headers().get("X-Ultrapeer").as_deref(), Some("True"));
    link.ping(neighbour.fresh_guid());
    subject.expect_figure("avp_links", &[("role", "ultrapeer")], 1.0);
}

fn leaves_beyond_the_limit_are_refused_with_other_addresses(shell: Shell) {
    let net = Loopback::claim();
    let subject = Subject::start(shell, &net, &json!({ "leaves": 1 }));
    let neighbour = start(Config::ultrapeer(net.ip()));
    let _between = join(&neighbour, &subject);
    let first = start(Config::leaf(net.ip()));
    let link = join(&first, &subject);
    let second = start(Config::leaf(net.ip()));
    match second.dial(subject.address()) {
        Err(HandshakeError::Refused(answer)) => {
            assert_eq!(answer.status(), Some(503), "{answer:?}");
            let others = answer.get("X-Try-Ultrapeers").unwrap_or_default();
            assert!(others.contains(&neighbour.address().to_string()), "{answer:?}");
        }
        other => panic!("a refusal, not {other:?}"),
    }
    link.ping(first.fresh_guid());
}

fn a_leaf_that_relays_is_sent_off(shell: Shell) {
    let net = Loopback::claim();
    let subject = Subject::start(shell, &net, &json!({}));
    let leaf = start(Config::leaf(net.ip()));
    let link = join(&leaf, &subject);
    let relayed =
        Message { hops: 1, ..Message::new(leaf.fresh_guid(), kind::QUERY, 3, Query::words("x").encode()) };
    link.send(&relayed).expect("sent");
    let bye = link.expect("Bye", |m| m.kind == kind::BYE);
    assert_eq!(wire::bye(&bye.payload).map(|(code, _)| code), Some(414));
    until("the end", || link.closed());
    subject.expect_figure("avp_ended_total", &[("reason", "violation")], 1.0);
}

/// As MLDonkey searches.
fn a_search_without_flags_is_served(shell: Shell) {
    let net = Loopback::claim();
    let subject = Subject::start(shell, &net, &json!({}));
    let sharing = start(Config::leaf(net.ip()).sharing(vec![SharedFile::filled("waltz.mp3", 10)]));
    let _there = join(&sharing, &subject);
    let searching = start(Config::leaf(net.ip()));
    let here = join(&searching, &subject);
    let hit = search(&searching, &here, &Query { flags: 0, ..Query::words("waltz") });
    assert_eq!(hit.files[0].name, "waltz.mp3");
}

fn a_peer_of_version_0_4_is_served(shell: Shell) {
    use std::io::{Read, Write};
    let net = Loopback::claim();
    let subject = Subject::start(shell, &net, &json!({}));
    let sharing = start(Config::leaf(net.ip()).sharing(vec![SharedFile::filled("rumba.mp3", 10)]));
    let there = join(&sharing, &subject);
    there.ping(sharing.fresh_guid());

    let mut old = std::net::TcpStream::connect(subject.address()).expect("a connection");
    old.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    old.write_all(b"GNUTELLA CONNECT/0.4\n\n").expect("sent");
    let mut welcome = [0; 13];
    old.read_exact(&mut welcome).expect("an answer");
    assert_eq!(&welcome, b"GNUTELLA OK\n\n");
    let (ping, query) = (random_guid(1), random_guid(2));
    old.write_all(&Message::new(ping, kind::PING, 7, Vec::new()).encode()).expect("sent");
    let search = Query { flags: 0, ..Query::words("rumba") };
    old.write_all(&Message::new(query, kind::QUERY, 7, search.encode()).encode()).expect("sent");
    let mut got = Vec::new();
    let (mut pong, mut hit) = (false, false);
    while !(pong && hit) {
        let mut chunk = [0; 1_024];
        let n = old.read(&mut chunk).expect("more");
        assert_ne!(n, 0, "still connected; pong {pong}, hit {hit}");
        got.extend_from_slice(&chunk[..n]);
        while let Ok(Some((message, len))) = Message::decode(&got) {
            pong |= message.kind == kind::PONG && message.guid == ping;
            hit |= message.kind == kind::HIT && message.guid == query;
            got.drain(..len);
        }
    }
}

fn a_udp_ping_gets_hosts(shell: Shell) {
    let net = Loopback::claim();
    let subject = Subject::start(shell, &net, &json!({}));
    let neighbour = start(Config::ultrapeer(net.ip()));
    let between = join(&neighbour, &subject);
    between.ping(neighbour.fresh_guid());

    let socket = UdpSocket::bind((net.ip(), 0)).expect("a port");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // GGEP with SCP 1: an ultrapeer's addresses are wanted.
    let asking = vec![0xc3, 0x83, b'S', b'C', b'P', 0x41, 0x01];
    let guid = random_guid(3);
    socket.send_to(&Message::new(guid, kind::PING, 1, asking).encode(), subject.address()).expect("sent");
    let mut got = [0; 2_048];
    let (n, from) = socket.recv_from(&mut got).expect("an answer");
    assert_eq!(from, subject.address());
    let (pong, _) = Message::decode(&got[..n]).expect("well-formed").expect("whole");
    assert_eq!((pong.kind, pong.guid), (kind::PONG, guid));
    let mut packed = neighbour.address().ip().octets().to_vec();
    packed.extend_from_slice(&neighbour.address().port().to_le_bytes());
    let has = |what: &[u8]| pong.payload.windows(what.len()).any(|w| w == what);
    assert!(has(b"IPP") && has(&packed), "the neighbour's address in {:02x?}", pong.payload);
}

fn a_web_cache_client_gets_hosts(shell: Shell) {
    let net = Loopback::claim();
    let subject = Subject::start(shell, &net, &json!({}));
    let neighbour = start(Config::ultrapeer(net.ip()));
    let between = join(&neighbour, &subject);
    between.ping(neighbour.fresh_guid());

    let answer =
        http::get(subject.address(), "/?get=1&net=gnutella&client=TEST&version=1").expect("an answer");
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{body}");
    let line = format!("H|{}|", neighbour.address());
    assert!(body.lines().any(|l| l.starts_with(&line)), "{line} in {body}");
    let answer = http::get(subject.address(), "/?hostfile=1").expect("an answer");
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(body.lines().any(|l| l == neighbour.address().to_string()), "{body}");
}
