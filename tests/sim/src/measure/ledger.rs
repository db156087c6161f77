//! Every byte, from its sender to where it ends.

use avp::gnutella::{HEADER_LEN, Header, Kind};

/// What bytes are counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Handshakes and other text.
    Text,
    /// Pings.
    Ping,
    /// Pongs.
    Pong,
    /// Searches.
    Query,
    /// Their answers.
    Hit,
    /// Query routing tables.
    Routing,
    /// All else.
    Other,
}

impl Class {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Text, Self::Ping, Self::Pong, Self::Query, Self::Hit, Self::Routing, Self::Other];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "handshakes",
            Self::Ping => "pings",
            Self::Pong => "pongs",
            Self::Query => "queries",
            Self::Hit => "hits",
            Self::Routing => "routing tables",
            Self::Other => "other",
        }
    }

    const fn of(kind: Kind) -> Self {
        match kind {
            Kind::PING => Self::Ping,
            Kind::PONG => Self::Pong,
            Kind::QUERY => Self::Query,
            Kind::QUERY_HIT => Self::Hit,
            Kind::QRP => Self::Routing,
            _ => Self::Other,
        }
    }
}

/// How many, and how large together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Messages.
    pub messages: u64,
    /// Bytes, headers included.
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }
}

/// The books.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Sent, by class.
    pub sent: [Count; Class::ALL.len()],
    /// Bytes sent, altogether.
    pub sent_bytes: u64,
    /// Bytes that arrived.
    pub delivered_bytes: u64,
    /// Bytes that a fault swallowed.
    pub lost_bytes: u64,
    /// Bytes that came to a closed end.
    pub late_bytes: u64,
    /// Messages that a full uplink did not take; they were never sent.
    pub overflowed: Count,
    /// Bytes between peers of one system, among those sent.
    pub local_bytes: u64,
    /// Bytes times the links between systems that they crossed.
    pub transit_bytes: u64,
    /// Query bytes that crossed a border between systems.
    pub border_query_bytes: u64,
}

impl Ledger {
    /// Bytes leave; `hops` links between systems are before them.
    pub fn sent(&mut self, bytes: &[u8], hops: u8) {
        let len = bytes.len() as u64;
        self.sent_bytes += len;
        if hops == 0 {
            self.local_bytes += len;
        }
        self.transit_bytes += len * u64::from(hops);
        for (class, len) in parts(bytes) {
            self.sent[class as usize].add(len);
            if class == Class::Query && hops > 0 {
                self.border_query_bytes += len as u64;
            }
        }
    }

    /// A message was not taken.
    pub fn overflowed(&mut self, bytes: usize) {
        self.overflowed.add(bytes);
    }

    /// Adds what other books have.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.sent.iter_mut().zip(other.sent) {
            sum.messages += more.messages;
            sum.bytes += more.bytes;
        }
        self.sent_bytes += other.sent_bytes;
        self.delivered_bytes += other.delivered_bytes;
        self.lost_bytes += other.lost_bytes;
        self.late_bytes += other.late_bytes;
        self.overflowed.messages += other.overflowed.messages;
        self.overflowed.bytes += other.overflowed.bytes;
        self.local_bytes += other.local_bytes;
        self.transit_bytes += other.transit_bytes;
        self.border_query_bytes += other.border_query_bytes;
    }

    /// What was sent of a class.
    #[must_use]
    pub fn of(&self, class: Class) -> Count {
        self.sent[class as usize]
    }

    /// Bytes that have left and not arrived anywhere, as far as the books say.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.sent_bytes - self.delivered_bytes - self.lost_bytes - self.late_bytes
    }

    /// What was sent since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut sent = self.sent;
        for (now, then) in sent.iter_mut().zip(before.sent) {
            now.messages -= then.messages;
            now.bytes -= then.bytes;
        }
        Self {
            sent,
            sent_bytes: self.sent_bytes - before.sent_bytes,
            delivered_bytes: self.delivered_bytes - before.delivered_bytes,
            lost_bytes: self.lost_bytes - before.lost_bytes,
            late_bytes: self.late_bytes - before.late_bytes,
            overflowed: Count {
                messages: self.overflowed.messages - before.overflowed.messages,
                bytes: self.overflowed.bytes - before.overflowed.bytes,
            },
            local_bytes: self.local_bytes - before.local_bytes,
            transit_bytes: self.transit_bytes - before.transit_bytes,
            border_query_bytes: self.border_query_bytes - before.border_query_bytes,
        }
    }
}

/// The classes and lengths of what a chunk has: text, messages, or text and then messages; what is neither is of the class
/// of all else.
pub fn parts(bytes: &[u8]) -> impl Iterator<Item = (Class, usize)> {
    let text = text_len(bytes);
    let mut rest = &bytes[text..];
    let messages = std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(header) = Header::parse(rest) else {
            return Some((Class::Other, std::mem::take(&mut rest).len()));
        };
        let len = (HEADER_LEN + header.len as usize).min(rest.len());
        rest = &rest[len..];
        Some((Class::of(header.kind), len))
    });
    (text > 0).then_some((Class::Text, text)).into_iter().chain(messages)
}

/// Length of the text that a chunk begins with.
#[must_use]
pub fn text_len(bytes: &[u8]) -> usize {
    if !bytes.starts_with(b"GNUTELLA") && !bytes.starts_with(b"GET ") {
        return 0;
    }
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
    end.unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use avp::gnutella::Guid;

    #[test]
    fn a_chunk_of_text_and_messages_is_taken_apart() {
        let query =
            Header { guid: Guid::ZERO, kind: Kind::QUERY, ttl: 3, hops: 0, len: 0 }.frame(b"\x80\0abc\0");
        let ping = Header { guid: Guid::ZERO, kind: Kind::PING, ttl: 1, hops: 0, len: 0 }.frame(b"");
        let chunk = [b"GNUTELLA/0.6 200 OK\r\n\r\n".as_slice(), &query, &ping].concat();
        let found: Vec<_> = parts(&chunk).collect();
        assert_eq!(found, [(Class::Text, 23), (Class::Query, 29), (Class::Ping, 23)]);
        let mut ledger = Ledger::default();
        ledger.sent(&chunk, 2);
        assert_eq!(ledger.of(Class::Query), Count { messages: 1, bytes: 29 });
        assert_eq!((ledger.sent_bytes, ledger.transit_bytes, ledger.border_query_bytes), (75, 150, 29));
        assert_eq!(ledger.under_way(), 75);
        assert_eq!(ledger.since(&ledger.clone()).of(Class::Query).bytes, 0);
        let cut: Vec<_> = parts(&[&ping[..], b"rest"].concat()).collect();
        assert_eq!(cut, [(Class::Ping, 23), (Class::Other, 4)]);
    }
}
