//! One ultrapeer neighbour sends, and all others get each query: its TTL lasts beyond them.

use std::time::{Duration, Instant};

use super::compose::Composer;
use super::meter::{Meter, cpu_figures, sample};
use super::pace::{Senders, drive};
use super::{COMMON_WORDS, Load};
use crate::report::Report;
use crate::swarm::{Kind, Target, Worker};
use crate::words::Words;

/// How long copies that are under way at the end may still take.
const DRAIN: Duration = Duration::from_secs(1);
/// As if from a leaf of the sender, with hops left when the neighbours get it: no last-hop test applies.
const TTL_HOPS: (u8, u8) = (3, 1);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) load: Load,
    /// Ultrapeer neighbours that listen
    #[arg(long, default_value_t = 32)]
    pub(crate) neighbours: usize,
}

struct Fanout<'a> {
    args: &'a Args,
    worker: Worker,
    meter: Meter,
    epoch: Instant,
    compose: Composer<'a>,
}

pub(crate) fn run(args: &Args) -> Result<Report, String> {
    let words = Words::new(args.neighbours + 1, COMMON_WORDS);
    let epoch = Instant::now();
    let mut worker = Worker::new().map_err(|e| e.to_string())?;
    let specs = (0..=args.neighbours).map(|n| args.target.spec(n, Kind::Ultrapeer, words.table(n)));
    worker.join(specs, args.neighbours + 1)?;
    let compose = Composer::new(&words, args.load.more_words, 1);
    let meter = Meter::new(epoch, args.neighbours + 1, 1);
    let mut fanout = Fanout { args, worker, meter, epoch, compose };

    // The load without measuring, then the load and the measurement.
    let now = epoch.elapsed();
    drive(&mut fanout, &args.load, 1.0, (now, now + args.load.warmup()))?;
    let start = epoch.elapsed();
    let span = (start, start + args.load.measured());
    fanout.meter.span = span;
    let before = sample(args.target.pid)?;
    let sent = drive(&mut fanout, &args.load, 1.0, span)?;
    let after = sample(args.target.pid)?;
    let copies = sent * args.neighbours as u64;
    while epoch.elapsed() < span.1 + DRAIN && fanout.meter.received() < copies {
        fanout.turn(Duration::from_millis(10))?;
    }

    let received = fanout.meter.received();
    let seconds = args.load.measured().as_secs_f64();
    let mut report = Report::new("fanout");
    report.setting("target", args.target.target).setting("neighbours", args.neighbours);
    match args.load.rate {
        Some(rate) => report.setting("rate", rate).setting("batch", args.load.batch),
        None => report.setting("window", args.load.window),
    };
    report
        .figure("sent", sent as f64 / seconds, "queries/s")
        .figure("received", received as f64 / seconds, "copies/s")
        .figure("lost", 100.0 * (1.0 - received as f64 / (copies as f64).max(1.0)), "%");
    fanout.meter.report_latency(&mut report);
    cpu_figures(&mut report, before.zip(after), seconds, received, "cpu_per_copy");
    Ok(report)
}

impl Senders for Fanout<'_> {
    fn count(&self) -> usize {
        1
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn burst(&mut self, sender: usize, n: u32, at: Duration) {
        for _ in 0..n {
            let out = self.worker.conns[sender].outgoing();
            self.compose.query(out, (sender, at), TTL_HOPS, 1);
        }
        self.worker.conns[sender].flush();
    }

    fn idle(&self, sender: usize) -> bool {
        self.worker.conns[sender].idle()
    }

    fn heard(&self, sender: usize) -> u64 {
        self.meter.heard_of[sender] / self.args.neighbours.max(1) as u64
    }

    fn turn(&mut self, limit: Duration) -> Result<(), String> {
        self.worker.turn(limit, &mut self.meter).map_err(|e| e.to_string())?;
        match self.worker.first_gone() {
            Some(why) => Err(format!("the ultrapeer let a neighbour go: {why}")),
            None => Ok(()),
        }
    }
}
