//! All shapes in one run: against a node, and against the virtual peer without one.
//!
//! Where the machine has processors to spare, the process under test has one to itself, and the generator the others.

use std::net::{SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Parser;
use eep_tests::loopback::Loopback;
use eep_tests::node::{GNUTELLA_PORT, Node};
use eep_tests::wait::until;
use serde_json::json;

use crate::report::Report;
use crate::{Cli, governed, process};

/// Leaves that the idle shape joins, unless told otherwise.
const IDLE_LEAVES: usize = 10_000;
/// Room beside the idle leaves, for leaves of another shape that are still leaving.
const SPARE_LEAVES: usize = 1_000;
/// Neighbours that the fan-out shape needs: one sends, the others listen.
const NEIGHBOURS: usize = 33;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node's binary
    #[arg(long, value_name = "FILE")]
    pub(crate) eep: PathBuf,
    /// The Gnutella peer's code
    #[arg(long, value_name = "FILE")]
    pub(crate) proxylet: PathBuf,
    /// Seconds to measure each rate
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Leaves of the idle shape
    #[arg(long, default_value_t = IDLE_LEAVES)]
    idle_leaves: usize,
}

pub(crate) fn run(args: &Args) -> Result<Vec<Report>, String> {
    let spare = Processors::split();
    let mut reports = Vec::new();
    let load = ["load", "--eep", path(&args.eep)?, "--proxylet", path(&args.proxylet)?];
    say("loading");
    reports.push(shape(&load)?);

    let net = Loopback::claim();
    let (relay, fanout) = {
        spare.for_the_tested()?;
        let leaves = args.idle_leaves + SPARE_LEAVES;
        let node = start_node(&args.eep, &args.proxylet, &net, leaves)?;
        spare.for_the_generator()?;
        let target = Target { address: node.1.into(), pid: node.0.pid() };
        let (relay, fanout) = rates(args, &target, &mut reports)?;
        say("relay under a policy");
        let governed = governed::run(&node.0, &relay, || target.shape(&["relay"], args))?;
        reports.push(governed);
        let half = (relay.get("received").unwrap_or(0.0) / 2.0).round().to_string();
        say("relay at half the rate");
        reports.push(target.shape(&["relay", "--rate", &half], args)?);
        say("joins");
        reports.push(target.shape(&["join"], args)?);
        say("idle leaves");
        reports.push(target.shape(&["idle", "--leaves", &args.idle_leaves.to_string()], args)?);
        (relay, fanout)
    };
    spare.for_the_tested()?;
    let native = Native::start(&net, args)?;
    spare.for_the_generator()?;
    let target = Target { address: native.address, pid: native.child.id() };
    say("the same without a node");
    let (native_relay, native_fanout) = rates(args, &target, &mut Vec::new())?;
    reports.push(compare(&relay, &fanout, &native_relay, &native_fanout));
    Ok(reports)
}

/// The shapes that find out how much goes through.
fn rates(args: &Args, target: &Target, reports: &mut Vec<Report>) -> Result<(Report, Report), String> {
    say("relay");
    let relay = target.shape(&["relay"], args)?;
    say("fan-out");
    let fanout = target.shape(&["fanout", "--neighbours", &(NEIGHBOURS - 1).to_string()], args)?;
    reports.push(relay.clone());
    reports.push(fanout.clone());
    Ok((relay, fanout))
}

/// What the node and the sandbox cost: the same shapes with and without them.
fn compare(relay: &Report, fanout: &Report, native_relay: &Report, native_fanout: &Report) -> Report {
    let mut report = Report::new("node against native");
    let get = |from: &Report, name: &str| from.get(name).unwrap_or(f64::NAN);
    report
        .figure("native_relay", get(native_relay, "received"), "queries/s")
        .figure("native_cpu_per_query", get(native_relay, "cpu_per_query"), "us")
        .figure("relay_rate_ratio", get(relay, "received") / get(native_relay, "received"), "node/native")
        .figure(
            "relay_cpu_ratio",
            get(native_relay, "cpu_per_query") / get(relay, "cpu_per_query"),
            "native/node",
        )
        .figure("native_fanout", get(native_fanout, "received"), "copies/s")
        .figure("fanout_rate_ratio", get(fanout, "received") / get(native_fanout, "received"), "node/native");
    report
}

/// A process under test.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
}

impl Target {
    pub(crate) fn shape(&self, words: &[&str], args: &Args) -> Result<Report, String> {
        let seconds = args.seconds.to_string();
        let mut all = words.to_vec();
        if matches!(words, ["relay" | "fanout", ..]) {
            all.extend(["--seconds", &seconds]);
        }
        self.plain_shape(&all)
    }

    /// The same, for as long as its own words say.
    pub(crate) fn plain_shape(&self, words: &[&str]) -> Result<Report, String> {
        let (address, pid) = (self.address.to_string(), self.pid.to_string());
        let mut all = words.to_vec();
        all.extend(["--target", &address, "--pid", &pid]);
        shape(&all)
    }
}

/// Runs a shape as from the command line.
fn shape(words: &[&str]) -> Result<Report, String> {
    let cli = Cli::try_parse_from(["eep-bench"].iter().chain(words)).map_err(|e| e.to_string())?;
    crate::run(&cli.shape)
}

/// A node with a Gnutella peer for so many leaves, and where the peer listens.
pub(crate) fn start_node(
    eep: &Path,
    proxylet: &Path,
    net: &Loopback,
    leaves: usize,
) -> Result<(Node, SocketAddrV4), String> {
    start_node_with(eep, proxylet, net, leaves, "off")
}

/// The same; `record` is whether the peer is recorded, as in a manifest.
pub(crate) fn start_node_with(
    eep: &Path,
    proxylet: &Path,
    net: &Loopback,
    leaves: usize,
    record: &str,
) -> Result<(Node, SocketAddrV4), String> {
    let node = Node::start_binary(eep, net);
    let listen = SocketAddrV4::new(net.ip(), GNUTELLA_PORT);
    let manifest = json!({
        "name": "edge",
        "proxylet": { "url": format!("file://{}", proxylet.canonicalize().map_err(|e| e.to_string())?.display()) },
        "grant": [format!("net.listen:{GNUTELLA_PORT}"), "net.connect", format!("datagram:{GNUTELLA_PORT}"), "policy"],
        "limits": { "connections": leaves + 100, "memory": "1GiB" },
        "record": record,
        "config": settings(listen, leaves),
    });
    let file = node.path("edge.yaml");
    std::fs::write(&file, manifest.to_string()).map_err(|e| e.to_string())?;
    let loaded = node.eep(&["load", "--manifest", path(&file)?]);
    if loaded.code != Some(0) {
        return Err(format!("eep load: {}", loaded.stderr));
    }
    Ok((node, listen))
}

fn settings(listen: SocketAddrV4, leaves: usize) -> serde_json::Value {
    json!({
        "listen": listen.to_string(),
        "leaves": leaves,
        "ultrapeers": NEIGHBOURS,
        "allow-private-addresses": true,
    })
}

/// The virtual peer without a node, in a process of its own.
struct Native {
    child: Child,
    address: SocketAddr,
}

impl Native {
    fn start(net: &Loopback, args: &Args) -> Result<Self, String> {
        let listen = SocketAddrV4::new(net.ip(), GNUTELLA_PORT);
        let own = std::env::current_exe().map_err(|e| e.to_string())?;
        let settings = settings(listen, args.idle_leaves + SPARE_LEAVES).to_string();
        let child = Command::new(own)
            .args(["native", "--listen", &listen.to_string(), "--config", &settings])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("eep-bench native: {e}"))?;
        let native = Self { child, address: listen.into() };
        until("the native peer", || std::net::TcpStream::connect(native.address).ok());
        Ok(native)
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Who runs where: the first processors for the process under test, the others for the generator.
pub(crate) struct Processors {
    all: usize,
    tested: usize,
}

impl Processors {
    /// One for the process under test.
    pub(crate) fn split() -> Self {
        Self::split_at(1)
    }

    pub(crate) fn split_at(tested: usize) -> Self {
        Self { all: std::thread::available_parallelism().map_or(1, std::num::NonZero::get), tested }
    }

    pub(crate) fn for_the_tested(&self) -> Result<(), String> {
        self.stay(0..self.tested)
    }

    pub(crate) fn for_the_generator(&self) -> Result<(), String> {
        self.stay(self.tested..self.all)
    }

    fn stay(&self, on: std::ops::Range<usize>) -> Result<(), String> {
        if self.all < self.tested + 2 {
            return Ok(());
        }
        process::stay_on(on).map_err(|e| format!("processors: {e}"))
    }
}

pub(crate) fn say(what: &str) {
    eprintln!("eep-bench: {what} ...");
}

pub(crate) fn path(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))
}
