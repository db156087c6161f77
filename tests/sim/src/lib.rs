//! The simulator: the product's virtual peer exactly as it is shipped, and ordinary peers, under virtual time.
//!
//! A run follows from its [`world::Setup`] alone, seed included: the same on every machine and every time.
//!
//! # Map
//!
//! | path | what |
//! | --- | --- |
//! | [`engine`] | chance that can be repeated, and events in the order of their times |
//! | [`internet`] | autonomous systems, who pays whom, and where peers live |
//! | [`workload`] | what peers have, what they look for, how long they stay; the presets |
//! | [`peer`] | ordinary peers: leaves, ultrapeers, free riders, attackers |
//! | [`world`] | peers, connections and virtual time; the virtual peer's shell; faults; what must hold |
//! | [`mesh`] | the product's distributed hash table, as it is shipped |
//! | [`measure`] | every byte, and means with their confidence intervals |
//! | [`experiments`] | each published result against ours |
//! | [`scoreboard`] | the experiments' results as a page and plots |
//! | [`swarm`] | random scenarios, and the shortest that fails |

pub mod engine;
pub mod experiments;
pub mod internet;
pub mod measure;
pub mod mesh;
pub mod peer;
pub mod scoreboard;
pub mod swarm;
pub mod workload;
pub mod world;
