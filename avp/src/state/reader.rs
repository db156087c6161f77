//! The bytes of a state, read with every bound checked.

use std::sync::Arc;

use super::{Damaged, Saved};

/// Counters beyond this are no counters: none may overflow while the peer lives.
const COUNT_MAX: u64 = u64::MAX >> 1;

/// Reads what a [`super::Writer`] wrote.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Where the whole ends, to tell where something is.
    end: usize,
    shared: Vec<Arc<[u8]>>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, end: bytes.len(), shared: Vec::new() }
    }

    /// That the bytes are damaged here.
    pub(crate) fn damaged(&self) -> Damaged {
        Damaged(self.end - self.rest.len())
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn ensure(&self, sound: bool) -> Result<(), Damaged> {
        if sound { Ok(()) } else { Err(self.damaged()) }
    }

    /// That nothing is left.
    pub(crate) fn finish(&self) -> Result<(), Damaged> {
        self.ensure(self.rest.is_empty())
    }

    pub(crate) fn raw(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(self.damaged())?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(self.damaged())?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn load<T: Saved>(&mut self) -> Result<T, Damaged> {
        T::load(self)
    }

    /// A length, of elements of at least `each` bytes, that the rest of the bytes can have.
    pub(crate) fn len_of(&mut self, each: usize, max: usize) -> Result<usize, Damaged> {
        let at = self.damaged();
        let len = self.load::<u32>()? as usize;
        if len > max || len > self.rest.len() / each.max(1) { Err(at) } else { Ok(len) }
    }

    /// A list of at most `max` elements.
    pub(crate) fn list<T: Saved, C: FromIterator<T>>(&mut self, max: usize) -> Result<C, Damaged> {
        let len = self.len_of(1, max)?;
        (0..len).map(|_| self.load()).collect()
    }

    /// What [`super::Writer::buffer`] wrote, at most `max` bytes; with the same memory.
    pub(crate) fn buffer(&mut self, max: usize) -> Result<Vec<u8>, Damaged> {
        let at = self.damaged();
        let capacity = self.load::<u32>()? as usize;
        let len = self.len_of(1, max)?;
        // Buffers grow by doubling.
        if capacity < len || capacity > 2 * len + 8 {
            return Err(at);
        }
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend_from_slice(self.raw(len)?);
        Ok(bytes)
    }

    /// A message that may be found in several places, at most `max` bytes long.
    pub(crate) fn shared(&mut self, max: usize) -> Result<Arc<[u8]>, Damaged> {
        let at = self.damaged();
        let place = self.load::<u32>()? as usize;
        if place == self.shared.len() {
            let len = self.len_of(1, max)?;
            let message = self.raw(len)?;
            self.shared.push(message.into());
        }
        self.shared.get(place).cloned().ok_or(at)
    }

    /// Something that is counted, and goes on being counted.
    pub(crate) fn count(&mut self) -> Result<u64, Damaged> {
        let at = self.damaged();
        Some(self.load::<u64>()?).filter(|n| *n <= COUNT_MAX).ok_or(at)
    }

    /// The same in 32 bits.
    pub(crate) fn small_count(&mut self) -> Result<u32, Damaged> {
        let at = self.damaged();
        Some(self.load::<u32>()?).filter(|n| u64::from(*n) <= COUNT_MAX >> 32).ok_or(at)
    }

    /// The next part's number, version and bytes.
    pub(crate) fn section(&mut self) -> Result<(u8, u8, Self), Damaged> {
        let [tag, version] = self.array()?;
        let len = self.len_of(1, usize::MAX)?;
        let end = self.end - self.rest.len() + len;
        Ok((tag, version, Self { rest: self.raw(len)?, end, shared: Vec::new() }))
    }
}
