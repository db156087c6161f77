//! Events as points: a class in each dimension.

use hashbrown::HashMap;

use crate::bits::Bits;
use crate::event::{Direction, Event, Link, Message, Region};
use crate::facts::Fact;
use crate::model::document::Document;
use crate::sets::addresses::Addresses;
use crate::sets::agents::Agents;
use crate::sets::entries::Entries;
use crate::sets::exact::Exact;
use crate::sets::sizes::Sizes;
use crate::sets::words::Words;
use crate::sets::{Class, Classes, Found, Kind, SetIndex, seeded};

/// Dimensions in which an event has exactly one class.
pub(crate) const SINGLES: usize = 10;
pub(crate) const MESSAGE: usize = 0;
pub(crate) const DIRECTION: usize = 1;
pub(crate) const REGION: usize = 2;
pub(crate) const LINK: usize = 3;
pub(crate) const ADDRESS: usize = 4;
pub(crate) const ASN: usize = 5;
pub(crate) const GROUP: usize = 6;
pub(crate) const DIGEST: usize = 7;
pub(crate) const FILE_TYPE: usize = 8;
pub(crate) const SIZE: usize = 9;

/// Dimensions in which an event may have several classes.
pub(crate) const MULTIS: usize = 2;
pub(crate) const AGENT: usize = 0;
pub(crate) const KEYWORD: usize = 1;

/// The facts behind the dimensions: those with one class, then those with several.
pub(crate) const FACTS: [Fact; SINGLES + MULTIS] = [
    Fact::MESSAGE,
    Fact::DIRECTION,
    Fact::REGION,
    Fact::LINK,
    Fact::ADDRESS,
    Fact::ASN,
    Fact::GROUP,
    Fact::SHA1,
    Fact::FILE_TYPE,
    Fact::FILE_BYTES,
    Fact::AGENT,
    Fact::TEXT,
];

/// An event, as far as rules can tell it from others.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Point {
    pub(crate) singles: [Class; SINGLES],
    pub(crate) multis: [Found; MULTIS],
}

/// All dimensions of a policy.
#[derive(Clone, Debug)]
pub(crate) struct Domain {
    addresses: Addresses,
    asns: Exact<u32>,
    groups: Exact<String>,
    digests: Exact<[u8; 20]>,
    file_types: Exact<String>,
    sizes: Sizes,
    agents: Agents,
    words: Words,
    /// Each set's kind and number among those of its kind.
    sets: HashMap<String, (Kind, SetIndex), ahash::RandomState>,
    /// Numbers of the one-entry sets that stand for groups and file types named in rules.
    inline: HashMap<(usize, String), SetIndex, ahash::RandomState>,
}

impl Domain {
    /// Takes the entries out of the document.
    pub(crate) fn new(document: &mut Document) -> Self {
        let mut sets = HashMap::with_hasher(seeded());
        let mut inline = HashMap::with_hasher(seeded());
        let (mut addresses, mut asns, mut groups, mut agents, mut words, mut digests) =
            (vec![], vec![], vec![], vec![], vec![], vec![]);
        for (name, set) in &mut document.sets {
            let index = match std::mem::replace(&mut set.entries, Entries::Asn(Vec::new())) {
                Entries::Address(all) => push(&mut addresses, all),
                Entries::Asn(all) => push(&mut asns, all),
                Entries::Group(all) => push(&mut groups, all),
                Entries::Agent(all) => push(&mut agents, all),
                Entries::Keyword(all) => push(&mut words, all),
                Entries::Digest(all) => push(&mut digests, all),
            };
            sets.insert(name.clone(), (set.kind, index));
        }
        let mut file_types: Vec<Vec<String>> = Vec::new();
        let rules = || document.chains.iter().flat_map(|c| &c.rules);
        for m in rules().map(|r| &r.matching) {
            for group in &m.groups {
                let key = (GROUP, group.value.clone());
                inline.entry(key).or_insert_with(|| push(&mut groups, vec![group.value.clone()]));
            }
            for file_type in &m.file_types {
                let key = (FILE_TYPE, file_type.clone());
                inline.entry(key).or_insert_with(|| push(&mut file_types, vec![file_type.clone()]));
            }
        }
        Self {
            addresses: Addresses::new(&addresses),
            asns: Exact::new(&asns),
            groups: Exact::new(&groups),
            digests: Exact::new(&digests),
            file_types: Exact::new(&file_types),
            sizes: Sizes::new(rules().filter_map(|r| r.matching.sizes)),
            agents: Agents::new(&agents),
            words: Words::new(&words),
            sets,
            inline,
        }
    }

    /// A set's kind and number among those of its kind.
    pub(crate) fn set(&self, name: &str) -> Option<(Kind, SetIndex)> {
        self.sets.get(name).copied()
    }

    /// The number of the set that stands for a group or file type named in a rule.
    pub(crate) fn inline(&self, dimension: usize, name: &str) -> Option<SetIndex> {
        self.inline.get(&(dimension, name.to_owned())).copied()
    }

    fn classes(&self, dimension: usize) -> Option<&Classes> {
        Some(match dimension {
            ADDRESS => self.addresses.classes(),
            ASN => self.asns.classes(),
            GROUP => self.groups.classes(),
            DIGEST => self.digests.classes(),
            FILE_TYPE => self.file_types.classes(),
            _ => return None,
        })
    }

    fn multi_classes(&self, dimension: usize) -> &Classes {
        if dimension == AGENT { self.agents.classes() } else { self.words.classes() }
    }

    /// How many classes a dimension has.
    pub(crate) fn size(&self, dimension: usize) -> usize {
        match dimension {
            MESSAGE => Message::ALL.len(),
            DIRECTION => Direction::ALL.len(),
            REGION => Region::ALL.len(),
            LINK => Link::ALL.len(),
            SIZE => self.sizes.count(),
            other => self.classes(other).map_or(1, Classes::count),
        }
    }

    /// How many classes a dimension has in which an event may have several.
    pub(crate) fn multi_size(&self, dimension: usize) -> usize {
        self.multi_classes(dimension).count()
    }

    /// The classes of a dimension that some event has.
    pub(crate) fn real(&self, dimension: usize) -> Bits {
        let mut real = Bits::all(self.size(dimension));
        let mut empty = Bits::none(self.size(dimension));
        for class in 1..self.size(dimension) as Class {
            let any = match dimension {
                ASN => self.asns.example(class).is_some(),
                GROUP => self.groups.example(class).is_some(),
                DIGEST => self.digests.example(class).is_some(),
                FILE_TYPE => self.file_types.example(class).is_some(),
                _ => true,
            };
            if !any {
                empty.insert(class as usize);
            }
        }
        real.remove(&empty);
        real
    }

    /// The classes that no event has, of a dimension in which it may have several. Class 0 is none of them.
    pub(crate) fn multi_unreal(&self, dimension: usize) -> Bits {
        let mut unreal = Bits::none(self.multi_size(dimension));
        for class in 0..self.multi_size(dimension) as Class {
            let example =
                if dimension == AGENT { self.agents.example(class) } else { self.words.example(class) };
            if example.is_empty() {
                unreal.insert(class as usize);
            }
        }
        unreal
    }

    /// The classes that belong to one of some sets.
    pub(crate) fn of_sets(&self, dimension: usize, sets: &[SetIndex]) -> Bits {
        members(self.classes(dimension), self.size(dimension), sets)
    }

    /// The same, of a dimension in which an event may have several classes.
    pub(crate) fn multi_of_sets(&self, dimension: usize, sets: &[SetIndex]) -> Bits {
        members(Some(self.multi_classes(dimension)), self.multi_size(dimension), sets)
    }

    /// The classes of a range of sizes.
    pub(crate) fn of_sizes(&self, (min, max): (u64, u64)) -> Bits {
        let mut bits = Bits::none(self.sizes.count());
        (self.sizes.class(Some(min))..=self.sizes.class(Some(max))).for_each(|c| bits.insert(c as usize));
        bits
    }

    /// The point of an event, as far as the wanted dimensions go (a bit each, in the order of [`FACTS`]).
    #[inline]
    pub(crate) fn point(&self, event: &Event<'_>, wanted: u16) -> Point {
        let mut point = Point::default();
        let wants = |dimension: usize| wanted >> dimension & 1 == 1;
        point.singles[MESSAGE] = event.message as Class;
        point.singles[DIRECTION] = event.direction as Class;
        point.singles[REGION] = event.region as Class;
        point.singles[LINK] = event.link as Class;
        let peer = &event.peer;
        if wants(ADDRESS) {
            point.singles[ADDRESS] = self.addresses.class(peer.address);
        }
        if wants(ASN) {
            point.singles[ASN] = self.asns.class(peer.asn.as_ref());
        }
        if wants(GROUP) {
            point.singles[GROUP] = self.groups.class(peer.group);
        }
        if wants(SINGLES + AGENT) {
            self.agents.find(peer.user_agent, &mut point.multis[AGENT]);
        }
        if event.message.has_content() {
            let content = &event.content;
            if wants(DIGEST) {
                point.singles[DIGEST] = self.digests.class(content.sha1.as_ref());
            }
            if wants(FILE_TYPE) {
                point.singles[FILE_TYPE] = self.file_types.class(content.file_type);
            }
            if wants(SIZE) {
                point.singles[SIZE] = self.sizes.class(content.bytes);
            }
            if wants(SINGLES + KEYWORD) {
                self.words.find(content.text, &mut point.multis[KEYWORD]);
            }
        }
        point
    }

    /// Whether a point is in a set.
    pub(crate) fn is_in(&self, point: &Point, kind: Kind, set: SetIndex) -> bool {
        let one = |dimension: usize| {
            self.classes(dimension)
                .is_some_and(|c| c.sets(point.singles[dimension]).binary_search(&set).is_ok())
        };
        let some = |dimension: usize| {
            let classes = self.multi_classes(dimension);
            point.multis[dimension].iter().any(|class| classes.sets(*class).binary_search(&set).is_ok())
        };
        match kind {
            Kind::Address => one(ADDRESS),
            Kind::Asn => one(ASN),
            Kind::Group => one(GROUP),
            Kind::Digest => one(DIGEST),
            Kind::Agent => some(AGENT),
            Kind::Keyword => some(KEYWORD),
        }
    }

    /// Every value at which the classes of a dimension change.
    pub(crate) fn samples(&self) -> impl Iterator<Item = Sample> + '_ {
        let peers = self.addresses.starts().map(Sample::Address);
        let peers = peers.chain(self.asns.values().map(|n| Sample::Asn(*n)));
        let peers = peers.chain(self.groups.values().map(|g| Sample::Group(g.clone())));
        let peers = peers.chain(self.agents.texts().map(|a| Sample::Agent(a.to_owned())));
        let content = self.words.texts().map(|t| Sample::Text(t.to_owned()));
        let content = content.chain(self.digests.values().map(|d| Sample::Digest(*d)));
        let content = content.chain(self.file_types.values().map(|t| Sample::FileType(t.clone())));
        peers.chain(content).chain(self.sizes.starts().iter().map(|n| Sample::Bytes(*n)))
    }

    /// An event in given classes, as far as there is one.
    pub(crate) fn example(&self, point: &Point) -> Example {
        let class = |dimension: usize| point.singles[dimension];
        let of = |n: usize| class(n) as usize;
        let together = |dimension: usize, of: &dyn Fn(Class) -> String| {
            point.multis[dimension].iter().map(|c| of(*c)).collect::<Vec<_>>().join(" ")
        };
        Example {
            message: Message::ALL.get(of(MESSAGE)).copied().unwrap_or_default(),
            direction: Direction::ALL.get(of(DIRECTION)).copied().unwrap_or_default(),
            region: Region::ALL.get(of(REGION)).copied().unwrap_or_default(),
            link: Link::ALL.get(of(LINK)).copied().unwrap_or_default(),
            address: self.addresses.example(class(ADDRESS)),
            asn: self.asns.example(class(ASN)).copied(),
            group: self.groups.example(class(GROUP)).cloned(),
            user_agent: together(AGENT, &|c| self.agents.example(c).to_owned()),
            text: together(KEYWORD, &|c| self.words.example(c).to_owned()),
            sha1: self.digests.example(class(DIGEST)).copied(),
            file_type: self.file_types.example(class(FILE_TYPE)).cloned(),
            bytes: self.sizes.example(class(SIZE)),
        }
    }
}

/// A value that some rule may tell from others.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sample {
    Address(std::net::IpAddr),
    Asn(u32),
    Group(String),
    Agent(String),
    Text(String),
    Digest([u8; 20]),
    FileType(String),
    Bytes(u64),
}

/// An event that owns its parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Example {
    pub(crate) message: Message,
    pub(crate) direction: Direction,
    pub(crate) region: Region,
    pub(crate) link: Link,
    pub(crate) address: Option<std::net::IpAddr>,
    pub(crate) asn: Option<u32>,
    pub(crate) group: Option<String>,
    pub(crate) user_agent: String,
    pub(crate) text: String,
    pub(crate) sha1: Option<[u8; 20]>,
    pub(crate) file_type: Option<String>,
    pub(crate) bytes: Option<u64>,
}

fn push<T>(list: &mut Vec<T>, item: T) -> SetIndex {
    list.push(item);
    (list.len() - 1) as SetIndex
}

fn members(classes: Option<&Classes>, size: usize, sets: &[SetIndex]) -> Bits {
    let mut bits = Bits::none(size);
    if let Some(classes) = classes {
        for class in 0..size as Class {
            if classes.sets(class).iter().any(|s| sets.contains(s)) {
                bits.insert(class as usize);
            }
        }
    }
    bits
}
