//! From what happened to what is said of it.

pub mod ledger;
pub mod seen;
pub mod stats;

pub use ledger::Ledger;
pub use stats::{Estimate, estimate};
