//! Timers, as a proxylet is told of them that exports `timers` and as one that does not (`guests/clockwork.wat`).

use std::time::Duration;

use eep::observe::log_ring::LogRing;
use eep::proxylet::code::Code;
use eep::proxylet::measure::Measured;
use eep::proxylet::service::OnTrap;
use eep::proxylet::status::State;
use eep::record::replay::{Options, Outcome, replay};
use eep::record::service::Record;

use crate::node::{Node, becomes, component_of, shows};

const CLOCKWORK: &str = include_str!("../guests/clockwork.wat");
/// The worlds of a proxylet with all exports and of one that has none but `lifecycle`.
const WITH: &str = "service-full";
const WITHOUT: &str = "service";

/// The clockwork, and the same where it does not say by which call it was told.
fn clockwork(world: &str) -> Vec<u8> {
    component_of(CLOCKWORK, world)
}

fn silent(world: &str) -> Vec<u8> {
    component_of(&CLOCKWORK.replace("(i32.const 100 (; d ;))", "(i32.const 104 (; h ;))"), world)
}

fn code(node: &Node, bytes: &[u8]) -> Code {
    node.runtime.prepare(bytes, None).unwrap()
}

/// What the proxylet has said, one line after the other.
fn said(log: &LogRing) -> String {
    let lines = log.tail(100).into_iter().map(|line| line.text).filter(|text| text.len() == 2);
    lines.collect::<Vec<_>>().join(" ")
}

async fn timers(node: &Node, bytes: &[u8]) -> String {
    let service = node.start_with(|spec| spec.code = code(node, bytes)).await;
    let said = shows("the last timer", || Some(said(service.log())).filter(|said| said.ends_with('4'))).await;
    service.stop(Duration::ZERO).await.unwrap();
    said
}

#[tokio::test]
async fn a_timer_alone_comes_without_lists_where_the_proxylet_exports_that() {
    let node = Node::new();
    assert_eq!(timers(&node, &clockwork(WITH)).await, "d1 h2 h3 d4");
    assert_eq!(timers(&node, &clockwork(WITHOUT)).await, "h1 h2 h3 h4");
}

#[test]
fn a_batch_without_events_reaches_both() {
    let node = Node::new();
    for (world, told) in [(WITH, "d- d1"), (WITHOUT, "h- h1")] {
        let mut spec = node.spec("clockwork");
        spec.code = code(&node, &clockwork(world));
        let log = spec.log.clone();
        let mut measured = Measured::start(&node.runtime, spec, 0).unwrap();
        measured.batch(0, &[]);
        measured.run().unwrap();
        measured.timer();
        measured.run().unwrap();
        assert_eq!(said(&log), told);
    }
}

/// Replays a recording of one build with another.
fn again(file: &str, wasm: Vec<u8>) -> Outcome {
    let options = Options { wasm: Some(wasm), ..Options::default() };
    replay(file.as_ref(), &options, &mut |_| {}).unwrap()
}

#[tokio::test]
async fn both_are_recorded_alike() {
    let node = Node::new();
    for (recorded, other) in [(WITH, WITHOUT), (WITHOUT, WITH)] {
        let service = node
            .start_with(|spec| {
                spec.code = code(&node, &silent(recorded));
                spec.record = Record::On { budget: Record::BUDGET };
            })
            .await;
        shows("the last timer", || said(service.log()).ends_with("h4").then_some(())).await;
        let file = service.status().recording.unwrap().file;
        service.stop(Duration::ZERO).await.unwrap();
        for world in [recorded, other] {
            let outcome = again(&file, silent(world));
            assert!(outcome.equal && outcome.calls >= 5, "{recorded} as {world}: {outcome:?}");
        }
        // That a replay goes by the call that the proxylet exports shows where it says so.
        let told = again(&file, clockwork(WITH));
        assert!(!told.equal && told.differences.total() > 0, "{told:?}");
    }
}

#[tokio::test]
async fn a_trap_in_it_is_one_in_a_batch() {
    let node = Node::new();
    let traps =
        CLOCKWORK.replace("(call $say (local.get $call)", "(unreachable)\n    (call $say (local.get $call)");
    let traps = component_of(&traps, WITH);
    let service = node
        .start_with(|spec| {
            spec.code = code(&node, &traps);
            spec.on_trap = OnTrap::Stop;
        })
        .await;
    becomes(&service, State::Failed).await;
    let trap = service.status().last_trap.unwrap();
    assert_eq!((trap.during, said(service.log())), ("handle", String::new()));
    let outcome = again(&trap.recording.unwrap(), traps);
    assert!(outcome.equal && outcome.trap.unwrap().same);
}
