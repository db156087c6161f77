//! Recording real-socket sessions, and having an independent reader look at them.
//!
//! A [`Tap`] stands between two peers and writes down what each sends. [`Tap::save`] makes a packet capture of it, and
//! [`tshark`] has Wireshark's dissector read that. No privileges are needed, and only the session itself is in it.

mod pcap;
mod tap;
pub mod tshark;

pub use tap::Tap;

use std::net::SocketAddrV4;

/// Who sent a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Dialler,
    Acceptor,
}

/// One recorded connection.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    pub(crate) dialler: SocketAddrV4,
    pub(crate) acceptor: SocketAddrV4,
    /// In the order in which they were seen.
    pub(crate) chunks: Vec<(Side, Vec<u8>)>,
}
