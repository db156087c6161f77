//! Addresses of this machine that no other test uses.
//!
//! The whole of 127.0.0.0/8 is this machine, so each test takes a /24 of its own and has every port of it for
//! itself, however many tests run at the same time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// The port whose listener marks a /24 as taken.
const GUARD_PORT: u16 = 20_001;

/// A /24 of loopback addresses, ours until dropped.
#[derive(Debug)]
pub struct Loopback {
    net: [u8; 2],
    next: AtomicU8,
    _guard: TcpListener,
}

impl Loopback {
    /// Takes a /24 that nobody has.
    ///
    /// # Panics
    /// Where none of the 32,000 is free, or this machine's loopback network is not 127.0.0.0/8.
    #[must_use]
    pub fn claim() -> Self {
        // A /24 is not taken again by the same process: what its last test has killed may still be letting go of it.
        static CLAIMS: AtomicU32 = AtomicU32::new(0);
        let claim = CLAIMS.fetch_add(1, Ordering::Relaxed);
        let start = std::process::id().wrapping_mul(2_654_435_761).wrapping_add(claim.wrapping_mul(509));
        for step in 0..32_000_u32 {
            let n = start.wrapping_add(step.wrapping_mul(251)) % 32_000;
            let net = [128 + (n / 256) as u8, (n % 256) as u8];
            if let Ok(guard) = TcpListener::bind((Ipv4Addr::new(127, net[0], net[1], 1), GUARD_PORT)) {
                return Self { net, next: AtomicU8::new(1), _guard: guard };
            }
        }
        panic!("no free /24 in 127.0.0.0/8: is the loopback interface up?");
    }

    /// The next address that this /24 has not given out yet.
    ///
    /// # Panics
    /// After 253 of them.
    pub fn ip(&self) -> Ipv4Addr {
        let host = self.next.fetch_add(1, Ordering::Relaxed);
        assert!((1..254).contains(&host), "a test has 253 addresses of its own, no more");
        Ipv4Addr::new(127, self.net[0], self.net[1], host)
    }

    /// A fresh address with this port.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.ip()), port)
    }
}
