//! UDP. Grant: `datagram:PORT`.
//!
//! ```
//! use eep_sdk::{Event, datagram};
//!
//! fn echo(event: Event<'_>) {
//!     if let Event::Datagram { socket, from, bytes } = event {
//!         datagram::send(socket, from, bytes);
//!     }
//! }
//! ```

use std::net::SocketAddr;

use crate::Socket;
use crate::bindings::eep::proxylet::datagram;
use crate::event::{from_wit, to_wit};
use crate::net::Refused;

/// Binds a socket; port 0 lets the system choose. The address is the one that was bound.
///
/// # Errors
/// Not granted, in use, or not one of this machine's addresses.
pub fn bind(address: SocketAddr) -> Result<(Socket, SocketAddr), Refused> {
    datagram::bind(to_wit(address)).map_err(Refused).map(|(socket, bound)| (socket, from_wit(bound)))
}

/// Closes a socket.
pub fn unbind(socket: Socket) {
    datagram::unbind(socket);
}

/// Sends one datagram, or drops it where the socket has no room or the grant does not reach the address.
pub fn send(socket: Socket, to: SocketAddr, bytes: &[u8]) {
    datagram::send(socket, to_wit(to), bytes);
}
