//! {{name}}: connects to targets again and again, and tells how long that takes. The shell around `rounds`.

mod rounds;

use std::net::SocketAddr;

use eep_sdk::metrics::{Kind, Series};
use eep_sdk::{Event, Events, Instant, Proxylet, clock, log, metrics, net};
use rounds::Rounds;

/// The most targets that are measured.
const TARGETS_MAX: usize = 100;
/// The token of the timer that begins a round.
const ROUND: u64 = 1;

/// One target and its figures.
struct Target {
    address: SocketAddr,
    seconds: Option<Series>,
    done: Option<Series>,
    failed: Option<Series>,
}

struct Probe {
    targets: Vec<Target>,
    every_ns: u64,
    rounds: Rounds,
}

impl Proxylet for Probe {
    fn start(now: Instant, config: &str) -> Result<Self, String> {
        let config: serde_json::Value = serde_json::from_str(config).map_err(|e| format!("config: {e}"))?;
        let listed = config["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        if listed.len() > TARGETS_MAX {
            return Err(format!("config: targets: more than {TARGETS_MAX}"));
        }
        let targets = listed.iter().map(|target| {
            let text = target.as_str().unwrap_or_default();
            text.parse().map(Target::of).map_err(|e| format!("config: targets: {text:?}: {e}"))
        });
        let targets = targets.collect::<Result<Vec<_>, String>>()?;
        let every_ns = config["every_s"].as_u64().unwrap_or(10).max(1) * 1_000_000_000;
        log!(Info, "measuring {} targets", targets.len());
        clock::set_timer(ROUND, now);
        Ok(Self { targets, every_ns, rounds: Rounds::default() })
    }

    fn handle(&mut self, now: Instant, events: Events<'_>) {
        for event in events {
            match event {
                Event::Timer { token: ROUND } => {
                    clock::set_timer(ROUND, now + self.every_ns);
                    for (i, target) in self.targets.iter().enumerate() {
                        match net::connect(target.address) {
                            Ok(conn) => self.rounds.begin(conn, i, now),
                            Err(why) => log!(Warn, "{}: {why}", target.address),
                        }
                    }
                }
                Event::Established { conn, .. } => {
                    net::close(conn);
                    if let Some((i, seconds)) = self.rounds.done(conn, now) {
                        let target = &self.targets[i];
                        log!(Info, "{}: {:.3} ms", target.address, seconds * 1e3);
                        metrics::update(target.seconds.map(|series| (series, seconds)));
                        self.count(i);
                    }
                }
                Event::Failed { conn, reason } => {
                    if let Some(i) = self.rounds.failed(conn) {
                        log!(Warn, "{}: {reason:?}", self.targets[i].address);
                        self.count(i);
                    }
                }
                _ => {}
            }
        }
    }
}

impl Probe {
    fn count(&self, i: usize) {
        let (target, (done, failed)) = (&self.targets[i], self.rounds.counts(i));
        let values = [(target.done, done), (target.failed, failed)];
        metrics::update(values.into_iter().filter_map(|(series, n)| Some((series?, n as f64))));
    }
}

impl Target {
    fn of(address: SocketAddr) -> Self {
        let at = address.to_string();
        let labels = [("target", at.as_str())];
        let count = |result| {
            let labels = [labels[0], ("result", result)];
            metrics::define(Kind::Counter, "probe_connects_total", "Connections tried.", &labels)
        };
        let help = "How long the last connection took.";
        let seconds = metrics::define(Kind::Gauge, "probe_connect_seconds", help, &labels);
        Self { address, seconds, done: count("done"), failed: count("failed") }
    }
}

eep_sdk::proxylet!(Probe, manifest = "../proxylet.json");
