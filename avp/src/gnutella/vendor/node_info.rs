//! GTKG/23: what a node says about itself. Numbers are big-endian here.

use crate::gnutella::read::Reader;

/// The part that is always there, in bytes, without its list of feature words.
const FIXED_BYTES: usize = 31;

/// GTKG/23's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeInfo<'a> {
    /// Four letters.
    pub vendor: [u8; 4],
    /// 0 leaf, 1 normal, 2 ultrapeer.
    pub mode: u8,
    /// Which optional parts follow.
    pub answer_flags: u32,
    /// How it operates.
    pub operating_flags: u32,
    /// Feature words, four bytes each.
    pub features: &'a [u8],
    /// Most ultrapeers it connects to as an ultrapeer.
    pub ultras_max: u8,
    /// Most ultrapeers it connects to as a leaf.
    pub ultras_as_leaf_max: u8,
    /// Ultrapeers connected.
    pub ultras: u8,
    /// Most leaves.
    pub leaves_max: u16,
    /// Leaves connected.
    pub leaves: u16,
    /// TTL of its own messages.
    pub ttl: u8,
    /// Most TTL plus hops it lets pass.
    pub ttl_max: u8,
    /// When it started, in seconds since 1970.
    pub started_s: u32,
    /// When its address last changed, in seconds since 1970.
    pub address_changed_s: u32,
    /// The optional parts and a GGEP block.
    pub rest: &'a [u8],
}

impl<'a> NodeInfo<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut r = Reader(body);
        Some(Self {
            vendor: r.array()?,
            mode: r.u8()?,
            answer_flags: r.u32_be()?,
            operating_flags: r.u32_be()?,
            features: {
                let words = r.u8()?;
                r.take(usize::from(words) * 4)?
            },
            ultras_max: r.u8()?,
            ultras_as_leaf_max: r.u8()?,
            ultras: r.u8()?,
            leaves_max: r.u16_be()?,
            leaves: r.u16_be()?,
            ttl: r.u8()?,
            ttl_max: r.u8()?,
            started_s: r.u32_be()?,
            address_changed_s: r.u32_be()?,
            rest: r.0,
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_BYTES + self.features.len() + self.rest.len());
        let words = (self.features.len() / 4).min(255);
        out.extend_from_slice(&self.vendor);
        out.push(self.mode);
        out.extend_from_slice(&self.answer_flags.to_be_bytes());
        out.extend_from_slice(&self.operating_flags.to_be_bytes());
        out.push(words as u8);
        out.extend_from_slice(&self.features[..words * 4]);
        out.extend_from_slice(&[self.ultras_max, self.ultras_as_leaf_max, self.ultras]);
        out.extend_from_slice(&self.leaves_max.to_be_bytes());
        out.extend_from_slice(&self.leaves.to_be_bytes());
        out.extend_from_slice(&[self.ttl, self.ttl_max]);
        out.extend_from_slice(&self.started_s.to_be_bytes());
        out.extend_from_slice(&self.address_changed_s.to_be_bytes());
        out.extend_from_slice(self.rest);
        out
    }
}
