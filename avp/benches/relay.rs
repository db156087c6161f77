//! How many queries one core relays.
//!
//! - `leaf-to-leaf`: 50 leaves, each query matches the one leaf whose table has its word.
//! - `fan-out-32`: a neighbour's query goes on to 32 neighbours and to no leaf.
//! - `join-and-leave`: a leaf shakes hands, sends its routing table and goes, while 1,000 others stay.
//!
//! Bytes go through the whole peer, from `Event::Received` to the batch that the host would send.

use avp::gnutella::qrp::{Table, sender};
use avp::gnutella::{Guid, Header, Kind, query};
use avp::host::Level;
use avp::{CloseReason, Config, ConnId, Event, Host, Instant, SendBatch, VirtualPeer};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::net::SocketAddr;

/// Queries handed to the peer in one call, as a busy shell does.
const BATCH: usize = 64;
/// Batches in one sample.
const BATCHES: usize = 200;

/// Counts what would be sent, in bytes and for each connection.
#[derive(Default)]
struct Counting(usize);

impl Host for Counting {
    fn connect(&mut self, _: SocketAddr) -> Result<ConnId, CloseReason> {
        Err(CloseReason::Unreachable)
    }
    fn send(&mut self, batch: &SendBatch, _: &mut Vec<ConnId>) {
        for (targets, bytes) in batch.runs() {
            self.0 += targets.len() * bytes.len();
        }
    }
    fn close(&mut self, _: ConnId) {}
    fn abort(&mut self, _: ConnId) {}
    fn inflate(&mut self, _: ConnId, _: &[u8]) {}
    fn deflate(&mut self, _: ConnId) {}
    fn datagram(&mut self, _: SocketAddr, _: &[u8]) {}
    fn wake_at(&mut self, _: Instant) {}
    fn wall_seconds(&mut self) -> u64 {
        1_700_000_000
    }
    fn log(&mut self, _: Level, _: &str) {}
}

/// A peer whose shell is the benchmark.
struct Bench {
    peer: VirtualPeer,
    host: Counting,
}

const NOW: Instant = Instant(1);

impl Bench {
    fn new() -> Self {
        let config = Config { allow_private_addresses: true, ultrapeers: 64, ..Config::default() };
        Self { peer: VirtualPeer::new(config, [7; 32], NOW), host: Counting::default() }
    }

    fn received(&mut self, conn: ConnId, bytes: &[u8]) {
        self.peer.handle(NOW, [Event::Received { conn, bytes }], &mut self.host);
    }

    fn join(&mut self, n: u64, ultrapeer: bool, words: &str) -> ConnId {
        let conn = ConnId(n);
        let [.., a, b, c] = (n as u32).to_be_bytes();
        let remote = SocketAddr::from(([10, a, b, c], 7_000));
        let local = SocketAddr::from(([10, 1, 0, 1], 6_346));
        self.peer.handle(NOW, [Event::Accepted { conn, remote, local }], &mut self.host);
        let role = if ultrapeer { "True" } else { "False" };
        let hello = format!(
            "GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: {role}\r\nX-Query-Routing: 0.1\r\n\
             X-Ultrapeer-Query-Routing: 0.1\r\n\r\n"
        );
        self.received(conn, hello.as_bytes());
        self.received(conn, b"GNUTELLA/0.6 200 OK\r\n\r\n");
        let mut table = Table::new(16);
        table.add_name(words.as_bytes());
        for payload in sender::updates(None, &table) {
            let update =
                Header { guid: Guid::ZERO, kind: Kind::QRP, ttl: 1, hops: 0, len: 0 }.frame(&payload);
            self.received(conn, &update);
        }
        conn
    }
}

/// Makes queries with ids of their own.
#[derive(Default)]
struct Queries(u64);

impl Queries {
    /// One chunk, as it comes from a socket.
    fn chunk(&mut self, ttl: u8, hops: u8, text: impl Fn(u64) -> String) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..BATCH {
            self.0 += 1;
            let mut guid = Guid([0xff; 16]);
            guid.0[..8].copy_from_slice(&self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
            let payload = query::Builder::new(&text(self.0)).finish();
            bytes.extend(Header { guid, kind: Kind::QUERY, ttl, hops, len: 0 }.frame(&payload));
        }
        bytes
    }
}

fn measure(
    c: &mut Criterion,
    name: &str,
    bench: &mut Bench,
    mut chunk: impl FnMut(usize) -> (ConnId, Vec<u8>),
    copies_each: usize,
) {
    let before = bench.host.0;
    let (conn, bytes) = chunk(0);
    bench.received(conn, &bytes);
    assert_eq!(bench.host.0 - before, bytes.len() * copies_each, "{name} measures something else");
    let mut group = c.benchmark_group("relay");
    group.throughput(Throughput::Elements((BATCH * BATCHES) as u64));
    group.bench_function(name, |b| {
        b.iter_batched(
            || (0..BATCHES).map(&mut chunk).collect::<Vec<_>>(),
            |chunks| {
                for (conn, bytes) in &chunks {
                    bench.received(*conn, bytes);
                }
                chunks
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn leaf_to_leaf(c: &mut Criterion) {
    let mut bench = Bench::new();
    let words = |n: u64| format!("shared{n:04} archive recording.flac");
    let leaves: Vec<ConnId> = (0..50).map(|n| bench.join(n + 1, false, &words(n))).collect();
    let mut queries = Queries::default();
    // From each leaf in turn, for what each other leaf has.
    let chunk = |i: usize| {
        let text = |n: u64| {
            let whose = (i as u64 + 1 + n % 49) % 50;
            format!("shared{whose:04} recording of an archive by me in flac")
        };
        (leaves[i % 50], queries.chunk(4, 0, text))
    };
    measure(c, "leaf-to-leaf", &mut bench, chunk, 1);
}

fn fan_out(c: &mut Criterion) {
    let mut bench = Bench::new();
    let neighbours: Vec<ConnId> =
        (0..33).map(|n| bench.join(n + 1, true, "archive recording.flac")).collect();
    let mut queries = Queries::default();
    let chunk = |i: usize| {
        (neighbours[i % 33], queries.chunk(3, 1, |n| format!("wanted{n:08} recording by whoever it was")))
    };
    measure(c, "fan-out-32", &mut bench, chunk, 32);
}

fn join_and_leave(c: &mut Criterion) {
    let mut bench = Bench::new();
    for n in 0..1_000 {
        bench.join(n + 1, false, "shared archive recording.flac");
    }
    let mut n = 1_000;
    c.bench_function("join-and-leave", |b| {
        b.iter(|| {
            n += 1;
            let conn = bench.join(n, false, "another archive recording.flac");
            let closed = Event::Closed { conn, reason: CloseReason::Ended };
            bench.peer.handle(NOW, [closed], &mut bench.host);
        });
    });
}

criterion_group!(benches, leaf_to_leaf, fan_out, join_and_leave);
criterion_main!(benches);
