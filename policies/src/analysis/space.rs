//! Parts of the space of events, and what covers them.
//!
//! A part is a box: in each dimension with one class a set of classes; in each dimension with several classes those
//! that are absent, and sets of which one is present. Taking a rule's box away leaves one box for each thing that the
//! rule asks: there the event fails just that. The words of a text and the patterns of user agents are taken to occur
//! independently of each other; where they do not (`iso` and `linux iso`) a covered part may be taken for uncovered,
//! never the other way round.

use crate::bits::Bits;
use crate::decide::domain::{Domain, MULTIS, Point, SINGLES};
use crate::decide::region::Row;
use crate::sets::Class;

/// A part of the space.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    singles: [Bits; SINGLES],
    absent: [Bits; MULTIS],
    /// Of each of these sets a class is present.
    present: [Vec<Bits>; MULTIS],
}

/// Whether a part is covered by boxes.
#[derive(Debug)]
pub(crate) enum Covered {
    /// By these.
    By(Vec<usize>),
    /// Not: this part of it is left.
    Not(Box<Part>),
    /// It was not found out within the bound.
    Unknown,
}

impl Part {
    /// The whole space.
    pub(crate) fn whole(domain: &Domain) -> Self {
        Self {
            singles: std::array::from_fn(|d| domain.real(d)),
            absent: std::array::from_fn(|m| domain.multi_unreal(m)),
            present: Default::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.singles.iter().any(Bits::is_empty)
            || (0..MULTIS).any(|m| self.present[m].iter().any(|set| set.within(&self.absent[m])))
    }

    /// What it has in common with a rule's box.
    pub(crate) fn and(&self, row: &Row) -> Self {
        let mut out = self.clone();
        for (mine, theirs) in out.singles.iter_mut().zip(&row.singles) {
            if let Some(theirs) = theirs {
                mine.keep(theirs);
            }
        }
        for (m, asked) in row.multis.iter().enumerate() {
            if let Some(none) = &asked.none {
                out.absent[m].add(none);
            }
            out.present[m].extend(asked.any.clone());
        }
        out
    }

    /// Whether it has anything in common with a rule's box.
    fn meets(&self, row: &Row) -> bool {
        let singles = self.singles.iter().zip(&row.singles);
        if !singles.into_iter().all(|(mine, theirs)| theirs.as_ref().is_none_or(|t| mine.intersects(t))) {
            return false;
        }
        row.multis.iter().enumerate().all(|(m, asked)| {
            let possible = |set: &Bits| match &asked.none {
                None => !set.within(&self.absent[m]),
                Some(none) => set.iter().any(|c| !self.absent[m].contains(c) && !none.contains(c)),
            };
            asked.any.as_ref().is_none_or(possible)
                && (asked.none.is_none() || self.present[m].iter().all(possible))
        })
    }

    /// The parts where one thing that the box asks does not hold; only those that are not empty.
    fn without(&self, row: &Row) -> Vec<Self> {
        let mut out = Vec::new();
        for (d, asked) in row.singles.iter().enumerate() {
            let Some(asked) = asked else { continue };
            if !self.singles[d].within(asked) {
                let mut part = self.clone();
                part.singles[d].remove(asked);
                out.push(part);
            }
        }
        for (m, asked) in row.multis.iter().enumerate() {
            if let Some(any) = &asked.any {
                let mut part = self.clone();
                part.absent[m].add(any);
                out.extend((!part.is_empty()).then_some(part));
            }
            if let Some(none) = &asked.none
                && !none.within(&self.absent[m])
            {
                let mut part = self.clone();
                part.present[m].push(none.clone());
                out.push(part);
            }
        }
        out
    }

    /// The part of it that is one point, with nothing present that need not be.
    fn narrowed(&self) -> Self {
        let point = self.point();
        let mut out = self.clone();
        for (bits, class) in out.singles.iter_mut().zip(point.singles) {
            *bits = Bits::none(bits.size());
            bits.insert(class as usize);
        }
        for (absent, found) in out.absent.iter_mut().zip(&point.multis) {
            *absent = Bits::all(absent.size());
            found.iter().for_each(|class| absent.take(*class as usize));
        }
        out
    }

    /// A point of it.
    pub(crate) fn point(&self) -> Point {
        let mut point = Point::default();
        for (class, bits) in point.singles.iter_mut().zip(&self.singles) {
            *class = bits.first().unwrap_or(0) as Class;
        }
        for (m, found) in point.multis.iter_mut().enumerate() {
            for set in &self.present[m] {
                let has = set.iter().any(|c| found.contains(&(c as Class)));
                if let (false, Some(class)) = (has, set.iter().find(|c| !self.absent[m].contains(*c))) {
                    found.push(class as Class);
                }
            }
            found.sort_unstable();
        }
        point
    }
}

/// Whether boxes together cover a part. `steps` bounds the work and is used up.
pub(crate) fn covered(part: &Part, rows: &[(usize, &Row)], steps: &mut u32) -> Covered {
    if *steps == 0 {
        return Covered::Unknown;
    }
    *steps -= 1;
    let near: Vec<(usize, &Row)> = rows.iter().copied().filter(|(_, row)| part.meets(row)).collect();
    if near.is_empty() {
        return Covered::Not(Box::new(part.clone()));
    }
    // Mostly what is in no set is left, and a look at one event tells.
    let point = part.narrowed();
    if !near.iter().any(|(_, row)| point.meets(row)) {
        return Covered::Not(Box::new(point));
    }
    // The box whose removal leaves the fewest parts.
    let mut best: Option<(usize, Vec<Part>)> = None;
    for (number, row) in &near {
        let rest = part.without(row);
        let few = rest.len() <= 1;
        if best.as_ref().is_none_or(|(_, b)| rest.len() < b.len()) {
            best = Some((*number, rest));
        }
        if few {
            break;
        }
    }
    let Some((number, rest)) = best else { return Covered::Not(Box::new(part.clone())) };
    let mut by = vec![number];
    for part in rest {
        match covered(&part, &near, steps) {
            Covered::By(more) => by.extend(more),
            other => return other,
        }
    }
    by.sort_unstable();
    by.dedup();
    Covered::By(by)
}
