//! Streams and messages to services on other nodes. Grant: `mesh`.
//!
//! A stream is a connection as any other: it is sent on with [`crate::net::send`] and closed with [`crate::net::close`].
//!
//! ```no_run
//! use eep_sdk::mesh::{self, Target};
//! use eep_sdk::{Event, Events, log, net};
//!
//! fn greet() -> Option<u64> {
//!     mesh::open(&Target::Nearest, "directory").ok()
//! }
//!
//! fn handle(events: Events<'_>) {
//!     for event in events {
//!         match event {
//!             Event::Established { conn, .. } => {
//!                 net::send_one(conn, b"hello");
//!             }
//!             Event::Accepted { conn, .. } => match mesh::peer(conn) {
//!                 Some(peer) => log!(Info, "a service of {}", peer.name),
//!                 None => log!(Info, "not over the mesh"),
//!             },
//!             Event::Message { sender, bytes } => log!(Info, "{} bytes from {sender}", bytes.len()),
//!             _ => {}
//!         }
//!     }
//! }
//! ```

use std::fmt;

use crate::Conn;
use crate::bindings::eep::proxylet::mesh;

pub use mesh::{Identity, MeshError, Target};

/// Why nothing was begun; in words that a person can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub MeshError);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            MeshError::Limit => "connections, descriptors or requests are at their limit",
            MeshError::TooLong => "the message is longer than 4 KiB, or a name longer than 128 bytes",
            MeshError::Denied => "the service's policy denies connections to this machine",
        })
    }
}

impl std::error::Error for Refused {}

/// Starts to open a stream to a service; [`crate::Event::Established`] or [`crate::Event::Failed`] follows.
///
/// # Errors
/// Refused at once; no event follows.
pub fn open(to: &Target, service: &str) -> Result<Conn, Refused> {
    mesh::open(to, service).map_err(Refused)
}

/// Which node is at the other end of a connection; none where it did not come over the mesh.
#[must_use]
pub fn peer(conn: Conn) -> Option<Identity> {
    mesh::peer(conn)
}

/// Sends a message of at most 4 KiB to a service; [`crate::Event::Answer`] with the number that is returned follows.
///
/// # Errors
/// Refused at once; no event follows.
pub fn send(to: &Target, service: &str, bytes: &[u8]) -> Result<u64, Refused> {
    mesh::send(to, service, bytes).map_err(Refused)
}
