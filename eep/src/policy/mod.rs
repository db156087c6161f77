//! Policies of this machine: where the `policies` crate, which opens no file, gets its texts from.
//!
//! | module | what |
//! | --- | --- |
//! | [`files`] | a folder on disk, which nothing leads out of |

pub mod files;
