//! Handshakes as real peers write them, in both roles.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::gnutella::Guid;
use crate::link::Features;
use crate::link::terms::USER_AGENT_BYTES_MAX;

const GTK_LEAF: &str = "GNUTELLA CONNECT/0.6\r\n\
    Node: 100.64.77.2:6347\r\n\
    Remote-IP: 100.64.77.1\r\n\
    User-Agent: gtk-gnutella/1.2.3-14-ga331a-dirty (2024-03-03; Topless; Linux x86_64)\r\n\
    Pong-Caching: 0.1\r\n\
    Bye-Packet: 0.1\r\n\
    GGEP: 0.5\r\n\
    GUID: d99a3102bcb3da2b5303b3b587639cc1\r\n\
    Vendor-Message: 0.2\r\n\
    X-Query-Routing: 0.2\r\n\
    X-Requeries: False\r\n\
    Upgrade: TLS/1.0\r\n\
    Accept-Encoding: deflate\r\n\
    X-Token: ZlvE5ZLmz4m8dsfKJKeLug2Px2b1vQw9/+ZD; 9Pg=\r\n\
    X-Live-Since: Sun, 02 Jun 2024 01:03:13 +0000\r\n\
    X-Ultrapeer: False\r\n\
    X-Dynamic-Querying: 0.1\r\n\
    X-Ultrapeer-Query-Routing: 0.1\r\n\
    X-Degree: 32\r\n\
    X-Max-TTL: 4\r\n\
    X-Guess: 0.2\r\n\
    X-Features: tls/1.0, browse/1.0, sflag/0.1, HSEP/0.2\r\n\r\n";

const MLDONKEY_LEAF: &str = "GNUTELLA CONNECT/0.6\r\n\
    User-Agent: MLDonkey/3.2.1.git\r\n\
    X-Max-TTL: 4\r\n\
    Vendor-Message: 0.1\r\n\
    X-Query-Routing: 0.1\r\n\
    X-Ultrapeer: False\r\n\
    X-Ultrapeer-Needed: True\r\n\
    Listen-IP: 100.64.79.2:6366\r\n\
    Remote-IP: 100.64.77.1\r\n\
    X-My-Address: 100.64.79.2:6366\r\n\r\n";

const BUN_LEAF: &str = "GNUTELLA CONNECT/0.6\r\n\
    User-Agent: GnutellaBun/1.0.0\r\n\
    Listen-IP: 100.64.78.2:6360\r\n\
    X-Max-TTL: 4\r\n\
    X-Ultrapeer: False\r\n\
    X-Query-Routing: 0.2\r\n\
    Accept-Encoding: deflate\r\n\
    Pong-Caching: 0.1\r\n\
    GGEP: 0.5\r\n\
    Bye-Packet: 0.1\r\n\
    Remote-IP: 100.64.77.1\r\n\
    Upgrade: TLS/1.0\r\n\r\n";

const LIMEWIRE_LEAF: &str = "GNUTELLA CONNECT/0.6\r\n\
    X-Max-TTL: 3\r\n\
    X-Dynamic-Querying: 0.1\r\n\
    X-Requeries: false\r\n\
    X-Query-Routing: 0.1\r\n\
    User-Agent: LimeWire/@version@\r\n\
    Vendor-Message: 0.2\r\n\
    X-Ultrapeer-Query-Routing: 0.1\r\n\
    GGEP: 0.5\r\n\
    Listen-IP: 100.64.80.2:6370\r\n\
    Accept-Encoding: deflate\r\n\
    Pong-Caching: 0.1\r\n\
    X-Ultrapeer: False\r\n\
    X-Guess: 0.1\r\n\
    X-Degree: 32\r\n\
    X-Locale-Pref: en\r\n\
    Remote-IP: 100.64.77.1\r\n\r\n";

const GTK_WELCOME: &str = "GNUTELLA/0.6 200 OK\r\n\
    User-Agent: gtk-gnutella/1.2.3-14-ga331a-dirty (2024-03-03; Topless; Linux x86_64)\r\n\
    Pong-Caching: 0.1\r\n\
    Bye-Packet: 0.1\r\n\
    GGEP: 0.5\r\n\
    GUID: 9729310248d8ffd0b72ff6861ab3025b\r\n\
    Vendor-Message: 0.2\r\n\
    Remote-IP: 100.64.80.2\r\n\
    X-Ultrapeer: True\r\n\
    X-Requeries: False\r\n\
    Accept-Encoding: deflate\r\n\
    Content-Encoding: deflate\r\n\
    X-Ultrapeer-Needed: True\r\n\
    X-Query-Routing: 0.1\r\n\
    X-Ultrapeer-Query-Routing: 0.1\r\n\
    X-Degree: 46\r\n\
    X-Max-TTL: 4\r\n\
    X-Dynamic-Querying: 0.1\r\n\
    X-Ext-Probes: 0.1\r\n\
    X-Guess: 0.2\r\n\
    X-Live-Since: Sun, 02 Jun 2024 01:03:14 +0000\r\n\
    X-Features: tls/1.0, browse/1.0, sflag/0.1, HSEP/0.2\r\n\r\n";

const LIMEWIRE_WELCOME: &str = "GNUTELLA/0.6 200 OK\r\n\
    Pong-Caching: 0.1\r\n\
    X-Ultrapeer-Needed: false\r\n\
    Accept-Encoding: deflate\r\n\
    X-Requeries: false\r\n\
    X-Locale-Pref: en\r\n\
    X-Guess: 0.1\r\n\
    X-Max-TTL: 3\r\n\
    Vendor-Message: 0.2\r\n\
    X-Ultrapeer-Query-Routing: 0.1\r\n\
    X-Query-Routing: 0.1\r\n\
    Listen-IP: 100.64.80.2:6370\r\n\
    X-Ext-Probes: 0.1\r\n\
    Remote-IP: 100.64.78.30\r\n\
    GGEP: 0.5\r\n\
    X-Dynamic-Querying: 0.1\r\n\
    X-Degree: 32\r\n\
    User-Agent: LimeWire/@version@\r\n\
    X-Ultrapeer: True\r\n\
    X-Try-Ultrapeers: 100.64.77.5:6350\r\n\r\n";

/// Lets in what proposes itself, or what the test says.
struct Door {
    answer: Result<Option<Role>, Refusal>,
    tries: Vec<SocketAddr>,
    judged: Vec<(Role, bool)>,
}

impl Door {
    fn open() -> Self {
        Self { answer: Ok(None), tries: Vec::new(), judged: Vec::new() }
    }

    fn with(answer: Result<Option<Role>, Refusal>) -> Self {
        Self { answer, ..Self::open() }
    }
}

impl Gate for Door {
    fn judge(&mut self, proposal: &Proposal<'_>) -> Result<Admission, Refusal> {
        self.judged.push((proposal.role, proposal.dialled));
        self.answer.map(|role| Admission { role: role.unwrap_or(proposal.role), ultrapeer_needed: true })
    }
    fn ultrapeers_to_try(&mut self, into: &mut Vec<SocketAddr>) {
        into.extend(&self.tries);
    }
    fn census(&mut self, asker: IpAddr) -> Option<Census> {
        (asker == IpAddr::from([9, 9, 9, 9])).then(|| Census {
            ultrapeers: vec![([1, 2, 3, 4], 6346).into(), ([1, 2, 3, 5], 6347).into()],
            leaves: vec![([4, 3, 2, 1], 1).into()],
        })
    }
}

fn identity() -> Identity {
    Identity {
        user_agent: "eep/0.1".into(),
        listen: Some(([100, 64, 77, 9], 6346).into()),
        guid: Guid::from_hex(b"0102030405060708ff0a0b0c0d0e0f00").unwrap(),
        live_since_s: 1_717_290_193,
        degree: 32,
        max_ttl: 4,
        compression: true,
    }
}

fn remote() -> SocketAddr {
    ([100, 64, 77, 2], 41_789).into()
}

/// What came of a handshake, in a form that can be compared.
#[derive(Debug, PartialEq)]
enum Outcome {
    Waiting,
    Agreed(Box<Terms>, Vec<u8>),
    Http(Box<Block>, Vec<u8>),
    Ended(Failure),
}

/// Feeds chunks to a handshake: its outcome, and all that it wrote.
fn feed(handshake: &mut Handshake, chunks: &[&[u8]], door: &mut Door) -> (Outcome, String) {
    let mut out = Vec::new();
    let mut outcome = Outcome::Waiting;
    for (i, chunk) in chunks.iter().enumerate() {
        let after = || chunks[i + 1..].concat();
        outcome = match handshake.receive(chunk, &identity(), door, &mut out) {
            Progress::Waiting => continue,
            Progress::Agreed { terms, rest } => Outcome::Agreed(terms, [rest, &after()].concat()),
            Progress::Http { head, rest } => Outcome::Http(Box::new(head), [rest, &after()].concat()),
            Progress::Ended(failure) => Outcome::Ended(failure),
        };
        break;
    }
    (outcome, String::from_utf8(out).unwrap())
}

fn accept(stream: &str, door: &mut Door) -> (Outcome, String) {
    feed(&mut Handshake::accept(Instant(0), remote()), &[stream.as_bytes()], door)
}

fn dial(stream: &str, door: &mut Door) -> (Outcome, String, Handshake) {
    let mut request = Vec::new();
    let mut handshake = Handshake::dial(Instant(0), remote(), &identity(), &mut request);
    let (outcome, out) = feed(&mut handshake, &[stream.as_bytes()], door);
    (outcome, out, handshake)
}

fn agreed(outcome: Outcome) -> (Terms, Vec<u8>) {
    let Outcome::Agreed(terms, rest) = outcome else { panic!("{outcome:?}") };
    (*terms, rest)
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn a_gtk_gnutella_leaf_comes_in_compressed_both_ways() {
    let stream = [GTK_LEAF, "GNUTELLA/0.6 200 OK\r\nContent-Encoding: deflate\r\n\r\nrest"].concat();
    let (outcome, reply) = accept(&stream, &mut Door::open());
    let (terms, rest) = agreed(outcome);
    assert_eq!(rest, b"rest");
    let all = [Features::GGEP, Features::BYE, Features::VENDOR_MESSAGES];
    assert_eq!(
        terms,
        Terms {
            role: Role::Leaf,
            dialled: false,
            inflate: true,
            deflate: true,
            max_ttl: 4,
            degree: 32,
            features: all.into_iter().fold(Features::NONE, |f, g| f.with(g, true)),
            query_routing: Some(Version::new(0, 2)),
            ultrapeer_query_routing: Some(Version::new(0, 1)),
            user_agent: "gtk-gnutella/1.2.3-14-ga331a-dirty (2024-03-03; Topless; Linux x86_64)".into(),
            listen: Some(([100, 64, 77, 2], 6347).into()),
            seen_as: Some([100, 64, 77, 1].into()),
            guid: Guid::from_hex(b"d99a3102bcb3da2b5303b3b587639cc1"),
        }
    );
    assert!(reply.starts_with("GNUTELLA/0.6 200 OK\r\n") && reply.ends_with("\r\n\r\n"));
    for (name, value) in [
        ("User-Agent", "eep/0.1"),
        ("Listen-IP", "100.64.77.9:6346"),
        ("Remote-IP", "100.64.77.2"),
        ("Accept-Encoding", "deflate"),
        ("Content-Encoding", "deflate"),
        ("GGEP", "0.5"),
        ("Pong-Caching", "0.1"),
        ("Bye-Packet", "0.1"),
        ("Vendor-Message", "0.2"),
        ("X-Ultrapeer", "True"),
        ("X-Ultrapeer-Needed", "True"),
        ("X-Query-Routing", "0.2"),
        ("X-Ultrapeer-Query-Routing", "0.1"),
        ("X-Dynamic-Querying", "0.1"),
        ("X-Ext-Probes", "0.1"),
        ("X-Degree", "32"),
        ("X-Max-TTL", "4"),
        ("X-Live-Since", "Sun, 02 Jun 2024 01:03:13 +0000"),
        ("GUID", "0102030405060708ff0a0b0c0d0e0f00"),
    ] {
        assert_eq!(field(&reply, name), Some(value), "{name}");
    }
    assert_eq!(field(&reply, "Upgrade"), None, "no TLS is offered");
    assert_eq!(field(&reply, "X-Try-Ultrapeers"), None);
}

#[test]
fn who_compresses_unasked_does_not_come_in() {
    let plain = Identity { compression: false, ..identity() };
    let mut handshake = Handshake::accept(Instant(0), remote());
    let mut out = Vec::new();
    let stream = format!("{GTK_LEAF}GNUTELLA/0.6 200 OK\r\nContent-Encoding: deflate\r\n\r\n");
    let progress = handshake.receive(stream.as_bytes(), &plain, &mut Door::open(), &mut out);
    let Progress::Ended(failure) = progress else { panic!("{progress:?}") };
    assert_eq!(failure.ending, Ending::HandshakeMalformed);
    assert!(!String::from_utf8(out).unwrap().contains("-Encoding"));
}

#[test]
fn an_mldonkey_leaf_comes_in_uncompressed_and_is_answered_in_its_version() {
    let stream = [MLDONKEY_LEAF, "GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: False\r\n\r\n\x01\x02"].concat();
    let (outcome, reply) = accept(&stream, &mut Door::open());
    let (terms, rest) = agreed(outcome);
    assert_eq!((terms.role, terms.inflate, terms.deflate), (Role::Leaf, false, false));
    assert_eq!(terms.query_routing, Some(Version::new(0, 1)));
    assert!(terms.routes_queries());
    assert_eq!(terms.listen, Some(([100, 64, 79, 2], 6366).into()));
    assert!(!terms.features.has(Features::BYE));
    assert_eq!(rest, [1, 2]);
    assert_eq!(field(&reply, "X-Query-Routing"), Some("0.1"));
    assert_eq!(field(&reply, "Content-Encoding"), None);
}

#[test]
fn bun_and_limewire_leaves_come_in() {
    let stream =
        [BUN_LEAF, "GNUTELLA/0.6 200 OK\r\nRemote-IP: 100.64.77.1\r\nContent-Encoding: deflate\r\n\r\n"];
    let (terms, _) = agreed(accept(&stream.concat(), &mut Door::open()).0);
    assert_eq!((&*terms.user_agent, terms.role, terms.inflate), ("GnutellaBun/1.0.0", Role::Leaf, true));
    assert_eq!((terms.guid, terms.degree), (None, 0));
    let stream = [LIMEWIRE_LEAF, "GNUTELLA/0.6 200 OK\r\nContent-Encoding: deflate\r\n\r\n"].concat();
    let (terms, _) = agreed(accept(&stream, &mut Door::open()).0);
    assert_eq!((terms.max_ttl, terms.role, terms.deflate), (3, Role::Leaf, true));
}

#[test]
fn a_dialled_gtk_gnutella_ultrapeer_agrees() {
    let mut request = Vec::new();
    let _ = Handshake::dial(Instant(0), remote(), &identity(), &mut request);
    let request = String::from_utf8(request).unwrap();
    assert!(request.starts_with("GNUTELLA CONNECT/0.6\r\n") && request.ends_with("\r\n\r\n"));
    assert_eq!(field(&request, "X-Ultrapeer"), Some("True"));
    assert_eq!(field(&request, "Content-Encoding"), None);
    let mut door = Door::open();
    let (outcome, confirmation, _) = dial(&[GTK_WELCOME, "xyz"].concat(), &mut door);
    let (terms, rest) = agreed(outcome);
    assert_eq!(
        (terms.role, terms.dialled, terms.inflate, terms.deflate),
        (Role::Ultrapeer, true, true, true)
    );
    assert_eq!((terms.degree, &rest[..]), (46, &b"xyz"[..]));
    assert!(terms.routes_queries());
    assert!(confirmation.starts_with("GNUTELLA/0.6 200 OK\r\n") && confirmation.ends_with("\r\n\r\n"));
    assert_eq!(field(&confirmation, "Content-Encoding"), Some("deflate"));
    assert_eq!(door.judged, [(Role::Ultrapeer, true)]);
}

#[test]
fn a_dialled_limewire_ultrapeer_is_insisted_on_and_its_hosts_are_learnt() {
    let (outcome, confirmation, mut handshake) = dial(LIMEWIRE_WELCOME, &mut Door::open());
    let (terms, _) = agreed(outcome);
    assert_eq!((terms.role, terms.max_ttl, terms.inflate, terms.deflate), (Role::Ultrapeer, 3, false, true));
    assert_eq!(field(&confirmation, "X-Ultrapeer"), Some("True"));
    assert_eq!(handshake.take_learnt(), [SocketAddr::from(([100, 64, 77, 5], 6350))]);
    assert_eq!(handshake.take_learnt(), []);
}

#[test]
fn a_dialled_leaf_is_a_leaf() {
    let reply = GTK_LEAF.replace("GNUTELLA CONNECT/0.6", "GNUTELLA/0.6 200 OK");
    let (terms, _) = agreed(dial(&reply, &mut Door::open()).0);
    assert_eq!((terms.role, terms.dialled), (Role::Leaf, true));
}

#[test]
fn an_old_peer_is_answered_in_its_own_words() {
    let mut door = Door::open();
    let (outcome, reply) = accept("GNUTELLA CONNECT/0.4\n\n\x07", &mut door);
    let (terms, rest) = agreed(outcome);
    assert_eq!((reply.as_str(), rest), ("GNUTELLA OK\n\n", vec![7]));
    assert_eq!((terms.role, terms.routes_queries()), (Role::Old, false));
    assert_eq!(door.judged, [(Role::Old, false)]);
    let (outcome, reply) = accept("GNUTELLA CONNECT/0.4\n\n", &mut Door::with(Err(Refusal::OldFull)));
    assert!(matches!(outcome, Outcome::Ended(Failure { refusal: Some(Refusal::OldFull), .. })));
    assert_eq!(reply, "");
    let modern = "GNUTELLA CONNECT/0.6\r\nUser-Agent: x\r\n\r\nGNUTELLA/0.6 200 OK\r\n\r\n";
    assert_eq!(agreed(accept(modern, &mut Door::open()).0).0.role, Role::Old);
}

#[test]
fn a_refused_peer_is_told_why_and_where_to_go() {
    for (refusal, line) in [
        (Refusal::LeavesFull, "GNUTELLA/0.6 503 Too many leaf connections"),
        (Refusal::OldFull, "GNUTELLA/0.6 403 Normal nodes refused"),
        (Refusal::Duplicate, "GNUTELLA/0.6 409 Already connected"),
    ] {
        let mut door = Door::with(Err(refusal));
        door.tries = (0..40).map(|i| SocketAddr::from(([1, 2, 3, i], 6346))).collect();
        let (outcome, reply) = accept(GTK_LEAF, &mut door);
        assert_eq!(
            outcome,
            Outcome::Ended(Failure { ending: Ending::Refused, refusal: Some(refusal), declined: None })
        );
        assert_eq!(reply.lines().next(), Some(line));
        let tries = field(&reply, "X-Try-Ultrapeers").unwrap();
        assert!(tries.starts_with("1.2.3.0:6346,1.2.3.1:6346"));
        assert_eq!(tries.split(',').count(), TRY_HOSTS_MAX);
    }
    let (_, confirmation, _) = dial(GTK_WELCOME, &mut Door::with(Err(Refusal::Duplicate)));
    assert!(confirmation.starts_with("GNUTELLA/0.6 409 "));
}

#[test]
fn an_ultrapeer_is_led_to_be_a_leaf_or_leaves() {
    let ultrapeer = GTK_LEAF.replace("X-Ultrapeer: False", "X-Ultrapeer: True");
    let mut handshake = Handshake::accept(Instant(0), remote());
    let mut door = Door::with(Ok(Some(Role::Leaf)));
    let (outcome, reply) = feed(&mut handshake, &[ultrapeer.as_bytes()], &mut door);
    assert_eq!(outcome, Outcome::Waiting);
    assert_eq!(field(&reply, "X-Ultrapeer-Needed"), Some("False"));
    assert_eq!(handshake.reserved(), Some(Role::Leaf));
    let gives_in = b"GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: False\r\n\r\n";
    let (terms, _) = agreed(feed(&mut handshake, &[gives_in], &mut door).0);
    assert_eq!(terms.role, Role::Leaf);
    assert_eq!(handshake.reserved(), None);

    let insists = [&ultrapeer, "GNUTELLA/0.6 200 OK\r\n\r\n"].concat();
    let (outcome, _) = accept(&insists, &mut Door::with(Ok(Some(Role::Leaf))));
    assert!(matches!(outcome, Outcome::Ended(Failure { refusal: Some(Refusal::UltrapeersFull), .. })));
}

#[test]
fn a_peer_that_declines_is_heard_out() {
    let (outcome, _) = accept(&[GTK_LEAF, "GNUTELLA/0.6 403 No\r\n\r\n"].concat(), &mut Door::open());
    assert_eq!(
        outcome,
        Outcome::Ended(Failure { ending: Ending::Declined, refusal: None, declined: Some(403) })
    );
    let busy = "GNUTELLA/0.6 503 Too many leaf connections (300 max)\r\n\
        X-Try-Ultrapeers: 1.2.3.4:6346, 5.6.7.8:1 2024-01-01, nonsense, [2a00::1]:80\r\n\r\n";
    let (outcome, out, mut handshake) = dial(busy, &mut Door::open());
    assert!(matches!(outcome, Outcome::Ended(Failure { declined: Some(503), .. })));
    assert_eq!(out, "");
    assert_eq!(handshake.take_learnt().len(), 3);
}

#[test]
fn the_hosts_that_a_peer_names_are_bounded() {
    let many: Vec<String> = (0..200).map(|i| format!("1.2.3.{i}:6346")).collect();
    let busy =
        format!("GNUTELLA/0.6 503 Busy\r\nX-Try: {0}\r\nX-Try-Ultrapeers: {0}\r\n\r\n", many.join(","));
    let (_, _, mut handshake) = dial(&busy, &mut Door::open());
    assert_eq!(handshake.take_learnt().len(), LEARNT_HOSTS_MAX);
}

#[test]
fn a_crawler_learns_who_is_here_unless_it_asks_too_often() {
    let crawl = "GNUTELLA CONNECT/0.6\r\nUser-Agent: crawl\r\nCrawler: 0.1\r\n\r\n";
    let mut handshake = Handshake::accept(Instant(0), ([9, 9, 9, 9], 5).into());
    let (outcome, reply) = feed(&mut handshake, &[crawl.as_bytes()], &mut Door::open());
    assert!(matches!(outcome, Outcome::Ended(Failure { ending: Ending::Crawled, .. })));
    assert_eq!(field(&reply, "Peers"), Some("1.2.3.4:6346,1.2.3.5:6347"));
    assert_eq!(field(&reply, "Leaves"), Some("4.3.2.1:1"));
    let (_, reply) = accept(crawl, &mut Door::open());
    assert!(reply.starts_with("GNUTELLA/0.6 429 "));
}

#[test]
fn http_on_the_same_port_is_handed_on() {
    let request = "GET /gnutella/push-proxy?ServerId=x HTTP/1.1\r\nHost: h\r\n\r\n";
    let (outcome, reply) = accept(&[request, "body"].concat(), &mut Door::open());
    let Outcome::Http(head, rest) = outcome else { panic!("{outcome:?}") };
    assert!(matches!(head.start, Start::Request { target, .. } if target.ends_with("ServerId=x")));
    assert_eq!((head.headers.get("host"), &rest[..]), (Some("h"), &b"body"[..]));
    assert_eq!(reply, "");
}

#[test]
fn who_speaks_something_else_is_not_waited_for() {
    for garbage in ["\x16\x03\x01\x02", "SSH-2.0-x", "POST / HTTP/1.1\r\n", "\n\n", "\0"] {
        let (outcome, _) = accept(garbage, &mut Door::open());
        assert_eq!(outcome, Outcome::Ended(Ending::NotGnutella.into()), "{garbage:?}");
    }
    let (outcome, ..) = dial("HTTP/1.1 400 Bad Request\r\n\r\n", &mut Door::open());
    assert_eq!(outcome, Outcome::Ended(Ending::NotGnutella.into()));
    let (outcome, _) = accept("GNUTELLA HELLO\r\n\r\n", &mut Door::open());
    assert_eq!(outcome, Outcome::Ended(Ending::HandshakeMalformed.into()));
    let (outcome, _) =
        accept(&format!("GNUTELLA CONNECT/0.6\r\nX: {}", "y".repeat(HEAD_BYTES_MAX)), &mut Door::open());
    assert_eq!(outcome, Outcome::Ended(Ending::HandshakeTooLong.into()));
}

proptest! {
    #[test]
    fn cuts_do_not_matter(
        which in 0usize..4,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        bytewise: bool,
    ) {
        let confirmation = "GNUTELLA/0.6 200 OK\r\nContent-Encoding: deflate\r\n\r\n\x00\x01\x02";
        let stream = [[GTK_LEAF, MLDONKEY_LEAF, BUN_LEAF, LIMEWIRE_LEAF][which], confirmation].concat();
        let bytes = stream.as_bytes();
        let mut at: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
        if bytewise {
            at = (1..bytes.len()).collect();
        }
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let chunks: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        let mut handshake = Handshake::accept(Instant(0), remote());
        prop_assert_eq!(feed(&mut handshake, &chunks, &mut Door::open()), accept(&stream, &mut Door::open()));
    }

    #[test]
    fn any_bytes_are_borne(head in 0usize..4, tail in prop::collection::vec(any::<u8>(), 0..600), dialled: bool) {
        let head = ["GNUTELLA CONNECT/0.6\r\n", "GNUTELLA/0.6 200\r\n", "GNUTELLA CONNECT/0.4", ""][head];
        let mut out = Vec::new();
        let mut handshake = if dialled {
            Handshake::dial(Instant(0), remote(), &identity(), &mut out)
        } else {
            Handshake::accept(Instant(0), remote())
        };
        for chunk in [head.as_bytes(), &tail, b"\r\n\r\n", b"GNUTELLA/0.6 200\r\n\r\n", b"more"] {
            if let Progress::Agreed { terms, .. } = handshake.receive(chunk, &identity(), &mut Door::open(), &mut out) {
                prop_assert!(terms.user_agent.len() <= USER_AGENT_BYTES_MAX);
                break;
            }
        }
    }
}
