//! The entries of one call, as they are put together.

use bytes::Bytes;

use crate::record::entry::{Call, Return, Tag, put_before_state, put_value};

/// States of so many bytes and more are shared and not copied.
const SHARED_FROM: usize = 4_096;

/// The entries of one call. A large state, which others have as well, is not copied into them: a service stands still while
/// it is handed from one instance to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// All entries but for the state.
    pub(crate) entries: Vec<u8>,
    /// The state, and where among the entries it belongs.
    state: Option<(usize, Bytes)>,
}

impl Kept {
    /// Entries without a state.
    #[cfg(test)]
    pub(crate) fn plain(entries: &[u8]) -> Self {
        Self { entries: entries.to_vec(), state: None }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.state = None;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether all of it is in `entries`.
    pub(crate) fn is_plain(&self) -> bool {
        self.state.is_none()
    }

    /// How many bytes they are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() + self.state.as_ref().map_or(0, |(_, state)| state.len())
    }

    /// The bytes of it all, one run after the other.
    pub(crate) fn runs(&self) -> [&[u8]; 3] {
        match &self.state {
            None => [&self.entries, &[], &[]],
            Some((at, state)) => [&self.entries[..*at], state, &self.entries[*at..]],
        }
    }

    /// Adds a call.
    pub(crate) fn put_call(&mut self, call: &Call<'_>, shared: Option<&Bytes>) {
        match (call, shared) {
            (Call::Restore { now, config, .. }, Some(state)) if state.len() >= SHARED_FROM => {
                let call =
                    Call::Restore { now: *now, config: config.as_ref().into(), state: [].as_slice().into() };
                put_before_state(&mut self.entries, Tag::Call, &call, state.len());
                self.state = Some((self.entries.len(), state.clone()));
            }
            _ => put_value(&mut self.entries, Tag::Call, call),
        }
    }

    /// Adds how the call ended.
    pub(crate) fn put_return(&mut self, back: &Return<'_>, shared: Option<&Bytes>) {
        match (back, shared) {
            (Return::Saved(_), Some(state)) if state.len() >= SHARED_FROM => {
                put_before_state(
                    &mut self.entries,
                    Tag::Return,
                    &Return::Saved([].as_slice().into()),
                    state.len(),
                );
                self.state = Some((self.entries.len(), state.clone()));
            }
            _ => put_value(&mut self.entries, Tag::Return, back),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_shared_reads_as_what_is_copied(len in 0..70_000_usize, config in "[a-z]{0,300}", now: u64) {
            let state = Bytes::from(vec![0x5a; len]);
            let call = Call::Restore { now, config: config.as_str().into(), state: state.as_ref().into() };
            let back = Return::Saved(state.as_ref().into());
            for shared in [None, Some(&state)] {
                let (mut called, mut saved) = (Kept::default(), Kept::default());
                called.put_call(&call, shared);
                called.put_return(&Return::Done, None);
                saved.put_call(&Call::Save, None);
                saved.put_return(&back, shared);
                let (mut plain_called, mut plain_saved) = (Vec::new(), Vec::new());
                put_value(&mut plain_called, Tag::Call, &call);
                put_value(&mut plain_called, Tag::Return, &Return::Done);
                put_value(&mut plain_saved, Tag::Call, &Call::Save);
                put_value(&mut plain_saved, Tag::Return, &back);
                prop_assert!(called.runs().concat() == plain_called && saved.runs().concat() == plain_saved);
                prop_assert_eq!((called.len(), saved.len()), (plain_called.len(), plain_saved.len()));
            }
        }
    }
}
