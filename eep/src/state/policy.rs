//! Policies: which generation of each service is in force, and the texts of all that are kept.

use std::collections::BTreeSet;

use redb::{ReadableTable as _, TableDefinition, WriteTransaction};

use crate::policy::generation::Kept;
use crate::policy::texts::Texts;
use crate::policy::usage::Usage;
use crate::proxylet::digest::Digest;
use crate::state::State;
use crate::state::error::{Cause, StateError};

/// Service to [`Kept`] as JSON.
const POLICIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("policies");
/// SHA-256 to the text.
const TEXTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("policy-texts");

/// Service to what is used of its budgets, as JSON.
const USAGE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("policy-usage");

/// Makes the tables, so that reading finds them.
pub(crate) fn create(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(POLICIES)?;
    txn.open_table(TEXTS)?;
    txn.open_table(USAGE)?;
    Ok(())
}

/// Forgets a service's policy with all its generations.
pub(crate) fn forget(txn: &WriteTransaction, service: &str) -> Result<(), redb::Error> {
    txn.open_table(USAGE)?.remove(service)?;
    if txn.open_table(POLICIES)?.remove(service)?.is_some() {
        sweep(txn)?;
    }
    Ok(())
}

/// Forgets texts that no generation was read from.
fn sweep(txn: &WriteTransaction) -> Result<(), redb::Error> {
    let mut needed: BTreeSet<Digest> = BTreeSet::new();
    for entry in txn.open_table(POLICIES)?.iter()? {
        let (_, json) = entry?;
        // What cannot be read needs texts that nobody knows: none is forgotten.
        let Ok(kept) = serde_json::from_slice::<Kept>(json.value()) else { return Ok(()) };
        needed.extend(kept.history.iter().flat_map(|g| g.texts.values()));
    }
    txn.open_table(TEXTS)?.retain(|digest, _| {
        <[u8; 32]>::try_from(digest).is_ok_and(|digest| needed.contains(&Digest::from(digest)))
    })?;
    Ok(())
}

impl State {
    /// What is kept of a service's policy; none where it never had one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn policy(&self, service: &str) -> Result<Option<Kept>, StateError> {
        let json = self
            .store
            .read(|txn| Ok(txn.open_table(POLICIES)?.get(service)?.map(|json| json.value().to_owned())))?;
        let Some(json) = json else { return Ok(None) };
        serde_json::from_slice(&json).map(Some).map_err(|e| {
            let cause = Cause::Database(format!("the policy of the service {service:?}: {e}"));
            StateError::new("cannot read", self.store.path(), cause)
        })
    }

    /// Keeps a service's generations and the texts of the newest; on disk when this returns.
    ///
    /// # Errors
    /// Nothing was changed.
    pub(crate) fn put_policy(&self, service: &str, kept: &Kept, texts: &Texts) -> Result<(), StateError> {
        let json = serde_json::to_vec(kept).map_err(|e| {
            StateError::new("cannot write", self.store.path(), Cause::Database(e.to_string()))
        })?;
        self.store.write(|txn| {
            txn.open_table(POLICIES)?.insert(service, json.as_slice())?;
            let mut all = txn.open_table(TEXTS)?;
            for text in texts.0.values() {
                let digest = Digest::of(text.as_bytes());
                if all.get(digest.bytes().as_slice())?.is_none() {
                    all.insert(digest.bytes().as_slice(), text.as_bytes())?;
                }
            }
            drop(all);
            sweep(txn)
        })
    }

    /// A text by its digest; none where it is not kept.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn policy_text(&self, digest: &Digest) -> Result<Option<String>, StateError> {
        let bytes = self.store.read(|txn| {
            let table = txn.open_table(TEXTS)?;
            Ok(table.get(digest.bytes().as_slice())?.map(|text| text.value().to_owned()))
        })?;
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// What is used of a service's budgets.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn policy_usage(&self, service: &str) -> Result<Usage, StateError> {
        let json = self
            .store
            .read(|txn| Ok(txn.open_table(USAGE)?.get(service)?.map(|json| json.value().to_owned())))?;
        // Of another version: what was used is not known, and that is no reason to do without the service.
        Ok(json.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default())
    }

    /// Keeps what is used of a service's budgets.
    ///
    /// # Errors
    /// What was kept before still is.
    pub(crate) fn put_policy_usage(&self, service: &str, usage: &Usage) -> Result<(), StateError> {
        let json = serde_json::to_vec(usage).map_err(|e| {
            StateError::new("cannot write", self.store.path(), Cause::Database(e.to_string()))
        })?;
        self.store.write(|txn| {
            txn.open_table(USAGE)?.insert(service, json.as_slice())?;
            Ok(())
        })
    }

    /// Forgets a service's policy with all its generations.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn forget_policy(&self, service: &str) -> Result<(), StateError> {
        if self.policy(service)?.is_some() {
            self.store.write(|txn| forget(txn, service))?;
        }
        Ok(())
    }
}
