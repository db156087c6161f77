//! Query hits.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::Guid;

/// One file of a hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitFile {
    pub index: u32,
    pub size: u32,
    pub name: String,
    /// `urn:sha1:...` where the peer gave one.
    pub urn: Option<String>,
}

/// A hit's payload, as far as the tests look into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub address: SocketAddrV4,
    pub kbit_per_s: u32,
    pub files: Vec<HitFile>,
    pub vendor: [u8; 4],
    /// Whether the sender says that it cannot be connected to.
    pub push: bool,
    pub servent: Guid,
}

impl Hit {
    /// The bits of the trailer's two flag bytes that these hits use: speed measured, uploaded, busy known (and no).
    const KNOWN: u8 = 0b0001_1100;
    const NOT_BUSY: u8 = 0b0001_1000;
    const PUSH: u8 = 0b0000_0001;

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.files.len() as u8];
        out.extend_from_slice(&self.address.port().to_le_bytes());
        out.extend_from_slice(&self.address.ip().octets());
        out.extend_from_slice(&self.kbit_per_s.to_le_bytes());
        for file in &self.files {
            out.extend_from_slice(&file.index.to_le_bytes());
            out.extend_from_slice(&file.size.to_le_bytes());
            out.extend_from_slice(file.name.as_bytes());
            out.push(0);
            if let Some(urn) = &file.urn {
                out.extend_from_slice(urn.as_bytes());
            }
            out.push(0);
        }
        out.extend_from_slice(&self.vendor);
        // The push bit has its enabler in the second byte, the other way round than the rest.
        let push = if self.push { Self::PUSH } else { 0 };
        out.extend_from_slice(&[2, Self::KNOWN | push, Self::NOT_BUSY | Self::PUSH]);
        out.extend_from_slice(&self.servent);
        out
    }

    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (head, mut rest) = payload.split_first_chunk::<11>()?;
        let ip = Ipv4Addr::new(head[3], head[4], head[5], head[6]);
        let address = SocketAddrV4::new(ip, u16::from_le_bytes([head[1], head[2]]));
        let mut files = Vec::new();
        for _ in 0..head[0] {
            let (index, after) = rest.split_first_chunk::<4>()?;
            let (size, after) = after.split_first_chunk::<4>()?;
            let (name, after) = until_nul(after)?;
            let (extensions, after) = until_nul(after)?;
            let urn = extensions
                .split(|b| *b == 0x1c)
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .find(|part| part.to_ascii_lowercase().starts_with("urn:sha1:"));
            files.push(HitFile {
                index: u32::from_le_bytes(*index),
                size: u32::from_le_bytes(*size),
                name: String::from_utf8_lossy(name).into_owned(),
                urn,
            });
            rest = after;
        }
        let (trailer, servent) = rest.split_last_chunk::<16>()?;
        let (vendor, open) = trailer.split_first_chunk::<4>()?;
        let push = matches!(open, [n, first, second, ..]
            if *n >= 2 && second & Self::PUSH != 0 && first & Self::PUSH != 0);
        let kbit_per_s = u32::from_le_bytes([head[7], head[8], head[9], head[10]]);
        Some(Self { address, kbit_per_s, files, vendor: *vendor, push, servent: *servent })
    }
}

fn until_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_survives_the_wire_with_and_without_push() {
        for push in [false, true] {
            let hit = Hit {
                address: SocketAddrV4::new(Ipv4Addr::new(127, 0, 3, 1), 6346),
                kbit_per_s: 1000,
                files: vec![HitFile {
                    index: 7,
                    size: 12_345,
                    name: "platypus sonata in g.mp3".to_owned(),
                    urn: Some("urn:sha1:XFBNFSMOSMVHJPLTZ2KHZHGIW5XAOJIN".to_owned()),
                }],
                vendor: *b"EEPT",
                push,
                servent: [9; 16],
            };
            assert_eq!(Hit::decode(&hit.encode()), Some(hit));
        }
    }
}
