//! The capability `kv`: keys and values in the node's state, within the service's limit.

use std::cell::Cell;
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
}

impl Kv {
    pub(crate) fn new(store: Arc<dyn StateStore>, service: Arc<str>, bytes_max: u64) -> Self {
        Self { store, service, bytes_max: Cell::new(bytes_max), used: Cell::new(None) }
    }

    /// Puts another limit in force.
    pub(crate) fn allow(&self, bytes_max: u64) {
        self.bytes_max.set(bytes_max);
    }

    fn used(&self) -> Result<u64, StoreError> {
        match self.used.get() {
            Some(used) => Ok(used),
            None => self.store.kv_used(&self.service).inspect(|used| self.used.set(Some(*used))),
        }
    }

    /// The bytes that this key and its value take up now.
    fn size_of(&self, key: &str) -> Result<u64, StoreError> {
        Ok(self.store.kv_get(&self.service, key)?.map_or(0, |value| (key.len() + value.len()) as u64))
    }

    /// Whether there was room.
    fn set(&self, key: &str, value: &[u8]) -> Result<bool, StoreError> {
        let without = self.used()?.saturating_sub(self.size_of(key)?);
        let with = without.saturating_add((key.len() + value.len()) as u64);
        if with > self.bytes_max.get() {
            return Ok(false);
        }
        self.store.kv_set(&self.service, key, value)?;
        self.used.set(Some(with));
        Ok(true)
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        let without = self.used()?.saturating_sub(self.size_of(key)?);
        let was = self.store.kv_delete(&self.service, key)?;
        self.used.set(Some(without));
        Ok(was)
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
        let Kv { store, service, .. } = &self.env.kv;
        if is_key(&key) { said(&self.env.log, store.kv_get(service, &key)).ok().flatten() } else { None }
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), kv::KvError> {
        if !is_key(&key) {
            return Err(kv::KvError::BadKey);
        }
        match said(&self.env.log, self.env.kv.set(&key, &value))? {
            true => Ok(()),
            false => Err(kv::KvError::Full),
        }
    }

    fn delete(&mut self, key: String) -> Result<bool, kv::KvError> {
        if !is_key(&key) {
            return Err(kv::KvError::BadKey);
        }
        said(&self.env.log, self.env.kv.delete(&key))
    }

    fn keys(&mut self, prefix: String) -> Vec<String> {
        let Kv { store, service, .. } = &self.env.kv;
        said(&self.env.log, store.kv_keys(service, &prefix, KEYS_MAX)).unwrap_or_default()
    }
}
