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
//! | [`settled`] | what can be decided before everything is known |
//! | [`outcome`] | all that a policy can decide, numbered |
//! | [`explain`] | each rule that was tried, and why it did not match |

pub mod decision;
pub(crate) mod domain;
pub mod explain;
pub(crate) mod index;
pub mod load;
pub mod outcome;
pub mod policy;
pub(crate) mod region;
pub mod settled;
