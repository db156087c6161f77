//! Scripted peers: they say exactly what a test tells them.

use crate::net::{Net, PeerId, RawId};
use avp::gnutella::qrp::{Table, sender};
use avp::gnutella::{Guid, HEADER_LEN, Header, Kind, hit, query};
use std::net::{SocketAddr, SocketAddrV4};

/// A message as a scripted peer sees it.
pub(crate) type Message = (Header, Vec<u8>);

/// What a scripted leaf says of itself beside `X-Ultrapeer`.
pub(crate) const MODERN: &str = "User-Agent: Scripted/1.0\r\nGGEP: 0.5\r\nPong-Caching: 0.1\r\nBye-Packet: 0.1\r\n\
    Vendor-Message: 0.2\r\nX-Query-Routing: 0.2\r\nX-Ultrapeer-Query-Routing: 0.1\r\nX-Dynamic-Querying: 0.1\r\n\
    X-Ext-Probes: 0.1\r\nX-Degree: 32\r\nX-Max-TTL: 4\r\n";

/// The address of scripted peer number `n`.
pub(crate) fn address(n: u16) -> SocketAddr {
    SocketAddr::from(([10, 99, (n >> 8) as u8, n as u8], 7000 + n))
}

/// A GUID for tests.
pub(crate) fn guid(n: u8) -> Guid {
    let mut bytes = [n; 16];
    (bytes[8], bytes[15]) = (0xff, 0);
    Guid(bytes)
}

impl Net {
    /// A handshake with these headers; the answer's first line, and the connection, which is up if that is a 200.
    pub(crate) fn shake(&mut self, n: u16, to: PeerId, headers: &str) -> (String, RawId) {
        let raw = self.connect(address(n), to);
        let listen = address(n);
        self.send(raw, format!("GNUTELLA CONNECT/0.6\r\nListen-IP: {listen}\r\n{headers}\r\n").as_bytes());
        self.run();
        let answer = String::from_utf8(self.take(raw)).expect("a head is text");
        if answer.starts_with("GNUTELLA/0.6 200") {
            assert!(answer.ends_with("\r\n\r\n"), "{answer}");
            self.send(raw, b"GNUTELLA/0.6 200 OK\r\n\r\n");
            self.run();
        }
        (answer, raw)
    }

    /// A leaf that is up, its first messages read.
    pub(crate) fn leaf(&mut self, n: u16, to: PeerId) -> RawId {
        let (answer, raw) = self.shake(n, to, &format!("X-Ultrapeer: False\r\n{MODERN}"));
        assert!(answer.starts_with("GNUTELLA/0.6 200"), "{answer}");
        self.messages(raw);
        raw
    }

    /// An ultrapeer that is up, its first messages read.
    pub(crate) fn ultrapeer(&mut self, n: u16, to: PeerId) -> RawId {
        let (answer, raw) = self.shake(n, to, &format!("X-Ultrapeer: True\r\n{MODERN}"));
        assert!(answer.starts_with("GNUTELLA/0.6 200"), "{answer}");
        self.messages(raw);
        raw
    }

    /// A leaf that shares files with these words.
    pub(crate) fn sharing_leaf(&mut self, n: u16, to: PeerId, words: &str) -> RawId {
        let leaf = self.leaf(n, to);
        self.share(leaf, words);
        leaf
    }

    /// Sends a whole query routing table with the words of one file name.
    pub(crate) fn share(&mut self, raw: RawId, words: &str) {
        let mut table = Table::new(16);
        table.add_name(words.as_bytes());
        for payload in sender::updates(None, &table) {
            self.message(raw, Kind::QRP, 1, 0, guid(0), &payload);
        }
        self.run();
    }

    pub(crate) fn message(&mut self, raw: RawId, kind: Kind, ttl: u8, hops: u8, guid: Guid, payload: &[u8]) {
        self.send(raw, &Header { guid, kind, ttl, hops, len: 0 }.frame(payload));
    }

    /// A query as a leaf sends it, or as a neighbour passes it on.
    pub(crate) fn query(&mut self, raw: RawId, ttl: u8, hops: u8, guid: Guid, text: &str) {
        self.message(raw, Kind::QUERY, ttl, hops, guid, &query::Builder::new(text).finish());
        self.run();
    }

    /// A hit with one file.
    pub(crate) fn hit(&mut self, raw: RawId, ttl: u8, hops: u8, query: Guid, servent: Guid, name: &str) {
        let payload = hit_payload(servent, name);
        self.message(raw, Kind::QUERY_HIT, ttl, hops, query, &payload);
        self.run();
    }

    /// The messages that have come in since the last call.
    pub(crate) fn messages(&mut self, raw: RawId) -> Vec<Message> {
        let bytes = self.take(raw);
        let mut rest = &bytes[..];
        let mut found = Vec::new();
        while !rest.is_empty() {
            let header = Header::parse(rest).expect("whole messages");
            let end = HEADER_LEN + header.len as usize;
            found.push((header, rest[HEADER_LEN..end].to_vec()));
            rest = &rest[end..];
        }
        found
    }

    /// Those of one kind; the others are forgotten.
    pub(crate) fn of_kind(&mut self, raw: RawId, kind: Kind) -> Vec<Message> {
        let mut all = self.messages(raw);
        all.retain(|(h, _)| h.kind == kind);
        all
    }
}

/// A hit with one file.
pub(crate) fn hit_payload(servent: Guid, name: &str) -> Vec<u8> {
    let at: SocketAddrV4 = "10.99.0.1:7001".parse().expect("an address");
    hit::Builder::new(*b"SCRP", at, 1_000).file(7, 12_345, name, None).finish(servent)
}
