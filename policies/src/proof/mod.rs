//! Ways to know what a policy does before it does it.
//!
//! | module | what |
//! | --- | --- |
//! | [`given`] | events as they are written in tests and recordings |
//! | [`tests`] | files of tests, and how much of the policy they reach |
//! | [`replay`] | recorded events under two policies |
//! | [`diff`] | events on which two policies differ |

pub mod diff;
pub mod given;
pub mod replay;
pub mod tests;
