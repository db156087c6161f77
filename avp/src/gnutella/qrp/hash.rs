//! From words to slots (QRP 1.0, section 3.2 and appendix).

/// The golden ratio's part of the hash: sqrt(5) - 1 halved, times 2^32, as the specification has it.
const MULTIPLIER: u32 = 0x4f1b_bcdc;

/// The 32-bit hash of a word whose ASCII letters are taken as small. Its top bits are the slot in a table of any
/// size, so that a query is hashed once for all tables.
///
/// Words with other letters: [`hash_letters`].
#[must_use]
#[inline]
pub fn hash(word: &[u8]) -> u32 {
    let mut xor = 0;
    let mut chunks = word.chunks_exact(4);
    for chunk in &mut chunks {
        xor ^= u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]].map(|b| b.to_ascii_lowercase()));
    }
    for (n, byte) in chunks.remainder().iter().enumerate() {
        xor ^= u32::from(byte.to_ascii_lowercase()) << (8 * n);
    }
    finish(xor)
}

/// The hash of a word in small letters of any kind: of the lower byte of each of its UTF-16 units, as peers in use have it.
#[must_use]
pub fn hash_letters(word: &str) -> u32 {
    let bytes = word.encode_utf16().map(|unit| u32::from(unit & 0xff));
    finish(bytes.enumerate().fold(0, |xor, (n, byte)| xor ^ byte << (8 * (n & 3))))
}

/// The hash of a word whose small letters were joined in fours by XOR.
#[inline]
pub(super) const fn finish(xor: u32) -> u32 {
    xor.wrapping_mul(MULTIPLIER)
}

/// The slot of a hash in a table of 2^`log2` slots; `log2` must be 1 to 32.
#[must_use]
#[inline]
pub const fn slot(hash: u32, log2: u8) -> u32 {
    hash >> (32 - log2 as u32)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_vectors_of_the_specification() {
        let of = |word: &str, log2| slot(hash(word.as_bytes()), log2);
        for (word, expected) in [
            ("", 0),
            ("eb", 6791),
            ("ebc", 7082),
            ("ebck", 6698),
            ("ebckl", 3179),
            ("ebcklm", 3235),
            ("ebcklme", 6438),
            ("ebcklmen", 1062),
            ("ebcklmenq", 3527),
        ] {
            assert_eq!(of(word, 13), expected, "{word}");
        }
        for (word, expected) in [
            ("", 0),
            ("n", 65003),
            ("nd", 54193),
            ("ndf", 4953),
            ("ndfl", 58201),
            ("ndfla", 34830),
            ("ndflal", 36910),
            ("ndflale", 34586),
            ("ndflalem", 37658),
            ("ndflaleme", 45559),
            ("NDFLALEME", 45559),
        ] {
            assert_eq!(of(word, 16), expected, "{word}");
        }
    }

    #[test]
    fn letters_beyond_ascii_count_by_their_lower_byte() {
        // U+043D U+043E U+0447 U+044C: a word of one character each byte.
        assert_eq!(hash_letters("ночь"), finish(0x4c47_3e3d));
        // Beyond the first plane a character has two units: U+D834 and U+DD1E.
        assert_eq!(hash_letters("𝄞"), finish(0x1e34));
    }

    proptest! {
        #[test]
        fn ascii_is_hashed_alike(word in "[a-z0-9]{0,20}") {
            prop_assert_eq!(hash_letters(&word), hash(word.as_bytes()));
        }


        #[test]
        fn case_does_not_matter_and_slots_nest(word in vec(any::<u8>(), 0..40), log2 in 2..=31_u8) {
            let h = hash(&word);
            prop_assert_eq!(hash(&word.to_ascii_uppercase()), h);
            prop_assert_eq!(slot(h, log2 - 1), slot(h, log2) >> 1);
        }
    }
}
