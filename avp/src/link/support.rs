//! Which vendor messages a peer understands, as far as we would send them.

use crate::gnutella::vendor::Id;
use crate::state::saved;

/// A set of vendor messages, learnt from the peer's `messages supported` (0/0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Support(u8);

saved!(Support { 0 });

/// What we would send, in the lowest version that will do.
const KNOWN: [(Id, Support); 2] =
    [(Id::new(b"BEAR", 4, 0), Support::HOPS_FLOW), (Id::new(b"BEAR", 11, 0), Support::QUERY_STATUS_REQUEST)];

impl Support {
    /// `BEAR/4`: keep queries from farther away.
    pub const HOPS_FLOW: Self = Self(1);
    /// `BEAR/11`: how many hits have you for this query?
    pub const QUERY_STATUS_REQUEST: Self = Self(1 << 1);

    /// The peer says that it understands this message up to this version.
    pub fn learn(&mut self, theirs: Id) {
        for (ours, bit) in KNOWN {
            if (ours.vendor, ours.number) == (theirs.vendor, theirs.number) && theirs.version >= ours.version
            {
                self.0 |= bit.0;
            }
        }
    }

    /// Whether it understands all of `messages`.
    #[must_use]
    pub fn has(self, messages: Self) -> bool {
        self.0 & messages.0 == messages.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_lists_is_known_and_the_rest_is_not() {
        let mut support = Support::default();
        support.learn(Id::new(b"GTKG", 4, 1));
        assert!(!support.has(Support::HOPS_FLOW));
        support.learn(Id::new(b"BEAR", 4, 1));
        assert!(support.has(Support::HOPS_FLOW));
        assert!(!support.has(Support::QUERY_STATUS_REQUEST));
        support.learn(Id::new(b"BEAR", 11, 1));
        assert!(support.has(Support::QUERY_STATUS_REQUEST));
    }
}
