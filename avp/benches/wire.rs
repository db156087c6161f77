//! What reading a message costs: header, query, hit, words to slots, a routing table's match and update.
//!
//! `cargo bench -p avp --bench wire`

use std::hint::black_box;
use std::net::SocketAddrV4;

use avp::gnutella::hit::{self, QueryHit};
use avp::gnutella::huge::Sha1;
use avp::gnutella::qrp::{Hashes, Receiver, Table, hash, sender};
use avp::gnutella::query::{self, Query};
use avp::gnutella::{Guid, Header, Kind};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const TEXT: &str = "gadget sprocket red";

fn headers(c: &mut Criterion) {
    let frame = Header { guid: Guid([7; 16]), kind: Kind::QUERY, ttl: 4, hops: 1, len: 0 }.frame(&[0; 30]);
    c.bench_function("header/parse", |b| b.iter(|| Header::parse(black_box(&frame))));
    c.bench_function("header/parse_forward_encode", |b| {
        b.iter(|| Header::parse(black_box(&frame)).and_then(Header::forwarded).map(|h| h.encode()));
    });
}

fn queries(c: &mut Criterion) {
    let plain = query::Builder::new(TEXT).finish();
    let named = query::Builder::new("").sha1(Sha1([9; 20])).finish();
    c.bench_function("query/parse", |b| b.iter(|| Query::parse(black_box(&plain))));
    c.bench_function("query/parse_and_hash_words", |b| {
        b.iter(|| Query::parse(black_box(&plain)).map(|q| Hashes::of(&q)));
    });
    c.bench_function("query/parse_and_hash_urn", |b| {
        b.iter(|| Query::parse(black_box(&named)).map(|q| Hashes::of(&q)));
    });
}

fn hits(c: &mut Criterion) {
    let addr = SocketAddrV4::new([100, 64, 77, 1].into(), 6346);
    let files = (0..10).fold(hit::Builder::new(*b"TEST", addr, 1000), |hit, n| {
        hit.file(n, 150_000, "platypus sonata in g.mp3", Some(Sha1([n as u8; 20])))
    });
    let payload = files.finish(Guid([3; 16]));
    c.bench_function("hit/parse", |b| b.iter(|| QueryHit::parse(black_box(&payload))));
    c.bench_function("hit/walk_10_records", |b| {
        b.iter(|| QueryHit::parse(black_box(&payload)).map(|h| h.records().flatten().count()));
    });
}

fn routing(c: &mut Criterion) {
    c.bench_function("qrp/hash_word", |b| b.iter(|| hash(black_box(b"sprocket"))));
    let mut table = Table::new(16);
    for n in 0..300 {
        table.add_name(format!("artist{n} title{} live at home.mp3", n * 7).as_bytes());
    }
    let (miss, found) = (Hashes::of_text(TEXT.as_bytes()), Hashes::of_text(b"artist12 title84"));
    c.bench_function("qrp/match_miss", |b| b.iter(|| table.matches(black_box(&miss))));
    c.bench_function("qrp/match_hit", |b| b.iter(|| table.matches(black_box(&found))));

    let messages = sender::updates(None, &table);
    let mut group = c.benchmark_group("qrp/65536_slots");
    group.throughput(Throughput::Elements(1));
    group.bench_function("send", |b| b.iter(|| sender::updates(None, black_box(&table))));
    group.bench_function("receive", |b| {
        let (mut receiver, mut copy) = (Receiver::default(), Table::new(16));
        b.iter(|| {
            for message in &messages {
                let _ = black_box(receiver.receive(black_box(message), &mut copy));
            }
        });
    });
    group.finish();
}

criterion_group!(wire, headers, queries, hits, routing);
criterion_main!(wire);
