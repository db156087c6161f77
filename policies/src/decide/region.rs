//! What a rule matches: boxes of classes.
//!
//! A rule is a conjunction, but `in: [a, b]` over sets of different kinds is a choice of dimensions. So a rule is one
//! box for each such choice; it matches where one of its boxes does.

use super::domain::{self, Domain, MULTIS, SINGLES};
use crate::bits::Bits;
use crate::event::Message;
use crate::model::rule::Match;
use crate::sets::{Kind, SetIndex};
use crate::text::source::Placed;

/// A box: what it asks of each dimension.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// The classes that are accepted; none where all are.
    pub(crate) singles: [Option<Bits>; SINGLES],
    pub(crate) multis: [Multi; MULTIS],
}

/// What is asked of a dimension in which an event may have several classes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Multi {
    /// It must have one of these.
    pub(crate) any: Option<Bits>,
    /// It may have none of these.
    pub(crate) none: Option<Bits>,
}

impl Row {
    fn keep(&mut self, dimension: usize, bits: Bits) {
        match &mut self.singles[dimension] {
            Some(old) => old.keep(&bits),
            empty => *empty = Some(bits),
        }
    }

    /// The dimensions that it asks about, a bit each.
    pub(crate) fn dimensions(&self) -> u16 {
        let singles = self.singles.iter().enumerate().map(|(i, s)| u16::from(s.is_some()) << i);
        let multis = self.multis.iter().enumerate();
        let multis = multis.map(|(i, m)| u16::from(m.any.is_some() || m.none.is_some()) << (SINGLES + i));
        singles.chain(multis).fold(0, |a, b| a | b)
    }
}

fn dimension(kind: Kind) -> (usize, bool) {
    match kind {
        Kind::Address => (domain::ADDRESS, true),
        Kind::Asn => (domain::ASN, true),
        Kind::Group => (domain::GROUP, true),
        Kind::Digest => (domain::DIGEST, true),
        Kind::Agent => (domain::AGENT, false),
        Kind::Keyword => (domain::KEYWORD, false),
    }
}

/// The sets by kind.
fn by_kind(names: &[Placed<String>], domain: &Domain) -> Vec<(Kind, Vec<SetIndex>)> {
    let mut out: Vec<(Kind, Vec<SetIndex>)> = Vec::new();
    for (kind, set) in names.iter().filter_map(|n| domain.set(&n.value)) {
        match out.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, sets)) => sets.push(set),
            None => out.push((kind, vec![set])),
        }
    }
    out
}

/// The boxes of a rule.
pub(crate) fn rows(m: &Match, domain: &Domain) -> Vec<Row> {
    let mut base = Row::default();
    let of = |size: usize, all: &mut dyn Iterator<Item = usize>| {
        let mut bits = Bits::none(size);
        all.for_each(|n| bits.insert(n));
        bits
    };
    let size = |dimension: usize| domain.size(dimension);
    if !m.messages.is_empty() {
        let all = &mut m.messages.iter().map(|v| *v as usize);
        base.keep(domain::MESSAGE, of(size(domain::MESSAGE), all));
    }
    if m.asks_content() {
        let with = &mut Message::ALL.into_iter().filter(|v| v.has_content()).map(|v| v as usize);
        base.keep(domain::MESSAGE, of(size(domain::MESSAGE), with));
    }
    if let Some(direction) = m.direction {
        base.keep(domain::DIRECTION, of(size(domain::DIRECTION), &mut [direction as usize].into_iter()));
    }
    if !m.regions.is_empty() {
        let all = &mut m.regions.iter().map(|v| *v as usize);
        base.keep(domain::REGION, of(size(domain::REGION), all));
    }
    if !m.links.is_empty() {
        let all = &mut m.links.iter().map(|v| *v as usize);
        base.keep(domain::LINK, of(size(domain::LINK), all));
    }
    let inline = |dimension, names: &mut dyn Iterator<Item = &String>| {
        let sets: Vec<SetIndex> = names.filter_map(|n| domain.inline(dimension, n)).collect();
        domain.of_sets(dimension, &sets)
    };
    if !m.groups.is_empty() {
        base.keep(domain::GROUP, inline(domain::GROUP, &mut m.groups.iter().map(|g| &g.value)));
    }
    if !m.file_types.is_empty() {
        base.keep(domain::FILE_TYPE, inline(domain::FILE_TYPE, &mut m.file_types.iter()));
    }
    if let Some(sizes) = m.sizes {
        base.keep(domain::SIZE, domain.of_sizes(sizes));
    }
    for (kind, sets) in by_kind(&m.peer_not_in, domain).into_iter().chain(by_kind(&m.content_not_in, domain))
    {
        match dimension(kind) {
            (d, true) => {
                let mut outside = Bits::all(domain.size(d));
                outside.remove(&domain.of_sets(d, &sets));
                base.keep(d, outside);
            }
            (d, false) => base.multis[d].none = Some(domain.multi_of_sets(d, &sets)),
        }
    }
    let mut rows = vec![base];
    for names in [&m.peer_in, &m.content_in] {
        if names.is_empty() {
            continue;
        }
        let choices = by_kind(names, domain);
        rows = rows
            .iter()
            .flat_map(|row| {
                choices.iter().map(|(kind, sets)| {
                    let mut row = row.clone();
                    match dimension(*kind) {
                        (d, true) => row.keep(d, domain.of_sets(d, sets)),
                        (d, false) => row.multis[d].any = Some(domain.multi_of_sets(d, sets)),
                    }
                    row
                })
            })
            .collect();
    }
    rows
}
