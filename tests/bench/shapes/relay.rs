//! Leaf to leaf: each query has words that exactly one other leaf announced.
//!
//! Each thread has its share of the leaves, and its leaves search for one another, so that threads share nothing.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use super::compose::Composer;
use super::meter::{Ledger, Meter, Samples, cpu_figures, sample};
use super::pace::{Senders, drive};
use super::{COMMON_WORDS, Load};
use crate::report::Report;
use crate::swarm::{Kind, Phase, Target, Worker};
use crate::words::Words;

/// How long queries that are under way at the end may still take.
const DRAIN: Duration = Duration::from_secs(1);
/// How long routing tables may take until every leaf is reached.
const SETTLE: Duration = Duration::from_secs(20);
/// How often a leaf that no query has reached is tried again.
const SETTLE_RETRY: Duration = Duration::from_millis(250);
/// Hops that a leaf's query may make.
const TTL: u8 = 4;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) load: Load,
    /// Leaves, each with a word of its own
    #[arg(long, default_value_t = 50)]
    pub(crate) leaves: usize,
    /// Threads of the generator; each needs two leaves
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
}

impl Args {
    fn threads(&self) -> usize {
        self.threads.clamp(1, (self.leaves / 2).max(1))
    }
}

/// What one thread brings back, or all of them.
pub(super) struct Share {
    pub(super) meter: Meter,
    pub(super) sent: u64,
    /// Leaves that the ultrapeer has let go, where that does not end the run.
    pub(super) gone: u64,
}

/// How the leaves behave in other shapes.
#[derive(Debug)]
pub(super) struct Manner {
    /// Handshakes under way at a time, in each thread.
    pub(super) at_once: usize,
    /// Where a leaf that is let go is counted and the others go on: from when on silences count.
    pub(super) watched: Option<Arc<AtomicBool>>,
}

pub(crate) fn run(args: &Args) -> Result<Report, String> {
    let words = Words::new(args.leaves, COMMON_WORDS);
    let manner = Manner { at_once: args.leaves, watched: None };
    let (total, usage) = under_load(args, &words, &manner, |clock| measure(args, clock))?;
    Ok(report(args, total.sent, &total.meter, usage))
}

/// When the load began and how long it has gone on.
pub(super) struct Clock {
    epoch: Instant,
    began: Duration,
}

impl Clock {
    /// For how long the load has run, its warmup included.
    pub(super) fn elapsed(&self) -> Duration {
        self.epoch.elapsed().saturating_sub(self.began)
    }

    /// Sleeps until the load has run so long.
    pub(super) fn sleep_until(&self, at: Duration) {
        std::thread::sleep(at.saturating_sub(self.elapsed()));
    }
}

/// Lets leaves join and search for one another, and does something `meanwhile`.
pub(super) fn under_load<T>(
    args: &Args,
    words: &Words,
    manner: &Manner,
    meanwhile: impl FnOnce(&Clock) -> Result<T, String>,
) -> Result<(Share, T), String> {
    let threads = args.threads();
    if args.leaves < 2 {
        return Err("--leaves: one to ask and one to answer are the least".to_owned());
    }
    let epoch = Instant::now();
    let (ready, go) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    let (shares, done) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|t| {
                let (ready, go) = (&ready, &go);
                scope.spawn(move || {
                    let leaves: Vec<usize> = (t..args.leaves).step_by(threads).collect();
                    let prepared = Relay::prepare(args, words, manner, &leaves, epoch);
                    ready.wait();
                    go.wait();
                    prepared?.run()
                })
            })
            .collect();
        ready.wait();
        let clock = Clock { epoch, began: epoch.elapsed() };
        go.wait();
        let done = meanwhile(&clock);
        let shares: Result<Vec<Share>, String> =
            workers.into_iter().map(|w| w.join().map_err(|_| "a thread panicked".to_owned())?).collect();
        (shares, done)
    });
    let mut total = Share { meter: Meter::new(epoch, 0, 0), sent: 0, gone: 0 };
    total.meter.ledger = manner.watched.as_ref().map(Ledger::new);
    for share in shares? {
        total.meter.merge(&share.meter);
        total.sent += share.sent;
        total.gone += share.gone;
    }
    Ok((total, done?))
}

fn measure(args: &Args, clock: &Clock) -> Result<Samples, String> {
    clock.sleep_until(args.load.warmup());
    let before = sample(args.target.pid)?;
    clock.sleep_until(args.load.warmup() + args.load.measured());
    let after = sample(args.target.pid)?;
    Ok(before.zip(after))
}

fn report(args: &Args, sent: u64, total: &Meter, usage: Samples) -> Report {
    let seconds = args.load.measured().as_secs_f64();
    let received = total.received();
    let mut report = Report::new("relay");
    report
        .setting("target", args.target.target)
        .setting("leaves", args.leaves)
        .setting("threads", args.threads());
    match args.load.rate {
        Some(rate) => report.setting("rate", rate).setting("batch", args.load.batch),
        None => report.setting("window", args.load.window),
    };
    report
        .setting("words", args.load.more_words + 1)
        .figure("sent", sent as f64 / seconds, "queries/s")
        .figure("received", received as f64 / seconds, "queries/s")
        .figure("lost", 100.0 * (1.0 - received as f64 / (sent as f64).max(1.0)), "%")
        .figure("misrouted", total.misrouted as f64, "queries");
    total.report_latency(&mut report);
    cpu_figures(&mut report, usage, seconds, received, "cpu_per_query");
    report
}

/// One thread's leaves, joined and known to the ultrapeer.
struct Relay<'a> {
    args: &'a Args,
    words: &'a Words,
    /// The numbers of this thread's leaves.
    leaves: Vec<usize>,
    worker: Worker,
    meter: Meter,
    epoch: Instant,
    compose: Composer<'a>,
}

impl<'a> Relay<'a> {
    fn prepare(
        args: &'a Args,
        words: &'a Words,
        manner: &Manner,
        leaves: &[usize],
        epoch: Instant,
    ) -> Result<Self, String> {
        let mut worker = Worker::new().map_err(|e| e.to_string())?;
        let specs = leaves.iter().map(|leaf| args.target.spec(*leaf, Kind::Leaf, words.table(*leaf)));
        worker.join(specs, manner.at_once.clamp(1, leaves.len()))?;
        let mut meter = Meter::new(epoch, leaves.len(), leaves.len());
        meter.expect(words, leaves.iter().copied());
        meter.ledger = manner.watched.as_ref().map(Ledger::new);
        let compose = Composer::new(words, args.load.more_words, leaves[0]);
        let mut relay = Self { args, words, leaves: leaves.to_vec(), worker, meter, epoch, compose };
        relay.settle()?;
        Ok(relay)
    }

    /// Searches for each leaf until all tables have taken effect.
    fn settle(&mut self) -> Result<(), String> {
        let end = Instant::now() + SETTLE;
        loop {
            let missing: Vec<usize> = (0..self.leaves.len()).filter(|at| !self.meter.reached[*at]).collect();
            if missing.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!(
                    "{} leaves hear no query, such as the one with the word {:?}",
                    missing.len(),
                    String::from_utf8_lossy(self.words.own(self.leaves[missing[0]]))
                ));
            }
            for to in missing {
                let sender = (to + 1) % self.leaves.len();
                self.write(sender, to, self.epoch.elapsed());
                self.worker.conns[sender].flush();
            }
            let retry = Instant::now() + SETTLE_RETRY;
            while Instant::now() < retry && self.meter.reached.iter().any(|r| !r) {
                self.turn(Duration::from_millis(10))?;
            }
        }
    }

    fn run(mut self) -> Result<Share, String> {
        // In whole microseconds, as GUIDs carry the time: else a query at the very beginning is sent and never counted.
        let start = (self.epoch.elapsed() + self.args.load.warmup()).as_micros();
        let start = Duration::from_micros(start as u64);
        let span = (start, start + self.args.load.measured());
        self.meter.span = span;
        self.meter.misrouted = 0;
        let (args, share) = (self.args, self.leaves.len() as f64 / self.args.leaves as f64);
        let sent = drive(&mut self, &args.load, share, span)?;
        let drained = span.1 + DRAIN;
        while self.epoch.elapsed() < drained && self.meter.received() < sent {
            self.turn(Duration::from_millis(10))?;
        }
        let gone =
            self.worker.conns.iter().filter(|conn| matches!(conn.phase, Phase::Gone(_))).count() as u64;
        Ok(Share { meter: self.meter, sent, gone })
    }

    fn write(&mut self, sender: usize, to: usize, at: Duration) {
        let out = self.worker.conns[sender].outgoing();
        self.compose.query(out, (sender, at), (TTL, 0), self.leaves[to]);
    }
}

impl Senders for Relay<'_> {
    fn count(&self) -> usize {
        self.leaves.len()
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn burst(&mut self, sender: usize, n: u32, at: Duration) {
        for _ in 0..n {
            let others = self.leaves.len() - 1;
            let to = (sender + 1 + self.compose.pick(others)) % self.leaves.len();
            self.write(sender, to, at);
        }
        self.worker.conns[sender].flush();
    }

    fn idle(&self, sender: usize) -> bool {
        self.worker.conns[sender].idle()
    }

    fn heard(&self, sender: usize) -> u64 {
        self.meter.heard_of[sender]
    }

    fn turn(&mut self, limit: Duration) -> Result<(), String> {
        self.worker.turn(limit, &mut self.meter).map_err(|e| e.to_string())?;
        match self.worker.first_gone() {
            Some(why) if self.meter.ledger.is_none() => Err(format!("the ultrapeer let a leaf go: {why}")),
            _ => Ok(()),
        }
    }
}
