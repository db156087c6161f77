//! What long work is at.

use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// A step of long work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Progress {
    /// The code is coming.
    Fetching {
        /// Bytes that have come.
        bytes: u64,
        /// Bytes in all, where the server says it.
        total: Option<u64>,
    },
    /// The code is verified and compiled.
    Preparing,
    /// The service is started.
    Starting,
    /// The new version serves, on probation.
    #[serde(rename_all = "kebab-case")]
    Proving {
        /// For so many milliseconds.
        window_ms: u32,
    },
}

/// One line of a streamed answer: any number of `progress`, then `done` or `refused`.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step<T> {
    /// It is at this.
    Progress(Progress),
    /// It is done.
    Done(T),
    /// It was not done.
    Refused(Box<Problem>),
}

/// Told of each step; must not block.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);
