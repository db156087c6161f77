//! What is recorded of a service over real sockets is done again to the same effect.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eep::proxylet::limits::ByteSize;
use eep::proxylet::service::Service;
use eep::proxylet::trap::TrapKind;
use eep::record::reader::Ending;
use eep::record::replay::{Options, Outcome, ReplayError, replay};
use eep::record::service::Record;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::net::UdpSocket;

use crate::node::{Node, PROBE, Peer, address, component, restarted, shows, soon};
use crate::port::Port;
use eep::proxylet::status::Protocol;

const ON: Record = Record::On { budget: Record::BUDGET };

/// Replays with the probe: the node of these tests keeps no code.
fn again(file: &Path) -> Outcome {
    again_with(file, &component(PROBE))
}

fn again_with(file: &Path, wasm: &[u8]) -> Outcome {
    let options = Options { wasm: Some(wasm.to_owned()), ..Options::default() };
    replay(file, &options, &mut |_| {}).unwrap()
}

async fn recorded(node: &Node) -> Service {
    node.start_with(|spec| spec.record = ON).await
}

/// Ends the service; the file of its recording.
async fn end(service: &Service) -> PathBuf {
    let file = service.status().recording.unwrap().file;
    service.stop(Duration::ZERO).await.unwrap();
    file.into()
}

fn recordings(node: &Node) -> Vec<PathBuf> {
    let folder = fs::read_dir(node.dir.path().join("recordings")).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn all_that_a_proxylet_can_ask_is_replayed() {
    let node = Node::new();
    let service = recorded(&node).await;
    let mut peer = Peer::join(&service).await;
    let mut other = Peer::join(&service).await;
    peer.ask("Ehello", 5).await;
    peer.ask("Kvalue", 1).await;
    peer.ask("k", 5).await;
    peer.ask("W\x01", 1).await;
    peer.ask("I", 1).await;
    peer.ask("Oa line", 1).await;
    peer.ask("D", 1).await;
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let bound = shows("the socket", || {
        let listening = service.status().listening;
        listening.iter().find(|l| l.protocol == Protocol::Udp).map(|l| l.address)
    })
    .await;
    udp.send_to(b"over UDP", bound).await.unwrap();
    soon("the echo", udp.recv(&mut [0; 16])).await.unwrap();
    let unused = Port::reserve();
    peer.ask(format!("U{}", unused.number()), 1).await;
    other.ask("E.", 1).await;
    let own = address(&service, Protocol::Tcp).port();
    peer.ask(format!("U{own}"), 1).await;
    peer.ask("M\x01", 1).await;
    other.ask("B\x08", 8 * 65_536).await;
    other.say("C").await;
    other.hear_out().await;
    let mut zipped = Peer::join(&service).await;
    zipped.say(b"Znot zlib at all").await;
    zipped.hear_out().await;
    service.configure(serde_json::json!({"a": 1}).as_object().unwrap()).await.unwrap();
    peer.counted().await;
    let file = end(&service).await;
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let outcome = again(&file);
    assert!(outcome.equal && outcome.exact, "{outcome:?}");
    assert_eq!((outcome.instances, outcome.lost_calls, outcome.ending), (1, 0, Ending::Whole));
    assert!(outcome.imports > 20 && outcome.received_bytes > 40, "{outcome:?}");
}

#[tokio::test]
async fn what_is_handed_on_is_kept_once() {
    let node = Node::new();
    let service = recorded(&node).await;
    let mut peer = Peer::join(&service).await;
    let mut noise = 1_u64;
    for _ in 0..20 {
        let said: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (noise >> 56) as u8 | 0x80
        })
        .take(4_000)
        .collect();
        peer.ask([b"E", said.as_slice()].concat(), said.len()).await;
    }
    let outcome = again(&end(&service).await);
    assert!(outcome.equal && outcome.exact, "{outcome:?}");
    let received = outcome.received_bytes;
    assert!(received >= 20 * 4_000 && outcome.entry_bytes < received * 3 / 2, "{outcome:?}");
}

#[test]
fn whatever_peers_do_is_replayed() {
    #[derive(Clone, Debug)]
    enum Step {
        Join,
        Leave(usize),
        Say(usize, Vec<u8>),
        Configure(u32),
    }
    let said = prop_oneof![
        ("[EFK]", prop::collection::vec(any::<u8>(), 0..300)),
        ("[kGDIQPCAZ]", Just(Vec::new())),
        ("[SWB]", prop::collection::vec(0..4_u8, 1)),
    ];
    let said = said.prop_map(|(command, rest)| [command.into_bytes(), rest].concat());
    let step = prop_oneof![
        2 => Just(Step::Join),
        1 => (0..4_usize).prop_map(Step::Leave),
        12 => (0..4_usize, said).prop_map(|(who, what)| Step::Say(who, what)),
        1 => any::<u32>().prop_map(Step::Configure),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let node = Node::new();
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let case = |steps: Vec<Step>| {
        let outcome = runtime.block_on(async {
            let service = recorded(&node).await;
            let mut peers = vec![Peer::join(&service).await];
            for step in steps {
                let count = peers.len();
                match step {
                    Step::Join if count < 4 => peers.push(Peer::join(&service).await),
                    Step::Leave(who) if count > 1 => drop(peers.swap_remove(who % count)),
                    Step::Say(who, what) => {
                        // It may have been closed on a command before.
                        let _ = tokio::io::AsyncWriteExt::write_all(&mut peers[who % count].0, &what).await;
                    }
                    Step::Configure(number) => {
                        let config =
                            serde_json::json!({"x": format!("{}", char::from(b'a' + number as u8 % 26))});
                        service.configure(config.as_object().unwrap()).await.unwrap();
                    }
                    _ => {}
                }
            }
            let file = end(&service).await;
            again(&file)
        });
        prop_assert!(outcome.equal && outcome.exact, "{:?} {:?}", outcome.differences, outcome.first);
        Ok(())
    };
    TestRunner::new(config).run(&prop::collection::vec(step, 1..40), case).unwrap();
}

#[tokio::test]
async fn other_code_is_told_apart() {
    let node = Node::new();
    let service = recorded(&node).await;
    let mut peer = Peer::join(&service).await;
    peer.ask("Sx", 1).await;
    peer.ask("G", 1).await;
    let file = end(&service).await;
    // The dot is another character: the second call is the first to differ.
    let other = component(&PROBE.replace("(i32.const 46)))", "(i32.const 47)))"));
    let outcome = again_with(&file, &other);
    assert!(!outcome.equal && !outcome.exact, "{outcome:?}");
    assert_eq!((outcome.differences.changed, outcome.differences.total()), (1, 1));
    let first = outcome.first.unwrap();
    assert!(first.during.starts_with("handle("), "{first:?}");
    assert!(first.lines().iter().any(|line| line.starts_with('-') && line.ends_with('.')), "{first:?}");
    assert!(first.lines().iter().any(|line| line.starts_with('+') && line.ends_with('/')), "{first:?}");
    // It asks for the same twice, at two places: another order.
    let swapped = PROBE.replace(
        "(call $update (i32.const 16) (i32.const 1))\n        (call $dot (local.get $conn))",
        "(call $dot (local.get $conn))\n        (call $update (i32.const 16) (i32.const 1))",
    );
    let service = recorded(&node).await;
    Peer::join(&service).await.ask("I", 1).await;
    let file = end(&service).await;
    let outcome = again_with(&file, &component(&swapped));
    assert_eq!((outcome.differences.reordered, outcome.differences.total()), (1, 1), "{outcome:?}");
    let no_code = replay(&file, &Options::default(), &mut |_| {}).unwrap_err();
    assert!(matches!(no_code, ReplayError::NoCode(_)), "{no_code}");
}

#[tokio::test]
async fn what_led_to_a_trap_is_kept_and_leads_to_it_again() {
    let node = Node::new();
    let service = node.start().await;
    for round in 1..=6_u64 {
        let mut peer = Peer::join(&service).await;
        peer.ask("Ebefore", 6).await;
        peer.say("T").await;
        peer.hear_out().await;
        restarted(&service, round).await;
    }
    let trap = service.status().last_trap.unwrap();
    let file = PathBuf::from(trap.recording.as_ref().unwrap());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let outcome = again(&file);
    assert!(outcome.equal && outcome.exact, "{outcome:?}");
    let again = outcome.trap.unwrap();
    assert!(again.same);
    assert!(
        again.recorded[0].contains(&trap.message) && again.recorded[1].ends_with("at command"),
        "{again:?}"
    );
    assert_eq!(again.replayed, again.recorded);
    assert_eq!(again.recorded.len(), 1 + trap.backtrace.len());
    assert_eq!(recordings(&node).len(), 4, "only the latest are kept");
    let told = service.log().tail(100);
    let command = format!("eep proxylet replay {}", file.display());
    assert!(told.iter().any(|line| line.text.ends_with(&command)), "{told:?}");
}

#[tokio::test]
async fn a_call_that_never_ends_and_one_that_wants_too_much_are_replayed() {
    let node = Node::new();
    for (command, kind) in [("L", TrapKind::Deadline), ("M\x7f", TrapKind::Memory)] {
        let service = node
            .start_with(|spec| {
                (spec.limits.call_ms, spec.limits.memory) = (1_000, ByteSize(4 << 20));
            })
            .await;
        Peer::join(&service).await.say(command).await;
        restarted(&service, 1).await;
        let trap = service.status().last_trap.unwrap();
        assert_eq!(trap.kind, kind);
        let outcome = again(Path::new(&trap.recording.unwrap()));
        assert!(outcome.equal && outcome.trap.as_ref().unwrap().same, "{outcome:?}");
        service.stop(Duration::ZERO).await.unwrap();
    }
}

#[tokio::test]
async fn a_long_life_before_a_trap_is_kept_from_its_last_checkpoint_on() {
    let node = Node::with(|config| config.checkpoint_every = Duration::from_millis(1));
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    peer.ask("Sy", 1).await;
    // More than is kept in memory.
    for _ in 0..24 {
        peer.ask("B\x10", 16 * 65_536).await;
    }
    assert_eq!(peer.ask("G", 1).await, b"y");
    peer.say("T").await;
    restarted(&service, 1).await;
    let file = service.status().last_trap.unwrap().recording.unwrap();
    let outcome = again(Path::new(&file));
    assert!(!outcome.exact && outcome.trap.as_ref().unwrap().same, "{outcome:?}");
    assert!(outcome.equal && outcome.lost_calls == 0, "{outcome:?}");
}

#[tokio::test]
async fn a_client_records_a_service_that_runs_from_its_state_on() {
    let node = Node::new();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    peer.ask("Sz", 1).await;
    let mut pieces = service.record(None).await.unwrap();
    assert!(service.record(None).await.unwrap_err().to_string().contains("under way"));
    assert_eq!(peer.ask("G", 1).await, b"z");
    let mut file = Vec::new();
    // The answer was recorded before it was heard; it is written soon.
    let path = node.dir.path().join("taken");
    let outcome = soon("the recording", async {
        loop {
            file.extend(pieces.recv().await.unwrap());
            fs::write(&path, &file).unwrap();
            let options = Options { wasm: Some(component(PROBE)), ..Options::default() };
            match replay(&path, &options, &mut |_| {}) {
                Ok(outcome) if outcome.received_bytes > 0 => return outcome,
                _ => {}
            }
        }
    })
    .await;
    assert!(outcome.equal && !outcome.exact, "{outcome:?}");
    // Who records no longer is not in the way of the next.
    drop(pieces);
    soon("the end of the first", async {
        while service.record(None).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(peer.ask("G", 1).await, b"z");
}

#[tokio::test]
async fn a_service_that_is_renewed_for_it_is_recorded_to_the_byte() {
    let node = Node::new();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    peer.ask("Sw", 1).await;
    let config = serde_json::Map::new();
    let mut pieces = service.record(Some(&config)).await.unwrap();
    // The probe keeps no connections, but what it remembers.
    assert_eq!(Peer::join(&service).await.ask("G", 1).await, b"w");
    service.stop(Duration::ZERO).await.unwrap();
    let mut file = Vec::new();
    while let Some(piece) = soon("a piece", pieces.recv()).await {
        file.extend(piece);
    }
    let path = node.dir.path().join("taken");
    fs::write(&path, &file).unwrap();
    let outcome = again(&path);
    assert!(outcome.equal && outcome.exact, "{outcome:?}");
    assert!(outcome.calls > 3 && outcome.ending == Ending::Whole, "{outcome:?}");
}

#[tokio::test]
async fn recordings_keep_to_their_budget_and_the_latest_is_kept() {
    let node = Node::new();
    let budget = Record::BUDGET_MIN;
    let service = node.start_with(|spec| spec.record = Record::On { budget }).await;
    let mut peer = Peer::join(&service).await;
    // The node writes and removes meanwhile. The newest file alone grows, and is measured first: so all the others were
    // there at that instant, and the sum is no more than what was held then. One that has left since counts nothing.
    let bytes = |file: &PathBuf| fs::metadata(file).map_or(0, |found| found.len());
    let held = || -> u64 { recordings(&node).iter().rev().map(bytes).sum() };
    let mut noise = 1_u64;
    let mut files = std::collections::BTreeSet::new();
    while files.len() < 6 {
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            // No byte of it is a command.
            noise as u8 | 0x80
        })
        .take(40_000)
        .collect();
        peer.say(bytes).await;
        files.insert(service.status().recording.unwrap().file);
        let held = held();
        assert!(held <= budget.0, "{held} bytes");
    }
    let file = end(&service).await;
    assert!(recordings(&node).len() < files.len(), "the oldest have left");
    let outcome = again(&file);
    assert!(outcome.calls > 0 && !outcome.exact, "{outcome:?}");
}

#[tokio::test]
async fn a_recording_makes_room_among_the_files_of_its_service_alone() {
    let node = Node::new();
    let folder = node.dir.path().join("recordings");
    fs::create_dir(&folder).unwrap();
    let old = |name: &str| {
        let path = folder.join(format!("{name}.eeprec"));
        fs::write(&path, vec![0; 1 << 20]).unwrap();
        path
    };
    let time = "20200101T000000.000000Z";
    let own = old(&format!("probe-{time}"));
    let others = ["probe-2", "probe-2-b", "prob"].map(|service| old(&format!("{service}-{time}")));
    let trap = old(&format!("probe-{time}-trap"));
    let service = node.start_with(|spec| spec.record = Record::On { budget: Record::BUDGET_MIN }).await;
    Peer::join(&service).await.ask("Ehello", 5).await;
    end(&service).await;
    assert!(!own.exists());
    assert!(others.iter().all(|path| path.exists()) && trap.exists());
}
