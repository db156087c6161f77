//! The capability `kv`: keys and values in the node's state, within the service's limit.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::host::Host;
use crate::host::bindings::eep::proxylet::kv;
use crate::host::log::LogGate;
use crate::proxylet::state_store::{StateStore, StoreError};

/// Bytes of a key.
const KEY_BYTES_MAX: usize = 256;
/// Keys that one call lists.
const KEYS_MAX: usize = 1_024;

/// One service's view of the store.
#[derive(Debug)]
pub(crate) struct Kv {
    store: Arc<dyn StateStore>,
    service: Arc<str>,
    bytes_max: Cell<u64>,
    /// Bytes used, once they are known.
    used: Cell<Option<u64>>,
    trial: RefCell<Option<Trial>>,
}

/// What a version that may yet be taken back has changed: the store has it when the version stays. Where the node is
/// killed meanwhile it comes back with the former version, and with what that one had.
///
/// Bounded by the service's limit: what was set counts against it, and what was removed was stored within it.
#[derive(Debug, Default)]
struct Trial {
    /// What each key has now; none where it was removed.
    changes: BTreeMap<String, Option<Vec<u8>>>,
}

impl Kv {
    pub(crate) fn new(store: Arc<dyn StateStore>, service: Arc<str>, bytes_max: u64) -> Self {
        Self {
            store,
            service,
            bytes_max: Cell::new(bytes_max),
            used: Cell::new(None),
            trial: RefCell::default(),
        }
    }

    /// Puts another limit in force.
    pub(crate) fn allow(&self, bytes_max: u64) {
        self.bytes_max.set(bytes_max);
    }

    /// From here on, what changes waits for [`Self::keep_trial`] or [`Self::end_trial`].
    pub(crate) fn begin_trial(&self) {
        self.end_trial();
        *self.trial.borrow_mut() = Some(Trial::default());
    }

    /// Stores what has changed since [`Self::begin_trial`], all of it or, where the store fails, nothing: the trial
    /// goes on then.
    pub(crate) fn keep_trial(&self) -> Result<(), StoreError> {
        let mut trial = self.trial.borrow_mut();
        if let Some(Trial { changes }) = trial.as_ref()
            && !changes.is_empty()
        {
            self.store.kv_apply(&self.service, changes)?;
        }
        *trial = None;
        Ok(())
    }

    /// Forgets what has changed since [`Self::begin_trial`]. Nothing where that was kept.
    pub(crate) fn end_trial(&self) {
        if self.trial.take().is_some() {
            self.used.set(None);
        }
    }

    fn used(&self) -> Result<u64, StoreError> {
        match self.used.get() {
            Some(used) => Ok(used),
            None => self.store.kv_used(&self.service).inspect(|used| self.used.set(Some(*used))),
        }
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let changed = self.trial.borrow().as_ref().and_then(|trial| trial.changes.get(key).cloned());
        changed.map_or_else(|| self.store.kv_get(&self.service, key), Ok)
    }

    /// The bytes that this key and its value take up now.
    fn size_of(&self, key: &str) -> Result<u64, StoreError> {
        Ok(self.get(key)?.map_or(0, |value| (key.len() + value.len()) as u64))
    }

    /// Whether there was room.
    fn set(&self, key: String, value: Vec<u8>) -> Result<bool, StoreError> {
        let without = self.used()?.saturating_sub(self.size_of(&key)?);
        let with = without.saturating_add((key.len() + value.len()) as u64);
        if with > self.bytes_max.get() {
            return Ok(false);
        }
        match self.trial.borrow_mut().as_mut() {
            Some(trial) => drop(trial.changes.insert(key, Some(value))),
            None => self.store.kv_set(&self.service, &key, &value)?,
        }
        self.used.set(Some(with));
        Ok(true)
    }

    fn delete(&self, key: String) -> Result<bool, StoreError> {
        let without = self.used()?.saturating_sub(self.size_of(&key)?);
        let was = match self.trial.borrow_mut().as_mut() {
            Some(trial) => {
                let stored = self.store.kv_get(&self.service, &key)?.is_some();
                let is_there = trial.changes.get(&key).map_or(stored, Option::is_some);
                if stored {
                    trial.changes.insert(key, None);
                } else {
                    trial.changes.remove(&key);
                }
                is_there
            }
            None => self.store.kv_delete(&self.service, &key)?,
        };
        self.used.set(Some(without));
        Ok(was)
    }

    /// The first [`KEYS_MAX`] keys that begin so.
    fn keys(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let trial = self.trial.borrow();
        let Some(Trial { changes }) = trial.as_ref() else {
            return self.store.kv_keys(&self.service, prefix, KEYS_MAX);
        };
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let changed = || changes.range::<str, _>(from).take_while(|(key, _)| key.starts_with(prefix));
        let removed = changed().filter(|(_, value)| value.is_none()).count();
        let stored = self.store.kv_keys(&self.service, prefix, KEYS_MAX + removed)?;
        let mut keys: BTreeSet<String> = stored.into_iter().collect();
        for (key, value) in changed() {
            match value {
                Some(_) => drop(keys.insert(key.clone())),
                None => drop(keys.remove(key)),
            }
        }
        Ok(keys.into_iter().take(KEYS_MAX).collect())
    }
}

fn is_key(key: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len())
}

/// What the store said; where it failed, the operator reads why.
fn said<T>(log: &LogGate, result: Result<T, StoreError>) -> Result<T, kv::KvError> {
    result.map_err(|error| {
        log.node_error(&format!("kv: the node's state: {error}"));
        kv::KvError::Unavailable
    })
}

impl kv::Host for Host {
    fn get(&mut self, key: String) -> Option<Vec<u8>> {
        if is_key(&key) { said(&self.env.log, self.env.kv.get(&key)).ok().flatten() } else { None }
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), kv::KvError> {
        if !is_key(&key) {
            return Err(kv::KvError::BadKey);
        }
        match said(&self.env.log, self.env.kv.set(key, value))? {
            true => Ok(()),
            false => Err(kv::KvError::Full),
        }
    }

    fn delete(&mut self, key: String) -> Result<bool, kv::KvError> {
        if !is_key(&key) {
            return Err(kv::KvError::BadKey);
        }
        said(&self.env.log, self.env.kv.delete(key))
    }

    fn keys(&mut self, prefix: String) -> Vec<String> {
        said(&self.env.log, self.env.kv.keys(&prefix)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::state::State;

    /// Keys and values that a service has.
    fn all(kv: &Kv) -> Vec<(String, Vec<u8>)> {
        let value = |key: String| (key.clone(), kv.get(&key).unwrap().unwrap());
        kv.keys("").unwrap().into_iter().map(value).collect()
    }

    /// Sets a key to as many bytes, or removes it.
    fn change(kv: &Kv, key: u8, len: Option<u8>) -> bool {
        let key = format!("k{key}");
        match len {
            Some(len) => kv.set(key, vec![len; len.into()]).unwrap(),
            None => kv.delete(key).unwrap(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_trial_is_as_the_store_would_be_and_leaves_nothing_where_it_ends(
            before in vec((0..6_u8, proptest::option::of(0..40_u8)), 0..8),
            tried in vec((0..6_u8, proptest::option::of(0..40_u8)), 0..12),
            kept: bool,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let store = Arc::new(State::open(dir.path()).unwrap());
            let [trial, plain, former] = ["trial", "plain", "former"].map(|service| {
                Kv::new(Arc::clone(&store) as Arc<dyn StateStore>, service.into(), 100)
            });
            for (key, len) in before {
                for kv in [&trial, &plain, &former] {
                    change(kv, key, len);
                }
            }
            trial.begin_trial();
            for (key, len) in tried {
                prop_assert_eq!(change(&trial, key, len), change(&plain, key, len));
                prop_assert_eq!(all(&trial), all(&plain));
                prop_assert_eq!(trial.used().unwrap(), plain.used().unwrap());
                prop_assert_eq!(store.kv_used("trial").unwrap(), former.used().unwrap());
            }
            if kept {
                trial.keep_trial().unwrap();
            }
            trial.end_trial();
            let expected = if kept { &plain } else { &former };
            prop_assert_eq!(all(&trial), all(expected));
            prop_assert_eq!(trial.used().unwrap(), expected.used().unwrap());
            prop_assert_eq!(store.kv_used("trial").unwrap(), expected.used().unwrap());
        }
    }
}
