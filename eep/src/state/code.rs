//! The code of wanted services and its signatures, by digest, so that the node comes back where its source cannot be
//! reached.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::proxylet::digest::Digest;
use crate::state::directory::write_whole;
use crate::state::error::StateError;

/// Files named by what they hold: `DIGEST.wasm`, and `DIGEST.minisig` for who vouches for it.
#[derive(Debug)]
pub(crate) struct CodeStore {
    directory: PathBuf,
}

impl CodeStore {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn file(&self, digest: &Digest) -> PathBuf {
        self.directory.join(format!("{digest}.wasm"))
    }

    fn signature_file(&self, digest: &Digest) -> PathBuf {
        self.directory.join(format!("{digest}.minisig"))
    }

    /// Keeps the signatures of code, in place of earlier ones.
    pub(crate) fn put_signatures(&self, digest: &Digest, signatures: &[u8]) -> Result<(), StateError> {
        let file = self.signature_file(digest);
        if fs::read(&file).is_ok_and(|kept| kept == signatures) {
            return Ok(());
        }
        write_whole(&file, signatures)
    }

    /// The kept signatures of code; empty where there are none. What they are worth is for the reader to find out.
    pub(crate) fn signatures(&self, digest: &Digest) -> Result<Vec<u8>, StateError> {
        let file = self.signature_file(digest);
        match fs::read(&file) {
            Ok(bytes) => Ok(bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(StateError::new("cannot read", &file, e)),
        }
    }

    /// Keeps code; whether it was not there before.
    pub(crate) fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<bool, StateError> {
        let file = self.file(digest);
        if fs::read(&file).is_ok_and(|kept| kept == bytes) {
            return Ok(false);
        }
        write_whole(&file, bytes)?;
        Ok(true)
    }

    /// The kept code; none where there is none, or where the file is not what its name says.
    pub(crate) fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StateError> {
        let file = self.file(digest);
        match fs::read(&file) {
            Ok(bytes) if Digest::of(&bytes) == *digest => Ok(Some(bytes)),
            Ok(_) => Ok(None),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StateError::new("cannot read", &file, e)),
        }
    }

    /// Removes every file that no wanted service needs. One that cannot be removed costs only room, and is tried again
    /// when the node starts next.
    pub(crate) fn keep_only(&self, wanted: &BTreeSet<Digest>) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            if !named(&path).is_some_and(|digest| wanted.contains(&digest)) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// The digest in a file's name.
fn named(path: &Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".wasm").or_else(|| name.strip_suffix(".minisig"))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_kept_until_nobody_wants_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = CodeStore::new(dir.path().to_owned());
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert!(store.put(&a, b"a").unwrap() && store.put(&b, b"b").unwrap());
        assert!(!store.put(&a, b"a").unwrap());
        store.put_signatures(&a, b"of a").unwrap();
        assert_eq!(store.signatures(&a).unwrap(), b"of a");
        fs::write(dir.path().join("half.new"), b"x").unwrap();
        store.keep_only(&BTreeSet::from([b]));
        assert_eq!(store.signatures(&a).unwrap(), b"");
        assert_eq!((store.get(&a).unwrap(), store.get(&b).unwrap()), (None, Some(b"b".to_vec())));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_not_taken_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let store = CodeStore::new(dir.path().to_owned());
        let digest = Digest::of(b"code");
        fs::write(store.file(&digest), b"c0de").unwrap();
        assert_eq!(store.get(&digest).unwrap(), None);
        assert!(store.put(&digest, b"code").unwrap());
        assert_eq!(store.get(&digest).unwrap(), Some(b"code".to_vec()));
    }
}
