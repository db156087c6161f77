//! TCP streams. Grants: `net.listen:PORT` for listening, `net.connect` or `net.connect:CIDR` for connecting.
//!
//! One message to many connections is one call, and its bytes cross the boundary once:
//!
//! ```
//! use eep_sdk::net::{self, Segment};
//! use eep_sdk::{Conn, log};
//!
//! fn tell(all: &[Conn], text: &[u8]) {
//!     let to_all = Segment { targets: all.len() as u32, len: text.len() as u32 };
//!     for conn in net::send(text, all, &[to_all]) {
//!         log!(Debug, "{conn} does not keep up");
//!     }
//! }
//! ```

use std::fmt;
use std::net::SocketAddr;

use crate::bindings::eep::proxylet::net;
use crate::event::{from_wit, to_wit};
use crate::{Conn, Listener};

pub use net::{NetError, Segment};

/// Why a socket could not be had; in words that a person can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub NetError);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            NetError::NotGranted => "the service's grants do not name this address or port",
            NetError::InUse => {
                "another socket has this address: stop what listens there, or choose another port"
            }
            NetError::Unavailable => "this is no address of this machine, or it may not be bound",
            NetError::Limit => "the service's connections or the node's descriptors are at their limit",
        })
    }
}

impl std::error::Error for Refused {}

/// Listens; port 0 lets the system choose. The address is the one that was bound. In [`crate::Proxylet::restore`], an
/// address at which the former instance listened gives its listener.
///
/// # Errors
/// Not granted, in use, or not one of this machine's addresses.
pub fn listen(address: SocketAddr) -> Result<(Listener, SocketAddr), Refused> {
    net::listen(to_wit(address)).map_err(Refused).map(|(listener, bound)| (listener, from_wit(bound)))
}

/// Stops listening; accepted connections live on.
pub fn unlisten(listener: Listener) {
    net::unlisten(listener);
}

/// The connections that the service has. Asked in [`crate::Proxylet::restore`], this takes over those of the former
/// instance; what the state knows beyond them has ended. An instance that does not ask there has none of them.
#[must_use]
pub fn connections() -> Vec<Conn> {
    net::connections()
}

/// Starts to connect; [`crate::Event::Established`] or [`crate::Event::Failed`] follows.
///
/// # Errors
/// Refused at once; no event follows.
pub fn connect(to: SocketAddr) -> Result<Conn, Refused> {
    net::connect(to_wit(to)).map_err(Refused)
}

/// Sends, for each segment in turn, one run of `bytes` to one run of `targets`: one crossing of the boundary for
/// everything that a batch brought about. Returns the connections that are congested now; wait for
/// [`crate::Event::Writable`] before sending more on them.
pub fn send(bytes: &[u8], targets: &[Conn], segments: &[Segment]) -> Vec<Conn> {
    net::send(bytes, targets, segments)
}

/// As [`send`], for whoever keeps the segments in two columns: the next of `fanouts` connections get the next of `lens`
/// bytes. Numbers cross the boundary faster than segments do.
pub fn send_runs(bytes: &[u8], targets: &[Conn], fanouts: &[u32], lens: &[u32]) -> Vec<Conn> {
    net::send_runs(bytes, targets, fanouts, lens)
}

/// Sends bytes to one connection; whether it is congested now. For more than one, prefer [`send`].
pub fn send_one(conn: Conn, bytes: &[u8]) -> bool {
    let len = bytes.len() as u32;
    !net::send(bytes, &[conn], &[Segment { targets: 1, len }]).is_empty()
}

/// Closes a connection after what was sent has left.
pub fn close(conn: Conn) {
    net::close(conn);
}

/// Closes a connection at once.
pub fn abort(conn: Conn) {
    net::abort(conn);
}

/// From `rest` on, what this connection receives is a zlib stream and is delivered inflated.
pub fn inflate(conn: Conn, rest: &[u8]) {
    net::inflate(conn, rest);
}

/// What is sent on this connection from now on leaves as a zlib stream.
pub fn deflate(conn: Conn) {
    net::deflate(conn);
}

/// Whether the node reads from this connection; switched off, the peer is held back by TCP.
pub fn receive(conn: Conn, on: bool) {
    net::receive(conn, on);
}
