//! What a swap leaves of datagrams and of what a version has stored (`guests/ledger.wat`).

use eep::proxylet::code::Code;
use eep::proxylet::service::{Service, ServiceSpec};
use eep::proxylet::status::Protocol;
use eep::proxylet::swap::{Probation, SwapError, SwapOutcome};
use tokio::net::UdpSocket;

use crate::node::{Node, address, component, grants, soon};
use crate::versions::version;

const LEDGER: &str = include_str!("../guests/ledger.wat");

/// A version of the ledger, with code in the place of some of its marks.
fn ledger(node: &Node, number: u8, marks: &[(&str, &str)]) -> Code {
    node.runtime.prepare(&component(&version(LEDGER, number, marks)), None).unwrap()
}

/// A version that traps when it has counted so far.
fn trapping(node: &Node, version: u8, at: u64) -> Code {
    let trap = format!("(if (i64.eq (i64.load (i32.const 112)) (i64.const {at})) (then unreachable))");
    ledger(node, version, &[("count", &trap)])
}

fn spec(node: &Node, code: Code) -> ServiceSpec {
    // `datagram` has its errors from `net`, which therefore is imported, too: that takes no grant.
    ServiceSpec { code, grants: grants(&["datagram:*"]), ..node.spec("ledger") }
}

async fn start(node: &Node) -> Service {
    soon("start", Service::start(&node.runtime, spec(node, ledger(node, 1, &[])))).await.unwrap()
}

async fn swap(node: &Node, service: &Service, code: Code) -> Probation {
    soon("the swap", service.swap(spec(node, code))).await.unwrap()
}

async fn fails(probation: &mut Probation) {
    match soon("the failure", probation.failed()).await {
        SwapError::RolledBack(why) => assert!(why.contains("unreachable"), "{why}"),
        other => panic!("{other}"),
    }
}

/// A count with the version that gave it, as `kv` has it.
fn entry(version: u8, count: u64) -> Option<Vec<u8>> {
    Some((u64::from(version) << 56 | count).to_le_bytes().to_vec())
}

/// A peer that says numbered datagrams, and hears each of them answered once, in order.
struct Counter {
    socket: UdpSocket,
    said: u64,
    heard: u64,
}

impl Counter {
    async fn of(service: &Service) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(address(service, Protocol::Udp)).await.unwrap();
        Self { socket, said: 0, heard: 0 }
    }

    async fn say(&mut self, times: u64) {
        for _ in 0..times {
            self.said += 1;
            soon("saying", self.socket.send(&self.said.to_le_bytes())).await.unwrap();
        }
    }

    /// Hears all that is still to be answered; the version that gave the last answer.
    async fn hear(&mut self) -> u8 {
        let mut version = 0;
        while self.heard < self.said {
            self.heard += 1;
            let mut answer = [0; 64];
            let len = soon("the answer", self.socket.recv(&mut answer)).await.unwrap();
            let word = |at: usize| u64::from_le_bytes(answer[at..at + 8].try_into().unwrap());
            let count = |word: u64| word << 8 >> 8;
            let (said, counted, stored) = (word(0), count(word(8)), count(word(16)));
            assert_eq!((len, said, counted, stored), (24, self.heard, self.heard, self.heard - 1));
            version = answer[15];
        }
        version
    }

    async fn ask(&mut self, times: u64) -> u8 {
        self.say(times).await;
        self.hear().await
    }
}

#[tokio::test]
async fn datagrams_wait_while_versions_change_and_each_is_answered_once() {
    let node = Node::new();
    let service = start(&node).await;
    let at = address(&service, Protocol::Udp);
    let mut peer = Counter::of(&service).await;
    assert_eq!(peer.ask(1).await, 1);
    for round in 0..4 {
        let version = 2 + round;
        // Some wait at the socket and some in a batch, while another version takes over and while it is taken back.
        peer.say(20).await;
        let probation = swap(&node, &service, ledger(&node, version, &[])).await;
        peer.say(20).await;
        assert_eq!(peer.hear().await, version);
        soon("keeping", probation.keep()).await.unwrap();
        peer.say(20).await;
        let mut probation = swap(&node, &service, trapping(&node, 9, peer.said + 30)).await;
        peer.say(20).await;
        peer.hear().await;
        peer.say(20).await;
        fails(&mut probation).await;
        assert_eq!(service.status().last_swap.unwrap().outcome, SwapOutcome::RolledBack);
        assert_eq!(peer.ask(1).await, version);
    }
    assert_eq!((address(&service, Protocol::Udp), service.status().restarts), (at, 0));
}

#[tokio::test]
async fn what_a_version_stores_on_probation_is_stored_when_it_stays_and_undone_when_it_does_not() {
    let node = Node::new();
    let service = start(&node).await;
    let mut peer = Counter::of(&service).await;
    assert_eq!(peer.ask(1).await, 1);
    assert_eq!(node.stored("ledger", "k"), entry(1, 1));
    // In `restore` already, and under a key that the former version does not have.
    let also = "(call $kv_set (i32.const 97) (i32.const 1) (i32.const 96) (i32.const 1) (i32.const 0))";
    let second = ledger(&node, 2, &[("restore", also)]);

    let probation = swap(&node, &service, second.clone()).await;
    assert_eq!(peer.ask(1).await, 2);
    // A node that is killed now comes back with the former version, and with what that one has stored.
    assert_eq!((node.stored("ledger", "k"), node.stored("ledger", "x")), (entry(1, 1), None));
    soon("going back", probation.revert("a change of mind".to_owned())).await;
    // The former version has counted the same datagram.
    assert_eq!((node.stored("ledger", "k"), node.stored("ledger", "x")), (entry(1, 2), None));

    let next = spec(&node, ledger(&node, 3, &[("restore", &format!("{also} unreachable"))]));
    soon("the swap", service.swap(next)).await.unwrap_err();
    assert_eq!((peer.ask(1).await, node.stored("ledger", "x")), (1, None));

    let probation = swap(&node, &service, second).await;
    assert_eq!(peer.ask(1).await, 2);
    soon("keeping", probation.keep()).await.unwrap();
    assert_eq!((node.stored("ledger", "k"), node.stored("ledger", "x")), (entry(2, 4), Some(b"k".to_vec())));
    assert_eq!(peer.ask(1).await, 2);
    assert_eq!(node.stored("ledger", "k"), entry(2, 5));
}
