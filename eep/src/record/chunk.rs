//! How entries lie in a file: in compressed chunks, each with its checksum, so that a file that was cut anywhere can be
//! read up to the cut.
//!
//! A file is [`MAGIC`] and chunks; a chunk is three little-endian numbers of four bytes (the length of its content, the
//! length of what is stored, the CRC-32 of what is stored) and what is stored: the content in LZ4's block format, or
//! as it is where that is not shorter. The contents in a row are the entries; one may go over several chunks.

use std::io::{self, Read};

/// The first bytes of a file; the last of them is the version of the format.
pub(crate) const MAGIC: [u8; 8] = *b"eeprec\0\x01";
/// Bytes of content of one chunk.
pub(crate) const CONTENT_MAX: usize = 1 << 20;
const PREFIX: usize = 12;

/// Turns content into chunks.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    stored: Vec<u8>,
}

impl Packer {
    /// Appends content to `out` in as many chunks as it takes.
    pub(crate) fn pack(&mut self, content: &[u8], out: &mut Vec<u8>) {
        for piece in content.chunks(CONTENT_MAX) {
            self.stored.resize(lz4_flex::block::get_maximum_output_size(piece.len()), 0);
            let packed = lz4_flex::block::compress_into(piece, &mut self.stored).unwrap_or(usize::MAX);
            let stored = if packed < piece.len() { &self.stored[..packed] } else { piece };
            for number in [piece.len() as u32, stored.len() as u32, crc32fast::hash(stored)] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(stored);
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
