//! Files, their names and how popular they are.
//!
//! A file is a number. Its name follows from it: a few words of five letters, each again a number.

use serde::{Deserialize, Serialize};

use crate::engine::Dice;

/// Number of a file.
pub type FileId = u32;
/// Words in the name of a file.
pub const WORDS_MAX: usize = 5;
/// Words that there can be: four letters behind a first one.
const WORDS: u32 = 26 * 26 * 26 * 26;
/// First letter of every word.
const FIRST_LETTER: u8 = b'k';
/// Letters of a word.
const WORD_LETTERS: usize = 5;

/// Which files there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Popularity falls as 1 / (rank + `shift`)^`exponent` (Mandelbrot and Zipf); three words in each name.
    Ranked {
        /// How many there are.
        files: u32,
        /// Between 0.55 and 0.7 in the literature.
        exponent: f64,
        /// Between 5 and 60 in the literature.
        shift: f64,
    },
    /// The exact table of the fourth founding paper: 120 files, 126 keywords, of which 6 match 20 files each, 10 match
    /// 12, 20 match 6, 30 match 4 and 60 match 2; five keywords a file.
    Table,
}

/// How many keywords of the exact table have the same number of files.
const TABLE_GROUPS: [u32; WORDS_MAX] = [6, 10, 20, 30, 60];
const TABLE_FILES: u32 = 120;

/// The files that there are.
#[derive(Clone, Debug)]
pub struct Catalogue {
    content: Content,
    /// Popularity, added up.
    sums: Vec<f64>,
    vocabulary: u32,
}

impl Catalogue {
    /// Computes the popularities.
    #[must_use]
    pub fn new(content: &Content) -> Self {
        let (weights, vocabulary): (Vec<f64>, u32) = match *content {
            Content::Ranked { files, exponent, shift } => {
                let weight = |rank| libm::pow(f64::from(rank) + 1.0 + shift, -exponent);
                ((0..files).map(weight).collect(), (files / 2).clamp(64, WORDS))
            }
            Content::Table => (vec![1.0; TABLE_FILES as usize], TABLE_GROUPS.iter().sum()),
        };
        let sum = |sum: &mut f64, weight: f64| {
            *sum += weight;
            Some(*sum)
        };
        Self { content: content.clone(), sums: weights.into_iter().scan(0.0, sum).collect(), vocabulary }
    }

    /// A file, by popularity.
    pub fn draw(&self, dice: &mut Dice) -> FileId {
        let whole = self.sums.last().copied().unwrap_or(0.0);
        let point = dice.unit() * whole;
        self.sums.partition_point(|s| *s <= point).min(self.sums.len().saturating_sub(1)) as FileId
    }

    /// The words of a file's name.
    #[must_use]
    pub fn words(&self, file: FileId) -> Words {
        let mut words = Words { list: [0; WORDS_MAX], len: 0 };
        match self.content {
            Content::Ranked { .. } => {
                for n in 0..3 {
                    words.push((mix(u64::from(file) * 3 + n) % u64::from(self.vocabulary)) as u32);
                }
            }
            Content::Table => {
                let mut before = 0;
                for group in TABLE_GROUPS {
                    words.push(before + file % group);
                    before += group;
                }
            }
        }
        words
    }

    /// The name of a file.
    #[must_use]
    pub fn name(&self, file: FileId) -> String {
        let mut name = text_of(self.words(file).as_slice());
        name.push_str(".ogg");
        name
    }

    /// The text of a search for a file: two of its words, or in the exact table one of them.
    pub fn search_for(&self, file: FileId, dice: &mut Dice) -> String {
        let words = self.words(file);
        let words = words.as_slice();
        match self.content {
            Content::Ranked { .. } => {
                let left_out = dice.below(words.len());
                let kept: Vec<u32> =
                    words.iter().enumerate().filter(|(n, _)| *n != left_out).map(|(_, w)| *w).collect();
                text_of(&kept)
            }
            Content::Table => text_of(&words[dice.below(words.len())..][..1]),
        }
    }

    /// Whether a file's name has all of these words.
    #[must_use]
    pub fn matches(&self, file: FileId, wanted: &Words) -> bool {
        let has = self.words(file);
        wanted.len > 0 && wanted.as_slice().iter().all(|w| has.as_slice().contains(w))
    }
}

/// Which words somebody may have: a Bloom filter of one hash.
#[derive(Clone, Copy, Debug, Default)]
pub struct WordSet([u64; 8]);

impl WordSet {
    /// The words of files.
    #[must_use]
    pub fn of(catalogue: &Catalogue, files: &[FileId]) -> Self {
        let mut set = Self::default();
        for file in files {
            for word in catalogue.words(*file).as_slice() {
                let bit = Self::bit(*word);
                set.0[bit / 64] |= 1 << (bit % 64);
            }
        }
        set
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 8]
    }

    fn bit(word: u32) -> usize {
        // 2^32 divided by the golden ratio.
        (word.wrapping_mul(0x9e37_79b9) >> (32 - 9)) as usize
    }

    /// Whether all of these may be there. Never no where they are.
    #[must_use]
    pub fn may_have(&self, words: &Words) -> bool {
        words
            .as_slice()
            .iter()
            .map(|word| Self::bit(*word))
            .all(|bit| self.0[bit / 64] >> (bit % 64) & 1 != 0)
    }
}

/// A few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    list: [u32; WORDS_MAX],
    len: usize,
}

impl Words {
    fn push(&mut self, word: u32) {
        if self.len < WORDS_MAX {
            self.list[self.len] = word;
            self.len += 1;
        }
    }

    /// Reads a search; `None` where it has a word that no file can have.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Self> {
        let mut words = Self { list: [0; WORDS_MAX], len: 0 };
        for word in text.split(|b| *b == b' ').filter(|w| !w.is_empty()) {
            let (first, letters) = word.split_first()?;
            if *first != FIRST_LETTER || word.len() != WORD_LETTERS || words.len == WORDS_MAX {
                return None;
            }
            let digit = |n: u32, b: &u8| b.is_ascii_lowercase().then(|| n * 26 + u32::from(b - b'a'));
            words.push(letters.iter().try_fold(0, digit)?);
        }
        Some(words)
    }

    /// As a slice.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        &self.list[..self.len]
    }
}

fn text_of(words: &[u32]) -> String {
    let mut text = String::with_capacity(words.len() * (WORD_LETTERS + 1));
    for word in words {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push(FIRST_LETTER.into());
        for power in [26 * 26 * 26, 26 * 26, 26, 1] {
            text.push((b'a' + (word / power % 26) as u8).into());
        }
    }
    text
}

/// Scatters numbers (the finaliser of splitmix64).
#[must_use]
pub const fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_exact_table_is_the_papers() {
        let catalogue = Catalogue::new(&Content::Table);
        let mut files_of: BTreeMap<u32, u32> = BTreeMap::new();
        for file in 0..TABLE_FILES {
            assert_eq!(catalogue.words(file).as_slice().len(), 5);
            for word in catalogue.words(file).as_slice() {
                *files_of.entry(*word).or_default() += 1;
            }
        }
        let mut keywords: BTreeMap<u32, u32> = BTreeMap::new();
        files_of.values().for_each(|n| *keywords.entry(*n).or_default() += 1);
        assert_eq!(keywords.into_iter().collect::<Vec<_>>(), [(2, 60), (4, 30), (6, 20), (12, 10), (20, 6)]);
    }

    #[test]
    fn a_search_for_a_file_finds_it() {
        let mut dice = Dice::new(1, "content");
        for content in [Content::Table, Content::Ranked { files: 1_000, exponent: 0.6, shift: 20.0 }] {
            let catalogue = Catalogue::new(&content);
            for _ in 0..200 {
                let file = catalogue.draw(&mut dice);
                let words = Words::read(catalogue.search_for(file, &mut dice).as_bytes()).unwrap();
                assert!(catalogue.matches(file, &words));
            }
        }
        assert_eq!(Words::read(b"kaaaa other"), None);
        assert!(!Catalogue::new(&Content::Table).matches(1, &Words::read(b"").unwrap()));
    }

    #[test]
    fn who_has_a_file_may_have_its_words_and_most_have_not() {
        let catalogue = Catalogue::new(&Content::Ranked { files: 200_000, exponent: 0.6, shift: 20.0 });
        let mut may = 0;
        for peer in 0..500 {
            let files: Vec<FileId> = (0..30).map(|n| peer * 30 + n).collect();
            let set = WordSet::of(&catalogue, &files);
            assert!(files.iter().all(|file| set.may_have(&catalogue.words(*file))));
            may += usize::from(set.may_have(&catalogue.words(100_000 + peer)));
        }
        assert!(may < 25, "{may}");
        assert!(!WordSet::default().may_have(&catalogue.words(1)));
    }

    #[test]
    fn popularity_falls_as_it_should() {
        let catalogue = Catalogue::new(&Content::Ranked { files: 1_000, exponent: 0.7, shift: 5.0 });
        let mut dice = Dice::new(2, "popularity");
        let mut drawn = vec![0_u32; 1_000];
        (0..400_000).for_each(|_| drawn[catalogue.draw(&mut dice) as usize] += 1);
        // Ranks 1 and 95: (100 / 6)^0.7 = 7.16.
        let ratio =
            f64::from(drawn[..1].iter().sum::<u32>()) / f64::from(drawn[92..97].iter().sum::<u32>()) * 5.0;
        assert!((6.3..8.1).contains(&ratio), "{ratio}");
    }
}
