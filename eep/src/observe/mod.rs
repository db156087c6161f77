//! What the node and its services show of themselves.

pub mod log_ring;
