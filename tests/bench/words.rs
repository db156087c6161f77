//! Query words that select exactly one leaf.
//!
//! A routing table knows a word by its slot alone, so words are chosen whose slots differ: then a query that reaches
//! a second leaf is the ultrapeer's doing and not a collision.

use std::collections::HashSet;

use eep_tests::dice::Dice;
use eep_tests::wire::{QrpShape, QrpTable, qrp_hash};

/// log2 of the slots of the tables that leaves here send.
const TABLE_BITS: u8 = 16;
/// Letters in a word.
pub(crate) const WORD: usize = 6;

/// The vocabulary of a run.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    own: Vec<[u8; WORD]>,
    common: Vec<[u8; WORD]>,
    filler: Vec<[u8; WORD]>,
    filler_each: usize,
}

/// Words that are nobody's own, for tables that differ as those of real leaves do.
const FILLER_WORDS: usize = 20_000;

impl Words {
    /// Words for so many leaves, and as many again as `common` says that all of them have: queries are varied with
    /// those, for an ultrapeer may ignore a repeated text.
    pub(crate) fn new(leaves: usize, common: usize) -> Self {
        let mut taken = HashSet::new();
        let mut next = 0_u32;
        let mut take = |prefix: u8| loop {
            let word = spell(prefix, next);
            next += 1;
            if taken.insert(slot(&word)) {
                return word;
            }
        };
        let common = (0..common).map(|_| take(b'q')).collect();
        // There are 65,536 slots; past half of them the search would only get slower, so words repeat.
        let own: Vec<_> = (0..leaves.min(30_000)).map(|_| take(b'w')).collect();
        Self { own, common, filler: Vec::new(), filler_each: 0 }
    }

    /// Adds to each leaf's table so many words that some others have as well and nobody searches for.
    pub(crate) fn filled(mut self, each: usize) -> Self {
        let searched: HashSet<u32> = self.own.iter().chain(&self.common).map(slot).collect();
        let mut words = (0..).map(|n| spell(b'x', n)).filter(|word| !searched.contains(&slot(word)));
        self.filler = words.by_ref().take(if each > 0 { FILLER_WORDS.max(each) } else { 0 }).collect();
        self.filler_each = each;
        self
    }

    /// The word that only this leaf has.
    pub(crate) fn own(&self, leaf: usize) -> &[u8; WORD] {
        &self.own[leaf % self.own.len()]
    }

    /// Appends the text of a query for a leaf: its own word and `more` common ones that `dice` picks.
    pub(crate) fn write_text(&self, leaf: usize, more: usize, mut dice: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.own(leaf));
        for _ in 0..more {
            out.push(b' ');
            out.extend_from_slice(&self.common[dice as usize % self.common.len()]);
            dice >>= 16;
        }
    }

    /// The bytes of a leaf's whole table: RESET and PATCHes.
    pub(crate) fn table(&self, leaf: usize) -> Vec<u8> {
        let mut table = QrpTable::new(QrpShape { bits: TABLE_BITS, entry_bits: 4, zlib: true });
        let mut dice = Dice::new(leaf as u64);
        let filler = (0..self.filler_each).map(|_| &self.filler[dice.below(self.filler.len())]);
        for word in self.common.iter().chain([self.own(leaf)]).chain(filler) {
            table.add(std::str::from_utf8(word).expect("ascii"));
        }
        let guid = eep_tests::peer::random_guid(leaf as u64);
        table.messages(|| guid).iter().flat_map(eep_tests::wire::Message::encode).collect()
    }
}

fn slot(word: &[u8; WORD]) -> u32 {
    qrp_hash(std::str::from_utf8(word).expect("ascii"), TABLE_BITS)
}

fn spell(prefix: u8, mut n: u32) -> [u8; WORD] {
    let mut word = [prefix; WORD];
    for letter in word[1..].iter_mut().rev() {
        *letter = b'a' + (n % 26) as u8;
        n /= 26;
    }
    word
}
