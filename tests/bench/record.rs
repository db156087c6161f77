//! What a recording costs: the relay shape against a node with one and a node without, in windows of a second in turns.
//!
//! Both nodes have the same processor, and one of them has nothing to do. What a machine does for others comes and goes
//! within seconds and is often more than what is measured here; of two windows in a row it is in both.

use eep_tests::loopback::Loopback;
use eep_tests::node::Node;

use crate::report::Report;
use crate::suite::{self, Processors, Target, say, start_node_with};

/// Leaves that the peer has room for.
const LEAVES: usize = 1_000;
/// Seconds of one window, and those of the same load before it.
const WINDOW_S: f64 = 1.0;
const WARMUP_S: f64 = 0.5;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    suite: suite::Args,
    /// Pairs of nodes, one after the other; each is measured for the seconds given
    #[arg(long, default_value_t = 4)]
    turns: usize,
    /// Processors of the nodes, their writers' threads included; the generator has the others, two at least
    #[arg(long, default_value_t = 1)]
    processors: usize,
}

/// What one window found.
#[derive(Clone, Copy, Debug)]
struct Window {
    received: f64,
    cpu_per_query: f64,
}

/// Two windows in a row.
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
        written.push(turn(args, &processors, &mut pairs)?);
    }
    let ratio = |figure: fn(&Window) -> f64| {
        let ratios = pairs.iter().map(|pair| figure(&pair.recorded) / figure(&pair.plain));
        Quartiles::of(ratios.collect())
    };
    let median = |figure: &dyn Fn(&Pair) -> f64| Quartiles::of(pairs.iter().map(figure).collect()).median;
    let (rate, cpu) = (ratio(|w| w.received), ratio(|w| w.cpu_per_query));
    let mut report = Report::new("relay with a recording");
    report
        .setting("turns", args.turns.max(1))
        .setting("windows", 2 * pairs.len())
        .setting("processors", args.processors.max(1))
        .figure("plain_relay", median(&|p| p.plain.received), "queries/s")
        .figure("recorded_relay", median(&|p| p.recorded.received), "queries/s")
        .figure("rate_ratio", rate.median, "recorded/plain")
        .figure("rate_ratio_low", rate.low, "recorded/plain")
        .figure("rate_ratio_high", rate.high, "recorded/plain")
        .figure("plain_cpu_per_query", median(&|p| p.plain.cpu_per_query), "us")
        .figure("recorded_cpu_per_query", median(&|p| p.recorded.cpu_per_query), "us")
        .figure("cpu_ratio", cpu.median, "recorded/plain")
        .figure("cpu_ratio_low", cpu.low, "recorded/plain")
        .figure("cpu_ratio_high", cpu.high, "recorded/plain")
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
fn turn(args: &Args, processors: &Processors, pairs: &mut Vec<Pair>) -> Result<f64, String> {
    processors.for_the_tested()?;
    let plain = Tested::start(args, "off")?;
    let recorded = Tested::start(args, "on")?;
    // The writer has the nodes' one processor too: what it costs is counted.
    processors.for_the_generator()?;
    for _ in 0..args.suite.seconds.div_euclid(WINDOW_S).max(1.0) as usize {
        // Each is the first every other time.
        let pair = if pairs.len().is_multiple_of(2) {
            let plain = plain.window()?;
            Pair { plain, recorded: recorded.window()? }
        } else {
            let recorded = recorded.window()?;
            Pair { plain: plain.window()?, recorded }
        };
        pairs.push(pair);
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
        Ok(Self { node, target, _net: net })
    }

    fn window(&self) -> Result<Window, String> {
        let (warmup, seconds) = (WARMUP_S.to_string(), WINDOW_S.to_string());
        let relay = self.target.plain_shape(&["relay", "--warmup", &warmup, "--seconds", &seconds])?;
        let get = |name: &str| relay.get(name).ok_or_else(|| format!("the relay shape has no {name}"));
        Ok(Window { received: get("received")?, cpu_per_query: get("cpu_per_query")? })
    }
}
