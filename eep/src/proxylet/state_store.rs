//! Where a service's state outlives the service; `eep/src/state` answers.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::proxylet::digest::Digest;

/// Why the store did not do what was asked; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    /// Wraps what the storage said.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// What a service saved for its next instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The service's clock when it was taken, in nanoseconds; the next instance's clock does not start before it.
    pub now_ns: u64,
    /// The proxylet's own encoding.
    pub state: Bytes,
}

/// What must survive `kill -9` for one service each, named by `service`. Calls block until the disk has it; they come
/// from the services' own threads.
///
/// The store does not enforce the service's `kv` limit: it only says how much is used.
pub trait StateStore: Send + Sync + fmt::Debug {
    /// What was set under `key`.
    ///
    /// # Errors
    /// The store cannot be read.
    fn kv_get(&self, service: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Stores a value; on disk when this returns.
    ///
    /// # Errors
    /// Nothing was stored.
    fn kv_set(&self, service: &str, key: &str, value: &[u8]) -> Result<(), StoreError>;

    /// Removes a key; whether there was one.
    ///
    /// # Errors
    /// Nothing was removed.
    fn kv_delete(&self, service: &str, key: &str) -> Result<bool, StoreError>;

    /// Stores and removes several keys, all at once; on disk when this returns.
    ///
    /// # Errors
    /// Nothing has changed.
    fn kv_apply(&self, service: &str, changes: &BTreeMap<String, Option<Vec<u8>>>) -> Result<(), StoreError>;

    /// The first `max` keys that start with `prefix`, sorted by their bytes.
    ///
    /// # Errors
    /// The store cannot be read.
    fn kv_keys(&self, service: &str, prefix: &str, max: usize) -> Result<Vec<String>, StoreError>;

    /// The bytes of all keys and values together.
    ///
    /// # Errors
    /// The store cannot be read.
    fn kv_used(&self, service: &str) -> Result<u64, StoreError>;

    /// The last checkpoint.
    ///
    /// # Errors
    /// The store cannot be read.
    fn checkpoint(&self, service: &str) -> Result<Option<Checkpoint>, StoreError>;

    /// Replaces the checkpoint; on disk when this returns.
    ///
    /// # Errors
    /// The former one is still there.
    fn put_checkpoint(&self, service: &str, checkpoint: &Checkpoint) -> Result<(), StoreError>;

    /// The code of this digest, for a recording that is to be replayed elsewhere; none where it is not kept.
    fn code(&self, digest: &Digest) -> Option<Vec<u8>>;
}
