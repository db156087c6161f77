//! The area where payloads grow: behind the text of a query, and between the NULs of a hit's record.
//!
//! Plain items (`urn:...`, XML, notes) come first and are separated by 0x1C; a GGEP block comes last (HUGE 0.94,
//! section 3; GGEP 0.5, section 3). NULs between items and behind the last one are tolerated.

use super::ggep::Block;
use super::huge::Urn;

/// Separates items.
pub const SEPARATOR: u8 = 0x1c;
/// Most items that are read from one area.
pub const ITEMS_MAX: usize = 32;

/// One thing in the area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// `urn:...`, asked for or given.
    Urn(Urn<'a>),
    /// An XML fragment, plain or `{deflate}`.
    Xml(&'a [u8]),
    /// A block of named values.
    Ggep(Block<'a>),
    /// Free text.
    Other(&'a [u8]),
}

/// The items of an area, in their order; at most [`ITEMS_MAX`].
#[must_use]
pub const fn items(area: &[u8]) -> Items<'_> {
    Items { rest: area, left: ITEMS_MAX }
}

/// The first GGEP block of an area.
#[must_use]
pub fn ggep(area: &[u8]) -> Option<Block<'_>> {
    items(area).find_map(|item| match item {
        Item::Ggep(block) => Some(block),
        _ => None,
    })
}

/// See [`items`].
#[derive(Clone, Debug)]
pub struct Items<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        while let [SEPARATOR | 0, rest @ ..] = self.rest {
            self.rest = rest;
        }
        if self.rest.is_empty() || self.left == 0 {
            return None;
        }
        self.left -= 1;
        if let Some(block) = Block::parse(self.rest) {
            // Where a malformed block ends nobody can say: it takes all that is left.
            self.rest = block.extent().map_or(&[], |n| &self.rest[n..]);
            return Some(Item::Ggep(block));
        }
        let text = &self.rest[..memchr::memchr2(SEPARATOR, 0, self.rest).unwrap_or(self.rest.len())];
        let is_urn = text.get(..4).is_some_and(|head| head.eq_ignore_ascii_case(b"urn:"));
        // Some peers put the block right behind a urn, whose letters are all ASCII.
        let end =
            if is_urn { memchr::memchr(super::ggep::MAGIC, text).unwrap_or(text.len()) } else { text.len() };
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(match Urn::parse(text) {
            Some(urn) => Item::Urn(urn),
            None if text.starts_with(b"<") || text.starts_with(b"{") => Item::Xml(text),
            None => Item::Other(text),
        })
    }
}

/// Joins plain items and a block (either may be missing) as they lie on the wire.
#[must_use]
pub fn join<'a>(plain: impl IntoIterator<Item = &'a [u8]>, ggep: &'a [u8]) -> Vec<u8> {
    let mut area = Vec::new();
    for item in plain.into_iter().chain((!ggep.is_empty()).then_some(ggep)) {
        if !area.is_empty() {
            area.push(SEPARATOR);
        }
        area.extend_from_slice(item);
    }
    area
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::gnutella::ggep::{Builder, Nul};
    use crate::gnutella::huge::Sha1;

    fn sha1() -> Sha1 {
        Sha1::from_base32(b"DT56VS43LC4FLARA57CPYF4QP4DHGQKT").unwrap()
    }

    #[test]
    fn urn_then_block_as_in_a_captured_record() {
        let area = b"urn:sha1:DT56VS43LC4FLARA57CPYF4QP4DHGQKT\x1c\xc3\x82TT\x41\x01";
        let read: Vec<_> = items(area).collect();
        assert_eq!(read, [Item::Urn(Urn::Sha1(sha1())), Item::Ggep(Block::parse(&area[42..]).unwrap())]);
        assert_eq!(ggep(area).unwrap().find(b"TT").unwrap().raw, [1]);
        assert_eq!(join([&area[..41]], &area[42..]), area);
    }

    #[test]
    fn two_urns_as_another_peer_writes_them() {
        let area =
            b"urn:sha1:6HFOF4WHULYSYTKLAE4WG2RGEVCQKKWD\x1curn:bitprint:6HFOF4WHULYSYTKLAE4WG2RGEVCQKKWD.\
            UUJI267NCGQPON473ZXFZB7MBUKKJ27Q66CR6JA";
        let names: Vec<_> = items(area)
            .map(|item| match item {
                Item::Urn(urn) => urn.sha1().unwrap().base32(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(names, ["6HFOF4WHULYSYTKLAE4WG2RGEVCQKKWD"; 2]);
    }

    #[test]
    fn missing_and_superfluous_separators_are_tolerated() {
        let block = Builder::new(Nul::Allowed).with(b"u", b"").finish();
        let mut area = b"\0urn:\0\x1c<a/>\x1cnote\0".to_vec();
        area.extend_from_slice(&block);
        area.push(0);
        let read: Vec<_> = items(&area).collect();
        assert_eq!(read[..3], [Item::Urn(Urn::AnyWanted), Item::Xml(b"<a/>"), Item::Other(b"note")]);
        assert!(matches!(read[3], Item::Ggep(_)) && read.len() == 4);
        let glued = [sha1().urn().as_bytes(), &block].concat();
        assert_eq!(items(&glued).count(), 2);
        assert_eq!(items(&b"x\x1c".repeat(100)).count(), ITEMS_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(area in vec(prop_oneof![any::<u8>(), Just(SEPARATOR), Just(0xc3), Just(0)], 0..300)) {
            let total: usize = items(&area).map(|item| match item {
                Item::Xml(t) | Item::Other(t) => { assert!(!t.is_empty()); t.len() }
                Item::Ggep(b) => b.extent().unwrap_or(1),
                Item::Urn(_) => 4,
            }).sum();
            prop_assert!(total <= area.len());
        }
    }
}
