//! The Active Virtual Peer, sans-I/O.
//!
//! To ordinary Gnutella peers an AVP is one more ultrapeer. In here it is a state machine: [`VirtualPeer::handle`]
//! takes the time and a batch of [`Event`]s and answers through a [`Host`]. This crate has no clock, no socket, no
//! thread and no source of randomness; the same code runs as a WebAssembly proxylet in a node, under virtual time
//! in the simulator, and natively in tests and benchmarks.
//!
//! # Map
//!
//! The folders are the grid of the founding paper: three horizontal layers, three vertical planes.
//!
//! | path | what |
//! | --- | --- |
//! | [`gnutella`] | the wire: descriptors, extensions, query routing tables, handshake and HTTP headers |
//! | [`link`] | one overlay relation: handshake, framing, queues, flow control |
//! | [`application`] | application optimisation layer: routing, dynamic queries, access, overlay topology |
//! | [`cache`] | virtual control cache: pongs, hosts |
//! | [`network`] | network optimisation layer: traffic classes, link measurement |
//! | [`peer`] | [`VirtualPeer`]: the way a message travels |
//! | [`host`] | what the outside gives: time, events, the [`Host`] trait |
//! | `state` | how what outlives an instance is written and read |
//! | [`config`] | every setting, its unit, default and bound |

pub mod application;
pub mod cache;
pub mod config;
pub mod gnutella;
pub mod host;
pub mod link;
pub mod network;
pub mod peer;
mod state;
pub mod tables;

pub use config::Config;
pub use host::{CloseReason, ConnId, Event, Host, Instant, SendBatch};
pub use peer::VirtualPeer;
