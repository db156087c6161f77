//! The virtual peer without a node: bytes in, bytes out, and time as the test gives it.

use std::net::SocketAddr;

use avp::host::{CloseReason, ConnId, Host, Level, SendBatch};
use avp::{Config, Event, Instant, VirtualPeer};

/// Remembers what the peer sends.
#[derive(Default)]
struct Recorder {
    sent: Vec<u8>,
}

impl Host for Recorder {
    fn connect(&mut self, _to: SocketAddr) -> Result<ConnId, CloseReason> {
        Err(CloseReason::Unreachable)
    }
    fn send(&mut self, batch: &SendBatch, _congested: &mut Vec<ConnId>) {
        self.sent.extend_from_slice(batch.bytes());
    }
    fn close(&mut self, _conn: ConnId) {}
    fn abort(&mut self, _conn: ConnId) {}
    fn inflate(&mut self, _conn: ConnId, _rest: &[u8]) {}
    fn deflate(&mut self, _conn: ConnId) {}
    fn datagram(&mut self, _to: SocketAddr, _bytes: &[u8]) {}
    fn wake_at(&mut self, _at: Instant) {}
    fn wall_seconds(&mut self) -> u64 {
        1_700_000_000
    }
    fn log(&mut self, _level: Level, _line: &str) {}
}

#[test]
fn a_leaf_is_taken_in() {
    let (now, conn, mut host) = (Instant(0), ConnId(1), Recorder::default());
    let mut peer = VirtualPeer::new(Config::default(), [7; 32], now);
    let (remote, local) = ("198.51.100.7:40000".parse().unwrap(), "192.0.2.1:6346".parse().unwrap());
    let hello = b"GNUTELLA CONNECT/0.6\r\nUser-Agent: test\r\nX-Ultrapeer: False\r\nX-Query-Routing: 0.1\r\n\r\n";
    let events = [Event::Accepted { conn, remote, local }, Event::Received { conn, bytes: hello }];
    peer.handle(now, events, &mut host);
    let answer = String::from_utf8_lossy(&host.sent);
    assert!(answer.starts_with("GNUTELLA/0.6 200"), "{answer}");
}
