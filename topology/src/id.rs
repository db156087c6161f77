//! Names of nodes and how far apart they are.

use std::fmt;
use std::net::SocketAddr;

use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError, Write};
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

/// Bits of a node id.
pub const ID_BITS: u32 = 256;

/// A point of the 256-bit space: the SHA-256 of a node's public key (its DER `SubjectPublicKeyInfo`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 32]);

impl NodeId {
    /// The id that belongs to a public key.
    #[must_use]
    pub fn of_public_key(spki: &[u8]) -> Self {
        Self(Sha256::digest(spki).into())
    }

    /// An id from its bytes, as it was stored or received.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The id's bytes, most significant first.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The XOR metric: symmetric, and for a point and a distance there is one other point.
    #[must_use]
    pub fn distance(self, other: Self) -> Distance {
        Distance(std::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }

    /// How many leading bits two ids have in common.
    #[must_use]
    pub fn common_bits(self, other: Self) -> u32 {
        self.distance(other).leading_zeros()
    }

    /// This id with the bits from `at` on replaced: bit `at` is turned over, those behind it come from `noise`.
    /// The result has exactly `at` leading bits in common with this id.
    #[must_use]
    pub fn branch(self, at: u32, noise: [u8; 32]) -> Self {
        let bit = |bytes: &[u8; 32], i: u32| bytes[(i / 8) as usize] >> (7 - i % 8) & 1;
        let mut out = [0; 32];
        for i in 0..ID_BITS {
            let value = match i.cmp(&at) {
                std::cmp::Ordering::Less => bit(&self.0, i),
                std::cmp::Ordering::Equal => 1 - bit(&self.0, i),
                std::cmp::Ordering::Greater => bit(&noise, i),
            };
            out[(i / 8) as usize] |= value << (7 - i % 8);
        }
        Self(out)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl<C> Encode<C> for NodeId {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for NodeId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let at = d.position();
        let bytes = d.bytes()?;
        bytes.try_into().map(Self).map_err(|_| DecodeError::message("a node id has 32 bytes").at(at))
    }
}

/// How far apart two ids are; compares as the 256-bit number that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Distance([u8; 32]);

impl Distance {
    /// Leading bits that are zero: 256 for an id and itself.
    #[must_use]
    pub fn leading_zeros(&self) -> u32 {
        let mut bits = 0;
        for byte in self.0 {
            bits += byte.leading_zeros();
            if byte != 0 {
                break;
            }
        }
        bits
    }
}

/// A node and where its mesh endpoint listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct Contact {
    /// Who.
    #[n(0)]
    pub id: NodeId,
    /// Where.
    #[n(1)]
    pub addr: SocketAddr,
}
