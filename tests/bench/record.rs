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
    /// Processors of the node, its writer's thread included; the generator has the others, two at least
    #[arg(long, default_value_t = 1)]
    processors: usize,
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
    let processors = Processors::split_at(args.processors.max(1));
    for number in 0..args.turns.max(1) {
        // Each is the first every other time: what a machine does for others comes and goes in minutes.
        let recorded_first = number % 2 == 1;
        for record in [recorded_first, !recorded_first] {
            let turn = turn(args, &processors, if record { "on" } else { "off" })?;
            if record { &mut recorded } else { &mut plain }.push(turn);
        }
    }
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let of = |turns: &[Turn], figure: Figure| median(turns.iter().map(figure).collect());
    // Of turns one after the other: most of the noise is the same in both.
    let ratio = |figure: Figure| {
        median(
            recorded.iter().zip(&plain).map(|(recorded, plain)| figure(recorded) / figure(plain)).collect(),
        )
    };
    let mut report = Report::new("relay with a recording");
    report
        .setting("turns", args.turns.max(1))
        .setting("processors", args.processors.max(1))
        .figure("plain_relay", of(&plain, received), "queries/s")
        .figure("recorded_relay", of(&recorded, received), "queries/s")
        .figure("rate_ratio", ratio(received), "recorded/plain")
        .figure("plain_cpu_per_query", of(&plain, cpu), "us")
        .figure("recorded_cpu_per_query", of(&recorded, cpu), "us")
        .figure("cpu_ratio", ratio(cpu), "recorded/plain")
        .figure("written", of(&recorded, |t| t.written) / f64::from(1 << 20), "MiB");
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
