//! Where texts come from. This crate opens no file: whoever uses it answers for a folder.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a text cannot be had: what is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Unreadable {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl Unreadable {
    /// Says what is wrong and what to do about it.
    #[must_use]
    pub fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }
}

/// A folder of texts, below which a policy may read.
pub trait Files {
    /// The text of a file. The path is relative to the folder and has no `..` in it; the implementation
    /// must still keep links from leading out of the folder.
    ///
    /// # Errors
    /// Where there is no such file, or it cannot be read, or is too large.
    fn read(&self, path: &str) -> Result<Arc<str>, Unreadable>;

    /// What a file is called in messages: by default its path in the folder.
    fn name(&self, path: &str) -> String {
        path.to_owned()
    }
}

/// Texts held in memory.
impl Files for BTreeMap<String, String> {
    fn read(&self, path: &str) -> Result<Arc<str>, Unreadable> {
        match self.get(path) {
            Some(text) => Ok(text.as_str().into()),
            None => Err(Unreadable::new(format!("there is no file `{path}`"), "give the path of a file")),
        }
    }
}

/// A relative path without `.` and `..`, or why it may not be read.
///
/// # Errors
/// For absolute paths and those that lead out of the folder.
pub fn inside(path: &str) -> Result<String, Unreadable> {
    let fix = "give a path below the policy's own folder, such as `lists/abusers.cidr`";
    if path.is_empty() || path.starts_with('/') || path.contains(['\\', '\0']) {
        return Err(Unreadable::new(format!("`{path}` is not a path below the policy's folder"), fix));
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                return Err(Unreadable::new(format!("`{path}` leads out of the policy's folder"), fix));
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}
