//! Query: what is looked for.

use super::extension::{self, Item, Items};
use super::ggep::Block;
use super::huge::{Sha1, sha1_in_ggep};

/// The two bytes that were once a minimum speed, as a **big-endian** number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// The other bits are flags. Peers of before 2003, and some later ones, leave it clear and send a minimum speed,
    /// most often 0; strict peers drop their queries, this reader does not.
    pub const MARK: u16 = 0x8000;
    /// The sender cannot be connected to: hits that need a push are useless to it.
    pub const FIREWALLED: u16 = 0x4000;
    /// XML metadata is welcome in hits.
    pub const XML: u16 = 0x2000;
    /// The leaf reports how many hits it kept (leaf-guided dynamic queries).
    pub const LEAF_GUIDED: u16 = 0x1000;
    /// GGEP `H` is understood in hits.
    pub const GGEP_H: u16 = 0x0800;
    /// Hits may be delivered in datagrams to the address in the GUID.
    pub const OUT_OF_BAND: u16 = 0x0400;
    /// Transfers between two firewalled peers are possible.
    pub const FIREWALL_TO_FIREWALL: u16 = 0x0200;
    /// Reliable UDP is possible.
    pub const RELIABLE_UDP: u16 = 0x0100;
    /// How many hits are wanted at most; 0 for no bound.
    pub const HITS_MAX: u16 = 0x00ff;

    /// Whether the bits mean anything.
    #[must_use]
    pub const fn is_marked(self) -> bool {
        self.0 & Self::MARK != 0
    }

    /// Whether all of these bits are set, and mean anything.
    #[must_use]
    pub const fn has(self, bits: u16) -> bool {
        self.0 & (bits | Self::MARK) == bits | Self::MARK
    }

    /// How many hits are wanted at most.
    #[must_use]
    pub const fn hits_max(self) -> Option<u8> {
        match self.0 & Self::HITS_MAX {
            n if n > 0 && self.is_marked() => Some(n as u8),
            _ => None,
        }
    }
}

/// A query's payload. Only flags and the end of the text are looked for when it is parsed; the rest is read on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// What the sender can do and wants.
    pub flags: Flags,
    /// The words, as they were typed; most peers write UTF-8.
    pub text: &'a [u8],
    /// What follows the text's NUL: urns, XML, GGEP.
    pub extensions: &'a [u8],
}

impl<'a> Query<'a> {
    /// Reads a payload; `None` without flags or without the NUL behind the text.
    #[must_use]
    #[inline]
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let (flags, rest) = payload.split_first_chunk::<2>()?;
        let end = memchr::memchr(0, rest)?;
        Some(Self {
            flags: Flags(u16::from_be_bytes(*flags)),
            text: &rest[..end],
            extensions: &rest[end + 1..],
        })
    }

    /// Everything behind the text.
    #[must_use]
    pub const fn items(&self) -> Items<'a> {
        extension::items(self.extensions)
    }

    /// The GGEP block.
    #[must_use]
    pub fn ggep(&self) -> Option<Block<'a>> {
        extension::ggep(self.extensions)
    }

    /// The contents that are asked for by name: `urn:sha1:`, bitprints, GGEP `H` and `u`.
    pub fn sha1s(&self) -> impl Iterator<Item = Sha1> + use<'a> {
        self.items().flat_map(|item| {
            let (plain, block) = match item {
                Item::Urn(urn) => (urn.sha1(), None),
                Item::Ggep(block) => (None, Some(block)),
                _ => (None, None),
            };
            let named =
                block.into_iter().flat_map(|b| b.iter()).map_while(Result::ok).filter_map(|e| match e.id {
                    b"H" => sha1_in_ggep(&e.data(64).ok()?),
                    b"u" => super::huge::Urn::parse_bare(&e.data(128).ok()?)?.sha1(),
                    _ => None,
                });
            plain.into_iter().chain(named)
        })
    }

    /// Four spaces: "all that you share", which only a direct neighbour may ask (HUGE 0.94, section 2.5).
    #[must_use]
    pub fn is_index(&self) -> bool {
        self.text == b"    "
    }
}

/// Writes a query.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    flags: u16,
    text: Vec<u8>,
    plain: Vec<Vec<u8>>,
    ggep: Vec<u8>,
}

impl Builder {
    /// A query for these words; cut at the first NUL, which would end it. [`Flags::MARK`] is always set.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let text = text.split('\0').next().unwrap_or_default();
        Self { flags: Flags::MARK, text: text.into(), ..Self::default() }
    }

    /// Sets more flags.
    #[must_use]
    pub const fn flags(mut self, bits: u16) -> Self {
        self.flags |= bits;
        self
    }

    /// Asks for contents by name.
    #[must_use]
    pub fn sha1(mut self, sha1: Sha1) -> Self {
        self.plain.push(sha1.urn().into_bytes());
        self
    }

    /// Adds a block that [`super::ggep::Builder`] wrote.
    #[must_use]
    pub fn ggep(mut self, block: Vec<u8>) -> Self {
        self.ggep = block;
        self
    }

    /// The payload.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let area = extension::join(self.plain.iter().map(Vec::as_slice), &self.ggep);
        let mut out = Vec::with_capacity(3 + self.text.len() + area.len());
        out.extend_from_slice(&self.flags.to_be_bytes());
        out.extend_from_slice(&self.text);
        out.push(0);
        out.extend_from_slice(&area);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::gnutella::ggep;
    use crate::gnutella::huge::Urn;

    #[test]
    fn a_query_relayed_by_an_ultrapeer() {
        let payload = b"\xb9\x00gizmo flugel\0\xc3\x82PR\x40";
        let query = Query::parse(payload).unwrap();
        assert_eq!(query.flags, Flags(0xb900));
        assert!(query.flags.has(Flags::LEAF_GUIDED | Flags::XML | Flags::GGEP_H | Flags::RELIABLE_UDP));
        assert!(!query.flags.has(Flags::FIREWALLED));
        assert_eq!(query.flags.hits_max(), None);
        assert_eq!(query.text, b"gizmo flugel");
        assert!(query.ggep().unwrap().find(b"PR").is_some());
        let block = ggep::Builder::new(ggep::Nul::Allowed).with(b"PR", b"").finish();
        assert_eq!(Builder::new("gizmo flugel").flags(0x3900).ggep(block).finish(), payload);
    }

    #[test]
    fn a_query_without_the_mark_is_still_read() {
        let query = Query::parse(b"\0\0avp walrus\0urn:\0").unwrap();
        assert!(!query.flags.is_marked() && !query.flags.has(Flags::XML));
        assert_eq!(query.text, b"avp walrus");
        assert_eq!(query.items().collect::<Vec<_>>(), [Item::Urn(Urn::AnyWanted)]);
        assert_eq!(query.sha1s().count(), 0);
    }

    #[test]
    fn a_query_for_contents_by_name() {
        let query = Query::parse(b"\0\0\\\0urn:sha1:6HFOF4WHULYSYTKLAE4WG2RGEVCQKKWD\0").unwrap();
        let names: Vec<_> = query.sha1s().map(|s| s.base32()).collect();
        assert_eq!(names, ["6HFOF4WHULYSYTKLAE4WG2RGEVCQKKWD"]);
    }

    #[test]
    fn names_in_ggep_count_too() {
        let sha1 = Sha1([7; 20]);
        let mut h = vec![1];
        h.extend_from_slice(&sha1.0);
        let block = ggep::Builder::new(ggep::Nul::Allowed)
            .with(b"H", &h)
            .with(b"u", format!("sha1:{}", sha1.base32()).as_bytes())
            .finish();
        let payload = Builder::new("").sha1(sha1).ggep(block).finish();
        assert_eq!(Query::parse(&payload).unwrap().sha1s().collect::<Vec<_>>(), [sha1; 3]);
    }

    #[test]
    fn what_is_no_query() {
        assert_eq!(Query::parse(b""), None);
        assert_eq!(Query::parse(b"\x80\x00no end"), None);
        assert!(Query::parse(b"\x80\x00    \0").unwrap().is_index());
    }

    proptest! {
        #[test]
        fn what_is_built_is_read(text in "[^\0]{0,40}", flags: u16, names in vec(any::<[u8; 20]>(), 0..4), value in vec(any::<u8>(), 0..40)) {
            let names: Vec<_> = names.into_iter().map(Sha1).collect();
            let block = ggep::Builder::new(ggep::Nul::Allowed).with(b"X", &value).finish();
            let builder = names.iter().fold(Builder::new(&text).flags(flags), |b, name| b.sha1(*name)).ggep(block);
            let payload = builder.finish();
            let query = Query::parse(&payload).unwrap();
            prop_assert_eq!(query.flags.0, flags | Flags::MARK);
            prop_assert_eq!(query.text, text.as_bytes());
            prop_assert_eq!(query.sha1s().collect::<Vec<_>>(), names);
            prop_assert_eq!(query.ggep().unwrap().find(b"X").unwrap().raw, value);
        }

        #[test]
        fn any_bytes_are_read_without_panic(payload in vec(prop_oneof![any::<u8>(), Just(0), Just(0xc3), Just(0x1c)], 0..300)) {
            if let Some(query) = Query::parse(&payload) {
                prop_assert_eq!(3 + query.text.len() + query.extensions.len(), payload.len());
                let _ = (query.items().count(), query.ggep(), query.sha1s().count(), query.is_index());
            }
        }
    }
}
