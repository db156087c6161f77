//! What a proxylet is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::vec;

use crate::bindings::eep::proxylet::types;

/// Nanoseconds on the node's monotonic clock. The origin is arbitrary but the same for the whole life of a service.
pub type Instant = u64;
/// A stream connection; never used again for another one in the life of the node process.
pub type Conn = u64;
/// A listening stream socket.
pub type Listener = u32;
/// A bound datagram socket.
pub type Socket = u32;

pub use types::CloseReason;

/// What has happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A peer connected to one of the service's listeners.
    Accepted {
        /// Its connection.
        conn: Conn,
        /// The listener to which it connected.
        listener: Listener,
        /// The peer's address.
        remote: SocketAddr,
        /// The address of this end.
        local: SocketAddr,
    },
    /// A connection asked for with [`crate::net::connect`] is up.
    Established {
        /// What `connect` gave.
        conn: Conn,
        /// The peer's address.
        remote: SocketAddr,
        /// The address of this end.
        local: SocketAddr,
    },
    /// A connection asked for with [`crate::net::connect`] could not be made.
    Failed {
        /// What `connect` gave; nothing more is heard of it.
        conn: Conn,
        /// Why.
        reason: CloseReason,
    },
    /// Bytes came in. In one batch a connection has this event once at most.
    Received {
        /// The connection on which they came.
        conn: Conn,
        /// They, at least one.
        bytes: &'a [u8],
    },
    /// A connection that [`crate::net::send`] reported as congested has room again.
    Writable {
        /// Which.
        conn: Conn,
    },
    /// A connection has ended; not sent for one that the proxylet closed itself.
    Closed {
        /// Which; nothing more is heard of it.
        conn: Conn,
        /// Why.
        reason: CloseReason,
    },
    /// A datagram came in.
    Datagram {
        /// The socket to which it came.
        socket: Socket,
        /// The sender's address.
        from: SocketAddr,
        /// Its content.
        bytes: &'a [u8],
    },
    /// A timer set with [`crate::clock::set_timer`] is due.
    Timer {
        /// The token with which it was set.
        token: u64,
    },
    /// From another service (`name`) or from one on another node (`name@node`).
    Message {
        /// Who sent it.
        sender: String,
        /// Its content.
        bytes: &'a [u8],
    },
    /// The answer to an earlier request.
    Answer {
        /// What the asking call returned.
        request: u64,
        /// Whether the request was done.
        done: bool,
        /// The answer or, where it was not done, the reason in UTF-8.
        bytes: &'a [u8],
    },
    /// A new policy generation is in force.
    PolicyChanged {
        /// Its number.
        generation: u64,
    },
    /// The topology that this service asked about has changed.
    TopologyChanged {
        /// Its version.
        version: u64,
    },
    /// The service's configuration was modified.
    Configured {
        /// The new one, whole, as JSON.
        config: String,
    },
}

/// A batch of events in the order in which they happened.
#[derive(Debug)]
pub struct Events<'a> {
    events: vec::IntoIter<types::Event>,
    /// How many of `received` come before the next event.
    receptions: u32,
    received: Received<'a>,
}

/// What a batch carries beside its events: who received how many bytes, and the bytes of all events.
#[doc(hidden)]
#[derive(Debug)]
pub struct Received<'a> {
    pub conns: &'a [u64],
    pub lens: &'a [u32],
    pub bytes: &'a [u8],
}

impl<'a> Events<'a> {
    pub(crate) fn new(events: Vec<types::Event>, received: Received<'a>) -> Self {
        Self { events: events.into_iter(), receptions: 0, received }
    }

    /// The next `len` bytes of the batch; fewer where the host promised more than it gave.
    fn take(&mut self, len: u32) -> &'a [u8] {
        let bytes = self.received.bytes;
        let (head, tail) = bytes.split_at(bytes.len().min(len as usize));
        self.received.bytes = tail;
        head
    }

    /// The next reception, where one comes before the next event.
    fn next_reception(&mut self) -> Option<Event<'a>> {
        self.receptions = self.receptions.checked_sub(1)?;
        let (conn, conns) = self.received.conns.split_first()?;
        let (len, lens) = self.received.lens.split_first()?;
        (self.received.conns, self.received.lens) = (conns, lens);
        Some(Event::Received { conn: *conn, bytes: self.take(*len) })
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        if let Some(reception) = self.next_reception() {
            return Some(reception);
        }
        Some(match self.events.next()? {
            types::Event::Accepted(e) => Event::Accepted {
                conn: e.conn,
                listener: e.listener,
                remote: from_wit(e.remote),
                local: from_wit(e.local),
            },
            types::Event::Established(e) => {
                Event::Established { conn: e.conn, remote: from_wit(e.remote), local: from_wit(e.local) }
            }
            types::Event::Failed(e) => Event::Failed { conn: e.conn, reason: e.reason },
            types::Event::Received(receptions) => {
                self.receptions = receptions;
                return self.next();
            }
            types::Event::Writable(conn) => Event::Writable { conn },
            types::Event::Closed(e) => Event::Closed { conn: e.conn, reason: e.reason },
            types::Event::Datagram(e) => {
                Event::Datagram { socket: e.socket, from: from_wit(e.from), bytes: self.take(e.len) }
            }
            types::Event::Timer(token) => Event::Timer { token },
            types::Event::Message(e) => Event::Message { sender: e.sender, bytes: self.take(e.len) },
            types::Event::Answer(e) => {
                Event::Answer { request: e.request, done: e.done, bytes: self.take(e.len) }
            }
            types::Event::PolicyChanged(generation) => Event::PolicyChanged { generation },
            types::Event::TopologyChanged(version) => Event::TopologyChanged { version },
            types::Event::Configured(config) => Event::Configured { config },
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let received = self.received.conns.len();
        // An event of received bytes is none by itself.
        (received, self.events.size_hint().1.map(|events| events + received))
    }
}

pub(crate) fn from_wit(a: types::SocketAddress) -> SocketAddr {
    let ip = match a.ip {
        types::IpAddress::Ipv4(v) => IpAddr::V4(Ipv4Addr::from(v)),
        types::IpAddress::Ipv6((hi, lo)) => {
            IpAddr::V6(Ipv6Addr::from((u128::from(hi) << 64) | u128::from(lo)))
        }
    };
    SocketAddr::new(ip, a.port)
}

pub(crate) fn to_wit(a: SocketAddr) -> types::SocketAddress {
    let ip = match a.ip() {
        IpAddr::V4(v) => types::IpAddress::Ipv4(v.into()),
        IpAddr::V6(v) => {
            let v = u128::from(v);
            types::IpAddress::Ipv6(((v >> 64) as u64, v as u64))
        }
    };
    types::SocketAddress { ip, port: a.port() }
}
