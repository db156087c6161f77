//! Ping: who is there?

use super::ggep::{Block, Builder, Nul};

/// A ping's payload: nothing, or a GGEP block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ping<'a> {
    /// What follows the header.
    pub extensions: &'a [u8],
}

/// What a `SCP` ("supports cached pongs") extension asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CachedPongs {
    /// Bit 0 says which kind of slot is looked for.
    bits: u8,
}

impl CachedPongs {
    /// Hosts with free ultrapeer slots are wanted, rather than with free leaf slots.
    pub const ULTRA: u8 = 0x01;
    /// Hosts that speak TLS are wanted.
    pub const TLS: u8 = 0x02;
    /// IPv6 addresses are understood as well.
    pub const IPV6: u8 = 0x04;
    /// IPv4 addresses are of no use.
    pub const NO_IPV4: u8 = 0x08;

    /// From the byte on the wire.
    #[must_use]
    pub const fn new(bits: u8) -> Self {
        Self { bits }
    }

    /// Whether hosts with free ultrapeer slots are wanted.
    #[must_use]
    pub const fn wants_ultra(self) -> bool {
        self.bits & Self::ULTRA != 0
    }

    /// Whether IPv4 addresses may be sent.
    #[must_use]
    pub const fn takes_ipv4(self) -> bool {
        self.bits & Self::NO_IPV4 == 0
    }

    /// The byte on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.bits
    }
}

impl<'a> Ping<'a> {
    /// Any payload is a ping; one that is not GGEP asks for nothing special.
    #[must_use]
    pub const fn parse(payload: &'a [u8]) -> Self {
        Self { extensions: payload }
    }

    /// Its GGEP block.
    #[must_use]
    pub fn ggep(&self) -> Option<Block<'a>> {
        Block::parse(self.extensions)
    }

    /// Whether and which packed addresses are wanted with the pong; an `SCP` without data asks for leaf slots.
    #[must_use]
    pub fn cached_pongs(&self) -> Option<CachedPongs> {
        let scp = self.ggep()?.find(b"SCP")?;
        Some(CachedPongs::new(scp.raw.first().copied().unwrap_or(0)))
    }

    /// Whether the pong should name vendor and version.
    #[must_use]
    pub fn wants_vendor(&self) -> bool {
        self.ggep().is_some_and(|b| b.find(b"VC").is_some())
    }
}

/// The payload of a ping that asks for packed addresses.
#[must_use]
pub fn asking_for_hosts(wanted: CachedPongs) -> Vec<u8> {
    Builder::new(Nul::Allowed).with(b"SCP", &[wanted.bits()]).finish()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// What an ultrapeer sends every 20 s.
    const CAPTURED: &[u8] = b"\xc3\x83SCP\x41\x03";

    #[test]
    fn a_captured_alive_ping_is_read_and_written_back() {
        let wanted = Ping::parse(CAPTURED).cached_pongs().unwrap();
        assert!(wanted.wants_ultra() && wanted.takes_ipv4());
        assert_eq!(wanted.bits(), CachedPongs::ULTRA | CachedPongs::TLS);
        assert_eq!(asking_for_hosts(wanted), CAPTURED);
        assert!(!Ping::parse(CAPTURED).wants_vendor());
        assert_eq!(Ping::parse(b"").cached_pongs(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_ping(payload in vec(any::<u8>(), 0..64)) {
            let ping = Ping::parse(&payload);
            let _ = (ping.cached_pongs(), ping.wants_vendor());
        }
    }
}
