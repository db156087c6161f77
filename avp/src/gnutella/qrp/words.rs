//! Which words of a name or of a query are hashed.
//!
//! Letters and digits make words, all else parts them. Words have at least three letters. A table also holds each
//! word without its last one, two and three letters, as long as three remain (QRP 1.0, section 3.1), so that a
//! query for `walk` finds `walks`.

use super::ascii;
use super::hash::{finish, hash, hash_letters};
use super::letters::{Canonical, canonical};
use crate::gnutella::query::Query;

/// Shortest word in bytes: three letters of ASCII, or one of those that have no shorter words.
pub const WORD_BYTES_MIN: usize = 3;
/// Most words of one query that are looked at. More can only narrow the answer further.
pub const QUERY_WORDS_MAX: usize = 16;
/// Most names of contents in one query that are looked at.
pub const QUERY_URNS_MAX: usize = 4;
/// How many trailing letters are left out at most.
const TRIM_LETTERS_MAX: usize = 3;

/// Calls `add` with the hash of each word of a shared file's name, and of each word less its last letters.
pub fn name_hashes(name: &[u8], mut add: impl FnMut(u32)) {
    let Canonical { sure, doubtful } = canonical(name);
    for word in long_words(&sure).chain(long_words(&doubtful)) {
        add(hash_letters(word));
        let shorter = word.char_indices().rev().map(|(end, _)| &word[..end]).take(TRIM_LETTERS_MAX);
        shorter.take_while(|word| word.len() >= WORD_BYTES_MIN).for_each(|word| add(hash_letters(word)));
    }
}

fn long_words(canonical: &str) -> impl Iterator<Item = &str> {
    canonical.split(' ').filter(|word| word.len() >= WORD_BYTES_MIN)
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

    /// Hashes the words of a text. Texts with other letters than ASCII's are rare.
    #[must_use]
    pub fn of_text(text: &[u8]) -> Self {
        let mut hashes = Self::default();
        if ascii::words(text, |word| hashes.push_word(finish(word))) {
            hashes
        } else {
            Self::of_letters(text)
        }
    }

    /// Where peers differ over what a word is, it is asked for only if there is no other.
    #[cold]
    fn of_letters(text: &[u8]) -> Self {
        let Canonical { sure, doubtful } = canonical(text);
        let mut hashes = Self::default();
        long_words(&sure).for_each(|word| hashes.push_word(hash_letters(word)));
        if hashes.words_len == 0 {
            long_words(&doubtful).for_each(|word| hashes.push_word(hash_letters(word)));
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

    /// The hashes of words.
    fn of(words: &[&str]) -> Vec<u32> {
        words.iter().map(|word| hash_letters(word)).collect()
    }

    #[test]
    fn words_are_cut_at_what_is_no_letter() {
        let hashes = Hashes::of_text(b"Walrus Band - 01_nocturne.in-C (live).mp3");
        assert_eq!(hashes.words(), of(&["walrus", "band", "nocturne", "live", "mp3"]));
        assert!(Hashes::of_text(b"a bc - ..").is_empty());
    }

    #[test]
    fn a_name_is_found_by_its_words_less_some_letters() {
        let mut hashes = Vec::new();
        name_hashes(b"Walruses mp3", |h| hashes.push(h));
        assert_eq!(hashes, of(&["walruses", "walruse", "walrus", "walru", "mp3"]));
    }

    #[test]
    fn other_letters_than_those_of_ascii() {
        let words = |text: &str| Hashes::of_text(text.as_bytes()).words().to_vec();
        assert_eq!(words("ÉTÉ à Zoë"), of(&["ete", "zoe"]));
        assert_eq!(words("東京の夜"), of(&["東京", "の", "夜"]));
        assert_eq!(words("smørbrød nacht"), of(&["nacht"]), "what some peers part does not narrow a search");
        assert_eq!(words("smørbrød"), of(&["rbr"]));
        let mut hashes = Vec::new();
        name_hashes("Ночь smørbrød.mp3".as_bytes(), |h| hashes.push(h));
        assert_eq!(hashes, of(&["ночь", "ноч", "но", "mp3", "rbr"]));
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
        fn one_pass_hashes_what_the_canonical_form_has(text in "[ -~]{0,80}") {
            prop_assert_eq!(Hashes::of_text(text.as_bytes()), Hashes::of_letters(text.as_bytes()));
        }

        #[test]
        fn any_text_is_read_without_panic_and_its_name_is_found(text in vec(any::<u8>(), 0..300)) {
            let hashes = Hashes::of_text(&text);
            let mut table = Vec::new();
            name_hashes(&text, |h| table.push(h));
            prop_assert!(hashes.is_empty() || hashes.matches(|h| table.contains(&h)));
        }
    }
}
