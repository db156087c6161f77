//! Nodes in network namespaces, ways between them cut and healed.
//!
//! In the suite four nodes and a few cuts. The long form is the same as a command, and prints what it measured:
//! `EEP_MESH_NODES=12 EEP_MESH_SECONDS=600 EEP_MESH_SEED=1 cargo test -p eep --test mesh live -- --nocapture`.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::node::{Domain, Node, until};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).stderr(std::process::Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Namespaces around one bridge; removed when dropped.
struct Net {
    names: Vec<String>,
}

impl Net {
    /// None where it cannot be had: it takes root and iproute2.
    fn new(nodes: usize) -> Option<Self> {
        let pid = std::process::id();
        let hub = format!("eepm-{pid}-hub");
        let mut net = Self { names: vec![hub.clone()] };
        let made = ip(&["netns", "add", &hub])
            && ip(&["-n", &hub, "link", "add", "br0", "type", "bridge"])
            && ip(&["-n", &hub, "link", "set", "br0", "up"]);
        if !made {
            return None;
        }
        for i in 0..nodes {
            let (name, port) = (format!("eepm-{pid}-{i}"), format!("p{i}"));
            net.names.push(name.clone());
            let address = format!("{}/24", Self::address(i));
            let made = ip(&["netns", "add", &name])
                && ip(&[
                    "link", "add", "eth0", "netns", &name, "type", "veth", "peer", "name", &port, "netns",
                    &hub,
                ])
                && ip(&["-n", &hub, "link", "set", &port, "master", "br0", "up"])
                && ip(&["-n", &name, "link", "set", "lo", "up"])
                && ip(&["-n", &name, "addr", "add", &address, "dev", "eth0"])
                && ip(&["-n", &name, "link", "set", "eth0", "up"]);
            assert!(made, "the namespace {name} cannot be made");
        }
        Some(net)
    }

    fn address(i: usize) -> String {
        format!("10.79.0.{}", i + 1)
    }

    fn of(&self, i: usize) -> &str {
        &self.names[i + 1]
    }

    /// Lets nothing pass between two nodes any more, or everything again.
    fn set(&self, a: usize, b: usize, cut: bool) {
        let verb = if cut { "add" } else { "del" };
        for (from, to) in [(a, b), (b, a)] {
            let to = format!("{}/32", Self::address(to));
            assert!(ip(&["-n", self.of(from), "route", verb, "blackhole", &to]), "route {verb} {to}");
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&["netns", "del", name]);
        }
    }
}

/// The nodes, and between which of them the way is cut.
struct Field {
    net: Net,
    nodes: Vec<Node>,
    cut: BTreeSet<(usize, usize)>,
    slowest_map: Duration,
    slowest_stream: Duration,
    streams: usize,
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl Field {
    fn toggle(&mut self, a: usize, b: usize) {
        let pair = pair(a, b);
        let cut = !self.cut.remove(&pair);
        if cut {
            self.cut.insert(pair);
        }
        self.net.set(a, b, cut);
    }

    fn heal(&mut self) {
        for (a, b) in self.cut.clone() {
            self.toggle(a, b);
        }
    }

    /// All that can be reached from a node, itself included.
    fn reachable(&self, from: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::from([from]);
        let mut left = vec![from];
        while let Some(a) = left.pop() {
            for b in 0..self.nodes.len() {
                if a != b && !self.cut.contains(&pair(a, b)) && found.insert(b) {
                    left.push(b);
                }
            }
        }
        found
    }

    /// Waits until each node's map shows what there is: all that it can reach, and the links between them.
    fn maps_are_right(&mut self) {
        let began = Instant::now();
        for (i, node) in self.nodes.iter().enumerate() {
            let members = self.reachable(i);
            let names: Vec<String> = members.iter().map(|m| format!("edge-{m:02}")).collect();
            let links = members.iter().flat_map(|a| members.iter().map(move |b| (*a, *b)));
            let links = links.filter(|(a, b)| a < b && !self.cut.contains(&(*a, *b))).count();
            let mut last = None;
            let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                until("the right map", || {
                    last = Some(node.map());
                    (last.as_ref() == Some(&(names.clone(), links))).then_some(())
                })
            }));
            assert!(
                seen.is_ok(),
                "edge-{i:02} sees {last:?}, there are {names:?} with {links} links; cut: {:?}",
                self.cut
            );
        }
        self.slowest_map = self.slowest_map.max(began.elapsed());
    }

    /// Opens a stream from one node to another: it gets through where there is a path, whatever way that takes.
    fn stream(&mut self, from: usize, to: usize) {
        let name = format!("edge-{to:02}");
        if !self.reachable(from).contains(&to) {
            let out = self.nodes[from].eep(&["topology", "node", &name]);
            assert_eq!(out.status.code(), Some(1), "edge-{from:02} reaches {name} without a path");
            return;
        }
        let began = Instant::now();
        until(&format!("a stream from edge-{from:02} to {name}, with cuts {:?}", self.cut), || {
            self.nodes[from].eep(&["topology", "node", &name]).status.success().then_some(())
        });
        self.slowest_stream = self.slowest_stream.max(began.elapsed());
        self.streams += 1;
    }
}

#[test]
fn live_streams_find_a_way_while_there_is_one() {
    let count = number("EEP_MESH_NODES", 4) as usize;
    let seconds = number("EEP_MESH_SECONDS", 0);
    let seed = number("EEP_MESH_SEED", 1);
    let Some(net) = Net::new(count) else {
        println!("skipped: network namespaces take root and iproute2");
        return;
    };
    let domain = Domain::new("isp-a");
    let seeds: Vec<String> = (0..2).map(|i| format!("{}:6340", Net::address(i))).collect();
    let nodes = (0..count).map(|i| {
        let mesh = json!({ "seeds": seeds });
        domain.node_in(&format!("edge-{i:02}"), mesh, "0.0.0.0:6340", Some(net.of(i)))
    });
    let nodes = nodes.collect();
    let (slowest_map, slowest_stream) = (Duration::ZERO, Duration::ZERO);
    let mut field = Field { net, nodes, cut: BTreeSet::new(), slowest_map, slowest_stream, streams: 0 };
    field.maps_are_right();
    field.slowest_map = Duration::ZERO;

    // The direct way is cut: another node passes the stream on.
    field.toggle(0, 1);
    field.stream(0, 1);
    field.maps_are_right();
    let told = until("its own words", || field.nodes[0].answer(&["topology", "node", "edge-01"]));
    assert!(told["via"]["name"] != "edge-01" && told["via"]["name"] != "edge-00", "{told}");
    // All ways of one node are cut: nobody reaches it, and the others go on.
    for other in 2..count {
        field.toggle(0, other);
    }
    field.maps_are_right();
    field.stream(0, 1);
    field.stream(1, 2);
    field.heal();
    field.stream(0, 1);
    field.maps_are_right();

    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut below = |n: usize| (rng.next_u32() as usize) % n;
    let mut rounds = 0;
    while rounds < 2 || Instant::now() < end {
        for _ in 0..count {
            let (a, b) = (below(count), below(count));
            if a != b {
                field.toggle(a, b);
            }
        }
        for _ in 0..3 {
            let (a, b) = (below(count), below(count));
            if a != b && field.reachable(a).contains(&b) {
                field.stream(a, b);
            }
        }
        field.maps_are_right();
        rounds += 1;
    }
    println!(
        "{count} nodes, {rounds} rounds of cuts (seed {seed}): {} streams, the slowest connected after {:.2} s; all maps right again after {:.2} s at most",
        field.streams,
        field.slowest_stream.as_secs_f64(),
        field.slowest_map.as_secs_f64()
    );
}
