//! From bytes to a running service: verify, compile, instantiate, supervise.

pub mod build;
pub mod digest;
pub mod error;
pub mod fetch;
pub mod limits;
pub mod manifest;
pub mod state_store;
pub mod status;
pub mod trap;
