//! What must survive `kill -9`: which services are wanted, their code, and what they stored.
//!
//! | module | what |
//! | --- | --- |
//! | [`directory`] | the data directory: its mode, its lock, whole files |
//! | [`desired`] | the services that are wanted |
//! | [`placements`] | services that run on other nodes |
//! | `code` | their code, by digest |
//! | `policy` | the generations of their policies, and the texts |
//! | `kv` | what they stored, as [`crate::proxylet::state_store::StateStore`] |
//! | `database` | the file `state.redb` |
//! | [`error`] | why the disk did not do what was asked |
//!
//! Every change is one transaction, on disk when the call returns. The calls block; they are made from threads that may.

mod code;
mod database;
pub mod desired;
pub mod directory;
pub mod error;
mod kv;
pub mod placements;
mod policy;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::ReadableTable as _;

use crate::proxylet::digest::{Digest, Digested};
use crate::state::code::CodeStore;
use crate::state::database::Store;
use crate::state::desired::{Desired, SERVICES, Unreadable};
use crate::state::directory::Directory;
use crate::state::error::StateError;
use crate::state::placements::{PLACEMENTS, Placement};

/// All that a node keeps.
#[derive(Debug)]
pub struct State {
    directory: Directory,
    store: Store,
    code: CodeStore,
    /// Held while code and services change together, so that no code is removed between its coming and its service.
    changes: Mutex<()>,
}

impl State {
    /// Opens a data directory, or makes it.
    ///
    /// # Errors
    /// It cannot be written, another node has it, or what is in it cannot be read.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let directory = Directory::take(path)?;
        let store = Store::open(directory.path().join("state.redb"))?;
        store.write(|txn| {
            txn.open_table(SERVICES)?;
            policy::create(txn)?;
            txn.open_table(PLACEMENTS)?;
            kv::create(txn)
        })?;
        let code = CodeStore::new(directory.sub("store")?);
        let state = Self { directory, store, code, changes: Mutex::new(()) };
        state.tidy_code();
        Ok(state)
    }

    /// The data directory.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The wanted services, by name.
    ///
    /// # Errors
    /// The database cannot be read, or one entry in it cannot.
    pub fn services(&self) -> Result<Vec<Desired>, StateError> {
        let all = self.store.read(desired::all)?;
        all.into_iter()
            .map(|entry| {
                entry.map_err(|Unreadable { name, why }| {
                    let cause = error::Cause::Database(format!("the entry of the service {name:?}: {why}"));
                    StateError::new("cannot read", self.store.path(), cause)
                })
            })
            .collect()
    }

    /// Wants a service, in place of what had its name. Its code is kept with it, and the code's signatures where there
    /// are any.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn put(&self, service: &Desired, code: &[u8], signatures: &[u8]) -> Result<(), StateError> {
        self.put_beside(service, code, signatures)?;
        self.tidy();
        Ok(())
    }

    /// The same, and the code that it had before stays until [`Self::tidy`].
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn put_beside(&self, service: &Desired, code: &[u8], signatures: &[u8]) -> Result<(), StateError> {
        let _changes = self.lock();
        let put = || {
            self.code.put(&service.sha256, code, signatures)?;
            self.update(service)
        };
        self.in_room_of_spare(put)
    }

    /// Does what may need room on the disk, once more without the code that nobody wants where there is none. What is not
    /// wanted after all is not kept.
    fn in_room_of_spare<T>(&self, put: impl Fn() -> Result<T, StateError>) -> Result<T, StateError> {
        put().or_else(|_| {
            self.forget_code();
            put().inspect_err(|_| self.forget_code())
        })
    }

    /// Removes all code that no wanted service has.
    pub fn forget_spare(&self) {
        let _changes = self.lock();
        self.forget_code();
    }

    /// Removes code that no wanted service has, but for what was wanted last.
    pub fn tidy(&self) {
        let _changes = self.lock();
        self.tidy_code();
    }

    /// Changes what is wanted of a service whose code is kept.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn update(&self, service: &Desired) -> Result<(), StateError> {
        let json = serde_json::to_vec(service).map_err(|e| {
            StateError::new("cannot write", self.store.path(), error::Cause::Database(e.to_string()))
        })?;
        self.store.write(|txn| {
            txn.open_table(SERVICES)?.insert(service.name.as_str(), json.as_slice())?;
            Ok(())
        })
    }

    /// Wants a service no longer, and forgets what it stored.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let _changes = self.lock();
        self.store.write(|txn| {
            txn.open_table(SERVICES)?.remove(name)?;
            policy::forget(txn, name)?;
            kv::forget(txn, name)
        })?;
        self.tidy_code();
        Ok(())
    }

    /// Services that this node has placed on others, by name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn placements(&self) -> Result<Vec<Placement>, StateError> {
        self.store.read(placements::all)
    }

    /// Writes down a new placed service, with its code and the code's signatures; false where there is one of its name.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn add_placement(
        &self,
        placement: &Placement,
        code: &[u8],
        signatures: &[u8],
    ) -> Result<bool, StateError> {
        self.put_placement(placement, code, signatures, |known| known.is_none())
    }

    /// Writes down who may run a placed service, in place of what was said of it; false where it was withdrawn, or changed
    /// by somebody else, since that was read.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn change_placement(&self, placement: &Placement) -> Result<bool, StateError> {
        let _changes = self.lock();
        self.write_placement(placement, placement.replaces())
    }

    /// The same, with other code for it.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn change_placed_code(
        &self,
        placement: &Placement,
        code: &[u8],
        signatures: &[u8],
    ) -> Result<bool, StateError> {
        self.put_placement(placement, code, signatures, placement.replaces())
    }

    fn put_placement(
        &self,
        placement: &Placement,
        code: &[u8],
        signatures: &[u8],
        is_right: impl Fn(Option<u64>) -> bool,
    ) -> Result<bool, StateError> {
        let _changes = self.lock();
        let put = || {
            self.code.put(&placement.sha256, code, signatures)?;
            self.write_placement(placement, &is_right)
        };
        let done = self.in_room_of_spare(put)?;
        if !done {
            self.tidy_code();
        }
        Ok(done)
    }

    /// Writes a placement where its epoch on disk, if any, is right.
    fn write_placement(
        &self,
        placement: &Placement,
        is_right: impl Fn(Option<u64>) -> bool,
    ) -> Result<bool, StateError> {
        let json = serde_json::to_vec(placement).map_err(|e| {
            StateError::new("cannot write", self.store.path(), error::Cause::Database(e.to_string()))
        })?;
        self.store.write(|txn| {
            let mut table = txn.open_table(PLACEMENTS)?;
            let known = table.get(placement.name.as_str())?.map(|json| placements::epoch(json.value()));
            let right = is_right(known);
            if right {
                table.insert(placement.name.as_str(), json.as_slice())?;
            }
            Ok(right)
        })
    }

    /// Forgets a placed service.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn remove_placement(&self, name: &str) -> Result<(), StateError> {
        let _changes = self.lock();
        self.store.write(|txn| {
            txn.open_table(PLACEMENTS)?.remove(name)?;
            Ok(())
        })?;
        self.tidy_code();
        Ok(())
    }

    /// Forgets what a service stored, and not that it is wanted.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn forget(&self, name: &str) -> Result<(), StateError> {
        // As a rule there is nothing, and reading costs no wait for the disk.
        if self.store.read(|txn| kv::is_stored(txn, name))? {
            self.store.write(|txn| kv::forget(txn, name))?;
        }
        Ok(())
    }

    /// The kept code; none where there is none or where it was damaged.
    ///
    /// # Errors
    /// The file is there but cannot be read.
    pub fn code(&self, digest: &Digest) -> Result<Option<Digested>, StateError> {
        self.code.get(digest)
    }

    /// The kept signatures of code; empty where there are none.
    ///
    /// # Errors
    /// The file is there but cannot be read.
    pub fn signatures(&self, digest: &Digest) -> Result<Vec<u8>, StateError> {
        self.code.signatures(digest)
    }

    /// Keeps the signatures of code that is kept.
    ///
    /// # Errors
    /// Those from before are unchanged.
    pub fn put_signatures(&self, digest: &Digest, signatures: &[u8]) -> Result<(), StateError> {
        let _changes = self.lock();
        self.code.put_signatures(digest, signatures)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes code that no wanted service has, but for what was wanted last.
    fn tidy_code(&self) {
        if let Some(wanted) = self.code_wanted() {
            self.code.keep(&wanted);
        }
    }

    /// Removes all code that no wanted service has.
    fn forget_code(&self) {
        if let Some(wanted) = self.code_wanted() {
            self.code.keep_only(&wanted);
        }
    }

    /// The code of wanted services. Where they cannot be read, nobody knows, and all code is kept.
    fn code_wanted(&self) -> Option<BTreeSet<Digest>> {
        let (services, placements) = (self.services().ok()?, self.placements().ok()?);
        Some(services.iter().map(|s| s.sha256).chain(placements.iter().map(|p| p.sha256)).collect())
    }
}
