//! Nodes in a mesh: real processes, real QUIC, real certificates.

#![allow(clippy::unwrap_used)]

mod hostile;
mod identity;
mod map;
mod node;
mod raw;
