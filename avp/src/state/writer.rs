//! The bytes of a state in the making.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Saved;

/// Collects a state.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    /// Messages that wait on several links are written once; by where they lie.
    shared: BTreeMap<usize, u32>,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), shared: BTreeMap::new() }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes as they are; the reader knows how many.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Makes room for so many bytes that are to come.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    pub(crate) fn len_of(&mut self, len: usize) {
        (len as u32).save(self);
    }

    /// A list: its length, and each of its elements.
    pub(crate) fn list<'a, T: Saved + 'a>(&mut self, all: impl ExactSizeIterator<Item = &'a T>) {
        self.len_of(all.len());
        for one in all {
            one.save(self);
        }
    }

    /// Bytes with their length and the memory that they take, which bounds look at.
    pub(crate) fn buffer(&mut self, bytes: &Vec<u8>) {
        self.len_of(bytes.capacity());
        self.len_of(bytes.len());
        self.raw(bytes);
    }

    /// A message that may be found in several places.
    pub(crate) fn shared(&mut self, message: &Arc<[u8]>) {
        let new = self.shared.len() as u32;
        let place = *self.shared.entry(message.as_ptr().addr()).or_insert(new);
        place.save(self);
        if place == new {
            self.len_of(message.len());
            self.raw(message);
        }
    }

    /// A part with a number and a version of its own, and its length.
    pub(crate) fn section(&mut self, tag: u8, version: u8, write: impl FnOnce(&mut Self)) {
        self.shared.clear();
        self.raw(&[tag, version]);
        let at = self.bytes.len();
        0_u32.save(self);
        write(self);
        let len = (self.bytes.len() - at - 4) as u32;
        self.bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }
}
