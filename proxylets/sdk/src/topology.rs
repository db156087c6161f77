//! The mesh of nodes, as this node sees it. Grant: `topology`.
//!
//! Reads are answered from a view that the node has put together before, so they cost little. A service that has asked once
//! is told of each newer view by [`crate::Event::TopologyChanged`]:
//!
//! ```no_run
//! use eep_sdk::topology::{self, Metric};
//! use eep_sdk::{Event, Events, log};
//!
//! fn handle(events: Events<'_>) {
//!     for event in events {
//!         if let Event::TopologyChanged { .. } = event
//!             && let Some(best) = topology::nearest("192.0.2.0/24", Metric::Rtt).first()
//!         {
//!             log!(Info, "the node for these users is {}", best.id);
//!         }
//!     }
//! }
//! ```

use crate::bindings::eep::proxylet::topology;

pub use topology::{Found, Link, Metric, Node, View, Way};

/// The whole view; of version 0 and empty on a node without a mesh, and while nothing is known yet.
#[must_use]
pub fn map() -> View {
    topology::map()
}

/// The nodes for the users of an address or a prefix, the cheapest first; none where it is neither.
#[must_use]
pub fn nearest(to: &str, by: Metric) -> Vec<Found> {
    topology::nearest(to, by)
}

/// The nodes of a region, by its id or the first digits of it, the cheapest first; of this node's own where none is named.
#[must_use]
pub fn region(region: Option<&str>, by: Metric) -> Vec<Found> {
    topology::region(region, by)
}

/// The cheapest way to a node, by its id; none where the map shows none.
#[must_use]
pub fn route(to: &str, by: Metric) -> Option<Way> {
    topology::route(to, by)
}
