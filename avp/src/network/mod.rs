//! The network optimisation layer: which traffic goes first, and what each link measures.
//!
//! | module | plane |
//! | --- | --- |
//! | [`traffic`] | policy: classes of traffic and their order |
//! | [`rate`] | policy: how often strangers may ask |
//! | [`monitoring`] | round trip, loss and throughput of one link |

pub mod monitoring;
pub mod rate;
pub mod traffic;
