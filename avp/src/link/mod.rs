//! One overlay relation: how it is agreed, what it costs, what it carries and how it ends.
//!
//! | module | what |
//! | --- | --- |
//! | [`handshake`] | from the first byte of a connection to agreed [`Terms`] |
//! | [`terms`] | what both sides agreed |
//! | [`framing`] | from chunks of bytes to messages |
//! | [`queue`] | what waits for a congested relation, most important first |
//! | [`flow`] | the send side of one relation: straight through, or queued |
//! | [`dispatch`] | one message to many relations, one batch to the shell |
//! | [`alive`] | pings that tell a silent peer from a dead one |
//! | [`state`] | [`Link`]: all of this for one peer |
//! | [`support`] | which vendor messages the peer understands |
//! | [`schedule`] | when which relation needs attention |
//! | [`ending`] | why relations end, in the words of the protocol and of the metrics |

pub mod alive;
pub mod dispatch;
pub mod ending;
pub mod flow;
pub mod framing;
pub mod handshake;
pub mod queue;
pub mod schedule;
pub mod state;
pub mod support;
pub mod terms;

pub use dispatch::{Dispatch, Loss, Losses, Outgoing, Relations, Sent};
pub use ending::Ending;
pub use framing::{Frame, Framing, Input};
pub use handshake::{Admission, Gate, Handshake, Identity, Progress, Proposal, Refusal};
pub use state::{Link, Tick};
pub use support::Support;
pub use terms::{Features, Role, Terms};
