//! Which vendor messages a peer understands, as far as we would send them.

use crate::gnutella::vendor::Id;

/// A set of vendor messages, learnt from the peer's `messages supported` (0/0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Support(u8);

/// What we would send, in the lowest version that will do.
const KNOWN: [(Id, Support); 6] = [
    (Id::new(b"BEAR", 4, 0), Support::HOPS_FLOW),
    (Id::new(b"BEAR", 7, 0), Support::TCP_CONNECT_BACK),
    (Id::new(b"BEAR", 11, 0), Support::QUERY_STATUS_REQUEST),
    (Id::new(b"LIME", 11, 2), Support::OOB_HITS_REQUEST),
    (Id::new(b"LIME", 21, 1), Support::PUSH_PROXY_REQUEST),
    (Id::new(b"LIME", 22, 1), Support::PUSH_PROXY_ANSWER),
];

impl Support {
    /// `BEAR/4`: keep queries from farther away.
    pub const HOPS_FLOW: Self = Self(1);
    /// `BEAR/7`: connect to this port, so that we know whether it can be reached.
    pub const TCP_CONNECT_BACK: Self = Self(1 << 1);
    /// `BEAR/11`: how many hits have you for this query?
    pub const QUERY_STATUS_REQUEST: Self = Self(1 << 2);
    /// `LIME/11`: send so many of the hits that you announced.
    pub const OOB_HITS_REQUEST: Self = Self(1 << 3);
    /// `LIME/21`: be my push proxy.
    pub const PUSH_PROXY_REQUEST: Self = Self(1 << 4);
    /// `LIME/22`: I am your push proxy.
    pub const PUSH_PROXY_ANSWER: Self = Self(1 << 5);

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
        support.learn(Id::new(b"BEAR", 4, 1));
        support.learn(Id::new(b"LIME", 11, 1));
        support.learn(Id::new(b"GTKG", 4, 1));
        assert!(support.has(Support::HOPS_FLOW));
        assert!(!support.has(Support::OOB_HITS_REQUEST));
        support.learn(Id::new(b"LIME", 11, 3));
        assert!(support.has(Support::OOB_HITS_REQUEST));
        assert!(!support.has(Support::TCP_CONNECT_BACK));
    }
}
