//! A policy that decides.

use super::decision::{Decision, Failed, Shadow};
use super::domain::{self, Domain, Point};
use super::index::Index;
use crate::condition::{Condition, Formula};
use crate::event::{Event, Message, Scope};
use crate::facts::{Fact, FactSet, Facts};
use crate::model::action::Action;
use crate::model::alarm::Alarm;
use crate::model::rule::{Chain, Fail, Match};
use crate::model::topology::Degree;
use crate::model::traffic::{Budget, Class};

/// A compiled policy. Share it in an [`Arc`](std::sync::Arc) and swap the whole: a decision sees one generation.
#[derive(Debug)]
pub struct Policy {
    pub(crate) generation: u64,
    pub(crate) name: String,
    pub(crate) shadow: bool,
    pub(crate) domain: Domain,
    /// By [`Chain`].
    pub(crate) chains: [Compiled; 4],
    pub(crate) degree: Option<Degree>,
    pub(crate) path_length_max: Option<u8>,
    pub(crate) link_cost: Option<Formula>,
    pub(crate) classes: Vec<Class>,
    pub(crate) budgets: Vec<Budget>,
    pub(crate) budget_names: Vec<String>,
    pub(crate) alarms: Vec<Alarm>,
    pub(crate) files: Vec<String>,
}

/// One chain, compiled.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) default: Action,
    /// What a condition with `fail: closed` does that cannot be evaluated.
    pub(crate) refusal: Action,
    pub(crate) index: Index,
    /// The facts that `match` of all rules reads.
    pub(crate) reads: FactSet,
    /// The facts that rules may read of a kind of message, by [`Message`](crate::event::Message).
    pub(crate) needs: [FactSet; Message::ALL.len()],
    /// The number of the first rule's first outcome.
    pub(crate) first_outcome: u32,
    /// Whether the policy speaks of this chain.
    pub(crate) written: bool,
}

/// One rule, compiled.
#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) id: String,
    /// `FILE:LINE:COLUMN`.
    pub(crate) place: String,
    pub(crate) shadow: bool,
    pub(crate) when: Option<Condition>,
    pub(crate) fail: Fail,
    pub(crate) then: Action,
    pub(crate) matching: Match,
    /// The facts that `match` of this rule and of those before it reads.
    pub(crate) reads: FactSet,
}

impl Policy {
    /// The generation that it was loaded as.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the whole policy is in shadow: it decides, and nothing changes.
    #[must_use]
    pub fn is_shadow(&self) -> bool {
        self.shadow
    }

    /// The files that it was read from, the policy itself first: reload when one changes.
    #[must_use]
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// Whether the policy has a section for a chain.
    #[must_use]
    pub fn speaks_of(&self, chain: Chain) -> bool {
        self.chains[chain as usize].written
    }

    /// The ids of a chain's rules, in their order.
    pub fn rules(&self, chain: Chain) -> impl Iterator<Item = &str> {
        self.chains[chain as usize].rules.iter().map(|r| r.id.as_str())
    }

    /// The rules of a chain with the kinds of message that each is about; none named stands for all.
    pub fn rules_by_message(&self, chain: Chain) -> impl Iterator<Item = (&str, &[Message])> {
        let rules = self.chains[chain as usize].rules.iter();
        rules.map(|rule| (rule.id.as_str(), rule.matching.messages.as_slice()))
    }

    /// How many neighbours a virtual peer has.
    #[must_use]
    pub fn degree(&self) -> Option<Degree> {
        self.degree
    }

    /// How many hops a message may go.
    #[must_use]
    pub fn path_length_max(&self) -> Option<u8> {
        self.path_length_max
    }

    /// What a link costs, lower is better.
    #[must_use]
    pub fn link_cost(&self) -> Option<&Formula> {
        self.link_cost.as_ref()
    }

    /// The traffic classes.
    #[must_use]
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The budgets; their facts are [`Fact::budget`] of their place in this list.
    #[must_use]
    pub fn budgets(&self) -> &[Budget] {
        &self.budgets
    }

    /// The names of the budgets, for [`Fact::name`].
    #[must_use]
    pub fn budget_names(&self) -> &[String] {
        &self.budget_names
    }

    /// The alarms.
    #[must_use]
    pub fn alarms(&self) -> &[Alarm] {
        &self.alarms
    }

    /// The budgets that an event counts against, by their place in [`Self::budgets`].
    pub fn counts_against(&self, event: &Event<'_>) -> impl Iterator<Item = usize> {
        let point = self.domain.point(event, u16::MAX);
        let sets = self.budgets.iter().enumerate();
        sets.filter_map(move |(i, budget)| {
            let (kind, set) = self.domain.set(&budget.peers.value)?;
            self.domain.is_in(&point, kind, set).then_some(i)
        })
    }

    /// What has to be known of a peer to say which budgets it counts against.
    #[must_use]
    pub fn needs_of_budgets(&self) -> FactSet {
        let kinds = self.budgets.iter().filter_map(|budget| self.domain.set(&budget.peers.value));
        kinds.map(|(kind, _)| kind.fact()).collect()
    }

    /// Decides an event.
    #[must_use]
    pub fn decide<'p>(&'p self, chain: Chain, event: &Event<'_>, facts: &Facts) -> Decision<'p> {
        let compiled = &self.chains[chain as usize];
        let point = self.domain.point(event, compiled.index.wanted());
        self.decide_point(chain, &point, &Scope { event, facts })
    }

    pub(crate) fn decide_point<'p>(&'p self, chain: Chain, point: &Point, scope: &Scope<'_>) -> Decision<'p> {
        let compiled = &self.chains[chain as usize];
        let mut conditions = FactSet::default();
        let mut shadow = None;
        let mut failed = None;
        let decided = compiled.index.first(point, |number| {
            let rule = &compiled.rules[number];
            let (mut action, mut outcome) = (&rule.then, compiled.outcome(number));
            if let Some(when) = &rule.when {
                conditions = conditions.and(when.facts());
                match when.holds(scope) {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(why) => {
                        failed = failed.or(Some(Failed { rule: &rule.id, why }));
                        if rule.fail == Fail::Open {
                            return None;
                        }
                        action = &compiled.refusal;
                        outcome += 1;
                    }
                }
            }
            if rule.shadow {
                shadow = shadow.or(Some(Shadow { rule: &rule.id, action, outcome }));
                return None;
            }
            Some((rule, action, outcome))
        });
        let (rule, action, outcome, reads) = match decided {
            Some((rule, action, outcome)) => (Some(rule.id.as_str()), action, outcome, rule.reads),
            None => (None, &compiled.default, compiled.outcome(compiled.rules.len()), compiled.reads),
        };
        Decision {
            generation: self.generation,
            chain,
            rule,
            action,
            outcome,
            enforced: !self.shadow,
            shadow,
            facts: reads.and(conditions),
            failed,
        }
    }
}

impl Compiled {
    /// The number of a rule's outcome, which that of its refusal follows; after those of all rules that of the default.
    #[inline]
    pub(crate) fn outcome(&self, rule: usize) -> u32 {
        self.first_outcome + 2 * rule as u32
    }
}

/// The facts behind dimensions, a bit each.
pub(crate) fn facts_of(dimensions: u16) -> FactSet {
    let all = domain::FACTS.iter().enumerate();
    all.filter(|(i, _)| dimensions >> i & 1 == 1).map(|(_, fact): (usize, &Fact)| *fact).collect()
}
