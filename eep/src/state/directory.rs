//! The data directory: made on first use, readable by its user alone, used by one node at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::state::error::{Cause, StateError};

/// A data directory that this process alone uses. Released when dropped, and by the system when the process dies.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl Directory {
    /// Makes the directory where it is missing (mode 0700) and takes its lock.
    ///
    /// # Errors
    /// It cannot be made or written, or another process has it.
    pub fn take(path: &Path) -> Result<Self, StateError> {
        let path = std::path::absolute(path).map_err(|e| StateError::new("cannot use", path, e))?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|e| StateError::new("cannot make the data directory", &path, e))?;
        let file = lock_file(&path);
        let refuse = |e: std::io::Error| StateError::new("cannot write", &file, e);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .map_err(refuse)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = pid_in(&mut lock);
                return Err(StateError::new("cannot use", &path, Cause::Locked { pid }));
            }
            Err(TryLockError::Error(e)) => return Err(refuse(e)),
        }
        lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id())).map_err(refuse)?;
        Ok(Self { path, _lock: lock })
    }

    /// The directory's absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in it, made where it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn sub(&self, name: &str) -> Result<PathBuf, StateError> {
        let path = self.path.join(name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|e| StateError::new("cannot make the directory", &path, e))?;
        Ok(path)
    }
}

/// The file whose lock says that a node uses the directory, and that holds the node's process id.
fn lock_file(directory: &Path) -> PathBuf {
    directory.join("eep.lock")
}

/// The node's Unix control socket in a data directory.
#[must_use]
pub fn control_socket(directory: &Path) -> PathBuf {
    directory.join("eep.sock")
}

fn pid_in(lock: &mut File) -> Option<u32> {
    // A process id has at most ten digits.
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Writes a file so that it is either there whole, after a crash too, or not at all.
///
/// # Errors
/// It could not be written; what had this name before is unchanged.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let new = path.with_extension("new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, path))
        .and_then(|()| path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all()));
    written.map_err(|e| {
        // Half a file under the other name is of no use, and the first error is the one to tell.
        let _ = fs::remove_file(&new);
        StateError::new("cannot write", path, e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn one_node_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let first = Directory::take(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let told = Directory::take(&path).unwrap_err();
        let pid = std::process::id();
        assert_eq!(
            told.to_string(),
            format!("cannot use {}: another node (process {pid}) uses this directory", path.display())
        );
        drop(first);
        Directory::take(&path).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"").unwrap();
        assert!(
            Directory::take(&path).unwrap_err().to_string().starts_with("cannot make the data directory")
        );
    }
}
