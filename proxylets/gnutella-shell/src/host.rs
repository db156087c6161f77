//! The node as the virtual peer sees it.

use std::net::SocketAddr;

use avp::application::policy::Policy;
use avp::host::{CloseReason, ConnId, Host, Instant, Level, SendBatch};
use eep_sdk::net::{self, NetError};
use eep_sdk::{Socket, clock, datagram, log};

use crate::policy::NodePolicy;

/// The token of the peer's one timer.
pub(crate) const WAKE: u64 = 0;

/// Answers the virtual peer's calls with the node's capabilities.
#[derive(Debug)]
pub(crate) struct NodeHost {
    /// The datagram socket; none where the port was not granted for UDP.
    socket: Option<Socket>,
    policy: NodePolicy,
}

impl NodeHost {
    pub(crate) fn new(socket: Option<Socket>) -> Self {
        Self { socket, policy: NodePolicy }
    }

    pub(crate) fn socket(&self) -> Option<Socket> {
        self.socket
    }
}

impl Host for NodeHost {
    fn connect(&mut self, to: SocketAddr) -> Result<ConnId, CloseReason> {
        net::connect(to).map(ConnId).map_err(|e| match e.0 {
            NetError::NotGranted => CloseReason::NotGranted,
            NetError::Limit => CloseReason::Limit,
            NetError::InUse | NetError::Unavailable => CloseReason::Unreachable,
        })
    }

    fn send(&mut self, batch: &SendBatch, congested: &mut Vec<ConnId>) {
        let now_congested = net::send_runs(batch.bytes(), batch.targets(), batch.fanouts(), batch.lens());
        congested.extend(now_congested.into_iter().map(ConnId));
    }

    fn close(&mut self, conn: ConnId) {
        net::close(conn.0);
    }

    fn abort(&mut self, conn: ConnId) {
        net::abort(conn.0);
    }

    fn inflate(&mut self, conn: ConnId, rest: &[u8]) {
        net::inflate(conn.0, rest);
    }

    fn deflate(&mut self, conn: ConnId) {
        net::deflate(conn.0);
    }

    fn datagram(&mut self, to: SocketAddr, bytes: &[u8]) {
        if let Some(socket) = self.socket {
            datagram::send(socket, to, bytes);
        }
    }

    fn wake_at(&mut self, at: Instant) {
        clock::set_timer(WAKE, at.0);
    }

    fn policy(&mut self) -> Option<&mut dyn Policy> {
        Some(&mut self.policy)
    }

    fn wall_seconds(&mut self) -> u64 {
        clock::wall().duration_since(std::time::SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
    }

    fn log(&mut self, level: Level, line: &str) {
        let level = match level {
            Level::Error => log::Level::Error,
            Level::Warn => log::Level::Warn,
            Level::Info => log::Level::Info,
            Level::Debug => log::Level::Debug,
        };
        log::write(level, line);
    }
}
