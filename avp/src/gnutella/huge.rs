//! Names of contents: SHA-1 urns and bitprints (HUGE 0.94).

use std::fmt;

use super::base32;

/// The SHA-1 of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha1(pub [u8; 20]);

/// The root of a file's Tiger tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tiger(pub [u8; 24]);

const SHA1_DIGITS: usize = 32;
const TIGER_DIGITS: usize = 39;

impl Sha1 {
    /// 32 base32 digits.
    #[must_use]
    pub fn from_base32(text: &[u8]) -> Option<Self> {
        base32::decode::<SHA1_DIGITS, 20>(text).map(Self)
    }

    /// 32 base32 digits.
    #[must_use]
    pub fn base32(&self) -> String {
        base32::encode(&self.0)
    }

    /// `urn:sha1:` and the digits, as hits and HTTP headers carry it.
    #[must_use]
    pub fn urn(&self) -> String {
        format!("urn:sha1:{}", self.base32())
    }
}

impl fmt::Display for Sha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.urn())
    }
}

impl fmt::Debug for Sha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base32())
    }
}

impl Tiger {
    /// 39 base32 digits.
    #[must_use]
    pub fn from_base32(text: &[u8]) -> Option<Self> {
        base32::decode::<TIGER_DIGITS, 24>(text).map(Self)
    }

    /// 39 base32 digits.
    #[must_use]
    pub fn base32(&self) -> String {
        base32::encode(&self.0)
    }
}

impl fmt::Debug for Tiger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base32())
    }
}

/// A `urn:` as queries and hits carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urn<'a> {
    /// `urn:` alone: any name of the contents is welcome in the answer.
    AnyWanted,
    /// `urn:sha1:` or `urn:bitprint:` alone: this kind of name is wanted.
    KindWanted(&'a [u8]),
    /// The contents with this SHA-1.
    Sha1(Sha1),
    /// The contents with this SHA-1 and Tiger tree.
    Bitprint(Sha1, Tiger),
    /// A name of a kind that is not known here, without `urn:`.
    Other(&'a [u8]),
}

impl<'a> Urn<'a> {
    /// Reads `urn:...`, of any case; `None` where the text is no urn, or a SHA-1 or bitprint with wrong digits.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (scheme, rest) = text.split_first_chunk::<4>()?;
        if !scheme.eq_ignore_ascii_case(b"urn:") {
            return None;
        }
        Self::parse_bare(rest)
    }

    /// Reads what follows `urn:`, which GGEP `u` leaves out.
    #[must_use]
    pub fn parse_bare(rest: &'a [u8]) -> Option<Self> {
        if rest.is_empty() {
            return Some(Self::AnyWanted);
        }
        let (kind, name) = match memchr::memchr(b':', rest) {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, &[][..]),
        };
        if name.is_empty() {
            Some(Self::KindWanted(kind))
        } else if kind.eq_ignore_ascii_case(b"sha1") {
            Sha1::from_base32(name).map(Self::Sha1)
        } else if kind.eq_ignore_ascii_case(b"bitprint") {
            let (sha1, rest) = name.split_at_checked(SHA1_DIGITS)?;
            let tiger = rest.strip_prefix(b".")?;
            Some(Self::Bitprint(Sha1::from_base32(sha1)?, Tiger::from_base32(tiger)?))
        } else {
            Some(Self::Other(rest))
        }
    }

    /// The SHA-1 in it.
    #[must_use]
    pub const fn sha1(&self) -> Option<Sha1> {
        match self {
            Self::Sha1(sha1) | Self::Bitprint(sha1, _) => Some(*sha1),
            _ => None,
        }
    }
}

/// The SHA-1 in the binary form of GGEP `H`: 01 and 20 bytes, or 02 and a bitprint of 44 bytes.
#[must_use]
pub fn sha1_in_ggep(data: &[u8]) -> Option<Sha1> {
    match data {
        [1, sha1 @ ..] if sha1.len() == 20 => sha1.try_into().ok().map(Sha1),
        [2, bitprint @ ..] if bitprint.len() == 44 => bitprint[..20].try_into().ok().map(Sha1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const BITPRINT: &[u8] =
        b"urn:bitprint:6HFOF4WHULYSYTKLAE4WG2RGEVCQKKWD.UUJI267NCGQPON473ZXFZB7MBUKKJ27Q66CR6JA";

    #[test]
    fn the_sha1_of_nothing() {
        let empty = Sha1::from_base32(b"3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ").unwrap();
        assert_eq!(empty.0[..4], [0xda, 0x39, 0xa3, 0xee]);
        assert_eq!(empty.to_string(), "urn:sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ");
        assert_eq!(Urn::parse(b"URN:SHA1:3i42h3s6nnfq2msvx7xzkyayscx5qbyj"), Some(Urn::Sha1(empty)));
    }

    #[test]
    fn a_captured_bitprint_names_both_hashes() {
        let urn = Urn::parse(BITPRINT).unwrap();
        let Urn::Bitprint(sha1, tiger) = urn else { panic!("{urn:?}") };
        assert_eq!(sha1.base32(), "6HFOF4WHULYSYTKLAE4WG2RGEVCQKKWD");
        assert_eq!(tiger.base32(), "UUJI267NCGQPON473ZXFZB7MBUKKJ27Q66CR6JA");
        let mut binary = vec![2];
        binary.extend_from_slice(&sha1.0);
        binary.extend_from_slice(&tiger.0);
        assert_eq!(sha1_in_ggep(&binary), Some(sha1));
        assert_eq!(sha1_in_ggep(&binary[..44]), None);
    }

    #[test]
    fn requests_and_strangers_are_told_apart() {
        assert_eq!(Urn::parse(b"urn:"), Some(Urn::AnyWanted));
        assert_eq!(Urn::parse(b"urn:sha1:"), Some(Urn::KindWanted(b"sha1")));
        assert_eq!(Urn::parse(b"urn:md5:ABC"), Some(Urn::Other(b"md5:ABC")));
        assert_eq!(Urn::parse(b"urn:sha1:TOOSHORT"), None);
        assert_eq!(Urn::parse(b"url:"), None);
    }

    proptest! {
        #[test]
        fn round_trip(bytes: [u8; 20]) {
            let sha1 = Sha1(bytes);
            let urn = sha1.urn().to_lowercase();
            prop_assert_eq!(Urn::parse(urn.as_bytes()), Some(Urn::Sha1(sha1)));
            let mut ggep = vec![1];
            ggep.extend_from_slice(&bytes);
            prop_assert_eq!(sha1_in_ggep(&ggep), Some(sha1));
        }

        #[test]
        fn any_bytes_are_read_without_panic(tail in vec(any::<u8>(), 0..100)) {
            let _ = sha1_in_ggep(&tail);
            for head in ["urn:", "urn:sha1:", "urn:bitprint:", ""] {
                let mut text = head.as_bytes().to_vec();
                text.extend_from_slice(&tail);
                let _ = Urn::parse(&text);
            }
        }
    }
}
