//! The parsers of `avp::gnutella`.

use std::hint::black_box;

use avp::gnutella::extension::{self, Item};
use avp::gnutella::ggep::{self, Block};
use avp::gnutella::handshake::{self, Reader};
use avp::gnutella::hit::QueryHit;
use avp::gnutella::http::Target;
use avp::gnutella::huge::Urn;
use avp::gnutella::limits::{self, Verdict};
use avp::gnutella::ping::Ping;
use avp::gnutella::pong::Pong;
use avp::gnutella::push::Push;
use avp::gnutella::qrp::{Hashes, Receiver, RouteUpdate, Table, words};
use avp::gnutella::query::Query;
use avp::gnutella::vendor::Message;
use avp::gnutella::{HEADER_LEN, Header, Kind, bye, udp, uhc};

use crate::wire;

/// A stream of descriptors: framing, then each payload's parser.
pub(super) fn descriptors(mut bytes: &[u8]) {
    let mut tables = Receiver::new(16);
    let mut table = Table::new(10);
    while let Some(header) = Header::parse(bytes) {
        assert_eq!(header.encode(), bytes[..HEADER_LEN], "a header is written as it was read");
        if limits::of(header.kind).judge(header.len) == Verdict::Close {
            return;
        }
        let Some(payload) = bytes[HEADER_LEN..].get(..header.len as usize) else { return };
        match header.kind {
            Kind::PING => ping(payload),
            Kind::PONG => pong(payload),
            Kind::BYE => drop(bye::Bye::parse(payload)),
            Kind::QRP => {
                // A broken update is refused and leaves the table as it was.
                tables.receive(payload, &mut table).ok();
            }
            Kind::VENDOR | Kind::STANDARD_VENDOR => vendor(payload),
            Kind::PUSH => push(payload),
            Kind::QUERY => query(payload),
            Kind::QUERY_HIT => hit(payload),
            _ => {}
        }
        bytes = &bytes[HEADER_LEN + payload.len()..];
    }
}

fn ping(payload: &[u8]) {
    let ping = Ping::parse(payload);
    black_box((ping.cached_pongs(), ping.wants_vendor()));
    block(ping.ggep());
}

pub(super) fn pong(payload: &[u8]) {
    let Some(pong) = Pong::parse(payload) else { return };
    assert_eq!(Some(pong.addr), wire::pong_address(payload), "both readers see one address");
    assert_eq!(Pong::parse(&pong.encode()), Some(pong), "a pong is written as it was read");
    black_box((pong.ultrapeer(), pong.daily_uptime_s(), pong.vendor(), pong.guess()));
    assert!(pong.packed_hosts().len() <= avp::gnutella::pong::PACKED_HOSTS_MAX, "a bounded list");
    black_box((pong.host_cache(), pong.seen_at()));
    if let Some(lines) = pong.packed_caches() {
        assert!(uhc::caches(&lines).count() <= uhc::CACHES_MAX, "a bounded list");
    }
    block(pong.ggep());
}

pub(super) fn query(payload: &[u8]) {
    let Some(query) = Query::parse(payload) else { return };
    let hashes = Hashes::of(&query);
    let mut full = Table::new(10);
    (0..full.slots()).for_each(|slot| full.set(slot, true));
    assert_eq!(full.matches(&hashes), !hashes.is_empty(), "a full table matches all that can match");
    assert!(!Table::new(10).matches(&hashes), "an empty table matches nothing");
    black_box(query.is_index());
    items(query.items());
    block(query.ggep());
}

pub(super) fn hit(payload: &[u8]) {
    let Some(hit) = QueryHit::parse(payload) else { return };
    let mut records = 0;
    for record in hit.records().flatten() {
        black_box((record.size(), record.sha1()));
        items(record.items());
        records += 1;
    }
    assert!(records <= 255, "the count is one byte");
    let Ok(Some(trailer)) = hit.trailer() else { return };
    assert!(trailer.push_proxies().len() <= avp::gnutella::hit::PUSH_PROXIES_MAX, "a bounded list");
    black_box((trailer.hostname(), trailer.browse_host()));
    block(trailer.ggep());
}

pub(super) fn push(payload: &[u8]) {
    let Some(push) = Push::parse(payload) else { return };
    let witness = wire::Push::decode(payload).expect("what one reader takes, the other does");
    assert_eq!((push.servent.0, push.to), (witness.servent, witness.to), "both readers agree");
    assert_eq!(Push::parse(&push.encode()), Some(push), "a push is written as it was read");
    black_box(push.wants_tls());
    block(push.ggep());
}

pub(super) fn vendor(payload: &[u8]) {
    let Some(message) = Message::parse(payload) else { return };
    let again = message.encode();
    let read = Message::parse(&again).expect("what is written can be read");
    assert_eq!(read.id(), message.id(), "a message is written as it was read");
    match message {
        Message::HeadPing(ping) => drop(black_box((ping.sha1(), ping.servent()))),
        Message::HeadPong(pong) => drop(black_box((pong.code(), pong.queue(), pong.alts()))),
        _ => {}
    }
}

/// Route updates one after the other, each behind its length in two bytes.
pub(super) fn qrp(mut bytes: &[u8]) {
    let mut receiver = Receiver::default();
    let mut table = Table::new(10);
    while let Some((len, rest)) = bytes.split_first_chunk::<2>() {
        let Some((payload, rest)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len))) else {
            return;
        };
        bytes = rest;
        if let Ok(update) = RouteUpdate::parse(payload) {
            assert_eq!(
                RouteUpdate::parse(&update.encode()),
                Ok(update),
                "an update is written as it was read"
            );
        }
        let before = receiver.log2();
        let done = receiver.receive(payload, &mut table);
        assert!(done.is_ok() || receiver.log2() == before, "a refused update changes nothing");
        let bound = receiver.log2().map_or(0, |log2| Receiver::held_bytes_max(log2, 8));
        assert!(receiver.held_bytes() <= 2 * bound, "{} bytes held", receiver.held_bytes());
    }
}

pub(super) fn ggep(bytes: &[u8]) {
    block(Block::parse(bytes));
    items(extension::items(bytes));
    words::name_hashes(bytes, |hash| {
        black_box(hash);
    });
    black_box(Urn::parse(bytes));
}

fn block(block: Option<Block<'_>>) {
    /// As the strictest use has it.
    const INFLATED_MAX: usize = 4_096;
    let Some(block) = block else { return };
    let mut n = 0;
    for extension in block.iter().flatten() {
        assert!(extension.id.len() <= ggep::ID_BYTES_MAX, "a bounded id");
        if let Ok(data) = extension.data(INFLATED_MAX) {
            assert!(data.len() <= INFLATED_MAX.max(extension.raw.len()), "bounded data");
        }
        n += 1;
    }
    assert!(n <= ggep::EXTENSIONS_MAX, "a bounded list");
    if let Ok(extent) = block.extent() {
        assert!(extent <= block.bytes().len(), "a block ends within its bytes");
    }
}

fn items<'a>(items: impl Iterator<Item = Item<'a>>) {
    let n = items.fold(0, |n, item| {
        if let Item::Ggep(inner) = item {
            block(Some(inner));
        }
        n + 1
    });
    assert!(n <= extension::ITEMS_MAX, "a bounded list");
}

/// The text at the start of a connection, whole and in pieces of a byte.
pub(super) fn handshake(bytes: &[u8]) {
    black_box(handshake::opening(bytes));
    let mut whole = Reader::default();
    let at_once = whole.push(bytes);
    assert!(whole.held_bytes() <= handshake::BLOCK_BYTES_MAX, "a bounded buffer");

    let mut reader = Reader::default();
    let mut in_pieces = Ok(None);
    for (i, byte) in bytes.iter().enumerate() {
        in_pieces = reader.push(std::slice::from_ref(byte)).map(|done| done.map(|(block, _)| (block, i + 1)));
        if !matches!(in_pieces, Ok(None)) {
            break;
        }
    }
    match (&at_once, &in_pieces) {
        (Ok(a), Ok(b)) => assert_eq!(a, b, "however it comes, it is the same"),
        (Err(_), Err(_)) => {}
        // Whole, what is behind the first wrong byte is not looked at; in pieces neither.
        (a, b) => panic!("whole: {a:?}, in pieces: {b:?}"),
    }
    let Ok(Some((block, used))) = at_once else { return };
    assert!(used <= bytes.len(), "no more than there was");
    let headers = &block.headers;
    for name in ["X-Ultrapeer", "X-Query-Routing", "Listen-IP", "Remote-IP", "Accept-Encoding", "X-Degree"] {
        black_box((headers.boolean(name), headers.version(name), headers.number(name)));
        black_box((headers.addr(name), headers.ip(name), headers.merged(name)));
        black_box((headers.accepts(name, "deflate"), headers.feature(name, "tls")));
    }
    if let handshake::Start::Request { target, .. } = &block.start {
        http(target.as_bytes());
    }
}

pub(super) fn http(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let target = Target::parse(text);
    black_box(target.resource());
    assert!(target.parameters().count() <= avp::gnutella::http::PARAMETERS_MAX, "a bounded list");
    if let Some(decoded) = avp::gnutella::http::decode(text) {
        let again = avp::gnutella::http::encode(&decoded);
        assert_eq!(avp::gnutella::http::decode(&again).as_deref(), Some(&*decoded), "quoting and back");
    }
}

pub(super) fn datagram(bytes: &[u8]) {
    let Some(datagram) = udp::parse(bytes) else { return };
    assert!(datagram.payload.len() <= udp::INFLATED_BYTES_MAX, "a bounded payload");
    match datagram.header.kind {
        Kind::PING => ping(&datagram.payload),
        Kind::PONG => pong(&datagram.payload),
        Kind::QUERY_HIT => hit(&datagram.payload),
        Kind::VENDOR | Kind::STANDARD_VENDOR => vendor(&datagram.payload),
        _ => {}
    }
    let answer = udp::answer(datagram.header, &datagram.payload, datagram.accepts_deflate);
    let read = udp::parse(&answer).expect("what is written can be read");
    // A TTL with a mark in it cannot be told from one without.
    assert_eq!(read.payload, datagram.payload, "a datagram is written as it was read");
}
