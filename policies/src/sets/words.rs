//! Words and phrases, found by the hash of whole words.
//!
//! An entry is found where all its words occur in the text, as whole words and in any order: as a search in
//! Gnutella is answered. Words are runs of letters and digits, without regard to case.

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::{Class, Classes, Found, SetIndex, seeded};

/// Most words of one entry.
const ENTRY_WORDS_MAX: usize = 32;
/// Bits of the filter in front of the table; it fits a core's first cache.
const FILTER_BITS: usize = 1 << 17;
/// Words of a text that are kept without an allocation.
const TEXT_WORDS: usize = 32;
/// Bytes of a text that are folded without an allocation.
const TEXT_BYTES: usize = 256;

/// Words by class. Unlike with other kinds, a text may be in several classes at once.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    random: ahash::RandomState,
    filter: Box<[u64]>,
    /// Slot of a power-of-two table; `len` 0 is empty. Keys are the hash of one word of each entry.
    table: Box<[Slot]>,
    entries: Vec<Entry>,
    /// The other words of entries.
    rest: Vec<u64>,
    classes: Classes,
    /// A text of each entry, with its class.
    texts: Vec<(Class, Box<str>)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u64,
    first: u32,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    rest: u32,
    len: u32,
    class: Class,
}

impl Words {
    /// From the entries of each set.
    pub(crate) fn new(sets: &[Vec<String>]) -> Self {
        let random = seeded();
        let mut classes = Classes::default();
        // Entries that are the same words are one entry, whatever sets they are in.
        let mut known: HashMap<Vec<u64>, (Class, usize, usize), ahash::RandomState> =
            HashMap::with_hasher(seeded());
        for (set, entries) in sets.iter().enumerate() {
            for (at, entry) in entries.iter().enumerate() {
                let mut hashes = Vec::new();
                each_word(entry, |word| hashes.push(random.hash_one(word)));
                hashes.sort_unstable();
                hashes.dedup();
                hashes.truncate(ENTRY_WORDS_MAX);
                if hashes.is_empty() {
                    continue;
                }
                let class = &mut known.entry(hashes).or_insert((0, set, at)).0;
                let of = classes.sets(*class);
                if of.last() != Some(&(set as SetIndex)) {
                    let more: Vec<SetIndex> = of.iter().copied().chain([set as SetIndex]).collect();
                    *class = classes.of(&more);
                }
            }
        }
        let mut often: HashMap<u64, u32, ahash::RandomState> = HashMap::with_hasher(seeded());
        known.keys().flatten().for_each(|hash| *often.entry(*hash).or_default() += 1);

        let mut texts: Vec<(Class, Box<str>)> = Vec::with_capacity(known.len());
        let mut keyed: Vec<(u64, Entry)> = Vec::with_capacity(known.len());
        let mut rest = Vec::new();
        for (hashes, (class, set, at)) in &known {
            texts.push((*class, sets[*set][*at].as_str().into()));
            // The rarest word finds the entry, so that few entries share a slot.
            let rare = hashes.iter().copied().min_by_key(|h| (often[h], *h)).unwrap_or(0);
            let first = rest.len() as u32;
            rest.extend(hashes.iter().filter(|h| **h != rare));
            keyed.push((rare, Entry { rest: first, len: rest.len() as u32 - first, class: *class }));
        }
        texts.sort_unstable();
        keyed.sort_unstable_by_key(|(key, entry)| (*key, entry.class));
        let mut filter = vec![0; FILTER_BITS / 64].into_boxed_slice();
        let mut table =
            vec![Slot::default(); (keyed.len() * 2).next_power_of_two().max(2)].into_boxed_slice();
        let mut at = 0;
        for same in keyed.chunk_by(|a, b| a.0 == b.0) {
            let key = same[0].0;
            filter[bit(key) / 64] |= 1 << (bit(key) % 64);
            let mut slot = key as usize & (table.len() - 1);
            while table[slot].len != 0 {
                slot = (slot + 1) & (table.len() - 1);
            }
            table[slot] = Slot { key, first: at, len: same.len() as u32 };
            at += same.len() as u32;
        }
        let entries = keyed.into_iter().map(|(_, entry)| entry).collect();
        Self { random, filter, table, entries, rest, classes, texts }
    }

    /// The classes of a text, rising, none twice.
    pub(crate) fn find(&self, text: &str, found: &mut Found) {
        found.clear();
        if self.entries.is_empty() || text.is_empty() {
            return;
        }
        let mut hashes: SmallVec<[u64; TEXT_WORDS]> = SmallVec::new();
        each_word(text, |word| hashes.push(self.random.hash_one(word)));
        for hash in &hashes {
            if self.filter[bit(*hash) / 64] >> (bit(*hash) % 64) & 1 == 0 {
                continue;
            }
            let mut slot = *hash as usize & (self.table.len() - 1);
            while self.table[slot].len != 0 && self.table[slot].key != *hash {
                slot = (slot + 1) & (self.table.len() - 1);
            }
            let Slot { first, len, .. } = self.table[slot];
            for entry in &self.entries[first as usize..(first + len) as usize] {
                let others = &self.rest[entry.rest as usize..(entry.rest + entry.len) as usize];
                if others.iter().all(|other| hashes.contains(other)) {
                    found.push(entry.class);
                }
            }
        }
        if found.len() > 1 {
            found.sort_unstable();
            found.dedup();
        }
    }

    pub(crate) fn classes(&self) -> &Classes {
        &self.classes
    }

    /// An entry of a class; empty where there is none.
    pub(crate) fn example(&self, class: Class) -> &str {
        let at = self.texts.partition_point(|(c, _)| *c < class);
        self.texts.get(at).filter(|(c, _)| *c == class).map_or("", |(_, text)| text)
    }

    /// A text of each entry.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|(_, text)| &**text)
    }
}

fn bit(hash: u64) -> usize {
    (hash >> 40) as usize & (FILTER_BITS - 1)
}

/// Calls for each word of a text, folded to lower case.
fn each_word(text: &str, mut word: impl FnMut(&[u8])) {
    let mut folded = [0; TEXT_BYTES];
    let bytes = text.as_bytes();
    if text.is_ascii() && bytes.len() <= TEXT_BYTES {
        let folded = &mut folded[..bytes.len()];
        for (to, from) in folded.iter_mut().zip(bytes) {
            *to = from.to_ascii_lowercase();
        }
        let words = folded.split(|b| !b.is_ascii_alphanumeric());
        words.filter(|w| !w.is_empty()).for_each(word);
    } else {
        let folded = text.to_lowercase();
        let words = folded.split(|c: char| !c.is_alphanumeric());
        words.filter(|w| !w.is_empty()).for_each(|w| word(w.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sets_of(words: &Words, text: &str) -> Vec<u32> {
        let mut found = Found::new();
        words.find(text, &mut found);
        let mut sets: Vec<u32> = found.iter().flat_map(|c| words.classes().sets(*c).to_vec()).collect();
        sets.sort_unstable();
        sets.dedup();
        sets
    }

    #[test]
    fn whole_words_in_any_order() {
        let w = Words::new(&[
            vec!["debian iso".into(), "Straße".into()],
            vec!["iso".into(), "iso debian".into()],
        ]);
        assert_eq!(sets_of(&w, "ISO of Debian-12.1"), [0, 1]);
        assert_eq!(sets_of(&w, "linux.iso"), [1]);
        assert_eq!(sets_of(&w, "isolinux debian"), [0u32; 0]);
        assert_eq!(sets_of(&w, "die STRASSE"), [0u32; 0]);
        assert_eq!(sets_of(&w, "die straße"), [0]);
        assert_eq!(sets_of(&w, &format!("{} iso debian", "x ".repeat(300))), [0, 1]);
        assert_eq!(sets_of(&Words::new(&[]), "iso"), [0u32; 0]);
    }

    proptest! {
        #[test]
        fn hashes_find_what_a_search_by_hand_finds(
            sets in prop::collection::vec(prop::collection::vec("[abc]{1,2}( [abc]{1,2}){0,2}", 0..5), 0..4),
            text in "[abcAB .-]{0,60}",
        ) {
            let words = Words::new(&sets);
            let lower = text.to_lowercase();
            let have: Vec<&str> = lower.split([' ', '.', '-']).collect();
            let wanted: Vec<u32> = (0..sets.len() as u32).filter(|s| {
                sets[*s as usize].iter().any(|entry| entry.split(' ').all(|w| have.contains(&w)))
            }).collect();
            prop_assert_eq!(sets_of(&words, &text), wanted);
        }
    }
}
