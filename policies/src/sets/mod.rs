//! Sets, compiled: each event falls into one class a dimension, and a class knows which sets it belongs to.
//!
//! | module | what |
//! | --- | --- |
//! | [`addresses`] | prefixes as flat ranges with an index of their first 16 bits |
//! | [`exact`] | values that are in a set or not: systems, groups, digests, file types |
//! | [`sizes`] | ranges of file sizes |
//! | [`words`] | words and phrases, found by the hash of whole words |
//! | [`agents`] | patterns over user agents |
//! | [`entries`] | the entries of sets as they are written, inline and in files |
//!
//! Two values that are in the same sets are in the same class. Class 0 is what is in no set.

pub(crate) mod addresses;
pub(crate) mod agents;
pub(crate) mod entries;
pub(crate) mod exact;
pub(crate) mod sizes;
pub(crate) mod words;

use hashbrown::HashMap;

use crate::facts::Fact;

/// What a set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Peers by address.
    Address,
    /// Peers by autonomous system.
    Asn,
    /// Peers by group.
    Group,
    /// Peers by user agent.
    Agent,
    /// Content by words.
    Keyword,
    /// Content by SHA-1.
    Digest,
}

impl Kind {
    /// What has to be known to tell whether something is in such a set.
    #[must_use]
    pub const fn fact(self) -> Fact {
        match self {
            Self::Address => Fact::ADDRESS,
            Self::Asn => Fact::ASN,
            Self::Group => Fact::GROUP,
            Self::Agent => Fact::AGENT,
            Self::Keyword => Fact::TEXT,
            Self::Digest => Fact::SHA1,
        }
    }

    /// The key under which such a set is written.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Address => "cidr",
            Self::Asn => "asn",
            Self::Group => "group",
            Self::Agent => "user-agent",
            Self::Keyword => "keywords",
            Self::Digest => "sha1",
        }
    }

    /// The kind that is written under a key.
    #[must_use]
    pub fn of(key: &str) -> Option<Self> {
        [Self::Address, Self::Asn, Self::Group, Self::Agent, Self::Keyword, Self::Digest]
            .into_iter()
            .find(|kind| kind.key() == key)
    }

    /// Whether it holds peers; else it holds content.
    #[must_use]
    pub const fn is_peers(self) -> bool {
        matches!(self, Self::Address | Self::Asn | Self::Group | Self::Agent)
    }
}

/// Number of a set among those of its kind.
pub(crate) type SetIndex = u32;
/// Number of a class in its dimension.
pub(crate) type Class = u32;

/// The classes of a text, rising, none twice.
pub(crate) type Found = smallvec::SmallVec<[Class; 8]>;

/// Which sets each class belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Classes {
    members: Vec<Box<[SetIndex]>>,
    known: HashMap<Box<[SetIndex]>, Class, ahash::RandomState>,
}

impl Default for Classes {
    fn default() -> Self {
        let mut known = HashMap::with_hasher(seeded());
        known.insert(Box::default(), 0);
        Self { members: vec![Box::default()], known }
    }
}

impl Classes {
    /// The class of what is in exactly these sets; rising, none twice.
    pub(crate) fn of(&mut self, sets: &[SetIndex]) -> Class {
        if let Some(class) = self.known.get(sets) {
            return *class;
        }
        let class = self.members.len() as Class;
        self.members.push(sets.into());
        self.known.insert(sets.into(), class);
        class
    }

    /// How many classes there are, class 0 included.
    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }

    /// The sets of a class, rising.
    pub(crate) fn sets(&self, class: Class) -> &[SetIndex] {
        self.members.get(class as usize).map_or(&[], |sets| sets)
    }
}

/// A hasher that differs from process to process: lists come from strangers too.
pub(crate) fn seeded() -> ahash::RandomState {
    use std::hash::BuildHasher as _;
    let random = std::hash::RandomState::new();
    let seed = |n: u64| random.hash_one(n);
    ahash::RandomState::with_seeds(seed(0), seed(1), seed(2), seed(3))
}
