//! What the boundary between node and proxylet costs: `cargo bench -p eep --bench boundary`.
//!
//! The proxylet does next to nothing, so what is measured is the way there and back: events and bytes into its memory,
//! its sends out of it and into the queues of the connections. Figures: at most 25 ns a relayed message at saturation,
//! 300 ns for an empty batch, 10 us for an instance.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use eep::host::grant::{Grant, Grants};
use eep::observe::log_ring::LogRing;
use eep::proxylet::digest::Digest;
use eep::proxylet::limits::Limits;
use eep::proxylet::measure::{Classes, Measured};
use eep::proxylet::runtime::{Runtime, RuntimeConfig};
use eep::proxylet::service::{OnTrap, ServiceSpec, Vouched};
use eep::record::service::Record;
use eep::state::State;
use policies::Policy;
use tempfile::TempDir;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// Sends every event's bytes to the connection from which they came: one `net.send-runs` a batch.
const RELAY: &str = include_str!("../tests/guests/relay.wat");
/// Connections from which the events of a batch come.
const CONNECTIONS: usize = 50;

/// `world` is the one of the contract that it is built for, and says with that what it exports.
fn component(wat: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(wat).unwrap();
    let mut wit = wit_parser::Resolve::default();
    let (package, _) = wit.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxylets/wit")).unwrap();
    let world = wit.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, &wit, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

fn runtime() -> (TempDir, Arc<Runtime>) {
    let dir = tempfile::tempdir().unwrap();
    let state = Arc::new(State::open(&dir.path().join("data")).unwrap());
    let mut config = RuntimeConfig::new(dir.path().join("cache"));
    config.services_max = 8;
    // What is measured as cached comes from the disk.
    config.at_hand_bytes_max = 0;
    let runtime = Runtime::new(config, state).unwrap();
    (dir, Arc::new(runtime))
}

fn spec(runtime: &Runtime, code: &[u8]) -> ServiceSpec {
    ServiceSpec {
        name: "measured".to_owned(),
        code: runtime.prepare(code, None).unwrap(),
        grants: Grants::new(["net.connect".parse::<Grant>().unwrap()]),
        limits: Limits::default(),
        on_trap: OnTrap::Stop,
        config: serde_json::Map::new(),
        fresh: true,
        policy: Arc::default(),
        record: Record::Off,
        log: Arc::new(LogRing::new()),
        vouched: Vouched::always(),
    }
}

fn batches(c: &mut Criterion) {
    let (_dir, runtime) = runtime();
    let mut group = c.benchmark_group("batch");
    // As built with the SDK, and without `timers`.
    for (world, suffix) in [("service-full", ""), ("service", "-as-lists")] {
        let code = component(RELAY, world);
        let mut measured = Measured::start(&runtime, spec(&runtime, &code), CONNECTIONS).unwrap();
        measured.batch(0, &[]);
        group.bench_function(format!("empty{suffix}"), |b| b.iter(|| measured.run().unwrap()));
        measured.timer();
        group.bench_function(format!("timer{suffix}"), |b| b.iter(|| measured.run().unwrap()));
    }
    let code = component(RELAY, "service-full");
    let mut measured = Measured::start(&runtime, spec(&runtime, &code), CONNECTIONS).unwrap();
    for (messages, len) in [(1, 100), (64, 100), (64, 500), (512, 100), (4_096, 100)] {
        group.throughput(Throughput::Elements(messages as u64));
        measured.batch(messages, &vec![7; len]);
        assert_eq!(measured.run().unwrap(), (messages * len) as u64);
        group.bench_function(format!("{messages}x{len}B"), |b| b.iter(|| measured.run().unwrap()));
    }
}

/// The way in alone.
fn events(c: &mut Criterion) {
    let (_dir, runtime) = runtime();
    let deaf = RELAY.replace("(if (local.get $count)", "(if (i32.const 0)");
    let mut measured =
        Measured::start(&runtime, spec(&runtime, &component(&deaf, "service-full")), CONNECTIONS).unwrap();
    let mut group = c.benchmark_group("events");
    group.throughput(Throughput::Elements(512));
    measured.batch(512, &[7; 100]);
    group.bench_function("512x100B", |b| b.iter(|| measured.run().unwrap()));
}

fn instances(c: &mut Criterion) {
    let (_dir, runtime) = runtime();
    let mut measured =
        Measured::start(&runtime, spec(&runtime, &component(RELAY, "service-full")), 1).unwrap();
    c.bench_function("instance", |b| b.iter(|| measured.renew().unwrap()));
}

/// With `EEP_BENCH_PROXYLET=FILE` that proxylet instead of the small one.
fn loads(c: &mut Criterion) {
    let code = match std::env::var_os("EEP_BENCH_PROXYLET") {
        Some(file) => std::fs::read(file).unwrap(),
        None => component(RELAY, "service-full"),
    };
    let (dir, runtime) = runtime();
    runtime.prepare(&code, None).unwrap();
    let mut group = c.benchmark_group(format!("load/{}KiB", code.len() >> 10));
    group.bench_function("cached", |b| {
        b.iter(|| {
            let prepared = runtime.prepare(black_box(&code), None).unwrap();
            assert!(prepared.was_cached());
        });
    });
    group.bench_function("digest", |b| b.iter(|| Digest::of(black_box(&code))));
    group.sample_size(10);
    group.bench_function("uncompiled", |b| {
        b.iter(|| {
            for entry in std::fs::read_dir(dir.path().join("cache")).unwrap() {
                std::fs::remove_file(entry.unwrap().path()).unwrap();
            }
            runtime.prepare(black_box(&code), None).unwrap()
        });
    });
}

/// What a class of traffic adds to a write of a connection, beside the write.
fn classes(c: &mut Criterion) {
    let text = "policy: eep/v1\nname: measured\ntraffic:\n  classes: {wide: {dscp: cs3, rate: 1gbit, ceil: 10000gbit}}\n";
    let files = BTreeMap::from([("p.yaml".to_owned(), text.to_owned())]);
    let policy = Policy::load(&files, "p.yaml", 1).unwrap().policy;
    let mut classes = Classes::of(&policy);
    let mut group = c.benchmark_group("class");
    for (name, class) in [("none", None), ("wide", Some(0))] {
        let mut conn = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                conn = (conn + 1) % CONNECTIONS as u64;
                assert_eq!(black_box(classes.write(black_box(class), conn, 100)), 100);
            });
        });
    }
}

criterion_group!(benches, batches, events, classes, instances, loads);
criterion_main!(benches);
