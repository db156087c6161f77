//! Why the disk did not do what was asked.

use std::io;
use std::path::{Path, PathBuf};

/// Something in the data directory could not be read or written. What was there before is still there.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}: {source}", path.display())]
pub struct StateError {
    /// What was tried, such as `cannot write`.
    pub what: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: Cause,
}

/// What the system or the database said.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The system.
    #[error("{}", io_words(.0))]
    Io(#[from] io::Error),
    /// The database.
    #[error("{0}")]
    Database(String),
    /// Another node has the directory.
    #[error("another node{} uses this directory", .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Locked {
        /// Its process, where it has written it down.
        pid: Option<u32>,
    },
}

impl StateError {
    pub(crate) fn new(what: &'static str, path: &Path, source: impl Into<Cause>) -> Self {
        Self { what, path: path.to_owned(), source: source.into() }
    }

    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> String {
        match &self.source {
            Cause::Locked { .. } => {
                "stop the other node, or give this one a directory of its own with --data DIR".into()
            }
            Cause::Io(e) => match e.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    "free some space there, or start the node with --data DIR on another disk".into()
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    "let this user write there, or choose another directory with --data DIR".into()
                }
                _ => "check the disk and the directory".into(),
            },
            Cause::Database(_) => {
                "keep a copy of the file for a report, then remove it: the services have to be loaded again"
                    .into()
            }
        }
    }

    /// Whether there is no room left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(&self.source, Cause::Io(e) if matches!(
            e.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        ))
    }
}

/// The system's words, where they are clearer than the standard library's.
fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "no space is left on the disk".to_owned(),
        io::ErrorKind::QuotaExceeded => "the user's disk quota is used up".to_owned(),
        io::ErrorKind::FileTooLarge => "the file would be larger than this process may write".to_owned(),
        _ => error.to_string(),
    }
}

impl From<redb::Error> for Cause {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => Self::Io(error),
            redb::Error::DatabaseAlreadyOpen => Self::Locked { pid: None },
            other => Self::Database(other.to_string()),
        }
    }
}
