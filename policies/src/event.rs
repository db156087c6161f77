//! Events: what a decision is about.

use std::net::IpAddr;

use crate::facts::{Fact, Facts};
use crate::grammar::dialect::{DIRECTIONS, LINKS, MESSAGES, REGIONS};

macro_rules! words {
    ($(#[$about:meta])* $name:ident, $table:ident, $default:ident, $($variant:ident),*) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum $name { $($variant),* }

        impl $name {
            /// All of them, in the order of the dialect's words.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];

            /// The word for it.
            #[must_use]
            pub fn word(self) -> &'static str {
                $table[self as usize].0
            }

            /// What a word stands for.
            #[must_use]
            pub fn of(word: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|v| v.word() == word)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::$default
            }
        }
    };
}

words!(
    /// Kind of message.
    Message, MESSAGES, Connect,
    Connect, Ping, Pong, Query, QueryHit, Push, RouteTable, Vendor, Bye, Download, Upload, Deploy, Relay
);
words!(
    /// The way a message goes.
    Direction, DIRECTIONS, Inbound,
    Inbound, Outbound
);
words!(
    /// Where the peer is.
    Region, REGIONS, Unknown,
    Same, Other, Unknown
);
words!(
    /// State of the link to the peer.
    Link, LINKS, Unknown,
    Good, Congested, Lossy, Unknown
);

impl Message {
    /// Whether such messages are about content: only they are asked about it.
    #[must_use]
    pub const fn has_content(self) -> bool {
        matches!(self, Self::Query | Self::QueryHit | Self::Push | Self::Download | Self::Upload)
    }
}

/// Something that is decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event<'a> {
    /// Kind of message.
    pub message: Message,
    /// The way it goes.
    pub direction: Direction,
    /// Where the peer is.
    pub region: Region,
    /// State of the link to the peer.
    pub link: Link,
    /// The peer.
    pub peer: Peer<'a>,
    /// What is searched, offered or moved.
    pub content: Content<'a>,
    /// Numbers about this event.
    pub figures: Figures,
}

/// The peer of an event. What is not known is in no set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Peer<'a> {
    /// Its address.
    pub address: Option<IpAddr>,
    /// Its autonomous system.
    pub asn: Option<u32>,
    /// Its group.
    pub group: Option<&'a str>,
    /// What it calls itself; empty where it is not known.
    pub user_agent: &'a str,
}

/// What an event is about. What is not known is in no set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Content<'a> {
    /// The search, or the file's name; empty where there is none.
    pub text: &'a str,
    /// SHA-1 of the file.
    pub sha1: Option<[u8; 20]>,
    /// Ending of the file's name, in lower case, without the dot.
    pub file_type: Option<&'a str>,
    /// Size of the file, bytes.
    pub bytes: Option<u64>,
}

/// Numbers about one event, for conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Figures {
    pub ttl: Option<u8>,
    pub hops: Option<u8>,
    pub bytes: Option<u32>,
    pub peer_connections: Option<u32>,
    pub peer_messages_per_s: Option<f64>,
    pub rtt_ms: Option<f64>,
    pub loss: Option<f64>,
    pub util: Option<f64>,
    pub kbit_s: Option<f64>,
}

/// What a condition sees.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The event.
    pub event: &'a Event<'a>,
    /// The facts of the node.
    pub facts: &'a Facts,
}

impl<'a> Scope<'a> {
    /// A number, where it is known.
    #[must_use]
    pub fn number(&self, fact: Fact) -> Option<f64> {
        let Event { peer, content, figures, .. } = self.event;
        match fact {
            Fact::TTL => figures.ttl.map(f64::from),
            Fact::HOPS => figures.hops.map(f64::from),
            Fact::BYTES => figures.bytes.map(f64::from),
            Fact::ASN => peer.asn.map(f64::from),
            Fact::PEER_CONNECTIONS => figures.peer_connections.map(f64::from),
            Fact::PEER_RATE => figures.peer_messages_per_s,
            Fact::FILE_BYTES => content.bytes.map(|n| n as f64),
            Fact::RTT => figures.rtt_ms,
            Fact::LOSS => figures.loss,
            Fact::UTIL => figures.util,
            Fact::THROUGHPUT => figures.kbit_s,
            other => self.facts.get(other),
        }
    }

    /// A text, where it is known.
    #[must_use]
    pub fn text(&self, fact: Fact) -> Option<&'a str> {
        let event = self.event;
        let some = |text: &'a str| (!text.is_empty()).then_some(text);
        match fact {
            Fact::MESSAGE => Some(event.message.word()),
            Fact::DIRECTION => Some(event.direction.word()),
            Fact::REGION => Some(event.region.word()),
            Fact::LINK => Some(event.link.word()),
            Fact::GROUP => event.peer.group,
            Fact::AGENT => some(event.peer.user_agent),
            Fact::TEXT => some(event.content.text),
            Fact::FILE_TYPE => event.content.file_type,
            _ => None,
        }
    }

    /// Whether a fact is known.
    #[must_use]
    pub fn knows(&self, fact: Fact) -> bool {
        self.number(fact).is_some()
            || self.text(fact).is_some()
            || fact == Fact::ADDRESS && self.event.peer.address.is_some()
            || fact == Fact::SHA1 && self.event.content.sha1.is_some()
    }
}

impl Figures {
    /// Sets the figure behind a fact; answers whether there is one.
    pub fn set(&mut self, fact: Fact, value: f64) -> bool {
        match fact {
            Fact::TTL => self.ttl = Some(value as u8),
            Fact::HOPS => self.hops = Some(value as u8),
            Fact::BYTES => self.bytes = Some(value as u32),
            Fact::PEER_CONNECTIONS => self.peer_connections = Some(value as u32),
            Fact::PEER_RATE => self.peer_messages_per_s = Some(value),
            Fact::RTT => self.rtt_ms = Some(value),
            Fact::LOSS => self.loss = Some(value),
            Fact::UTIL => self.util = Some(value),
            Fact::THROUGHPUT => self.kbit_s = Some(value),
            _ => return false,
        }
        true
    }
}
