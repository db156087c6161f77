//! Writing queries.

use std::time::Duration;

use eep_tests::dice::Dice;
use eep_tests::wire::{Query, kind};

use super::meter::stamp;
use crate::words::Words;

/// What may wait on one connection before its queries are thrown away (they then count as lost).
const WAITING_BYTES_MAX: usize = 1 << 20;

/// Writes queries, no two of them with one GUID and few with one text.
#[derive(Debug)]
pub(super) struct Composer<'a> {
    words: &'a Words,
    more_words: usize,
    dice: Dice,
    /// What tells this one's queries from those of other threads.
    origin: u16,
    sequence: u32,
}

impl<'a> Composer<'a> {
    /// No two of them at a time may have the same seed.
    pub(super) fn new(words: &'a Words, more_words: usize, seed: usize) -> Self {
        Self { words, more_words, dice: Dice::new(seed as u64), origin: seed as u16, sequence: 0 }
    }

    /// One of `0..n`, by chance.
    pub(super) fn pick(&mut self, n: usize) -> usize {
        self.dice.below(n)
    }

    /// Appends a query for `leaf`'s words, from a sender and with the time that its GUID carries.
    pub(super) fn query(
        &mut self,
        out: &mut Vec<u8>,
        (sender, at): (usize, Duration),
        (ttl, hops): (u8, u8),
        leaf: usize,
    ) {
        if out.len() > WAITING_BYTES_MAX {
            return;
        }
        let dice = self.dice.roll();
        self.sequence = self.sequence.wrapping_add(1);
        let head = out.len();
        out.extend_from_slice(&stamp(at, sender, self.origin, self.sequence));
        out.extend_from_slice(&[kind::QUERY, ttl, hops, 0, 0, 0, 0]);
        let body = out.len();
        out.extend_from_slice(&Query::MARK.to_be_bytes());
        self.words.write_text(leaf, self.more_words, dice, out);
        out.push(0);
        let len = (out.len() - body) as u32;
        out[head + 19..body].copy_from_slice(&len.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_begin_at_once_send_no_guid_twice() {
        let words = Words::new(4, 4);
        let guid = |seed: usize| {
            let mut out = Vec::new();
            Composer::new(&words, 1, seed).query(&mut out, (1, Duration::from_secs(1)), (2, 0), 3);
            out[..16].to_vec()
        };
        assert_ne!(guid(0), guid(1));
    }
}
