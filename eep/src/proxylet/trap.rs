//! How an instance ended that did not end by itself.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// What ended an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TrapKind {
    /// The code trapped: a panic, a division by zero, an access outside its memory.
    Trap,
    /// One call took longer than the limit.
    Deadline,
    /// The code ended after it was refused more memory than its limit.
    Memory,
}

/// What is known of an instance's end.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct TrapReport {
    /// What ended it.
    pub kind: TrapKind,
    /// The export that was being called: `start`, `handle`, `save`, `restore`, `stop`.
    pub during: &'static str,
    /// What happened, in a sentence.
    pub message: String,
    /// The innermost functions of the proxylet, innermost first; at most 8.
    pub backtrace: Vec<String>,
    /// When, in seconds since 1970-01-01T00:00:00Z.
    pub at_s: f64,
    /// The file in which all that led to it is kept, for `eep proxylet replay`; none where it is not.
    pub recording: Option<String>,
}

impl TrapReport {
    /// Frames of a backtrace that are kept.
    pub const FRAMES_MAX: usize = 8;

    /// A report of something that happened now.
    #[must_use]
    pub fn new(kind: TrapKind, during: &'static str, message: String, backtrace: Vec<String>) -> Self {
        let at_s = SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |d| d.as_secs_f64());
        Self { kind, during, message, backtrace, at_s, recording: None }
    }
}

impl fmt::Display for TrapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (in `{}`", self.message, self.during)?;
        for (i, frame) in self.backtrace.iter().enumerate() {
            f.write_str(if i == 0 { ", at " } else { " < " })?;
            f.write_str(frame)?;
        }
        f.write_str(")")
    }
}
