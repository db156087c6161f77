//! Services as their peers and their operator see them: real sockets, a proxylet that does what it is told
//! (`guests/probe.wat`).

#![allow(clippy::unwrap_used)]

mod bounds;
mod checkpoints;
mod compression;
mod datagram;
mod faults;
mod ledger;
mod limits;
mod load;
mod node;
mod optimise;
#[path = "../common/port.rs"]
mod port;
mod record;
mod runs;
mod state;
mod streams;
mod swap;
mod teller;
mod timers;
mod versions;
mod warming;
