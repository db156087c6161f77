//! Versions of the teller (`guests/teller.wat`), and peers that find every message that is lost or doubled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use eep::proxylet::code::Code;
use eep::proxylet::service::{Service, ServiceSpec};
use eep::proxylet::status::Protocol;
use eep::proxylet::swap::{Probation, SwapError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::node::{Node, Peer, address, component, grants, shows, soon};
use crate::versions::version;

pub(crate) const TELLER: &str = include_str!("../guests/teller.wat");

/// A version of the teller, with code in the place of some of its marks.
pub(crate) fn teller(node: &Node, number: u8, marks: &[(&str, &str)]) -> Code {
    node.runtime.prepare(&component(&version(TELLER, number, marks)), None).unwrap()
}

/// A version that traps when it is handed the message of this number.
pub(crate) fn trapping(node: &Node, version: u8, at: u64) -> Code {
    let trap = format!("(if (i64.eq (local.get $message) (i64.const {at})) (then unreachable))");
    teller(node, version, &[("message", &trap)])
}

pub(crate) fn spec(node: &Node, code: Code) -> ServiceSpec {
    ServiceSpec { code, grants: grants(&["net.listen:*"]), ..node.spec("teller") }
}

pub(crate) async fn start(node: &Node) -> Service {
    soon("start", Service::start(&node.runtime, spec(node, teller(node, 1, &[])))).await.unwrap()
}

pub(crate) async fn swap(node: &Node, service: &Service, code: Code) -> Result<Probation, SwapError> {
    soon("the swap", service.swap(spec(node, code))).await
}

/// Swaps, and keeps what serves then.
pub(crate) async fn replace(node: &Node, service: &Service, code: Code) {
    let probation = swap(node, service, code).await.unwrap();
    soon("keeping", probation.keep()).await.unwrap();
}

/// Waits until the new version has failed.
pub(crate) async fn fails(probation: &mut Probation) -> String {
    match soon("the failure", probation.failed()).await {
        SwapError::RolledBack(why) => why,
        other => panic!("{other}"),
    }
}

/// A peer that says numbered messages.
pub(crate) struct Teller {
    pub(crate) peer: Peer,
    pub(crate) said: u64,
}

impl Teller {
    pub(crate) async fn join(service: &Service) -> Self {
        Self { peer: Peer::join(service).await, said: 0 }
    }

    /// Says the next message; the version that answers.
    pub(crate) async fn tell(&mut self) -> u8 {
        self.said += 1;
        let answer = self.peer.ask(self.said.to_le_bytes(), 16).await;
        check(&answer, self.said)
    }
}

/// The version that gave this answer, which has to be to the message of this number.
pub(crate) fn check(answer: &[u8], number: u64) -> u8 {
    let word = |at: usize| u64::from_le_bytes(answer[at..at + 8].try_into().unwrap());
    assert_eq!((word(0), word(8) << 8 >> 8), (number, number), "the answer to message {number}");
    (word(8) >> 56) as u8
}

/// Peers that talk all the time; each checks that every message is answered once, in order.
pub(crate) struct Crowd {
    peers: Vec<JoinHandle<u64>>,
    over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

impl Crowd {
    /// Messages that a peer says before it waits for an answer.
    const AHEAD: u64 = 64;

    pub(crate) async fn gather(service: &Service, peers: usize) -> Self {
        let (over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut all = Vec::new();
        for i in 0..peers {
            let stream = TcpStream::connect(address(service, Protocol::Tcp)).await.unwrap();
            all.push(tokio::spawn(talk(stream, i, Arc::clone(&over), Arc::clone(&answered))));
        }
        Self { peers: all, over, answered }
    }

    /// How many messages were answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    /// Waits until so many more messages were answered.
    pub(crate) async fn go_on(&self, answers: u64) {
        let until = self.answered.load(Relaxed) + answers;
        shows("answers", || (self.answered.load(Relaxed) >= until).then_some(())).await;
    }

    /// Lets every peer finish; how many messages were said and answered.
    pub(crate) async fn end(self) -> u64 {
        self.over.store(true, Relaxed);
        let mut all = 0;
        for peer in self.peers {
            all += soon("a peer's last answer", peer).await.unwrap();
        }
        all
    }
}

async fn talk(mut stream: TcpStream, i: usize, over: Arc<AtomicBool>, answered: Arc<AtomicU64>) -> u64 {
    let (mut said, mut heard, mut cut) = (0, 0, i);
    let mut answer = [0; 16];
    loop {
        let last = over.load(Relaxed);
        let mut words = Vec::new();
        while !last && said < heard + Crowd::AHEAD {
            said += 1;
            words.extend_from_slice(&u64::to_le_bytes(said));
        }
        // Messages are cut anywhere: a swap finds some half received.
        cut = (cut * 7 + 3) % words.len().max(1);
        stream.write_all(&words[..cut]).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(&words[cut..]).await.unwrap();
        let until = if last { said } else { said - Crowd::AHEAD / 2 };
        while heard < until {
            stream.read_exact(&mut answer).await.unwrap();
            heard += 1;
            check(&answer, heard);
            answered.fetch_add(1, Relaxed);
        }
        if last {
            return said;
        }
    }
}
