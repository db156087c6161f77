//! Entries as they are put together: those of one call, or of many.

use std::mem;
use std::ops::Range;

use bytes::Bytes;
use serde::Serialize;

use crate::record::entry::{Base, Call, Return, Tag, put_around_state, put_value};

/// States of so many bytes and more are shared and not copied.
const SHARED_FROM: usize = 4_096;
/// So are all entries of a call that has so many bytes.
pub(crate) const CALL_SHARED_FROM: usize = 16 << 10;

/// Entries in a row. What is large, and others have as well, is not copied into them: states, as a service stands still
/// while it is saved, and while it is handed from one instance to the next; and large calls, which the ring keeps and all
/// who write take from the same memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// All bytes but for those that are shared.
    pub(crate) entries: Vec<u8>,
    /// What is shared, and where among the entries each belongs.
    shared: Vec<(usize, Bytes)>,
}

impl Kept {
    /// Entries without a state.
    #[cfg(test)]
    pub(crate) fn plain(entries: &[u8]) -> Self {
        Self { entries: entries.to_vec(), shared: Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.shared.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.shared.is_empty()
    }

    /// Whether all of it is in `entries`.
    pub(crate) fn is_plain(&self) -> bool {
        self.shared.is_empty()
    }

    /// Has them be shared by all who take them from here, where they are many.
    pub(crate) fn share(&mut self) {
        if self.is_plain() && self.entries.len() >= CALL_SHARED_FROM {
            let mut entries = mem::take(&mut self.entries);
            if entries.capacity() > entries.len() + entries.len() / 8 {
                entries.shrink_to_fit();
            }
            self.shared.push((0, entries.into()));
        }
    }

    /// How many bytes they are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() + self.shared.iter().map(|(_, run)| run.len()).sum::<usize>()
    }

    /// The bytes of it all, one run after the other.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &[u8]> {
        self.runs_of(0..self.len())
    }

    /// Some of the bytes, one run after the other.
    pub(crate) fn runs_of(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let shared = self.shared.iter().map(|(at, run)| (*at, &**run));
        let (mut from, mut passed) = (0, 0);
        shared
            .chain([(self.entries.len(), [].as_slice())])
            .flat_map(move |(at, run)| {
                let before = &self.entries[from..at];
                from = at;
                [before, run]
            })
            .filter_map(move |run| {
                let (start, end) = (range.start.max(passed), range.end.min(passed + run.len()));
                let some = (start < end).then(|| &run[start - passed..end - passed]);
                passed += run.len();
                some
            })
    }

    /// Adds other entries at the end.
    pub(crate) fn append(&mut self, other: &Self) {
        let at = self.entries.len();
        self.entries.extend_from_slice(&other.entries);
        self.shared.extend(other.shared.iter().map(|(i, run)| (at + i, run.clone())));
    }

    /// Adds a call.
    pub(crate) fn put_call(&mut self, call: &Call<'_>, shared: Option<&Bytes>) {
        match (call, shared) {
            (Call::Restore { now, config, .. }, Some(state)) if state.len() >= SHARED_FROM => {
                let call =
                    Call::Restore { now: *now, config: config.as_ref().into(), state: [].as_slice().into() };
                self.put_around(Tag::Call, &call, state, &());
            }
            _ => put_value(&mut self.entries, Tag::Call, call),
        }
    }

    /// Adds how the call ended.
    pub(crate) fn put_return(&mut self, back: &Return<'_>, shared: Option<&Bytes>) {
        match (back, shared) {
            (Return::Saved(_), Some(state)) if state.len() >= SHARED_FROM => {
                self.put_around(Tag::Return, &Return::Saved([].as_slice().into()), state, &());
            }
            _ => put_value(&mut self.entries, Tag::Return, back),
        }
    }

    /// Adds a checkpoint with a state, which `base` leaves empty.
    pub(crate) fn put_base(&mut self, base: Base<'_>, state: &Bytes) {
        if state.len() < SHARED_FROM {
            return put_value(&mut self.entries, Tag::Base, &Base { state: state.as_ref().into(), ..base });
        }
        let Base { now, config, state: nothing, standing } = base;
        self.put_around(Tag::Base, &(now, config, nothing), state, &standing);
    }

    fn put_around(&mut self, tag: Tag, before: &impl Serialize, state: &Bytes, after: &impl Serialize) {
        let at = put_around_state(&mut self.entries, tag, before, state.len(), after);
        self.shared.push((at, state.clone()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_shared_reads_as_what_is_copied(
            len in prop_oneof![0..200_usize, SHARED_FROM - 1..70_000],
            config in "[a-z]{0,300}",
            now: u64,
            cuts: (prop::sample::Index, prop::sample::Index),
        ) {
            let state = Bytes::from(vec![0x5a; len]);
            let call = Call::Restore { now, config: config.as_str().into(), state: state.as_ref().into() };
            let back = Return::Saved(state.as_ref().into());
            let base = |state: &[u8]| Base {
                now,
                config: config.clone().into(),
                state: state.to_vec().into(),
                standing: vec![(b"ask"[..].into(), b"told"[..].into())],
            };
            let mut plain = Vec::new();
            put_value(&mut plain, Tag::Call, &call);
            put_value(&mut plain, Tag::Return, &Return::Done);
            put_value(&mut plain, Tag::Call, &Call::Save);
            put_value(&mut plain, Tag::Return, &back);
            put_value(&mut plain, Tag::Base, &base(&state));
            for shared in [None, Some(&state)] {
                let (mut all, mut saved) = (Kept::default(), Kept::default());
                all.put_call(&call, shared);
                all.put_return(&Return::Done, None);
                saved.put_call(&Call::Save, None);
                saved.put_return(&back, shared);
                saved.put_base(base(&[]), &state);
                all.append(&saved);
                prop_assert_eq!(all.len(), plain.len());
                prop_assert!(all.runs().collect::<Vec<_>>().concat() == plain);
                let (a, b) = (cuts.0.index(plain.len() + 1), cuts.1.index(plain.len() + 1));
                let range = a.min(b)..a.max(b);
                prop_assert!(all.runs_of(range.clone()).collect::<Vec<_>>().concat() == plain[range]);
            }
        }

        #[test]
        fn entries_that_are_shared_are_the_same(
            calls in prop::collection::vec(prop_oneof![0..200_usize, CALL_SHARED_FROM - 1..40_000], 1..8),
        ) {
            let (mut all, mut plain) = (Kept::default(), Vec::new());
            for (number, len) in calls.into_iter().enumerate() {
                let mut call = Kept::plain(&vec![number as u8; len]);
                call.share();
                prop_assert_eq!((call.len(), call.is_empty()), (len, len == 0));
                prop_assert_eq!(call.is_plain(), len < CALL_SHARED_FROM);
                all.append(&call);
                plain.resize(plain.len() + len, number as u8);
            }
            prop_assert!(all.runs().collect::<Vec<_>>().concat() == plain);
        }
    }
}
