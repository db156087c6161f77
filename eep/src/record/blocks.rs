//! A file that is appended to in large blocks, around the page cache.
//!
//! Nobody reads a recording while it is written at a high rate, and the system's copying of it into pages that it has to
//! find first takes several times the processor's time of all else that a writer does. So a block that fills up is handed
//! to the disk as it lies in memory. What comes too slowly for that goes through the page cache, where it can be read at
//! once: the length of the file is always that of what was written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl};

/// Bytes of a block.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;
/// What addresses, lengths and places in a file are multiples of that a disk is given: no usual one asks for more. Where one
/// does, it refuses the first block.
const ALIGN: usize = 4_096;

/// The end of a file.
#[derive(Debug)]
pub(crate) struct Blocks {
    file: File,
    way: Way,
    memory: Vec<u8>,
    /// Where in the memory the block begins.
    begin: usize,
    /// Where in the file it belongs.
    at: u64,
    /// Bytes that are in the block.
    filled: usize,
    /// How many of them are in the file.
    written: usize,
    /// Since when there are some that are not.
    since: Option<Instant>,
}

/// How the file is written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Around,
    Through,
    /// Its file system knows no other.
    ThroughOnly,
}

impl Blocks {
    /// How long bytes may wait for their block to fill up.
    pub(crate) const WAIT_MAX: Duration = Duration::from_millis(200);

    /// A new file.
    pub(crate) fn new(file: File) -> Self {
        let memory = vec![0; BLOCK_BYTES + ALIGN];
        let begin = memory.as_ptr().addr().wrapping_neg() % ALIGN;
        Self { file, way: Way::Through, memory, begin, at: 0, filled: 0, written: 0, since: None }
    }

    /// Goes on with another, new file. The end of this one has to be settled.
    pub(crate) fn renew(&mut self, file: File) {
        self.file = file;
        self.way = Way::Through;
        (self.at, self.filled, self.written, self.since) = (0, 0, 0, None);
    }

    /// Adds bytes. Where it is `behind`, the page cache takes them: it takes more at a time than a slow disk.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn append(&mut self, mut bytes: &[u8], behind: bool) -> io::Result<()> {
        while let room @ 1.. = bytes.len().min(BLOCK_BYTES - self.filled) {
            let (now, later) = bytes.split_at(room);
            let end = self.begin + self.filled;
            self.memory[end..end + room].copy_from_slice(now);
            self.filled += room;
            self.since.get_or_insert_with(Instant::now);
            bytes = later;
            if self.filled == BLOCK_BYTES {
                self.finish(behind)?;
            }
        }
        Ok(())
    }

    /// Writes the block, which is full, and begins the next.
    fn finish(&mut self, behind: bool) -> io::Result<()> {
        // What is in the page cache already would have to get to the disk first.
        if self.written == 0 && !behind && self.go(Way::Around) {
            let block = &self.memory[self.begin..self.begin + BLOCK_BYTES];
            match self.file.write_at(block, self.at) {
                // Where it is not all, the rest is tried the other way, which says why.
                Ok(written) => self.written = written,
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.go(Way::ThroughOnly);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.settle()?;
        self.at += BLOCK_BYTES as u64;
        (self.filled, self.written) = (0, 0);
        Ok(())
    }

    /// Writes what waits for its block to fill up, where it has waited long.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn settle_old(&mut self) -> io::Result<()> {
        match self.since {
            Some(since) if since.elapsed() >= Self::WAIT_MAX => self.settle(),
            _ => Ok(()),
        }
    }

    /// Writes what waits for its block to fill up.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        self.since = None;
        if self.written < self.filled {
            self.go(Way::Through);
            let rest = &self.memory[self.begin + self.written..self.begin + self.filled];
            self.file.write_all_at(rest, self.at + self.written as u64)?;
            self.written = self.filled;
        }
        Ok(())
    }

    /// Has the file written in another way, where its file system knows it; whether it does.
    fn go(&mut self, way: Way) -> bool {
        if self.way == way || (self.way, way) == (Way::ThroughOnly, Way::Through) {
            return true;
        }
        if self.way == Way::ThroughOnly {
            return false;
        }
        let flags = if way == Way::Around { OFlags::DIRECT } else { OFlags::empty() };
        match fcntl_setfl(&self.file, flags) {
            Ok(()) => self.way = way,
            Err(_) => self.way = Way::ThroughOnly,
        }
        self.way == way
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    /// What is done to a file.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Append { bytes: usize, behind: bool },
        Settle,
        SettleOld,
    }

    fn step() -> impl Strategy<Value = Step> {
        let bytes = prop_oneof![0..9_000_usize, BLOCK_BYTES - 2..BLOCK_BYTES + 3, 0..3 * BLOCK_BYTES];
        prop_oneof![
            4 => (bytes, any::<bool>()).prop_map(|(bytes, behind)| Step::Append { bytes, behind }),
            1 => Just(Step::Settle),
            1 => Just(Step::SettleOld),
        ]
    }

    /// Does all of it, with the file looked at after each step; what was appended.
    fn run(blocks: &mut Blocks, path: &std::path::Path, steps: &[Step]) -> Vec<u8> {
        let mut all: Vec<u8> = Vec::new();
        for step in steps {
            match *step {
                Step::Append { bytes, behind } => {
                    let from = all.len();
                    all.extend((from..from + bytes).map(|i| ((i * 31) >> 7) as u8));
                    blocks.append(&all[from..], behind).unwrap();
                }
                Step::Settle => blocks.settle().unwrap(),
                Step::SettleOld => blocks.settle_old().unwrap(),
            }
            let read = fs::read(path).unwrap();
            assert!(all.starts_with(&read), "{step:?}");
            let missing = all.len() - read.len();
            assert!(missing < BLOCK_BYTES, "{step:?}: {missing} bytes");
            assert!(missing == 0 || !matches!(step, Step::Settle));
        }
        blocks.settle().unwrap();
        assert!(fs::read(path).unwrap() == all);
        all
    }

    #[test]
    fn bytes_do_not_wait_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut blocks = Blocks::new(File::create(&path).unwrap());
        blocks.append(b"bytes", false).unwrap();
        blocks.since = blocks.since.and_then(|since| since.checked_sub(Blocks::WAIT_MAX));
        blocks.settle_old().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"bytes");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_file_is_always_what_was_written_first(
            steps in prop::collection::vec(step(), 1..12),
            then in prop::collection::vec(step(), 1..4),
            refused in 0..3,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            let mut blocks = Blocks::new(File::create(&path).unwrap());
            match refused {
                // A disk that wants something else of addresses than they are here.
                1 => blocks.begin += 1,
                2 => blocks.way = Way::ThroughOnly,
                _ => {}
            }
            run(&mut blocks, &path, &steps);
            let next = dir.path().join("next");
            blocks.renew(File::create(&next).unwrap());
            run(&mut blocks, &next, &then);
        }
    }
}
