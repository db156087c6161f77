//! A decision under 50,000 prefixes, 10,000 keywords and 1,000 rules; loading such a policy; what it takes of memory.
//!
//! A decision carries what explains it: generation, chain, rule or default, action, the facts that were read, the
//! first rule in shadow. `cargo bench -p policies`.

#![allow(clippy::print_stdout, clippy::expect_used)]

mod scenario;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use peak_alloc::PeakAlloc;
use policies::event::{Content, Message, Peer};
use policies::facts::Fact;
use policies::{Chain, Event, Facts, Policy};
use scenario::{Given, Scenario};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Events that are decided in turn.
const EVENTS: usize = 1024;

fn event(given: &Given) -> (Event<'_>, Facts) {
    let event = Event {
        message: Message::of(given.message).expect("a kind of message"),
        peer: Peer { address: Some(given.address), ..Peer::default() },
        content: Content { text: &given.text, ..Content::default() },
        ..Event::default()
    };
    let mut facts = Facts::default();
    facts.set(Fact::UPLINK, given.util as f64 / 100.0);
    facts.set(Fact::HOUR, given.hour as f64);
    (event, facts)
}

fn decide(c: &mut Criterion) {
    let mut scenario = Scenario::new(50_000, 10_000, 1_000);
    let files = scenario.files(true);
    let given = scenario.events(EVENTS);
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let policy = Policy::load(&files, "bench.yaml", 1).expect("a policy").policy;
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!(
        "memory of the policy: {:.1} MiB, at most while loading: {:.1} MiB",
        mib(MEMORY.current_usage() - before),
        mib(MEMORY.peak_usage() - before)
    );
    let events: Vec<(Event<'_>, Facts)> = given.iter().map(event).collect();
    let refused = events.iter().filter(|(e, f)| policy.decide(Chain::Access, e, f).rule.is_some()).count();
    println!("of {EVENTS} events {refused} are decided by a rule, the others by the default");

    let mut group = c.benchmark_group("decide");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("mixed", |b| {
        b.iter(|| {
            for (event, facts) in &events {
                black_box(policy.decide(Chain::Access, black_box(event), facts));
            }
        });
    });
    for message in ["connect", "query", "push"] {
        let of: Vec<_> = events.iter().filter(|(e, _)| e.message.word() == message).collect();
        group.throughput(Throughput::Elements(of.len() as u64));
        group.bench_function(message, |b| {
            b.iter(|| {
                for (event, facts) in &of {
                    black_box(policy.decide(Chain::Access, black_box(event), facts));
                }
            });
        });
    }
    group.finish();
    c.bench_function("explain, every rule in words", |b| {
        let (event, facts) = &events[0];
        b.iter(|| black_box(policy.explain(Chain::Access, black_box(event), facts)));
    });
}

fn load(c: &mut Criterion) {
    let scenario = Scenario::new(50_000, 10_000, 1_000);
    let mut group = c.benchmark_group("load");
    group.sample_size(20);
    for (name, lists) in [("lists in files", true), ("lists in the policy", false)] {
        let files = scenario.files(lists);
        group.bench_function(name, |b| b.iter(|| Policy::load(&files, "bench.yaml", 1).expect("a policy")));
    }
    group.finish();
}

criterion_group!(benches, decide, load);
criterion_main!(benches);
