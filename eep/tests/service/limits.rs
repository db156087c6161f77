//! Every limit bites, and bites nobody else.

use std::time::{Duration, Instant};

use eep::proxylet::error::StartError;
use eep::proxylet::limits::ByteSize;
use eep::proxylet::trap::TrapKind;
use tokio::io::AsyncReadExt;

use crate::node::{Node, Peer, grants, restarted, shows};

#[tokio::test]
async fn a_loop_ends_at_the_deadline_and_the_neighbour_notices_nothing() {
    let node = Node::new();
    let service = node.start_with(|spec| spec.limits.call_ms = 5_000).await;
    let neighbour = node.start_with(|spec| spec.name = "neighbour".to_owned()).await;
    let mut near = Peer::join(&neighbour).await;
    Peer::join(&service).await.say("L").await;
    shows("the loop", || (service.status().received_bytes == 1).then_some(())).await;
    let mut asked = 0_u32;
    // As long as the loop goes on the neighbour answers: one that had to wait for its end would answer once.
    while service.status().last_trap.is_none() {
        near.ask("E.", 1).await;
        asked += 1;
    }
    assert!(asked > 10, "{asked}");
    let trap = service.status().last_trap.unwrap();
    assert_eq!((trap.kind, trap.during), (TrapKind::Deadline, "handle"));
    restarted(&service, 1).await;
    assert_eq!(Peer::join(&service).await.ask("E.", 1).await, b".");
    assert_eq!(neighbour.status().restarts, 0);
}

#[tokio::test]
async fn memory_beyond_the_limit_is_refused() {
    let node = Node::new();
    let service = node.start_with(|spec| spec.limits.memory = ByteSize(8 << 20)).await;
    let mut peer = Peer::join(&service).await;
    assert_eq!(peer.ask("M\x06", 1).await, b"m");
    assert!(service.status().memory_bytes > 6 << 20);
    peer.say("M\x06").await;
    let trap = shows("the trap", || service.status().last_trap).await;
    assert_eq!(trap.kind, TrapKind::Memory);
    assert!(trap.message.contains("8 MiB"), "{trap}");
    restarted(&service, 1).await;
    assert!(service.status().memory_bytes < 1 << 20);
}

#[tokio::test]
async fn code_that_wants_more_memory_than_the_limit_does_not_start() {
    let node = Node::new();
    let error = node.try_start(|spec| spec.limits.memory = ByteSize(128 << 10)).await.unwrap_err();
    assert!(matches!(&error, StartError::Trapped(trap) if trap.kind == TrapKind::Memory), "{error}");
    assert_eq!(node.runtime.services_running(), 0);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let node = Node::new();
    let service = node.start_with(|spec| spec.limits.connections = 2).await;
    let mut first = Peer::join(&service).await;
    first.ask("E.", 1).await;
    let mut second = Peer::join(&service).await;
    second.ask("E.", 1).await;
    let mut third = Peer::join(&service).await;
    assert_eq!(third.hear_out().await, b"");
    // The service itself gets no more either; the answer is the number of `net-error.limit`.
    assert_eq!(first.ask("U1", 1).await, [3]);
    let status = service.status();
    assert_eq!((status.connections, status.connections_refused), (2, 1));
    drop(second);
    shows("room", || (service.status().connections == 1).then_some(())).await;
    assert_eq!(Peer::join(&service).await.ask("E.", 1).await, b".");
}

#[tokio::test]
async fn a_part_of_a_core_is_no_more_than_that() {
    let node = Node::new();
    let service = node.start_with(|spec| spec.limits.cpu = 0.1).await;
    let mut peer = Peer::join(&service).await;
    let started = Instant::now();
    let text = [b"E", &[b'.'; 30_000][..]].concat();
    // Works as fast as it may until it has used a good deal more than what was saved up.
    let mut sink = vec![0; 64 << 10];
    while service.status().cpu_s < 0.4 {
        peer.say(&text).await;
        let mut left = text.len() - 1;
        while left > 0 {
            left -= peer.0.read(&mut sink).await.unwrap();
        }
    }
    // 0.1 s saved up, the rest earned at a tenth of a second a second.
    assert!(started.elapsed() > Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn log_lines_beyond_the_rate_are_dropped_and_counted() {
    let node = Node::new();
    let service = node.start_with(|spec| spec.limits.log_lines_per_s = 10).await;
    let mut peer = Peer::join(&service).await;
    peer.ask("oline", 1).await;
    let lines = |text: &str| service.log().tail(1_000).iter().filter(|l| l.text.contains(text)).count();
    assert!((10..50).contains(&lines("line")), "{}", lines("line"));
    service.stop(Duration::ZERO).await.unwrap();
    assert_eq!(lines("lines were dropped"), 1);
}

#[tokio::test]
async fn keys_beyond_the_limit_are_refused() {
    let node = Node::new();
    let service = node.start_with(|spec| spec.limits.kv = ByteSize(100)).await;
    let mut peer = Peer::join(&service).await;
    assert_eq!(peer.ask([b"K", &[b'v'; 99][..]].concat(), 1).await, [0]);
    assert_eq!(peer.ask([b"K", &[b'v'; 100][..]].concat(), 1).await, [2]);
    assert_eq!(peer.ask("k", 99).await, [b'v'; 99]);
    assert_eq!(peer.ask("Ksmall", 1).await, [0]);
    assert_eq!(peer.ask([b"K", &[b'w'; 99][..]].concat(), 1).await, [0]);
}

#[tokio::test]
async fn there_is_a_last_service() {
    let node = Node::with(|config| config.services_max = 1);
    let service = node.start().await;
    let error = node.try_start(|spec| spec.name = "other".to_owned()).await.unwrap_err();
    assert!(error.to_string().contains("runs 1 services"), "{error}");
    service.stop(Duration::ZERO).await.unwrap();
    shows("room", || (node.runtime.services_running() == 0).then_some(())).await;
    node.start().await;
}

#[tokio::test]
async fn only_what_is_granted_can_be_reached() {
    let node = Node::new();
    let error =
        node.try_start(|spec| spec.grants = grants(&["net.connect", "datagram:*"])).await.unwrap_err();
    assert_eq!(error.to_string(), "in use or not granted");
    let service = node
        .start_with(|spec| spec.grants = grants(&["net.listen:*", "net.connect:10.0.0.0/8", "datagram:*"]))
        .await;
    // The number of `net-error.not-granted`.
    assert_eq!(Peer::join(&service).await.ask("U6346", 1).await, [0]);
}
