//! Bytes that wait to leave on one connection.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;

use bytes::Bytes;

/// Runs in the order in which they were sent: shared ones, which other connections may hold too, and a tail of its own
/// into which small runs are copied, so that many of them leave in one piece.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    shared: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// How much of the first piece has left.
    left: usize,
    waiting: usize,
}

/// Pieces that one system call takes.
pub(crate) const SLICES_MAX: usize = 64;

impl Outbound {
    /// Bytes of capacity that an empty one keeps for its next use.
    const KEEP_BYTES: usize = 16 << 10;

    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Adds a copy.
    pub(crate) fn push(&mut self, run: &[u8]) {
        self.tail.extend_from_slice(run);
        self.waiting += run.len();
    }

    /// Adds a run without copying it.
    pub(crate) fn push_shared(&mut self, run: Bytes) {
        if !self.tail.is_empty() {
            self.shared.push_back(mem::take(&mut self.tail).into());
        }
        self.waiting += run.len();
        self.shared.push_back(run);
    }

    /// Where compressed bytes are put; `f` appends to what it is given.
    pub(crate) fn append_with<T>(&mut self, f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let before = self.tail.len();
        let result = f(&mut self.tail);
        self.waiting += self.tail.len() - before;
        result
    }

    /// The first pieces, as many as `slices` has room for; how many were put there.
    pub(crate) fn pieces<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        let tail = (!self.tail.is_empty()).then_some(self.tail.as_slice());
        let mut filled = 0;
        for (i, piece) in self.shared.iter().map(Bytes::as_ref).chain(tail).take(SLICES_MAX).enumerate() {
            slices[i] = IoSlice::new(if i == 0 { &piece[self.left..] } else { piece });
            filled = i + 1;
        }
        filled
    }

    /// What there is, where it is one piece.
    pub(crate) fn only_piece(&self) -> Option<&[u8]> {
        self.shared.is_empty().then(|| &self.tail[self.left..])
    }

    /// Takes out what has left.
    pub(crate) fn advance(&mut self, written: usize) {
        self.waiting -= written;
        let mut left = self.left + written;
        while let Some(first) = self.shared.front() {
            if left < first.len() {
                break;
            }
            left -= first.len();
            self.shared.pop_front();
        }
        if self.shared.is_empty() && left == self.tail.len() {
            self.tail.clear();
            self.tail.shrink_to(Self::KEEP_BYTES);
            left = 0;
        }
        self.left = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(Vec<u8>),
        Share(Vec<u8>),
        Write(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let run = || prop::collection::vec(any::<u8>(), 1..40);
        let step = prop_oneof![
            run().prop_map(Step::Push),
            run().prop_map(Step::Share),
            (0..120_usize).prop_map(Step::Write),
        ];
        prop::collection::vec(step, 0..120)
    }

    proptest! {
        #[test]
        fn bytes_leave_in_the_order_in_which_they_were_sent(steps in steps()) {
            let (mut out, mut sent, mut left) = (Outbound::default(), Vec::new(), Vec::new());
            for step in steps.into_iter().chain(vec![Step::Write(usize::MAX); 130]) {
                match step {
                    Step::Push(run) => {
                        sent.extend_from_slice(&run);
                        out.push(&run);
                    }
                    Step::Share(run) => {
                        sent.extend_from_slice(&run);
                        out.push_shared(run.into());
                    }
                    Step::Write(most) => {
                        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                        let n = out.pieces(&mut slices);
                        let mut all: Vec<u8> = slices[..n].iter().flat_map(|s| s.to_vec()).collect();
                        if let Some(only) = out.only_piece() {
                            prop_assert_eq!(only, all.as_slice());
                        }
                        all.truncate(most);
                        out.advance(all.len());
                        left.extend_from_slice(&all);
                    }
                }
                prop_assert_eq!(out.waiting(), sent.len() - left.len());
            }
            prop_assert_eq!(left, sent);
        }
    }
}
