//! The database file, opened again after an I/O error.

use std::path::{Path, PathBuf};

use std::sync::{PoisonError, RwLock};

use redb::{Database, ReadTransaction, WriteTransaction};

use crate::state::error::{Cause, StateError};

/// Pages kept in memory, in bytes. The state of a node is small; what is hot are a few checkpoints.
const CACHE_BYTES: usize = 16 << 20;

/// A database in one file.
///
/// After an I/O error (a full disk) the library refuses everything until the file is opened anew, so that it can check
/// what is on disk. That is done here with the next call: when there is room again, the node works again.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    open: RwLock<Option<Database>>,
}

impl Store {
    pub(crate) fn open(path: PathBuf) -> Result<Self, StateError> {
        let store = Self { open: RwLock::new(None), path };
        store.reopen()?;
        Ok(store)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads.
    pub(crate) fn read<T>(
        &self,
        act: impl Fn(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        self.with("cannot read", |db| act(&redb::ReadableDatabase::begin_read(db)?))
    }

    /// Writes; all of it is on disk when this returns, or none of it.
    pub(crate) fn write<T>(
        &self,
        act: impl Fn(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        self.with("cannot write", |db| {
            let txn = db.begin_write()?;
            let done = act(&txn)?;
            txn.commit()?;
            Ok(done)
        })
    }

    fn with<T>(
        &self,
        what: &'static str,
        act: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        let attempt = || match &*self.open.read().unwrap_or_else(PoisonError::into_inner) {
            Some(db) => act(db),
            None => Err(redb::Error::PreviousIo),
        };
        let done = match attempt() {
            Err(redb::Error::PreviousIo) => {
                self.reopen()?;
                attempt()
            }
            done => done,
        };
        done.map_err(|e| StateError::new(what, &self.path, e))
    }

    fn reopen(&self) -> Result<(), StateError> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // Closed first: the library holds a lock on the file.
        *open = None;
        let db = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&self.path)
            .map_err(|e| StateError::new("cannot open", &self.path, Cause::from(redb::Error::from(e))))?;
        *open = Some(db);
        Ok(())
    }
}
