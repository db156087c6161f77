//! Application optimisation layer (AOL): how messages are routed over the overlay, and which relations there are.

pub mod door;
pub mod dynamic_query;
pub mod forward;
pub mod monitoring;
pub mod policy;
pub mod query_routing;
pub mod routes;
pub mod routing;
pub mod topology;
