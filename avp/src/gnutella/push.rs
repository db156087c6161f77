//! Push: a downloader asks a firewalled servent to connect to it.

use std::net::SocketAddrV4;

use super::ggep::Block;
use super::guid::Guid;
use super::read::{Reader, ip_port_bytes};

/// Length of a push without extensions, in bytes.
pub const PUSH_BYTES_MIN: usize = 26;

/// A push's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Push<'a> {
    /// Who should connect; routes are by this id.
    pub servent: Guid,
    /// Which of its files is wanted; 0 where it does not matter.
    pub index: u32,
    /// Where to connect to.
    pub to: SocketAddrV4,
    /// A GGEP block, or nothing.
    pub extensions: &'a [u8],
}

impl<'a> Push<'a> {
    /// Reads a payload of at least [`PUSH_BYTES_MIN`] bytes.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let mut r = Reader(payload);
        let servent = Guid(r.array()?);
        let (index, to) = (r.u32_le()?, r.ip_port()?);
        Some(Self { servent, index, to, extensions: r.0 })
    }

    /// The payload on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PUSH_BYTES_MIN + self.extensions.len());
        out.extend_from_slice(&self.servent.0);
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&ip_port_bytes(self.to));
        out.extend_from_slice(self.extensions);
        out
    }

    /// Its GGEP block.
    #[must_use]
    pub fn ggep(&self) -> Option<Block<'a>> {
        Block::parse(self.extensions)
    }

    /// Whether the connection should be TLS.
    #[must_use]
    pub fn wants_tls(&self) -> bool {
        self.ggep().is_some_and(|b| b.find(b"TLS").is_some())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_fields_lie_where_the_specification_puts_them() {
        let mut payload = vec![0xaa; 16];
        payload.extend_from_slice(&[1, 0, 0, 0, 100, 64, 77, 5, 0xca, 0x18]);
        payload.extend_from_slice(b"\xc3\x83TLS\x40");
        let push = Push::parse(&payload).unwrap();
        assert_eq!((push.servent, push.index), (Guid([0xaa; 16]), 1));
        assert_eq!(push.to, "100.64.77.5:6346".parse().unwrap());
        assert!(push.wants_tls());
        assert_eq!(push.encode(), payload);
        assert_eq!(Push::parse(&payload[..25]), None);
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_back(payload in vec(any::<u8>(), 0..80)) {
            match Push::parse(&payload) {
                Some(push) => { let _ = push.wants_tls(); prop_assert_eq!(push.encode(), payload) }
                None => prop_assert!(payload.len() < PUSH_BYTES_MIN),
            }
        }
    }
}
