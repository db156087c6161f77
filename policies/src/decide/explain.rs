//! Each rule that was tried, and why it did not match.

use std::fmt;

use serde_json::{Value, json};

use super::decision::Decision;
use super::domain::Point;
use super::policy::{CompiledRule, Policy};
use crate::event::{Event, Scope};
use crate::facts::{Fact, Facts, Type};
use crate::model::rule::{Chain, Fail};
use crate::text::source::Placed;

/// A decision with everything that led to it.
#[derive(Clone, Debug)]
pub struct Explanation<'p> {
    /// The decision.
    pub decision: Decision<'p>,
    /// The rules of the chain, in order, up to the one that decided.
    pub steps: Vec<Step<'p>>,
    /// The facts that were read, with their values.
    pub facts: Vec<(String, String)>,
}

/// One rule that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<'p> {
    /// Its id.
    pub rule: &'p str,
    /// `FILE:LINE:COLUMN`.
    pub place: &'p str,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It decided.
    Decided,
    /// It would have decided, but is in shadow.
    Shadow,
    /// Its `match` does not hold, for this reason.
    Differs(String),
    /// Its condition does not hold.
    ConditionFalse(String),
    /// Its condition could not be evaluated.
    ConditionFailed(String),
}

impl Policy {
    /// Decides an event and says how.
    #[must_use]
    pub fn explain<'p>(&'p self, chain: Chain, event: &Event<'_>, facts: &Facts) -> Explanation<'p> {
        let decision = self.decide(chain, event, facts);
        let scope = Scope { event, facts };
        let point = self.domain.point(event, u16::MAX);
        let mut steps = Vec::new();
        for rule in &self.chains[chain as usize].rules {
            let outcome = self.tried(rule, &point, &scope);
            steps.push(Step { rule: &rule.id, place: &rule.place, outcome });
            if Some(rule.id.as_str()) == decision.rule {
                break;
            }
        }
        let value = |fact: Fact| (fact.name(&self.budget_names), value(fact, &scope));
        Explanation { facts: decision.facts.iter().map(value).collect(), decision, steps }
    }

    fn tried(&self, rule: &CompiledRule, point: &Point, scope: &Scope<'_>) -> Outcome {
        if let Some(why) = self.differs(rule, point, scope) {
            return Outcome::Differs(why);
        }
        let matched = if rule.shadow { Outcome::Shadow } else { Outcome::Decided };
        let Some(when) = &rule.when else { return matched };
        match when.holds(scope) {
            Ok(true) => matched,
            Ok(false) => {
                let read = when
                    .facts()
                    .iter()
                    .map(|f| format!("{} is {}", f.name(&self.budget_names), value(f, scope)));
                Outcome::ConditionFalse(format!(
                    "{}, with {}",
                    when.text(),
                    read.collect::<Vec<_>>().join(", ")
                ))
            }
            Err(why) => {
                let why = why.words(&self.budget_names);
                let then = match (rule.fail, rule.shadow) {
                    (Fail::Open, _) => "the rule does not match (`fail: open`)",
                    (Fail::Closed, true) => {
                        "the event would be refused (`fail: closed`), but the rule is in shadow"
                    }
                    (Fail::Closed, false) => "the event is refused (`fail: closed`)",
                };
                Outcome::ConditionFailed(format!("{why}: {then}"))
            }
        }
    }

    /// The first thing that a rule asks and that does not hold.
    fn differs(&self, rule: &CompiledRule, point: &Point, scope: &Scope<'_>) -> Option<String> {
        let (m, event) = (&rule.matching, scope.event);
        if !m.messages.is_empty() && !m.messages.contains(&event.message) {
            let words: Vec<_> = m.messages.iter().map(|w| w.word()).collect();
            return Some(format!("the message is {}, not {}", event.message.word(), words.join(" or ")));
        }
        if m.asks_content() && !event.message.has_content() {
            return Some(format!("a {} has no content", event.message.word()));
        }
        if let Some(direction) = m.direction.filter(|d| *d != event.direction) {
            return Some(format!("it is {}, not {}", event.direction.word(), direction.word()));
        }
        if !m.regions.is_empty() && !m.regions.contains(&event.region) {
            let words: Vec<_> = m.regions.iter().map(|w| w.word()).collect();
            return Some(format!("the region is {}, not {}", event.region.word(), words.join(" or ")));
        }
        if !m.links.is_empty() && !m.links.contains(&event.link) {
            let words: Vec<_> = m.links.iter().map(|w| w.word()).collect();
            return Some(format!("the link is {}, not {}", event.link.word(), words.join(" or ")));
        }
        if !m.groups.is_empty() && !m.groups.iter().any(|g| event.peer.group == Some(g.value.as_str())) {
            let words: Vec<_> = m.groups.iter().map(|g| g.value.as_str()).collect();
            let is = event.peer.group.unwrap_or("not known");
            return Some(format!("the group is {is}, not {}", words.join(" or ")));
        }
        for (who, inside, outside) in
            [("the peer", &m.peer_in, &m.peer_not_in), ("the content", &m.content_in, &m.content_not_in)]
        {
            if !inside.is_empty() && self.held(inside, point).is_none() {
                let words: Vec<_> = inside.iter().map(|n| format!("`{}`", n.value)).collect();
                return Some(format!("{who} is not in {}", words.join(" or ")));
            }
            if let Some(set) = self.held(outside, point) {
                return Some(format!("{who} is in `{set}`"));
            }
        }
        let file_type = event.content.file_type;
        if !m.file_types.is_empty() && !m.file_types.iter().any(|t| file_type == Some(t.as_str())) {
            let is = file_type.unwrap_or("not known");
            return Some(format!("the file type is {is}, not {}", m.file_types.join(" or ")));
        }
        let (min, max) = m.sizes?;
        match event.content.bytes {
            Some(n) if (min..=max).contains(&n) => None,
            Some(n) => Some(format!("the file has {n} bytes, not {min} to {max}")),
            None => Some("the file's size is not known".to_owned()),
        }
    }

    /// The first of some sets that a point is in.
    fn held<'n>(&self, names: &'n [Placed<String>], point: &Point) -> Option<&'n str> {
        let is_in = |name: &&Placed<String>| {
            self.domain.set(&name.value).is_some_and(|(kind, set)| self.domain.is_in(point, kind, set))
        };
        names.iter().find(is_in).map(|name| name.value.as_str())
    }

    /// Whether `match` of a rule holds, asked rule by rule; [`Policy::decide`] must find the same.
    #[cfg(test)]
    pub(crate) fn matches(&self, chain: Chain, number: usize, event: &Event<'_>) -> bool {
        let facts = Facts::default();
        let scope = Scope { event, facts: &facts };
        let rule = &self.chains[chain as usize].rules[number];
        self.differs(rule, &self.domain.point(event, u16::MAX), &scope).is_none()
    }
}

/// A fact's value in words.
fn value(fact: Fact, scope: &Scope<'_>) -> String {
    let unknown = || "not known".to_owned();
    match fact {
        Fact::ADDRESS => scope.event.peer.address.map_or_else(unknown, |a| a.to_string()),
        Fact::SHA1 => scope.event.content.sha1.map_or_else(unknown, |d| data_encoding::BASE32.encode(&d)),
        fact if fact.ty() == Type::Text => scope.text(fact).map_or_else(unknown, |t| format!("{t:?}")),
        fact => scope.number(fact).map_or_else(unknown, |n| n.to_string()),
    }
}

impl Explanation<'_> {
    /// As JSON.
    #[must_use]
    pub fn json(&self, budgets: &[String]) -> Value {
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|step| {
                let (outcome, why) = step.outcome.parts();
                json!({"rule": step.rule, "place": step.place, "outcome": outcome, "why": why})
            })
            .collect();
        let values: serde_json::Map<String, Value> =
            self.facts.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        json!({"decision": self.decision.json(budgets), "steps": steps, "values": values})
    }
}

impl Outcome {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Decided => ("decided", ""),
            Self::Shadow => ("shadow", "would have decided, but is in shadow"),
            Self::Differs(why) => ("no match", why),
            Self::ConditionFalse(why) => ("condition false", why),
            Self::ConditionFailed(why) => ("condition failed", why),
        }
    }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decision = &self.decision;
        let by = match decision.rule {
            Some(rule) => format!("rule `{rule}`"),
            None => "the default: no rule matched".to_owned(),
        };
        let shadow = if decision.enforced { "" } else { ", in shadow: nothing changes" };
        writeln!(f, "{}: {} by {by}{shadow}", decision.chain.word(), decision.action)?;
        for step in &self.steps {
            let (outcome, why) = step.outcome.parts();
            let colon = if why.is_empty() { "" } else { ": " };
            writeln!(f, "  {} ({}) {outcome}{colon}{why}", step.rule, step.place)?;
        }
        if !self.facts.is_empty() {
            let facts: Vec<String> =
                self.facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
            writeln!(f, "  facts: {}", facts.join(", "))?;
        }
        Ok(())
    }
}
