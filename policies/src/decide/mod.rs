//! Decisions.
//!
//! | module | what |
//! | --- | --- |
//! | [`domain`] | events as points: a class in each dimension |
//! | [`region`] | what a rule matches: boxes of classes |
//! | [`index`] | which rules match a point, a word of bits at a time |
//! | [`load`] | from text to a policy |
//! | [`policy`] | a policy that decides |
//! | [`decision`] | what is decided, and by what |
//! | [`explain`] | each rule that was tried, and why it did not match |

pub mod decision;
pub(crate) mod domain;
pub mod explain;
pub(crate) mod index;
pub mod load;
pub mod policy;
pub(crate) mod region;
