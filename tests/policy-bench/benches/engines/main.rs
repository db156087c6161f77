//! The same decisions by three engines, in one run: this one, Cedar (`cedar-policy`) and Rego (`regorus`).
//!
//! Each engine has the policy in the form that its authors would write: ours as sets and rules; Cedar as a `forbid` a
//! rule, with `isInRange` for prefixes and `containsAny` for words; Rego as rules over data, with words as keys of an
//! object. Requests are made before the clock runs, and texts are cut into words for Cedar and Rego beforehand, while
//! ours does it in each decision. All three must decide every event alike before anything is measured.

#[path = "../../../../policies/benches/decide/scenario.rs"]
mod scenario;

mod cedar;
mod ours;
mod rego;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use scenario::Scenario;

/// Events that are decided in turn.
const EVENTS: usize = 64;

fn engines(c: &mut Criterion) {
    for (name, prefixes, keywords, rules) in [
        ("20 rules, 200 prefixes, 160 keywords", 200, 160, 20),
        ("1000 rules, 50000 prefixes, 10000 keywords", 50_000, 10_000, 1_000),
    ] {
        let mut scenario = Scenario::new(prefixes, keywords, rules);
        let given = scenario.events(EVENTS);
        let ours = ours::Engine::new(&scenario, &given);
        let cedar = cedar::Engine::new(&scenario, &given);
        let rego = rego::Engine::new(&scenario, &given);
        let refused = (0..EVENTS).filter(|n| !ours.allows(*n)).count();
        assert!(refused > EVENTS / 16 && refused < EVENTS, "{refused} of {EVENTS} are refused");
        for n in 0..EVENTS {
            assert_eq!(ours.allows(n), cedar.allows(n), "Cedar decides event {n} differently");
            assert_eq!(ours.allows(n), rego.allows(n), "Rego decides event {n} differently");
        }
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(EVENTS as u64)).sample_size(10);
        group.bench_function("policies", |b| {
            b.iter(|| {
                (0..EVENTS).for_each(|n| {
                    black_box(ours.allows(black_box(n)));
                })
            });
        });
        group.bench_function("cedar-policy", |b| {
            b.iter(|| {
                (0..EVENTS).for_each(|n| {
                    black_box(cedar.allows(black_box(n)));
                })
            });
        });
        group.bench_function("regorus", |b| {
            b.iter(|| {
                (0..EVENTS).for_each(|n| {
                    black_box(rego.allows(black_box(n)));
                })
            });
        });
        group.finish();
    }
}

criterion_group!(benches, engines);
criterion_main!(benches);
