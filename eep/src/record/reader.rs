//! Recordings read back: entry by entry, in bounded memory, whatever the file holds.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use serde::Serialize;

use crate::record::CALL_BYTES_MAX;
use crate::record::chunk::{self, MAGIC, OLDEST};
use crate::record::entry::{PREFIX, Tag, prefix};

/// Bytes of one entry, and so about what a reader holds.
const ENTRY_BYTES_MAX: usize = CALL_BYTES_MAX;

/// Why a recording cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refuses.
    #[error("the file cannot be read: {0}")]
    System(#[from] io::Error),
    /// Nothing is in it.
    #[error("the file is empty: what recorded into it was ended before anything had happened")]
    Nothing,
    /// It is something else.
    #[error("this is not a recording")]
    NotARecording,
    /// It is one, of another version of the format.
    #[error(
        "the recording is in version {0} of the format; this version of eep reads versions {OLDEST} to {ours}",
        ours = MAGIC[7]
    )]
    Version(u8),
}

/// How a recording ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Where its writer ended it.
    #[default]
    Whole,
    /// In the middle of what was being written: its writer was killed. What is before can be replayed.
    Cut,
    /// In what was never written so: it was damaged later. What is before can be replayed.
    Damaged,
}

/// One entry of a recording.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) tag: Tag,
    pub(crate) first: &'a [u8],
    pub(crate) second: &'a [u8],
}

/// Reads entries.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    stored: Vec<u8>,
    content: Vec<u8>,
    /// How much of the content has been read.
    at: usize,
    ending: Option<Ending>,
}

impl Reader<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be read, or it is no recording.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Self::new(BufReader::new(File::open(path)?))
    }
}

impl<R: Read> Reader<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// It cannot be read, or it is no recording.
    pub fn new(mut from: R) -> Result<Self, ReadError> {
        let mut magic = Vec::new();
        from.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic)?;
        if magic.is_empty() {
            return Err(ReadError::Nothing);
        }
        let Ok(magic) = <[u8; MAGIC.len()]>::try_from(magic) else {
            return Err(ReadError::NotARecording);
        };
        match (magic[..7] == MAGIC[..7], (OLDEST..=MAGIC[7]).contains(&magic[7])) {
            (false, _) => Err(ReadError::NotARecording),
            (true, false) => Err(ReadError::Version(magic[7])),
            (true, true) => Ok(Self { from, stored: Vec::new(), content: Vec::new(), at: 0, ending: None }),
        }
    }

    /// How it ends; meant for when there is no next entry.
    pub fn ending(&self) -> Ending {
        self.ending.unwrap_or_default()
    }

    /// The next entry.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry<'_>>> {
        if !self.fill(PREFIX)? {
            return Ok(None);
        }
        let Some(bytes) = self.content[self.at..].first_chunk() else { return Ok(None) };
        let Some((tag, first, second)) = prefix(bytes).filter(|(_, a, b)| a + b <= ENTRY_BYTES_MAX) else {
            self.ending = Some(Ending::Damaged);
            return Ok(None);
        };
        if !self.fill(PREFIX + first + second)? {
            return Ok(None);
        }
        let start = self.at + PREFIX;
        self.at = start + first + second;
        let (first, second) = self.content[start..self.at].split_at(first);
        Ok(Some(Entry { tag, first, second }))
    }

    /// Makes sure that so many bytes are there; whether they are.
    fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        if self.content.len() - self.at >= bytes {
            return Ok(true);
        }
        self.content.drain(..self.at);
        self.at = 0;
        while self.content.len() < bytes {
            if self.ending.is_some() {
                return Ok(false);
            }
            if let Some(end) = chunk::read(&mut self.from, &mut self.stored, &mut self.content)? {
                self.ending = Some(match end {
                    // The last entry is not there whole.
                    chunk::End::Whole if self.content.is_empty() => Ending::Whole,
                    chunk::End::Whole | chunk::End::Cut => Ending::Cut,
                    chunk::End::Damaged => Ending::Damaged,
                });
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::chunk::Packer;
    use crate::record::entry::put;
    use proptest::prelude::*;

    /// Tag and lengths of an entry.
    type Shape = (Tag, usize, usize);

    /// All entries that can be read, and how it ends.
    fn read(bytes: &[u8]) -> Result<(Vec<Shape>, Ending), ReadError> {
        let mut reader = Reader::new(bytes)?;
        let mut found = Vec::new();
        while let Some(entry) = reader.next()? {
            found.push((entry.tag, entry.first.len(), entry.second.len()));
        }
        Ok((found, reader.ending()))
    }

    fn file(entries: &[(usize, usize)]) -> Vec<u8> {
        let mut content = Vec::new();
        for (i, (first, second)) in entries.iter().enumerate() {
            // Half of it is random enough not to be compressed.
            let noise = |n: usize| (0..n).map(|j| if i % 2 == 0 { 7 } else { ((j * j * 31) >> 3) as u8 });
            let (first, second): (Vec<u8>, Vec<u8>) = (noise(*first).collect(), noise(*second).collect());
            put(&mut content, Tag::Import, &first, &second);
        }
        let mut out = MAGIC.to_vec();
        let mut packer = Packer::default();
        for piece in content.chunks(3_000_000) {
            packer.pack(piece, &mut out);
        }
        out
    }

    #[test]
    fn entries_go_over_chunks() {
        let lens = [(0, 0), (3 << 20, 5), (1, 2 << 20), (70_000, 70_000)];
        let (found, ending) = read(&file(&lens)).unwrap();
        assert_eq!(found, lens.map(|(a, b)| (Tag::Import, a, b)));
        assert_eq!(ending, Ending::Whole);
    }

    #[test]
    fn what_is_no_recording_is_told() {
        assert!(matches!(read(b""), Err(ReadError::Nothing)));
        assert!(matches!(read(b"eepre"), Err(ReadError::NotARecording)));
        assert!(matches!(read(b"\0asm\x01\0\0\0"), Err(ReadError::NotARecording)));
        assert!(matches!(read(b"eeprec\0\x09"), Err(ReadError::Version(9))));
        assert_eq!(read(&MAGIC).unwrap(), (vec![], Ending::Whole));
    }

    #[test]
    fn older_versions_are_read() {
        let mut bytes = file(&[(30, 3_000), (1, 5)]);
        let now = read(&bytes).unwrap();
        bytes[7] = OLDEST;
        assert_eq!((now.0.len(), read(&bytes).unwrap()), (2, now));
    }

    #[test]
    fn an_entry_that_says_to_be_huge_is_not_believed() {
        let mut content = vec![Tag::Call as u8];
        content.extend([0xff; 8]);
        let mut out = MAGIC.to_vec();
        Packer::default().pack(&content, &mut out);
        assert_eq!(read(&out).unwrap(), (vec![], Ending::Damaged));
    }

    proptest! {
        #[test]
        fn a_file_that_is_cut_anywhere_can_be_read_up_to_the_cut(
            lens in prop::collection::vec((0..3_000_usize, 0..3_000_usize), 1..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = file(&lens);
            let cut = MAGIC.len() + cut.index(whole.len() - MAGIC.len());
            let (found, ending) = read(&whole[..cut]).unwrap();
            prop_assert!(found.len() < lens.len());
            for (found, put) in found.iter().zip(&lens) {
                prop_assert_eq!((found.1, found.2), *put);
            }
            prop_assert!(ending == Ending::Cut || cut == MAGIC.len());
        }

        #[test]
        fn a_changed_byte_is_found_or_changes_nothing(
            lens in prop::collection::vec((0..3_000_usize, 0..3_000_usize), 1..20),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u8,
        ) {
            let mut bytes = file(&lens);
            let at = MAGIC.len() + at.index(bytes.len() - MAGIC.len());
            bytes[at] ^= 1 << bit;
            let (found, _) = read(&bytes).unwrap();
            prop_assert!(found.len() <= lens.len());
            for (found, put) in found.iter().zip(&lens) {
                prop_assert_eq!((found.1, found.2), *put);
            }
        }

        #[test]
        fn any_bytes_are_read_in_bounded_memory(mut bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
            let _ = read(&bytes);
            bytes.splice(..0, MAGIC);
            let mut reader = Reader::new(bytes.as_slice()).unwrap();
            while reader.next().unwrap().is_some() {}
            prop_assert!(reader.content.capacity() <= 2 * chunk::CONTENT_MAX);
        }
    }
}
