//! Ways that congest: streams leave them for others that do not, and what is new does not take them.
//!
//! How long that took is printed: `cargo test -p eep --test mesh congested -- --nocapture`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::fabric::{Bottleneck, Fabric, Way};
use crate::node::{Domain, Node, own_address, until};
use crate::port::Port;
use crate::talk::{Talk, serve};

/// From edge-a to edge-b and to edge-c it is near, and over edge-d far.
const FAR: Way = Way { delay: Duration::from_millis(10), lost_milli: 0, bottleneck: None };
/// One packet in four is lost.
const LOSSY: Way = Way { delay: Duration::ZERO, lost_milli: 250, bottleneck: None };
/// A narrow place whose queue others have filled.
const FULL: Way = Way {
    delay: Duration::ZERO,
    lost_milli: 0,
    bottleneck: Some(Bottleneck {
        bytes_per_second: 250_000.0,
        queue: Duration::from_millis(250),
        others: 1.02,
    }),
};

/// How long it took, in words.
fn congested(way: Way) -> String {
    let (domain, fabric) = (Domain::new("isp-a"), Fabric::new(1));
    let at = [(); 3].map(|()| own_address());
    let fronts = at.map(|address| fabric.front(address));
    let [a, b, d] = at;
    fabric.set(a, d, FAR);
    fabric.set(b, d, FAR);
    let link = Port::reserve();
    let links = json!([{"listen": link.address().to_string(), "node": "edge-b", "service": "probe"}]);
    let node = |i: usize, name: &str, links: serde_json::Value| {
        let seeds: Vec<String> = fronts.iter().map(ToString::to_string).collect();
        let mesh = json!({
            "seeds": seeds, "advertise": fronts[i].to_string(), "links": links, "serve": ["probe"],
        });
        domain.node_in(name, mesh, &at[i].to_string(), None)
    };
    let nodes: [Node; 3] =
        [node(0, "edge-a", links), node(1, "edge-b", json!([])), node(2, "edge-d", json!([]))];
    for node in &nodes {
        until("a map of all", || (node.map().1 == 3).then_some(()));
    }
    serve(&nodes[1]);
    let talk = Arc::<Talk>::default();
    let talking = talk.with(link.address(), || ());
    talk.goes_on("at the beginning");
    let via = || {
        let told = nodes[0].answer(&["topology", "node", "edge-b"])?;
        told["via"]["name"].as_str().map(str::to_owned)
    };
    until("new streams on the direct way", || (via()? == "edge-b").then_some(()));
    // Whatever makes it leave the direct way after it was seen there is counted.
    let resumed = || nodes[0].figure("eep_mesh_streams_resumed_total");
    let before = resumed();
    until("the open stream on the direct way", || {
        let packets = || (fabric.packets(a, b), fabric.packets(a, d));
        let (seen, answered) = (packets(), talk.answers.load(Relaxed));
        until("answers", || (talk.answers.load(Relaxed) > answered + 25).then_some(()));
        let now = packets();
        (now.0 - seen.0 > 3 * (now.1 - seen.1)).then_some(())
    });
    let began = Instant::now();
    talk.longest_pause_ms.store(0, Relaxed);
    fabric.set(a, b, way);
    until("the open stream on another way", || (resumed() > before).then_some(()));
    let moved = began.elapsed();
    talk.goes_on("on another way");
    until("new streams on another way", || (via()? == "edge-d").then_some(()));
    talk.ending.store(true, Relaxed);
    talking.join().unwrap();
    assert_eq!(talk.failures.load(Relaxed), 0, "a stream failed");
    assert!(nodes[2].figure("eep_mesh_streams_relayed_total") >= 1.0);
    format!(
        "the stream took another way after {:.2} s; the slowest of {} answers came after {:.2} s",
        moved.as_secs_f64(),
        talk.answers.load(Relaxed),
        talk.longest_pause_ms.load(Relaxed) as f64 / 1000.0
    )
}

#[test]
fn a_way_that_loses_packets_is_congested_and_left() {
    println!("one packet in four is lost: {}", congested(LOSSY));
}

#[test]
fn a_way_whose_queue_is_full_is_congested_and_left() {
    println!("a queue of 250 ms is full, in both directions: {}", congested(FULL));
}
