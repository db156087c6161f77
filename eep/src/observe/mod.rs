//! What the node and its services show of themselves.

pub(crate) mod figures;
pub mod log_ring;
pub mod prometheus;
pub mod series;
