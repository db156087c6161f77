//! What nodes know of their neighbours while nodes come and go, and what that costs:
//! `cargo run -p topology --release --example churn -- --nodes 500 --online-min 30 --seed 1`.
#![allow(clippy::print_stdout, dead_code, reason = "a command's output; it uses a part of the network")]

#[path = "../tests/net/mod.rs"]
mod net;

use std::time::Duration;

use clap::Parser;

#[derive(Parser)]
struct Args {
    /// Nodes that are up at a time, in the mean.
    #[arg(long, default_value_t = 500)]
    nodes: usize,
    /// Mean time that a node stays, in minutes; exponentially distributed.
    #[arg(long, default_value_t = 30)]
    online_min: u64,
    /// Measured time, in minutes, after as long a time to settle.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// First seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs, each with the next seed.
    #[arg(long, default_value_t = 3)]
    runs: u64,
}

fn main() {
    let args = Args::parse();
    let (mut known, mut bytes, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for seed in args.seed..args.seed + args.runs {
        let mut net = net::joined(seed, args.nodes);
        let mut churn = net::Churn::over(&mut net, Duration::from_secs(args.online_min * 60));
        churn.run_for(&mut net, Duration::from_secs(args.minutes * 60));
        let before = net.totals().sent_bytes;
        let (mut node_minutes, mut known_here, mut times_here, mut lost) = (0, Vec::new(), Vec::new(), 0);
        for _ in 0..args.minutes {
            churn.run_for(&mut net, Duration::from_secs(60));
            let up = net.up();
            node_minutes += up.len();
            known_here.push(net::neighbours_known(&net, usize::MAX));
        }
        let sent = net.totals().sent_bytes - before;
        for _ in 0..200 {
            let up = net.up();
            let (from, target) = (up[net.dice.below(up.len())], up[net.dice.below(up.len())]);
            let id = net.contact(target).id;
            let started = net.now;
            let lookup = net.with(from, |dht, now| dht.find_node(now, id)).expect("few lookups");
            match net.finish(from, lookup).0 {
                topology::dht::Outcome::Node(_) => {
                    times_here.push(net.now.since(started).as_secs_f64() * 1e3)
                }
                _ => lost += 1,
            }
        }
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
        known.push(mean(&known_here));
        times.push(mean(&times_here));
        bytes.push(sent as f64 / (node_minutes * 60) as f64);
        println!(
            "seed {seed}: {} nodes up, {:.3} of 5 neighbours known, {:.0} bytes/s a node sent, lookup {:.1} ms, {lost} of 200 not found, {} bans",
            net.up().len(),
            known[known.len() - 1],
            bytes[bytes.len() - 1],
            times[times.len() - 1],
            net.totals().refused.bans,
        );
    }
    println!("neighbours known: {}", net::interval(&known, "of 5"));
    println!("upkeep sent a node: {}", net::interval(&bytes, "bytes/s"));
    println!("lookup: {}", net::interval(&times, "ms"));
}
