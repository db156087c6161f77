//! The words of a text in ASCII, eight bytes at a time: each query that arrives is hashed.

use super::words::WORD_BYTES_MIN;

/// The highest bit of each byte.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Calls `found` for each word with its small letters, joined in fours by XOR; `false` where the text is not ASCII.
pub(super) fn words(text: &[u8], found: impl FnMut(u32)) -> bool {
    let mut reader = Reader { at: 0, start: 0, xor: 0, found };
    let (eights, rest) = text.as_chunks::<8>();
    for eight in eights {
        let bytes = u64::from_le_bytes(*eight);
        if bytes & HIGH != 0 {
            return false;
        }
        reader.eight(bytes);
    }
    // Zeros part words, and at least one follows the last byte.
    let mut bytes = 0;
    for byte in rest.iter().rev() {
        bytes = bytes << 8 | u64::from(*byte);
    }
    reader.eight(bytes);
    bytes & HIGH == 0
}

struct Reader<F> {
    /// Where the next eight bytes lie in the text.
    at: usize,
    /// Where the word at hand begins.
    start: usize,
    /// Its letters so far, each in the place that it has from the beginning of the text.
    xor: u32,
    found: F,
}

impl<F: FnMut(u32)> Reader<F> {
    #[inline]
    fn eight(&mut self, bytes: u64) {
        let (mut small, letters) = small_letters(bytes);
        let mut parts = !letters & HIGH;
        while parts != 0 {
            let bits = parts.trailing_zeros() & !7;
            let end = self.at + bits as usize / 8;
            let before = (1 << bits) - 1;
            if end - self.start >= WORD_BYTES_MIN {
                let xor = self.xor ^ fold(small & before);
                (self.found)(xor.rotate_right(8 * (self.start as u32 & 3)));
            }
            (self.start, self.xor) = (end + 1, 0);
            small &= !before;
            parts &= parts - 1;
        }
        self.xor ^= fold(small);
        self.at += 8;
    }
}

/// Joins both fours.
const fn fold(bytes: u64) -> u32 {
    (bytes ^ bytes >> 32) as u32
}

/// Small letters and digits, zeros for all else; and the highest bit of each byte that is a letter or digit. All bytes
/// are ASCII, so that no sum runs over into the next byte.
#[inline]
const fn small_letters(bytes: u64) -> (u64, u64) {
    /// Sets the highest bit of each byte that is `first` or more.
    const fn from(bytes: u64, first: u8) -> u64 {
        bytes + (0x80 - first as u64) * 0x0101_0101_0101_0101
    }
    let small = bytes | 0x2020_2020_2020_2020;
    let letters = from(small, b'a') & !from(small, b'z' + 1) & HIGH;
    let digits = from(bytes, b'0') & !from(bytes, b'9' + 1) & HIGH;
    let either = letters | digits;
    // From the highest bit of a byte to all of its bits.
    let mask = either | (either - (either >> 7));
    ((bytes | letters >> 2) & mask, either)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One byte after the other.
    fn plain(text: &[u8]) -> Vec<u32> {
        let words = text.split(|b| !b.is_ascii_alphanumeric()).filter(|w| w.len() >= WORD_BYTES_MIN);
        words
            .map(|word| {
                let small = word.iter().map(|b| u32::from(b.to_ascii_lowercase()));
                small.enumerate().fold(0, |xor, (n, byte)| xor ^ byte << (8 * (n & 3)))
            })
            .collect()
    }

    #[test]
    fn every_byte_is_what_it_is() {
        for byte in 0..0x80_u8 {
            for place in 0..8 {
                let (small, letters) = small_letters(u64::from(byte) << (8 * place));
                let is_letter = byte.is_ascii_alphanumeric();
                let expect = if is_letter { u64::from(byte.to_ascii_lowercase()) } else { 0 };
                assert_eq!(small, expect << (8 * place), "{byte}");
                assert_eq!(letters, u64::from(is_letter) << (8 * place + 7), "{byte}");
            }
        }
    }

    proptest! {
        #[test]
        fn eight_at_a_time_finds_what_one_by_one_does(text in "[a-zA-Z0-9 .@\\[`{/:\x00\x7f]{0,60}") {
            let mut found = Vec::new();
            prop_assert!(words(text.as_bytes(), |word| found.push(word)));
            prop_assert_eq!(found, plain(text.as_bytes()));
        }

        #[test]
        fn any_other_byte_is_noticed(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(words(&text, |_| {}), text.is_ascii());
        }
    }
}
