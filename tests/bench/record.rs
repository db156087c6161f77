//! What a recording costs: the relay shape against a node with one and a node without, at the same time.
//!
//! Both nodes share one processor, and have it in turns of milliseconds. What a machine does for others comes and goes within
//! seconds, and is often more than what is measured here: this way it is in both. What they have cost is the processor time
//! of a query; how many go through is a node's share of the processor.

use std::thread;
use std::time::Duration;

use eep_tests::loopback::Loopback;
use eep_tests::node::Node;

use crate::process;
use crate::report::Report;
use crate::suite::{self, Processors, Target, say, start_node_with};

/// Leaves that the peer has room for.
const LEAVES: usize = 1_000;
/// Seconds of one window, and those of the same load before it.
const WINDOW_S: f64 = 2.0;
const WARMUP_S: f64 = 1.0;
/// From where the one node and the other are dialled.
const FROM: [&str; 2] = ["127.77.0.0", "127.78.0.0"];

/// How long a node that is at rest does next to nothing, and how often it is looked.
const REST: Duration = Duration::from_millis(500);
const RESTS_MAX: usize = 60;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    suite: suite::Args,
    /// Pairs of nodes, one after the other; each is measured for the seconds given
    #[arg(long, default_value_t = 6)]
    turns: usize,
    /// Processors of the nodes, their writers' threads included; the generator has the others, two at least
    #[arg(long, default_value_t = 1)]
    processors: usize,
}

/// What one window found of a node.
#[derive(Clone, Copy, Debug)]
struct Window {
    received: f64,
    cpu_per_query: f64,
}

/// What it found of both.
#[derive(Clone, Copy, Debug)]
struct Pair {
    plain: Window,
    recorded: Window,
}

pub(crate) fn run(args: &Args) -> Result<Report, String> {
    let (mut pairs, mut written) = (Vec::new(), Vec::new());
    // Once: a thread that is kept to some processors takes them for all that there are.
    let processors = Processors::split_at(args.processors.max(1));
    for number in 1..=args.turns.max(1) {
        say(&format!("relay with and without a recording, {number} of {}", args.turns.max(1)));
        written.push(turn(args, &processors, number, &mut pairs)?);
    }
    let of = |figure: fn(&Pair) -> f64| Quartiles::of(pairs.iter().map(figure).collect());
    let ratio = of(|p| p.recorded.cpu_per_query / p.plain.cpu_per_query);
    let mut report = Report::new("relay with a recording");
    report
        .setting("turns", args.turns.max(1))
        .setting("windows", pairs.len())
        .setting("processors", args.processors.max(1))
        .figure("cpu_ratio", ratio.median, "recorded/plain")
        .figure("cpu_ratio_low", ratio.low, "recorded/plain")
        .figure("cpu_ratio_high", ratio.high, "recorded/plain")
        .figure("plain_cpu_per_query", of(|p| p.plain.cpu_per_query).median, "us")
        .figure("recorded_cpu_per_query", of(|p| p.recorded.cpu_per_query).median, "us")
        .figure("plain_relay", of(|p| p.plain.received).median, "queries/s")
        .figure("recorded_relay", of(|p| p.recorded.received).median, "queries/s")
        .figure("written", Quartiles::of(written).median / f64::from(1 << 20), "MiB");
    Ok(report)
}

/// The median, and between what the middle half lies.
#[derive(Debug)]
struct Quartiles {
    low: f64,
    median: f64,
    high: f64,
}

impl Quartiles {
    fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        let at = |quarters: usize| all[(all.len() - 1) * quarters / 4];
        Self { low: at(1), median: at(2), high: at(3) }
    }
}

/// Measures a fresh pair of nodes; the bytes on disk of what was recorded.
fn turn(args: &Args, processors: &Processors, number: usize, pairs: &mut Vec<Pair>) -> Result<f64, String> {
    // Each is the first every other time.
    processors.for_the_tested()?;
    let (plain, recorded) = if number.is_multiple_of(2) {
        let recorded = Tested::start(args, "on")?;
        (Tested::start(args, "off")?, recorded)
    } else {
        (Tested::start(args, "off")?, Tested::start(args, "on")?)
    };
    // The writer has the nodes' one processor too: what it costs is counted.
    processors.for_the_generator()?;
    for _ in 0..args.suite.seconds.div_euclid(WINDOW_S).max(1.0) as usize {
        let pair = thread::scope(|scope| {
            let other = scope.spawn(|| recorded.window(FROM[1]));
            let plain = plain.window(FROM[0]);
            let recorded = other.join().map_err(|_| "a thread panicked".to_owned())??;
            Ok::<_, String>(Pair { plain: plain?, recorded })
        });
        pairs.push(pair?);
    }
    let folder = std::fs::read_dir(recorded.node.data().join("recordings"));
    let files = folder.into_iter().flatten().filter_map(|entry| entry.ok()?.metadata().ok());
    Ok(files.map(|file| file.len() as f64).sum())
}

/// A node under test.
struct Tested {
    node: Node,
    target: Target,
    _net: Loopback,
}

impl Tested {
    fn start(args: &Args, record: &str) -> Result<Self, String> {
        let net = Loopback::claim();
        let (node, address) = start_node_with(&args.suite.eep, &args.suite.proxylet, &net, LEAVES, record)?;
        let target = Target { address: address.into(), pid: node.pid() };
        let tested = Self { node, target, _net: net };
        tested.rest()?;
        Ok(tested)
    }

    /// Waits until it has nothing to do: its code is compiled for speed while it serves already.
    fn rest(&self) -> Result<(), String> {
        let cpu =
            || Ok::<_, String>(process::usage(self.node.pid()).map_err(|e| format!("the node: {e}"))?.cpu);
        let mut before = cpu()?;
        for _ in 0..RESTS_MAX {
            thread::sleep(REST);
            let now = cpu()?;
            if now.saturating_sub(before) < REST / 10 {
                return Ok(());
            }
            before = now;
        }
        Err("the node does not come to rest".to_owned())
    }

    fn window(&self, from: &str) -> Result<Window, String> {
        let (warmup, seconds) = (WARMUP_S.to_string(), WINDOW_S.to_string());
        // One thread each: both have their part of the generator's processors.
        let words = ["relay", "--from", from, "--threads", "1", "--warmup", &warmup, "--seconds", &seconds];
        let relay = self.target.plain_shape(&words)?;
        let get = |name: &str| relay.get(name).ok_or_else(|| format!("the relay shape has no {name}"));
        Ok(Window { received: get("received")?, cpu_per_query: get("cpu_per_query")? })
    }
}
