//! Nodes behind translators of addresses, which nothing reaches that they did not ask for: streams between two of them pass
//! through a third, also where packets are lost and where the translators forget.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::json;

use crate::fabric::{Fabric, Way};
use crate::node::{Domain, own_address, until};
use crate::port::Port;
use crate::talk::{Talk, serve};

#[test]
fn nodes_that_cannot_reach_each_other_talk_through_one_that_both_can() {
    let (domain, fabric) = (Domain::new("isp-a"), Fabric::new(2));
    let [public, left, right] = [(); 3].map(|()| own_address());
    let front = fabric.front(public);
    let seeds = json!([front.to_string()]);
    let link = Port::reserve();
    let links = json!([{"listen": link.address().to_string(), "node": "right", "service": "probe"}]);
    let middle =
        domain.node_in("middle", json!({ "advertise": front.to_string() }), &public.to_string(), None);
    let hidden = [
        domain.node_in("left", json!({ "seeds": seeds, "links": links }), &left.to_string(), None),
        domain.node_in("right", json!({ "seeds": seeds, "serve": ["probe"] }), &right.to_string(), None),
    ];
    for node in [&hidden[0], &hidden[1], &middle] {
        let names = ["left", "middle", "right"].map(str::to_owned).to_vec();
        until("a map of three nodes and two links", || (node.map() == (names.clone(), 2)).then_some(()));
    }
    serve(&hidden[1]);
    let talk = Arc::<Talk>::default();
    let talking = talk.with(link.address(), || ());
    talk.goes_on("between two nodes behind translators");
    assert!(middle.figure("eep_mesh_streams_relayed_total") >= 1.0);
    until("the two have tried to reach each other", || (fabric.unasked() > 0).then_some(()));

    let lossy = Way { lost_milli: 100, ..Way::default() };
    fabric.set(left, public, lossy);
    fabric.set(right, public, lossy);
    talk.goes_on("where one packet in ten is lost, twice");
    fabric.set(left, public, Way::default());
    fabric.set(right, public, Way::default());
    fabric.translate_anew(left);
    fabric.translate_anew(right);
    talk.goes_on("after the translators have forgotten");
    assert_eq!(hidden[0].map().1, 2, "still no way between the two");
    talk.ending.store(true, Relaxed);
    talking.join().unwrap();
    assert_eq!(talk.failures.load(Relaxed), 0, "a stream failed");
}
