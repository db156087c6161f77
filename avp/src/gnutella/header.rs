//! The 23 bytes before every payload.

use std::fmt;

use super::guid::Guid;

/// Length of a descriptor header in bytes.
pub const HEADER_LEN: usize = 23;

/// What a descriptor is. A number that no constant names is a valid value: what to do with it is the reader's matter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// Asks for pongs.
    pub const PING: Self = Self(0x00);
    /// One host, and what it shares.
    pub const PONG: Self = Self(0x01);
    /// Why the sender is about to close.
    pub const BYE: Self = Self(0x02);
    /// Query routing table update.
    pub const QRP: Self = Self(0x30);
    /// Vendor-specific message.
    pub const VENDOR: Self = Self(0x31);
    /// Vendor message that became common property; same format.
    pub const STANDARD_VENDOR: Self = Self(0x32);
    /// Asks a firewalled servent to connect.
    pub const PUSH: Self = Self(0x40);
    /// Reliable UDP (datagrams only).
    pub const RUDP: Self = Self(0x41);
    /// Distributed hash table (datagrams only).
    pub const DHT: Self = Self(0x44);
    /// A search.
    pub const QUERY: Self = Self(0x80);
    /// Files that match a search.
    pub const QUERY_HIT: Self = Self(0x81);
    /// Horizon size estimation.
    pub const HSEP: Self = Self(0xcd);

    /// The name that figures and logs use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PING => "ping",
            Self::PONG => "pong",
            Self::BYE => "bye",
            Self::QRP => "qrp",
            Self::VENDOR => "vendor",
            Self::STANDARD_VENDOR => "standard_vendor",
            Self::PUSH => "push",
            Self::RUDP => "rudp",
            Self::DHT => "dht",
            Self::QUERY => "query",
            Self::QUERY_HIT => "query_hit",
            Self::HSEP => "hsep",
            _ => "unknown",
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(0x{:02x})", self.name(), self.0)
    }
}

/// A descriptor header (0.6 draft, section 2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The message's id.
    pub guid: Guid,
    /// What the payload is.
    pub kind: Kind,
    /// How many more hops it may make. In datagrams bits 3 and 7 have a meaning of their own ([`super::udp`]).
    pub ttl: u8,
    /// How many it has made.
    pub hops: u8,
    /// Bytes of payload that follow.
    pub len: u32,
}

impl Header {
    /// Reads the first [`HEADER_LEN`] bytes; `None` where there are fewer.
    #[must_use]
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let raw = bytes.first_chunk::<HEADER_LEN>()?;
        let guid = *raw.first_chunk::<16>()?;
        let len = u32::from_le_bytes([raw[19], raw[20], raw[21], raw[22]]);
        Some(Self { guid: Guid(guid), kind: Kind(raw[16]), ttl: raw[17], hops: raw[18], len })
    }

    /// The bytes on the wire.
    #[must_use]
    #[inline]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut raw = [0; HEADER_LEN];
        raw[..16].copy_from_slice(&self.guid.0);
        raw[16] = self.kind.0;
        raw[17] = self.ttl;
        raw[18] = self.hops;
        raw[19..].copy_from_slice(&self.len.to_le_bytes());
        raw
    }

    /// Header and payload in one buffer. The header's `len` is what the payload has, whatever it said before.
    #[must_use]
    pub fn frame(mut self, payload: &[u8]) -> Vec<u8> {
        self.len = payload.len() as u32;
        let mut out = Vec::with_capacity(HEADER_LEN + payload.len());
        out.extend_from_slice(&self.encode());
        out.extend_from_slice(payload);
        out
    }

    /// The header for the next hop: TTL one less, hops one more; `None` where the message has arrived.
    #[must_use]
    #[inline]
    pub fn forwarded(mut self) -> Option<Self> {
        if self.ttl <= 1 {
            return None;
        }
        self.ttl -= 1;
        self.hops = self.hops.saturating_add(1);
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A pong's header as an ultrapeer sent it in answer to a ping with TTL 1.
    const CAPTURED: [u8; HEADER_LEN] = [
        0xa6, 0x11, 0xcd, 0x8d, 0xf5, 0xc0, 0xad, 0xd2, 0xff, 0xb1, 0x6c, 0x6b, 0x88, 0xad, 0x56, 0x00, 0x01,
        0x01, 0x00, 0x2f, 0x00, 0x00, 0x00,
    ];

    #[test]
    fn a_captured_header_is_read_and_written_back() {
        let header = Header::parse(&CAPTURED).unwrap();
        assert_eq!(header.guid.to_string(), "a611cd8df5c0add2ffb16c6b88ad5600");
        assert_eq!((header.kind, header.ttl, header.hops, header.len), (Kind::PONG, 1, 0, 47));
        assert_eq!(header.encode(), CAPTURED);
        assert_eq!(Header::parse(&CAPTURED[..22]), None);
    }

    #[test]
    fn forwarding_ends_with_the_ttl() {
        let header = Header { guid: Guid::ZERO, kind: Kind::QUERY, ttl: 2, hops: 255, len: 0 };
        let next = header.forwarded().unwrap();
        assert_eq!((next.ttl, next.hops), (1, 255));
        assert_eq!(next.forwarded(), None);
        assert_eq!(Header { ttl: 0, ..header }.forwarded(), None);
    }

    proptest! {
        #[test]
        fn round_trip(raw: [u8; HEADER_LEN]) {
            prop_assert_eq!(Header::parse(&raw).unwrap().encode(), raw);
        }
    }
}
