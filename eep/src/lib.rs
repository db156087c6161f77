//! An Execution Environment for Proxylets.

pub mod cli;
pub mod config;
pub mod host;
pub mod observe;
pub mod problem;
pub mod proxylet;
pub mod state;
