//! The payloads of query routing: RESET and PATCH (QRP 1.0, section 4).

use super::super::read::Reader;
use super::{SLOTS_LOG2_MAX, SLOTS_LOG2_MIN};

/// Bytes of a PATCH before its data.
pub const PATCH_FIELDS_BYTES: usize = 5;

/// How the data of a sequence of patches is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compressor {
    /// As it is.
    None,
    /// One zlib stream over the data of all patches of the sequence.
    Zlib,
}

/// A query routing update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteUpdate<'a> {
    /// Start anew with an empty table.
    Reset {
        /// How many slots, as a power of two.
        slots_log2: u8,
        /// The distance that means "absent". Only its difference to the present one was ever used.
        infinity: u8,
    },
    /// A part of a sequence of changes.
    Patch {
        /// Which part, from 1.
        seq: u8,
        /// How many parts.
        count: u8,
        /// How the data is written.
        compressor: Compressor,
        /// Bits of one slot's change: 1, 2, 4 or 8.
        bits: u8,
        /// Its share of the changes.
        data: &'a [u8],
    },
}

/// Why a payload is no update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Shorter than its fields.
    #[error("QRP message is truncated")]
    Truncated,
    /// Neither RESET nor PATCH.
    #[error("QRP message of unknown variant {0}")]
    Variant(u8),
    /// Not a power of two, or outside the bounds.
    #[error("QRP table of {0} slots: want a power of two from 2^{SLOTS_LOG2_MIN} to 2^{SLOTS_LOG2_MAX}")]
    Slots(u32),
    /// Part 0, part 3 of 2, or no parts.
    #[error("QRP PATCH {0} of {1}")]
    Sequence(u8, u8),
    /// Neither none nor zlib.
    #[error("QRP PATCH with unknown compressor {0}")]
    Compressor(u8),
    /// Not 1, 2, 4 or 8.
    #[error("QRP PATCH with entries of {0} bits: want 1, 2, 4 or 8")]
    Bits(u8),
}

impl<'a> RouteUpdate<'a> {
    /// Reads a payload. Bytes behind a RESET are ignored.
    ///
    /// # Errors
    /// Each rule of the format has its own.
    pub fn parse(payload: &'a [u8]) -> Result<Self, MessageError> {
        let mut r = Reader(payload);
        match r.u8().ok_or(MessageError::Truncated)? {
            0 => {
                let (Some(slots), Some(infinity)) = (r.u32_le(), r.u8()) else {
                    return Err(MessageError::Truncated);
                };
                let log2 = slots.trailing_zeros() as u8;
                if !slots.is_power_of_two() || !(SLOTS_LOG2_MIN..=SLOTS_LOG2_MAX).contains(&log2) {
                    return Err(MessageError::Slots(slots));
                }
                Ok(Self::Reset { slots_log2: log2, infinity })
            }
            1 => {
                let [seq, count, compressor, bits] = r.array().ok_or(MessageError::Truncated)?;
                if seq == 0 || seq > count {
                    return Err(MessageError::Sequence(seq, count));
                }
                let compressor = match compressor {
                    0 => Compressor::None,
                    1 => Compressor::Zlib,
                    other => return Err(MessageError::Compressor(other)),
                };
                if !matches!(bits, 1 | 2 | 4 | 8) {
                    return Err(MessageError::Bits(bits));
                }
                Ok(Self::Patch { seq, count, compressor, bits, data: r.0 })
            }
            other => Err(MessageError::Variant(other)),
        }
    }

    /// The payload on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match *self {
            Self::Reset { slots_log2, infinity } => {
                let [a, b, c, d] = (1_u32 << slots_log2.min(31)).to_le_bytes();
                vec![0, a, b, c, d, infinity]
            }
            Self::Patch { seq, count, compressor, bits, data } => {
                let mut out = Vec::with_capacity(PATCH_FIELDS_BYTES + data.len());
                out.extend_from_slice(&[1, seq, count, u8::from(compressor == Compressor::Zlib), bits]);
                out.extend_from_slice(data);
                out
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn captured_messages_are_read_and_written_back() {
        let reset = [0, 0, 0x40, 0, 0, 2];
        assert_eq!(RouteUpdate::parse(&reset), Ok(RouteUpdate::Reset { slots_log2: 14, infinity: 2 }));
        let patch = [1, 1, 1, 1, 4, 0x78, 0xda];
        let read = RouteUpdate::parse(&patch).unwrap();
        let zlib = Compressor::Zlib;
        assert_eq!(
            read,
            RouteUpdate::Patch { seq: 1, count: 1, compressor: zlib, bits: 4, data: &[0x78, 0xda] }
        );
        assert_eq!(read.encode(), patch);
        assert_eq!(RouteUpdate::parse(&reset).unwrap().encode(), reset);
        let other = RouteUpdate::parse(&[0, 0, 0, 2, 0, 7]);
        assert_eq!(other, Ok(RouteUpdate::Reset { slots_log2: 17, infinity: 7 }));
    }

    #[test]
    fn each_broken_rule_is_named() {
        let of = |bytes: &[u8]| RouteUpdate::parse(bytes).unwrap_err();
        assert_eq!(of(&[]), MessageError::Truncated);
        assert_eq!(of(&[0, 0, 0, 1]), MessageError::Truncated);
        assert_eq!(of(&[1, 1, 1, 0]), MessageError::Truncated);
        assert_eq!(of(&[2, 0, 0, 0, 0, 0]), MessageError::Variant(2));
        assert_eq!(of(&[0, 1, 0, 1, 0, 7]), MessageError::Slots(65_537));
        assert_eq!(of(&[0, 0, 0, 0, 0, 7]), MessageError::Slots(0));
        assert_eq!(of(&[0, 0, 2, 0, 0, 7]), MessageError::Slots(512));
        assert_eq!(of(&[0, 0, 0, 64, 0, 7]), MessageError::Slots(1 << 22));
        assert_eq!(of(&[1, 0, 1, 0, 4]), MessageError::Sequence(0, 1));
        assert_eq!(of(&[1, 3, 2, 0, 4]), MessageError::Sequence(3, 2));
        assert_eq!(of(&[1, 1, 1, 2, 4]), MessageError::Compressor(2));
        assert_eq!(of(&[1, 1, 1, 0, 3]), MessageError::Bits(3));
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_back(mut payload in vec(any::<u8>(), 0..40), variant in 0..3_u8) {
            if let Some(first) = payload.first_mut() { *first = variant; }
            match RouteUpdate::parse(&payload) {
                Ok(reset @ RouteUpdate::Reset { .. }) => prop_assert_eq!(&reset.encode()[..], &payload[..6]),
                Ok(patch) => prop_assert_eq!(patch.encode(), payload),
                Err(_) => {}
            }
        }

        #[test]
        fn every_size_within_bounds_is_taken(slots_log2 in SLOTS_LOG2_MIN..=SLOTS_LOG2_MAX, infinity: u8) {
            let reset = RouteUpdate::Reset { slots_log2, infinity };
            let payload = reset.encode();
            prop_assert_eq!(RouteUpdate::parse(&payload), Ok(reset));
        }
    }
}
