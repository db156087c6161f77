//! A network between the nodes of a test, in this process: it loses, delays and queues what they send each other, and hides
//! nodes behind translators of addresses. It takes no privileges.
//!
//! A node that can be reached has a front: an address that it advertises, and that stands for it. What others send there
//! reaches it from an address that is theirs towards this node alone, and takes answers from it and from nobody else. So a
//! node without a front is behind a translator of the most hostile kind: its address is another one for each peer, and what
//! it did not ask for does not get in (RFC 4787: mapping and filtering depend on address and port).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use tokio::net::UdpSocket;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Packets that wait on one way in one direction.
const WAITING_MAX: usize = 4096;

/// Packets, each with its time.
type Waiting = mpsc::Sender<(Instant, Vec<u8>)>;

/// A queue in front of a narrow place, in each direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bottleneck {
    pub(crate) bytes_per_second: f64,
    /// How long what has just found room in it waits.
    pub(crate) queue: Duration,
    /// What others send through it, as a part of what passes; with more than 1 it is full.
    pub(crate) others: f64,
}

/// What becomes of packets between two nodes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    /// For each direction.
    pub(crate) delay: Duration,
    /// The share that is lost, in thousandths.
    pub(crate) lost_milli: u32,
    pub(crate) bottleneck: Option<Bottleneck>,
}

/// The queue of one direction: how long what comes now would wait, in seconds.
#[derive(Debug)]
struct Backlog {
    seconds: f64,
    at: Instant,
}

#[derive(Debug)]
struct State {
    rng: ChaCha12Rng,
    ways: BTreeMap<(SocketAddr, SocketAddr), Way>,
    backlogs: BTreeMap<(SocketAddr, SocketAddr), Backlog>,
    packets: BTreeMap<(SocketAddr, SocketAddr), u64>,
    /// Packets to a node that it did not ask for.
    unasked: u64,
    /// Where what a source sends to a node goes: forgotten when the source's translator is.
    flows: BTreeMap<(SocketAddr, SocketAddr), Waiting>,
}

/// See the module's text.
pub(crate) struct Fabric {
    state: Arc<Mutex<State>>,
    runtime: Runtime,
}

fn pair(a: SocketAddr, b: SocketAddr) -> (SocketAddr, SocketAddr) {
    (a.min(b), a.max(b))
}

impl State {
    /// When a packet arrives that is sent now; none where it is lost.
    fn carry(&mut self, from: SocketAddr, to: SocketAddr, bytes: usize) -> Option<Instant> {
        *self.packets.entry(pair(from, to)).or_default() += 1;
        let (now, way) = (Instant::now(), self.ways.get(&pair(from, to)).copied().unwrap_or_default());
        let mut chance = |milli: f64| f64::from(self.rng.next_u32() % 1000) < milli;
        if chance(f64::from(way.lost_milli)) {
            return None;
        }
        let Some(narrow) = way.bottleneck else { return Some(now + way.delay) };
        let backlog = self.backlogs.entry((from, to)).or_insert(Backlog { seconds: 0.0, at: now });
        let passed = now.duration_since(backlog.at).as_secs_f64();
        let full = narrow.queue.as_secs_f64();
        backlog.seconds = (backlog.seconds + passed * (narrow.others - 1.0)).clamp(0.0, full);
        backlog.at = now;
        let own = bytes as f64 / narrow.bytes_per_second;
        let over = backlog.seconds + own > full;
        // Of all that comes to a full queue, as much finds room as passes.
        if over && (narrow.others <= 1.0 || !chance(1000.0 / narrow.others)) {
            return None;
        }
        backlog.seconds = (backlog.seconds + own).min(full);
        Some(now + way.delay + Duration::from_secs_f64(backlog.seconds))
    }
}

/// Sends what waits, in turn and at its time.
fn pass(socket: Arc<UdpSocket>, to: SocketAddr) -> Waiting {
    let (tell, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(WAITING_MAX);
    tokio::spawn(async move {
        while let Some((at, bytes)) = waiting.recv().await {
            sleep_until(at).await;
            // A node that has ended takes nothing.
            let _ = socket.send_to(&bytes, to).await;
        }
    });
    tell
}

impl Fabric {
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            rng: ChaCha12Rng::seed_from_u64(seed),
            ways: BTreeMap::new(),
            backlogs: BTreeMap::new(),
            packets: BTreeMap::new(),
            unasked: 0,
            flows: BTreeMap::new(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self { state: Arc::new(Mutex::new(state)), runtime: runtime.unwrap() }
    }

    /// An address that stands for the node that listens at this one.
    pub(crate) fn front(&self, node: SocketAddr) -> SocketAddr {
        let front = self.runtime.block_on(UdpSocket::bind("127.0.0.1:0")).unwrap();
        let (front, state) = (Arc::new(front), Arc::clone(&self.state));
        let address = front.local_addr().unwrap();
        self.runtime.spawn(async move {
            let mut packet = vec![0; 64 << 10];
            loop {
                // An error is that of a packet that was sent before.
                let Ok((bytes, source)) = front.recv_from(&mut packet).await else { continue };
                let known = state.lock().unwrap().flows.get(&(source, node)).cloned();
                let flow = match known {
                    Some(flow) => flow,
                    None => {
                        let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                        let flow = pass(Arc::clone(&back), node);
                        let answers = answers(Arc::clone(&state), Arc::clone(&front), back, (source, node));
                        tokio::spawn(answers);
                        state.lock().unwrap().flows.insert((source, node), flow.clone());
                        flow
                    }
                };
                let arrives = state.lock().unwrap().carry(source, node, bytes);
                if let Some(at) = arrives {
                    // A full queue loses.
                    let _ = flow.try_send((at, packet[..bytes].to_vec()));
                }
            }
        });
        address
    }

    /// What becomes of packets between two nodes from now on.
    pub(crate) fn set(&self, a: SocketAddr, b: SocketAddr, way: Way) {
        let mut state = self.state.lock().unwrap();
        state.ways.insert(pair(a, b), way);
        // What others send has filled it already.
        let full =
            way.bottleneck.filter(|narrow| narrow.others > 1.0).map(|narrow| narrow.queue.as_secs_f64());
        for direction in [(a, b), (b, a)] {
            let backlog = Backlog { seconds: full.unwrap_or(0.0), at: Instant::now() };
            state.backlogs.insert(direction, backlog);
        }
    }

    /// Packets that two nodes have sent each other.
    pub(crate) fn packets(&self, a: SocketAddr, b: SocketAddr) -> u64 {
        self.state.lock().unwrap().packets.get(&pair(a, b)).copied().unwrap_or(0)
    }

    /// Packets to nodes that did not ask for them.
    pub(crate) fn unasked(&self) -> u64 {
        self.state.lock().unwrap().unasked
    }

    /// A node's translator begins anew: its peers see it at other addresses from now on.
    pub(crate) fn translate_anew(&self, node: SocketAddr) {
        self.state.lock().unwrap().flows.retain(|(source, _), _| *source != node);
    }
}

/// Takes what a node answers to a source.
async fn answers(
    state: Arc<Mutex<State>>,
    front: Arc<UdpSocket>,
    back: Arc<UdpSocket>,
    (source, node): (SocketAddr, SocketAddr),
) {
    let home = pass(front, source);
    let mut packet = vec![0; 64 << 10];
    loop {
        let Ok((bytes, from)) = back.recv_from(&mut packet).await else { continue };
        let arrives = {
            let mut state = state.lock().unwrap();
            if from == node {
                state.carry(node, source, bytes)
            } else {
                state.unasked += 1;
                None
            }
        };
        if let Some(at) = arrives {
            let _ = home.try_send((at, packet[..bytes].to_vec()));
        }
    }
}
