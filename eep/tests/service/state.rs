//! What outlives an instance, a service, a node.

use std::time::Duration;

use crate::node::{Node, PROBE, Peer, component, restarted, shows};

#[tokio::test]
async fn keys_outlive_a_trap_a_stop_and_the_node() {
    let node = Node::new();
    let service = node.start().await;
    assert_eq!(Peer::join(&service).await.ask("Kvalue", 1).await, [0]);
    Peer::join(&service).await.say("T").await;
    restarted(&service, 1).await;
    service.stop(Duration::ZERO).await.unwrap();
    drop(service);
    shows("the thread's end", || (node.runtime.services_running() == 0).then_some(())).await;
    let node = Node::in_dir(node.end(), |_| {});
    assert!(node.probe.was_cached());
    let service = node.start().await;
    assert_eq!(Peer::join(&service).await.ask("k", 5).await, b"value");
}

#[tokio::test]
async fn the_state_that_was_saved_at_a_stop_is_restored() {
    let node = Node::new();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    peer.ask("Sx", 1).await;
    assert_eq!(peer.ask("G", 1).await, b"x");
    service.stop(Duration::ZERO).await.unwrap();
    let service = node.start().await;
    assert_eq!(Peer::join(&service).await.ask("G", 1).await, b"x");
    service.stop(Duration::ZERO).await.unwrap();
    let service = node.start_with(|spec| spec.fresh = true).await;
    assert_eq!(Peer::join(&service).await.ask("G", 1).await, b"?");
}

#[tokio::test]
async fn after_a_trap_the_last_checkpoint_is_restored() {
    let node = Node::with(|config| config.checkpoint_every = Duration::from_millis(1));
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    peer.ask("Sy", 1).await;
    // A checkpoint is taken after a batch, when it is due.
    shows("a checkpoint", || {
        let saved = node.saved("probe")?;
        (saved == b"y").then_some(())
    })
    .await;
    peer.say("T").await;
    restarted(&service, 1).await;
    assert_eq!(Peer::join(&service).await.ask("G", 1).await, b"y");
}

#[tokio::test]
async fn a_state_over_which_it_traps_again_and_again_is_given_up() {
    let node = Node::with(|config| config.checkpoint_every = Duration::from_millis(1));
    let restoring = "(global.set $remembered (i32.load8_u (local.get $state)))";
    assert!(PROBE.contains(restoring));
    let code = node.runtime.prepare(&component(&PROBE.replace(restoring, "unreachable")), None).unwrap();
    let service = node.start_with(|spec| spec.code = code).await;
    let mut peer = Peer::join(&service).await;
    peer.ask("Sy", 1).await;
    shows("a checkpoint", || node.saved("probe").filter(|saved| saved == b"y")).await;
    peer.say("T").await;
    // Three instances try; the fourth begins anew.
    restarted(&service, 4).await;
    assert_eq!(Peer::join(&service).await.ask("G", 1).await, b"?");
    let told = service.log().tail(1_000);
    assert_eq!(told.iter().filter(|line| line.text.contains("it starts without it")).count(), 1, "{told:?}");
}

#[tokio::test]
async fn timers_fire_after_their_time() {
    let node = Node::new();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    let asked = std::time::Instant::now();
    assert_eq!(peer.ask("W\x32", 1).await, b"t");
    assert!(asked.elapsed() >= Duration::from_millis(50));
}
