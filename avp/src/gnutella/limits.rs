//! How long a payload may be.
//!
//! The figures are those of the strictest peer in common use; a message over them would be dropped further on
//! anyway. A length that no sound peer writes means that the stream is out of step, and only closing helps.

use super::header::Kind;

/// A length over this in any header: the peer is not speaking Gnutella (any more).
pub const PAYLOAD_BYTES_MAX: u32 = 64 * 1024;
/// Longest query that is passed on.
pub const QUERY_BYTES_MAX: u32 = 256;
/// Shortest query that means anything: flags, one letter, NUL.
pub const QUERY_BYTES_MIN: u32 = 4;
/// A query longer than this is answered with a Bye.
pub const QUERY_BYTES_FATAL: u32 = 1024;
/// Longest hit that is passed on.
pub const HIT_BYTES_MAX: u32 = 16 * 1024;
/// Most GGEP bytes behind a ping, pong or push.
pub const GGEP_BYTES_MAX: u32 = 1536;
/// Longest Bye (0.6 draft, section 2.2.7).
pub const BYE_BYTES_MAX: u32 = 4096;
/// Longest query routing update. Peers write from 512 bytes to a few KiB.
pub const QRP_BYTES_MAX: u32 = 16 * 1024;
/// Longest vendor message.
pub const VENDOR_BYTES_MAX: u32 = 4096;
/// Longest horizon size message: 30 triples of 24 bytes.
pub const HSEP_BYTES_MAX: u32 = 30 * 24;

/// The bounds for one kind, in bytes of payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Shorter is malformed: drop.
    pub min: u32,
    /// Longer is dropped.
    pub max: u32,
    /// Longer is a reason to close.
    pub fatal: u32,
}

/// What a length means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within bounds.
    Fits,
    /// Skip the payload, keep the peer.
    Drop,
    /// Say Bye.
    Close,
}

impl Limit {
    const fn new(min: u32, max: u32) -> Self {
        Self { min, max, fatal: PAYLOAD_BYTES_MAX }
    }

    /// Judges the length that a header announces.
    #[must_use]
    pub const fn judge(&self, len: u32) -> Verdict {
        if len > self.fatal {
            Verdict::Close
        } else if len > self.max || len < self.min {
            Verdict::Drop
        } else {
            Verdict::Fits
        }
    }
}

/// The bounds for payloads of this kind.
#[must_use]
pub const fn of(kind: Kind) -> Limit {
    match kind {
        Kind::PING => Limit::new(0, GGEP_BYTES_MAX),
        Kind::PONG => Limit::new(14, 14 + GGEP_BYTES_MAX),
        Kind::BYE => Limit::new(3, BYE_BYTES_MAX),
        Kind::QRP => Limit::new(5, QRP_BYTES_MAX),
        Kind::VENDOR | Kind::STANDARD_VENDOR => Limit::new(8, VENDOR_BYTES_MAX),
        Kind::PUSH => Limit::new(26, 26 + GGEP_BYTES_MAX),
        Kind::QUERY => Limit { min: QUERY_BYTES_MIN, max: QUERY_BYTES_MAX, fatal: QUERY_BYTES_FATAL },
        Kind::QUERY_HIT => Limit::new(27, HIT_BYTES_MAX),
        Kind::HSEP => Limit::new(24, HSEP_BYTES_MAX),
        // No length fits a kind that has no meaning on a stream.
        _ => Limit::new(1, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_those_of_the_strictest_peer() {
        assert_eq!(of(Kind::QUERY).judge(3), Verdict::Drop);
        assert_eq!(of(Kind::QUERY).judge(4), Verdict::Fits);
        assert_eq!(of(Kind::QUERY).judge(256), Verdict::Fits);
        assert_eq!(of(Kind::QUERY).judge(257), Verdict::Drop);
        assert_eq!(of(Kind::QUERY).judge(1129), Verdict::Close);
        assert_eq!(of(Kind::QUERY_HIT).judge(16_384), Verdict::Fits);
        assert_eq!(of(Kind::QUERY_HIT).judge(16_385), Verdict::Drop);
        assert_eq!(of(Kind::PONG).judge(14 + 1536), Verdict::Fits);
        assert_eq!(of(Kind::PING).judge(0x2000_0000), Verdict::Close);
    }

    #[test]
    fn an_unknown_kind_is_dropped_and_its_sender_kept() {
        for kind in [Kind(0x55), Kind::DHT, Kind::RUDP] {
            assert_eq!(of(kind).judge(0), Verdict::Drop);
            assert_eq!(of(kind).judge(40), Verdict::Drop);
        }
    }
}
