//! Application optimisation layer (AOL): how messages are routed over the overlay, and which relations there are.

pub mod monitoring;
