//! Leaves that join and stay.

use std::time::{Duration, Instant};

use super::meter::sample;
use crate::report::Report;
use crate::swarm::{Kind, Target, Worker};
use crate::words::Words;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Leaves to join
    #[arg(long, default_value_t = 10_000)]
    pub(crate) leaves: usize,
    /// Handshakes under way at a time
    #[arg(long, default_value_t = 64)]
    pub(crate) at_once: usize,
    /// Seconds to stay, with the CPU that this costs
    #[arg(long, default_value_t = 10.0)]
    pub(crate) stay: f64,
    /// Join without query routing tables
    #[arg(long)]
    pub(crate) no_tables: bool,
}

pub(crate) fn run(args: &Args) -> Result<Report, String> {
    let words = Words::new(args.leaves, super::IDLE_WORDS);
    let tables: Vec<Vec<u8>> =
        (0..args.leaves).map(|n| if args.no_tables { Vec::new() } else { words.table(n) }).collect();
    let mut worker = Worker::new().map_err(|e| e.to_string())?;

    let before = sample(args.target.pid)?;
    let began = Instant::now();
    let specs = tables.into_iter().enumerate().map(|(n, table)| args.target.spec(n, Kind::Leaf, table));
    worker.join(specs, args.at_once.max(1))?;
    let joined_in = began.elapsed();

    // Tables that have been sent are still being read: the figure is taken when the wire is quiet.
    let settled = Instant::now() + Duration::from_secs(2);
    stay(&mut worker, settled)?;
    let joined = sample(args.target.pid)?;
    let watched = Duration::from_secs_f64(args.stay.max(0.0));
    stay(&mut worker, Instant::now() + watched)?;
    let after = sample(args.target.pid)?;

    let mut report = Report::new("idle");
    report
        .setting("target", args.target.target)
        .setting("leaves", args.leaves)
        .setting("at-once", args.at_once)
        .setting("tables", !args.no_tables)
        .figure("join_rate", args.leaves as f64 / joined_in.as_secs_f64(), "joins/s");
    if let (Some(before), Some(joined), Some(after)) = (before, joined, after) {
        let grown = joined.resident_bytes as f64 - before.resident_bytes as f64;
        let join_cpu = (joined.cpu - before.cpu).as_secs_f64();
        report
            .figure("memory_per_leaf", grown / args.leaves as f64 / 1024.0, "KiB")
            .figure("resident", joined.resident_bytes as f64 / 1e6, "MB")
            .figure("cpu_per_join", join_cpu * 1e6 / args.leaves as f64, "us")
            .figure("threads", f64::from(joined.threads), "threads");
        if !watched.is_zero() {
            let cpu = (after.cpu - joined.cpu).as_secs_f64() / watched.as_secs_f64();
            report.figure("idle_cpu", cpu * 100.0, "% of a core");
        }
    }
    Ok(report)
}

fn stay(worker: &mut Worker, until: Instant) -> Result<(), String> {
    while Instant::now() < until {
        worker.turn(Duration::from_millis(50), &mut ()).map_err(|e| e.to_string())?;
        if let Some(why) = worker.first_gone() {
            return Err(format!("the ultrapeer let a leaf go: {why}"));
        }
    }
    Ok(())
}
