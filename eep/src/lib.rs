//! An Execution Environment for Proxylets.

pub mod config;
pub mod host;
pub mod observe;
pub mod proxylet;
