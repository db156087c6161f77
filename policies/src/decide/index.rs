//! Which rules match a point: for each class of each dimension the rows that accept it, a bit a row. The rows that
//! match are the conjunction, found a word of 64 rows at a time, in the order of the rules.

use hashbrown::HashMap;

use super::domain::{self, Domain, MULTIS, Point, SINGLES};
use super::region::Row;
use crate::bits::Bits;
use crate::event::{Direction, Link, Region};
use crate::sets::seeded;

/// Dimensions with few classes, which share one table.
const SMALL: usize = 4;

/// The rows of one chain, by class.
#[derive(Debug)]
pub(crate) struct Index {
    /// 64-bit words a set of rows takes.
    words: usize,
    /// The rule of each row.
    rules: Vec<u32>,
    /// Dimensions that rows ask about, a bit each.
    wanted: u16,
    small: Table,
    large: Vec<(usize, Table)>,
    multis: Vec<(usize, MultiTable)>,
}

/// Sets of rows by class; like sets are stored once.
#[derive(Debug, Default)]
struct Table {
    /// Where each class's set begins, in words.
    starts: Vec<u32>,
    sets: Vec<u64>,
}

impl Table {
    #[inline]
    fn start(&self, class: usize) -> usize {
        self.starts.get(class).map_or(0, |s| *s as usize)
    }
}

#[derive(Debug)]
struct MultiTable {
    /// Rows that ask for no class.
    free: Bits,
    /// Rows that ask for a class, by class.
    any: Vec<Bits>,
    /// Rows that a class rules out, by class.
    none: Vec<Bits>,
}

struct TableBuilder {
    known: HashMap<Bits, u32, ahash::RandomState>,
    table: Table,
}

impl TableBuilder {
    fn new() -> Self {
        Self { known: HashMap::with_hasher(seeded()), table: Table::default() }
    }

    fn push(&mut self, rows: Bits) {
        let sets = &mut self.table.sets;
        let start = *self.known.entry(rows).or_insert_with_key(|rows| {
            let start = sets.len() as u32;
            sets.extend_from_slice(rows.words());
            start
        });
        self.table.starts.push(start);
    }
}

impl Index {
    /// From the rows of each rule.
    pub(crate) fn new(rules: &[Vec<Row>], domain: &Domain) -> Self {
        let rows: Vec<(u32, &Row)> =
            rules.iter().enumerate().flat_map(|(i, rows)| rows.iter().map(move |r| (i as u32, r))).collect();
        let wanted = rows.iter().fold(0, |all, (_, row)| all | row.dimensions());
        let accept = |dimension: usize, class: usize| {
            let mut bits = Bits::none(rows.len());
            for (i, (_, row)) in rows.iter().enumerate() {
                if row.singles[dimension].as_ref().is_none_or(|b| b.contains(class)) {
                    bits.insert(i);
                }
            }
            bits
        };
        let mut small = TableBuilder::new();
        let each: Vec<Vec<Bits>> =
            (0..SMALL).map(|d| (0..domain.size(d)).map(|class| accept(d, class)).collect()).collect();
        for message in &each[domain::MESSAGE] {
            for direction in &each[domain::DIRECTION] {
                for region in &each[domain::REGION] {
                    for link in &each[domain::LINK] {
                        let mut bits = message.clone();
                        [direction, region, link].iter().for_each(|b| bits.keep(b));
                        small.push(bits);
                    }
                }
            }
        }
        let large = (SMALL..SINGLES)
            .filter(|d| wanted >> d & 1 == 1)
            .map(|d| (d, large_table(&rows, d, domain.size(d))));
        let multis = (0..MULTIS).filter(|m| wanted >> (SINGLES + m) & 1 == 1).map(|m| {
            let none = || vec![Bits::none(rows.len()); domain.multi_size(m)];
            let mut table = MultiTable { free: Bits::none(rows.len()), any: none(), none: none() };
            for (i, (_, row)) in rows.iter().enumerate() {
                match &row.multis[m].any {
                    Some(classes) => classes.iter().for_each(|c| table.any[c].insert(i)),
                    None => table.free.insert(i),
                }
                row.multis[m].none.iter().flat_map(Bits::iter).for_each(|c| table.none[c].insert(i));
            }
            (m, table)
        });
        Self {
            words: rows.len().div_ceil(64),
            wanted,
            small: small.table,
            large: large.collect(),
            multis: multis.collect(),
            rules: rows.iter().map(|(rule, _)| *rule).collect(),
        }
    }

    /// Dimensions that rows ask about, a bit each.
    pub(crate) fn wanted(&self) -> u16 {
        self.wanted
    }

    /// Calls for each rule that matches, in order, until the answer is no longer nothing.
    #[inline]
    pub(crate) fn first<T>(&self, point: &Point, mut rule: impl FnMut(usize) -> Option<T>) -> Option<T> {
        let [message, direction, region, link] = [0, 1, 2, 3].map(|d: usize| point.singles[d] as usize);
        let small = ((message * Direction::ALL.len() + direction) * Region::ALL.len() + region)
            * Link::ALL.len()
            + link;
        let small = self.small.sets.get(self.small.start(small)..)?;
        let mut large = [&[] as &[u64]; SINGLES];
        for (place, (dimension, table)) in large.iter_mut().zip(&self.large) {
            *place = table.sets.get(table.start(point.singles[*dimension] as usize)..)?;
        }
        let large = &large[..self.large.len()];
        let mut last = usize::MAX;
        for word in 0..self.words {
            let mut rows = *small.get(word)?;
            for sets in large {
                rows &= sets.get(word)?;
            }
            if rows == 0 {
                continue;
            }
            for (dimension, table) in &self.multis {
                let found = &point.multis[*dimension];
                let mut accepted = table.free.words()[word];
                let mut refused = 0;
                for class in found {
                    accepted |= table.any[*class as usize].words()[word];
                    refused |= table.none[*class as usize].words()[word];
                }
                rows &= accepted & !refused;
            }
            while rows != 0 {
                let row = word * 64 + rows.trailing_zeros() as usize;
                rows &= rows - 1;
                let number = self.rules[row] as usize;
                if number != last {
                    last = number;
                    if let Some(answer) = rule(number) {
                        return Some(answer);
                    }
                }
            }
        }
        None
    }
}

/// Transposes rows to classes.
fn large_table(rows: &[(u32, &Row)], dimension: usize, classes: usize) -> Table {
    let mut all = Bits::none(rows.len());
    let mut special: Vec<(usize, &Bits)> = Vec::new();
    for (i, (_, row)) in rows.iter().enumerate() {
        match &row.singles[dimension] {
            Some(bits) => special.push((i, bits)),
            None => all.insert(i),
        }
    }
    let mut of_class = vec![Vec::new(); classes];
    for (row, bits) in special {
        bits.iter().for_each(|class| of_class[class].push(row));
    }
    let mut builder = TableBuilder::new();
    for accepting in of_class {
        let mut bits = all.clone();
        accepting.into_iter().for_each(|row: usize| bits.insert(row));
        builder.push(bits);
    }
    builder.table
}
