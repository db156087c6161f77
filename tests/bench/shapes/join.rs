//! Leaves that join and leave at once, over and over.

use std::time::Instant;

use hdrhistogram::Histogram;

use super::meter::{cpu_figures, sample};
use crate::report::Report;
use crate::swarm::{Kind, Target, Worker};
use crate::words::Words;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Joins in all
    #[arg(long, default_value_t = 5_000)]
    pub(crate) joins: usize,
    /// Leaves that join together and then leave together
    #[arg(long, default_value_t = 50)]
    pub(crate) at_once: usize,
}

pub(crate) fn run(args: &Args) -> Result<Report, String> {
    let words = Words::new(args.at_once, super::IDLE_WORDS);
    let tables: Vec<Vec<u8>> = (0..args.at_once.max(1)).map(|n| words.table(n)).collect();
    let mut handshake_ns = Histogram::<u64>::new_with_max(60_000_000_000, 3).map_err(|e| e.to_string())?;
    let before = sample(args.target.pid)?;
    let began = Instant::now();
    let mut done = 0;
    while done < args.joins {
        let mut worker = Worker::new().map_err(|e| e.to_string())?;
        let n = args.at_once.clamp(1, args.joins - done);
        let specs = (0..n).map(|i| args.target.spec(done + i, Kind::Leaf, tables[i].clone()));
        worker.join(specs, n)?;
        for conn in &worker.conns {
            if let Some(joined) = conn.joined {
                handshake_ns.saturating_record(joined.duration_since(conn.began).as_nanos() as u64);
            }
        }
        done += n;
    }
    let seconds = began.elapsed().as_secs_f64();
    let after = sample(args.target.pid)?;

    let ms = |q: f64| handshake_ns.value_at_quantile(q) as f64 / 1e6;
    let mut report = Report::new("join");
    report
        .setting("target", args.target.target)
        .setting("joins", args.joins)
        .setting("at-once", args.at_once)
        .figure("join_rate", done as f64 / seconds, "joins/s")
        .figure("handshake_p50", ms(0.5), "ms")
        .figure("handshake_p99", ms(0.99), "ms");
    cpu_figures(&mut report, before.zip(after), seconds, done as u64, "cpu_per_join");
    Ok(report)
}
