//! Nodes in a mesh: real processes, real QUIC, real certificates.

#![allow(clippy::unwrap_used)]

mod absence;
mod admission;
mod congestion;
mod cuts;
mod fabric;
mod forward;
#[path = "../surface/guest.rs"]
#[allow(dead_code)]
mod guest;
mod hostile;
mod identity;
mod launch;
mod map;
mod node;
mod placement;
#[path = "../common/port.rs"]
#[allow(dead_code)]
mod port;
mod raw;
mod session;
mod signed;
mod talk;
mod translated;
mod web;
