//! The texts that a policy is read from: remembered while it is read, kept by digest, laid over a folder.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use policies::text::files::{Files, Unreadable, inside};

use crate::proxylet::digest::Digest;

/// Texts by their paths in the policy's folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Texts(pub(crate) BTreeMap<String, Arc<str>>);

impl Texts {
    pub(crate) fn digests(&self) -> BTreeMap<String, Digest> {
        self.0.iter().map(|(path, text)| (path.clone(), Digest::of(text.as_bytes()))).collect()
    }
}

impl Files for Texts {
    fn read(&self, path: &str) -> Result<Arc<str>, Unreadable> {
        let path = inside(path)?;
        let lost = || Unreadable::new(format!("the text of `{path}` is not kept"), "apply the policy again");
        self.0.get(&path).cloned().ok_or_else(lost)
    }
}

/// Remembers what is read.
pub(crate) struct Recording<'a> {
    files: &'a dyn Files,
    read: RefCell<Texts>,
}

impl<'a> Recording<'a> {
    pub(crate) fn new(files: &'a dyn Files) -> Self {
        Self { files, read: RefCell::default() }
    }

    pub(crate) fn into_texts(self) -> Texts {
        self.read.into_inner()
    }
}

impl Files for Recording<'_> {
    fn read(&self, path: &str) -> Result<Arc<str>, Unreadable> {
        let text = self.files.read(path)?;
        if let Ok(path) = inside(path) {
            self.read.borrow_mut().0.insert(path, Arc::clone(&text));
        }
        Ok(text)
    }

    fn name(&self, path: &str) -> String {
        self.files.name(path)
    }
}

/// A folder, but for one file: the policy as it is in force, with the sets as they lie on disk.
pub(crate) struct Over<'a> {
    pub(crate) path: &'a str,
    pub(crate) text: Arc<str>,
    pub(crate) files: &'a dyn Files,
}

impl Files for Over<'_> {
    fn read(&self, path: &str) -> Result<Arc<str>, Unreadable> {
        if inside(path).is_ok_and(|path| path == self.path) {
            return Ok(Arc::clone(&self.text));
        }
        self.files.read(path)
    }

    fn name(&self, path: &str) -> String {
        self.files.name(path)
    }
}
