//! Nodes in network namespaces, ways between them cut and healed.
//!
//! In the suite four nodes and a few cuts. The long form is the same as a command, and prints what it measured: `make
//! mesh-live`, which is `EEP_MESH_NODES=12 EEP_MESH_SECONDS=600 EEP_MESH_SEED=1 cargo test -p eep --test mesh live --
//! --nocapture`.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;

use crate::node::{Domain, Node, until};
use crate::talk::{Talk, serve};

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

/// Where a node takes connections for the service on the next node.
const LINK: &str = "127.0.0.1:7346";

/// Talks to the service on the next node from within a network.
fn within(talk: &Arc<Talk>, network: &str) -> JoinHandle<()> {
    let network = format!("/run/netns/{network}");
    talk.with(LINK.parse().unwrap(), move || {
        let file = File::open(network).unwrap();
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    })
}

/// The nodes, and between which of them the way is cut.
struct Field {
    net: Net,
    nodes: Vec<Node>,
    cut: BTreeSet<(usize, usize)>,
    /// Pairs of nodes that were without a path at some time.
    apart: BTreeSet<(usize, usize)>,
    changed: Instant,
    slowest_map: Duration,
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
        self.changed = Instant::now();
        for a in 0..self.nodes.len() {
            let near = self.reachable(a);
            self.apart.extend((0..a).filter(|b| !near.contains(b)).map(|b| (b, a)));
        }
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
    fn await_maps(&self) -> Duration {
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
        self.changed.elapsed()
    }

    fn maps_are_right(&mut self) {
        let took = self.await_maps();
        self.slowest_map = self.slowest_map.max(took);
    }

    /// Opens a stream from one node to another: it gets through where there is a path, whatever way that takes. How long
    /// that took.
    fn stream(&self, from: usize, to: usize) -> Duration {
        let path = format!("/v1/topology/nodes/edge-{to:02}");
        let began = Instant::now();
        if self.reachable(from).contains(&to) {
            until(&format!("a stream from edge-{from:02} to edge-{to:02}, with cuts {:?}", self.cut), || {
                self.nodes[from].ask(&path)
            });
        } else {
            assert_eq!(
                self.nodes[from].ask(&path),
                None,
                "edge-{from:02} reaches edge-{to:02} without a path"
            );
        }
        began.elapsed()
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
        let next = format!("edge-{:02}", (i + 1) % count);
        let links = json!([{"listen": LINK, "node": next, "service": "probe"}]);
        let mesh = json!({ "seeds": seeds, "links": links, "serve": ["probe"] });
        domain.node_in(&format!("edge-{i:02}"), mesh, "0.0.0.0:6340", Some(net.of(i)))
    });
    let nodes = nodes.collect();
    let (cut, apart) = (BTreeSet::new(), BTreeSet::new());
    let mut field = Field { net, nodes, cut, apart, changed: Instant::now(), slowest_map: Duration::ZERO };
    field.maps_are_right();
    field.slowest_map = Duration::ZERO;

    // Services that talk to each other all the time: from 1 to 2, from 3 to 4, and so on.
    let talking: Vec<usize> = (0..count / 3).map(|k| 1 + 2 * k).collect();
    let talks = talking.iter().map(|from| {
        serve(&field.nodes[from + 1]);
        let talk = Arc::<Talk>::default();
        (Arc::clone(&talk), within(&talk, field.net.of(*from)))
    });
    let (talks, threads): (Vec<_>, Vec<_>) = talks.collect();
    talks.iter().for_each(|talk| talk.goes_on("at the beginning"));

    // The direct way is the only one under a stream that is open; then there is another one, and then there is that alone.
    for other in (0..count).filter(|other| !(1..=2).contains(other)) {
        field.toggle(1, other);
    }
    field.maps_are_right();
    talks[0].goes_on("over the direct way");
    field.toggle(1, 0);
    field.maps_are_right();
    field.toggle(1, 2);
    talks[0].goes_on("after its way was cut");
    field.maps_are_right();
    field.heal();
    assert_eq!(talks[0].failures.load(Relaxed), 0, "a stream failed, and there was a way at all times");
    assert!(field.nodes[1].figure("eep_mesh_streams_resumed_total") >= 1.0);

    // Another node passes a new stream on.
    field.toggle(0, 1);
    let mut slowest_stream = field.stream(0, 1);
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
    talks[0].goes_on("while another node is alone");
    field.heal();
    field.stream(0, 1);
    field.maps_are_right();

    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut below = |n: usize| (rng.next_u32() as usize) % n;
    let (mut rounds, mut streams) = (0, 0);
    let mut maps: Vec<Duration> = Vec::new();
    while rounds < 2 || Instant::now() < end {
        for _ in 0..count {
            let (a, b) = (below(count), below(count));
            if a != b {
                field.toggle(a, b);
            }
        }
        let ends: Vec<(usize, usize)> = (0..3).map(|_| (below(count), below(count))).collect();
        let ends = ends.into_iter().filter(|(a, b)| a != b && field.reachable(*a).contains(b));
        let ends: Vec<(usize, usize)> = ends.collect();
        streams += ends.len();
        let field_now = &field;
        std::thread::scope(|scope| {
            let opened = ends.into_iter().map(|(a, b)| scope.spawn(move || field_now.stream(a, b)));
            let opened: Vec<_> = opened.collect();
            maps.push(field_now.await_maps());
            for stream in opened {
                slowest_stream = slowest_stream.max(stream.join().unwrap());
            }
        });
        rounds += 1;
    }
    field.heal();
    talks.iter().for_each(|talk| talk.goes_on("at the end"));
    let mut pause = 0;
    for (talk, from) in talks.iter().zip(&talking) {
        talk.ending.store(true, Relaxed);
        if !field.apart.contains(&(*from, from + 1)) {
            let failures = talk.failures.load(Relaxed);
            assert_eq!(failures, 0, "of edge-{from:02}'s streams, and there was a way at all times");
            pause = pause.max(talk.longest_pause_ms.load(Relaxed));
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    maps.push(field.slowest_map);
    maps.sort();
    println!(
        "{count} nodes, {rounds} rounds of cuts (seed {seed}): {streams} streams, the slowest connected after {:.2} s; {} questions on {} streams that stayed open, the slowest answered after {:.2} s; maps right again after {:.2} s in the median, {:.2} s at most",
        slowest_stream.as_secs_f64(),
        talks.iter().map(|talk| talk.answers.load(Relaxed)).sum::<u64>(),
        talks.len(),
        pause as f64 / 1000.0,
        maps[maps.len() / 2].as_secs_f64(),
        maps.last().unwrap().as_secs_f64()
    );
}
