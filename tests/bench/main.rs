//! `eep-bench`: loads any Gnutella ultrapeer by its address, so that implementations can be compared with one tool.
//!
//! # Map
//!
//! | path | what |
//! | --- | --- |
//! | `shapes` | what is done to the ultrapeer: relay, fan-out, idle leaves, joins, loading, swaps, idle proxylets |
//! | `suite` | all of them against a node, and against the virtual peer without one |
//! | `governed` | the relay path under a policy |
//! | `record` | what a recording costs |
//! | `swarm` | many peers in few threads: connections, handshakes, framing |
//! | `halts` | how long the machine itself stood still |
//! | `words` | query words that select exactly one leaf |
//! | `native` | the virtual peer without a node, to compare with |
//! | `process` | CPU and memory of the process under test |
//! | `report` | figures, as a table for people and as JSON |

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod governed;
mod halts;
mod native;
mod process;
mod record;
mod report;
mod shapes;
mod suite;
mod swarm;
mod words;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::report::Report;

#[derive(Debug, Parser)]
#[command(name = "eep-bench", version, about = "Loads a Gnutella ultrapeer and measures it")]
struct Cli {
    #[command(subcommand)]
    shape: Shape,
    /// Print the report as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Shape {
    /// Leaf to leaf: each query has words that exactly one other leaf announced
    Relay(shapes::relay::Args),
    /// One ultrapeer neighbour sends, all others get each query
    Fanout(shapes::fanout::Args),
    /// Leaves that join and stay: joins a second, memory a leaf
    Idle(shapes::idle::Args),
    /// Leaves that join and leave at once: joins a second
    Join(shapes::join::Args),
    /// From a URL to the first byte that the proxylet serves, uncompiled and from the compile cache
    Load(shapes::load::Args),
    /// Many proxylets that have nothing to do: memory and CPU of each
    Proxylets(shapes::proxylets::Args),
    /// Other code for a service with thousands of leaves on it, under load: what is lost, and how long the pause is
    Swap(shapes::swap::Args),
    /// Be the ultrapeer: the virtual peer without a node, to compare a node with
    Native(native::Args),
    /// Start a node with and without a recording, in turns, and compare what goes through
    Record(record::Args),
    /// Start a node, run all shapes against it and against the virtual peer without a node, and compare
    Suite(suite::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(why) = process::raise_descriptor_limit() {
        eprintln!("eep-bench: descriptors stay at the soft limit: {why}");
    }
    let reports = match &cli.shape {
        Shape::Suite(args) => suite::run(args),
        shape => run(shape).map(|report| vec![report]),
    };
    match reports {
        Ok(reports) => {
            print(&reports, cli.json);
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("eep-bench: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one shape.
fn run(shape: &Shape) -> Result<Report, String> {
    match shape {
        Shape::Relay(args) => shapes::relay::run(args),
        Shape::Fanout(args) => shapes::fanout::run(args),
        Shape::Idle(args) => shapes::idle::run(args),
        Shape::Join(args) => shapes::join::run(args),
        Shape::Load(args) => shapes::load::run(args),
        Shape::Proxylets(args) => shapes::proxylets::run(args),
        Shape::Swap(args) => shapes::swap::run(args),
        Shape::Native(args) => native::run(args).map(|never| match never {}),
        Shape::Record(args) => record::run(args),
        Shape::Suite(_) => Err("a suite has no suites in it".to_owned()),
    }
}

fn print(reports: &[Report], json: bool) {
    if json {
        let all: Vec<_> = reports.iter().map(Report::json).collect();
        println!("{}", serde_json::Value::from(all));
    } else {
        reports.iter().for_each(|report| print!("{}", report.table()));
    }
}
