//! What the sandbox costs: `cargo bench -p eep-relay`.
//!
//! The same rounds of the same core, natively and as a proxylet in the node's own engine (epochs, pooled memory, limits),
//! in turn, so that a machine that is busy with something else slows both. One call into the sandbox runs a whole round;
//! what a crossing costs is measured by `cargo bench -p eep --bench boundary`. Figure: natively at most 1/0.6 as fast.
//!

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eep::host::grant::Grants;
use eep::observe::log_ring::LogRing;
use eep::proxylet::build::build;
use eep::proxylet::limits::Limits;
use eep::proxylet::measure::Measured;
use eep::proxylet::runtime::{Runtime, RuntimeConfig};
use eep::proxylet::service::{OnTrap, ServiceSpec, Vouched};
use eep::record::service::Record;
use eep::state::State;
use eep_relay::{Round, Scenario};

/// Rounds of each kind that are timed.
const ROUNDS: usize = 60;

fn main() {
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest");
    let code = std::fs::read(build(&guest, None).unwrap().path).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let state = Arc::new(State::open(&dir.path().join("data")).unwrap());
    let mut config = RuntimeConfig::new(dir.path().join("cache"));
    config.services_max = 1;
    let runtime = Arc::new(Runtime::new(config, state).unwrap());
    let spec = ServiceSpec {
        name: "relay".to_owned(),
        code: runtime.prepare(&code, None).unwrap(),
        grants: Grants::default(),
        limits: Limits { call_ms: 60_000, ..Limits::default() },
        on_trap: OnTrap::Stop,
        config: serde_json::Map::new(),
        fresh: true,
        policy: Arc::default(),
        record: Record::Off,
        log: Arc::new(LogRing::new()),
        vouched: Vouched::always(),
    };
    let mut sandbox = Measured::start(&runtime, spec, 1).unwrap();
    println!("{:16}{:>12}{:>12}{:>12}", "a step, ns", "native", "proxylet", "ratio");
    for (number, scenario) in Scenario::ALL.into_iter().enumerate() {
        let mut native = Round::new(scenario);
        let [mut natively, mut sandboxed] = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            native.prepare();
            natively.push(timed(|| native.run()));
            sandbox.batch(1, &[number as u8, 0]);
            sandbox.run().unwrap();
            sandbox.batch(1, &[number as u8, 1]);
            sandboxed.push(timed(|| assert_eq!(sandbox.run().unwrap(), 0)));
        }
        let [native, proxylet] =
            [natively, sandboxed].map(|rounds| median(rounds).as_nanos() as f64 / scenario.steps() as f64);
        println!("{:16}{native:12.0}{proxylet:12.0}{:12.2}", scenario.name(), native / proxylet);
    }
}

fn timed(run: impl FnOnce()) -> Duration {
    let began = Instant::now();
    run();
    began.elapsed()
}

fn median(mut rounds: Vec<Duration>) -> Duration {
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}
