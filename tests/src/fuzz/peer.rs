//! The whole virtual peer: any bytes on any of its connections.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use avp::config::Config;
use avp::host::Level;
use avp::peer::VirtualPeer;
use avp::{CloseReason, ConnId, Event, Host, Instant, SendBatch};

/// Most bytes that one stream may make it send. A leaf is sent to by others as well, so this is no tight bound.
const SENT_BYTES_MAX: usize = 8 << 20;

/// A peer with a leaf and a neighbour that behave, over sockets that are none.
#[derive(Debug)]
pub struct PeerRig {
    peer: VirtualPeer,
    host: Outside,
    leaf: ConnId,
    neighbour: ConnId,
    strangers: u16,
}

/// What the peer asks for, and how far it has gone.
#[derive(Debug, Default)]
struct Outside {
    now: u64,
    next_conn: u64,
    ended: HashSet<ConnId>,
    sent_bytes: usize,
    wake_at: Option<Instant>,
}

impl Host for Outside {
    fn connect(&mut self, _: SocketAddr) -> Result<ConnId, CloseReason> {
        Err(CloseReason::Unreachable)
    }
    fn send(&mut self, batch: &SendBatch, _: &mut Vec<ConnId>) {
        self.sent_bytes += batch.runs().map(|(to, bytes)| to.len() * bytes.len()).sum::<usize>();
    }
    fn close(&mut self, conn: ConnId) {
        self.ended.insert(conn);
    }
    fn abort(&mut self, conn: ConnId) {
        self.ended.insert(conn);
    }
    fn inflate(&mut self, _: ConnId, _: &[u8]) {}
    fn deflate(&mut self, _: ConnId) {}
    fn datagram(&mut self, _: SocketAddr, bytes: &[u8]) {
        self.sent_bytes += bytes.len();
    }
    fn wake_at(&mut self, at: Instant) {
        self.wake_at = Some(at);
    }
    fn wall_seconds(&mut self) -> u64 {
        1_700_000_000
    }
    fn log(&mut self, _: Level, _: &str) {}
}

impl Default for PeerRig {
    fn default() -> Self {
        Self::new()
    }
}

impl PeerRig {
    /// # Panics
    /// Where the two peers that behave cannot join.
    #[must_use]
    pub fn new() -> Self {
        let config = Config {
            listen: SocketAddr::from((Ipv4Addr::new(100, 64, 0, 1), 6346)),
            query_routes: 1_024,
            push_routes: 1_024,
            dynamic_queries: 64,
            leaves: 8,
            ultrapeers: 8,
            large_table_bytes: 1 << 20,
            allow_private_addresses: true,
            ..Config::default()
        };
        config.validate().expect("settings within bounds");
        let host = Outside { now: 1_000_000_000, ..Outside::default() };
        let peer = VirtualPeer::new(config, [7; 32], Instant(host.now));
        let mut rig = Self { peer, host, leaf: ConnId(0), neighbour: ConnId(0), strangers: 0 };
        rig.leaf = rig.join("X-Ultrapeer: False\r\n");
        rig.neighbour = rig.join(ULTRAPEER);
        assert!(rig.host.ended.is_empty(), "peers that behave are welcome");
        rig
    }

    /// One stranger's bytes. The first says how it comes, the second in what pieces, the others are what it says.
    ///
    /// # Panics
    /// Where those who behave are sent off for it, or it makes the peer send too much.
    pub fn stream(&mut self, input: &[u8]) {
        let [manner, pieces, said @ ..] = input else { return };
        self.host.sent_bytes = 0;
        self.host.ended.clear();
        let size = 1 + usize::from(*pieces) * usize::from(*pieces) / 8;
        if manner % 8 == 7 {
            let from = self.stranger();
            said.chunks(size.max(16)).for_each(|bytes| self.handle(Event::Datagram { from, bytes }));
        } else {
            let conn = match manner % 8 {
                0 | 1 => self.join("X-Ultrapeer: False\r\nX-Query-Routing: 0.2\r\n"),
                2 | 3 => self.join(ULTRAPEER),
                4 => self.join04(),
                _ => self.accept(),
            };
            for bytes in said.chunks(size) {
                if self.host.ended.contains(&conn) {
                    break;
                }
                self.handle(Event::Received { conn, bytes });
            }
            if !self.host.ended.contains(&conn) {
                self.handle(Event::Closed { conn, reason: CloseReason::Ended });
            }
        }
        self.pass_time();
        // Pongs keep those who behave.
        for conn in [self.leaf, self.neighbour] {
            assert!(!self.host.ended.contains(&conn), "a peer that behaves was sent off");
        }
        assert!(self.host.sent_bytes <= SENT_BYTES_MAX, "{} bytes sent for one stream", self.host.sent_bytes);
    }

    /// A tenth of a second, with the peer's timer where it is due; those who behave say something meanwhile.
    fn pass_time(&mut self) {
        self.host.now += Duration::from_millis(100).as_nanos() as u64;
        if self.host.wake_at.is_some_and(|at| at.0 <= self.host.now) {
            self.handle(Event::Timer);
        }
        for conn in [self.leaf, self.neighbour] {
            self.handle(Event::Received { conn, bytes: &PING });
        }
    }

    fn handle(&mut self, event: Event<'_>) {
        self.peer.handle(Instant(self.host.now), [event], &mut self.host);
    }

    fn stranger(&mut self) -> SocketAddr {
        self.strangers = self.strangers.wrapping_add(1);
        let [a, b] = self.strangers.to_be_bytes();
        SocketAddr::from((Ipv4Addr::new(100, 65, a, b), 6346))
    }

    fn accept(&mut self) -> ConnId {
        self.host.next_conn += 1;
        let (conn, remote) = (ConnId(self.host.next_conn), self.stranger());
        let local = SocketAddr::from((Ipv4Addr::new(100, 64, 0, 1), 6346));
        self.handle(Event::Accepted { conn, remote, local });
        conn
    }

    fn join(&mut self, headers: &str) -> ConnId {
        let conn = self.accept();
        let request = format!(
            "GNUTELLA CONNECT/0.6\r\n{headers}X-Max-TTL: 4\r\nGGEP: 0.5\r\nVendor-Message: 0.2\r\n\r\n"
        );
        for bytes in [request.as_bytes(), b"GNUTELLA/0.6 200 OK\r\n\r\n"] {
            self.handle(Event::Received { conn, bytes });
        }
        conn
    }

    fn join04(&mut self) -> ConnId {
        let conn = self.accept();
        self.handle(Event::Received { conn, bytes: b"GNUTELLA CONNECT/0.4\n\n" });
        conn
    }
}

const ULTRAPEER: &str = "X-Ultrapeer: True\r\nX-Query-Routing: 0.2\r\nX-Ultrapeer-Query-Routing: 0.1\r\n\
                         X-Dynamic-Querying: 0.1\r\nX-Degree: 32\r\n";

/// A ping with TTL 1.
const PING: [u8; 23] =
    *b"\x01\x02\x03\x04\x05\x06\x07\x08\xff\x0a\x0b\x0c\x0d\x0e\x0f\x00\x00\x01\x00\x00\x00\x00\x00";

/// One stream against a fresh peer.
pub(super) fn stream(input: &[u8]) {
    PeerRig::new().stream(input);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_says_is_heard() {
        let sent = |said: &[u8]| {
            let mut rig = PeerRig::new();
            rig.stream(&[&[0, 255], said].concat());
            rig.host.sent_bytes
        };
        assert!(sent(&PING) > sent(b""), "a ping is answered");
    }
}
