//! Randomness from the node's operating system, fit for keys and for the seeds of hash tables.
//!
//! ```
//! fn key() -> [u8; 32] {
//!     eep_sdk::random::bytes()
//! }
//! ```

use crate::bindings::eep::proxylet::random;

/// `N` random bytes, at most 4,096.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    const { assert!(N <= 4096, "the host gives at most 4,096 bytes a call") };
    let mut out = [0; N];
    let given = random::bytes(N as u32);
    out.copy_from_slice(&given[..N]);
    out
}
