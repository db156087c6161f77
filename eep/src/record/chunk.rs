//! How entries lie in a file: in compressed chunks, each with its checksum, so that a file that was cut anywhere can be
//! read up to the cut.
//!
//! A file is [`MAGIC`] and chunks; a chunk is three little-endian numbers of four bytes (the length of its content, the
//! length of what is stored, the CRC-32 of what is stored) and what is stored: the content in LZ4's block format, or
//! as it is where that is not shorter or its writer had no time for it. The contents in a row are the entries; one may go
//! over several chunks.

use std::borrow::Cow;
use std::io::{self, Read};

/// The first bytes of a file; the last of them is the version of the format. Version 2 has entries that are relayed.
pub(crate) const MAGIC: [u8; 8] = *b"eeprec\0\x02";
/// The oldest version that is read.
pub(crate) const OLDEST: u8 = 1;
/// Bytes of content of one chunk.
pub(crate) const CONTENT_MAX: usize = 1 << 20;
const PREFIX: usize = 12;

/// One chunk: what lies before it, and what is stored.
#[derive(Debug)]
pub(crate) struct Chunk<'a> {
    prefix: [u8; PREFIX],
    stored: Cow<'a, [u8]>,
}

impl Chunk<'_> {
    /// Its bytes in a file, one part after the other.
    pub(crate) fn parts(&self) -> [&[u8]; 2] {
        [&self.prefix, &self.stored]
    }
}

/// Turns content into chunks.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    packed: Vec<u8>,
}

impl Packer {
    /// The chunk of at most [`CONTENT_MAX`] bytes of content, which is compressed or stored as it is.
    pub(crate) fn chunk<'a>(&mut self, content: &'a [u8], compress: bool) -> Chunk<'a> {
        let packed = if compress { self.compress(content) } else { None };
        let stored = packed.map_or(Cow::Borrowed(content), |packed| Cow::Owned(packed.to_vec()));
        let mut prefix = [0; PREFIX];
        let numbers = [content.len() as u32, stored.len() as u32, crc32fast::hash(&stored)];
        for (place, number) in prefix.chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        Chunk { prefix, stored }
    }

    /// Content in LZ4's format, where that is shorter.
    fn compress(&mut self, content: &[u8]) -> Option<&[u8]> {
        self.packed.resize(lz4_flex::block::get_maximum_output_size(content.len()), 0);
        let len = lz4_flex::block::compress_into(content, &mut self.packed).ok()?;
        (len < content.len()).then(|| &self.packed[..len])
    }

    /// Appends content to `out`, compressed, in as many chunks as it takes.
    pub(crate) fn pack(&mut self, content: &[u8], out: &mut Vec<u8>) {
        for piece in content.chunks(CONTENT_MAX) {
            self.chunk(piece, true).parts().into_iter().for_each(|part| out.extend_from_slice(part));
        }
    }
}

/// Why a file ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// After a whole chunk.
    Whole,
    /// In the middle of one, as when its writer was killed.
    Cut,
    /// What follows is not what was written.
    Damaged,
}

/// Appends the content of the next chunk to `content`; or why there is none.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn read(
    from: &mut impl Read,
    stored: &mut Vec<u8>,
    content: &mut Vec<u8>,
) -> io::Result<Option<End>> {
    let mut prefix = [0; PREFIX];
    match fill(from, &mut prefix)? {
        0 => return Ok(Some(End::Whole)),
        PREFIX => {}
        _ => return Ok(Some(End::Cut)),
    }
    let number = |at: usize| {
        let bytes = [prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]];
        u32::from_le_bytes(bytes)
    };
    let (len, stored_len, sum) = (number(0) as usize, number(4) as usize, number(8));
    if len == 0 || len > CONTENT_MAX || stored_len > len {
        return Ok(Some(End::Damaged));
    }
    stored.resize(stored_len, 0);
    if fill(from, stored)? < stored_len {
        return Ok(Some(End::Cut));
    }
    if crc32fast::hash(stored) != sum {
        return Ok(Some(End::Damaged));
    }
    let before = content.len();
    if stored_len == len {
        content.extend_from_slice(stored);
        return Ok(None);
    }
    content.resize(before + len, 0);
    if !lz4_flex::block::decompress_into(stored, &mut content[before..]).is_ok_and(|n| n == len) {
        content.truncate(before);
        return Ok(Some(End::Damaged));
    }
    Ok(None)
}

/// Reads until `buf` is full or nothing is left.
fn fill(from: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match from.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
