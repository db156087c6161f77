//! The one shape of bad news: what is wrong, where, and what to do about it.
//!
//! It goes over HTTP as `application/problem+json` (RFC 9457) and to a terminal as three lines.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::FileError;
use crate::state::error::StateError;

/// Why something was not done. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// A word for programs, such as `digest-mismatch`.
    pub code: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong, in a sentence.
    pub title: String,
    /// Where: a file, an address, a key of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// All that is wrong with a policy, with its lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
}

impl Problem {
    /// A problem without a place and a fix.
    #[must_use]
    pub fn new(code: &str, status: u16, title: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            code: code.to_owned(),
            status,
            title: title.into(),
            place: None,
            fix: None,
            report: None,
        })
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self: Box<Self>, place: impl Into<String>) -> Box<Self> {
        self.place = Some(place.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn fix(mut self: Box<Self>, fix: impl Into<String>) -> Box<Self> {
        self.fix = Some(fix.into());
        self
    }

    /// Takes words of the form `what`, `what\nfix`.
    #[must_use]
    pub fn words(code: &str, status: u16, words: &str) -> Box<Self> {
        match words.split_once('\n') {
            Some((title, fix)) => Self::new(code, status, title).fix(fix),
            None => Self::new(code, status, words),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)?;
        if let Some(place) = &self.place {
            write!(f, "\n  at:  {place}")?;
        }
        if let Some(fix) = &self.fix {
            write!(f, "\n  fix: {}", fix.replace('\n', "\n       "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl From<Box<FileError>> for Box<Problem> {
    fn from(error: Box<FileError>) -> Self {
        let problem = Problem::new("bad-file", 400, error.message.clone()).at(error.place());
        match &error.fix {
            Some(fix) => problem.fix(fix),
            None => problem,
        }
    }
}

impl From<StateError> for Box<Problem> {
    fn from(error: StateError) -> Self {
        let (code, status) = if error.is_full() { ("disk-full", 507) } else { ("data-directory", 500) };
        let title = format!("{}: {}", error.what, error.source);
        Problem::new(code, status, title).at(error.path.display().to_string()).fix(error.fix())
    }
}
