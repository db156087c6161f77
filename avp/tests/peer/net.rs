//! A network in memory: virtual peers and scripted ones, one clock, no sockets.
//!
//! Connections have no delay. "Compressed" streams carry the same bytes as others: who deflates and who inflates is
//! agreed by the peers, and the net only checks that both ends do it.

use crate::policy::Rules;
use avp::application::monitoring::{Sample, Value};
use avp::application::policy::Policy;
use avp::host::Level;
use avp::peer::{RestoreError, Status};
use avp::{CloseReason, Config, ConnId, Event, Host, Instant, SendBatch, VirtualPeer};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Duration;

/// One of the virtual peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerId(usize);

/// One end of a connection that a test holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawId(usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Peer(usize, ConnId),
    Raw(usize),
}

enum Owned {
    Accepted { conn: ConnId, remote: SocketAddr },
    Established { conn: ConnId, remote: SocketAddr },
    Failed { conn: ConnId },
    Received { conn: ConnId, bytes: Vec<u8> },
    Writable { conn: ConnId },
    Closed { conn: ConnId },
    Datagram { from: SocketAddr, bytes: Vec<u8> },
}

enum Action {
    Connect(ConnId, SocketAddr),
    Send(ConnId, Vec<u8>),
    Close(ConnId),
    Inflate(ConnId, Vec<u8>),
    Datagram(SocketAddr, Vec<u8>),
}

struct Node {
    peer: VirtualPeer,
    address: SocketAddr,
    inbox: VecDeque<Owned>,
    wake: Instant,
    other: BTreeMap<ConnId, End>,
    /// Connections that take nothing more until they are released.
    full: Vec<ConnId>,
    log: Vec<(Level, String)>,
    /// All that was asked of the host, in its order.
    asked: DefaultHasher,
    policy: Option<Rules>,
}

#[derive(Default)]
struct RawEnd {
    other: Option<End>,
    received: Vec<u8>,
    closed: bool,
}

/// The network.
pub(crate) struct Net {
    pub(crate) now: Instant,
    nodes: Vec<Node>,
    raws: Vec<RawEnd>,
    listening: BTreeMap<SocketAddr, usize>,
    /// Connections to scripted listeners that nobody has taken yet.
    backlog: Vec<(SocketAddr, RawId)>,
    raw_listening: Vec<SocketAddr>,
    /// Datagrams to addresses that are no virtual peer's.
    pub(crate) datagrams: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    next_conn: u64,
}

struct FakeHost<'a> {
    now: Instant,
    next_conn: &'a mut u64,
    actions: Vec<Action>,
    wake: Option<Instant>,
    full: &'a [ConnId],
    log: &'a mut Vec<(Level, String)>,
    asked: &'a mut DefaultHasher,
    policy: Option<&'a mut Rules>,
}

impl Host for FakeHost<'_> {
    fn connect(&mut self, to: SocketAddr) -> Result<ConnId, CloseReason> {
        *self.next_conn += 1;
        let conn = ConnId(*self.next_conn);
        (0, to).hash(self.asked);
        self.actions.push(Action::Connect(conn, to));
        Ok(conn)
    }

    fn send(&mut self, batch: &SendBatch, congested: &mut Vec<ConnId>) {
        for (targets, bytes) in batch.runs() {
            (1, targets, bytes).hash(self.asked);
            for to in targets {
                self.actions.push(Action::Send(ConnId(*to), bytes.to_vec()));
                if self.full.contains(&ConnId(*to)) && !congested.contains(&ConnId(*to)) {
                    congested.push(ConnId(*to));
                }
            }
        }
    }

    fn close(&mut self, conn: ConnId) {
        (2, conn).hash(self.asked);
        self.actions.push(Action::Close(conn));
    }

    fn abort(&mut self, conn: ConnId) {
        (3, conn).hash(self.asked);
        self.actions.push(Action::Close(conn));
    }

    fn inflate(&mut self, conn: ConnId, rest: &[u8]) {
        (4, conn, rest).hash(self.asked);
        self.actions.push(Action::Inflate(conn, rest.to_vec()));
    }

    fn deflate(&mut self, conn: ConnId) {
        (5, conn).hash(self.asked);
    }

    fn datagram(&mut self, to: SocketAddr, bytes: &[u8]) {
        (6, to, bytes).hash(self.asked);
        self.actions.push(Action::Datagram(to, bytes.to_vec()));
    }

    fn wake_at(&mut self, at: Instant) {
        assert!(at >= self.now, "asks to be woken in the past");
        self.wake = Some(at);
    }

    fn wall_seconds(&mut self) -> u64 {
        1_700_000_000 + self.now.0 / 1_000_000_000
    }

    fn policy(&mut self) -> Option<&mut dyn Policy> {
        self.policy.as_deref_mut().map(|rules| rules as &mut dyn Policy)
    }

    fn log(&mut self, level: Level, line: &str) {
        (7, line).hash(self.asked);
        self.log.push((level, line.to_owned()));
    }
}

/// An address for peer number `n`.
pub(crate) fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 6346))
}

/// A configuration that may reach the addresses of this network.
pub(crate) fn config() -> Config {
    Config { allow_private_addresses: true, ..Config::default() }
}

impl Net {
    pub(crate) fn new() -> Self {
        Self {
            // Not at zero, so that times before the start can be told from none.
            now: Instant(1_000_000_000_000),
            nodes: Vec::new(),
            raws: Vec::new(),
            listening: BTreeMap::new(),
            backlog: Vec::new(),
            raw_listening: Vec::new(),
            datagrams: Vec::new(),
            next_conn: 0,
        }
    }

    /// Adds a virtual peer; it listens at the returned peer's [`Self::address`].
    pub(crate) fn peer(&mut self, config: Config) -> PeerId {
        let n = self.nodes.len();
        let config = Config { listen: address(n + 1), ..config };
        config.validate().expect("a valid configuration");
        let peer = VirtualPeer::new(config, [n as u8 + 1; 32], self.now);
        self.install(peer, address(n + 1))
    }

    /// Adds a virtual peer that was made elsewhere.
    pub(crate) fn install(&mut self, peer: VirtualPeer, address: SocketAddr) -> PeerId {
        let n = self.nodes.len();
        self.listening.insert(address, n);
        self.nodes.push(Node {
            peer,
            address,
            inbox: VecDeque::new(),
            wake: self.now,
            other: BTreeMap::new(),
            full: Vec::new(),
            log: Vec::new(),
            asked: DefaultHasher::new(),
            policy: None,
        });
        PeerId(n)
    }

    pub(crate) fn address(&self, peer: PeerId) -> SocketAddr {
        self.nodes[peer.0].address
    }

    pub(crate) fn status(&self, peer: PeerId) -> Status {
        self.nodes[peer.0].peer.status()
    }

    pub(crate) fn virtual_peer(&self, peer: PeerId) -> &VirtualPeer {
        &self.nodes[peer.0].peer
    }

    /// A digest of all that a virtual peer has asked of its host, in its order, and when it wants to be woken.
    pub(crate) fn asked(&self, peer: PeerId) -> (u64, Instant) {
        let node = &self.nodes[peer.0];
        (node.asked.finish(), node.wake)
    }

    /// What a virtual peer has told its operator.
    pub(crate) fn log(&self, peer: PeerId) -> Vec<String> {
        self.nodes[peer.0].log.iter().map(|(level, line)| format!("{level:?}: {line}")).collect()
    }

    /// The value of a counter or a gauge, or the observations of a histogram, all series with these labels taken
    /// together.
    pub(crate) fn metric(&self, peer: PeerId, name: &str, labels: &[(&str, &str)]) -> f64 {
        let all = self.nodes[peer.0].peer.metrics();
        let has = |s: &&Sample| s.name == name && labels.iter().all(|l| s.labels().contains(l));
        let number = |s: &Sample| match s.value {
            Value::Counter(n) | Value::Gauge(n) => n,
            Value::Histogram { ref counts, .. } => counts.iter().sum::<u64>() as f64,
        };
        all.iter().filter(has).map(number).sum()
    }

    /// Connects from `from` to a virtual peer; nothing is sent.
    pub(crate) fn connect(&mut self, from: SocketAddr, to: PeerId) -> RawId {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let raw = RawId(self.raws.len());
        self.raws.push(RawEnd { other: Some(End::Peer(to.0, conn)), ..RawEnd::default() });
        let node = &mut self.nodes[to.0];
        node.other.insert(conn, End::Raw(raw.0));
        node.inbox.push_back(Owned::Accepted { conn, remote: from });
        raw
    }

    /// Lets connections to this address arrive at the test.
    pub(crate) fn listen(&mut self, at: SocketAddr) {
        self.raw_listening.push(at);
    }

    /// A connection that a virtual peer has made to the test.
    pub(crate) fn accept(&mut self, at: SocketAddr) -> Option<RawId> {
        let i = self.backlog.iter().position(|(to, _)| *to == at)?;
        Some(self.backlog.remove(i).1)
    }

    pub(crate) fn send(&mut self, raw: RawId, bytes: &[u8]) {
        if let Some(End::Peer(node, conn)) = self.raws[raw.0].other {
            self.nodes[node].inbox.push_back(Owned::Received { conn, bytes: bytes.to_vec() });
        }
    }

    pub(crate) fn datagram(&mut self, from: SocketAddr, to: PeerId, bytes: &[u8]) {
        self.nodes[to.0].inbox.push_back(Owned::Datagram { from, bytes: bytes.to_vec() });
    }

    pub(crate) fn close(&mut self, raw: RawId) {
        if let Some(End::Peer(node, conn)) = self.raws[raw.0].other.take() {
            self.nodes[node].other.remove(&conn);
            self.nodes[node].inbox.push_back(Owned::Closed { conn });
        }
    }

    /// What has come in at a scripted end since the last call.
    pub(crate) fn take(&mut self, raw: RawId) -> Vec<u8> {
        std::mem::take(&mut self.raws[raw.0].received)
    }

    pub(crate) fn is_closed(&self, raw: RawId) -> bool {
        self.raws[raw.0].closed
    }

    /// The shell reports the connection to this end as congested from now on, or no longer.
    pub(crate) fn set_full(&mut self, raw: RawId, full: bool) {
        let Some(End::Peer(node, conn)) = self.raws[raw.0].other else { return };
        let node = &mut self.nodes[node];
        node.full.retain(|c| *c != conn);
        if full {
            node.full.push(conn);
        } else {
            node.inbox.push_back(Owned::Writable { conn });
        }
    }

    /// Lets everything happen that happens now.
    pub(crate) fn run(&mut self) {
        for _ in 0..100_000 {
            // All at once: what one peer sends, another one gets in the next round.
            let inboxes: Vec<_> = self.nodes.iter_mut().map(|n| std::mem::take(&mut n.inbox)).collect();
            let mut idle = true;
            for (n, inbox) in inboxes.into_iter().enumerate() {
                if !inbox.is_empty() || self.nodes[n].wake <= self.now {
                    idle = false;
                    self.step(n, &inbox);
                }
            }
            if idle {
                return;
            }
        }
        panic!("the peers do not come to rest");
    }

    /// Lets time pass, from one wake-up to the next.
    pub(crate) fn advance(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.run();
            let next = self.nodes.iter().map(|n| n.wake).min().unwrap_or(until);
            if next > until {
                break;
            }
            self.now = next;
        }
        self.now = until;
        self.run();
    }

    fn step(&mut self, n: usize, inbox: &VecDeque<Owned>) {
        let node = &mut self.nodes[n];
        let local = node.address;
        let mut host = FakeHost {
            now: self.now,
            next_conn: &mut self.next_conn,
            actions: Vec::new(),
            wake: None,
            full: &node.full,
            log: &mut node.log,
            asked: &mut node.asked,
            policy: node.policy.as_mut(),
        };
        let events = inbox.iter().map(|e| match e {
            Owned::Accepted { conn, remote } => Event::Accepted { conn: *conn, remote: *remote, local },
            Owned::Established { conn, remote } => Event::Established { conn: *conn, remote: *remote, local },
            Owned::Failed { conn } => Event::Failed { conn: *conn, reason: CloseReason::Refused },
            Owned::Received { conn, bytes } => Event::Received { conn: *conn, bytes },
            Owned::Writable { conn } => Event::Writable { conn: *conn },
            Owned::Closed { conn } => Event::Closed { conn: *conn, reason: CloseReason::Ended },
            Owned::Datagram { from, bytes } => Event::Datagram { from: *from, bytes },
        });
        let due = node.wake <= self.now;
        node.peer.handle(self.now, events.chain(due.then_some(Event::Timer)), &mut host);
        let (actions, wake) = (host.actions, host.wake);
        if let Some(at) = wake {
            node.wake = at;
        }
        assert!(node.wake > self.now, "a peer that is due asks to be woken again");
        for action in actions {
            self.act(n, action);
        }
    }

    /// Puts another configuration in force; the peer keeps its address.
    pub(crate) fn configure(&mut self, peer: PeerId, config: Config) {
        let config = Config { listen: self.address(peer), ..config };
        let now = self.now;
        self.call(peer, |p, host| p.configure(now, config, host));
    }

    /// Puts a policy in force.
    pub(crate) fn govern(&mut self, peer: PeerId, rules: Rules) {
        let (now, generation) = (self.now, rules.generation);
        self.nodes[peer.0].policy = Some(rules);
        self.call(peer, |p, host| p.handle(now, [Event::PolicyChanged { generation }], host));
    }

    pub(crate) fn rules(&mut self, peer: PeerId) -> &mut Rules {
        self.nodes[peer.0].policy.as_mut().expect("a policy")
    }

    /// Stops a virtual peer.
    pub(crate) fn stop(&mut self, peer: PeerId) {
        let now = self.now;
        self.call(peer, |p, host| p.stop(now, host));
    }

    /// Another instance carries on with this state of a virtual peer, and with the connections that the peer has now.
    pub(crate) fn carry_on(
        &mut self,
        peer: PeerId,
        config: Config,
        state: &[u8],
        seed: u8,
    ) -> Result<(), RestoreError> {
        let node = &self.nodes[peer.0];
        // What has ended and was not told yet counts as living.
        let told = node.inbox.iter().filter_map(|event| match event {
            Owned::Closed { conn } | Owned::Failed { conn } => Some(*conn),
            _ => None,
        });
        let to_come = |conn: &ConnId| {
            node.inbox.iter().any(|event| matches!(event, Owned::Accepted { conn: c, .. } if c == conn))
        };
        let live: Vec<ConnId> = node.other.keys().copied().chain(told).filter(|c| !to_come(c)).collect();
        let config = Config { listen: node.address, ..config };
        let now = self.now;
        let mut result = Ok(());
        self.call(peer, |p, host| {
            result = VirtualPeer::restore(config, [seed; 32], now, state, &live, host).map(|new| *p = new);
        });
        result
    }

    /// Another virtual peer takes the place of this one.
    pub(crate) fn change(&mut self, peer: PeerId, change: impl FnOnce(VirtualPeer) -> VirtualPeer) {
        let address = self.nodes[peer.0].address;
        let spare = VirtualPeer::new(Config { listen: address, ..config() }, [0; 32], self.now);
        let before = std::mem::replace(&mut self.nodes[peer.0].peer, spare);
        self.nodes[peer.0].peer = change(before);
    }

    /// The node was started again: none of a virtual peer's connections is left.
    pub(crate) fn cut(&mut self, peer: PeerId) {
        self.nodes[peer.0].inbox.clear();
        for (_, other) in std::mem::take(&mut self.nodes[peer.0].other) {
            match other {
                End::Raw(raw) => {
                    self.raws[raw].closed = true;
                    self.raws[raw].other = None;
                }
                End::Peer(n, conn) => {
                    self.nodes[n].other.remove(&conn);
                    self.nodes[n].inbox.push_back(Owned::Closed { conn });
                }
            }
        }
    }

    fn call(&mut self, peer: PeerId, call: impl FnOnce(&mut VirtualPeer, &mut FakeHost<'_>)) {
        let node = &mut self.nodes[peer.0];
        let mut host = FakeHost {
            now: self.now,
            next_conn: &mut self.next_conn,
            actions: Vec::new(),
            wake: None,
            full: &[],
            log: &mut node.log,
            asked: &mut node.asked,
            policy: node.policy.as_mut(),
        };
        call(&mut node.peer, &mut host);
        let (actions, wake) = (host.actions, host.wake);
        if let Some(at) = wake {
            node.wake = at;
        }
        for action in actions {
            self.act(peer.0, action);
        }
    }

    fn act(&mut self, n: usize, action: Action) {
        match action {
            Action::Connect(conn, to) => self.dial(n, conn, to),
            Action::Send(conn, bytes) => match self.nodes[n].other.get(&conn) {
                Some(End::Raw(raw)) => self.raws[*raw].received.extend_from_slice(&bytes),
                Some(End::Peer(m, other)) => {
                    let (m, conn) = (*m, *other);
                    self.nodes[m].inbox.push_back(Owned::Received { conn, bytes });
                }
                None => {}
            },
            Action::Close(conn) => match self.nodes[n].other.remove(&conn) {
                Some(End::Raw(raw)) => {
                    self.raws[raw].closed = true;
                    self.raws[raw].other = None;
                }
                Some(End::Peer(m, other)) => {
                    self.nodes[m].other.remove(&other);
                    self.nodes[m].inbox.push_back(Owned::Closed { conn: other });
                }
                None => {}
            },
            Action::Inflate(conn, rest) => {
                if !rest.is_empty() {
                    self.nodes[n].inbox.push_front(Owned::Received { conn, bytes: rest });
                }
            }
            Action::Datagram(to, bytes) => {
                let from = self.nodes[n].address;
                match self.listening.get(&to) {
                    Some(m) => self.nodes[*m].inbox.push_back(Owned::Datagram { from, bytes }),
                    None => self.datagrams.push((from, to, bytes)),
                }
            }
        }
    }

    fn dial(&mut self, n: usize, conn: ConnId, to: SocketAddr) {
        let from = SocketAddr::new(self.nodes[n].address.ip(), 50_000);
        if let Some(m) = self.listening.get(&to).copied() {
            self.next_conn += 1;
            let other = ConnId(self.next_conn);
            self.nodes[n].other.insert(conn, End::Peer(m, other));
            self.nodes[m].other.insert(other, End::Peer(n, conn));
            self.nodes[m].inbox.push_back(Owned::Accepted { conn: other, remote: from });
        } else if self.raw_listening.contains(&to) {
            let raw = RawId(self.raws.len());
            self.raws.push(RawEnd { other: Some(End::Peer(n, conn)), ..RawEnd::default() });
            self.nodes[n].other.insert(conn, End::Raw(raw.0));
            self.backlog.push((to, raw));
        } else {
            self.nodes[n].inbox.push_back(Owned::Failed { conn });
            return;
        }
        self.nodes[n].inbox.push_back(Owned::Established { conn, remote: to });
    }
}
