//! Pong: a host, what it shares, and what it knows.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::ggep::{Block, Builder, Nul};
use super::read::{Reader, ip_port_bytes};

/// Most addresses that are read from or written into one pong (UDP host cache, "IPP").
pub const PACKED_HOSTS_MAX: usize = 30;
/// Most bytes of a packed list of host caches once inflated.
pub const PACKED_CACHES_BYTES_MAX: usize = 8 * 1024;

/// A pong's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong<'a> {
    /// Where the host listens.
    pub addr: SocketAddrV4,
    /// How many files it shares.
    pub files: u32,
    /// How many kilobytes those are. Ultrapeers round this to powers of two of at least 8 in old dialects.
    pub kbytes: u32,
    /// A GGEP block, or nothing.
    pub extensions: &'a [u8],
}

/// What the `UP` extension says: the sender is an ultrapeer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ultrapeer {
    /// Version of the ultrapeer protocol, major in the high nibble.
    pub version: u8,
    /// Free places for leaves; 255 means so many or more.
    pub leaf_slots: u8,
    /// Free places for ultrapeers.
    pub ultra_slots: u8,
}

/// What the `VC` extension says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vendor {
    /// Four letters, as in query hits.
    pub code: [u8; 4],
    /// Major version in the high nibble, minor in the low one.
    pub version: u8,
}

impl<'a> Pong<'a> {
    /// Reads a payload of at least 14 bytes.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let mut r = Reader(payload);
        let port = r.u16_le()?;
        let ip = r.ipv4()?;
        let (files, kbytes) = (r.u32_le()?, r.u32_le()?);
        Some(Self { addr: SocketAddrV4::new(ip, port), files, kbytes, extensions: r.0 })
    }

    /// The payload on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(14 + self.extensions.len());
        out.extend_from_slice(&self.addr.port().to_le_bytes());
        out.extend_from_slice(&self.addr.ip().octets());
        out.extend_from_slice(&self.files.to_le_bytes());
        out.extend_from_slice(&self.kbytes.to_le_bytes());
        out.extend_from_slice(self.extensions);
        out
    }

    /// Its GGEP block.
    #[must_use]
    pub fn ggep(&self) -> Option<Block<'a>> {
        Block::parse(self.extensions)
    }

    /// Whether the host is an ultrapeer, and its free slots.
    #[must_use]
    pub fn ultrapeer(&self) -> Option<Ultrapeer> {
        let data = self.ggep()?.find(b"UP")?.raw;
        let [version, leaf_slots, ultra_slots, ..] = *data else { return None };
        Some(Ultrapeer { version, leaf_slots, ultra_slots })
    }

    /// Average daily uptime in seconds.
    #[must_use]
    pub fn daily_uptime_s(&self) -> Option<u32> {
        let data = self.ggep()?.find(b"DU")?.raw;
        let mut le = [0; 4];
        le.get_mut(..data.len())?.copy_from_slice(data);
        Some(u32::from_le_bytes(le))
    }

    /// Who wrote the host's software.
    #[must_use]
    pub fn vendor(&self) -> Option<Vendor> {
        let data = self.ggep()?.find(b"VC")?.raw;
        let (code, rest) = data.split_first_chunk::<4>()?;
        Some(Vendor { code: *code, version: rest.first().copied().unwrap_or(0) })
    }

    /// Version of GUESS that the host speaks, major in the high nibble.
    #[must_use]
    pub fn guess(&self) -> Option<u8> {
        Some(self.ggep()?.find(b"GUE")?.raw.first().copied().unwrap_or(1))
    }

    /// The addresses packed in `IPP`, at most [`PACKED_HOSTS_MAX`].
    #[must_use]
    pub fn packed_hosts(&self) -> Vec<SocketAddrV4> {
        let bytes_max = 6 * PACKED_HOSTS_MAX;
        let packed = self.ggep().and_then(|b| b.find(b"IPP")).map(|e| e.data(16 * bytes_max));
        let Some(Ok(packed)) = packed else { return Vec::new() };
        packed.chunks_exact(6).take(PACKED_HOSTS_MAX).filter_map(|host| Reader(host).ip_port()).collect()
    }

    /// The host caches packed in `PHC`: names with an optional port and options, separated by line feeds.
    #[must_use]
    pub fn packed_caches(&self) -> Option<String> {
        let packed = self.ggep()?.value(b"PHC", PACKED_CACHES_BYTES_MAX)?;
        Some(String::from_utf8_lossy(&packed).into_owned())
    }

    /// The sender is itself a host cache (`UDPHC`): its name, empty where its address should be used.
    #[must_use]
    pub fn host_cache(&self) -> Option<String> {
        let name = self.ggep()?.value(b"UDPHC", 256)?;
        Some(String::from_utf8_lossy(&name).into_owned())
    }

    /// The address that the sender saw us at (`IP`).
    #[must_use]
    pub fn seen_at(&self) -> Option<SocketAddrV4> {
        Reader(self.ggep()?.find(b"IP")?.raw).ip_port()
    }
}

/// Writes a pong's extensions in the order that is usual.
#[derive(Clone, Debug, Default)]
pub struct Extensions {
    block: Builder,
}

impl Extensions {
    /// No extension yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { block: Builder::new(Nul::Allowed) }
    }

    /// `VC`: vendor and version.
    #[must_use]
    pub fn vendor(mut self, vendor: Vendor) -> Self {
        let [a, b, c, d] = vendor.code;
        self.block.push(b"VC", &[a, b, c, d, vendor.version]);
        self
    }

    /// `UP`: an ultrapeer with these free slots.
    #[must_use]
    pub fn ultrapeer(mut self, up: Ultrapeer) -> Self {
        self.block.push(b"UP", &[up.version, up.leaf_slots, up.ultra_slots]);
        self
    }

    /// `DU`: average daily uptime, in as few bytes as it takes.
    #[must_use]
    pub fn daily_uptime_s(mut self, seconds: u32) -> Self {
        let le = seconds.to_le_bytes();
        let len = 4 - seconds.leading_zeros() as usize / 8;
        self.block.push(b"DU", &le[..len]);
        self
    }

    /// `GUE`: version of GUESS.
    #[must_use]
    pub fn guess(mut self, version: u8) -> Self {
        self.block.push(b"GUE", &[version]);
        self
    }

    /// `IPP`: hosts to try, the first [`PACKED_HOSTS_MAX`] of them; nothing where there are none.
    #[must_use]
    pub fn packed_hosts(mut self, hosts: &[SocketAddrV4]) -> Self {
        if !hosts.is_empty() {
            let packed: Vec<u8> =
                hosts.iter().take(PACKED_HOSTS_MAX).flat_map(|h| ip_port_bytes(*h)).collect();
            self.block.push(b"IPP", &packed);
        }
        self
    }

    /// `PHC`: host caches to try, one a line.
    #[must_use]
    pub fn packed_caches(mut self, lines: &str) -> Self {
        if !lines.is_empty() {
            self.block.push_deflated(b"PHC", lines.as_bytes());
        }
        self
    }

    /// `UDPHC`: the sender is a host cache; an empty name means "at the address in this pong".
    #[must_use]
    pub fn host_cache(mut self, name: &str) -> Self {
        self.block.push(b"UDPHC", name.as_bytes());
        self
    }

    /// `IP`: where the ping seemed to come from.
    #[must_use]
    pub fn seen_at(mut self, addr: SocketAddrV4) -> Self {
        self.block.push(b"IP", &ip_port_bytes(addr));
        self
    }

    /// The block.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.block.finish()
    }
}

/// An address that no pong should carry: unset, or not a single host.
#[must_use]
pub fn is_host(addr: SocketAddrV4) -> bool {
    let ip: &Ipv4Addr = addr.ip();
    addr.port() != 0
        && !ip.is_unspecified()
        && !ip.is_broadcast()
        && !ip.is_multicast()
        && ip.octets()[0] != 0
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// An ultrapeer's answer to a ping of a leaf.
    const CAPTURED: &[u8] = b"\xca\x18\x64\x40\x4d\x01\x01\0\0\0\0\x01\0\0\
        \xc3\x02VC\x45GTKG\x83\x03GUE\x41\x02\x02UP\x43\x02\xff\x32\x02DU\x41\xee\x83TLS\x40";

    #[test]
    fn a_captured_pong_is_read_and_written_back() {
        let pong = Pong::parse(CAPTURED).unwrap();
        assert_eq!(pong.addr, "100.64.77.1:6346".parse().unwrap());
        assert_eq!((pong.files, pong.kbytes), (1, 256));
        assert_eq!(pong.ultrapeer(), Some(Ultrapeer { version: 2, leaf_slots: 255, ultra_slots: 50 }));
        assert_eq!(pong.vendor(), Some(Vendor { code: *b"GTKG", version: 0x83 }));
        assert_eq!(pong.daily_uptime_s(), Some(238));
        assert_eq!(pong.guess(), Some(2));
        assert_eq!(pong.packed_hosts(), []);
        assert_eq!(pong.encode(), CAPTURED);
    }

    #[test]
    fn uptime_takes_as_few_bytes_as_it_needs() {
        let of = |s: u32| Extensions::new().daily_uptime_s(s).finish();
        assert_eq!(of(874), b"\xc3\x82DU\x42\x6a\x03");
        assert_eq!(of(0), b"\xc3\x82DU\x40");
        for seconds in [0, 255, 256, 65_535, 86_400, u32::MAX] {
            let extensions = of(seconds);
            let pong = Pong {
                addr: SocketAddrV4::new([1, 2, 3, 4].into(), 5),
                files: 0,
                kbytes: 0,
                extensions: &extensions,
            };
            assert_eq!(pong.daily_uptime_s(), Some(seconds));
        }
    }

    #[test]
    fn more_hosts_than_the_bound_are_neither_written_nor_read() {
        let hosts: Vec<_> = (0..50).map(|n| SocketAddrV4::new([10, 0, 0, n].into(), 6346)).collect();
        let extensions = Extensions::new().packed_hosts(&hosts).finish();
        let pong = Pong { addr: hosts[0], files: 0, kbytes: 0, extensions: &extensions };
        assert_eq!(pong.packed_hosts(), hosts[..PACKED_HOSTS_MAX]);
    }

    proptest! {
        #[test]
        fn what_is_built_is_read(ip: [u8; 4], port: u16, files: u32, kbytes: u32, up: [u8; 3], uptime: u32,
                                 hosts in vec(any::<([u8; 4], u16)>(), 0..=PACKED_HOSTS_MAX), name in "[a-z.]{0,20}") {
            let up = Ultrapeer { version: up[0], leaf_slots: up[1], ultra_slots: up[2] };
            let hosts: Vec<_> = hosts.into_iter().map(|(ip, port)| SocketAddrV4::new(ip.into(), port)).collect();
            let addr = SocketAddrV4::new(ip.into(), port);
            let vendor = Vendor { code: *b"TEST", version: 0x10 };
            let extensions = Extensions::new().vendor(vendor).guess(2).ultrapeer(up).daily_uptime_s(uptime)
                .packed_hosts(&hosts).packed_caches(&name).host_cache(&name).seen_at(addr).finish();
            let bytes = Pong { addr, files, kbytes, extensions: &extensions }.encode();
            let pong = Pong::parse(&bytes).unwrap();
            prop_assert_eq!((pong.addr, pong.files, pong.kbytes), (addr, files, kbytes));
            prop_assert_eq!(pong.vendor(), Some(vendor));
            prop_assert_eq!(pong.ultrapeer(), Some(up));
            prop_assert_eq!(pong.daily_uptime_s(), Some(uptime));
            prop_assert_eq!(pong.packed_hosts(), hosts);
            prop_assert_eq!(pong.packed_caches().unwrap_or_default(), name.clone());
            prop_assert_eq!(pong.host_cache(), Some(name));
            prop_assert_eq!(pong.seen_at(), Some(addr));
        }

        #[test]
        fn any_bytes_are_read_without_panic(payload in vec(any::<u8>(), 0..200)) {
            if let Some(pong) = Pong::parse(&payload) {
                let _ = (pong.ultrapeer(), pong.daily_uptime_s(), pong.vendor(), pong.guess(), pong.packed_hosts(),
                         pong.packed_caches(), pong.host_cache(), pong.seen_at());
                prop_assert_eq!(pong.encode(), payload);
            } else {
                prop_assert!(payload.len() < 14);
            }
        }
    }
}
