//! How fast nodes cluster themselves and route around a dead link:
//! `cargo run -p topology --release --example regions -- --clusters 40 --size 25 --seed 1`.
#![allow(clippy::print_stdout, dead_code, reason = "a command's output; it uses a part of the mesh")]

#[path = "../tests/mesh/mod.rs"]
mod mesh;

use std::time::Duration;

use clap::Parser;
use topology::soar::Config;

#[derive(Parser)]
struct Args {
    /// Clusters of nodes.
    #[arg(long, default_value_t = 40)]
    clusters: usize,
    /// Nodes in each.
    #[arg(long, default_value_t = 25)]
    size: usize,
    /// The seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Links that are cut, one after the other.
    #[arg(long, default_value_t = 20)]
    cuts: usize,
}

fn main() {
    let args = Args::parse();
    let config = Config::default();
    let mut mesh = mesh::Mesh::new(args.seed, args.clusters, args.size, &config);
    let step = Duration::from_millis(250);
    let mut elapsed = Duration::ZERO;
    while mesh.astray() > 0 && elapsed < Duration::from_secs(60) {
        mesh.run_for(step);
        elapsed += step;
    }
    println!(
        "{} nodes: converged after {:.2} s ({:.1} probe periods), {} astray",
        mesh.nodes.len(),
        elapsed.as_secs_f64(),
        elapsed.as_secs_f64() / config.probe_interval.as_secs_f64(),
        mesh.astray()
    );
    let held: Vec<usize> = mesh.nodes.iter().map(|n| n.reports_held()).collect();
    let gateways = mesh.nodes[0].graph(1).map_or(0, |g| g.values().filter(|r| !r.edges.is_empty()).count());
    println!(
        "tables: at most {} reports, region {} and {gateways} gateways",
        held.iter().max().unwrap_or(&0),
        args.size
    );
    mesh.run_for(Duration::from_secs(30));
    let sent = |mesh: &mesh::Mesh| mesh.nodes.iter().map(|n| n.stats().sent_bytes).sum::<u64>();
    let before = sent(&mesh);
    mesh.run_for(Duration::from_secs(120));
    let rate = (sent(&mesh) - before) as f64 / 120.0 / mesh.nodes.len() as f64;
    println!("upkeep sent a node: {rate:.0} bytes/s");
    let mut times = Vec::new();
    for _ in 0..args.cuts {
        let (from, to) = (mesh.below(mesh.nodes.len()), mesh.below(mesh.nodes.len()));
        let Some(way) = mesh.walk(from, to).filter(|w| w.len() > 2) else { continue };
        let at = mesh.below(way.len() - 1);
        mesh.cut(way[at], way[at + 1]);
        let mut time = Duration::ZERO;
        let step = Duration::from_millis(50);
        while mesh.walk(from, to).is_none_or(|way| !mesh.passable(&way)) && time < Duration::from_secs(30) {
            mesh.run_for(step);
            time += step;
        }
        times.push(time.as_secs_f64());
        mesh.run_for(Duration::from_secs(5));
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{} links cut: another way after {:.2} s in the mean, {:.2} s at most",
        times.len(),
        times.iter().sum::<f64>() / times.len().max(1) as f64,
        times.last().unwrap_or(&0.0)
    );
}
