//! Other code for a service that serves (`guests/teller.wat`): nothing is lost, and what fails is taken back.

use std::time::Duration;

use eep::proxylet::error::StartError;
use eep::proxylet::limits::Limits;
use eep::proxylet::service::{Service, ServiceSpec};
use eep::proxylet::status::{Protocol, State};
use eep::proxylet::swap::{SwapError, SwapOutcome};
use eep::record::replay::{Options, replay};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::node::{Node, PROBE, Peer, address, component, grants, restarted, shows, soon};
use crate::teller::{Crowd, TELLER, Teller, check, fails, replace, spec, start, swap, teller, trapping};

#[tokio::test]
async fn under_load_no_message_is_lost_or_doubled_by_swaps_and_roll_backs() {
    let node = Node::new();
    let service = start(&node).await;
    let versions = [teller(&node, 2, &[]), teller(&node, 3, &[])];
    let crowd = Crowd::gather(&service, 40).await;
    for round in 0..6 {
        crowd.go_on(2_000).await;
        replace(&node, &service, versions[round % 2].clone()).await;
        crowd.go_on(500).await;
        // Some peer comes to this message soon, and the version has handled others before.
        let far = crowd.answered() / 40 + 200;
        let mut probation = swap(&node, &service, trapping(&node, 9, far)).await.unwrap();
        assert!(fails(&mut probation).await.contains("unreachable"));
        let report = service.status().last_swap.unwrap();
        assert_eq!(
            (report.outcome, report.connections, report.connections_closed),
            (SwapOutcome::RolledBack, 40, 0)
        );
    }
    crowd.go_on(2_000).await;
    let status = service.status();
    assert_eq!((status.connections, status.restarts), (40, 0));
    // What was waited for above; how far the crowd is when the traps come is chance.
    let said = crowd.end().await;
    assert!(said >= 17_000, "{said}");
}

#[tokio::test]
async fn the_new_version_has_the_connections_the_listener_and_what_waits_there() {
    let node = Node::new();
    let service = start(&node).await;
    let at = address(&service, Protocol::Tcp);
    let mut old = Teller::join(&service).await;
    assert_eq!(old.tell().await, 1);
    // Half a message: the rest comes to the other version.
    old.peer.say(&2_u64.to_le_bytes()[..3]).await;
    shows("the half", || (service.status().received_bytes == 11).then_some(())).await;
    replace(&node, &service, teller(&node, 2, &[])).await;
    old.peer.say(&2_u64.to_le_bytes()[3..]).await;
    assert_eq!(check(&old.peer.hear(16).await, 2), 2);
    assert_eq!(address(&service, Protocol::Tcp), at);
    assert_eq!(Teller::join(&service).await.tell().await, 2);
    let status = service.status();
    let report = status.last_swap.unwrap();
    assert_eq!((report.outcome, report.connections, report.connections_closed), (SwapOutcome::Held, 1, 0));
    assert!(report.pause_s > 0.0 && status.digest == report.to && report.from != report.to);
}

#[tokio::test]
async fn a_version_that_does_not_take_over_leaves_everything_as_it_was() {
    let node = Node::new();
    let service = start(&node).await;
    let mut peer = Teller::join(&service).await;
    assert_eq!(peer.tell().await, 1);
    let (before, memory) = (service.status().listening, service.status().memory_bytes);
    for (marks, expected) in [
        (("restore", "(unreachable)"), "unreachable"),
        (("restore", "(loop $ever (br $ever))"), "limit of 1000 ms"),
        (("restore", "(return (call $no))"), "it does not know this state"),
        // What it asked for before it said no is undone.
        (("restore", "(drop (call $begin)) (drop (call $begin)) (return (call $no))"), "does not know"),
    ] {
        let mut next = spec(&node, teller(&node, 2, &[marks]));
        next.limits.call_ms = 1_000;
        let error = soon("the swap", service.swap(next)).await.unwrap_err();
        assert!(matches!(&error, SwapError::Refused(_)), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(peer.tell().await, 1);
        let status = service.status();
        assert_eq!((&status.listening, status.memory_bytes, status.restarts), (&before, memory, 0));
        assert_eq!(status.last_swap.unwrap().outcome, SwapOutcome::Refused);
    }
    let mut next = spec(&node, teller(&node, 2, &[]));
    next.grants = grants(&["datagram:*"]);
    let error = soon("the swap", service.swap(next)).await.unwrap_err();
    assert!(matches!(&error, SwapError::Refused(StartError::Load(_))), "{error}");
    assert_eq!(Teller::join(&service).await.tell().await, 1);
}

#[tokio::test]
async fn a_version_that_fails_on_probation_is_taken_back_with_what_it_has_handled() {
    let node = Node::new();
    let service = start(&node).await;
    let mut first = Teller::join(&service).await;
    assert_eq!(first.tell().await, 1);
    let mut probation = swap(&node, &service, trapping(&node, 2, 4)).await.unwrap();
    let mut second = Teller::join(&service).await;
    assert_eq!((first.tell().await, first.tell().await, second.tell().await), (2, 2, 2));
    // The message at which the new version traps is answered by the former one, and the counts go on.
    assert_eq!(first.tell().await, 1);
    assert!(fails(&mut probation).await.contains("unreachable"));
    assert_eq!((first.tell().await, second.tell().await), (1, 1));
    let status = service.status();
    assert_eq!((status.restarts, status.state), (0, State::Running));
    assert_eq!(status.last_trap.unwrap().during, "handle");
    let report = status.last_swap.unwrap();
    assert_eq!((report.outcome, report.connections_closed), (SwapOutcome::RolledBack, 0));
    assert_eq!(status.digest, report.from);
    let told = service.log().tail(100);
    assert!(told.iter().any(|line| line.text.contains("was taken back")), "{told:?}");
}

#[tokio::test]
async fn a_version_that_gives_no_state_does_not_stay() {
    let node = Node::new();
    let service = start(&node).await;
    let mut peer = Teller::join(&service).await;
    assert_eq!(peer.tell().await, 1);
    let mute = teller(&node, 2, &[("save", "(unreachable)")]);
    let probation = swap(&node, &service, mute).await.unwrap();
    assert_eq!(peer.tell().await, 2);
    let error = soon("the end of the probation", probation.keep()).await.unwrap_err();
    assert!(error.to_string().contains("unreachable"), "{error}");
    assert_eq!(peer.tell().await, 1);
    let status = service.status();
    assert_eq!((status.restarts, status.connections), (0, 1));
    assert_eq!(status.last_swap.unwrap().outcome, SwapOutcome::RolledBack);
}

#[tokio::test]
async fn who_begins_to_record_during_a_probation_records_the_version_that_it_ends_with() {
    let node = Node::new();
    let service = start(&node).await;
    let mut peer = Teller::join(&service).await;
    assert_eq!(peer.tell().await, 1);
    let probation = swap(&node, &service, teller(&node, 2, &[])).await.unwrap();
    let mut pieces = service.record(None).await.unwrap();
    soon("going back", probation.revert("a change of mind".to_owned())).await;
    let (path, mut file) = (node.dir.path().join("taken"), Vec::new());
    let outcome = soon("the recording", async {
        loop {
            // It begins at a checkpoint, and one is taken when there was something to do.
            assert_eq!(peer.tell().await, 1);
            let Ok(piece) = pieces.try_recv() else { continue };
            file.extend(piece);
            std::fs::write(&path, &file).unwrap();
            let options = Options { wasm: Some(component(TELLER)), ..Options::default() };
            match replay(&path, &options, &mut |_| {}) {
                Ok(outcome) if outcome.received_bytes > 0 => return outcome,
                _ => {}
            }
        }
    })
    .await;
    assert!(outcome.equal && outcome.instances == 1, "{outcome:?}");
}

#[tokio::test]
async fn a_version_can_be_taken_back_and_nobody_asking_takes_it_back() {
    let node = Node::new();
    let service = start(&node).await;
    let mut peer = Teller::join(&service).await;
    assert_eq!(peer.tell().await, 1);
    let probation = swap(&node, &service, teller(&node, 2, &[])).await.unwrap();
    assert_eq!(peer.tell().await, 2);
    let error = soon("going back", probation.revert("its probe failed".to_owned())).await;
    assert_eq!(error.to_string(), "the new version was taken back: its probe failed");
    assert_eq!(peer.tell().await, 1);
    drop(swap(&node, &service, teller(&node, 2, &[])).await.unwrap());
    shows("going back", || (service.status().last_swap?.outcome == SwapOutcome::RolledBack).then_some(()))
        .await;
    assert_eq!(peer.tell().await, 1);
}

#[tokio::test]
async fn after_more_than_can_be_caught_up_with_connections_that_were_idle_live_on() {
    let node = Node::new();
    let service = start(&node).await;
    let mut idle = Teller::join(&service).await;
    let mut busy = Peer::join(&service).await;
    assert_eq!(idle.tell().await, 1);
    let mut probation = swap(&node, &service, trapping(&node, 2, u64::MAX)).await.unwrap();
    // 40 MiB, all of it answered.
    let (mut read, mut write) = busy.0.split();
    let words: Vec<u8> = (0_u64..1 << 17).flat_map(u64::to_le_bytes).collect();
    let mut answers = vec![0; 2 * words.len()];
    for _ in 0..40 {
        let (said, heard) = tokio::join!(write.write_all(&words), read.read_exact(&mut answers));
        said.unwrap();
        heard.unwrap();
    }
    busy.say([0xff; 8]).await;
    assert!(fails(&mut probation).await.contains("unreachable"));
    assert_eq!(busy.hear_out().await, b"");
    assert_eq!(idle.tell().await, 1);
    assert_eq!(service.status().last_swap.unwrap().connections_closed, 1);
}

#[tokio::test]
async fn timers_go_on_through_swaps() {
    let node = Node::new();
    // Each version answers a timer with a trap: it is how the test hears of it.
    // It is due once the third version serves: two swaps write to a disk on the way.
    let set = "(call $set_timer (i64.const 7) (i64.add (local.get $now) (i64.const 8000000000)))";
    // What takes time is done before the timer is set.
    let first = teller(&node, 1, &[("start", set)]);
    let second = teller(&node, 2, &[]);
    let third = teller(&node, 3, &[("timer", "(unreachable)")]);
    let service = soon("start", Service::start(&node.runtime, spec(&node, first))).await.unwrap();
    let mut peer = Teller::join(&service).await;
    assert_eq!(peer.tell().await, 1);
    replace(&node, &service, second).await;
    let mut probation = swap(&node, &service, third).await.unwrap();
    assert!(fails(&mut probation).await.contains("unreachable"));
    // Version 2 was given the timer, once, and went on.
    assert_eq!(peer.tell().await, 2);
}

#[tokio::test]
async fn what_a_version_does_not_take_over_is_closed_when_it_stays() {
    let node = Node::new();
    let service = start(&node).await;
    let mut peer = Teller::join(&service).await;
    assert_eq!(peer.tell().await, 1);
    // The probe asks for no connections.
    let mut next = node.spec("teller");
    next.grants = grants(&["net.listen:*", "net.connect", "datagram:*"]);
    let probation = soon("the swap", service.swap(next.clone())).await.unwrap();
    assert_eq!(service.status().last_swap.unwrap().connections_closed, 1);
    // Until it is sure to stay, the connection waits for the former version.
    soon("going back", probation.revert("a change of mind".to_owned())).await;
    assert_eq!(peer.tell().await, 1);
    let probation = soon("the swap", service.swap(next)).await.unwrap();
    soon("keeping", probation.keep()).await.unwrap();
    assert_eq!(peer.peer.hear_out().await, b"");
    assert_eq!(Peer::join(&service).await.ask("E.", 1).await, b".");
}

#[tokio::test]
async fn a_version_that_is_taken_back_leaves_no_figures_and_the_former_one_has_run_all_along() {
    let node = Node::new();
    let service = node.start().await;
    Peer::join(&service).await.ask("I", 1).await;
    let figures = || service.series().into_iter().map(|series| series.name).collect::<Vec<_>>();
    assert_eq!(figures(), ["probe_total"]);
    let mut next = node.spec("probe");
    let other = component(&PROBE.replace("probe_total", "other_total"));
    next.code = node.runtime.prepare(&other, None).unwrap();
    let up = service.status().uptime_s;
    let probation = soon("the swap", service.swap(next)).await.unwrap();
    Peer::join(&service).await.ask("I", 1).await;
    assert_eq!(figures(), ["probe_total", "other_total"]);
    soon("going back", probation.revert("a change of mind".to_owned())).await;
    assert_eq!(figures(), ["probe_total"]);
    let now = service.status().uptime_s;
    assert!(now >= up, "{now} s after {up} s");
}

#[tokio::test]
async fn a_trap_in_save_is_the_running_version_s() {
    let node = Node::new();
    let first = teller(&node, 1, &[("save", "(unreachable)")]);
    let service = soon("start", Service::start(&node.runtime, spec(&node, first))).await.unwrap();
    let error = swap(&node, &service, teller(&node, 2, &[])).await.unwrap_err();
    assert!(matches!(&error, SwapError::Save(_)), "{error}");
    restarted(&service, 1).await;
}

#[tokio::test]
async fn after_a_trap_the_connections_of_which_the_checkpoint_is_true_live_on() {
    let node = Node::with(|config| config.checkpoint_every = Duration::from_millis(1));
    let first = trapping(&node, 1, u64::MAX);
    let service = soon("start", Service::start(&node.runtime, spec(&node, first))).await.unwrap();
    let mut idle = Teller::join(&service).await;
    let mut busy = Teller::join(&service).await;
    assert_eq!((idle.tell().await, busy.tell().await), (1, 1));
    // Saved once both are known: the state is a head of 8 bytes and 32 of each.
    shows("a checkpoint", || (node.saved("teller")?.len() == 8 + 64).then_some(())).await;
    let batches = service.status().batches;
    let saved =
        |count: u64| node.saved("teller").is_some_and(|s| s[8 + 8..].starts_with(&count.to_le_bytes()));
    shows("a checkpoint with its answer", || saved(1).then_some(())).await;
    assert_eq!(service.status().batches, batches);
    busy.peer.say([0xff; 8]).await;
    assert_eq!(busy.peer.hear_out().await, b"");
    restarted(&service, 1).await;
    assert_eq!(idle.tell().await, 1);
    let mut again = Teller::join(&service).await;
    assert_eq!(again.tell().await, 1);
    assert_eq!(service.status().connections, 2);
}

#[tokio::test]
async fn a_call_that_sends_without_end_on_probation_is_taken_back_before_any_of_it_leaves() {
    let node = Node::new();
    let service = start(&node).await;
    let mut peer = Teller::join(&service).await;
    assert_eq!(peer.tell().await, 1);
    // 1,100 times 64 KiB in one call: more than is held back.
    let flood = "(i64.store (i32.const 80) (i64.load (local.get $at)))
        (i32.store (i32.const 88) (i32.const 1)) (i32.store (i32.const 92) (i32.const 65536))
        (i32.store (i32.const 100) (i32.const 1100))
        (loop $more
          (call $net_send (i32.const 65536) (i32.const 65536) (i32.const 80) (i32.const 1) (i32.const 88)
            (i32.const 1) (i32.const 0))
          (i32.store (i32.const 100) (i32.sub (i32.load (i32.const 100)) (i32.const 1)))
          (br_if $more (i32.load (i32.const 100))))";
    let flood = spec(&node, teller(&node, 2, &[("message", flood)]));
    // However slow the machine is, it is the bytes that are too many.
    let limits = Limits { call_ms: 60_000, ..Limits::default() };
    let mut probation = service.swap(ServiceSpec { limits, ..flood }).await.unwrap();
    assert_eq!(peer.tell().await, 1);
    assert!(fails(&mut probation).await.contains("more than 64 MiB"));
}

#[tokio::test]
async fn there_is_a_last_listener_and_a_last_socket() {
    let node = Node::new();
    let listening = |times: u32| {
        let again = format!(
            "(i32.store (i32.const 100) (i32.const {times}))
             (loop $more
               (drop (call $begin))
               (i32.store (i32.const 100) (i32.sub (i32.load (i32.const 100)) (i32.const 1)))
               (br_if $more (i32.load (i32.const 100))))"
        );
        ServiceSpec { fresh: true, ..spec(&node, teller(&node, 1, &[("start", &again)])) }
    };
    let service = soon("start", Service::start(&node.runtime, listening(63))).await.unwrap();
    assert_eq!(service.status().listening.len(), 64);
    service.stop(Duration::ZERO).await.unwrap();
    let error = soon("start", Service::start(&node.runtime, listening(64))).await.unwrap_err();
    assert!(matches!(error, StartError::Trapped(_)), "{error}");
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    for _ in 0..70 {
        assert_eq!(peer.ask("D", 1).await, b".");
    }
    let udp = service.status().listening.iter().filter(|l| l.protocol == Protocol::Udp).count();
    assert_eq!(udp, 64);
}
