//! Events on which two policies differ: for each pair of rules that may decide the same event differently, an event
//! that shows it.
//!
//! Events are looked for in the parts of the space that rules of either policy tell apart, with the facts that their
//! conditions compare with: at each bound, below and above it. What is found is true, since both policies have decided
//! it; where conditions are involved, something may be missed.

use std::collections::{BTreeSet, HashSet};

use super::given::Given;
use super::replay::differ;
use crate::analysis::space::{Covered, Part, covered};
use crate::decide::decision::Decision;
use crate::decide::domain::Sample;
use crate::decide::policy::Policy;
use crate::decide::region::{Row, rows};
use crate::facts::{Fact, Type};
use crate::model::rule::Chain;

/// Most steps of the search in one region.
const STEPS_MAX: u32 = 500;
/// Most combinations of facts that are tried on one event.
const FACTS_MAX: usize = 64;
/// Most events that are looked at.
const EVENTS_MAX: usize = 200_000;

/// An event on which two policies differ.
#[derive(Clone, Debug)]
pub struct Witness {
    /// The chain.
    pub chain: Chain,
    /// What the first policy does.
    pub before: String,
    /// What the second does.
    pub after: String,
    /// The first policy's rule, or `default`.
    pub rule_before: String,
    /// The second policy's rule, or `default`.
    pub rule_after: String,
    /// The event, as tests and recordings write it.
    pub event: serde_json::Value,
}

/// An event for each pair of rules on which the policies differ.
#[must_use]
pub fn diff(before: &Policy, after: &Policy) -> Vec<Witness> {
    let mut search = Search { before, after, found: Vec::new(), seen: BTreeSet::new(), left: EVENTS_MAX };
    let samples = samples(before, after);
    for chain in Chain::ALL {
        if !before.speaks_of(chain) && !after.speaks_of(chain) {
            continue;
        }
        let facts = facts_tried(before, after, chain);
        let mut bases = examples(before, chain);
        bases.extend(examples(after, chain));
        bases.iter().for_each(|given| search.look(chain, given, &facts));
        // And with each value that one of the policies tells from others: their sets may differ.
        for given in &bases {
            for sample in &samples {
                let mut given = given.clone();
                given.put(sample);
                search.look(chain, &given, &facts);
            }
        }
    }
    search.found
}

struct Search<'p> {
    before: &'p Policy,
    after: &'p Policy,
    found: Vec<Witness>,
    /// Pairs of rules for which an event has been found.
    seen: BTreeSet<(Chain, &'p str, &'p str)>,
    left: usize,
}

impl<'p> Search<'p> {
    fn look(&mut self, chain: Chain, given: &Given, tried: &[Vec<(Fact, f64)>]) {
        for facts in tried {
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            let mut given = given.clone();
            facts.iter().for_each(|(fact, value)| given.set(*fact, *value));
            let old = self.before.decide(chain, &given.event(), given.facts());
            let new = self.after.decide(chain, &given.event(), given.facts());
            let (Some(from), Some(to)) = differ(&old, &new) else { continue };
            let pair = (chain, old.rule.unwrap_or("default"), new.rule.unwrap_or("default"));
            if self.seen.insert(pair) {
                self.found.push(self.witness(&old, &new, (from, to), &given));
            }
        }
    }

    fn witness(
        &self,
        old: &Decision<'p>,
        new: &Decision<'p>,
        (before, after): (String, String),
        given: &Given,
    ) -> Witness {
        let names = if new.facts.iter().any(|f| f.budget_index().is_some()) {
            self.after.budget_names()
        } else {
            self.before.budget_names()
        };
        Witness {
            chain: old.chain,
            before,
            after,
            rule_before: old.rule_or_default().to_owned(),
            rule_after: new.rule_or_default().to_owned(),
            event: Given::json(&given.event(), given.facts(), names),
        }
    }
}

/// A value for each way in which the two policies' sets tell values apart.
fn samples(before: &Policy, after: &Policy) -> Vec<Sample> {
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    for sample in before.domain.samples().chain(after.domain.samples()) {
        let mut given = Given::download();
        given.put(&sample);
        let place = |policy: &Policy| {
            let point = policy.domain.point(&given.event(), u16::MAX);
            (point.singles, point.multis.map(|found| found.to_vec()))
        };
        if seen.insert((place(before), place(after))) {
            out.push(sample);
        }
    }
    out
}

/// Events out of every region that a rule decides.
fn examples(policy: &Policy, chain: Chain) -> Vec<Given> {
    let rules = &policy.chains[chain as usize].rules;
    let mine: Vec<Vec<Row>> = rules.iter().map(|r| rows(&r.matching, &policy.domain)).collect();
    let whole = Part::whole(&policy.domain);
    let mut parts: Vec<Part> = Vec::new();
    let mut before: Vec<(usize, &Row)> = Vec::new();
    let certain = |n: usize| rules[n].when.is_none() && !rules[n].shadow;
    for (number, rows) in mine.iter().enumerate() {
        parts.extend(rows.iter().filter_map(|row| left(&whole.and(row), &before)));
        if certain(number) {
            before.extend(rows.iter().map(|row| (number, row)));
        }
    }
    parts.extend(left(&whole, &before));
    // Each part again with the classes of each other rule, so that rules within a region are seen.
    let inner: Vec<Part> = parts
        .iter()
        .flat_map(|part| mine.iter().flatten().map(|row| part.and(row)))
        .filter(|part| !part.is_empty())
        .take(EVENTS_MAX / 8)
        .collect();
    let points = parts.iter().chain(&inner).map(Part::point);
    points.map(|point| policy.domain.example(&point).into()).collect()
}

/// What earlier rules leave of a part.
fn left(part: &Part, before: &[(usize, &Row)]) -> Option<Part> {
    if part.is_empty() {
        return None;
    }
    match covered(part, before, &mut STEPS_MAX.clone()) {
        Covered::Not(rest) => Some(*rest),
        Covered::By(_) => None,
        Covered::Unknown => Some(part.clone()),
    }
}

/// Facts at, below and above the numbers that conditions compare with.
fn facts_tried(before: &Policy, after: &Policy, chain: Chain) -> Vec<Vec<(Fact, f64)>> {
    let mut bounds: Vec<(Fact, Vec<f64>)> = Vec::new();
    for policy in [before, after] {
        for when in policy.chains[chain as usize].rules.iter().filter_map(|r| r.when.as_ref()) {
            let numbers = when.numbers();
            for fact in when.facts().iter().filter(|f| f.ty() != Type::Text) {
                let at = bounds.iter().position(|(f, _)| *f == fact).unwrap_or_else(|| {
                    bounds.push((fact, Vec::new()));
                    bounds.len() - 1
                });
                let step = if fact.ty() == Type::Int { 1.0 } else { 0.01 };
                bounds[at].1.extend(numbers.iter().flat_map(|n| [*n - step, *n, *n + step]));
            }
        }
    }
    let mut out = vec![Vec::new()];
    for (fact, values) in bounds {
        let mut more = Vec::new();
        'all: for facts in &out {
            for value in &values {
                if more.len() >= FACTS_MAX {
                    break 'all;
                }
                let mut facts: Vec<(Fact, f64)> = facts.clone();
                facts.push((fact, *value));
                more.push(facts);
            }
        }
        if !more.is_empty() {
            out = more;
        }
    }
    out.push(Vec::new());
    out
}
