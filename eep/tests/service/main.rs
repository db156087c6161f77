//! Services as their peers and their operator see them: real sockets, a proxylet that does what it is told
//! (`guests/probe.wat`).

#![allow(clippy::unwrap_used)]

mod compression;
mod datagram;
mod faults;
mod limits;
mod load;
mod node;
mod record;
mod state;
mod streams;
mod swap;
