//! What can be decided before everything is known: of a peer that has connected, but not spoken; of a message whose
//! content nobody has looked at.

use super::decision::{Decision, Shadow};
use super::domain::Point;
use super::policy::{Compiled, CompiledRule, Policy};
use crate::event::{Event, Scope};
use crate::facts::{Fact, FactSet, Facts};
use crate::model::rule::Chain;
use crate::sets::Kind;
use crate::text::source::Placed;

/// Whether a rule matches, as far as that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Matches {
    No,
    Perhaps,
    Yes,
}

/// The fact that a kind of set asks about.
const fn fact_of(kind: Kind) -> Fact {
    match kind {
        Kind::Address => Fact::ADDRESS,
        Kind::Asn => Fact::ASN,
        Kind::Group => Fact::GROUP,
        Kind::Agent => Fact::AGENT,
        Kind::Keyword => Fact::TEXT,
        Kind::Digest => Fact::SHA1,
    }
}

impl Policy {
    /// The facts that rules of a chain may read to decide a kind of message.
    #[must_use]
    pub fn needs(&self, chain: Chain, message: crate::event::Message) -> FactSet {
        self.chains[chain as usize].needs[message as usize]
    }

    /// The decision over an event of which only these facts are known yet; none where it may depend on others. Kind
    /// and direction are always known. What is decided so stays so, whatever else becomes known.
    #[must_use]
    pub fn settled<'p>(
        &'p self,
        chain: Chain,
        event: &Event<'_>,
        facts: &Facts,
        known: FactSet,
    ) -> Option<Decision<'p>> {
        let mut known = known;
        known.insert(Fact::MESSAGE);
        known.insert(Fact::DIRECTION);
        let compiled = &self.chains[chain as usize];
        if compiled.needs[event.message as usize].is_within(known) {
            return Some(self.decide(chain, event, facts));
        }
        let partial = Partial {
            policy: self,
            scope: Scope { event, facts },
            point: self.domain.point(event, u16::MAX),
            known,
        };
        let mut shadow = None;
        for (number, rule) in compiled.rules.iter().enumerate() {
            match partial.rule(rule) {
                Matches::No => {}
                Matches::Perhaps => return None,
                Matches::Yes if rule.shadow => {
                    let outcome = compiled.outcome(number);
                    shadow = shadow.or(Some(Shadow { rule: &rule.id, action: &rule.then, outcome }));
                }
                Matches::Yes => return Some(self.decided(chain, compiled, Some((number, rule)), shadow)),
            }
        }
        Some(self.decided(chain, compiled, None, shadow))
    }

    fn decided<'p>(
        &'p self,
        chain: Chain,
        compiled: &'p Compiled,
        by: Option<(usize, &'p CompiledRule)>,
        shadow: Option<Shadow<'p>>,
    ) -> Decision<'p> {
        let (rule, action, outcome, reads) = match by {
            Some((number, rule)) => {
                (Some(rule.id.as_str()), &rule.then, compiled.outcome(number), rule.reads)
            }
            None => (None, &compiled.default, compiled.outcome(compiled.rules.len()), compiled.reads),
        };
        let enforced = !self.shadow;
        Decision {
            generation: self.generation,
            chain,
            rule,
            action,
            outcome,
            enforced,
            shadow,
            facts: reads,
            failed: None,
        }
    }
}

struct Partial<'a> {
    policy: &'a Policy,
    scope: Scope<'a>,
    point: Point,
    known: FactSet,
}

impl Partial<'_> {
    fn rule(&self, rule: &CompiledRule) -> Matches {
        let matches = self.matching(rule);
        match &rule.when {
            Some(when) if matches == Matches::Yes => {
                if !when.facts().is_within(self.known) {
                    return Matches::Perhaps;
                }
                match when.holds(&self.scope) {
                    Ok(true) => Matches::Yes,
                    Ok(false) => Matches::No,
                    Err(_) => Matches::Perhaps,
                }
            }
            _ => matches,
        }
    }

    fn matching(&self, rule: &CompiledRule) -> Matches {
        let (m, event) = (&rule.matching, self.scope.event);
        let sure = |holds: bool| if holds { Matches::Yes } else { Matches::No };
        let asked = |asks: bool, fact: Fact, holds: bool| match asks {
            false => Matches::Yes,
            true if !self.known.contains(fact) => Matches::Perhaps,
            true => sure(holds),
        };
        let content = &event.content;
        let type_holds = content.file_type.is_some_and(|t| m.file_types.iter().any(|known| known == t));
        let size_holds =
            m.sizes.is_some_and(|(min, max)| content.bytes.is_some_and(|n| (min..=max).contains(&n)));
        let group_holds = m.groups.iter().any(|g| event.peer.group == Some(g.value.as_str()));
        let all = [
            sure(m.messages.is_empty() || m.messages.contains(&event.message)),
            sure(m.direction.is_none_or(|d| d == event.direction)),
            sure(!m.asks_content() || event.message.has_content()),
            asked(!m.regions.is_empty(), Fact::REGION, m.regions.contains(&event.region)),
            asked(!m.links.is_empty(), Fact::LINK, m.links.contains(&event.link)),
            asked(!m.groups.is_empty(), Fact::GROUP, group_holds),
            self.inside(&m.peer_in),
            self.outside(&m.peer_not_in),
            self.inside(&m.content_in),
            self.outside(&m.content_not_in),
            asked(!m.file_types.is_empty(), Fact::FILE_TYPE, type_holds),
            asked(m.sizes.is_some(), Fact::FILE_BYTES, size_holds),
        ];
        all.into_iter().min().unwrap_or(Matches::Yes)
    }

    /// Whether the event is in a set, as far as that can be told.
    fn is_in(&self, name: &Placed<String>) -> Matches {
        let Some((kind, set)) = self.policy.domain.set(&name.value) else { return Matches::No };
        if !self.known.contains(fact_of(kind)) {
            return Matches::Perhaps;
        }
        if self.policy.domain.is_in(&self.point, kind, set) { Matches::Yes } else { Matches::No }
    }

    fn inside(&self, names: &[Placed<String>]) -> Matches {
        if names.is_empty() {
            return Matches::Yes;
        }
        names.iter().map(|name| self.is_in(name)).max().unwrap_or(Matches::No)
    }

    fn outside(&self, names: &[Placed<String>]) -> Matches {
        match names.iter().map(|name| self.is_in(name)).max() {
            None | Some(Matches::No) => Matches::Yes,
            Some(Matches::Perhaps) => Matches::Perhaps,
            Some(Matches::Yes) => Matches::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::event::{Content, Direction, Message, Peer};

    const POLICY: &str = "
policy: eep/v1
name: p
sets:
  near: {cidr: [10.0.0.0/8]}
  bad: {user-agent: ['Bad/*']}
  hot: {keywords: [walrus]}
access:
  default: allow
  rules:
    - {id: bad-agents, match: {peer: {in: bad}}, then: {deny: {reason: agent}}}
    - {id: near-hot, match: {message: [query, query-hit], peer: {in: near}, content: {in: hot}}, then: drop}
    - {id: busy, match: {message: [query], peer: {not-in: [near, bad]}}, when: 'node.cpu > 0.5', then: drop}
    - {id: pushes, mode: shadow, match: {message: [push], peer: {in: near}}, then: drop}
    - {id: leaves, match: {message: [query-hit], group: leaf, content: {type: mp3}}, then: drop}
    - {id: outsiders, match: {message: [connect], peer: {not-in: near}}, then: {deny: {reason: outside}}}
";

    fn policy() -> Policy {
        let files = BTreeMap::from([("p.yaml".to_owned(), POLICY.to_owned())]);
        Policy::load(&files, "p.yaml", 1).unwrap().policy
    }

    #[test]
    fn what_is_not_known_keeps_a_decision_open() {
        let policy = policy();
        let of_peer: FactSet = [Fact::ADDRESS].into_iter().collect();
        let said: FactSet = [Fact::ADDRESS, Fact::AGENT, Fact::GROUP].into_iter().collect();
        let rule = |message, address: &str, known| {
            let peer = Peer { address: address.parse().ok(), ..Peer::default() };
            let event = Event { message, peer, ..Event::default() };
            let settled = policy.settled(Chain::Access, &event, &Facts::default(), known);
            settled.map(|d| d.rule.unwrap_or("default").to_owned())
        };
        // The agent may be a bad one.
        assert_eq!(rule(Message::Connect, "192.0.2.1", of_peer), None);
        assert_eq!(rule(Message::Connect, "192.0.2.1", said).as_deref(), Some("outsiders"));
        assert_eq!(rule(Message::Query, "10.0.0.1", said), None);
        assert_eq!(rule(Message::Ping, "10.0.0.1", said).as_deref(), Some("default"));
        assert_eq!(rule(Message::Push, "10.0.0.1", said).as_deref(), Some("default"));
    }

    proptest! {
        /// What is settled is what is decided once all is known.
        #[test]
        fn settled_is_decided(
            message in 0..Message::ALL.len(), inbound: bool, near: bool, bad: bool, leaf: bool, hot: bool, mp3: bool,
            cpu: Option<f64>, known in prop::collection::vec(0_u8..30, 0..12),
        ) {
            let policy = policy();
            let event = Event {
                message: Message::ALL[message],
                direction: if inbound { Direction::Inbound } else { Direction::Outbound },
                peer: Peer {
                    address: (if near { "10.1.1.1" } else { "192.0.2.1" }).parse().ok(),
                    user_agent: if bad { "Bad/1" } else { "Good/1" },
                    group: Some(if leaf { "leaf" } else { "ultrapeer" }),
                    ..Peer::default()
                },
                content: Content {
                    text: if hot { "the walrus" } else { "the whale" },
                    file_type: Some(if mp3 { "mp3" } else { "ogg" }),
                    ..Content::default()
                },
                ..Event::default()
            };
            let mut facts = Facts::default();
            if let Some(cpu) = cpu {
                facts.set(Fact::CPU, cpu);
            }
            let known: FactSet = known.into_iter().map(Fact).collect();
            let decided = policy.decide(Chain::Access, &event, &facts);
            // Hidden from it, what it says it does not know makes no difference.
            let mut seen = event.clone();
            if !known.contains(Fact::ADDRESS) {
                seen.peer.address = None;
            }
            if !known.contains(Fact::AGENT) {
                seen.peer.user_agent = "";
            }
            if !known.contains(Fact::GROUP) {
                seen.peer.group = None;
            }
            if !known.contains(Fact::TEXT) {
                seen.content.text = "";
            }
            if !known.contains(Fact::FILE_TYPE) {
                seen.content.file_type = None;
            }
            let hidden = Facts::default();
            let seen_facts = if known.contains(Fact::CPU) { &facts } else { &hidden };
            if let Some(settled) = policy.settled(Chain::Access, &seen, seen_facts, known) {
                prop_assert_eq!((settled.rule, settled.action, settled.outcome), (decided.rule, decided.action, decided.outcome));
                prop_assert_eq!(settled.shadow, decided.shadow);
            }
        }
    }
}
