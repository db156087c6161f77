//! Descriptors in datagrams: one a datagram, with compression marked in the TTL (deflated UDP, 2006).

use std::borrow::Cow;

use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use super::header::{HEADER_LEN, Header};

/// Bit 3 of a request's TTL: the answer may be compressed.
pub const TTL_ACCEPTS_DEFLATE: u8 = 0x08;
/// Bit 7 of an answer's TTL: the payload is compressed (zlib).
pub const TTL_DEFLATED: u8 = 0x80;
/// Longest payload after inflating, in bytes.
pub const INFLATED_BYTES_MAX: usize = 64 * 1024;
const DEFLATE_LEVEL: u8 = 6;

/// A datagram that is one descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Its header; TTL without the marks, length that of the payload as it is here.
    pub header: Header,
    /// The payload, inflated where it came compressed.
    pub payload: Cow<'a, [u8]>,
    /// Whether a compressed answer is welcome.
    pub accepts_deflate: bool,
}

/// Reads a datagram; `None` where it is not exactly one descriptor, or its payload does not inflate to at most
/// [`INFLATED_BYTES_MAX`].
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Datagram<'_>> {
    let mut header = Header::parse(bytes)?;
    let raw = &bytes[HEADER_LEN..];
    if header.len as usize != raw.len() {
        return None;
    }
    let payload: Cow<'_, [u8]> = if header.ttl & TTL_DEFLATED != 0 {
        decompress_to_vec_zlib_with_limit(raw, INFLATED_BYTES_MAX).ok()?.into()
    } else {
        raw.into()
    };
    let accepts_deflate = header.ttl & TTL_ACCEPTS_DEFLATE != 0;
    header.ttl &= !(TTL_DEFLATED | TTL_ACCEPTS_DEFLATE);
    header.len = payload.len() as u32;
    Some(Datagram { header, payload, accepts_deflate })
}

/// Writes an answer, compressed where the asker takes that and it makes the datagram shorter.
#[must_use]
pub fn answer(mut header: Header, payload: &[u8], accepts_deflate: bool) -> Vec<u8> {
    if accepts_deflate {
        let small = compress_to_vec_zlib(payload, DEFLATE_LEVEL);
        if small.len() < payload.len() {
            header.ttl |= TTL_DEFLATED;
            return header.frame(&small);
        }
    }
    header.frame(payload)
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::gnutella::guid::Guid;
    use crate::gnutella::header::Kind;
    use crate::gnutella::ping::Ping;
    use crate::gnutella::pong::Pong;

    #[test]
    fn a_captured_ping_and_its_pong() {
        let ping = HEXLOWER.decode(b"563431026f2cefd5ff24e30bb01efa0300010000000000").unwrap();
        let ping = parse(&ping).unwrap();
        assert_eq!((ping.header.kind, ping.header.ttl, ping.accepts_deflate), (Kind::PING, 1, false));
        assert_eq!(Ping::parse(&ping.payload).cached_pongs(), None);
        let bytes = HEXLOWER
            .decode(
                b"563431026f2cefd5ff24e30bb01efa030101002f000000ca1864404d010100000000010000c30256434547544b47\
                  830347554541020255504302ff32024455410583544c5340"
                    .as_slice(),
            )
            .unwrap();
        let datagram = parse(&bytes).unwrap();
        assert_eq!(datagram.header.guid, ping.header.guid);
        let pong = Pong::parse(&datagram.payload).unwrap();
        assert_eq!((pong.addr, pong.daily_uptime_s()), ("100.64.77.1:6346".parse().unwrap(), Some(5)));
        assert_eq!(answer(datagram.header, &datagram.payload, true), bytes);
    }

    #[test]
    fn a_datagram_with_more_or_less_than_it_says_is_refused() {
        let header = Header { guid: Guid::ZERO, kind: Kind::PING, ttl: 1, hops: 0, len: 0 };
        let bytes = header.frame(b"abc");
        assert!(parse(&bytes).is_some());
        assert_eq!(parse(&bytes[..bytes.len() - 1]), None);
        assert_eq!(parse(&[&bytes[..], b"d"].concat()), None);
    }

    #[test]
    fn a_bomb_is_refused() {
        let header = Header { guid: Guid::ZERO, kind: Kind::QUERY_HIT, ttl: 1, hops: 0, len: 0 };
        assert_eq!(parse(&answer(header, &vec![0; INFLATED_BYTES_MAX + 1], true)), None);
    }

    proptest! {
        #[test]
        fn answers_round_trip(payload in vec(0..4_u8, 0..500), accepts: bool, ttl in 0..8_u8) {
            let header = Header { guid: Guid([3; 16]), kind: Kind::QUERY_HIT, ttl, hops: 0, len: payload.len() as u32 };
            let bytes = answer(header, &payload, accepts);
            prop_assert!(bytes.len() <= HEADER_LEN + payload.len());
            let read = parse(&bytes).unwrap();
            prop_assert_eq!(read.header, header);
            prop_assert_eq!(&read.payload[..], &payload[..]);
        }

        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in vec(any::<u8>(), 0..200), ttl: u8) {
            if let Some(len) = bytes.len().checked_sub(HEADER_LEN) {
                bytes[17] = ttl;
                bytes[19..23].copy_from_slice(&(len as u32).to_le_bytes());
            }
            let _ = parse(&bytes);
        }
    }
}
