//! LIME/23 and LIME/24: asking whether a file can be had, without connecting.

use std::net::SocketAddrV4;

use crate::gnutella::ggep::Block;
use crate::gnutella::guid::Guid;
use crate::gnutella::huge::{Sha1, Urn};
use crate::gnutella::read::{Reader, ip_port_bytes};

/// Bits of a ping's flags, and of a version 1 pong's.
pub mod flag {
    /// Which parts of the file there are.
    pub const RANGES: u8 = 0x01;
    /// Other sources.
    pub const ALTS: u8 = 0x02;
    /// Other sources that need a push.
    pub const PUSH_ALTS: u8 = 0x04;
    /// Reliable UDP.
    pub const RELIABLE_UDP: u8 = 0x08;
    /// A GGEP block follows the urn.
    pub const GGEP: u8 = 0x10;
}

/// Bits of a pong's code.
pub mod code {
    /// The whole file is there.
    pub const COMPLETE: u8 = 0x01;
    /// Parts of it are.
    pub const PARTIAL: u8 = 0x02;
    /// The servent is firewalled.
    pub const FIREWALLED: u8 = 0x04;
    /// More of it is on its way.
    pub const DOWNLOADING: u8 = 0x08;
}

/// Most other sources that are read.
pub const ALTS_MAX: usize = 32;

/// LIME/23's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadPing<'a> {
    /// 1, or 2 for an answer in GGEP.
    pub version: u16,
    /// What should be in the answer ([`flag`]).
    pub flags: u8,
    /// `urn:sha1:` or bitprint, and a GGEP block where the flags say so.
    pub rest: &'a [u8],
}

impl<'a> HeadPing<'a> {
    pub(super) fn parse(version: u16, body: &'a [u8]) -> Option<Self> {
        let (flags, rest) = body.split_first()?;
        Some(Self { version, flags: *flags, rest })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        [&[self.flags][..], self.rest].concat()
    }

    fn split(&self) -> (&'a [u8], Option<Block<'a>>) {
        // Urns are ASCII: the magic byte cannot be in one.
        match memchr::memchr(crate::gnutella::ggep::MAGIC, self.rest) {
            Some(at) if self.flags & flag::GGEP != 0 => (&self.rest[..at], Block::parse(&self.rest[at..])),
            _ => (self.rest, None),
        }
    }

    /// The file that is asked for.
    #[must_use]
    pub fn sha1(&self) -> Option<Sha1> {
        let urn = self.split().0;
        Urn::parse(urn.strip_suffix(&[0]).unwrap_or(urn))?.sha1()
    }

    /// The servent that should answer, behind the ultrapeer that got this (GGEP `PUSH`, here one GUID).
    #[must_use]
    pub fn servent(&self) -> Option<Guid> {
        let block = self.split().1?;
        Some(Guid(*block.find(b"PUSH")?.raw.first_chunk::<16>()?))
    }
}

/// LIME/24's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadPong<'a> {
    /// Version 1: fixed fields; all but the first two may be missing.
    V1 {
        /// What is in `rest` ([`flag`]).
        flags: u8,
        /// What there is ([`code`]); 0 for nothing.
        code: u8,
        /// Vendor, queue position, and what the flags say.
        rest: &'a [u8],
    },
    /// Version 2: a GGEP block with `C` code, `F` features, `V` vendor, `Q` queue, `R` ranges, `A` sources.
    V2(Block<'a>),
}

impl<'a> HeadPong<'a> {
    pub(super) fn parse(version: u16, body: &'a [u8]) -> Option<Self> {
        if version >= 2 {
            return Block::parse(body).map(Self::V2);
        }
        let [flags, code, rest @ ..] = body else { return None };
        Some(Self::V1 { flags: *flags, code: *code, rest })
    }

    pub(super) const fn version(&self) -> u16 {
        match self {
            Self::V1 { .. } => 1,
            Self::V2(_) => 2,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::V1 { flags, code, rest } => [&[*flags, *code][..], rest].concat(),
            Self::V2(block) => block.bytes().to_vec(),
        }
    }

    /// What there is ([`code`]); 0 for nothing.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::V1 { code, .. } => *code,
            Self::V2(block) => block.find(b"C").and_then(|e| e.raw.first().copied()).unwrap_or(0),
        }
    }

    /// How many wait before one would be served; negative where slots are free.
    #[must_use]
    pub fn queue(&self) -> Option<i8> {
        let byte = match self {
            Self::V1 { rest, .. } => rest.get(4).copied(),
            Self::V2(block) => block.find(b"Q").and_then(|e| e.raw.first().copied()),
        };
        byte.map(|b| b as i8)
    }

    /// Other sources, at most [`ALTS_MAX`].
    #[must_use]
    pub fn alts(&self) -> Vec<SocketAddrV4> {
        let packed = match self {
            Self::V1 { flags, rest, .. } => v1_alts(*flags, rest).unwrap_or_default(),
            Self::V2(block) => block.find(b"A").map_or(&[][..], |e| e.raw),
        };
        packed.chunks_exact(6).take(ALTS_MAX).filter_map(|a| Reader(a).ip_port()).collect()
    }
}

/// Ranges, then sources that need a push, then sources: each with a big-endian length, each there if flagged.
fn v1_alts(flags: u8, rest: &[u8]) -> Option<&[u8]> {
    let mut r = Reader(rest);
    r.take(5)?;
    for part in [flag::RANGES, flag::PUSH_ALTS] {
        if flags & part != 0 {
            let len = r.u16_be()?;
            r.take(usize::from(len))?;
        }
    }
    if flags & flag::ALTS == 0 {
        return None;
    }
    let len = r.u16_be()?;
    r.take(usize::from(len))
}

/// The body of a version 1 answer. Without a file it is two bytes.
#[must_use]
pub fn pong_v1(code: u8, vendor: [u8; 4], queue: i8, alts: &[SocketAddrV4]) -> Vec<u8> {
    let alts = &alts[..alts.len().min(ALTS_MAX)];
    if code & (code::COMPLETE | code::PARTIAL) == 0 {
        return vec![0, code];
    }
    let mut out = vec![if alts.is_empty() { 0 } else { flag::ALTS }, code];
    out.extend_from_slice(&vendor);
    out.push(queue as u8);
    if !alts.is_empty() {
        out.extend_from_slice(&(alts.len() as u16 * 6).to_be_bytes());
        out.extend(alts.iter().flat_map(|a| ip_port_bytes(*a)));
    }
    out
}
