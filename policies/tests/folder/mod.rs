//! A folder on disk, for tests.

use std::path::PathBuf;
use std::sync::Arc;

use policies::text::files::{Files, Unreadable};

pub(crate) struct Folder(pub(crate) PathBuf);

impl Files for Folder {
    fn read(&self, path: &str) -> Result<Arc<str>, Unreadable> {
        match std::fs::read_to_string(self.0.join(path)) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(Unreadable::new(format!("there is no file `{path}`"), "give the path of a file")),
        }
    }
}
