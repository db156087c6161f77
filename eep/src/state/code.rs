//! The code of wanted services and its signatures, by digest, so that the node comes back where its source cannot be
//! reached; and code that was wanted lately, so that it is not fetched again where it is pinned.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::proxylet::digest::{Digest, Digested};
use crate::state::directory::write_whole;
use crate::state::error::StateError;

/// How much code is kept that nobody wants any more, in bytes and in files; what was wanted longest ago leaves first.
const SPARE_BYTES_MAX: u64 = 64 << 20;
const SPARE_FILES_MAX: usize = 64;

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

    /// Keeps code, and its signatures where there are any.
    pub(crate) fn put(&self, digest: &Digest, bytes: &[u8], signatures: &[u8]) -> Result<(), StateError> {
        let file = self.file(digest);
        if fs::read(&file).is_ok_and(|kept| kept == bytes) {
            // It is the code wanted last. Where that cannot be noted, it only leaves earlier once nobody wants it.
            let _ = File::open(&file).and_then(|file| file.set_modified(SystemTime::now()));
        } else {
            write_whole(&file, bytes)?;
        }
        if signatures.is_empty() { Ok(()) } else { self.put_signatures(digest, signatures) }
    }

    /// The kept code; none where there is none, or where the file is not what its name says.
    pub(crate) fn get(&self, digest: &Digest) -> Result<Option<Digested>, StateError> {
        let file = self.file(digest);
        match fs::read(&file) {
            Ok(bytes) => Ok(Some(Digested::of(bytes)).filter(|kept| kept.digest() == *digest)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StateError::new("cannot read", &file, e)),
        }
    }

    /// Removes what no wanted service needs, but for what was wanted last. A file that cannot be removed costs only room,
    /// and is tried again.
    pub(crate) fn keep(&self, wanted: &BTreeSet<Digest>) {
        self.keep_spare(wanted, SPARE_BYTES_MAX);
    }

    /// Removes all that no wanted service needs.
    pub(crate) fn keep_only(&self, wanted: &BTreeSet<Digest>) {
        self.keep_spare(wanted, 0);
    }

    fn keep_spare(&self, wanted: &BTreeSet<Digest>, bytes_max: u64) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        let mut spare: Vec<(SystemTime, u64, Digest)> = paths
            .iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
            .filter_map(|path| {
                let digest = named(path).filter(|digest| !wanted.contains(digest))?;
                let meta = fs::metadata(path).ok()?;
                Some((meta.modified().ok()?, meta.len(), digest))
            })
            .collect();
        spare.sort_unstable_by(|a, b| b.cmp(a));
        let mut bytes = 0_u64;
        let fits = spare.iter().take(SPARE_FILES_MAX).take_while(|(_, len, _)| {
            bytes = bytes.saturating_add(*len);
            bytes <= bytes_max
        });
        let kept: BTreeSet<Digest> = fits.map(|(_, _, digest)| *digest).collect();
        for path in paths {
            if !named(&path).is_some_and(|digest| wanted.contains(&digest) || kept.contains(&digest)) {
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn code_that_nobody_wants_is_spare_and_goes_with_its_signatures() {
        let dir = tempfile::tempdir().unwrap();
        let store = CodeStore::new(dir.path().to_owned());
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        store.put(&a, b"a", b"of a").unwrap();
        store.put(&b, b"b", b"").unwrap();
        store.put(&a, b"a", b"").unwrap();
        assert_eq!(store.signatures(&a).unwrap(), b"of a");
        fs::write(dir.path().join("half.new"), b"x").unwrap();
        store.keep(&BTreeSet::from([b]));
        assert_eq!(
            (&*store.get(&a).unwrap().unwrap(), &*store.signatures(&a).unwrap()),
            (&b"a"[..], &b"of a"[..])
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        store.keep_only(&BTreeSet::from([b]));
        assert!(store.get(&a).unwrap().is_none() && store.signatures(&a).unwrap().is_empty());
        assert_eq!(&*store.get(&b).unwrap().unwrap(), b"b");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn spare_code_has_a_bound_and_what_was_wanted_longest_ago_leaves_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = CodeStore::new(dir.path().to_owned());
        let all: Vec<Digest> = (0..=SPARE_FILES_MAX as u64).map(|i| Digest::of(&i.to_be_bytes())).collect();
        for (i, digest) in all.iter().enumerate() {
            let bytes = (i as u64).to_be_bytes();
            store.put(digest, &bytes, b"").unwrap();
            let wanted_at = SystemTime::UNIX_EPOCH + Duration::from_secs(i as u64);
            File::open(store.file(digest)).unwrap().set_modified(wanted_at).unwrap();
        }
        // Wanted again, and so the last of all.
        store.put(&all[0], &0_u64.to_be_bytes(), b"").unwrap();
        store.keep(&BTreeSet::new());
        let gone: Vec<usize> = (0..all.len()).filter(|&i| store.get(&all[i]).unwrap().is_none()).collect();
        assert_eq!(gone, [1]);
        store.keep_spare(&BTreeSet::new(), 16);
        let kept: Vec<usize> = (0..all.len()).filter(|&i| store.get(&all[i]).unwrap().is_some()).collect();
        assert_eq!(kept, [0, all.len() - 1]);
    }

    #[test]
    fn a_damaged_file_is_not_taken_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let store = CodeStore::new(dir.path().to_owned());
        let digest = Digest::of(b"code");
        fs::write(store.file(&digest), b"c0de").unwrap();
        assert!(store.get(&digest).unwrap().is_none());
        store.put(&digest, b"code", b"").unwrap();
        assert_eq!(&*store.get(&digest).unwrap().unwrap(), b"code");
    }
}
