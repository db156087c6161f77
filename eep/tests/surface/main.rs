//! The node as its operator sees it: the `eep` binary, its words, its exit status, its API.
//!
//! `EEP_BLESS=1 cargo test -p eep --test surface` writes the golden files anew; read the difference.

#![allow(clippy::unwrap_used)]

mod api;
mod dev;
mod disk;
mod golden;
mod guest;
mod harness;
mod life;
mod node;
mod oci;
mod policy;
#[path = "../common/port.rs"]
mod port;
mod record;
mod refusals;
mod registry;
mod scaffold;
mod supply;
mod swap;
mod wasi;
mod web;
