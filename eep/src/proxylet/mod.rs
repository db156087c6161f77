//! From bytes to a running service: verify, compile, instantiate, supervise.
//!
//! ```text
//! bytes ─ Runtime::prepare ─▶ Code ─ Service::start ─▶ Service ─ stop / configure / status / log / series
//! ```
//!
//! Each service has an operating-system thread with its own event loop. Its sockets and the calls into its proxylet
//! live there and nowhere else: a proxylet that computes for as long as it may delays nobody but itself, and no lock
//! or queue between threads lies on the way of its bytes.

mod at_hand;
pub mod backoff;
mod begin;
pub mod build;
mod checkpoint_writer;
mod checkpoints;
pub mod code;
mod compile_cache;
pub(crate) mod contract;
pub mod digest;
mod driver;
pub(crate) mod epoch;
pub mod error;
mod exchange;
pub(crate) mod exports;
pub mod fetch;
pub mod harness;
pub mod inspect;
pub(crate) mod instance;
mod journal;
mod life;
pub mod limits;
pub mod manifest;
#[doc(hidden)]
pub mod measure;
pub(crate) mod memory;
mod optimise;
pub mod permit;
mod read_ahead;
pub mod registry;
pub mod runtime;
pub mod scaffold;
pub mod service;
pub mod state_store;
pub mod status;
mod supervisor;
pub mod swap;
mod throttle;
pub mod trap;
pub mod trust;
mod vendored;
mod warming;
