//! Who is where and how to get there: the topology plane, sans-I/O.
//!
//! The state machines in here take the time and what came in, and give back what is to be sent. They have no clock, no
//! socket, no thread and no source of randomness: the node drives them with QUIC, the simulator with virtual time, and
//! both run this very code.
//!
//! # Map
//!
//! | path | what |
//! | --- | --- |
//! | [`id`] | node ids (SHA-256 of a public key), the XOR metric, contacts |
//! | [`dht`] | Kademlia: a node by its id, a random node, records; [`dht::Dht`] says how to drive it |
//! | [`soar`] | measurement, regions, gateways, routes; [`soar::Soar`] says how to drive it |
//! | [`time`] | time as the shell gives it |

pub mod dht;
pub mod id;
pub mod soar;
pub mod time;

pub use id::{Contact, Distance, NodeId};
pub use time::Instant;
