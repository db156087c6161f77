//! The lists in 0/0v0 and 0/10v0: a count, then entries of a fixed length.

use super::{ID_BYTES, Id};
use crate::gnutella::read::Reader;

/// Bytes of one feature.
const FEATURE_BYTES: usize = 6;

/// The messages that a peer understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids<'a>(&'a [u8]);

/// What a peer can do: four letters and a version each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features<'a>(&'a [u8]);

/// The entries that are there; a count that promises more is not believed.
fn entries(body: &[u8], size: usize) -> impl Iterator<Item = Reader<'_>> {
    let (count, rest) =
        body.split_first_chunk::<2>().map_or((0, body), |(n, rest)| (u16::from_le_bytes(*n), rest));
    rest.chunks_exact(size).take(usize::from(count)).map(Reader)
}

impl<'a> Ids<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        (body.len() >= 2).then_some(Self(body))
    }

    pub(super) const fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Each message.
    pub fn iter(&self) -> impl Iterator<Item = Id> + use<'a> {
        entries(self.0, ID_BYTES).filter_map(|mut r| Id::read(&mut r))
    }

    /// Whether the peer understands a message, in this version or a later one.
    #[must_use]
    pub fn supports(&self, id: Id) -> bool {
        self.iter().any(|i| (i.vendor, i.number) == (id.vendor, id.number) && i.version >= id.version)
    }
}

impl<'a> Features<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        (body.len() >= 2).then_some(Self(body))
    }

    pub(super) const fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Each feature and its version.
    pub fn iter(&self) -> impl Iterator<Item = ([u8; 4], u16)> + use<'a> {
        entries(self.0, FEATURE_BYTES).filter_map(|mut r| Some((r.array()?, r.u16_le()?)))
    }
}
