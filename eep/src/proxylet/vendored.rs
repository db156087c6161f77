//! What `build.rs` gathers of the workspace: the contract, and what new projects are made of.

include!(concat!(env!("OUT_DIR"), "/vendored.rs"));
