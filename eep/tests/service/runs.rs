//! What a proxylet sends in runs (`net.send-runs`) is what it would send in segments (`net.send`).

use std::path::Path;
use std::time::Duration;

use eep::proxylet::service::{OnTrap, Service};
use eep::proxylet::status::State;
use eep::record::replay::{Options, Outcome, replay};
use eep::record::service::Record;

use crate::node::{Node, PROBE, Peer, becomes, component, soon};

/// The probe, with its sends in runs: its one segment lies as a fan-out with a length behind it.
fn in_runs(lens: u32) -> Vec<u8> {
    let send = r#""send" (func $net_send (param i32 i32 i32 i32 i32 i32 i32))"#;
    let runs = r#""send-runs" (func $net_send (param i32 i32 i32 i32 i32 i32 i32 i32 i32))"#;
    let segment = "(i32.const 72) (i32.const 1) (i32.const 0)";
    let columns = format!("(i32.const 72) (i32.const 1) (i32.const 76) (i32.const {lens}) (i32.const 0)");
    assert!(PROBE.contains(send) && PROBE.contains(segment));
    component(&PROBE.replacen(send, runs, 1).replacen(segment, &columns, 1))
}

async fn start(node: &Node, wasm: &[u8]) -> Service {
    let code = node.runtime.prepare(wasm, None).unwrap();
    node.start_with(|spec| {
        spec.code = code;
        spec.record = Record::On { budget: Record::BUDGET };
    })
    .await
}

fn again(file: impl AsRef<Path>, wasm: &[u8]) -> Outcome {
    let options = Options { wasm: Some(wasm.to_owned()), ..Options::default() };
    replay(file.as_ref(), &options, &mut |_| {}).unwrap()
}

#[tokio::test]
async fn runs_reach_whom_segments_reach_and_are_recorded_alike() {
    let node = Node::new();
    let (segments, runs) = (component(PROBE), in_runs(1));
    for (recorded, other) in [(&segments, &runs), (&runs, &segments)] {
        let service = start(&node, recorded).await;
        let (mut peer, mut second) = (Peer::join(&service).await, Peer::join(&service).await);
        assert_eq!(second.ask("Ehere", 4).await, b"here");
        assert_eq!(peer.ask("Ehello", 5).await, b"hello");
        peer.say("Fto all").await;
        assert_eq!((peer.hear(6).await, second.hear(6).await), (b"to all".to_vec(), b"to all".to_vec()));
        // More than a connection may hold without a word, so that the answer of the call counts as well.
        peer.say(b"B\x08").await;
        assert_eq!(peer.hear(8 << 16).await, vec![0; 8 << 16]);
        let file = service.status().recording.unwrap().file;
        service.stop(Duration::ZERO).await.unwrap();
        for wasm in [recorded, other] {
            let outcome = again(&file, wasm);
            assert!(outcome.equal && outcome.calls > 4 && outcome.lost_calls == 0, "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn columns_of_different_length_end_the_instance() {
    let node = Node::new();
    let wasm = in_runs(2);
    let code = node.runtime.prepare(&wasm, None).unwrap();
    let service = node.start_with(|spec| (spec.code, spec.on_trap) = (code, OnTrap::Stop)).await;
    let mut peer = Peer::join(&service).await;
    peer.say("Ehello").await;
    soon("the end", becomes(&service, State::Failed)).await;
    let trap = service.status().last_trap.unwrap();
    assert_eq!(trap.message, "net.send-runs: the columns are not equally long: 1 fan-outs, 2 lengths");
    let outcome = again(trap.recording.unwrap(), &wasm);
    assert!(outcome.equal && outcome.trap.unwrap().same);
}
