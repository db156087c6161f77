use std::net::SocketAddr;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use super::http::{PushOrder, Reply};
use super::*;
use crate::cache::hosts::Report;
use crate::gnutella::handshake::{Block, Reader};
use crate::gnutella::ping::CachedPongs;
use crate::gnutella::pong::{PACKED_HOSTS_MAX, Pong};
use crate::gnutella::{Guid, Header, Kind, gwc, udp, uhc};
use crate::host::Instant;

struct World {
    door: Door,
    hosts: HostCache,
    rng: ChaCha12Rng,
    address: Option<SocketAddrV4>,
    slots: Ultrapeer,
}

const fn at(seconds: u64) -> Instant {
    Instant(seconds * 1_000_000_000)
}

fn asker(n: u8) -> SocketAddr {
    SocketAddr::from(([9, 8, 7, n], 40_000))
}

impl World {
    /// A peer that knows `n` hosts since `at(100)`.
    fn knowing(n: u8) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(5);
        let mut hosts = HostCache::new(false, &mut rng);
        for i in 0..n {
            hosts.heard(at(100), ([20, 1, i, 1], 6346).into(), Report::default(), &mut rng);
        }
        assert_eq!(hosts.len(), usize::from(n));
        let door = Door::new(&crate::tables::hasher(&mut rng));
        let address = Some(SocketAddrV4::new([9, 9, 9, 9].into(), 6346));
        Self { door, hosts, rng, address, slots: Ultrapeer { version: 2, leaf_slots: 5, ultra_slots: 0 } }
    }

    fn presence(hosts: &mut HostCache, address: Option<SocketAddrV4>, slots: Ultrapeer) -> Presence<'_> {
        let vendor = Vendor { code: *b"TEST", version: 1 };
        Presence { server: "test/1", vendor, address, slots, daily_uptime_s: 7_200, hosts }
    }

    fn ask(&mut self, now: Instant, request: &str) -> Reply {
        let head = block(request);
        let mut presence = Self::presence(&mut self.hosts, self.address, self.slots);
        self.door.http(now, asker(1), &head, &mut presence, &mut self.rng, |servent| servent == neighbour())
    }

    fn get(&mut self, target: &str) -> (String, String) {
        let reply = self.ask(at(160), &format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(reply.push, None);
        let text = String::from_utf8(reply.bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nServer: test/1") && head.contains("\r\nConnection: close"));
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    fn ping(&mut self, now: Instant, from: u8, datagram: &[u8]) -> Option<Vec<u8>> {
        let presence = Self::presence(&mut self.hosts, self.address, self.slots);
        self.door.ping(now, asker(from), &udp::parse(datagram).unwrap(), &presence, &mut self.rng)
    }
}

fn neighbour() -> Guid {
    Guid(*b"a servent's guid")
}

fn block(text: &str) -> Block {
    Reader::default().push(text.as_bytes()).unwrap().unwrap().0
}

fn plain_ping() -> Vec<u8> {
    Header { guid: Guid([4; 16]), kind: Kind::PING, ttl: 1, hops: 0, len: 0 }.frame(b"")
}

#[test]
fn web_cache_clients_of_both_kinds_get_hosts() {
    let mut world = World::knowing(50);
    for path in ["/gwc", "/gwc/", "/"] {
        let (status, body) = world.get(&format!("{path}?client=TEST&version=1.0&hostfile=1"));
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert_eq!(body.lines().next(), Some("9.9.9.9:6346"), "ourselves first, who have room");
        assert_eq!(body.lines().count(), gwc::ENTRIES_MAX);
    }
    let (_, body) = world.get("/gwc?get=1&net=gnutella&client=TEST&version=1.0");
    assert_eq!(body.lines().next(), Some("H|9.9.9.9:6346|0"));
    assert!(body.lines().nth(1).unwrap().ends_with("|60"));
    assert_eq!(world.get("/gwc?ping=1").1, "PONG test/1\n");
    world.slots.leaf_slots = 0;
    assert!(!world.get("/gwc?hostfile=1").1.contains("9.9.9.9"), "who is full does not invite");
}

#[test]
fn a_web_cache_takes_only_the_offerers_own_address() {
    let mut world = World::knowing(0);
    world.get("/gwc?ip=20.1.1.1:6346");
    world.get("/gwc?update=1&ip=9.8.7.6:6346&net=gnutella");
    assert_eq!(world.hosts.len(), 0);
    assert_eq!(world.get("/gwc?update=1&ip=9.8.7.1:6346&net=gnutella").1, "I|update|OK\n");
    assert_eq!(world.hosts.len(), 1);
}

#[test]
fn a_push_is_passed_on_to_a_neighbour_and_nobody_else() {
    let mut world = World::knowing(0);
    let proxy = |servent: Guid, rest: &str, node: &str| {
        format!("GET /gnutella/push-proxy?ServerId={}{rest} HTTP/1.1\r\n{node}\r\n\r\n", servent.base32())
    };
    let to = SocketAddrV4::new([9, 8, 7, 1].into(), 6347);
    for (rest, file) in [("", 0), ("&file=17", 17)] {
        let reply = world.ask(at(1), &proxy(neighbour(), rest, "X-Node: 9.8.7.1:6347"));
        assert!(reply.bytes.starts_with(b"HTTP/1.1 202 "));
        assert_eq!(reply.push, Some(PushOrder { servent: neighbour(), file, to }));
    }
    for (request, status) in [
        (proxy(Guid([1; 16]), "", "X-Node: 9.8.7.1:6347"), "410"),
        (proxy(neighbour(), "", "Host: h"), "400"),
        (proxy(neighbour(), "", "X-Node: 127.0.0.1:6347"), "400"),
        (proxy(neighbour(), "", "X-Node: 9.8.7.2:6347"), "403"),
        (proxy(neighbour(), "&file=x", "X-Node: 9.8.7.1:6347"), "400"),
        ("GET /gnutella/push-proxy HTTP/1.0\r\n\r\n".into(), "400"),
    ] {
        let reply = world.ask(at(1), &request);
        assert_eq!(reply.push, None);
        assert_eq!(&reply.bytes[9..12], status.as_bytes(), "{request}");
    }
}

#[test]
fn other_requests_are_turned_away_with_our_name() {
    let mut world = World::knowing(0);
    for target in ["/etc/passwd", "/get/1/a.mp3", "/uri-res/N2R?urn:sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ"] {
        assert_eq!(world.get(target).0, "HTTP/1.1 404 Not Found");
    }
    let (status, body) = world.get("/");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(body.contains("/gwc?hostfile=1"));
    let head = world.ask(at(1), "HEAD / HTTP/1.1\r\n\r\n");
    assert!(head.bytes.ends_with(b"\r\n\r\n"));
}

#[test]
fn too_many_requests_are_answered_with_a_busy_sign() {
    let mut world = World::knowing(0);
    let answers: Vec<Vec<u8>> =
        (0..HTTP_BURST + 50).map(|_| world.ask(at(9), "GET / HTTP/1.1\r\n\r\n").bytes).collect();
    assert_eq!(answers.iter().filter(|a| a.starts_with(b"HTTP/1.1 200 ")).count(), HTTP_BURST as usize);
    assert!(answers.last().unwrap().starts_with(b"HTTP/1.1 503 "));
}

#[test]
fn a_datagram_that_asks_for_hosts_gets_them_once_a_minute() {
    let mut world = World::knowing(60);
    let request = uhc::request(Guid([7; 16]), CachedPongs::new(CachedPongs::ULTRA));
    let hosts = |answer: Option<Vec<u8>>| -> usize {
        let answer = answer.expect("no answer");
        let datagram = udp::parse(&answer).unwrap();
        assert_eq!((datagram.header.guid, datagram.header.kind), (Guid([7; 16]), Kind::PONG));
        let pong = Pong::parse(&datagram.payload).unwrap();
        assert_eq!(pong.addr, SocketAddrV4::new([9, 9, 9, 9].into(), 6346));
        assert_eq!(pong.ultrapeer().map(|u| u.leaf_slots), Some(5));
        pong.packed_hosts().len()
    };
    assert_eq!(hosts(world.ping(at(200), 1, &request)), PACKED_HOSTS_MAX);
    assert_eq!(hosts(world.ping(at(230), 1, &request)), 0, "a plain pong in between");
    assert_eq!(world.ping(at(231), 1, &request), None);
    assert_eq!(hosts(world.ping(at(231), 2, &request)), PACKED_HOSTS_MAX);
    assert_eq!(hosts(world.ping(at(260), 1, &request)), PACKED_HOSTS_MAX);
}

#[test]
fn a_plain_ping_gets_a_pong_without_hosts() {
    let mut world = World::knowing(60);
    let answer = world.ping(at(1), 1, &plain_ping()).unwrap();
    let datagram = udp::parse(&answer).unwrap();
    let pong = Pong::parse(&datagram.payload).unwrap();
    assert_eq!((pong.packed_hosts().len(), pong.daily_uptime_s()), (0, Some(7_200)));
    assert_eq!(pong.host_cache(), None);
    world.address = None;
    assert_eq!(world.ping(at(2), 2, &plain_ping()), None);
}

#[test]
fn a_flood_of_datagrams_gets_a_bounded_number_of_answers() {
    let mut world = World::knowing(3);
    let mut answers = 0;
    for i in 0..20_000_u32 {
        let from = SocketAddr::from((i.to_be_bytes(), 1));
        let presence = World::presence(&mut world.hosts, world.address, world.slots);
        let ping = plain_ping();
        let ping = udp::parse(&ping).unwrap();
        answers += u32::from(world.door.ping(at(50), from, &ping, &presence, &mut world.rng).is_some());
    }
    assert_eq!(answers, DATAGRAMS_BURST);
}
