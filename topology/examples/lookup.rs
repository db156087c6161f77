//! How long it takes to find a node: `cargo run -p topology --release --example lookup -- --nodes 10000 --seed 1`.
//!
//! Each message takes an exponentially distributed time of 50 ms in the mean, one way, drawn anew for each.
#![allow(clippy::print_stdout, dead_code, reason = "a command's output; it uses a part of the network")]

#[path = "../tests/net/mod.rs"]
mod net;

use clap::{Parser, ValueEnum};
use topology::dht::{Config, Outcome};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tables {
    /// Every node joins through the protocol.
    Joined,
    /// Every node has the table of one that has been up for long; only nodes that are asked take memory.
    LongLived,
}

#[derive(Parser)]
struct Args {
    /// Nodes in the network.
    #[arg(long, default_value_t = 1000)]
    nodes: usize,
    /// Lookups of a random node from a random node, one after the other.
    #[arg(long, default_value_t = 2000)]
    lookups: usize,
    /// First seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs, each with the next seed; the interval is over their means.
    #[arg(long, default_value_t = 5)]
    runs: u64,
    /// How tables come about.
    #[arg(long, value_enum, default_value_t = Tables::LongLived)]
    tables: Tables,
}

fn main() {
    let args = Args::parse();
    let mut means = Vec::new();
    for seed in args.seed..args.seed + args.runs {
        let mut net = match args.tables {
            Tables::Joined => net::joined(seed, args.nodes),
            Tables::LongLived => {
                let mut net = net::Net::new(seed, Config::default());
                net.long_lived(args.nodes);
                net
            }
        };
        let frames = net.totals().sent_frames;
        let mut times = Vec::new();
        let mut lost = 0;
        for _ in 0..args.lookups {
            let from = net.dice.below(args.nodes);
            let target = net.dice.below(args.nodes);
            let target = net.contact(target);
            let started = net.now;
            let lookup = net.with(from, |dht, now| dht.find_node(now, target.id)).expect("few lookups");
            let (outcome, _) = net.finish(from, lookup);
            match outcome {
                Outcome::Node(found) if found == target => {
                    times.push(net.now.since(started).as_secs_f64() * 1e3)
                }
                _ => lost += 1,
            }
        }
        times.sort_by(f64::total_cmp);
        let mean = times.iter().sum::<f64>() / times.len().max(1) as f64;
        let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
        println!(
            "seed {seed}: {} nodes, {} found, {lost} not found, mean {mean:.1} ms, median {:.1} ms, 99% {:.1} ms, {:.0} frames sent a lookup, upkeep included",
            args.nodes,
            times.len(),
            at(0.5),
            at(0.99),
            (net.totals().sent_frames - frames) as f64 / args.lookups as f64,
        );
        means.push(mean);
    }
    println!("mean of {} runs: {}", means.len(), net::interval(&means, "ms"));
}
