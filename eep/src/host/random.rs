//! The capability `random`: the operating system's.

use crate::host::Host;
use crate::host::bindings::eep::proxylet::random;

/// Bytes that one call gives at most.
const BYTES_MAX: u32 = 4_096;

impl random::Host for Host {
    fn bytes(&mut self, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; len.min(BYTES_MAX) as usize];
        if let Err(error) = getrandom::fill(&mut bytes) {
            // A proxylet that seeds its tables with less than it asked for must not go on.
            self.env.log.node_warn(&format!("the system gives no randomness: {error}"));
            bytes.clear();
        }
        bytes
    }
}
