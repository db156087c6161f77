//! From changes of a table to messages.

use std::fmt;

use miniz_oxide::DataFormat;
use miniz_oxide::deflate::CompressionLevel;
use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, compress_to_output};

use super::message::{Compressor, RouteUpdate};
use super::table::Table;

/// Bytes of data in one PATCH: what strict peers send themselves.
pub const PATCH_DATA_BYTES: usize = 512;
/// Most bytes of data in one PATCH, for tables that would not fit into 255 of the usual ones.
pub const PATCH_DATA_BYTES_MAX: usize = 4096;
/// The distance that means "absent", as strict peers send it; "present" is one less.
pub const INFINITY: u8 = 2;
/// Bits of one slot's change. One bit is shorter, but some peers read it wrongly.
const BITS: u8 = 4;
/// Present: one less than [`INFINITY`], in four bits.
const NOW_PRESENT: u8 = 0x0f;
/// Absent: one more.
const NOW_ABSENT: u8 = 0x01;
const DEFLATE_LEVEL: CompressionLevel = CompressionLevel::DefaultLevel;

/// Compresses tables. It has 300 KiB, which who sends many of them need not make anew each time.
pub struct Deflater(Box<CompressorOxide>);

impl Default for Deflater {
    fn default() -> Self {
        Self(Box::new(CompressorOxide::with_format_and_level(DataFormat::Zlib, DEFLATE_LEVEL)))
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deflater")
    }
}

impl Deflater {
    fn zlib(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut zlib = Vec::with_capacity(plain.len() / 8);
        // Nothing can fail that may take all it is given.
        compress_to_output(&mut self.0, plain, TDEFLFlush::Finish, |out| {
            zlib.extend_from_slice(out);
            true
        });
        self.0.reset();
        zlib
    }
}

/// The payloads that make a peer's copy of `old` into `new`: no PATCH where nothing changed, and a RESET first where
/// there is no `old` or its size differs. After a RESET there is a PATCH even where nothing is present: until it comes,
/// gtk-gnutella takes the table for unfinished, and sends every query that it should have kept back.
#[must_use]
pub fn updates(old: Option<&Table>, new: &Table) -> Vec<Vec<u8>> {
    updates_by(&mut Deflater::default(), old, new)
}

/// [`updates`], compressed by what has compressed others.
#[must_use]
pub fn updates_by(deflater: &mut Deflater, old: Option<&Table>, new: &Table) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let old = old.filter(|old| old.log2() == new.log2());
    if old.is_none() {
        out.push(RouteUpdate::Reset { slots_log2: new.log2(), infinity: INFINITY }.encode());
    }
    if old == Some(new) {
        return out;
    }
    let zlib = deflater.zlib(&differences(old, new));
    // A table of 2^21 slots that does not compress at all has 1 MiB: 255 patches of just over 4 KiB.
    let size = PATCH_DATA_BYTES.max(zlib.len().div_ceil(255));
    let count = zlib.len().div_ceil(size) as u8;
    for (n, data) in zlib.chunks(size).enumerate() {
        let patch =
            RouteUpdate::Patch { seq: n as u8 + 1, count, compressor: Compressor::Zlib, bits: BITS, data };
        out.push(patch.encode());
    }
    out
}

/// Four bits a slot, the first slot in the high half.
fn differences(old: Option<&Table>, new: &Table) -> Vec<u8> {
    let nibble = |was: bool, is: bool| match (was, is) {
        (false, true) => NOW_PRESENT,
        (true, false) => NOW_ABSENT,
        _ => 0,
    };
    let mut plain = Vec::with_capacity(new.slots() as usize / 2);
    for (n, is) in new.words().iter().enumerate() {
        let was = old.map_or(0, |old| old.words()[n]);
        if was == *is {
            plain.resize(plain.len() + 32, 0);
            continue;
        }
        let at = |slot: u32| nibble(was >> slot & 1 != 0, is >> slot & 1 != 0);
        plain.extend((0..64).step_by(2).map(|slot| at(slot) << 4 | at(slot + 1)));
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::gnutella::qrp::Receiver;

    fn table(log2: u8, hashes: &[u32]) -> Table {
        let mut table = Table::new(log2);
        hashes.iter().for_each(|h| table.add(*h));
        table
    }

    #[test]
    fn an_empty_table_is_a_reset_and_a_patch_that_changes_nothing() {
        let empty = updates(None, &Table::new(14));
        assert_eq!((empty.len(), &empty[0][..]), (2, &[0, 0, 0x40, 0, 0, 2][..]));
        assert!(empty[1].len() < 100);
        let full = table(14, &[1 << 20]);
        assert!(updates(Some(&full), &full).is_empty());
        assert_eq!(updates(Some(&full), &Table::new(14)).len(), 1);
        assert_eq!(updates(Some(&full), &Table::new(15)).len(), 2);
    }

    #[test]
    fn what_was_compressed_before_changes_nothing() {
        let mut deflater = Deflater::default();
        for n in [3_000, 1, 0, 400] {
            let new = table(14, &(0..n).map(|h: u32| h.wrapping_mul(0x9e37_79b9)).collect::<Vec<_>>());
            assert_eq!(updates_by(&mut deflater, None, &new), updates(None, &new));
            let zlib = miniz_oxide::deflate::compress_to_vec_zlib(&differences(None, &new), 6);
            assert_eq!(deflater.zlib(&differences(None, &new)), zlib);
        }
    }

    #[test]
    fn the_largest_table_of_noise_fits_into_a_sequence() {
        let mut new = Table::new(21);
        let mut x = 1_u32;
        for _ in 0..1 << 20 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            new.add(x);
        }
        let messages = updates(None, &new);
        assert!(messages.len() <= 256);
        assert!(messages.iter().all(|m| m.len() <= 5 + PATCH_DATA_BYTES_MAX));
        let (mut receiver, mut copy) = (Receiver::default(), Table::new(10));
        for message in &messages {
            receiver.receive(message, &mut copy).unwrap();
        }
        assert_eq!(copy, new);
    }

    proptest! {
        #[test]
        fn a_receiver_follows(tables in vec((10..=16_u8, vec(any::<u32>(), 0..400)), 1..6)) {
            let (mut receiver, mut copy, mut last) = (Receiver::default(), Table::new(10), None::<Table>);
            for (log2, hashes) in tables {
                let new = table(log2, &hashes);
                for message in updates(last.as_ref(), &new) {
                    receiver.receive(&message, &mut copy).unwrap();
                }
                prop_assert_eq!(&copy, &new);
                prop_assert_eq!(receiver.held_bytes(), 0);
                last = Some(new);
            }
        }
    }
}
