//! The 16 bytes that name a message or a servent.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use data_encoding::{BASE32_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;

/// A message id (MUID) or servent id.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// All zeros: what vendor messages carry that nobody answers.
    pub const ZERO: Self = Self([0; 16]);

    /// A fresh id with the marks of a modern servent: byte 8 is 0xFF, byte 15 is 0 (0.6 draft, section 2.2.1).
    pub fn random(rng: &mut ChaCha12Rng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        bytes[8] = 0xff;
        bytes[15] = 0;
        Self(bytes)
    }

    /// 32 hexadecimal digits, of either case.
    #[must_use]
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 16];
        let fits = HEXLOWER_PERMISSIVE.decode_len(text.len()).ok()? == bytes.len();
        (fits && HEXLOWER_PERMISSIVE.decode_mut(text, &mut bytes).is_ok()).then_some(Self(bytes))
    }

    /// 26 base32 digits, of either case.
    #[must_use]
    pub fn from_base32(text: &[u8]) -> Option<Self> {
        let upper: [u8; 26] = <[u8; 26]>::try_from(text).ok()?.map(|b| b.to_ascii_uppercase());
        let mut bytes = [0; 16];
        BASE32_NOPAD.decode_mut(&upper, &mut bytes).is_ok().then_some(Self(bytes))
    }

    /// 26 base32 digits, as push proxies are asked.
    #[must_use]
    pub fn base32(&self) -> String {
        BASE32_NOPAD.encode(&self.0)
    }

    /// Where hits go directly, if this is the id of an out-of-band query: address in bytes 0-3, port in bytes 13-14
    /// little-endian (out-of-band v2, section 2).
    #[must_use]
    pub fn out_of_band(&self) -> SocketAddrV4 {
        let [a, b, c, d, .., p, q, _] = self.0;
        SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_le_bytes([p, q]))
    }

    /// This id with the address that hits should go to.
    #[must_use]
    pub fn with_out_of_band(mut self, to: SocketAddrV4) -> Self {
        self.0[..4].copy_from_slice(&to.ip().octets());
        self.0[13..15].copy_from_slice(&to.port().to_le_bytes());
        self
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 32];
        HEXLOWER.encode_mut(&self.0, &mut text);
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn a_fresh_guid_carries_the_modern_marks() {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let (a, b) = (Guid::random(&mut rng), Guid::random(&mut rng));
        assert_eq!((a.0[8], a.0[15]), (0xff, 0));
        assert_ne!(a, b);
    }

    #[test]
    fn hex_is_read_in_either_case_and_written_small() {
        let text = "9729310248d8ffd0b72ff6861ab3025b";
        let guid = Guid::from_hex(text.as_bytes()).unwrap();
        assert_eq!(guid.to_string(), text);
        assert_eq!(Guid::from_hex(text.to_uppercase().as_bytes()), Some(guid));
        assert_eq!(Guid::from_hex(&text.as_bytes()[1..]), None);
        assert_eq!(Guid::from_hex(b"zz29310248d8ffd0b72ff6861ab3025b"), None);
    }

    proptest! {
        #[test]
        fn text_forms_round_trip(bytes: [u8; 16], ip: [u8; 4], port: u16) {
            let guid = Guid(bytes);
            prop_assert_eq!(Guid::from_hex(guid.to_string().as_bytes()), Some(guid));
            prop_assert_eq!(Guid::from_base32(guid.base32().to_lowercase().as_bytes()), Some(guid));
            let to = SocketAddrV4::new(ip.into(), port);
            prop_assert_eq!(guid.with_out_of_band(to).out_of_band(), to);
        }

        #[test]
        fn text_that_is_no_guid_is_refused(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(guid) = Guid::from_hex(&text) {
                prop_assert!(guid.to_string().as_bytes().eq_ignore_ascii_case(&text));
            }
            if let Some(guid) = Guid::from_base32(&text) {
                prop_assert!(guid.base32().as_bytes().eq_ignore_ascii_case(&text));
            }
        }
    }
}
