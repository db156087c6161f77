//! Inputs that are nearly right.

use super::INPUT_BYTES_MAX;
use crate::dice::Dice;

/// Values at which lengths and counts go wrong.
const EDGES: [u32; 12] =
    [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x1_0000, 0x7fff_ffff, 0xffff_ffff];

/// Makes inputs of a corpus.
#[derive(Debug)]
pub struct Mutator {
    corpus: Vec<Vec<u8>>,
    dice: Dice,
}

impl Mutator {
    /// # Panics
    /// Where the corpus is empty.
    #[must_use]
    pub fn new(corpus: Vec<Vec<u8>>, seed: u64) -> Self {
        assert!(!corpus.is_empty(), "a corpus has inputs");
        Self { corpus, dice: Dice::new(seed) }
    }

    /// The next input: noise, an input of the corpus as it is, or most often one with some mutations.
    pub fn next_into(&mut self, out: &mut Vec<u8>) {
        out.clear();
        if self.dice.once_in(16) {
            out.resize(self.dice.below(512), 0);
            self.dice.fill(out);
            return;
        }
        let picked: &Vec<u8> = self.dice.pick(&self.corpus);
        out.extend_from_slice(picked);
        if self.dice.once_in(32) {
            return;
        }
        for _ in 0..=self.dice.below(6) {
            self.mutate(out);
        }
        out.truncate(INPUT_BYTES_MAX);
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.dice.below(bytes.len());
        let end = (at + 1 + self.dice.below(32)).min(bytes.len());
        match self.dice.below(9) {
            _ if bytes.is_empty() => bytes.push(self.dice.roll() as u8),
            0 => bytes[at] ^= 1 << self.dice.below(8),
            1 => bytes[at] = self.dice.roll() as u8,
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let copy = bytes[at..end].to_vec();
                let to = self.dice.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            5 => {
                let mut noise = vec![0; 1 + self.dice.below(16)];
                self.dice.fill(&mut noise);
                bytes.splice(at..at, noise);
            }
            6 => {
                // A length field, of one, two or four bytes, of either order.
                let mut value = self.dice.pick(&EDGES).to_le_bytes();
                let width = *self.dice.pick(&[1, 2, 4]);
                if self.dice.once_in(3) {
                    value[..width].reverse();
                }
                for (to, from) in bytes[at..].iter_mut().zip(&value[..width]) {
                    *to = *from;
                }
            }
            7 => {
                let other = self.dice.pick(&self.corpus).clone();
                let from = self.dice.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let other = self.dice.pick(&self.corpus).clone();
                bytes.extend_from_slice(&other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_inputs_again_and_another_gives_others() {
        let inputs = |seed| {
            let mut mutator = Mutator::new(vec![b"GNUTELLA CONNECT/0.6\r\n\r\n".to_vec()], seed);
            let mut out = Vec::new();
            (0..100)
                .map(move |_| {
                    mutator.next_into(&mut out);
                    out.clone()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }
}
