//! Hash tables whose keys come from outside.
//!
//! On `wasm32-unknown-unknown` the standard library's hash seeds are constants, so that a stranger could choose
//! keys that all fall into one bucket. These tables are seeded from the randomness that the shell gives at start.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;

/// The hasher of every table in this crate.
pub type Hasher = ahash::RandomState;
/// A map with keys from outside.
pub type Map<K, V> = hashbrown::HashMap<K, V, Hasher>;
/// A set with keys from outside.
pub type Set<K> = hashbrown::HashSet<K, Hasher>;

/// A freshly seeded hasher.
pub fn hasher(rng: &mut ChaCha12Rng) -> Hasher {
    Hasher::with_seeds(rng.next_u64(), rng.next_u64(), rng.next_u64(), rng.next_u64())
}
