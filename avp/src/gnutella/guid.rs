//! The 16 bytes that name a message or a servent.

use std::fmt;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::Rng;

use super::base32;

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
        let read = base16ct::mixed::decode(text, &mut bytes).ok()?.len();
        (read == bytes.len()).then_some(Self(bytes))
    }

    /// 26 base32 digits, of either case.
    #[must_use]
    pub fn from_base32(text: &[u8]) -> Option<Self> {
        base32::decode::<26, 16>(text).map(Self)
    }

    /// 26 base32 digits, as push proxies are asked.
    #[must_use]
    pub fn base32(&self) -> String {
        base32::encode(&self.0)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 32];
        f.write_str(base16ct::lower::encode_str(&self.0, &mut text).map_err(|_| fmt::Error)?)
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
        fn text_forms_round_trip(bytes: [u8; 16]) {
            let guid = Guid(bytes);
            prop_assert_eq!(Guid::from_hex(guid.to_string().as_bytes()), Some(guid));
            prop_assert_eq!(Guid::from_base32(guid.base32().to_lowercase().as_bytes()), Some(guid));
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
