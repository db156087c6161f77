//! From messages to changes of a table.

use miniz_oxide::inflate::decompress_slice_iter_to_slice;

use super::SLOTS_LOG2_MAX;
use super::message::{Compressor, MessageError, RouteUpdate};
use crate::state::{self, Damaged, Saved, Writer, choice};

/// Bytes of a patch that are compared to zero at once.
const RUN_BYTES: usize = 32;

/// What becomes of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A negative difference: the word is now there.
    Present,
    /// A positive difference: the word is gone.
    Absent,
    /// A set bit in a patch of one bit a slot.
    Flip,
}

/// What a receiver acts on: a [`super::Table`], or an index of many peers' slots.
pub trait Slots {
    /// All slots become absent, and there are 2^`log2` of them.
    fn reset(&mut self, log2: u8);
    /// A slot changes. A slot that already is what it becomes may be named as well.
    fn change(&mut self, slot: u32, change: Change);
}

/// What a message has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The table is empty, and of this many slots (power of two).
    Reset(u8),
    /// A part of a sequence of patches was kept; nothing has changed yet.
    Partial,
    /// A sequence is complete and was applied.
    Applied {
        /// How many slots the patch names.
        changed: u32,
    },
}

/// The rule that the peer broke. None of the sequence was applied; the peer should be told with a Bye 413.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// See [`MessageError`].
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A larger table than this receiver takes.
    #[error("QRP table of 2^{got} slots: at most 2^{max} are taken here")]
    TooManySlots {
        /// As asked for.
        got: u8,
        /// As allowed.
        max: u8,
    },
    /// There is no table yet.
    #[error("No QRP RESET received before PATCH")]
    NoReset,
    /// A part is missing or came twice.
    #[error("QRP PATCH {got} received, expected {expected}")]
    OutOfOrder {
        /// As received.
        got: u8,
        /// The next one.
        expected: u8,
    },
    /// Count, compressor or entry width differ from those of the sequence's first part.
    #[error("QRP PATCH {0} differs from the first of its sequence in count, compressor or entry bits")]
    Inconsistent(u8),
    /// More data than a table of this size can have.
    #[error("QRP PATCH sequence carries more than {0} bytes")]
    TooLong(usize),
    /// The zlib stream is broken, or inflates to more than the table has.
    #[error("QRP PATCH data does not inflate within the table's size")]
    Corrupt,
    /// The data does not cover the table.
    #[error("QRP PATCH of {got} bytes, expected {expected}")]
    Length {
        /// As received.
        got: usize,
        /// For all slots.
        expected: usize,
    },
}

/// A sequence of patches of which some are still to come.
#[derive(Clone, Debug)]
struct Sequence {
    next: u8,
    count: u8,
    compressor: Compressor,
    bits: u8,
    data: Vec<u8>,
}

/// Takes one peer's updates. Between messages it holds what came of an unfinished sequence: never more than
/// twice [`Receiver::held_bytes_max`] (a buffer that grows doubles), and most often nothing.
#[derive(Clone, Debug)]
pub struct Receiver {
    slots_log2_max: u8,
    log2: Option<u8>,
    sequence: Option<Box<Sequence>>,
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new(SLOTS_LOG2_MAX)
    }
}

impl Receiver {
    /// A receiver of tables of at most 2^`slots_log2_max` slots.
    #[must_use]
    pub const fn new(slots_log2_max: u8) -> Self {
        Self { slots_log2_max, log2: None, sequence: None }
    }

    /// Size of the peer's table as a power of two; `None` before the first RESET.
    #[must_use]
    pub const fn log2(&self) -> Option<u8> {
        self.log2
    }

    /// Bytes held for an unfinished sequence.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.sequence.as_ref().map_or(0, |s| s.data.capacity())
    }

    /// Most bytes of an unfinished sequence for a table of this size. Deflate never makes data longer by more than five
    /// bytes in 16 KiB and the stream's own eleven.
    #[must_use]
    pub const fn held_bytes_max(log2: u8, bits: u8) -> usize {
        let plain = table_bytes(log2, bits);
        plain + plain / 1024 + 64
    }

    /// Takes the payload of one message.
    ///
    /// # Errors
    /// The rule that was broken. The unfinished sequence is forgotten; the table stays as it was.
    pub fn receive(&mut self, payload: &[u8], slots: &mut impl Slots) -> Result<Progress, Error> {
        let unfinished = self.sequence.take();
        match RouteUpdate::parse(payload)? {
            RouteUpdate::Reset { slots_log2, .. } => {
                if slots_log2 > self.slots_log2_max {
                    return Err(Error::TooManySlots { got: slots_log2, max: self.slots_log2_max });
                }
                self.log2 = Some(slots_log2);
                slots.reset(slots_log2);
                Ok(Progress::Reset(slots_log2))
            }
            RouteUpdate::Patch { seq, count, compressor, bits, data } => {
                let log2 = self.log2.ok_or(Error::NoReset)?;
                let expected = unfinished.as_ref().map_or(1, |s| s.next);
                if seq != expected {
                    return Err(Error::OutOfOrder { got: seq, expected });
                }
                let bound = match compressor {
                    Compressor::None => table_bytes(log2, bits),
                    Compressor::Zlib => Self::held_bytes_max(log2, bits),
                };
                if unfinished.as_ref().map_or(0, |s| s.data.len()) + data.len() > bound {
                    return Err(Error::TooLong(bound));
                }
                // Most tables come in one patch, which is read where it lies.
                let Some(mut sequence) = unfinished else {
                    if count == 1 {
                        return apply(data, compressor, bits, log2, slots);
                    }
                    let data = data.to_vec();
                    self.sequence = Some(Box::new(Sequence { next: 2, count, compressor, bits, data }));
                    return Ok(Progress::Partial);
                };
                if (count, compressor, bits) != (sequence.count, sequence.compressor, sequence.bits) {
                    return Err(Error::Inconsistent(seq));
                }
                sequence.data.extend_from_slice(data);
                if seq == count {
                    return apply(&sequence.data, compressor, bits, log2, slots);
                }
                sequence.next = seq + 1;
                self.sequence = Some(sequence);
                Ok(Progress::Partial)
            }
        }
    }
}

choice!(Compressor, [Compressor::None, Compressor::Zlib]);

impl Saved for Sequence {
    fn save(&self, to: &mut Writer) {
        to.raw(&[self.next, self.count, self.bits]);
        self.compressor.save(to);
        to.buffer(&self.data);
    }

    fn load(from: &mut state::Reader<'_>) -> Result<Self, Damaged> {
        let [next, count, bits] = from.array()?;
        from.ensure(2 <= next && next <= count && matches!(bits, 1 | 2 | 4 | 8))?;
        let (compressor, data) = (from.load()?, from.buffer(Receiver::held_bytes_max(SLOTS_LOG2_MAX, 8))?);
        Ok(Self { next, count, compressor, bits, data })
    }
}

/// For receivers of tables of any size.
impl Saved for Receiver {
    fn save(&self, to: &mut Writer) {
        self.log2.save(to);
        self.sequence.is_some().save(to);
        if let Some(sequence) = &self.sequence {
            sequence.save(to);
        }
    }

    fn load(from: &mut state::Reader<'_>) -> Result<Self, Damaged> {
        let mut receiver = Self { log2: from.load()?, ..Self::default() };
        from.ensure(receiver.log2.is_none_or(|log2| log2 <= receiver.slots_log2_max))?;
        if from.load()? {
            receiver.sequence = Some(Box::new(from.load()?));
        }
        Ok(receiver)
    }
}

/// Bytes of a whole table's changes.
const fn table_bytes(log2: u8, bits: u8) -> usize {
    (1 << log2) * bits as usize / 8
}

fn apply(
    data: &[u8],
    compressor: Compressor,
    bits: u8,
    log2: u8,
    slots: &mut impl Slots,
) -> Result<Progress, Error> {
    let expected = table_bytes(log2, bits);
    let mut inflated;
    let plain = match compressor {
        Compressor::None => data,
        Compressor::Zlib => {
            inflated = vec![0; expected];
            let len = decompress_slice_iter_to_slice(&mut inflated, std::iter::once(data), true, false)
                .map_err(|_| Error::Corrupt)?;
            &inflated[..len]
        }
    };
    if plain.len() != expected {
        return Err(Error::Length { got: plain.len(), expected });
    }
    let mut changed = 0;
    for (n, chunk) in plain.chunks(RUN_BYTES).enumerate() {
        // Few of a peer's slots change: whole runs are zero.
        if chunk != &[0; RUN_BYTES][..chunk.len()] {
            changed += apply_run(chunk, n * RUN_BYTES, bits, slots);
        }
    }
    Ok(Progress::Applied { changed })
}

/// Applies the changes in some bytes, of which the first is the patch's `first`th; says how many there were.
fn apply_run(run: &[u8], first: usize, bits: u8, slots: &mut impl Slots) -> u32 {
    let per_byte = 8 / u32::from(bits);
    let mut changed = 0;
    for (n, byte) in run.iter().enumerate().filter(|(_, byte)| **byte != 0) {
        for k in 0..per_byte {
            // The first slot is in the highest bits; shifting back as a signed number spreads the sign.
            let value = (*byte << (k as u8 * bits)) as i8 >> (8 - bits);
            let change = match value {
                0 => continue,
                _ if bits == 1 => Change::Flip,
                ..0 => Change::Present,
                1.. => Change::Absent,
            };
            changed += 1;
            slots.change((first + n) as u32 * per_byte + k, change);
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use miniz_oxide::deflate::compress_to_vec_zlib;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::gnutella::qrp::{Hashes, Table};

    const RESET: [u8; 6] = [0, 0, 4, 0, 0, 7];

    fn patch(seq: u8, count: u8, compressor: Compressor, bits: u8, data: &[u8]) -> Vec<u8> {
        RouteUpdate::Patch { seq, count, compressor, bits, data }.encode()
    }

    fn after(messages: &[Vec<u8>]) -> Result<Table, Error> {
        let (mut receiver, mut table) = (Receiver::default(), Table::new(10));
        receiver.receive(&RESET, &mut table)?;
        for message in messages {
            receiver.receive(message, &mut table)?;
        }
        Ok(table)
    }

    /// Slot 0 present, slot 1 unchanged, slot 2 absent, slot 1023 present, in entries of this width.
    fn sample(bits: u8) -> Vec<u8> {
        let mut data = vec![0_u8; 1024 * usize::from(bits) / 8];
        let mut put = |slot: usize, value: i8| {
            let at = slot * usize::from(bits);
            data[at / 8] |= ((value as u8) << (8 - bits)) >> (at % 8);
        };
        put(0, -1);
        put(2, 1);
        put(1023, -1);
        data
    }

    #[test]
    fn all_signed_widths_mean_the_same() {
        for bits in [2, 4, 8] {
            let table = after(&[patch(1, 1, Compressor::None, bits, &sample(bits))]).unwrap();
            assert!(table.get(0) && table.get(1023), "{bits}");
            assert_eq!(table.present(), 2, "{bits}");
        }
    }

    #[test]
    fn one_bit_flips() {
        let once = patch(1, 1, Compressor::None, 1, &sample(1));
        let table = after(std::slice::from_ref(&once)).unwrap();
        assert!(table.get(0) && table.get(2) && table.get(1023));
        assert_eq!(table.present(), 3);
        assert_eq!(after(&[once.clone(), once]).unwrap().present(), 0);
    }

    #[test]
    fn a_zlib_stream_may_be_cut_anywhere() {
        let zlib = compress_to_vec_zlib(&sample(4), 9);
        let whole = after(&[patch(1, 1, Compressor::Zlib, 4, &zlib)]).unwrap();
        for cut in 1..zlib.len() {
            let parts = [
                patch(1, 2, Compressor::Zlib, 4, &zlib[..cut]),
                patch(2, 2, Compressor::Zlib, 4, &zlib[cut..]),
            ];
            assert_eq!(after(&parts).unwrap(), whole);
        }
    }

    #[test]
    fn an_absent_slot_is_removed() {
        let mut absent = sample(4);
        absent[0] = 0x10;
        let table =
            after(&[patch(1, 1, Compressor::None, 4, &sample(4)), patch(1, 1, Compressor::None, 4, &absent)]);
        assert_eq!(table.unwrap().present(), 1);
    }

    #[test]
    fn each_broken_rule_is_named() {
        let plain = |seq, count| patch(seq, count, Compressor::None, 4, &[0; 10]);
        let mut receiver = Receiver::new(16);
        let mut table = Table::new(10);
        assert_eq!(receiver.receive(&plain(1, 1), &mut table), Err(Error::NoReset));
        let large = RouteUpdate::Reset { slots_log2: 17, infinity: 7 }.encode();
        assert_eq!(receiver.receive(&large, &mut table), Err(Error::TooManySlots { got: 17, max: 16 }));
        assert_eq!(after(&[plain(2, 2)]), Err(Error::OutOfOrder { got: 2, expected: 1 }));
        assert_eq!(after(&[plain(1, 3), plain(3, 3)]), Err(Error::OutOfOrder { got: 3, expected: 2 }));
        assert_eq!(after(&[plain(1, 3), plain(2, 4)]), Err(Error::Inconsistent(2)));
        assert_eq!(after(&[plain(1, 1)]), Err(Error::Length { got: 10, expected: 512 }));
        let long = patch(1, 2, Compressor::None, 4, &[0; 513]);
        assert_eq!(after(&[long]), Err(Error::TooLong(512)));
        assert_eq!(after(&[patch(1, 1, Compressor::Zlib, 4, &[0x78, 0xda, 1])]), Err(Error::Corrupt));
        let bomb = compress_to_vec_zlib(&[0; 513], 9);
        assert_eq!(after(&[patch(1, 1, Compressor::Zlib, 4, &bomb)]), Err(Error::Corrupt));
        assert_eq!(after(&[vec![9]]), Err(Error::Message(MessageError::Variant(9))));
    }

    #[test]
    fn after_an_error_a_new_sequence_is_taken() {
        let (mut receiver, mut table) = (Receiver::default(), Table::new(10));
        receiver.receive(&RESET, &mut table).unwrap();
        receiver.receive(&patch(1, 2, Compressor::None, 4, &[0; 256]), &mut table).unwrap();
        receiver.receive(&patch(1, 2, Compressor::None, 4, &[0; 256]), &mut table).unwrap_err();
        let whole = receiver.receive(&patch(1, 1, Compressor::None, 4, &sample(4)), &mut table);
        assert_eq!(whole, Ok(Progress::Applied { changed: 3 }));
    }

    proptest! {
        #[test]
        fn what_is_held_is_bounded_and_nothing_panics(messages in vec((any::<bool>(), 1..4_u8, 1..4_u8, any::<bool>(), 0..4_u32, vec(any::<u8>(), 0..300)), 0..20)) {
            let (mut receiver, mut table) = (Receiver::new(12), Table::new(10));
            for (reset, seq, count, zlib, bits, data) in messages {
                let bits = 1_u8 << bits;
                let compressor = if zlib { Compressor::Zlib } else { Compressor::None };
                let message = if reset { RESET.to_vec() } else { patch(seq, count, compressor, bits, &data) };
                let _ = receiver.receive(&message, &mut table);
                prop_assert!(receiver.held_bytes() <= 2 * Receiver::held_bytes_max(12, 8));
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(payload in vec(any::<u8>(), 0..100)) {
            let _ = Receiver::default().receive(&payload, &mut Table::new(10));
        }
    }

    /// The whole table of an ultrapeer, as a neighbour got it: RESET, then one PATCH.
    #[test]
    fn a_captured_table_is_applied() {
        let zlib = HEXLOWER
            .decode(
                b"78daedd7011100200804301ad0bfe54730\
                  06a85b024e5ed02af853afa8227\
                  3e54706b82719bde2324728b0ef\
                  c034d12df4007b1cd83eea8d8e87\
                  e67eee8b458bb01782d3c48f4b06\
                  997700 3a630b23"
                    .iter()
                    .copied()
                    .filter(|b| !b.is_ascii_whitespace())
                    .collect::<Vec<_>>()
                    .as_slice(),
            )
            .unwrap();
        assert_eq!(zlib.len(), 79);
        let (mut receiver, mut table) = (Receiver::default(), Table::new(10));
        receiver.receive(&[0, 0, 0x40, 0, 0, 2], &mut table).unwrap();
        let applied = receiver.receive(&patch(1, 1, Compressor::Zlib, 4, &zlib), &mut table);
        assert!(matches!(applied, Ok(Progress::Applied { changed }) if changed == table.present()));
        for text in ["zebra quartet symphony", "walrus concerto", "symphony"] {
            assert!(table.matches(&Hashes::of_text(text.as_bytes())), "{text}");
        }
        assert!(!table.matches(&Hashes::of_text(b"gadget sprocket")));
    }
}
