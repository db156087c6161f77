//! The network under the overlay: autonomous systems, who pays whom, and where peers live.
//!
//! | file | what |
//! | --- | --- |
//! | `generate` | a graph to the published degree law, with customer, provider and peer relations |
//! | `paths` | the shortest valley-free way between two systems: hops, delay, and who carries the bytes |
//! | `place` | peers in systems, and addresses that tell where they are |

pub mod generate;
pub mod paths;
pub mod place;

pub use generate::{Graph, Relation};
pub use paths::{Path, Paths};
pub use place::Places;
