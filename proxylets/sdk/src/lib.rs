//! Write a proxylet in Rust.
//!
//! A proxylet is a state machine: it is fed batches of events and answers through the capabilities that it was
//! granted. It has no threads, no files, no sockets and no clock of its own. Implement [`Proxylet`], name the type
//! with [`proxylet!`], build with `eep proxylet build`:
//!
//! ```
//! use eep_sdk::{Event, Events, Instant, Proxylet, net};
//!
//! struct Echo;
//!
//! impl Proxylet for Echo {
//!     fn start(_now: Instant, _config: &str) -> Result<Self, String> {
//!         net::listen(([127, 0, 0, 1], 7007).into()).map_err(|e| e.to_string())?;
//!         Ok(Echo)
//!     }
//!
//!     fn handle(&mut self, _now: Instant, events: Events<'_>) {
//!         for event in events {
//!             if let Event::Received { conn, bytes } = event {
//!                 net::send_one(conn, bytes);
//!             }
//!         }
//!     }
//! }
//!
//! # const _: &str = stringify! {
//! eep_sdk::proxylet!(Echo, manifest = "../proxylet.json");
//! # };
//! ```
//!
//! # Map
//!
//! | module | capability | grant |
//! | --- | --- | --- |
//! | [`mod@log`] | lines to the service's log | none needed |
//! | [`clock`] | wall clock, timers | none needed |
//! | [`random`] | randomness fit for keys and hash seeds | none needed |
//! | [`kv`] | a small store that outlives the instance | none needed |
//! | [`metrics`] | counters and gauges on the node's `/metrics` | none needed |
//! | [`net`] | TCP streams | `net.listen:PORT`, `net.connect[:CIDR]` |
//! | [`policy`] | decisions of the service's policy | `policy` |
//! | [`datagram`] | UDP | `datagram:PORT` |
//! | [`mesh`] | streams and messages to services on other nodes | `mesh` |
//! | [`topology`] | the mesh of nodes, as this one sees it | `topology` |
//! | [`mod@deploy`] | services launched here or on other nodes | `deploy`, `deploy:N` |
//!
//! # Hash tables
//!
//! On `wasm32-unknown-unknown` the seeds of `std::collections::HashMap` are constants. A table whose keys come from
//! strangers must be seeded from [`random`], or one stranger can make all keys fall into one bucket.

#![warn(missing_docs)]

pub mod bindings;
pub mod clock;
pub mod datagram;
pub mod deploy;
mod event;
pub mod kv;
mod lifecycle;
pub mod log;
pub mod mesh;
pub mod metrics;
pub mod net;
pub mod policy;
pub mod random;
pub mod topology;

/// What `eep proxylet inspect` shows as the SDK of a proxylet.
#[doc(hidden)]
pub const SDK: &str = concat!("rust ", env!("CARGO_PKG_VERSION"));

#[doc(hidden)]
pub use event::Received;
pub use event::{CloseReason, Conn, Event, Events, Instant, Listener, Socket};
pub use lifecycle::Proxylet;
#[doc(hidden)]
pub use lifecycle::{Slot, Warm, describe};
