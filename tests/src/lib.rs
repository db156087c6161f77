//! What the end-to-end tests and the load generator share.
//!
//! # Map
//!
//! | path | what |
//! | --- | --- |
//! | [`wire`] | a second reading of the Gnutella wire format, so that the product is not its own only witness |
//! | [`peer`] | a real-socket Gnutella peer on top of it: leaf or ultrapeer, dialling or accepting |
//! | [`capture`] | recording sessions, and having an independent reader look at them |
//! | [`node`] | a node in a process of its own, driven by its command line |
//! | [`fuzz`] | what parsers do with bytes that nobody meant for them |
//! | [`dice`] | chance that can be repeated |
//! | [`gtkg`] | gtk-gnutella as a real peer, where one is installed |
//! | [`native`] | the virtual peer in a shell of its own: real sockets, no node |
//! | [`probe`] | a proxylet that does what its peers tell it |
//! | [`subject`] | the ultrapeer that a test is about, in a node or natively |
//! | [`namespace`] | a network of a test's own |
//! | [`http`] | a client and a file server |
//! | [`loopback`] | addresses of this machine that no other test uses |
//! | [`wait`] | waiting for a condition with a deadline |

#![allow(clippy::print_stderr)]

pub mod capture;
pub mod dice;
pub mod fuzz;
pub mod gtkg;
pub mod http;
pub mod loopback;
pub mod namespace;
pub mod native;
pub mod node;
pub mod peer;
pub mod probe;
pub mod subject;
pub mod wait;
pub mod wire;
