//! A disk that takes its time is nobody's concern but the checkpoint's.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use eep::proxylet::digest::Digest;
use eep::proxylet::service::ServiceSpec;
use eep::proxylet::state_store::{Checkpoint, StateStore, StoreError};
use eep::proxylet::status::State as Life;

use crate::node::{Node, Peer, becomes, restarted, shows, soon};

/// A store that takes no checkpoint before it is told to.
#[derive(Debug)]
struct Disk {
    store: Arc<dyn StateStore>,
    gate: Arc<Gate>,
}

/// How many checkpoints wait, and whether they may pass.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        let mut state = self.changed.wait_while(state, |(_, open)| !*open).unwrap();
        state.0 -= 1;
    }

    fn open(&self) {
        self.set(true);
    }

    fn shut(&self) {
        self.set(false);
    }

    fn set(&self, open: bool) {
        self.state.lock().unwrap().1 = open;
        self.changed.notify_all();
    }

    fn waiting(&self) -> usize {
        self.state.lock().unwrap().0
    }
}

impl StateStore for Disk {
    fn kv_get(&self, service: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.kv_get(service, key)
    }

    fn kv_set(&self, service: &str, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.store.kv_set(service, key, value)
    }

    fn kv_delete(&self, service: &str, key: &str) -> Result<bool, StoreError> {
        self.store.kv_delete(service, key)
    }

    fn kv_apply(&self, service: &str, changes: &BTreeMap<String, Option<Vec<u8>>>) -> Result<(), StoreError> {
        self.store.kv_apply(service, changes)
    }

    fn kv_keys(&self, service: &str, prefix: &str, max: usize) -> Result<Vec<String>, StoreError> {
        self.store.kv_keys(service, prefix, max)
    }

    fn kv_used(&self, service: &str) -> Result<u64, StoreError> {
        self.store.kv_used(service)
    }

    fn checkpoint(&self, service: &str) -> Result<Option<Checkpoint>, StoreError> {
        self.store.checkpoint(service)
    }

    fn put_checkpoint(&self, service: &str, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.gate.pass();
        self.store.put_checkpoint(service, checkpoint)
    }

    fn code(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.store.code(digest)
    }
}

/// A test's hand on the gate: a test that fails leaves nothing that waits for ever.
struct Hand(Arc<Gate>);

impl Deref for Hand {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.0
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.open();
    }
}

/// A node whose disk takes no checkpoint yet.
fn slow(checkpoint_every: Duration) -> (Node, Hand) {
    let gate = Arc::new(Gate::default());
    let mine = Arc::clone(&gate);
    let node = Node::on(
        tempfile::tempdir().unwrap(),
        |config| config.checkpoint_every = checkpoint_every,
        |store| Arc::new(Disk { store, gate: mine }),
    );
    (node, Hand(gate))
}

#[tokio::test]
async fn peers_are_served_while_a_checkpoint_is_written() {
    let (node, gate) = slow(Duration::from_millis(1));
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    peer.ask("Sy", 1).await;
    shows("a checkpoint on its way", || (gate.waiting() == 1).then_some(())).await;
    for _ in 0..100 {
        assert_eq!(peer.ask("E.", 1).await, b".");
    }
    assert_eq!((gate.waiting(), node.saved("probe")), (1, None), "one at a time");
    gate.open();
    shows("the checkpoint", || node.saved("probe").filter(|saved| saved == b"y")).await;
}

#[tokio::test]
async fn after_a_trap_a_checkpoint_that_is_being_written_counts() {
    let (node, gate) = slow(Duration::from_millis(1));
    gate.open();
    let service = node.start().await;
    let mut peer = Peer::join(&service).await;
    peer.ask("Sx", 1).await;
    shows("the checkpoint", || node.saved("probe").filter(|saved| saved == b"x")).await;
    // Nothing is left to save: the next checkpoint is of what follows.
    gate.shut();
    peer.ask("Sy", 1).await;
    shows("a checkpoint on its way", || (gate.waiting() == 1).then_some(())).await;
    peer.say("T").await;
    // The instance has ended and the next one waits for what is on disk.
    let trapped = || service.log().tail(100).iter().any(|l| l.text.contains("trapped")).then_some(());
    shows("the trap", trapped).await;
    assert_eq!(service.status().restarts, 0);
    gate.open();
    restarted(&service, 1).await;
    assert_eq!(Peer::join(&service).await.ask("G", 1).await, b"y");
}

#[tokio::test]
async fn a_version_stays_when_its_state_is_on_disk_and_serves_meanwhile() {
    let (node, gate) = slow(Duration::from_secs(3_600));
    let service = node.start().await;
    Peer::join(&service).await.ask("Sy", 1).await;
    let spec: ServiceSpec = node.spec("probe");
    let probation = soon("the swap", service.swap(spec)).await.unwrap();
    let kept = tokio::spawn(probation.keep());
    shows("a checkpoint on its way", || (gate.waiting() == 1).then_some(())).await;
    assert_eq!(Peer::join(&service).await.ask("G", 1).await, b"y");
    assert!(!kept.is_finished() && node.saved("probe").is_none());
    gate.open();
    soon("keeping", kept).await.unwrap().unwrap();
    assert_eq!(node.saved("probe").as_deref(), Some(&b"y"[..]));
}

#[tokio::test]
async fn a_stop_waits_for_the_disk() {
    let (node, gate) = slow(Duration::from_secs(3_600));
    let service = node.start().await;
    Peer::join(&service).await.ask("Sy", 1).await;
    let stopping = service.clone();
    let stop = tokio::spawn(async move { stopping.stop(Duration::ZERO).await });
    shows("a checkpoint on its way", || (gate.waiting() == 1).then_some(())).await;
    assert!(!stop.is_finished());
    gate.open();
    soon("the stop", stop).await.unwrap().unwrap();
    becomes(&service, Life::Stopped).await;
    assert_eq!(node.saved("probe").as_deref(), Some(&b"y"[..]));
}
