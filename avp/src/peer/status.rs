//! What an operator sees of a virtual peer.

use serde::Serialize;
use std::net::{SocketAddr, SocketAddrV4};

/// A virtual peer at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The servent GUID, in hexadecimal.
    pub guid: String,
    /// The address under which others reach this peer, where it is known.
    pub address: Option<SocketAddrV4>,
    /// Seconds since the peer was made.
    pub uptime_seconds: u64,
    /// Leaves now, and how many there may be.
    pub leaves: Slots,
    /// Ultrapeer neighbours now, and how many there may be.
    pub ultrapeers: Slots,
    /// Neighbours without ultrapeer support now, and how many there may be.
    pub old_peers: Slots,
    /// Every relation.
    pub links: Vec<LinkStatus>,
}

/// How many there are, and how many there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Slots {
    /// In use.
    pub used: u32,
    /// From the configuration.
    pub limit: u32,
}

/// One relation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinkStatus {
    /// The peer's end of the connection.
    pub remote: SocketAddr,
    /// `leaf`, `ultrapeer` or `old`.
    pub role: &'static str,
    /// Whether this peer made the connection.
    pub dialled: bool,
    /// What the peer says it is.
    pub user_agent: String,
    /// Seconds since the handshake.
    pub age_seconds: u64,
    /// Smoothed round trip of alive pings, in milliseconds.
    pub rtt_ms: Option<u32>,
    /// Its mean deviation, in milliseconds.
    pub rtt_deviation_ms: Option<u32>,
    /// Share of alive pings without an answer, 0 to 1.
    pub loss: Option<f64>,
    /// Bytes a second that come in, over the last one to two intervals of alive pings; before compression.
    pub received_bytes_per_second: f64,
    /// And that go out.
    pub sent_bytes_per_second: f64,
    /// Whether the peer has sent a query routing table.
    pub query_routing: bool,
    /// Whether what is sent to the peer is compressed.
    pub compressed: bool,
}
