//! Which words of a name or of a query are hashed.
//!
//! Letters and digits make words, all else parts them. Words have at least three letters. A table also holds each
//! word without its last one, two and three letters, as long as three remain (QRP 1.0, section 3.1), so that a
//! query for `walk` finds `walks`.

use std::borrow::Cow;

use super::hash::{finish, hash};
use crate::gnutella::query::Query;

/// Shortest word in letters.
pub const WORD_LETTERS_MIN: usize = 3;
/// Most words of one query that are looked at. More can only narrow the answer further.
pub const QUERY_WORDS_MAX: usize = 16;
/// Most names of contents in one query that are looked at.
pub const QUERY_URNS_MAX: usize = 4;
/// How many trailing letters are left out at most.
const TRIM_LETTERS_MAX: usize = 3;

/// The words of a text, as they are written there. Bytes over 0x7f count as letters: they are parts of UTF-8.
pub fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| SMALL[usize::from(*b)] == 0).filter(|w| letters(w) >= WORD_LETTERS_MIN)
}

/// Each byte's small letter where it is part of a word, zero where it is not.
const SMALL: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    loop {
        if byte.is_ascii_alphanumeric() || byte >= 0x80 {
            table[byte as usize] = byte.to_ascii_lowercase();
        }
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

/// Letters, not bytes: those that are not continuations in UTF-8.
fn letters(word: &[u8]) -> usize {
    if word.len() < WORD_LETTERS_MIN {
        return 0;
    }
    word.iter().filter(|b| **b & 0xc0 != 0x80).count()
}

/// The hash of a word in its small letters.
fn word_hash(word: &[u8]) -> u32 {
    if word.is_ascii() {
        return hash(word);
    }
    let small = match String::from_utf8_lossy(word) {
        Cow::Borrowed(text) => text.to_lowercase(),
        // Not UTF-8: the bytes are all that there is to compare.
        Cow::Owned(_) => return hash(word),
    };
    hash(small.as_bytes())
}

/// Calls `add` with the hash of each word of a shared file's name, and of each word less its last letters.
pub fn name_hashes(name: &[u8], mut add: impl FnMut(u32)) {
    for word in words(name) {
        add(word_hash(word));
        let starts: Vec<usize> = (0..word.len()).filter(|at| word[*at] & 0xc0 != 0x80).collect();
        let kept = starts.len().saturating_sub(TRIM_LETTERS_MAX).max(WORD_LETTERS_MIN)..starts.len();
        for at in kept {
            add(word_hash(&word[..starts[at]]));
        }
    }
}

/// The hashes of a query, for tables of every size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashes {
    words: [u32; QUERY_WORDS_MAX],
    words_len: u8,
    urns: [u32; QUERY_URNS_MAX],
    urns_len: u8,
}

impl Hashes {
    /// Hashes what a query asks for.
    #[must_use]
    pub fn of(query: &Query<'_>) -> Self {
        let mut hashes = Self::of_text(query.text);
        if !query.extensions.is_empty() {
            query.sha1s().take(QUERY_URNS_MAX).for_each(|sha1| hashes.push_urn(&sha1.urn()));
        }
        hashes
    }

    /// Hashes the words of a text.
    ///
    /// One pass over the bytes, as each query that arrives is hashed: what [`words`] and [`hash`] do one after the
    /// other, for words of ASCII.
    #[must_use]
    pub fn of_text(text: &[u8]) -> Self {
        let mut hashes = Self::default();
        let (mut xor, mut start, mut all) = (0_u32, 0, 0_u8);
        // A part behind the last byte ends the last word.
        for (at, byte) in text.iter().chain(&[0]).enumerate() {
            let small = SMALL[usize::from(*byte)];
            if small != 0 {
                xor ^= u32::from(small) << (8 * ((at - start) & 3));
                all |= small;
                continue;
            }
            if at - start >= WORD_LETTERS_MIN {
                let word = &text[start..at];
                if all < 0x80 {
                    hashes.push_word(finish(xor));
                } else if letters(word) >= WORD_LETTERS_MIN {
                    hashes.push_word(word_hash(word));
                }
            }
            (xor, start, all) = (0, at + 1, 0);
        }
        hashes
    }

    fn push_word(&mut self, hash: u32) {
        if let Some(place) = self.words.get_mut(usize::from(self.words_len)) {
            *place = hash;
            self.words_len += 1;
        }
    }

    fn push_urn(&mut self, urn: &str) {
        if let Some(place) = self.urns.get_mut(usize::from(self.urns_len)) {
            *place = hash(urn.as_bytes());
            self.urns_len += 1;
        }
    }

    /// Every one of these must be present.
    #[must_use]
    pub fn words(&self) -> &[u32] {
        &self.words[..usize::from(self.words_len)]
    }

    /// One of these is enough.
    #[must_use]
    pub fn urns(&self) -> &[u32] {
        &self.urns[..usize::from(self.urns_len)]
    }

    /// Nothing that a table could answer: no table matches.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.words_len == 0 && self.urns_len == 0
    }

    /// Whether a table matches, given which hashes it has: one of the urns, or all of the words.
    #[must_use]
    #[inline]
    pub fn matches(&self, mut has: impl FnMut(u32) -> bool) -> bool {
        self.urns().iter().any(|h| has(*h)) || self.words_len > 0 && self.words().iter().all(|h| has(*h))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::gnutella::huge::Sha1;
    use crate::gnutella::query;

    #[test]
    fn words_are_cut_at_what_is_no_letter() {
        let read: Vec<_> = words(b"Walrus Band - 01_nocturne.in-C (live).mp3").collect();
        let expected: [&[u8]; 5] = [b"Walrus", b"Band", b"nocturne", b"live", b"mp3"];
        assert_eq!(read, expected);
        assert_eq!(words("zoë été à".as_bytes()).count(), 2);
        assert_eq!(words(b"a bc - ..").count(), 0);
    }

    #[test]
    fn a_name_is_found_by_its_words_less_some_letters() {
        let mut hashes = Vec::new();
        name_hashes(b"Walruses mp3", |h| hashes.push(h));
        for word in ["walruses", "walruse", "walrus", "walru", "mp3"] {
            assert!(hashes.contains(&hash(word.as_bytes())), "{word}");
        }
        assert!(!hashes.contains(&hash(b"walr")));
        assert_eq!(hashes.len(), 5);
    }

    #[test]
    fn case_folds_outside_ascii() {
        assert_eq!(Hashes::of_text("ÉTÉ".as_bytes()), Hashes::of_text("été".as_bytes()));
    }

    #[test]
    fn all_words_or_one_urn() {
        let payload = query::Builder::new("walrus nocturne").sha1(Sha1([1; 20])).finish();
        let hashes = Hashes::of(&Query::parse(&payload).unwrap());
        let [walrus, nocturne] = *hashes.words() else { panic!() };
        let [urn] = *hashes.urns() else { panic!() };
        assert!(hashes.matches(|h| h == walrus || h == nocturne));
        assert!(hashes.matches(|h| h == urn));
        assert!(!hashes.matches(|h| h == walrus));
        assert!(!hashes.is_empty());
        let nothing = Hashes::of_text(b"a b");
        assert!(nothing.is_empty() && !nothing.matches(|_| true));
    }

    proptest! {
        #[test]
        fn one_pass_hashes_what_words_and_hash_do(text in "[a-zA-Z0-9 é.ü_]{0,80}") {
            let one_by_one: Vec<_> = words(text.as_bytes()).take(QUERY_WORDS_MAX).map(word_hash).collect();
            let hashes = Hashes::of_text(text.as_bytes());
            prop_assert_eq!(hashes.words(), one_by_one);
        }

        #[test]
        fn any_text_is_read_without_panic_and_within_bounds(text in vec(any::<u8>(), 0..300)) {
            let hashes = Hashes::of_text(&text);
            let one_by_one: Vec<_> = words(&text).take(QUERY_WORDS_MAX).map(word_hash).collect();
            prop_assert_eq!(hashes.words(), one_by_one);
            let mut n = 0;
            name_hashes(&text, |_| n += 1);
            prop_assert!(n <= 4 * words(&text).count());
            // Whatever the name, its own words find it.
            let mut table = Vec::new();
            name_hashes(&text, |h| table.push(h));
            prop_assert!(hashes.is_empty() || hashes.matches(|h| table.contains(&h)));
        }
    }
}
