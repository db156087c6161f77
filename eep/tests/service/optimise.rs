//! From quickly compiled code to the same code compiled for speed.

use std::time::{Duration, Instant};

use eep::proxylet::code::Code;
use eep::proxylet::digest::Digested;
use eep::proxylet::service::Service;

use crate::node::{Node, PROBE, Peer, component, shows, soon};
use crate::teller::{Crowd, TELLER, Teller, start, swap};
use crate::versions::version;

/// A version of a guest that is compiled quickly, though it is small.
fn quickly(node: &Node, wat: &str) -> Code {
    let code = node.runtime.prepare_quickly(&Digested::of(component(wat)), None, None).unwrap();
    assert!(code.is_quick());
    code
}

fn all_quick() -> Node {
    Node::with(|config| config.quick_from_bytes = 0)
}

async fn is_compiled_for_speed(service: &Service) {
    shows("faster code", || {
        service.log().tail(100).iter().any(|line| line.text.contains("compiled for speed")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn quickly_compiled_code_makes_way_under_load_and_nobody_notices() {
    let node = all_quick();
    let service = start(&node).await;
    let crowd = Crowd::gather(&service, 8).await;
    let quick = quickly(&node, &version(TELLER, 2, &[]));
    let probation = swap(&node, &service, quick).await.unwrap();
    crowd.go_on(1_000).await;
    soon("keeping", probation.keep()).await.unwrap();
    is_compiled_for_speed(&service).await;
    crowd.go_on(1_000).await;
    assert!(crowd.end().await >= 2_000);
    assert_eq!(service.status().restarts, 0);
    assert_eq!(Teller::join(&service).await.tell().await, 2);
}

#[tokio::test]
async fn a_proxylet_that_does_not_carry_connections_on_keeps_them_and_its_slower_code() {
    let node = all_quick();
    let service = node.start().await;
    let mut spec = node.spec("probe");
    spec.code = quickly(&node, &PROBE.replace("probe_total", "other_total"));
    let probation = soon("the swap", service.swap(spec)).await.unwrap();
    let mut peer = Peer::join(&service).await;
    peer.ask("I", 1).await;
    soon("keeping", probation.keep()).await.unwrap();
    // Attempts follow each other after 100 ms, 200 ms and so on; none of them begins anything anew.
    let (began, mut up) = (Instant::now(), 0.0);
    while began.elapsed() < Duration::from_millis(500) {
        assert_eq!(peer.ask("E.", 1).await, b".");
        let now = service.status().uptime_s;
        assert!(now >= up, "{now} s after {up} s");
        up = now;
    }
    assert_eq!(service.series().len(), 1);
    drop(peer);
    is_compiled_for_speed(&service).await;
    assert!(service.status().uptime_s >= up);
    assert_eq!(service.series(), [], "the faster code has not said anything of it");
    assert_eq!(Peer::join(&service).await.ask("E.", 1).await, b".");
}

#[tokio::test]
async fn what_was_compiled_for_speed_meanwhile_is_in_the_cache() {
    let node = all_quick();
    let mut spec = node.spec("probe");
    spec.code = quickly(&node, &PROBE.replace("probe_total", "other_total"));
    let service = soon("start", Service::start(&node.runtime, spec)).await.unwrap();
    is_compiled_for_speed(&service).await;
    let again = node
        .runtime
        .prepare_quickly(&Digested::of(component(&PROBE.replace("probe_total", "other_total"))), None, None)
        .unwrap();
    assert!(again.was_cached() && !again.is_quick());
}
