//! Classes of traffic, and what goes first where a link is too slow for all of it.

use crate::gnutella::{Header, Kind};
use crate::state::{Damaged, Reader, Saved, Writer};

/// What a message is to the one who waits for it. Earlier classes go first: a message that is lost late has cost
/// more, and an answer is worth more than a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// What keeps the relation itself going: routing tables, vendor messages, alive pings and their answers, Byes.
    /// Never dropped.
    Signal,
    /// Somebody waits for a connection.
    Push,
    /// Answers to a search.
    Hit,
    /// Answers to a ping.
    Pong,
    /// A search.
    Query,
    /// A ping that is passed on.
    Ping,
}

impl Class {
    /// All classes, the most important first.
    pub const ALL: [Self; 6] = [Self::Signal, Self::Push, Self::Hit, Self::Pong, Self::Query, Self::Ping];

    /// The class of a message that is passed on.
    #[must_use]
    #[inline]
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::PUSH => Self::Push,
            Kind::QUERY_HIT => Self::Hit,
            Kind::PONG => Self::Pong,
            Kind::QUERY => Self::Query,
            Kind::PING | Kind::HSEP => Self::Ping,
            _ => Self::Signal,
        }
    }

    /// The value of the `class` label in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Push => "push",
            Self::Hit => "hit",
            Self::Pong => "pong",
            Self::Query => "query",
            Self::Ping => "ping",
        }
    }
}

/// Hops from here on make no difference to a rank.
const HOPS_MAX: u8 = 15;

/// The place of a message in a queue: lower ranks leave first, higher ranks are dropped first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(u8);

impl Rank {
    /// The rank of a message of `class` that has made `hops` hops. Queries from nearby go first, since they have
    /// hardly spread; hits from far away go first, since more of the network has worked for them.
    #[must_use]
    #[inline]
    pub const fn new(class: Class, hops: u8) -> Self {
        let hops = if hops > HOPS_MAX { HOPS_MAX } else { hops };
        let within = match class {
            Class::Hit => HOPS_MAX - hops,
            Class::Query => hops,
            Class::Signal | Class::Push | Class::Pong | Class::Ping => 0,
        };
        Self((class as u8) << 4 | within)
    }

    /// The rank of a message that is passed on. A pong that has come from nowhere and goes no further answers an alive
    /// ping: without it the peer would give us up, so it is a signal.
    #[must_use]
    #[inline]
    pub const fn of(header: &Header) -> Self {
        match Class::of(header.kind) {
            Class::Pong if header.hops == 0 && header.ttl <= 1 => Self::new(Class::Signal, 0),
            class => Self::new(class, header.hops),
        }
    }

    /// The class that it lies in.
    #[must_use]
    #[inline]
    pub const fn class(self) -> Class {
        Class::ALL[(self.0 >> 4) as usize]
    }
}

impl Saved for Rank {
    fn save(&self, to: &mut Writer) {
        self.0.save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let rank = Self(from.load()?);
        from.ensure(usize::from(rank.0 >> 4) < Class::ALL.len())?;
        Ok(rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gnutella::Guid;

    #[test]
    fn the_order_is_that_of_the_flow_control_proposal() {
        let order = [
            Rank::new(Class::Signal, 0),
            Rank::new(Class::Push, 3),
            Rank::new(Class::Hit, 6),
            Rank::new(Class::Hit, 0),
            Rank::new(Class::Pong, 1),
            Rank::new(Class::Query, 1),
            Rank::new(Class::Query, 4),
            Rank::new(Class::Query, 200),
            Rank::new(Class::Ping, 0),
        ];
        assert!(order.is_sorted());
        for rank in order {
            assert_eq!(Rank::new(rank.class(), 0).class(), rank.class());
        }
        assert_eq!(Class::of(Kind::QRP), Class::Signal);
    }

    #[test]
    fn the_answer_to_an_alive_ping_is_a_signal() {
        let pong = Header { guid: Guid::ZERO, kind: Kind::PONG, ttl: 1, hops: 0, len: 0 };
        assert_eq!(Rank::of(&pong).class(), Class::Signal);
        assert_eq!(Rank::of(&Header { hops: 1, ..pong }).class(), Class::Pong);
        assert_eq!(Rank::of(&Header { ttl: 7, ..pong }).class(), Class::Pong);
    }
}
