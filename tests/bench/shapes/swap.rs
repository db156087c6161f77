//! Other code for a service that serves: leaves by the thousand search for one another while `eep modify --url` takes
//! place, several times.
//!
//! Each query is told from all others, so what is lost and what comes twice is counted one by one. The pause is what the
//! node says, and what the peers see: the longest time in which none of them heard anything. A generator that cannot keep
//! up lengthens that one too, so the longest silence before the first swap stands beside it; and beside both, how long the
//! machine itself stood still: before the first swap, from there on, and during the swap with the longest pause.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eep_tests::loopback::Loopback;
use eep_tests::node::{Node, other_version};
use serde_json::Value;

use super::relay::{self, Clock, Manner};
use super::{IDLE_WORDS, Load};
use crate::halts::Halts;
use crate::report::Report;
use crate::suite::{path, start_node};
use crate::swarm::Target;
use crate::words::Words;

/// From the first measured second to the first swap.
const BEFORE: Duration = Duration::from_secs(3);
/// Handshakes under way at a time.
const AT_ONCE: usize = 64;
/// Words that all leaves have, so that texts can differ.
const COMMON_WORDS: usize = 64;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node's binary
    #[arg(long, value_name = "FILE")]
    eep: PathBuf,
    /// The Gnutella peer's code
    #[arg(long, value_name = "FILE")]
    proxylet: PathBuf,
    /// The other version of it, to and fro; without it, the same with another digest
    #[arg(long, value_name = "FILE")]
    other: Option<PathBuf>,
    /// Leaves
    #[arg(long, default_value_t = 5_000)]
    leaves: usize,
    /// Queries a second, in all
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
    /// Swaps
    #[arg(long, default_value_t = 6)]
    swaps: u32,
    /// Seconds from one swap to the next
    #[arg(long, default_value_t = 4.0)]
    every: f64,
    /// Threads of the generator
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// What the node says of one swap.
struct Told {
    pause_ms: f64,
    connections: f64,
    closed: f64,
    /// The machine's longest, from the order to the end of the probation.
    halt: Duration,
}

pub(crate) fn run(args: &Args) -> Result<Report, String> {
    let net = Loopback::claim();
    let (node, listen) = start_node(&args.eep, &args.proxylet, &net, args.leaves + 100)?;
    let versions = [other(args, &node)?, args.proxylet.clone()];
    let every = Duration::from_secs_f64(args.every.max(0.5));
    let measured = BEFORE + every * (args.swaps + 1);
    let load = Load {
        rate: Some(args.rate),
        window: 64,
        batch: 4,
        seconds: measured.as_secs_f64(),
        warmup: 2.0,
        more_words: 1,
    };
    let target = Target { target: listen.into(), pid: Some(node.pid()), from: None };
    let relay = relay::Args { target, load, leaves: args.leaves, threads: args.threads };
    let words = Words::new(args.leaves, COMMON_WORDS).filled(IDLE_WORDS);
    let begun = Arc::new(AtomicBool::new(false));
    let manner = Manner { at_once: AT_ONCE, watched: Some(Arc::clone(&begun)) };
    let halts = Halts::watch();
    let (seen, ((mut told, halt), halt_before)) = relay::under_load(&relay, &words, &manner, |clock| {
        let first = relay.load.warmup() + BEFORE;
        clock.sleep_until(first);
        begun.store(true, Ordering::Relaxed);
        let halt_before = halts.longest();
        Ok((swap_each(args, &node, &versions, clock, first, every, &halts)?, halt_before))
    })?;
    drop(halts);
    let ledger = seen.meter.ledger.as_ref().ok_or("nothing was noted")?;

    told.sort_by(|a, b| a.pause_ms.total_cmp(&b.pause_ms));
    let longest = told.last().ok_or("no swap took place")?;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let closed: f64 = told.iter().map(|t| t.closed).sum();
    let mut report = Report::new("swap");
    report
        .setting("leaves", args.leaves)
        .setting("rate", args.rate)
        .setting("swaps", args.swaps)
        .figure("connections", longest.connections, "taken over")
        .figure("connections_lost", seen.gone as f64 + closed, "connections")
        .figure("sent", seen.sent as f64, "queries")
        .figure("lost", seen.sent as f64 - ledger.distinct as f64, "queries")
        .figure("doubled", ledger.doubled as f64, "queries")
        .figure("misrouted", seen.meter.misrouted as f64, "queries")
        .figure("pause_p50", told[told.len() / 2].pause_ms, "ms (node)")
        .figure("pause_max", longest.pause_ms, "ms (node)")
        .figure("halt_then", ms(longest.halt), "ms (machine)")
        .figure("halt_max", ms(halt), "ms (machine)")
        .figure("halt_before", ms(halt_before), "ms (machine)")
        .figure("silence_max", ms(ledger.silence), "ms (peers)")
        .figure("silence_before", ms(ledger.silence_before), "ms (peers)");
    seen.meter.report_latency(&mut report);
    Ok(report)
}

/// The other version: as it was named, or made.
fn other(args: &Args, node: &Node) -> Result<PathBuf, String> {
    if let Some(other) = &args.other {
        return Ok(other.clone());
    }
    let code = std::fs::read(&args.proxylet).map_err(|e| format!("{}: {e}", args.proxylet.display()))?;
    let file = node.path("other.wasm");
    std::fs::write(&file, other_version(&code, "another")).map_err(|e| e.to_string())?;
    Ok(file)
}

/// What the node says of each, and the longest halt of the machine meanwhile.
fn swap_each(
    args: &Args,
    node: &Node,
    versions: &[PathBuf; 2],
    clock: &Clock,
    first: Duration,
    every: Duration,
    halts: &Halts,
) -> Result<(Vec<Told>, Duration), String> {
    let mut told = Vec::new();
    let mut halt = Duration::ZERO;
    for n in 0..args.swaps {
        clock.sleep_until(first + every * n);
        halt = halt.max(halts.longest());
        let swapped = swap(node, &versions[n as usize % 2])?;
        told.push(Told { halt: halts.longest(), ..swapped });
    }
    let halt = told.iter().map(|t| t.halt).fold(halt, Duration::max);
    let over = clock.elapsed().saturating_sub(first + every * args.swaps);
    if over.is_zero() {
        Ok((told, halt))
    } else {
        Err(format!("swaps took {over:?} too long: raise --every"))
    }
}

fn swap(node: &Node, version: &Path) -> Result<Told, String> {
    let version = version.canonicalize().map_err(|e| e.to_string())?;
    let done = node.eep(&["modify", "edge", "--url", path(&version)?, "--health-window-ms", "500"]);
    if done.code != Some(0) {
        return Err(format!("eep modify: {}", done.stderr));
    }
    let status = node.json(&["status", "edge"]);
    let last = &status["last_swap"];
    if last["outcome"] != "held" {
        return Err(format!("the swap did not hold: {last}"));
    }
    let number =
        |name: &str| last[name].as_f64().ok_or_else(|| format!("no {name} in {}", Value::clone(last)));
    Ok(Told {
        pause_ms: number("pause_s")? * 1e3,
        connections: number("connections")?,
        closed: number("connections_closed")?,
        halt: Duration::ZERO,
    })
}
