//! Hash tables whose keys come from outside.
//!
//! On `wasm32-unknown-unknown` the standard library's hash seeds are constants, so that a stranger could choose
//! keys that all fall into one bucket. These tables are seeded from the randomness that the shell gives at start.
//!
//! The order in which a table has its entries follows from its seeds, and what a peer does and saves must not: only an
//! [`Ordered`] one may be gone through as it is.

use std::fmt;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;

use crate::gnutella::Guid;

/// The hasher of every table in this crate.
pub type Hasher = ahash::RandomState;
/// A map with keys from outside.
pub type Map<K, V> = hashbrown::HashMap<K, V, Hasher>;
/// A map with keys from outside, in the order in which they came.
pub type Ordered<K, V> = indexmap::IndexMap<K, V, Hasher>;
/// A set with keys from outside.
pub type Set<K> = hashbrown::HashSet<K, Hasher>;

/// Hashes GUIDs, which every message brings.
///
/// The keyed family MULTILINEAR-HM over the four words of 32 bits (D. Lemire, O. Kaser: Strongly universal string hashing
/// is fast, section 4): whoever does not know the keys cannot choose GUIDs that meet more often than by chance. What
/// follows spreads GUIDs that differ little. Three multiplications of 64 bits, where the hasher of other keys needs more,
/// and swaps of bytes on 32-bit targets.
#[derive(Clone, Copy)]
pub struct GuidHasher([u64; 5]);

impl GuidHasher {
    /// Freshly keyed.
    pub fn new(rng: &mut ChaCha12Rng) -> Self {
        Self(std::array::from_fn(|_| rng.next_u64()))
    }

    /// 32 good bits, twice: tables take some from below and some from above.
    #[must_use]
    #[inline]
    pub fn hash(&self, guid: Guid) -> u64 {
        let number = u128::from_le_bytes(guid.0);
        let word = |n: u32| u64::from((number >> (32 * n)) as u32);
        let [k0, k1, k2, k3, k4] = self.0;
        let pair = |k: u64, a: u64, l: u64, b: u64| k.wrapping_add(a).wrapping_mul(l.wrapping_add(b));
        let sum =
            pair(k1, word(0), k2, word(1)).wrapping_add(pair(k3, word(2), k4, word(3))).wrapping_add(k0);
        // 2^64 divided by the golden ratio.
        let spread = (sum ^ sum >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        spread >> 32 | spread & 0xffff_ffff_0000_0000
    }
}

impl fmt::Debug for GuidHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuidHasher")
    }
}

/// A freshly seeded hasher.
pub fn hasher(rng: &mut ChaCha12Rng) -> Hasher {
    Hasher::with_seeds(rng.next_u64(), rng.next_u64(), rng.next_u64(), rng.next_u64())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn guids_that_differ_little_spread_over_both_ends_of_the_hash() {
        for seed in 0..4 {
            let hasher = GuidHasher::new(&mut ChaCha12Rng::seed_from_u64(seed));
            for place in 0..16 {
                let hashes = (0..=255_u8).map(|n| {
                    let mut guid = Guid([7; 16]);
                    guid.0[place] = n;
                    hasher.hash(guid)
                });
                let (low, high): (BTreeSet<u64>, BTreeSet<u64>) =
                    hashes.map(|hash| (hash & 0xfff, hash >> 57)).unzip();
                // By chance, 256 of 4,096 meet about eight times, and nearly all of 128 are hit.
                assert!(low.len() > 200 && high.len() > 80, "{place}: {} {}", low.len(), high.len());
            }
        }
    }
}
