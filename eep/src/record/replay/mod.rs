//! A recording done again: the same code with the same inputs, and what it asks compared with what it asked.
//!
//! | module | what |
//! | --- | --- |
//! | `script` | one recorded call: what the proxylet will ask, and what it is told |
//! | `host` | the answers to all imports, from the script |
//! | `instance` | an instance whose host is the script |
//! | [`run`] | a whole file |
//! | [`outcome`] | what came of it |
//!
//! There is no network, no clock and no node in it. Where the instance began with its first call and the code is that
//! of the recording, the outcome is exact: any difference is one. Where the recording begins at a checkpoint, a new
//! instance is given the state that was saved there: it is as exact as the proxylet's `save`, which may leave something
//! out, or write in an order that its next instance does not have; and with other code differences are what is looked for. In these cases each question is answered with what was told to the same
//! question in the same call, or else to the next of its kind, or else with something harmless.

mod host;
mod instance;
pub mod outcome;
pub mod run;
mod script;
#[cfg(test)]
mod tests;

pub use outcome::Outcome;
pub use run::{Options, ReplayError, replay};
