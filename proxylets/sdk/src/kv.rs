//! A small store that outlives the instance, the service's restarts and the node's.
//!
//! ```
//! use eep_sdk::{kv, log};
//!
//! fn remember(peer: &str) {
//!     if let Err(why) = kv::set("last-peer", peer.as_bytes()) {
//!         log!(Warn, "not remembered: {why:?}");
//!     }
//! }
//! ```

use crate::bindings::eep::proxylet::kv;

pub use kv::KvError;

/// What was set under `key`.
#[must_use]
pub fn get(key: &str) -> Option<Vec<u8>> {
    kv::get(key)
}

/// Stores a value under a key of 1 to 256 bytes.
///
/// # Errors
/// Nothing was stored.
pub fn set(key: &str, value: &[u8]) -> Result<(), KvError> {
    kv::set(key, value)
}

/// Removes a key; whether there was one.
///
/// # Errors
/// Nothing was removed.
pub fn delete(key: &str) -> Result<bool, KvError> {
    kv::delete(key)
}

/// The keys that start with `prefix`, sorted, at most 1,024.
#[must_use]
pub fn keys(prefix: &str) -> Vec<String> {
    kv::keys(prefix)
}
