//! Receiving one connection's bytes as a zlib stream (RFC 1950).

use flate2::{Decompress, FlushDecompress, Status};

/// One connection's zlib stream. What was received and not yet inflated waits here, so that one small read of a
/// stream that inflates a thousandfold is delivered piece by piece, as fast as the proxylet takes it.
#[derive(Debug)]
pub(crate) struct Inflate {
    zlib: Decompress,
    compressed: Vec<u8>,
    done: usize,
    /// The last step filled all the room it was given: the decompressor may hold more.
    more: bool,
    ended: bool,
}

/// The received bytes are not a zlib stream, or go on after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;

impl Inflate {
    /// Bytes that may be handed over with the switch to compression.
    pub(crate) const REST_BYTES_MAX: usize = 64 << 10;

    pub(crate) fn new(rest: &[u8]) -> Self {
        Self { zlib: Decompress::new(true), compressed: rest.to_vec(), done: 0, more: false, ended: false }
    }

    /// Whether [`Self::step`] has something to do; otherwise bytes must be received first.
    pub(crate) fn is_ready(&self) -> bool {
        self.more || self.done < self.compressed.len()
    }

    /// Adds received bytes.
    pub(crate) fn push(&mut self, received: &[u8]) {
        self.compressed.extend_from_slice(received);
    }

    /// Inflates into `out`; how many bytes were put there. 0 says that bytes must be received first.
    pub(crate) fn step(&mut self, out: &mut [u8]) -> Result<usize, Corrupt> {
        if self.ended {
            return if self.done < self.compressed.len() { Err(Corrupt) } else { Ok(0) };
        }
        let (before_in, before_out) = (self.zlib.total_in(), self.zlib.total_out());
        let status = self.zlib.decompress(&self.compressed[self.done..], out, FlushDecompress::None);
        self.done += (self.zlib.total_in() - before_in) as usize;
        let inflated = (self.zlib.total_out() - before_out) as usize;
        self.ended = match status.map_err(|_| Corrupt)? {
            Status::StreamEnd => true,
            Status::Ok | Status::BufError => false,
        };
        self.more = inflated == out.len() && !self.ended;
        if self.done == self.compressed.len() {
            self.compressed = Vec::new();
            self.done = 0;
        }
        if self.ended && self.done < self.compressed.len() && inflated == 0 {
            return Err(Corrupt);
        }
        Ok(inflated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};
    use proptest::prelude::*;

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut c = Compress::new(Compression::new(6), true);
        let mut out = Vec::with_capacity(plain.len() + 1_024);
        c.compress_vec(plain, &mut out, FlushCompress::Finish).unwrap();
        out
    }

    /// Feeds a stream in pieces, with `room` bytes for each step.
    fn feed(stream: &[u8], piece: usize, room: usize) -> Result<Vec<u8>, Corrupt> {
        let (first, rest) = stream.split_at(piece.min(stream.len()));
        let (mut inflate, mut plain, mut out) = (Inflate::new(first), Vec::new(), vec![0; room]);
        for piece in std::iter::once(&[][..]).chain(rest.chunks(piece)) {
            inflate.push(piece);
            while inflate.is_ready() {
                let n = inflate.step(&mut out)?;
                if n == 0 {
                    break;
                }
                plain.extend_from_slice(&out[..n]);
            }
        }
        Ok(plain)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_cut_gives_the_same_bytes(
            plain in prop::collection::vec(0..4_u8, 0..20_000), piece in 1..5_000_usize, room in 1..5_000_usize,
        ) {
            prop_assert_eq!(feed(&zlib(&plain), piece, room), Ok(plain));
        }

        #[test]
        fn garbage_never_panics(stream in prop::collection::vec(any::<u8>(), 0..3_000), piece in 1..500_usize) {
            let _ = feed(&stream, piece, 512);
        }
    }

    #[test]
    fn a_bomb_comes_in_pieces() {
        let bomb = zlib(&vec![0; 50 << 20]);
        assert!(bomb.len() < 60 << 10);
        let mut inflate = Inflate::new(&bomb);
        let mut out = vec![0; 64 << 10];
        let mut total = 0;
        while inflate.is_ready() {
            total += inflate.step(&mut out).unwrap();
            assert!(inflate.compressed.capacity() <= bomb.len());
        }
        assert_eq!(total, 50 << 20);
    }

    #[test]
    fn what_is_no_stream_or_follows_its_end_is_corrupt() {
        assert_eq!(feed(b"GNUTELLA/0.6 200 OK\r\n", 100, 100), Err(Corrupt));
        let mut stream = zlib(b"hello");
        stream.extend_from_slice(b"more");
        assert_eq!(feed(&stream, 1_000, 100), Err(Corrupt));
        assert_eq!(feed(&stream, 1, 100), Err(Corrupt));
        let mut wrong_sum = zlib(b"hello");
        *wrong_sum.last_mut().unwrap() ^= 1;
        assert_eq!(feed(&wrong_sum, 1_000, 100), Err(Corrupt));
    }
}
