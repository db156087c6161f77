//! Services as their peers and their operator see them: real sockets, a proxylet that does what it is told
//! (`guests/probe.wat`).

#![allow(clippy::unwrap_used)]

mod bounds;
mod compression;
mod datagram;
mod faults;
mod ledger;
mod limits;
mod load;
mod node;
#[path = "../common/port.rs"]
mod port;
mod record;
mod state;
mod streams;
mod swap;
mod warming;
