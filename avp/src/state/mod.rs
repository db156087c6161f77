//! State that outlives an instance: how it is written and read.
//!
//! Each type says in its own module what of it is saved ([`saved!`] names all of its fields, so that none is forgotten).
//! Numbers are little-endian and of fixed width, lists and texts begin with their length, and tables of bits are runs of
//! words. What can be told from the rest (indexes, sums, hash tables) is not written but made anew, with fresh hash
//! seeds; so bytes that were tampered with can give a peer that is wrong, but never one that is inconsistent.

mod codec;
mod reader;
mod words;
mod writer;

pub(crate) use codec::{Saved, choice, saved};
pub(crate) use reader::Reader;
pub(crate) use words::{GROUP, PackedWords};
pub(crate) use writer::Writer;

/// The bytes are not what was written; the place, counted from their beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged at byte {0}")]
pub(crate) struct Damaged(pub(crate) usize);

#[cfg(test)]
mod tests;
