//! A table of routes at rest: 32 bytes an entry, in the order in which they were learnt.

use super::generation::Entry;
use super::{LinkId, PushRoute, QueryRoute, Routes};
use crate::gnutella::Guid;
use crate::state::{Damaged, Reader, Saved, Writer};

/// A route as it is saved: in so many bytes, which a table has many times.
pub(crate) trait Fixed<const N: usize>: Copy {
    fn to_bytes(self) -> [u8; N];
    fn from_bytes(bytes: &[u8; N]) -> Self;
}

impl LinkId {
    fn to_number(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.index)
    }

    fn from_number(number: u64) -> Self {
        Self { index: number as u32, serial: (number >> 32) as u32 }
    }
}

impl Fixed<16> for QueryRoute {
    fn to_bytes(self) -> [u8; 16] {
        let rest = u64::from(self.at_ms) << 32
            | u64::from(self.hits) << 16
            | u64::from(self.ttl) << 8
            | u64::from(self.dynamic);
        (u128::from(rest) << 64 | u128::from(self.link.to_number())).to_le_bytes()
    }

    fn from_bytes(bytes: &[u8; 16]) -> Self {
        let all = u128::from_le_bytes(*bytes);
        let (link, rest) = (LinkId::from_number(all as u64), (all >> 64) as u64);
        Self {
            link,
            at_ms: (rest >> 32) as u32,
            hits: (rest >> 16) as u16,
            ttl: (rest >> 8) as u8,
            dynamic: rest & 1 != 0,
        }
    }
}

impl Fixed<16> for PushRoute {
    fn to_bytes(self) -> [u8; 16] {
        let [first, latest] = self.links().map(|link| u128::from(link.to_number()));
        (latest << 64 | first).to_le_bytes()
    }

    fn from_bytes(bytes: &[u8; 16]) -> Self {
        let all = u128::from_le_bytes(*bytes);
        let [first, latest] = [all as u64, (all >> 64) as u64].map(LinkId::from_number);
        Self { first, latest }
    }
}

/// The bounds are the configuration's and are not saved.
impl<R> Routes<R> {
    pub(crate) fn save(&self, to: &mut Writer)
    where
        R: Fixed<16>,
    {
        self.began.save(to);
        self.turned.save(to);
        for generation in [&self.young, &self.old] {
            to.len_of(generation.len());
            to.reserve(32 * generation.len());
            for Entry { guid, route } in generation.entries() {
                to.raw([guid.0, route.to_bytes()].as_flattened());
            }
        }
    }

    /// Takes over what is known.
    pub(crate) fn load(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged>
    where
        R: Fixed<16>,
    {
        (self.began, self.turned) = (from.load()?, from.load()?);
        let hasher = self.hasher;
        for generation in [&mut self.young, &mut self.old] {
            let len = from.len_of(32, usize::MAX)?;
            generation.reserve(hasher, len);
            for entry in from.raw(32 * len)?.as_chunks::<32>().0 {
                let ([guid, route], _) = entry.as_chunks::<16>() else { continue };
                let entry = Entry { guid: Guid(*guid), route: R::from_bytes(route) };
                generation.insert(hasher, hasher.hash(entry.guid), entry);
            }
        }
        Ok(())
    }
}
