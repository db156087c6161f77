//! One instance of a virtual peer takes over from another: nobody notices.

use crate::net::{Net, PeerId, RawId, address, config};
use crate::raw::{self, MODERN, guid, hit_payload};
use avp::application::monitoring::Sample;
use avp::gnutella::push::Push;
use avp::gnutella::qrp::{Table, sender};
use avp::gnutella::vendor::{Id, Message, messages_supported};
use avp::gnutella::{Guid, Header, Kind, query};
use avp::peer::RestoreError;
use avp::{Config, Instant};
use proptest::prelude::*;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

const WORDS: [&str; 8] = ["walrus", "zebra", "concerto", "quartet", "archive", "recording", "sonata", "lute"];
/// A scripted ultrapeer that virtual peers dial.
const DIALLED: u16 = 900;
/// How many of them there are.
const DIALLED_MAX: u16 = 5;
/// From one state that is compared to the next, in steps.
const SAVE_EVERY: usize = 20;
/// Gauges of the tables that a state has.
const TABLES: [(&str, &[(&str, &str)]); 9] = [
    ("avp_routes", &[("kind", "query")]),
    ("avp_routes", &[("kind", "push")]),
    ("avp_dynamic_queries", &[]),
    ("avp_dialling", &[]),
    ("avp_openings", &[]),
    ("avp_known_hosts", &[]),
    ("avp_cached_pongs", &[]),
    ("avp_links", &[("role", "leaf")]),
    ("avp_links", &[("role", "ultrapeer")]),
];

/// Scripted peers of all kinds around two virtual ones, all of whose steps follow from one seed. What they have to say lies
/// in queues of bytes and leaves in pieces of any size.
struct Bustle {
    net: Net,
    up: PeerId,
    dice: ChaCha12Rng,
    peers: Vec<Scripted>,
    next: u16,
    /// What anybody got, and who was closed, step by step.
    seen: Vec<Vec<(usize, Vec<u8>, bool)>>,
    /// What the peer has asked of its host by the end of each step, in its order.
    asked: Vec<(u64, Instant)>,
    /// What it saved at the end of some of them.
    saved: Vec<Vec<u8>>,
    /// The most that each of the tables had.
    most: [f64; TABLES.len()],
}

struct Scripted {
    raw: RawId,
    ultrapeer: bool,
    to_say: Vec<u8>,
    table: Option<Table>,
    full: bool,
}

fn busy_config() -> Config {
    Config {
        ultrapeers: 8,
        leaves: 8,
        old_peers: 2,
        connect: (0..DIALLED_MAX)
            .map(|n| raw::address(DIALLED + n))
            .chain([raw::address(1), address(2)])
            .collect(),
        query_routes: 1_024,
        route_seconds: 60,
        query_results: 4,
        dynamic_queries: 24,
        held_bytes: 1 << 20,
        large_table_bytes: 40_000,
        ..config()
    }
}

impl Bustle {
    fn new(seed: u64) -> Self {
        let mut net = Net::new();
        (0..DIALLED_MAX).for_each(|n| net.listen(raw::address(DIALLED + n)));
        let up = net.peer(busy_config());
        net.peer(config());
        let dice = ChaCha12Rng::seed_from_u64(seed);
        let (seen, asked, saved) = (Vec::new(), Vec::new(), Vec::new());
        Self { net, up, dice, peers: Vec::new(), next: 0, seen, asked, saved, most: [0.0; TABLES.len()] }
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.dice.next_u32() as usize % sides
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.roll(WORDS.len())]
    }

    fn begin(&mut self, hello: &str, ultrapeer: bool) {
        self.next += 1;
        let raw = self.net.connect(raw::address(self.next), self.up);
        let to_say = hello.replace("LISTEN", &raw::address(self.next).to_string()).into_bytes();
        self.peers.push(Scripted { raw, ultrapeer, to_say, table: None, full: false });
    }

    fn join(&mut self) {
        let what = self.roll(12);
        let yes = "GNUTELLA/0.6 200 OK\r\n";
        let hello = |up: &str, more: &str, last: &str| {
            format!(
                "GNUTELLA CONNECT/0.6\r\nListen-IP: LISTEN\r\nX-Ultrapeer: {up}\r\n{MODERN}{more}\r\n{yes}{last}\r\n"
            )
        };
        let hello = match what {
            0..=4 => hello("False", "", ""),
            5 => hello("False", "Accept-Encoding: deflate\r\n", "Content-Encoding: deflate\r\n"),
            6..=8 => hello("True", &format!("GUID: {}\r\n", guid(self.next as u8)), ""),
            9 => "GNUTELLA CONNECT/0.4\n\n".to_owned(),
            10 => "GNUTELLA CONNECT/0.6\r\nCrawler: 1\r\n\r\n".to_owned(),
            _ => "GET /gwc?hostfile=1 HTTP/1.1\r\n\r\n".to_owned(),
        };
        self.begin(&hello, (6..=8).contains(&what));
    }

    /// Whom the virtual peers have dialled, each sooner or later.
    fn answer_dials(&mut self) {
        for n in 0..DIALLED_MAX {
            if self.roll(4) > 0 {
                continue;
            }
            let Some(raw) = self.net.accept(raw::address(DIALLED + n)) else { continue };
            let to_say = format!("GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: True\r\n{MODERN}\r\n").into_bytes();
            self.peers.push(Scripted { raw, ultrapeer: true, to_say, table: None, full: false });
        }
    }

    /// Somebody has something to say.
    fn speak(&mut self, who: usize) {
        let (hops, ttl) = if self.peers[who].ultrapeer { (self.roll(3), 1 + self.roll(4)) } else { (0, 3) };
        let id = guid(self.roll(60) as u8);
        let say = |kind, payload: &[u8]| {
            Header { guid: id, kind, ttl: ttl as u8, hops: hops as u8, len: 0 }.frame(payload)
        };
        let near = |kind, payload: &[u8]| Header { guid: id, kind, ttl: 1, hops: 0, len: 0 }.frame(payload);
        let bytes = match self.roll(16) {
            0..=4 => {
                let text = format!("{} {}", self.word(), self.word());
                let flags = if self.roll(2) == 0 { query::Flags::LEAF_GUIDED } else { query::Flags::MARK };
                say(Kind::QUERY, &query::Builder::new(&text).flags(flags).finish())
            }
            5..=7 => say(Kind::QUERY_HIT, &hit_payload(guid(100 + self.roll(9) as u8), self.word())),
            8 => {
                let push = Push {
                    servent: guid(100 + self.roll(9) as u8),
                    index: 1,
                    to: SocketAddrV4::new([10, 99, 0, 1].into(), 7_001),
                    extensions: &[],
                };
                say(Kind::PUSH, &push.encode())
            }
            9 => say(Kind::PING, &[]),
            10 => {
                let pong = avp::gnutella::pong::Pong {
                    addr: SocketAddrV4::new(
                        [10, 98, self.roll(9) as u8, 1 + self.roll(99) as u8].into(),
                        6_346,
                    ),
                    files: 5,
                    kbytes: 1_024,
                    extensions: &[],
                };
                say(Kind::PONG, &pong.encode())
            }
            11 => near(Kind::VENDOR, &messages_supported(&[Id::new(b"BEAR", 4, 1), Id::new(b"BEAR", 11, 1)])),
            12 => match self.roll(4) {
                0 => near(Kind::VENDOR, &Message::HopsFlow { hops: self.roll(4) as u8 }.encode()),
                1 => near(Kind::VENDOR, &Message::PushProxyRequest { version: 2 }.encode()),
                2 => near(Kind::VENDOR, &Message::TcpConnectBack { port: 7_000 }.encode()),
                _ => near(Kind::VENDOR, &Message::QueryStatus { hits: self.roll(60) as u16 }.encode()),
            },
            // Too long: skipped.
            13 if self.roll(4) == 0 => near(Kind::QUERY, &[9; 700]),
            _ => return self.tell_table(who),
        };
        self.peers[who].to_say.extend(bytes);
    }

    /// A query routing table, or what has changed in it.
    fn tell_table(&mut self, who: usize) {
        let log2 = [14, 16, 16, 16, 17, 18][self.roll(6)];
        let mut table = self.peers[who].table.clone().unwrap_or_else(|| Table::new(log2));
        for _ in 0..1 + self.roll(40) {
            let number = self.roll(500);
            table.add_name(format!("{} number{number}", self.word()).as_bytes());
        }
        for payload in sender::updates(self.peers[who].table.as_ref(), &table) {
            let header = Header { guid: Guid::ZERO, kind: Kind::QRP, ttl: 1, hops: 0, len: 0 };
            self.peers[who].to_say.extend(header.frame(&payload));
        }
        self.peers[who].table = Some(table);
    }

    fn step(&mut self) {
        self.answer_dials();
        self.peers.retain(|p| !self.net.is_closed(p.raw) || p.full);
        if self.peers.len() < 28 && self.roll(3) == 0 {
            self.join();
        }
        for _ in 0..self.roll(12) {
            if self.peers.is_empty() {
                break;
            }
            let who = self.roll(self.peers.len());
            self.speak(who);
            let who = self.roll(self.peers.len());
            let n = self.roll(self.peers[who].to_say.len() + 1);
            let n = if self.roll(3) == 0 { n } else { self.peers[who].to_say.len() };
            let bytes: Vec<u8> = self.peers[who].to_say.drain(..n).collect();
            if !bytes.is_empty() {
                self.net.send(self.peers[who].raw, &bytes);
            }
        }
        let who = self.roll(self.peers.len().max(1));
        match self.roll(40) {
            0..=3 if who < self.peers.len() => {
                let full = !self.peers[who].full;
                self.peers[who].full = full;
                self.net.set_full(self.peers[who].raw, full);
            }
            4 if who < self.peers.len() => {
                let gone = self.peers.remove(who);
                self.net.close(gone.raw);
            }
            5 => {
                let ping = Header { guid: guid(7), kind: Kind::PING, ttl: 1, hops: 0, len: 0 }.frame(&[]);
                self.net.datagram(raw::address(self.next), self.up, &ping);
            }
            6 if who < self.peers.len() => {
                // More than is read at once.
                let ping = Header { guid: guid(7), kind: Kind(0x55), ttl: 1, hops: 0, len: 0 }.frame(&[]);
                self.net.send(self.peers[who].raw, &ping.repeat(30_000));
            }
            _ => {}
        }
    }

    /// Lets what was done have its effects, and notes them.
    fn settle(&mut self) {
        let ms = [0, 0, 1, 20, 300, 2_000, 9_000][self.roll(7)];
        self.net.advance(Duration::from_millis(ms));
        let mut seen = Vec::new();
        for (n, peer) in self.peers.iter().enumerate() {
            seen.push((n, self.net.take(peer.raw), self.net.is_closed(peer.raw)));
        }
        self.seen.push(seen);
        self.asked.push(self.net.asked(self.up));
        for (most, (name, labels)) in self.most.iter_mut().zip(TABLES) {
            *most = most.max(self.net.metric(self.up, name, labels));
        }
        if self.seen.len().is_multiple_of(SAVE_EVERY) {
            self.saved.push(self.net.virtual_peer(self.up).save());
        }
    }

    fn figures(&self) -> Vec<Sample> {
        self.net.virtual_peer(self.up).metrics()
    }

    fn swap(&mut self, seed: u8) {
        let state = self.net.virtual_peer(self.up).save();
        self.net.carry_on(self.up, busy_config(), &state, seed).expect("its own state");
        assert_same_state(&state, &self.net.virtual_peer(self.up).save());
    }
}

/// Some hundred steps; `swap` tells before which the peer is replaced.
fn run(seed: u64, steps: usize, mut swap: impl FnMut(usize) -> bool) -> Bustle {
    let mut bustle = Bustle::new(seed);
    for n in 0..steps {
        bustle.step();
        if swap(n) {
            let before = bustle.figures();
            bustle.swap(n as u8);
            assert_eq!(bustle.figures(), before, "no figure changes over a swap");
        }
        bustle.settle();
    }
    bustle
}

/// All that anybody has seen of two runs is the same.
fn assert_same(a: &Bustle, b: &Bustle) {
    for (n, (one, other)) in a.seen.iter().zip(&b.seen).enumerate() {
        assert_eq!(one, other, "step {n}");
        assert_eq!(a.asked[n], b.asked[n], "step {n}");
    }
    for (one, other) in a.saved.iter().zip(&b.saved) {
        assert_same_state(one, other);
    }
    assert_eq!(a.net.log(a.up), b.net.log(b.up));
    assert_eq!(a.net.datagrams, b.net.datagrams);
    assert_eq!(a.net.status(a.up), b.net.status(b.up));
    assert_eq!(a.figures(), b.figures());
}

/// Two states are the same to the byte.
fn assert_same_state(one: &[u8], other: &[u8]) {
    for (n, (a, b)) in parts(one).into_iter().zip(parts(other)).enumerate() {
        let differs = a.iter().zip(b).position(|(a, b)| a != b);
        assert_eq!((differs, a.len()), (None, b.len()), "part {n}");
    }
    assert!(one == other);
}

/// The parts of a state: each has a number, a version and its length before it.
fn parts(state: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut rest) = (Vec::new(), &state[1..]);
    while let Some((head, more)) = rest.split_first_chunk::<6>() {
        let len = u32::from_le_bytes([head[2], head[3], head[4], head[5]]);
        let (part, more) = more.split_at(len as usize);
        parts.push(part);
        rest = more;
    }
    parts
}

/// That the scenario has what it is about.
fn assert_busy(bustle: &Bustle) {
    let metric = |name: &str, labels: &[(&str, &str)]| bustle.net.metric(bustle.up, name, labels);
    for (name, labels) in [
        ("avp_joined_total", &[("role", "leaf")][..]),
        ("avp_joined_total", &[("role", "ultrapeer")]),
        ("avp_joined_total", &[("role", "old")]),
        ("avp_relayed_messages_total", &[("kind", "query")]),
        ("avp_relayed_messages_total", &[("kind", "query_hit")]),
        ("avp_relayed_messages_total", &[("kind", "push")]),
        ("avp_dynamic_queries_ended_total", &[]),
        ("avp_dropped_messages_total", &[("reason", "duplicate")]),
        ("avp_refused_total", &[]),
        ("avp_send_losses_total", &[]),
        ("avp_cached_pongs", &[]),
        ("avp_published_slots", &[]),
        ("avp_response_seconds", &[]),
    ] {
        assert!(metric(name, labels) > 0.0, "nothing in {name} {labels:?}");
    }
    // Of two there are only two orders.
    for (most, table) in bustle.most.iter().zip(TABLES) {
        assert!(*most >= 3.0, "{table:?}: {most}");
    }
}

#[test]
fn a_peer_that_is_replaced_again_and_again_says_byte_for_byte_what_it_would_have_said() {
    for seed in 0..4 {
        let straight = run(seed, 400, |_| false);
        assert_busy(&straight);
        let mut dice = ChaCha12Rng::seed_from_u64(seed);
        let swapped = run(seed, 400, |_| dice.next_u32().is_multiple_of(5));
        assert_same(&straight, &swapped);
        let always = run(seed, 120, |_| true);
        assert_same(&run(seed, 120, |_| false), &always);
    }
}

#[test]
fn of_a_node_that_was_started_again_the_peer_keeps_what_it_has_learnt() {
    let mut bustle = run(7, 200, |_| false);
    let up = bustle.up;
    let before = bustle.net.status(up);
    let hosts = bustle.net.metric(up, "avp_known_hosts", &[]);
    let state = bustle.net.virtual_peer(up).save();
    bustle.net.cut(up);
    bustle.net.carry_on(up, busy_config(), &state, 99).unwrap();
    let after = bustle.net.status(up);
    assert!(!before.links.is_empty() && after.links.is_empty());
    assert_eq!((after.guid, after.address), (before.guid, before.address));
    assert_eq!(bustle.net.metric(up, "avp_known_hosts", &[]), hosts);
    for empty in ["avp_openings", "avp_dialling", "avp_held_bytes", "avp_dynamic_queries"] {
        assert_eq!(bustle.net.metric(up, empty, &[]), 0.0, "{empty}");
    }
    // Nobody is left alone for having gone with the node.
    bustle.net.advance(Duration::from_secs(2));
    let raw = bustle.net.accept(raw::address(DIALLED)).expect("dialled at once");
    bustle.net.send(raw, format!("GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: True\r\n{MODERN}\r\n").as_bytes());
    let leaf = bustle.net.sharing_leaf(700, up, "bassoon.mp3");
    let asker = bustle.net.leaf(701, up);
    bustle.net.query(asker, 4, 0, guid(200), "bassoon");
    assert_eq!(bustle.net.of_kind(leaf, Kind::QUERY).len(), 1);
    bustle.net.advance(Duration::from_secs(40));
    let mut left = Table::new(16);
    left.add_name(b"bassoon.mp3");
    let published = bustle.net.metric(up, "avp_published_slots", &[]);
    assert_eq!(published, f64::from(left.present()), "what former leaves had is gone");
}

#[test]
fn some_connections_may_be_lost_and_strange_ones_are_aborted() {
    let mut net = Net::new();
    let up = net.peer(config());
    let (stays, goes) = (net.sharing_leaf(1, up, "walrus.mp3"), net.leaf(2, up));
    let state = net.virtual_peer(up).save();
    let stranger = net.leaf(3, up);
    net.close(goes);
    net.run();
    net.carry_on(up, config(), &state, 9).unwrap();
    assert!(net.is_closed(stranger) && !net.is_closed(stays));
    assert_eq!(net.status(up).leaves.used, 1);
    let asker = net.leaf(4, up);
    net.query(asker, 4, 0, guid(1), "walrus");
    assert_eq!(net.of_kind(stays, Kind::QUERY).len(), 1);
}

#[test]
fn what_cannot_be_used_is_named() {
    let bustle = run(3, 60, |_| false);
    let (mut net, up) = (bustle.net, bustle.up);
    let state = net.virtual_peer(up).save();
    let mut refused =
        |state: &[u8]| net.carry_on(up, busy_config(), state, 1).expect_err("not its state").to_string();
    assert_eq!(
        refused(&[&[9], &state[1..]].concat()),
        "the saved state has format 9, and this peer reads format 2: another version wrote it; keep that one, or start \
         without state"
    );
    let mut newer = state.clone();
    newer[2] = 7;
    assert_eq!(
        refused(&newer),
        "the basics in the saved state have version 7, and this peer reads up to 1: a later one wrote them; keep that one, \
         or start without state"
    );
    assert_eq!(refused(&[]), "the basics in the saved state are damaged at byte 0: start without state");
    for n in (0..state.len()).step_by(state.len() / 500 + 1) {
        refused(&state[..n]);
    }
    assert!(
        refused(&[&state[..], &[0]].concat())
            .ends_with(&format!("damaged at byte {}: start without state", state.len()))
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// A state with wrong bytes in it is refused, or gives a peer that is wrong; it never gives one that panics.
    #[test]
    fn damaged_states_do_no_harm(
        seed in 0_u64..6,
        damages in prop::collection::vec(
            prop::collection::vec((any::<prop::sample::Index>(), damage()), 1..4),
            20,
        ),
    ) {
        thread_local! {
            static STATES: std::cell::RefCell<BTreeMap<u64, Vec<u8>>> = const { std::cell::RefCell::new(BTreeMap::new()) };
        }
        let sound = STATES.with_borrow_mut(|states| {
            states.entry(seed).or_insert_with(|| {
                let bustle = run(seed, 50 + 20 * seed as usize, |_| false);
                bustle.net.virtual_peer(bustle.up).save()
            }).clone()
        });
        for damage in damages {
            let mut state = sound.clone();
            for (at, damage) in damage {
                damage.apply(at.index(state.len()), &mut state);
            }
            let mut bustle = run(seed, 3, |_| false);
            match bustle.net.carry_on(bustle.up, busy_config(), &state, 5) {
                Err(RestoreError::Format(_) | RestoreError::Version { .. } | RestoreError::Damaged { .. }) => {}
                Ok(()) => for _ in 0..12 {
                    bustle.step();
                    bustle.settle();
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Damage {
    Byte(u8),
    Number(u32),
    Cut(u8),
    Twice(u8),
}

impl Damage {
    fn apply(self, at: usize, state: &mut Vec<u8>) {
        match self {
            Self::Byte(byte) => state[at] ^= byte,
            Self::Number(n) => {
                let end = (at + 4).min(state.len());
                state[at..end].copy_from_slice(&n.to_le_bytes()[..end - at]);
            }
            Self::Cut(len) => drop(state.drain(at..(at + usize::from(len)).min(state.len()))),
            Self::Twice(len) => {
                let end = (at + usize::from(len)).min(state.len());
                let piece = state[at..end].to_vec();
                state.splice(at..at, piece);
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (1_u8..).prop_map(Damage::Byte),
        4 => prop::sample::select(vec![0, 1, 2, 7, 255, 65_535, u32::MAX / 2, u32::MAX]).prop_map(Damage::Number),
        1 => any::<u8>().prop_map(Damage::Cut),
        1 => any::<u8>().prop_map(Damage::Twice),
    ]
}
