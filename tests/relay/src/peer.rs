//! A virtual peer whose shell counts.

use std::net::SocketAddr;

use avp::gnutella::qrp::{Table, sender};
use avp::gnutella::{Guid, Header, Kind};
use avp::host::Level;
use avp::{CloseReason, Config, ConnId, Event, Host, Instant, SendBatch, VirtualPeer};

const NOW: Instant = Instant(1);

/// Counts the bytes that would be sent, once for each connection.
#[derive(Debug, Default)]
struct Counting(usize);

impl Host for Counting {
    fn connect(&mut self, _: SocketAddr) -> Result<ConnId, CloseReason> {
        Err(CloseReason::Unreachable)
    }
    fn send(&mut self, batch: &SendBatch, _: &mut Vec<ConnId>) {
        for (targets, bytes) in batch.runs() {
            self.0 += targets.len() * bytes.len();
        }
    }
    fn close(&mut self, _: ConnId) {}
    fn abort(&mut self, _: ConnId) {}
    fn inflate(&mut self, _: ConnId, _: &[u8]) {}
    fn deflate(&mut self, _: ConnId) {}
    fn datagram(&mut self, _: SocketAddr, _: &[u8]) {}
    fn wake_at(&mut self, _: Instant) {}
    fn wall_seconds(&mut self) -> u64 {
        1_700_000_000
    }
    fn log(&mut self, _: Level, _: &str) {}
}

#[derive(Debug)]
pub(crate) struct Peer {
    peer: VirtualPeer,
    host: Counting,
}

impl Peer {
    pub(crate) fn new() -> Self {
        let config = Config { allow_private_addresses: true, ultrapeers: 64, ..Config::default() };
        Self { peer: VirtualPeer::new(config, [7; 32], NOW), host: Counting::default() }
    }

    pub(crate) fn sent(&self) -> usize {
        self.host.0
    }

    pub(crate) fn received(&mut self, conn: ConnId, bytes: &[u8]) {
        self.peer.handle(NOW, [Event::Received { conn, bytes }], &mut self.host);
    }

    pub(crate) fn closed(&mut self, conn: ConnId, reason: CloseReason) {
        self.peer.handle(NOW, [Event::Closed { conn, reason }], &mut self.host);
    }

    /// A handshake and a routing table with the words of one name.
    pub(crate) fn join(&mut self, n: u64, ultrapeer: bool, name: &str) -> ConnId {
        let conn = ConnId(n + 1);
        let [.., a, b, c] = (n as u32).to_be_bytes();
        let remote = SocketAddr::from(([10, a, b, c], 7_000));
        let local = SocketAddr::from(([10, 1, 0, 1], 6_346));
        self.peer.handle(NOW, [Event::Accepted { conn, remote, local }], &mut self.host);
        let role = if ultrapeer { "True" } else { "False" };
        let hello = format!(
            "GNUTELLA CONNECT/0.6\r\nX-Ultrapeer: {role}\r\nX-Query-Routing: 0.1\r\n\
             X-Ultrapeer-Query-Routing: 0.1\r\n\r\n"
        );
        self.received(conn, hello.as_bytes());
        self.received(conn, b"GNUTELLA/0.6 200 OK\r\n\r\n");
        let mut table = Table::new(16);
        table.add_name(name.as_bytes());
        for payload in sender::updates(None, &table) {
            let update =
                Header { guid: Guid::ZERO, kind: Kind::QRP, ttl: 1, hops: 0, len: 0 }.frame(&payload);
            self.received(conn, &update);
        }
        conn
    }
}
