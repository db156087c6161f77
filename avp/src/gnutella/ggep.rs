//! The Gnutella Generic Extension Protocol (GGEP 0.5): blocks of named values behind a payload.
//!
//! A block is the magic byte, then extensions: flags (7 last, 6 COBS, 5 deflate, 3-0 length of the id), the id, the
//! length of the data in one to three bytes of six bits each (0x80 more follow, 0x40 the last), the data.

use std::borrow::Cow;

use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use super::read::Reader;

/// First byte of a block.
pub const MAGIC: u8 = 0xc3;
/// Longest id in bytes.
pub const ID_BYTES_MAX: usize = 15;
/// Longest data in bytes: three times six bits of length.
pub const DATA_BYTES_MAX: usize = (1 << 18) - 1;
/// Most extensions that are read from one block; real ones have under ten.
pub const EXTENSIONS_MAX: usize = 64;

const FLAG_LAST: u8 = 0x80;
const FLAG_COBS: u8 = 0x40;
const FLAG_DEFLATE: u8 = 0x20;
const DEFLATE_LEVEL: u8 = 6;

/// Why a block or a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The block ends inside an extension.
    #[error("GGEP block ends inside an extension")]
    Truncated,
    /// An id of no bytes, or the reserved flag is set.
    #[error("GGEP extension without a name")]
    Id,
    /// A length byte with neither or both of its marks, or a fourth one.
    #[error("GGEP length is malformed")]
    Length,
    /// More than [`EXTENSIONS_MAX`] extensions.
    #[error("GGEP block has more than {EXTENSIONS_MAX} extensions")]
    TooMany,
    /// A COBS block points past the end, or has a zero.
    #[error("GGEP data is not valid COBS")]
    Cobs,
    /// The deflated value is broken, or larger than the reader allows.
    #[error("GGEP data does not inflate within its bound")]
    Deflate,
}

/// One named value, as it lies in the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its name, 1 to [`ID_BYTES_MAX`] bytes.
    pub id: &'a [u8],
    /// Its bytes, still encoded where one of the next two says so.
    pub raw: &'a [u8],
    /// NULs are stuffed away.
    pub cobs: bool,
    /// Compressed (zlib).
    pub deflated: bool,
}

impl<'a> Extension<'a> {
    /// The value, decoded; borrowed where nothing had to be done.
    ///
    /// # Errors
    /// Broken encodings, and values of more than `bytes_max` bytes once inflated.
    pub fn data(&self, bytes_max: usize) -> Result<Cow<'a, [u8]>, Error> {
        let mut data = Cow::Borrowed(self.raw);
        if self.cobs {
            data = Cow::Owned(cobs_decode(&data)?);
        }
        if self.deflated {
            data =
                Cow::Owned(decompress_to_vec_zlib_with_limit(&data, bytes_max).map_err(|_| Error::Deflate)?);
        }
        Ok(data)
    }
}

/// A block, from its magic byte on. What follows its last extension is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a>(&'a [u8]);

impl<'a> Block<'a> {
    /// Bytes that begin with the magic byte.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        (bytes.first() == Some(&MAGIC)).then_some(Self(bytes))
    }

    /// All bytes from the magic byte on.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Each extension in turn; ends after the last one or the first error.
    #[must_use]
    pub fn iter(&self) -> Extensions<'a> {
        Extensions { rest: Reader(&self.0[1..]), left: EXTENSIONS_MAX, done: false }
    }

    /// The first extension with this name that can be reached without an error.
    #[must_use]
    pub fn find(&self, id: &[u8]) -> Option<Extension<'a>> {
        self.iter().map_while(Result::ok).find(|e| e.id == id)
    }

    /// The decoded value of the first extension with this name, at most `bytes_max` bytes.
    #[must_use]
    pub fn value(&self, id: &[u8], bytes_max: usize) -> Option<Cow<'a, [u8]>> {
        self.find(id)?.data(bytes_max).ok()
    }

    /// How many bytes the block has up to the end of its last extension.
    ///
    /// # Errors
    /// Where an extension on the way is malformed.
    pub fn extent(&self) -> Result<usize, Error> {
        let mut extensions = self.iter();
        for extension in extensions.by_ref() {
            extension?;
        }
        Ok(self.0.len() - extensions.rest.0.len())
    }
}

impl<'a> IntoIterator for Block<'a> {
    type Item = Result<Extension<'a>, Error>;
    type IntoIter = Extensions<'a>;
    fn into_iter(self) -> Extensions<'a> {
        self.iter()
    }
}

/// Iterator over the extensions of a [`Block`].
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    rest: Reader<'a>,
    left: usize,
    done: bool,
}

impl<'a> Extensions<'a> {
    fn step(&mut self) -> Result<Extension<'a>, Error> {
        self.left = self.left.checked_sub(1).ok_or(Error::TooMany)?;
        let flags = self.rest.u8().ok_or(Error::Truncated)?;
        let id = self.rest.take(usize::from(flags & 0x0f)).ok_or(Error::Truncated)?;
        if id.is_empty() || flags & 0x10 != 0 {
            return Err(Error::Id);
        }
        let mut len = 0;
        for n in 1.. {
            let byte = self.rest.u8().ok_or(Error::Truncated)?;
            len = len << 6 | usize::from(byte & 0x3f);
            match byte & 0xc0 {
                0x40 => break,
                0x80 if n < 3 => {}
                _ => return Err(Error::Length),
            }
        }
        let raw = self.rest.take(len).ok_or(Error::Truncated)?;
        self.done = flags & FLAG_LAST != 0;
        Ok(Extension { id, raw, cobs: flags & FLAG_COBS != 0, deflated: flags & FLAG_DEFLATE != 0 })
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Result<Extension<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let extension = self.step();
        self.done |= extension.is_err();
        Some(extension)
    }
}

/// Whether a payload may hold NULs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nul {
    /// Anywhere but in records of hits and in queries' text.
    #[default]
    Allowed,
    /// Values with a NUL are stuffed (COBS).
    Forbidden,
}

/// Writes a block. Lengths take the fewest bytes; values are stuffed only where they must be.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    bytes: Vec<u8>,
    last_at: usize,
    nul: Nul,
}

impl Builder {
    /// An empty block.
    #[must_use]
    pub const fn new(nul: Nul) -> Self {
        Self { bytes: Vec::new(), last_at: 0, nul }
    }

    /// Adds a value. An id that is empty, longer than [`ID_BYTES_MAX`] or has a NUL, and data over
    /// [`DATA_BYTES_MAX`], have no form on the wire and are left out.
    #[must_use]
    pub fn with(mut self, id: &[u8], data: &[u8]) -> Self {
        self.push(id, data);
        self
    }

    /// As [`Self::with`], in place.
    pub fn push(&mut self, id: &[u8], data: &[u8]) {
        self.write(id, Cow::Borrowed(data), 0);
    }

    /// Adds a value, compressed where that makes it shorter.
    pub fn push_deflated(&mut self, id: &[u8], data: &[u8]) {
        let small = compress_to_vec_zlib(data, DEFLATE_LEVEL);
        if small.len() < data.len() {
            self.write(id, Cow::Owned(small), FLAG_DEFLATE);
        } else {
            self.push(id, data);
        }
    }

    fn write(&mut self, id: &[u8], mut data: Cow<'_, [u8]>, mut flags: u8) {
        // Flags, ids and lengths never hold a NUL: each length byte carries 0x40 or 0x80.
        if self.nul == Nul::Forbidden && memchr::memchr(0, &data).is_some() {
            data = Cow::Owned(cobs_encode(&data));
            flags |= FLAG_COBS;
        }
        if id.is_empty() || id.len() > ID_BYTES_MAX || id.contains(&0) || data.len() > DATA_BYTES_MAX {
            return;
        }
        if self.bytes.is_empty() {
            self.bytes.push(MAGIC);
        }
        self.last_at = self.bytes.len();
        self.bytes.push(flags | id.len() as u8);
        self.bytes.extend_from_slice(id);
        let n = data.len();
        if n > 0xfff {
            self.bytes.push(0x80 | (n >> 12) as u8);
        }
        if n > 0x3f {
            self.bytes.push(0x80 | (n >> 6 & 0x3f) as u8);
        }
        self.bytes.push(0x40 | (n & 0x3f) as u8);
        self.bytes.extend_from_slice(&data);
    }

    /// The block; no bytes at all where nothing was added.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        if let Some(flags) = self.bytes.get_mut(self.last_at) {
            *flags |= FLAG_LAST;
        }
        self.bytes
    }
}

/// Consistent overhead byte stuffing: runs of up to 254 bytes without zeros, each led by its length plus one.
fn cobs_encode(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + data.len() / 254 + 1);
    for run in data.split(|b| *b == 0) {
        let mut chunks = run.chunks(254).peekable();
        if chunks.peek().is_none() {
            out.push(1);
        }
        while let Some(chunk) = chunks.next() {
            out.push(chunk.len() as u8 + 1);
            out.extend_from_slice(chunk);
            // A full run stands for no zero: one that ends the data or precedes a zero needs an empty one behind it.
            if chunk.len() == 254 && chunks.peek().is_none() {
                out.push(1);
            }
        }
    }
    out
}

fn cobs_decode(data: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(data.len());
    let mut rest = Reader(data);
    while let Some(code) = rest.u8() {
        let run = rest.take(usize::from(code).checked_sub(1).ok_or(Error::Cobs)?).ok_or(Error::Cobs)?;
        if run.contains(&0) {
            return Err(Error::Cobs);
        }
        out.extend_from_slice(run);
        if code != 0xff && !rest.0.is_empty() {
            out.push(0);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Behind a pong of an ultrapeer: vendor and version, GUESS, ultrapeer slots, daily uptime, TLS.
    const PONG: &[u8] =
        b"\xc3\x02VC\x45GTKG\x83\x03GUE\x41\x02\x02UP\x43\x02\xff\x32\x02DU\x41\xee\x83TLS\x40";

    #[test]
    fn a_captured_block_is_read_and_written_back() {
        let block = Block::parse(PONG).unwrap();
        let read: Vec<_> = block.iter().map(|e| e.map(|e| (e.id, e.raw)).unwrap()).collect();
        let expected: [(&[u8], &[u8]); 5] = [
            (b"VC", b"GTKG\x83"),
            (b"GUE", b"\x02"),
            (b"UP", b"\x02\xff\x32"),
            (b"DU", b"\xee"),
            (b"TLS", b""),
        ];
        assert_eq!(read, expected);
        assert_eq!(block.extent(), Ok(PONG.len()));
        assert_eq!(block.find(b"UP").map(|e| e.raw), Some(&b"\x02\xff\x32"[..]));
        assert_eq!(block.find(b"up"), None);
        let mut builder = Builder::new(Nul::Allowed);
        expected.iter().for_each(|(id, data)| builder.push(id, data));
        assert_eq!(builder.finish(), PONG);
    }

    #[test]
    fn each_way_to_be_malformed_has_its_error() {
        fn last(bytes: &[u8]) -> Option<Result<Extension<'_>, Error>> {
            Block::parse(bytes).unwrap().iter().last()
        }
        assert_eq!(last(b"\xc3"), Some(Err(Error::Truncated)));
        assert_eq!(last(b"\xc3\x82A"), Some(Err(Error::Truncated)));
        assert_eq!(last(b"\xc3\x81A\x42x"), Some(Err(Error::Truncated)));
        assert_eq!(last(b"\xc3\x80"), Some(Err(Error::Id)));
        assert_eq!(last(b"\xc3\x91A\x40"), Some(Err(Error::Id)));
        assert_eq!(last(b"\xc3\x81A\x00"), Some(Err(Error::Length)));
        assert_eq!(last(b"\xc3\x81A\x81\x81\x81\x41"), Some(Err(Error::Length)));
        let endless: Vec<u8> = [MAGIC].into_iter().chain(b"\x01A\x40".repeat(EXTENSIONS_MAX + 1)).collect();
        assert_eq!(last(&endless), Some(Err(Error::TooMany)));
        assert_eq!(Block::parse(b"urn:"), None);
    }

    #[test]
    fn a_bomb_does_not_inflate_past_the_bound() {
        let mut builder = Builder::new(Nul::Allowed);
        builder.push_deflated(b"Z", &[0; 100_000]);
        let bytes = builder.finish();
        assert!(bytes.len() < 1000);
        let bomb = Block::parse(&bytes).unwrap().find(b"Z").unwrap();
        assert_eq!(bomb.data(1000), Err(Error::Deflate));
        assert_eq!(bomb.data(100_000).unwrap().len(), 100_000);
    }

    #[test]
    fn what_has_no_form_on_the_wire_is_left_out() {
        let built = Builder::new(Nul::Allowed).with(b"", b"x").with(&[b'a'; 16], b"x").with(b"a\0", b"x");
        assert!(built.finish().is_empty());
    }

    fn value() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        (vec(1..=255_u8, 1..=ID_BYTES_MAX), vec(prop_oneof![Just(0_u8), any::<u8>()], 0..5000))
    }

    proptest! {
        #[test]
        fn what_is_built_is_read(values in vec(value(), 1..8), forbid: bool, deflate: bool) {
            let mut builder = Builder::new(if forbid { Nul::Forbidden } else { Nul::Allowed });
            for (id, data) in &values {
                if deflate { builder.push_deflated(id, data) } else { builder.push(id, data) }
            }
            let bytes = builder.finish();
            prop_assert!(!forbid || !bytes.contains(&0));
            let block = Block::parse(&bytes).unwrap();
            prop_assert_eq!(block.extent(), Ok(bytes.len()));
            let read: Vec<_> = block.iter().map(|e| {
                let e = e.unwrap();
                (e.id.to_vec(), e.data(5000).unwrap().into_owned())
            }).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in vec(any::<u8>(), 1..600)) {
            bytes[0] = MAGIC;
            let block = Block::parse(&bytes).unwrap();
            for extension in block.iter().flatten() {
                let _ = extension.data(4096);
            }
            let _ = block.extent();
        }

        #[test]
        fn stuffing_is_undone(data in vec(prop_oneof![3 => 1..=255_u8, 1 => Just(0_u8)], 0..2000), run in 0..600_usize) {
            for data in [data, vec![7; run]] {
                let stuffed = cobs_encode(&data);
                prop_assert!(!stuffed.contains(&0));
                prop_assert_eq!(cobs_decode(&stuffed), Ok(data));
            }
        }
    }
}
