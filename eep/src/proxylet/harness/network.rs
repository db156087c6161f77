//! A network of scripted peers: no sockets, no delay, nothing lost.
//!
//! Streams that a proxylet has inflated or deflated carry the same bytes as others: what goes over the wire compressed is
//! the node's work and tested with it; a scenario is written in what the compression carries.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::host::address::to_wit;
use crate::host::bindings::eep::proxylet::types::{
    Accepted, Answer, CloseReason, DatagramReceived, Ended, Established, Event,
};

/// Bytes that wait for a peer that does not read, beyond which the connection is reported as congested, and those at
/// which it has room again; as `net.send` says.
const CONGESTED: usize = 64 << 10;
const ROOM: usize = 16 << 10;
/// Bytes that may wait for it.
const WAITING_MAX: usize = 1 << 20;
/// Bytes that a peer hears before a step has looked at them; then it reads no more.
const HEARD_BYTES_MAX: usize = 16 << 20;
/// Events, and datagrams that have gone, that may wait.
const WAITING_EVENTS_MAX: usize = 10_000;
/// Requests that may wait for their answers, as on a node.
const REQUESTS_MAX: usize = 16;
/// Connections at one time.
const CONNECTIONS_MAX: usize = 10_000;
/// The first port that is given where a proxylet asks for any.
const PORT_FIRST: u16 = 49_152;

/// One connection, seen from both ends.
#[derive(Debug)]
pub(super) struct Connection {
    /// The peer at its other end.
    pub(super) peer: String,
    /// What the peer has sent and the proxylet was not handed yet.
    to_proxylet: Vec<u8>,
    /// Whether the proxylet wants to be handed anything.
    reading: bool,
    /// What the proxylet has sent and the peer has read.
    pub(super) heard: Vec<u8>,
    /// Whether the peer reads; what it does not read waits.
    stalled: bool,
    waiting: Vec<u8>,
    congested: bool,
    /// Whether the instance knows of it: one that was restored may not ask.
    pub(super) known: bool,
    /// Whether the proxylet has closed it.
    pub(super) closed: bool,
    /// Whether the peer has.
    left: bool,
}

/// A listener or a datagram socket.
#[derive(Debug)]
pub(super) struct Bound {
    /// What was asked for: port 0 stands for any.
    asked: SocketAddr,
    pub(super) address: SocketAddr,
    /// Whether the instance knows of it.
    known: bool,
}

/// What is handed to a proxylet in one call.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) events: Vec<Event>,
    pub(super) conns: Vec<u64>,
    pub(super) lens: Vec<u32>,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) listeners: BTreeMap<u32, Bound>,
    pub(super) sockets: BTreeMap<u32, Bound>,
    /// Addresses at which scripted peers wait for the proxylet.
    pub(super) waiting_peers: BTreeMap<SocketAddr, String>,
    /// Datagrams that the proxylet has sent and nobody has looked at.
    pub(super) datagrams: VecDeque<(SocketAddr, Vec<u8>)>,
    /// What has happened and was not handed over yet, with the bytes that belong to it.
    pending: VecDeque<(Event, Vec<u8>)>,
    last_conn: u64,
    last_handle: u32,
    last_port: u16,
    last_request: u64,
}

impl Network {
    /// The proxylet listens; none where another listener has the address.
    pub(super) fn listen(&mut self, address: SocketAddr) -> Option<(u32, SocketAddr)> {
        let next = (self.last_handle + 1, self.last_port.max(PORT_FIRST - 1) + 1);
        let bound = bind(&mut self.listeners, address, next)?;
        (self.last_handle, self.last_port) = next;
        Some(bound)
    }

    /// The proxylet binds a datagram socket; none where another has the address.
    pub(super) fn bind(&mut self, address: SocketAddr) -> Option<(u32, SocketAddr)> {
        let next = (self.last_handle + 1, self.last_port.max(PORT_FIRST - 1) + 1);
        let bound = bind(&mut self.sockets, address, next)?;
        (self.last_handle, self.last_port) = next;
        Some(bound)
    }

    fn open(&mut self, peer: &str) -> u64 {
        self.last_conn += 1;
        let connection = Connection {
            peer: peer.to_owned(),
            to_proxylet: Vec::new(),
            reading: true,
            heard: Vec::new(),
            stalled: false,
            waiting: Vec::new(),
            congested: false,
            known: true,
            closed: false,
            left: false,
        };
        self.connections.insert(self.last_conn, connection);
        self.last_conn
    }

    /// A peer connects to one of the proxylet's listeners.
    pub(super) fn connect_peer(&mut self, peer: &str, listener: u32, remote: SocketAddr) {
        let Some(local) = self.listeners.get(&listener).map(|l| l.address) else { return };
        let conn = self.open(peer);
        let (remote, local) = (to_wit(remote), to_wit(local));
        self.pending.push_back((Event::Accepted(Accepted { conn, listener, remote, local }), Vec::new()));
    }

    /// The proxylet connects; none beyond the limit.
    pub(super) fn connect(&mut self, to: SocketAddr) -> Option<u64> {
        let open = self.connections.values().filter(|c| !c.closed && !c.left).count();
        if open >= CONNECTIONS_MAX || self.pending.len() >= WAITING_EVENTS_MAX {
            return None;
        }
        let Some(peer) = self.waiting_peers.get(&to).cloned() else {
            self.last_conn += 1;
            let failed = Event::Failed(Ended { conn: self.last_conn, reason: CloseReason::Refused });
            self.pending.push_back((failed, Vec::new()));
            return Some(self.last_conn);
        };
        let conn = self.open(&peer);
        self.last_port = self.last_port.max(PORT_FIRST - 1) + 1;
        let local = to_wit(SocketAddr::from(([192, 0, 2, 1], self.last_port)));
        let established = Event::Established(Established { conn, remote: to_wit(to), local });
        self.pending.push_back((established, Vec::new()));
        Some(conn)
    }

    /// The newest connection of a peer.
    pub(super) fn of_peer(&mut self, peer: &str) -> Option<&mut Connection> {
        self.connections.values_mut().rev().find(|connection| connection.peer == peer)
    }

    /// A peer sends; whether it has a connection to send on.
    pub(super) fn peer_sends(&mut self, peer: &str, bytes: &[u8]) -> bool {
        match self.of_peer(peer).filter(|c| !c.closed && !c.left) {
            Some(connection) => {
                connection.to_proxylet.extend_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    /// A peer closes its end; whether it had one.
    pub(super) fn peer_leaves(&mut self, peer: &str) -> bool {
        match self.of_peer(peer).filter(|c| !c.closed && !c.left) {
            Some(connection) => {
                connection.left = true;
                true
            }
            None => false,
        }
    }

    /// The proxylet sends a datagram; beyond the bound it is lost.
    pub(super) fn send_datagram(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        if self.datagrams.len() < WAITING_EVENTS_MAX {
            self.datagrams.push_back((to, bytes));
        }
    }

    /// A peer reads no more, or again; whether it has a connection.
    pub(super) fn stall(&mut self, peer: &str, stalled: bool) -> bool {
        let Some(connection) = self.of_peer(peer) else { return false };
        connection.stalled = stalled;
        if !stalled {
            let waiting = std::mem::take(&mut connection.waiting);
            connection.heard.extend(waiting);
        }
        true
    }

    /// A datagram for the socket that is bound to this port; whether there is one.
    pub(super) fn datagram(&mut self, from: SocketAddr, to: Option<u16>, bytes: &[u8]) -> bool {
        let bound = self.sockets.iter().find(|(_, at)| to.is_none_or(|port| at.address.port() == port));
        let Some((socket, _)) = bound else { return false };
        let event = DatagramReceived { socket: *socket, from: to_wit(from), len: bytes.len() as u32 };
        self.pending.push_back((Event::Datagram(event), bytes.to_vec()));
        true
    }

    /// The proxylet sends; whether the connection is congested then.
    pub(super) fn send(&mut self, conn: u64, bytes: &[u8]) -> bool {
        let Some(connection) = self.connections.get_mut(&conn).filter(|c| c.known && !c.closed && !c.left)
        else {
            return false;
        };
        if !connection.stalled && connection.heard.len() < HEARD_BYTES_MAX {
            connection.heard.extend_from_slice(bytes);
            return false;
        }
        connection.waiting.extend_from_slice(bytes);
        if connection.waiting.len() > WAITING_MAX {
            connection.closed = true;
            let closed = Event::Closed(Ended { conn, reason: CloseReason::Limit });
            self.pending.push_back((closed, Vec::new()));
            return false;
        }
        connection.congested |= connection.waiting.len() > CONGESTED;
        connection.congested
    }

    pub(super) fn close(&mut self, conn: u64) {
        if let Some(connection) = self.connections.get_mut(&conn).filter(|c| c.known) {
            connection.closed = true;
        }
    }

    pub(super) fn receive(&mut self, conn: u64, on: bool) {
        if let Some(connection) = self.connections.get_mut(&conn).filter(|c| c.known) {
            connection.reading = on;
        }
    }

    /// Bytes that the proxylet gives back, to be handed to it inflated: they come first.
    pub(super) fn give_back(&mut self, conn: u64, rest: Vec<u8>) {
        if let Some(connection) = self.connections.get_mut(&conn).filter(|c| c.known) {
            connection.to_proxylet.splice(0..0, rest);
        }
    }

    /// What the next instance finds: connections that it may ask for, or nothing at all.
    pub(super) fn hand_on(&mut self, keep: bool) {
        self.pending.retain(|(event, _)| keep && !matches!(event, Event::Timer(_)));
        for connection in self.connections.values_mut() {
            connection.known = false;
            connection.closed |= !keep;
        }
        if !keep {
            self.listeners.clear();
            self.sockets.clear();
        }
        for bound in self.listeners.values_mut().chain(self.sockets.values_mut()) {
            bound.known = false;
        }
    }

    /// The connections of the instance before, taken over.
    pub(super) fn take_over(&mut self) -> Vec<u64> {
        let open = self.connections.iter_mut().filter(|(_, c)| !c.closed && !c.left);
        open.map(|(conn, connection)| {
            connection.known = true;
            *conn
        })
        .collect()
    }

    /// Closes what was not asked for.
    pub(super) fn close_unknown(&mut self) {
        self.connections.values_mut().filter(|c| !c.known).for_each(|c| c.closed = true);
        self.listeners.retain(|_, listener| listener.known);
        self.sockets.retain(|_, socket| socket.known);
    }

    /// Everything that has happened, as one batch; timers that are due come first.
    pub(super) fn batch(&mut self, timers: impl Iterator<Item = u64>) -> Batch {
        let mut batch = Batch { events: timers.map(Event::Timer).collect(), ..Batch::default() };
        for (event, bytes) in self.pending.drain(..) {
            batch.events.push(event);
            batch.bytes.extend(bytes);
        }
        let mut receptions = 0;
        for (conn, connection) in &mut self.connections {
            if connection.reading && !connection.closed && !connection.to_proxylet.is_empty() {
                receptions += 1;
                batch.conns.push(*conn);
                batch.lens.push(connection.to_proxylet.len() as u32);
                batch.bytes.append(&mut connection.to_proxylet);
            }
        }
        if receptions > 0 {
            batch.events.push(Event::Received(receptions));
        }
        for (conn, connection) in &mut self.connections {
            if connection.congested && !connection.closed && connection.waiting.len() < ROOM {
                connection.congested = false;
                batch.events.push(Event::Writable(*conn));
            }
            if connection.left && !connection.closed && connection.to_proxylet.is_empty() {
                connection.closed = true;
                batch.events.push(Event::Closed(Ended { conn: *conn, reason: CloseReason::Ended }));
            }
        }
        batch
    }

    /// A connection that leads nowhere; none where there are as many as there may be.
    pub(super) fn fail(&mut self) -> Option<u64> {
        if self.pending.len() >= WAITING_EVENTS_MAX {
            return None;
        }
        self.last_conn += 1;
        let ended = Ended { conn: self.last_conn, reason: CloseReason::Unreachable };
        self.pending.push_back((Event::Failed(ended), Vec::new()));
        Some(self.last_conn)
    }

    /// Whether as many requests wait for their answers as there may be.
    pub(super) fn is_busy(&self) -> bool {
        let waiting = self.pending.iter().filter(|(event, _)| matches!(event, Event::Answer(_)));
        waiting.count() >= REQUESTS_MAX
    }

    /// Tells the proxylet how a request has ended.
    pub(super) fn answer(&mut self, done: Result<Vec<u8>, String>) -> u64 {
        self.last_request += 1;
        let request = self.last_request;
        let (done, bytes) = match done {
            Ok(bytes) => (true, bytes),
            Err(why) => (false, why.into_bytes()),
        };
        self.pending.push_back((Event::Answer(Answer { request, done, len: bytes.len() as u32 }), bytes));
        request
    }

    /// Tells the proxylet its new configuration.
    pub(super) fn configure(&mut self, config: String) {
        self.pending.push_back((Event::Configured(config), Vec::new()));
    }
}

/// Binds an address, or gives what the instance before had there; `next` is the handle and the port to use otherwise.
fn bind(all: &mut BTreeMap<u32, Bound>, asked: SocketAddr, next: (u32, u16)) -> Option<(u32, SocketAddr)> {
    let same = |bound: &Bound| bound.asked == asked || bound.address == asked;
    if let Some((handle, bound)) = all.iter_mut().find(|(_, bound)| !bound.known && same(bound)) {
        bound.known = true;
        return Some((*handle, bound.address));
    }
    if all.values().any(|bound| bound.address == asked) {
        return None;
    }
    let (handle, port) = next;
    let address = if asked.port() == 0 { SocketAddr::new(asked.ip(), port) } else { asked };
    all.insert(handle, Bound { asked, address, known: true });
    Some((handle, address))
}
