//! What a recording costs: the relay shape against nodes with and without one, in turns.

use eep_tests::loopback::Loopback;

use crate::report::Report;
use crate::suite::{self, Processors, Target, say, start_node_with};

/// Leaves that the peer has room for.
const LEAVES: usize = 1_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    suite: suite::Args,
    /// Turns of each kind; the figures are medians
    #[arg(long, default_value_t = 3)]
    turns: usize,
}

/// One of them.
type Figure = fn(&Turn) -> f64;

/// What one turn found.
#[derive(Clone, Copy, Debug)]
struct Turn {
    received: f64,
    cpu_per_query: f64,
    /// Bytes on disk, of what was recorded.
    written: f64,
}

pub(crate) fn run(args: &Args) -> Result<Report, String> {
    let (received, cpu): (Figure, Figure) = (|t| t.received, |t| t.cpu_per_query);
    let (mut plain, mut recorded) = (Vec::new(), Vec::new());
    // Once: a thread that is kept to some processors takes them for all that there are.
    let processors = Processors::split();
    for _ in 0..args.turns.max(1) {
        plain.push(turn(args, &processors, "off")?);
        recorded.push(turn(args, &processors, "on")?);
    }
    let median = |turns: &[Turn], of: Figure| {
        let mut all: Vec<f64> = turns.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let mut report = Report::new("relay with a recording");
    report
        .figure("plain_relay", median(&plain, received), "queries/s")
        .figure("recorded_relay", median(&recorded, received), "queries/s")
        .figure("rate_ratio", median(&recorded, received) / median(&plain, received), "recorded/plain")
        .figure("plain_cpu_per_query", median(&plain, cpu), "us")
        .figure("recorded_cpu_per_query", median(&recorded, cpu), "us")
        .figure("written", median(&recorded, |t| t.written) / f64::from(1 << 20), "MiB");
    Ok(report)
}

fn turn(args: &Args, processors: &Processors, record: &str) -> Result<Turn, String> {
    let net = Loopback::claim();
    processors.for_the_tested()?;
    let (node, address) = start_node_with(&args.suite.eep, &args.suite.proxylet, &net, LEAVES, record)?;
    // The writer has the node's one processor too: what it costs is counted.
    processors.for_the_generator()?;
    let target = Target { address: address.into(), pid: node.pid() };
    say(&format!("relay, recording {record}"));
    let relay = target.shape(&["relay"], &args.suite)?;
    let folder = std::fs::read_dir(node.data().join("recordings"));
    let files = folder.into_iter().flatten().filter_map(|entry| entry.ok()?.metadata().ok());
    let written = files.map(|file| file.len() as f64).sum();
    let get = |name: &str| relay.get(name).ok_or_else(|| format!("the relay shape has no {name}"));
    Ok(Turn { received: get("received")?, cpu_per_query: get("cpu_per_query")?, written })
}
