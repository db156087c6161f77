//! Sending one connection's bytes as a zlib stream (RFC 1950).
//!
//! A compressor takes some 300 KB; ten thousand connections cannot each have one. A stream that is flushed to a byte
//! boundary (RFC 1951, 3.2.4: an empty stored block) may be continued by any compressor that emits raw blocks, so all
//! connections of a service share one, which is reset for each flush. What a connection keeps is its checksum and the
//! bytes that wait for the next flush, and the last few KiB that were sent, to refer back to.

use std::mem;

use adler2::Adler32;
use flate2::{Compress, Compression, FlushCompress, Status};

/// The compressor that all connections of one service share.
#[derive(Debug)]
pub(crate) struct Compressor {
    raw: Compress,
}

/// Favours speed: relayed traffic is short and mixed, and higher levels gain a few percent for twice the time.
const LEVEL: u32 = 1;

impl Compressor {
    pub(crate) fn new() -> Self {
        Self { raw: Compress::new(Compression::new(LEVEL), false) }
    }

    /// Appends `plain` to `out` as raw blocks that end at a byte boundary or, if `last`, as the end of the stream.
    fn compress(&mut self, history: &[u8], plain: &[u8], last: bool, out: &mut Vec<u8>) {
        self.raw.reset();
        if !history.is_empty() {
            // Only fails for a stream that has begun, and this one was just reset.
            let _ = self.raw.set_dictionary(history);
        }
        let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
        let mut done = 0;
        loop {
            let room = (plain.len() - done) / 2 + 64;
            out.reserve(room);
            let (before_in, before_out) = (self.raw.total_in(), out.len());
            let status = self.raw.compress_vec(&plain[done..], out, flush);
            done += (self.raw.total_in() - before_in) as usize;
            // A full buffer means that more may be to come; a call that left room has said everything.
            let full = out.len() == out.capacity();
            let progress = out.len() > before_out;
            if matches!(status, Ok(Status::StreamEnd) | Err(_)) || !full || (!progress && done == plain.len())
            {
                return;
            }
        }
    }
}

/// One connection's zlib stream.
#[derive(Debug)]
pub(crate) struct Deflate {
    plain: Vec<u8>,
    history: Vec<u8>,
    checksum: Adler32,
    begun: bool,
    timer_set: bool,
}

impl Deflate {
    /// Bytes that wait before they are compressed and sent.
    pub(crate) const FLUSH_BYTES: usize = 4 << 10;
    /// Nanoseconds that they wait at most.
    pub(crate) const FLUSH_AFTER_NS: u64 = 200_000_000;
    /// Bytes sent before that later ones may refer back to.
    const HISTORY_BYTES: usize = 4 << 10;
    /// CMF: deflate with a window of 32 KiB; FLG: fastest, no dictionary, check bits (RFC 1950, 2.2).
    const HEADER: [u8; 2] = [0x78, 0x01];

    pub(crate) fn new() -> Self {
        Self {
            plain: Vec::new(),
            history: Vec::new(),
            checksum: Adler32::new(),
            begun: false,
            timer_set: false,
        }
    }

    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.plain.len()
    }

    /// Adds bytes.
    pub(crate) fn push(&mut self, run: &[u8]) {
        self.plain.extend_from_slice(run);
    }

    /// Whether bytes wait and no one has been told to flush them in time. There is one timer a connection.
    pub(crate) fn wants_flush_timer(&mut self) -> bool {
        !self.plain.is_empty() && !mem::replace(&mut self.timer_set, true)
    }

    /// Whether there is something to flush.
    pub(crate) fn flush_timer_fired(&mut self) -> bool {
        self.timer_set = false;
        !self.plain.is_empty()
    }

    /// Compresses what waits.
    pub(crate) fn flush(&mut self, compressor: &mut Compressor, out: &mut Vec<u8>) {
        if !self.plain.is_empty() {
            self.emit(compressor, false, out);
        }
    }

    /// Compresses what waits and ends the stream.
    pub(crate) fn finish(&mut self, compressor: &mut Compressor, out: &mut Vec<u8>) {
        self.emit(compressor, true, out);
        out.extend_from_slice(&self.checksum.checksum().to_be_bytes());
    }

    fn emit(&mut self, compressor: &mut Compressor, last: bool, out: &mut Vec<u8>) {
        if !self.begun {
            out.extend_from_slice(&Self::HEADER);
            self.begun = true;
        }
        self.checksum.write_slice(&self.plain);
        compressor.compress(&self.history, &self.plain, last, out);
        self.remember();
    }

    /// Moves what was sent into the history. An idle connection keeps no more than that.
    fn remember(&mut self) {
        let sent = mem::take(&mut self.plain);
        if sent.len() >= Self::HISTORY_BYTES {
            self.history.clear();
            self.history.extend_from_slice(&sent[sent.len() - Self::HISTORY_BYTES..]);
        } else {
            let excess = (self.history.len() + sent.len()).saturating_sub(Self::HISTORY_BYTES);
            self.history.drain(..excess);
            self.history.extend_from_slice(&sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Decompress, FlushDecompress};
    use proptest::prelude::*;

    /// What a peer's zlib makes of it, and whether it saw the end.
    fn inflate(stream: &[u8], expected: usize) -> (Vec<u8>, bool) {
        let mut zlib = Decompress::new(true);
        let mut out = Vec::with_capacity(expected + 64);
        let status = zlib.decompress_vec(stream, &mut out, FlushDecompress::Sync).unwrap();
        assert_eq!(zlib.total_in(), stream.len() as u64);
        (out, status == Status::StreamEnd)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_flush_can_be_read_and_the_whole_is_one_stream(
            runs in prop::collection::vec((prop::collection::vec(0..6_u8, 0..9_000), any::<bool>()), 0..12),
            finish in any::<bool>(),
        ) {
            let mut shared = Compressor::new();
            let mut other = Deflate::new();
            let (mut deflate, mut stream, mut plain) = (Deflate::new(), Vec::new(), Vec::new());
            for (run, flush) in runs {
                deflate.push(&run);
                plain.extend_from_slice(&run);
                if flush {
                    deflate.flush(&mut shared, &mut stream);
                    prop_assert_eq!(&inflate(&stream, plain.len()).0, &plain);
                }
                // Another connection uses the same compressor in between.
                other.push(&run);
                other.flush(&mut shared, &mut Vec::new());
            }
            if finish {
                deflate.finish(&mut shared, &mut stream);
            } else {
                deflate.flush(&mut shared, &mut stream);
            }
            prop_assert_eq!(inflate(&stream, plain.len()), (plain, finish));
        }
    }

    #[test]
    fn incompressible_bytes_do_not_grow_much() {
        let plain: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let (mut deflate, mut stream) = (Deflate::new(), Vec::new());
        deflate.push(&plain);
        deflate.flush(&mut Compressor::new(), &mut stream);
        assert!(stream.len() < plain.len() + plain.len() / 100 + 64);
        assert_eq!(inflate(&stream, plain.len()).0, plain);
    }

    #[test]
    fn an_idle_connection_keeps_little() {
        let (mut deflate, mut compressor) = (Deflate::new(), Compressor::new());
        for _ in 0..20 {
            deflate.push(&[7; 50_000]);
            deflate.flush(&mut compressor, &mut Vec::new());
        }
        assert!(deflate.plain.capacity() == 0 && deflate.history.len() <= Deflate::HISTORY_BYTES);
    }
}
