//! All that a policy can decide, numbered: for counters, and for those who are told a number and want the words.

use super::policy::Policy;
use crate::model::action::Action;
use crate::model::rule::Chain;

/// Something that a policy can decide.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome<'p> {
    /// Where.
    pub chain: Chain,
    /// The id of the rule; none for the default.
    pub rule: Option<&'p str>,
    /// What is decided.
    pub action: &'p Action,
    /// Whether it is only counted: the rule or the whole policy is in shadow.
    pub shadow: bool,
    /// Whether it is what the rule does where its condition cannot be evaluated.
    pub refusal: bool,
}

impl Policy {
    /// All outcomes, in the order of their numbers: those of a policy that is loaded from the same text have the same.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome<'_>> {
        Chain::ALL.into_iter().zip(&self.chains).flat_map(move |(chain, compiled)| {
            let rules = compiled.rules.iter().flat_map(move |rule| {
                [(&rule.then, false), (&compiled.refusal, true)].map(|(action, refusal)| Outcome {
                    chain,
                    rule: Some(rule.id.as_str()),
                    action,
                    shadow: self.shadow || rule.shadow,
                    refusal,
                })
            });
            let default = &compiled.default;
            let default = Outcome { chain, rule: None, action: default, shadow: self.shadow, refusal: false };
            rules.chain([default])
        })
    }

    /// One outcome.
    #[must_use]
    pub fn outcome(&self, number: u32) -> Option<Outcome<'_>> {
        let chain = self.chains.iter().rposition(|c| c.first_outcome <= number)?;
        let compiled = &self.chains[chain];
        let chain = Chain::ALL[chain];
        let place = (number - compiled.first_outcome) as usize;
        let (rule, refusal) = (compiled.rules.get(place / 2), place % 2 == 1);
        match rule {
            Some(rule) => Some(Outcome {
                chain,
                rule: Some(&rule.id),
                action: if refusal { &compiled.refusal } else { &rule.then },
                shadow: self.shadow || rule.shadow,
                refusal,
            }),
            None if place == 2 * compiled.rules.len() => {
                Some(Outcome { chain, rule: None, action: &compiled.default, shadow: self.shadow, refusal })
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::event::{Event, Message};
    use crate::facts::Facts;

    #[test]
    fn decisions_name_their_outcomes() {
        let text = "
policy: eep/v1
name: p
access:
  default: allow
  rules:
    - {id: hot, match: {message: [ping]}, when: 'node.cpu > 0.9', then: drop}
    - {id: pushes, mode: shadow, match: {message: [push]}, then: {deny: {reason: none}}}
routing:
  default: {forward: {fanout: 4, ttl: 4}}
  rules: [{id: few, match: {message: [query]}, then: {forward: {fanout: 1, ttl: 2}}}]
";
        let files = BTreeMap::from([("p.yaml".to_owned(), text.to_owned())]);
        let policy = Policy::load(&files, "p.yaml", 1).unwrap().policy;
        let all: Vec<_> = policy.outcomes().collect();
        for (number, outcome) in all.iter().enumerate() {
            assert_eq!(policy.outcome(number as u32).as_ref(), Some(outcome));
        }
        assert_eq!(policy.outcome(all.len() as u32), None);
        let mut facts = Facts::default();
        for cpu in [None, Some(0.5), Some(1.0)] {
            if let Some(cpu) = cpu {
                facts.set(crate::facts::Fact::CPU, cpu);
            }
            for (chain, message) in Chain::ALL.into_iter().flat_map(|c| Message::ALL.map(|m| (c, m))) {
                let event = Event { message, ..Event::default() };
                let decision = policy.decide(chain, &event, &facts);
                let outcome = policy.outcome(decision.outcome).unwrap();
                assert_eq!(
                    (outcome.chain, outcome.rule, outcome.action),
                    (chain, decision.rule, decision.action)
                );
                assert_eq!(outcome.refusal, decision.failed.is_some() && decision.rule == Some("hot"));
                if let Some(shadow) = decision.shadow {
                    let outcome = policy.outcome(shadow.outcome).unwrap();
                    assert_eq!((outcome.rule, outcome.shadow), (Some("pushes"), true));
                }
            }
        }
    }
}
