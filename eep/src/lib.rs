//! An Execution Environment for Proxylets: a node daemon that fetches WebAssembly by URL, verifies it and runs it in a
//! sandbox with exactly the capabilities that it was granted.
//!
//! # Map
//!
//! | module | what |
//! | --- | --- |
//! | [`cli`] | the `eep` command: one file a verb |
//! | [`api`] | the HTTP API, which the command line uses and nothing else |
//! | [`node`] | the composition: services loaded, changed, restored |
//! | [`config`] | node files and manifests, read with carets |
//! | [`proxylet`] | from bytes to a running service |
//! | [`policy`] | policies of this machine |
//! | [`mesh`] | the mesh of nodes |
//! | [`host`] | what a proxylet can reach: one file a capability |
//! | [`record`] | recordings: written, and done again |
//! | [`state`] | what must survive `kill -9` |
//! | [`observe`] | figures and logs |
//! | [`problem`] | the one shape of bad news |
//!
//! The node owns all I/O and knows no protocol of its services: bytes from strangers are parsed inside an instance.

pub mod api;
pub mod cli;
pub mod config;
pub mod host;
pub mod mesh;
pub mod node;
pub mod observe;
pub mod policy;
pub mod problem;
pub mod proxylet;
pub mod record;
pub mod state;
