//! Query hit: files that match.

use std::borrow::Cow;
use std::net::SocketAddrV4;

use super::extension::{self, Item, Items};
use super::ggep::{self, Block};
use super::guid::Guid;
use super::huge::{Sha1, sha1_in_ggep};
use super::read::{Reader, ip_port_bytes};

/// Most push proxies that are read from one hit.
pub const PUSH_PROXIES_MAX: usize = 16;
/// Most bytes of a trailer's value once inflated.
const VALUE_BYTES_MAX: usize = 4096;

/// A hit's payload. Parsing looks at both ends alone: what routing needs costs the same for one file or for 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryHit<'a> {
    /// How many files it says it names.
    pub count: u8,
    /// Where the servent listens.
    pub addr: SocketAddrV4,
    /// Its speed in kbit/s, as it claims.
    pub speed_kbit_s: u32,
    /// Who it is: what a push is routed by.
    pub servent: Guid,
    body: &'a [u8],
}

/// One file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The servent's own number for it.
    pub index: u32,
    /// Its size in bytes as far as 32 bits go; [`Record::size`] knows better.
    pub size_low: u32,
    /// Its name; most peers write UTF-8.
    pub name: &'a [u8],
    /// What lies between the record's two NULs.
    pub extensions: &'a [u8],
}

impl<'a> Record<'a> {
    /// Names and values attached to the file.
    #[must_use]
    pub const fn items(&self) -> Items<'a> {
        extension::items(self.extensions)
    }

    /// Size in bytes, with GGEP `LF` (little-endian, as few bytes as it takes) for files over 4 GiB.
    #[must_use]
    pub fn size(&self) -> u64 {
        let large = extension::ggep(self.extensions).and_then(|b| b.value(b"LF", 8)).and_then(|data| {
            let mut le = [0; 8];
            le.get_mut(..data.len())?.copy_from_slice(&data);
            Some(u64::from_le_bytes(le))
        });
        large.unwrap_or_else(|| self.size_low.into())
    }

    /// The file's SHA-1, from a urn or from GGEP `H`.
    #[must_use]
    pub fn sha1(&self) -> Option<Sha1> {
        self.items().find_map(|item| match item {
            Item::Urn(urn) => urn.sha1(),
            Item::Ggep(block) => sha1_in_ggep(&block.value(b"H", 64)?),
            _ => None,
        })
    }
}

/// Iterator over the files of a hit: at most as many as the hit announces.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: Reader<'a>,
    left: u8,
}

impl<'a> Records<'a> {
    fn step(&mut self) -> Option<Record<'a>> {
        let (index, size_low) = (self.rest.u32_le()?, self.rest.u32_le()?);
        Some(Record { index, size_low, name: self.rest.until_nul()?, extensions: self.rest.until_nul()? })
    }
}

impl<'a> Iterator for Records<'a> {
    /// `Err` where the payload ends inside a record; nothing follows it.
    type Item = Result<Record<'a>, Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let record = self.step().ok_or(Truncated);
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}

/// A record or the trailer is cut off, or has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("query hit ends inside a record or its trailer")]
pub struct Truncated;

/// What is known of the servent: each flag is unknown unless its enabling bit is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Bit 0 sets "push needed"; the other bits enable.
    pub first: u8,
    /// Bit 0 enables "push needed"; the other bits set.
    pub second: u8,
}

impl Flags {
    const PUSH: u8 = 0x01;
    const BUSY: u8 = 0x04;
    const UPLOADED: u8 = 0x08;
    const SPEED: u8 = 0x10;
    const GGEP: u8 = 0x20;

    const fn known(self, bit: u8) -> Option<bool> {
        // For push alone the bytes have each other's part.
        let (enable, set) =
            if bit == Self::PUSH { (self.second, self.first) } else { (self.first, self.second) };
        if enable & bit == 0 { None } else { Some(set & bit != 0) }
    }

    /// The servent is firewalled and must be sent a push.
    #[must_use]
    pub const fn push(self) -> Option<bool> {
        self.known(Self::PUSH)
    }

    /// All upload slots are taken.
    #[must_use]
    pub const fn busy(self) -> Option<bool> {
        self.known(Self::BUSY)
    }

    /// There is GGEP in the private area.
    #[must_use]
    pub const fn ggep(self) -> Option<bool> {
        self.known(Self::GGEP)
    }
}

/// What stands between the records and the servent's GUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer<'a> {
    /// Four letters.
    pub vendor: [u8; 4],
    /// What the open area says.
    pub flags: Flags,
    /// The vendor's own bytes, with GGEP among them.
    pub private: &'a [u8],
    /// XML for the records, plain or `{deflate}`.
    pub xml: &'a [u8],
}

impl<'a> Trailer<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut r = Reader(bytes);
        let vendor = r.array::<4>()?;
        let open_len = usize::from(r.u8()?);
        let open = r.take(open_len)?;
        let flags = match *open {
            [first, second, ..] => Flags { first, second },
            _ => Flags::default(),
        };
        let xml_len = match *open {
            [_, _, lo, hi, ..] => usize::from(u16::from_le_bytes([lo, hi])),
            _ => 0,
        };
        // The XML is the last of the private area; a length that does not fit means that there is none.
        let (private, xml) = r.0.split_at(r.0.len().checked_sub(xml_len).unwrap_or(r.0.len()));
        Some(Self { vendor, flags, private, xml })
    }

    /// The first GGEP block in the private area, where the flags do not deny one.
    #[must_use]
    pub fn ggep(&self) -> Option<Block<'a>> {
        if self.flags.ggep() == Some(false) {
            return None;
        }
        Block::parse(&self.private[memchr::memchr(ggep::MAGIC, self.private)?..])
    }

    fn value(&self, id: &[u8]) -> Option<Cow<'a, [u8]>> {
        self.ggep()?.value(id, VALUE_BYTES_MAX)
    }

    /// Who passes pushes on to this servent (GGEP `PUSH`), at most [`PUSH_PROXIES_MAX`].
    #[must_use]
    pub fn push_proxies(&self) -> Vec<SocketAddrV4> {
        let packed = self.value(b"PUSH").unwrap_or_default();
        packed.chunks_exact(6).take(PUSH_PROXIES_MAX).filter_map(|p| Reader(p).ip_port()).collect()
    }

    /// The servent's name in the DNS (GGEP `HNAME`).
    #[must_use]
    pub fn hostname(&self) -> Option<String> {
        Some(String::from_utf8_lossy(&self.value(b"HNAME")?).into_owned())
    }

    /// Whether its files may be listed over HTTP (GGEP `BH`).
    #[must_use]
    pub fn browse_host(&self) -> bool {
        self.ggep().is_some_and(|b| b.find(b"BH").is_some())
    }
}

impl<'a> QueryHit<'a> {
    /// Reads a payload of at least 27 bytes. Records and trailer are not looked at.
    #[must_use]
    #[inline]
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let (front, servent) = payload.split_last_chunk::<16>()?;
        let mut r = Reader(front);
        let count = r.u8()?;
        let port = r.u16_le()?;
        let addr = SocketAddrV4::new(r.ipv4()?, port);
        Some(Self { count, addr, speed_kbit_s: r.u32_le()?, servent: Guid(*servent), body: r.0 })
    }

    /// The files.
    #[must_use]
    pub const fn records(&self) -> Records<'a> {
        Records { rest: Reader(self.body), left: self.count }
    }

    /// What follows the files; `None` where they end at the servent's GUID, as in the oldest dialect.
    ///
    /// # Errors
    /// Where a record or the trailer is cut off.
    pub fn trailer(&self) -> Result<Option<Trailer<'a>>, Truncated> {
        let mut records = self.records();
        for record in records.by_ref() {
            record?;
        }
        if records.rest.0.is_empty() {
            return Ok(None);
        }
        Trailer::parse(records.rest.0).map(Some).ok_or(Truncated)
    }
}

/// Writes a hit.
#[derive(Clone, Debug)]
pub struct Builder {
    bytes: Vec<u8>,
    private: Vec<u8>,
    vendor: [u8; 4],
    flags: Flags,
}

impl Builder {
    /// A hit of the servent at this address without files yet. The flags are those of a servent that is reachable,
    /// not busy, and has uploaded nothing.
    #[must_use]
    pub fn new(vendor: [u8; 4], addr: SocketAddrV4, speed_kbit_s: u32) -> Self {
        let mut bytes = vec![0];
        let [a, b, c, d, p, q] = ip_port_bytes(addr);
        bytes.extend_from_slice(&[p, q, a, b, c, d]);
        bytes.extend_from_slice(&speed_kbit_s.to_le_bytes());
        let flags =
            Flags { first: Flags::BUSY | Flags::UPLOADED | Flags::SPEED | Flags::GGEP, second: Flags::PUSH };
        Self { bytes, private: Vec::new(), vendor, flags }
    }

    /// Adds a file. The 256th and later ones are left out, as the count is one byte; a name ends at its first NUL.
    #[must_use]
    pub fn file(mut self, index: u32, size: u64, name: &str, sha1: Option<Sha1>) -> Self {
        let Some(count) = self.bytes[0].checked_add(1) else { return self };
        self.bytes[0] = count;
        self.bytes.extend_from_slice(&index.to_le_bytes());
        let small = u32::try_from(size);
        self.bytes.extend_from_slice(&small.unwrap_or(u32::MAX).to_le_bytes());
        self.bytes.extend_from_slice(name.split('\0').next().unwrap_or_default().as_bytes());
        self.bytes.push(0);
        let mut block = ggep::Builder::new(ggep::Nul::Forbidden);
        if small.is_err() {
            let le = size.to_le_bytes();
            block.push(b"LF", &le[..8 - size.leading_zeros() as usize / 8]);
        }
        let urn = sha1.map(|s| s.urn());
        let area = extension::join(urn.iter().map(String::as_bytes), &block.finish());
        self.bytes.extend_from_slice(&area);
        self.bytes.push(0);
        self
    }

    /// Says that the servent needs a push.
    #[must_use]
    pub const fn firewalled(mut self) -> Self {
        self.flags.first |= Flags::PUSH;
        self
    }

    /// Adds a block that [`ggep::Builder`] wrote to the private area.
    #[must_use]
    pub fn ggep(mut self, block: Vec<u8>) -> Self {
        if !block.is_empty() {
            self.flags.second |= Flags::GGEP;
        }
        self.private = block;
        self
    }

    /// The payload.
    #[must_use]
    pub fn finish(mut self, servent: Guid) -> Vec<u8> {
        self.bytes.extend_from_slice(&self.vendor);
        self.bytes.extend_from_slice(&[2, self.flags.first, self.flags.second]);
        self.bytes.extend_from_slice(&self.private);
        self.bytes.extend_from_slice(&servent.0);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A hit of one file that an ultrapeer relayed.
    fn captured() -> Vec<u8> {
        let mut hit = HEXLOWER.decode(b"01ca187f000301e80300000700000039300000").unwrap();
        hit.extend_from_slice(
            b"platypus sonata in g.mp3\0urn:sha1:XFBNFSMOSMVHJPLTZ2KHZHGIW5XAOJIN\0AVPT\x02\x3c\x20",
        );
        hit.extend_from_slice(&HEXLOWER.decode(b"2a5256569048887fffb8f1224759c600").unwrap());
        hit
    }

    #[test]
    fn a_captured_hit_is_read_whole() {
        let bytes = captured();
        let hit = QueryHit::parse(&bytes).unwrap();
        assert_eq!((hit.count, hit.speed_kbit_s), (1, 1000));
        assert_eq!(hit.addr, "127.0.3.1:6346".parse().unwrap());
        assert_eq!(hit.servent.to_string(), "2a5256569048887fffb8f1224759c600");
        let record = hit.records().next().unwrap().unwrap();
        assert_eq!((record.index, record.size(), record.name), (7, 12_345, &b"platypus sonata in g.mp3"[..]));
        assert_eq!(record.sha1().unwrap().base32(), "XFBNFSMOSMVHJPLTZ2KHZHGIW5XAOJIN");
        let trailer = hit.trailer().unwrap().unwrap();
        assert_eq!(&trailer.vendor, b"AVPT");
        assert_eq!(
            (trailer.flags.ggep(), trailer.flags.busy(), trailer.flags.push()),
            (Some(true), Some(false), None)
        );
        assert!(trailer.ggep().is_none() && trailer.private.is_empty());
    }

    #[test]
    fn a_trailer_with_an_xml_size_and_a_private_byte() {
        // As another client writes it: open area of four bytes, XML size 1, two private bytes.
        let bytes = captured();
        let at = bytes.len() - 16 - 7;
        let mut other = bytes[..at].to_vec();
        other.extend_from_slice(b"MLDK\x04\x02\0\x01\0\0\0");
        other.extend_from_slice(&[0x11; 16]);
        let hit = QueryHit::parse(&other).unwrap();
        let trailer = hit.trailer().unwrap().unwrap();
        assert_eq!((trailer.private, trailer.xml), (&[0][..], &[0][..]));
        assert_eq!(hit.servent, Guid([0x11; 16]));
    }

    #[test]
    fn a_hit_of_the_oldest_dialect_has_no_trailer() {
        let bytes = captured();
        let mut old = bytes[..bytes.len() - 16 - 7].to_vec();
        old.extend_from_slice(&[0x22; 16]);
        let hit = QueryHit::parse(&old).unwrap();
        assert_eq!(hit.trailer(), Ok(None));
        assert_eq!(hit.records().filter(Result::is_ok).count(), 1);
    }

    #[test]
    fn a_hit_that_promises_more_files_than_it_has_is_truncated() {
        let mut bytes = captured();
        bytes[0] = 9;
        let hit = QueryHit::parse(&bytes).unwrap();
        assert_eq!(hit.trailer(), Err(Truncated));
        assert!(hit.records().count() <= 3);
        assert_eq!(QueryHit::parse(&bytes[..26]), None);
    }

    #[test]
    fn the_push_flag_is_reversed() {
        let needs_push = Flags { first: 0x01, second: 0x01 };
        assert_eq!(needs_push.push(), Some(true));
        assert_eq!(Flags { first: 0x01, second: 0x00 }.push(), None);
        assert_eq!(Flags { first: 0x00, second: 0x01 }.push(), Some(false));
        assert_eq!(Flags { first: 0x04, second: 0x00 }.busy(), Some(false));
    }

    proptest! {
        #[test]
        fn what_is_built_is_read(files in vec((any::<u32>(), any::<u64>(), "[^\0]{0,30}", any::<Option<[u8; 20]>>()), 0..6),
                                 proxies in vec(any::<([u8; 4], u16)>(), 0..5), firewalled: bool, servent: [u8; 16]) {
            let addr = SocketAddrV4::new([10, 1, 2, 3].into(), 6346);
            let proxies: Vec<_> = proxies.into_iter().map(|(ip, port)| SocketAddrV4::new(ip.into(), port)).collect();
            let packed: Vec<u8> = proxies.iter().flat_map(|p| ip_port_bytes(*p)).collect();
            let block = ggep::Builder::new(ggep::Nul::Allowed).with(b"PUSH", &packed).with(b"HNAME", b"h.example").with(b"BH", b"");
            let mut builder = Builder::new(*b"TEST", addr, 56).ggep(block.finish());
            if firewalled { builder = builder.firewalled(); }
            for (index, size, name, sha1) in &files {
                builder = builder.file(*index, *size, name, sha1.map(Sha1));
            }
            let bytes = builder.finish(Guid(servent));
            let hit = QueryHit::parse(&bytes).unwrap();
            prop_assert_eq!((hit.addr, hit.speed_kbit_s, hit.servent), (addr, 56, Guid(servent)));
            let read: Vec<_> = hit.records().map(|r| {
                let r = r.unwrap();
                (r.index, r.size(), String::from_utf8(r.name.to_vec()).unwrap(), r.sha1().map(|s| s.0))
            }).collect();
            prop_assert_eq!(read, files);
            let trailer = hit.trailer().unwrap().unwrap();
            prop_assert_eq!(trailer.push_proxies(), proxies);
            prop_assert_eq!(trailer.hostname(), Some("h.example".to_owned()));
            prop_assert!(trailer.browse_host());
            prop_assert_eq!(trailer.flags.push(), Some(firewalled));
        }

        #[test]
        fn any_bytes_are_read_without_panic(payload in vec(prop_oneof![3 => any::<u8>(), 1 => Just(0), 1 => Just(0xc3)], 0..400)) {
            if let Some(hit) = QueryHit::parse(&payload) {
                for record in hit.records().flatten() {
                    let _ = (record.size(), record.sha1(), record.items().count());
                }
                if let Ok(Some(trailer)) = hit.trailer() {
                    let _ = (trailer.push_proxies(), trailer.hostname(), trailer.browse_host());
                }
            }
        }
    }
}
