//! The policy language of eep. One engine checks, tests, explains, replays and decides, so they cannot disagree.
//!
//! | module | what |
//! | --- | --- |
//! | [`text`] | YAML with places; what is said about it |
//! | [`grammar`] | the shape of a policy file: checks, JSON Schema, order of keys |
//! | [`facts`], [`event`] | what rules may ask about |
//! | [`condition`] | CEL conditions |
//! | [`sets`] | sets, compiled |
//! | [`model`] | a policy as it is written |
//! | [`decide`] | a policy, compiled: decisions and explanations |
//! | [`proof`] | tests, replay, differences |
//! | [`format`](mod@format) | one way to write a policy |
//! | [`check`] | a file, whatever it holds |
//! | `analysis` | rules that never decide, events on which policies differ |

pub mod check;
pub mod condition;
pub mod decide;
pub mod event;
pub mod facts;
pub mod format;
pub mod grammar;
pub mod model;
pub mod proof;
pub mod sets;
pub mod text;

mod analysis;
mod bits;

pub use decide::decision::Decision;
pub use decide::policy::Policy;
pub use event::Event;
pub use facts::Facts;
pub use model::action::Action;
pub use model::rule::Chain;
