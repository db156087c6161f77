//! A second reading of the Gnutella wire format.
//!
//! Written from the specifications and independent of the product's own codecs, so that a misreading there shows up
//! as a disagreement here. It is only as complete as the tests need.

mod hit;
mod qrp;
mod query;

pub use hit::{Hit, HitFile};
pub use qrp::{Patcher, QrpShape, QrpTable, hash as qrp_hash, words as qrp_words};
pub use query::Query;

use std::net::{Ipv4Addr, SocketAddrV4};

/// Payload types of the header's byte 16.
pub mod kind {
    pub const PING: u8 = 0x00;
    pub const PONG: u8 = 0x01;
    pub const BYE: u8 = 0x02;
    pub const QRP: u8 = 0x30;
    pub const VENDOR: u8 = 0x31;
    pub const PUSH: u8 = 0x40;
    pub const QUERY: u8 = 0x80;
    pub const HIT: u8 = 0x81;
}

/// Bytes of a header.
pub const HEADER: usize = 23;

/// The largest payload that a strict peer accepts.
pub const PAYLOAD_MAX: usize = 65_536;

/// A GUID: byte 8 is 0xff and byte 15 is 0 in those made by modern peers.
pub type Guid = [u8; 16];

/// One descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub guid: Guid,
    pub kind: u8,
    pub ttl: u8,
    pub hops: u8,
    pub payload: Vec<u8>,
}

impl Message {
    /// A message that starts here: hops 0.
    #[must_use]
    pub fn new(guid: Guid, kind: u8, ttl: u8, payload: Vec<u8>) -> Self {
        Self { guid, kind, ttl, hops: 0, payload }
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + self.payload.len());
        out.extend_from_slice(&self.guid);
        out.extend_from_slice(&[self.kind, self.ttl, self.hops]);
        out.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.payload);
        out
    }

    /// The first message of `bytes` and its length, or nothing while it is incomplete.
    ///
    /// # Errors
    /// Where the announced payload is larger than any peer may send.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
        let len = u32::from_le_bytes([head[19], head[20], head[21], head[22]]) as usize;
        if len > PAYLOAD_MAX {
            return Err(format!("type {:#04x} announces {len} bytes of payload", head[16]));
        }
        let Some(payload) = rest.get(..len) else { return Ok(None) };
        let mut guid = [0; 16];
        guid.copy_from_slice(&head[..16]);
        let message = Self { guid, kind: head[16], ttl: head[17], hops: head[18], payload: payload.to_vec() };
        Ok(Some((message, HEADER + len)))
    }
}

/// A pong's payload without extensions.
#[must_use]
pub fn pong(address: SocketAddrV4, files: u32, kib: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(14);
    out.extend_from_slice(&address.port().to_le_bytes());
    out.extend_from_slice(&address.ip().octets());
    out.extend_from_slice(&files.to_le_bytes());
    out.extend_from_slice(&kib.to_le_bytes());
    out
}

/// The address in a pong's payload.
#[must_use]
pub fn pong_address(payload: &[u8]) -> Option<SocketAddrV4> {
    let head = payload.first_chunk::<14>()?;
    let ip = Ipv4Addr::new(head[2], head[3], head[4], head[5]);
    Some(SocketAddrV4::new(ip, u16::from_le_bytes([head[0], head[1]])))
}

/// A push request: who shall connect where, to hand over which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    pub servent: Guid,
    pub index: u32,
    pub to: SocketAddrV4,
}

impl Push {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.servent.to_vec();
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&self.to.ip().octets());
        out.extend_from_slice(&self.to.port().to_le_bytes());
        out
    }

    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let p = payload.first_chunk::<26>()?;
        let mut servent = [0; 16];
        servent.copy_from_slice(&p[..16]);
        let ip = Ipv4Addr::new(p[20], p[21], p[22], p[23]);
        let to = SocketAddrV4::new(ip, u16::from_le_bytes([p[24], p[25]]));
        Some(Self { servent, index: u32::from_le_bytes([p[16], p[17], p[18], p[19]]), to })
    }
}

/// A Bye's code and its reason.
#[must_use]
pub fn bye(payload: &[u8]) -> Option<(u16, String)> {
    let (code, text) = payload.split_first_chunk::<2>()?;
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    Some((u16::from_le_bytes(*code), String::from_utf8_lossy(text).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_as_it_was_and_not_before_it_is_whole() {
        let sent = Message { guid: [7; 16], kind: kind::QUERY, ttl: 3, hops: 1, payload: vec![1, 2, 3] };
        let bytes = sent.encode();
        for cut in 0..bytes.len() {
            assert_eq!(Message::decode(&bytes[..cut]), Ok(None), "{cut} bytes");
        }
        assert_eq!(Message::decode(&bytes), Ok(Some((sent, bytes.len()))));
    }

    #[test]
    fn an_oversized_length_is_refused_from_the_header_alone() {
        let mut bytes = Message::new([0; 16], kind::PING, 1, Vec::new()).encode();
        bytes[19..23].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Message::decode(&bytes).is_err());
    }

    #[test]
    fn a_pong_seen_from_a_real_peer_gives_its_address() {
        let payload = [0xca, 0x18, 0x64, 0x40, 0x4d, 0x01, 1, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(pong_address(&payload), Some(SocketAddrV4::new(Ipv4Addr::new(100, 64, 77, 1), 6346)));
        assert_eq!(pong(SocketAddrV4::new(Ipv4Addr::new(100, 64, 77, 1), 6346), 1, 256), payload);
    }
}
