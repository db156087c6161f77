//! Bounded reading of fixed fields.

use std::net::{Ipv4Addr, SocketAddrV4};

/// The part of a payload that has not been read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    pub(crate) fn u16_le(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u16_be(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32_le(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u32_be(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn ipv4(&mut self) -> Option<Ipv4Addr> {
        self.array::<4>().map(Ipv4Addr::from)
    }

    /// Address then port, the order of everything but pongs and hits.
    pub(crate) fn ip_port(&mut self) -> Option<SocketAddrV4> {
        let ip = self.ipv4()?;
        Some(SocketAddrV4::new(ip, self.u16_le()?))
    }

    /// Up to the next NUL, which is taken as well.
    pub(crate) fn until_nul(&mut self) -> Option<&'a [u8]> {
        let at = memchr::memchr(0, self.0)?;
        let text = &self.0[..at];
        self.0 = &self.0[at + 1..];
        Some(text)
    }
}

/// Six bytes: address, then port little-endian.
pub(crate) fn ip_port_bytes(addr: SocketAddrV4) -> [u8; 6] {
    let [a, b, c, d] = addr.ip().octets();
    let [p, q] = addr.port().to_le_bytes();
    [a, b, c, d, p, q]
}
