//! What services store: keys and values, and the state that they saved.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable as _, TableDefinition, WriteTransaction};

use crate::proxylet::digest::{Digest, Digested};
use crate::proxylet::state_store::{Checkpoint, StateStore, StoreError};
use crate::state::State;
use crate::state::error::StateError;

/// Service and key to value.
const KV: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("kv");
/// Service to the bytes of its keys and values, kept with them.
const KV_USED: TableDefinition<'_, &str, u64> = TableDefinition::new("kv-used");
/// Service to its clock in nanoseconds and its state.
const CHECKPOINTS: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("checkpoints");

/// Makes the tables, so that reading finds them.
pub(crate) fn create(txn: &WriteTransaction) -> Result<(), redb::Error> {
    txn.open_table(KV)?;
    txn.open_table(KV_USED)?;
    txn.open_table(CHECKPOINTS)?;
    Ok(())
}

/// Whether a service stored anything.
pub(crate) fn is_stored(txn: &ReadTransaction, service: &str) -> Result<bool, redb::Error> {
    Ok(txn.open_table(KV_USED)?.get(service)?.is_some()
        || txn.open_table(CHECKPOINTS)?.get(service)?.is_some())
}

/// Forgets all that a service stored.
pub(crate) fn forget(txn: &WriteTransaction, service: &str) -> Result<(), redb::Error> {
    let mut kv = txn.open_table(KV)?;
    let mut keys = Vec::new();
    for entry in kv.range((service, "")..)? {
        let (key, _) = entry?;
        let (owner, key) = key.value();
        if owner != service {
            break;
        }
        keys.push(key.to_owned());
    }
    for key in keys {
        kv.remove((service, key.as_str()))?;
    }
    txn.open_table(KV_USED)?.remove(service)?;
    txn.open_table(CHECKPOINTS)?.remove(service)?;
    Ok(())
}

fn keys(txn: &ReadTransaction, service: &str, prefix: &str, max: usize) -> Result<Vec<String>, redb::Error> {
    let table = txn.open_table(KV)?;
    let mut keys = Vec::new();
    for entry in table.range((service, prefix)..)? {
        let (key, _) = entry?;
        let (owner, key) = key.value();
        if owner != service || !key.starts_with(prefix) || keys.len() == max {
            break;
        }
        keys.push(key.to_owned());
    }
    Ok(keys)
}

/// Sets keys, and removes those without a value; whether any of them was there.
fn change<'a>(
    txn: &WriteTransaction,
    service: &str,
    changes: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>,
) -> Result<bool, redb::Error> {
    let (mut kv, mut used) = (txn.open_table(KV)?, txn.open_table(KV_USED)?);
    let mut total = used.get(service)?.map_or(0, |n| n.value());
    let (mut was, mut touched) = (false, false);
    for (key, value) in changes {
        let former = match value {
            Some(value) => kv.insert((service, key), value)?,
            None => kv.remove((service, key))?,
        };
        let former = former.map(|old| size(key, old.value()));
        was |= former.is_some();
        touched |= former.is_some() || value.is_some();
        total = total.saturating_sub(former.unwrap_or(0)) + value.map_or(0, |value| size(key, value));
    }
    if touched {
        used.insert(service, total)?;
    }
    Ok(was)
}

/// How many bytes a pair counts for.
fn size(key: &str, value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

fn told(error: StateError) -> StoreError {
    StoreError::new(error)
}

impl StateStore for State {
    fn kv_get(&self, service: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store
            .read(|txn| Ok(txn.open_table(KV)?.get((service, key))?.map(|v| v.value().to_vec())))
            .map_err(told)
    }

    fn kv_set(&self, service: &str, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.store.write(|txn| change(txn, service, [(key, Some(value))]).map(drop)).map_err(told)
    }

    fn kv_delete(&self, service: &str, key: &str) -> Result<bool, StoreError> {
        self.store.write(|txn| change(txn, service, [(key, None)])).map_err(told)
    }

    fn kv_apply(&self, service: &str, changes: &BTreeMap<String, Option<Vec<u8>>>) -> Result<(), StoreError> {
        let changes = || changes.iter().map(|(key, value)| (key.as_str(), value.as_deref()));
        self.store.write(|txn| change(txn, service, changes()).map(drop)).map_err(told)
    }

    fn kv_keys(&self, service: &str, prefix: &str, max: usize) -> Result<Vec<String>, StoreError> {
        self.store.read(|txn| keys(txn, service, prefix, max)).map_err(told)
    }

    fn kv_used(&self, service: &str) -> Result<u64, StoreError> {
        self.store
            .read(|txn| Ok(txn.open_table(KV_USED)?.get(service)?.map_or(0, |n| n.value())))
            .map_err(told)
    }

    fn checkpoint(&self, service: &str) -> Result<Option<Checkpoint>, StoreError> {
        self.store
            .read(|txn| {
                Ok(txn.open_table(CHECKPOINTS)?.get(service)?.map(|kept| {
                    let (now_ns, state) = kept.value();
                    Checkpoint { now_ns, state: state.to_vec().into() }
                }))
            })
            .map_err(told)
    }

    fn put_checkpoint(&self, service: &str, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.store
            .write(|txn| {
                let kept = (checkpoint.now_ns, checkpoint.state.as_ref());
                txn.open_table(CHECKPOINTS)?.insert(service, kept)?;
                Ok(())
            })
            .map_err(told)
    }

    fn code(&self, digest: &Digest) -> Option<Vec<u8>> {
        State::code(self, digest).ok().flatten().map(Digested::into_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_do_not_see_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        state.kv_set("a", "host/1", b"one").unwrap();
        state.kv_set("a", "host/2", b"two").unwrap();
        state.kv_set("a", "x", b"").unwrap();
        state.kv_set("b", "host/3", b"three").unwrap();
        assert_eq!(state.kv_keys("a", "host/", 10).unwrap(), ["host/1", "host/2"]);
        assert_eq!(state.kv_keys("a", "", 2).unwrap(), ["host/1", "host/2"]);
        assert_eq!(state.kv_keys("b", "", 10).unwrap(), ["host/3"]);
        assert_eq!(state.kv_get("a", "host/2").unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(state.kv_get("b", "host/2").unwrap(), None);
    }

    #[test]
    fn what_is_used_follows_every_change() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        state.kv_set("a", "key", &[0; 10]).unwrap();
        state.kv_set("a", "key", &[0; 4]).unwrap();
        state.kv_set("a", "k2", &[0; 2]).unwrap();
        assert_eq!(state.kv_used("a").unwrap(), 7 + 4);
        assert!(state.kv_delete("a", "key").unwrap());
        assert!(!state.kv_delete("a", "key").unwrap());
        assert_eq!((state.kv_used("a").unwrap(), state.kv_used("b").unwrap()), (4, 0));
    }

    #[test]
    fn everything_is_there_after_opening_again_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Checkpoint { now_ns: 7, state: vec![1, 2, 3].into() };
        {
            let state = State::open(dir.path()).unwrap();
            state.kv_set("a", "k", b"v").unwrap();
            state.put_checkpoint("a", &kept).unwrap();
        }
        let state = State::open(dir.path()).unwrap();
        assert_eq!(state.checkpoint("a").unwrap(), Some(kept));
        assert_eq!(state.kv_get("a", "k").unwrap().as_deref(), Some(&b"v"[..]));
        state.remove("a").unwrap();
        assert_eq!(state.checkpoint("a").unwrap(), None);
        assert_eq!((state.kv_get("a", "k").unwrap(), state.kv_used("a").unwrap()), (None, 0));
    }
}
