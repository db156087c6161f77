//! A trap costs one service one instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use eep::observe::log_ring::LogSource;
use eep::observe::prometheus;
use eep::proxylet::error::{ControlError, StartError};
use eep::proxylet::service::{OnTrap, ServiceSpec, Vouched};
use eep::proxylet::status::{Protocol, State};
use eep::proxylet::trap::TrapKind;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use crate::node::{Node, Peer, address, becomes, component, restarted, shows, soon};
use crate::port::Port;

#[tokio::test]
async fn after_a_trap_the_service_is_reported_and_started_again() {
    let node = Node::new();
    let service = node.start().await;
    let neighbour = node.start_with(|spec| spec.name = "neighbour".to_owned()).await;
    let mut near = Peer::join(&neighbour).await;
    near.ask("E.", 1).await;
    let mut peer = Peer::join(&service).await;
    peer.say("T").await;
    assert_eq!(peer.hear_out().await, b"");
    restarted(&service, 1).await;
    let trap = service.status().last_trap.unwrap();
    assert_eq!((trap.kind, trap.during), (TrapKind::Trap, "handle"));
    assert_eq!(trap.backtrace[0], "command", "{trap}");
    assert_eq!(Peer::join(&service).await.ask("E.", 1).await, b".");
    let told = service.log().tail(100);
    assert!(told.iter().any(|l| l.source == LogSource::Node && l.text.contains("unreachable")), "{told:?}");
    assert_eq!(near.ask("E!", 1).await, b"!");
}

#[tokio::test]
async fn with_on_trap_stop_it_stays_down_and_says_why() {
    let node = Node::new();
    let service = node.start_with(|spec| spec.on_trap = OnTrap::Stop).await;
    Peer::join(&service).await.say("T").await;
    becomes(&service, State::Failed).await;
    let status = service.status();
    assert!(status.reason.unwrap().contains("unreachable"));
    assert!(status.listening.is_empty());
    shows("the thread's end", || (node.runtime.services_running() == 0).then_some(())).await;
    assert!(matches!(service.configure(&Map::new()).await, Err(ControlError::NotRunning)));
    service.stop(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn code_that_is_trusted_no_longer_does_not_run_again() {
    let node = Node::new();
    let gate = Gate::default();
    let service = node.start_with(|spec| spec.vouched = gate.vouched("its key is revoked")).await;
    Peer::join(&service).await.say("T").await;
    shows("the reason", || {
        let status = service.status();
        let reason = status.reason.filter(|_| status.state == State::BackingOff)?;
        reason.contains("may not run any more: its key is revoked").then_some(())
    })
    .await;
    assert_eq!(service.status().restarts, 0);
    gate.open();
    restarted(&service, 1).await;
}

/// After a trap a service does not begin again until this is opened.
#[derive(Default)]
struct Gate(Arc<AtomicBool>);

impl Gate {
    fn vouched(&self, why_not: &'static str) -> Vouched {
        let is_open = Arc::clone(&self.0);
        Vouched::by(move || is_open.load(Relaxed).then_some(()).ok_or_else(|| why_not.to_owned()))
    }

    fn open(&self) {
        self.0.store(true, Relaxed);
    }
}

#[tokio::test]
async fn whoever_connects_between_a_trap_and_the_next_instance_waits() {
    let node = Node::new();
    let gate = Gate::default();
    let service = node.start_with(|spec| spec.vouched = gate.vouched("not yet")).await;
    let at = address(&service, Protocol::Tcp);
    Peer::join(&service).await.say("T").await;
    becomes(&service, State::BackingOff).await;
    let mut peer = Peer::to(at).await;
    peer.say("E.").await;
    gate.open();
    assert_eq!(peer.hear(1).await, b".");
    assert_eq!(service.status().restarts, 1);
}

#[tokio::test]
async fn closed_after_a_failure_nobody_is_let_in_and_nobody_else_answers() {
    let node = Node::new();
    let port = Port::reserve();
    let service = node.start_with(|spec| (spec.on_trap, spec.config) = (OnTrap::FailClosed, on(&port))).await;
    let at = address(&service, Protocol::Tcp);
    Peer::join(&service).await.say("T").await;
    becomes(&service, State::Failed).await;
    assert_eq!(Peer::to(at).await.hear_out().await, b"");
    assert!(TcpListener::bind(at).await.is_err(), "the address is not to be had");
    assert!(service.status().reason.unwrap().contains("unreachable"));
    service.stop(Duration::ZERO).await.unwrap();
    TcpListener::bind(at).await.unwrap();
}

#[tokio::test]
async fn open_after_a_failure_peers_are_passed_on_until_it_runs_again() {
    let node = Node::new();
    let gate = Gate::default();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = other.local_addr().unwrap();
    let service = node
        .start_with(|spec| {
            (spec.on_trap, spec.vouched) = (OnTrap::FailOpen { to }, gate.vouched("not yet"));
        })
        .await;
    let at = address(&service, Protocol::Tcp);
    Peer::join(&service).await.say("T").await;
    becomes(&service, State::BackingOff).await;
    let mut passed_on = Peer::to(at).await;
    passed_on.say("hello").await;
    let mut seen = Peer(soon("the connection", other.accept()).await.unwrap().0);
    assert_eq!(seen.hear(5).await, b"hello");
    gate.open();
    restarted(&service, 1).await;
    // What was passed on goes on; who comes now is the service's.
    seen.say("there").await;
    assert_eq!(passed_on.hear(5).await, b"there");
    assert_eq!(Peer::join(&service).await.ask("E.", 1).await, b".");
    let page = prometheus::render(&node.runtime, std::slice::from_ref(&service), None);
    assert!(page.contains("eep_service_connections_passed_on_total{service=\"probe\"} 1.0"), "{page}");
}

/// The configuration of a probe on this port.
fn on(port: &Port) -> Map<String, Value> {
    Map::from_iter([("port".to_owned(), json!(port.number()))])
}

#[tokio::test]
async fn a_port_in_use_is_the_reason_why_it_does_not_start() {
    let node = Node::new();
    let port = Port::reserve();
    let taken = TcpListener::bind(port.address()).await.unwrap();
    let on_port = |spec: &mut ServiceSpec| spec.config = on(&port);
    let error = node.try_start(on_port).await.unwrap_err();
    assert!(matches!(&error, StartError::Refused(reason) if reason == "in use or not granted"), "{error}");
    drop(taken);
    let service = node.start_with(on_port).await;
    assert_eq!(address(&service, Protocol::Tcp), port.address());
    // The port is free again as soon as the service has stopped, even while its peers are connected.
    let mut peer = Peer::join(&service).await;
    peer.ask("E.", 1).await;
    service.stop(Duration::from_secs(5)).await.unwrap();
    node.start_with(on_port).await;
}

#[tokio::test]
async fn a_restart_takes_the_same_port() {
    let node = Node::new();
    let port = Port::reserve();
    let service = node.start_with(|spec| spec.config = on(&port)).await;
    for restarts in 1..=3 {
        Peer::join(&service).await.say("T").await;
        restarted(&service, restarts).await;
        assert_eq!(address(&service, Protocol::Tcp), port.address());
    }
}

#[tokio::test]
async fn a_stop_says_good_bye() {
    let node = Node::new();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    peer.ask("E.", 1).await;
    service.stop(Duration::from_secs(5)).await.unwrap();
    assert_eq!(peer.hear_out().await, b"e");
    assert_eq!(service.status().state, State::Stopped);
}

#[tokio::test]
async fn a_new_configuration_reaches_the_proxylet_and_its_next_instance() {
    let node = Node::new();
    let service = node.start().await;
    let port = Port::reserve();
    service.configure(&on(&port)).await.unwrap();
    let mut peer = Peer::join(&service).await;
    assert_eq!(peer.counted().await.configured, 1);
    peer.say("T").await;
    shows("the new port", || (address_of(&service)? == port.address()).then_some(())).await;
}

fn address_of(service: &eep::proxylet::service::Service) -> Option<std::net::SocketAddr> {
    service.status().listening.first().map(|l| l.address)
}

#[tokio::test]
async fn a_proxylet_that_traps_or_refuses_in_start_is_not_left_behind() {
    let node = Node::new();
    const BODY: &str = r#"(module (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
        (func (export "eep:proxylet/lifecycle@0.1.0#start") (param i64 i32 i32) (result i32) START)
        (func (export "eep:proxylet/lifecycle@0.1.0#restore") (param i64 i32 i32 i32 i32) (result i32) unreachable)
        (func (export "eep:proxylet/lifecycle@0.1.0#handle") (param i64 i32 i32 i32 i32 i32 i32 i32 i32))
        (func (export "eep:proxylet/lifecycle@0.1.0#save") (result i32) i32.const 0)
        (func (export "eep:proxylet/lifecycle@0.1.0#stop")))"#;
    for (start, expected) in
        [("unreachable", "trapped while it started"), ("loop $l br $l end unreachable", "limit of 1000 ms")]
    {
        let code = node.runtime.prepare(&component(&BODY.replace("START", start)), None).unwrap();
        let error =
            node.try_start(|spec| (spec.code, spec.limits.call_ms) = (code, 1_000)).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        shows("the thread's end", || (node.runtime.services_running() == 0).then_some(())).await;
    }
}

#[tokio::test]
async fn the_page_of_figures_has_the_node_s_and_the_proxylet_s() {
    let node = Node::new();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    peer.ask("I", 1).await;
    let page = prometheus::render(&node.runtime, std::slice::from_ref(&service), None);
    for line in [
        "# TYPE probe counter",
        "probe_total{service=\"probe\"} 7.0",
        "eep_service_up{service=\"probe\"} 1.0",
        "eep_service_connections{service=\"probe\"} 1.0",
        "eep_service_connections_accepted_total{service=\"probe\"} 1.0",
        "eep_services 1.0",
    ] {
        assert!(page.lines().any(|l| l == line), "{line} is missing in\n{page}");
    }
    assert!(page.ends_with("# EOF\n"));
}
