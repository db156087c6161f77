//! Entries as they are put together: those of one call, or of many.

use std::ops::Range;

use bytes::Bytes;
use serde::Serialize;

use crate::record::entry::{Base, Call, Return, Tag, put_around_state, put_value};

/// States of so many bytes and more are shared and not copied.
const SHARED_FROM: usize = 4_096;

/// Entries in a row. Large states, which others have as well, are not copied into them: a service stands still while it is
/// saved, and while it is handed from one instance to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// All entries but for the states.
    pub(crate) entries: Vec<u8>,
    /// The states, and where among the entries each belongs.
    states: Vec<(usize, Bytes)>,
}

impl Kept {
    /// Entries without a state.
    #[cfg(test)]
    pub(crate) fn plain(entries: &[u8]) -> Self {
        Self { entries: entries.to_vec(), states: Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.states.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether all of it is in `entries`.
    pub(crate) fn is_plain(&self) -> bool {
        self.states.is_empty()
    }

    /// How many bytes they are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() + self.states.iter().map(|(_, state)| state.len()).sum::<usize>()
    }

    /// The bytes of it all, one run after the other.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &[u8]> {
        self.runs_of(0..self.len())
    }

    /// Some of the bytes, one run after the other.
    pub(crate) fn runs_of(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let states = self.states.iter().map(|(at, state)| (*at, &**state));
        let (mut from, mut passed) = (0, 0);
        states
            .chain([(self.entries.len(), [].as_slice())])
            .flat_map(move |(at, state)| {
                let before = &self.entries[from..at];
                from = at;
                [before, state]
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
        self.states.extend(other.states.iter().map(|(i, state)| (at + i, state.clone())));
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
        self.states.push((at, state.clone()));
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
    }
}
