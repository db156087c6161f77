//! What the two sides of a relation agreed in their handshake.

use std::net::{IpAddr, SocketAddr};

use crate::gnutella::Guid;
use crate::gnutella::headers::Version;
use crate::state::saved;

/// What a peer is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It shields nobody: we answer its queries and hand it only what its routing table matches.
    Leaf,
    /// Another ultrapeer.
    Ultrapeer,
    /// A peer from before ultrapeers (Gnutella 0.4, or 0.6 without `X-Ultrapeer`): a neighbour without query
    /// routing.
    Old,
}

impl Role {
    /// Whether messages are relayed to it as to another router of the overlay.
    #[must_use]
    pub fn is_neighbour(self) -> bool {
        self != Self::Leaf
    }

    /// The word for it in metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::Ultrapeer => "ultrapeer",
            Self::Old => "old",
        }
    }
}

/// A set of features that need no more than a yes from both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u16);

impl Features {
    /// Nothing beyond Gnutella 0.4.
    pub const NONE: Self = Self(0);
    /// Extension blocks (`GGEP: 0.5`).
    pub const GGEP: Self = Self(1);
    /// Says why it leaves (`Bye-Packet: 0.1`).
    pub const BYE: Self = Self(1 << 1);
    /// Understands vendor messages (`Vendor-Message: 0.1` or later).
    pub const VENDOR_MESSAGES: Self = Self(1 << 2);
    /// Takes a repeated query with a higher TTL as an extension of the first (`X-Ext-Probes: 0.1`).
    pub const EXTENDED_PROBES: Self = Self(1 << 3);

    /// Whether all of `other` are in this set.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// This set and `other`, where `yes`.
    #[must_use]
    pub fn with(self, other: Self, yes: bool) -> Self {
        if yes { Self(self.0 | other.0) } else { self }
    }
}

/// What both sides agreed. Kept as long as the relation lives, so it is small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What the peer is to us.
    pub role: Role,
    /// Whether we made the connection.
    pub dialled: bool,
    /// Whether what we receive is a zlib stream.
    pub inflate: bool,
    /// Whether what we send must be a zlib stream.
    pub deflate: bool,
    /// The highest TTL that the peer wants to see on queries from us (`X-Max-TTL`).
    pub max_ttl: u8,
    /// With how many ultrapeers it keeps relations (`X-Degree`); 0 where it did not say.
    pub degree: u16,
    /// What the peer understands.
    pub features: Features,
    /// Query routing between leaf and ultrapeer (`X-Query-Routing`).
    pub query_routing: Option<Version>,
    /// Query routing between ultrapeers (`X-Ultrapeer-Query-Routing`).
    pub ultrapeer_query_routing: Option<Version>,
    /// The peer's name for itself (`User-Agent`), at most [`USER_AGENT_BYTES_MAX`].
    pub user_agent: Box<str>,
    /// Where the peer says that it listens (`Listen-IP`, `Node` or `X-My-Address`).
    pub listen: Option<SocketAddr>,
    /// Our address as the peer sees it (`Remote-IP`).
    pub seen_as: Option<IpAddr>,
    /// The peer's servent GUID (`GUID`).
    pub guid: Option<Guid>,
}

saved!(Features { 0 });
saved!(Terms {
    role,
    dialled,
    inflate,
    deflate,
    max_ttl,
    degree,
    features,
    query_routing,
    ultrapeer_query_routing,
    user_agent,
    listen,
    seen_as,
    guid,
});

/// A longer `User-Agent` is cut.
pub const USER_AGENT_BYTES_MAX: usize = 128;

impl Terms {
    /// Where the peer can be reached: the port that it advertises, at the address from which it speaks. The
    /// advertised address itself is not taken, since it could be anybody's.
    #[must_use]
    pub fn reachable_at(&self, remote: SocketAddr) -> Option<SocketAddr> {
        if self.dialled {
            return Some(remote);
        }
        self.listen.filter(|a| a.port() != 0).map(|a| SocketAddr::new(remote.ip(), a.port()))
    }

    /// Whether the peer sends and takes query routing tables on this relation.
    #[must_use]
    pub fn routes_queries(&self) -> bool {
        match self.role {
            Role::Leaf => self.query_routing.is_some(),
            Role::Ultrapeer => self.ultrapeer_query_routing.is_some(),
            Role::Old => false,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Terms with a peer that knows everything.
    pub(crate) fn terms(role: Role) -> Terms {
        Terms {
            role,
            dialled: false,
            inflate: false,
            deflate: false,
            max_ttl: 4,
            degree: 32,
            features: Features::NONE.with(Features::VENDOR_MESSAGES, true).with(Features::BYE, true),
            query_routing: Some(Version::new(0, 2)),
            ultrapeer_query_routing: Some(Version::new(0, 1)),
            user_agent: "test/1.0".into(),
            listen: Some(([10, 0, 0, 9], 6347).into()),
            seen_as: None,
            guid: Some(Guid([5; 16])),
        }
    }

    #[test]
    fn a_peer_is_reached_at_its_own_address_whatever_it_advertises() {
        let remote = SocketAddr::from(([9, 9, 9, 9], 50_000));
        let mut terms = terms(Role::Leaf);
        assert_eq!(terms.reachable_at(remote), Some(SocketAddr::from(([9, 9, 9, 9], 6347))));
        terms.listen = None;
        assert_eq!(terms.reachable_at(remote), None);
        terms.dialled = true;
        assert_eq!(terms.reachable_at(remote), Some(remote));
    }
}
