//! How long one instance takes to write down a full house, and the next one to take over.
//!
//! 5,000 leaves with 100 files each, 32 neighbours with tables of their own, and the routes of 100,000 queries.

use avp::gnutella::qrp::{Table, sender};
use avp::gnutella::{Guid, Header, Kind, query};
use avp::host::Level;
use avp::{CloseReason, Config, ConnId, Event, Host, Instant, SendBatch, VirtualPeer};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

const LEAVES: u64 = 5_000;
const NEIGHBOURS: u64 = 32;
const FILES: u64 = 100;
const QUERIES: u64 = 100_000;
const NOW: Instant = Instant(1);

/// Takes everything.
struct Sink;

impl Host for Sink {
    fn connect(&mut self, _: SocketAddr) -> Result<ConnId, CloseReason> {
        Err(CloseReason::Unreachable)
    }
    fn send(&mut self, _: &SendBatch, _: &mut Vec<ConnId>) {}
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

fn config() -> Config {
    Config { allow_private_addresses: true, ultrapeers: 64, ..Config::default() }
}

fn received(peer: &mut VirtualPeer, conn: ConnId, bytes: &[u8]) {
    peer.handle(NOW, [Event::Received { conn, bytes }], &mut Sink);
}

fn join(peer: &mut VirtualPeer, n: u64, ultrapeer: bool) {
    let conn = ConnId(n);
    let [.., a, b, c] = (n as u32).to_be_bytes();
    let remote = SocketAddr::from(([10, a, b, c], 7_000));
    peer.handle(
        NOW,
        [Event::Accepted { conn, remote, local: SocketAddr::from(([10, 1, 0, 1], 6_346)) }],
        &mut Sink,
    );
    let role = if ultrapeer { "True" } else { "False" };
    let hello = format!(
        "GNUTELLA CONNECT/0.6\r\nUser-Agent: Bench/1.0\r\nX-Ultrapeer: {role}\r\nX-Query-Routing: 0.1\r\n\
         X-Ultrapeer-Query-Routing: 0.1\r\n\r\nGNUTELLA/0.6 200 OK\r\n\r\n"
    );
    received(peer, conn, hello.as_bytes());
    let mut table = Table::new(16);
    for file in 0..if ultrapeer { 50 * FILES } else { FILES } {
        table.add_name(format!("file{file}of{n} archive{} recording{}.flac", file % 50, n % 700).as_bytes());
    }
    for payload in sender::updates(None, &table) {
        let update = Header { guid: Guid::ZERO, kind: Kind::QRP, ttl: 1, hops: 0, len: 0 }.frame(&payload);
        received(peer, conn, &update);
    }
}

fn full_house() -> (VirtualPeer, Vec<ConnId>) {
    let mut peer = VirtualPeer::new(config(), [7; 32], NOW);
    for n in 1..=NEIGHBOURS + LEAVES {
        join(&mut peer, n, n <= NEIGHBOURS);
    }
    for n in 0..QUERIES {
        let mut guid = Guid([0xff; 16]);
        guid.0[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        let payload = query::Builder::new("nobody has this").finish();
        let message = Header { guid, kind: Kind::QUERY, ttl: 1, hops: 2, len: 0 }.frame(&payload);
        received(&mut peer, ConnId(1 + n % NEIGHBOURS), &message);
    }
    // Tables that have not changed for a while are packed, some with each upkeep.
    for second in 1..=10 {
        peer.handle(NOW + Duration::from_secs(second), [], &mut Sink);
    }
    (peer, (1..=NEIGHBOURS + LEAVES).map(ConnId).collect())
}

fn swap(c: &mut Criterion) {
    let (peer, live) = full_house();
    let state = peer.save();
    assert_eq!(peer.status().links.len() as u64, LEAVES + NEIGHBOURS);
    let mut group = c.benchmark_group(format!("swap/{} KiB", state.len() >> 10));
    group.sample_size(20);
    group.bench_function("save", |b| b.iter(|| black_box(peer.save())));
    group.bench_function("restore", |b| {
        b.iter_with_large_drop(|| {
            VirtualPeer::restore(config(), [8; 32], NOW, &state, &live, &mut Sink).expect("its own state")
        });
    });
    group.finish();
}

criterion_group!(benches, swap);
criterion_main!(benches);
