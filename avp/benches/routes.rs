//! What a route costs: learnt, known, and found again.
//!
//! A table as large as a busy peer's, so that little of it lies in the processor's caches.
//! `cargo bench -p avp --bench routes`

use std::hint::black_box;
use std::time::Duration;

use avp::Instant;
use avp::application::routes::{LinkId, QueryRoute, Routes};
use avp::gnutella::Guid;
use avp::tables::GuidHasher;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

/// Routes in each generation.
const ENTRIES: usize = 100_000;
/// Routes that are looked at in one go.
const BATCH: u64 = 1_000;
const NOW: Instant = Instant(1);
const LINK: LinkId = LinkId { index: 7, serial: 1 };

fn guid(n: u64) -> Guid {
    let mut guid = Guid([0xff; 16]);
    guid.0[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    guid
}

fn empty() -> Routes<QueryRoute> {
    let hasher = GuidHasher::new(&mut ChaCha12Rng::seed_from_u64(7));
    Routes::new(hasher, ENTRIES, Duration::from_secs(300), NOW)
}

fn routes(c: &mut Criterion) {
    let mut group = c.benchmark_group("routes");
    group.throughput(Throughput::Elements(BATCH));
    // Both generations have turned, so that none grows any more.
    let mut routes = empty();
    let mut next = 0;
    let mut learn = |routes: &mut Routes<QueryRoute>| {
        for _ in 0..BATCH {
            next += 1;
            black_box(routes.learn_query(NOW, guid(next), LINK, 4));
        }
        next
    };
    while learn(&mut routes) < 3 * ENTRIES as u64 {}
    group.bench_function("learn", |b| b.iter(|| learn(&mut routes)));
    let latest = learn(&mut routes);
    // Any of those that are known for certain.
    let pick = |n: u64| guid(latest - (n.wrapping_mul(0x5851_f42d_4c95_7f2d) >> 32) % ENTRIES as u64);
    let mut n = 0;
    let mut any = move || {
        n += 1;
        pick(n)
    };
    group.bench_function("learn_known", |b| {
        b.iter(|| {
            for _ in 0..BATCH {
                black_box(routes.learn_query(NOW, any(), LINK, 4));
            }
        });
    });
    group.bench_function("get", |b| {
        b.iter(|| {
            for _ in 0..BATCH {
                black_box(routes.get(any()));
            }
        });
    });
    group.finish();
    let mut group = c.benchmark_group("routes/growing");
    group.throughput(Throughput::Elements(ENTRIES as u64)).sample_size(20);
    group.bench_function("learn", |b| {
        b.iter_batched_ref(
            empty,
            |routes| {
                for n in 0..ENTRIES as u64 {
                    black_box(routes.learn_query(NOW, guid(n), LINK, 4));
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, routes);
criterion_main!(benches);
