//! What the policy says about a service, asked where the service cannot get round it: at its sockets, and by the
//! proxylet itself (`policy`).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use policies::event::{Content, Direction, Figures, Message, Peer};
use policies::facts::{FACTS, Fact, FactSet, Facts};
use policies::{Action, Chain, Decision, Event};

use crate::host::log::LogGate;
use crate::host::net::shape::UNCLASSED;
use crate::policy::audit::Sampler;
use crate::policy::facts::Taker;
use crate::policy::service::{InForce, ServicePolicy};

/// How long facts of the node and the time hold, nanoseconds.
const FACTS_NS: u64 = 1_000_000_000;

/// The share of the uplink from which on it is full.
const UPLINK_FULL: f64 = 0.95;

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Verdict {
    Go = 0,
    Deny = 1,
    Drop = 2,
    /// It depends on what is not known yet.
    Ask = 3,
}

impl Verdict {
    fn of(decision: &Decision<'_>) -> Self {
        match decision.action {
            Action::Deny { .. } if decision.enforced => Self::Deny,
            Action::Drop { .. } if decision.enforced => Self::Drop,
            _ => Self::Go,
        }
    }
}

/// What a proxylet has said of the peer at the other end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Met {
    pub(crate) group: String,
    pub(crate) user_agent: String,
}

impl Met {
    pub(crate) fn peer(&self, address: Option<IpAddr>) -> Peer<'_> {
        let group = (!self.group.is_empty()).then_some(self.group.as_str());
        Peer { address, asn: None, group, user_agent: &self.user_agent }
    }
}

/// A service's end of its policy: one generation at a time, and the facts beside it.
#[derive(Debug)]
pub(crate) struct Enforcer {
    source: Arc<ServicePolicy>,
    now: Option<Arc<InForce>>,
    /// What was in force before: what was settled by it is counted a moment later.
    former: Option<Arc<InForce>>,
    /// Whether the proxylet asks by itself: then what a peer says of itself is for it to tell.
    aware: bool,
    taker: Taker,
    facts: Facts,
    facts_ns: Option<u64>,
    spent_ns: u64,
    /// The budgets that are used up, a bit each.
    used_up: u32,
    sampler: Sampler,
    /// Whether it was told that a condition could not be evaluated.
    told_failure: bool,
}

impl Enforcer {
    pub(crate) fn new(source: Arc<ServicePolicy>, aware: bool) -> Self {
        source.set_asked(aware);
        Self {
            now: source.current(),
            source,
            former: None,
            aware,
            taker: Taker::default(),
            facts: Facts::default(),
            facts_ns: None,
            spent_ns: 0,
            used_up: 0,
            sampler: Sampler::default(),
            told_failure: false,
        }
    }

    /// Takes over the generation in force; its number.
    pub(crate) fn refresh(&mut self) -> u64 {
        self.former = std::mem::replace(&mut self.now, self.source.current());
        self.facts_ns = None;
        self.told_failure = false;
        self.generation()
    }

    /// Whether the proxylet is told of new generations.
    pub(crate) fn is_aware(&self) -> bool {
        self.aware
    }

    /// Says whether the proxylet asks by itself.
    pub(crate) fn set_aware(&mut self, aware: bool) {
        self.aware = aware;
        self.source.set_asked(aware);
    }

    pub(crate) fn generation(&self) -> u64 {
        self.now.as_ref().map_or(0, |now| now.policy().generation())
    }

    pub(crate) fn in_force(&self) -> Option<Arc<InForce>> {
        self.now.clone()
    }

    /// The policy of a generation: the one in force, or the one before.
    pub(crate) fn of_generation(&self, generation: u64) -> Option<&InForce> {
        [&self.now, &self.former]
            .into_iter()
            .flatten()
            .find(|f| f.policy().generation() == generation)
            .map(|f| &**f)
    }

    fn take_facts(&mut self, now_ns: u64, connections: usize) {
        if let Some(now) = &self.now
            && self.facts_ns.is_none_or(|at| now_ns.saturating_sub(at) >= FACTS_NS)
        {
            self.facts = self.taker.take(now.policy(), now_ns, connections);
            self.source.add_shares(now.policy(), &mut self.facts);
            self.facts_ns = Some(now_ns);
        }
    }

    /// Notes a decision where it belongs: in the counts, on record, in the log.
    fn note(&mut self, at: At<'_>, decision: &Decision<'_>, event: &Event<'_>) -> Verdict {
        let Some(now) = &self.now else { return Verdict::Go };
        now.count(decision);
        if let Some(skipped) = self.sampler.take(at.now_ns, decision) {
            self.source.audit().write(now.policy(), decision, event, &self.facts, skipped);
        }
        if let Some(failed) = &decision.failed {
            self.source.failed();
            if !std::mem::replace(&mut self.told_failure, true) {
                at.log.node_warn(&format!(
                    "the condition of the rule `{}` cannot be evaluated, its `fail` decides: {}",
                    failed.rule,
                    failed.why.words(now.policy().budget_names())
                ));
            }
        }
        Verdict::of(decision)
    }

    /// Decides an event, and counts it.
    pub(crate) fn decide(&mut self, at: At<'_>, chain: Chain, event: &Event<'_>) -> (Verdict, u32) {
        self.take_facts(at.now_ns, at.connections);
        let Some(now) = self.now.clone() else { return (Verdict::Go, u32::MAX) };
        let decision = now.policy().decide(chain, event, &self.facts);
        (self.note(at, &decision, event), decision.outcome)
    }

    /// What is settled about a peer's messages of one kind; not counted: who makes use of it does that.
    pub(crate) fn settled(
        &mut self,
        message: Message,
        direction: Direction,
        peer: Peer<'_>,
    ) -> (Verdict, u32) {
        let Some(now) = &self.now else { return (Verdict::Go, u32::MAX) };
        let event = Event { message, direction, peer, ..Event::default() };
        match now.policy().settled(Chain::Access, &event, &self.facts, of_peers()) {
            Some(decision) => (Verdict::of(&decision), decision.outcome),
            None => (Verdict::Ask, u32::MAX),
        }
    }

    /// The same for a connection that is there or asked for: everything that counts is known.
    pub(crate) fn connects(
        &mut self,
        at: At<'_>,
        direction: Direction,
        peer: Peer<'_>,
        from_there: u32,
    ) -> (Verdict, u32) {
        self.take_facts(at.now_ns, at.connections);
        let Some(now) = self.now.clone() else { return (Verdict::Go, u32::MAX) };
        let event = connect(direction, peer, from_there);
        let decision = now.policy().decide(Chain::Access, &event, &self.facts);
        if decision.failed.is_some() || !matches!(Verdict::of(&decision), Verdict::Go) {
            self.note(at, &decision, &event);
        }
        (Verdict::of(&decision), decision.outcome)
    }

    /// The budgets that a peer's traffic counts against, a bit each by their places.
    pub(crate) fn budgets_of(&self, address: IpAddr, met: Option<&Met>) -> u32 {
        let Some(now) = self.now.as_ref().filter(|now| !now.policy().budgets().is_empty()) else { return 0 };
        let nobody = Met::default();
        let peer = met.unwrap_or(&nobody).peer(Some(address.to_canonical()));
        let event = Event { peer, ..Event::default() };
        now.policy().counts_against(&event).fold(0, |all, place| all | 1 << place)
    }

    /// Whether there is anything that [`Self::spend`] looks at.
    pub(crate) fn has_traffic(&self) -> bool {
        self.now.as_ref().is_some_and(|now| now.policy().speaks_of(Chain::Traffic))
    }

    /// The class of a peer's traffic, by its place in the policy; [`UNCLASSED`] for none. The decision is counted where
    /// it differs from the class that the peer is in.
    pub(crate) fn class_of(&mut self, at: At<'_>, asked: &Classed<'_>) -> u8 {
        let Some(now) = self.now.clone().filter(|now| !now.policy().classes().is_empty()) else {
            return UNCLASSED;
        };
        self.take_facts(at.now_ns, at.connections);
        let nobody = Met::default();
        let peer = asked.met.unwrap_or(&nobody).peer(Some(asked.address.to_canonical()));
        let event = connect(asked.direction, peer, asked.from_there);
        let decision = now.policy().decide(Chain::Traffic, &event, &self.facts);
        let place = match decision.action {
            Action::Class(name) if decision.enforced => {
                now.policy().classes().iter().position(|class| class.name.value == *name)
            }
            _ => None,
        };
        let class = place.and_then(|place| u8::try_from(place).ok()).unwrap_or(UNCLASSED);
        if asked.is_in != Some(class) {
            self.note(at, &decision, &event);
        }
        class
    }

    /// Whether the node's uplink is known to be full: then classes get what they are sure to get, and no more.
    pub(crate) fn is_uplink_full(&mut self, at: At<'_>) -> bool {
        self.take_facts(at.now_ns, at.connections);
        self.facts.get(Fact::UPLINK).is_some_and(|used| used >= UPLINK_FULL)
    }

    /// Whether classes may change as time goes by, and not only with budgets.
    pub(crate) fn classes_vary(&self) -> bool {
        self.now.as_ref().is_some_and(|now| {
            let stays = of_peers().and([Fact::MESSAGE, Fact::DIRECTION].into_iter().collect());
            let needs = now.policy().needs(Chain::Traffic, Message::Connect);
            !now.policy().classes().is_empty()
                && needs.iter().any(|fact| fact.budget_index().is_none() && !stays.contains(fact))
        })
    }

    /// Counts bytes against budgets, by their places; whether other budgets are used up now than before. None where the
    /// last count is less than a second ago.
    pub(crate) fn spend(&mut self, now_ns: u64, bytes: &mut Vec<u64>) -> Option<bool> {
        let now = self.now.as_ref()?;
        if now_ns.saturating_sub(self.spent_ns) < FACTS_NS {
            return None;
        }
        self.spent_ns = now_ns;
        let used_up = self.source.spend(now.policy(), bytes);
        bytes.clear();
        // What was known a moment ago no longer holds.
        self.facts_ns = None;
        Some(std::mem::replace(&mut self.used_up, used_up) != used_up)
    }

    /// Whether a connection may be, as far as the address alone tells: so much a proxylet cannot dodge. What depends
    /// on what the peer says of itself is left to a proxylet that asks.
    pub(crate) fn admits(
        &mut self,
        at: At<'_>,
        direction: Direction,
        address: SocketAddr,
        met: Option<&Met>,
        from_there: u32,
    ) -> bool {
        if self.now.is_none() {
            return true;
        }
        self.take_facts(at.now_ns, at.connections);
        let Some(now) = self.now.clone() else { return true };
        let nobody = Met::default();
        let peer = met.unwrap_or(&nobody).peer(Some(address.ip().to_canonical()));
        let event = connect(direction, peer, from_there);
        let known = if self.aware && met.is_none() { before_it_speaks() } else { all() };
        let Some(decision) = now.policy().settled(Chain::Access, &event, &self.facts, known) else {
            return true;
        };
        let traffic = now
            .policy()
            .budgets()
            .iter()
            .any(|b| matches!(b.then, Action::Deny { .. }))
            .then(|| now.policy().decide(Chain::Traffic, &event, &self.facts));
        // Whose budget is used up gets and gives no more.
        if let Some(used_up) = traffic.filter(|d| Verdict::of(d) != Verdict::Go) {
            self.note(at, &used_up, &event);
            return false;
        }
        // A proxylet that asks counts those that are let in.
        let goes = Verdict::of(&decision) == Verdict::Go;
        if !goes || (!self.aware && met.is_none()) {
            self.note(at, &decision, &event);
        }
        goes
    }
}

/// When and where a question is asked.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) now_ns: u64,
    /// Connections of the service.
    pub(crate) connections: usize,
    pub(crate) log: &'a LogGate,
}

/// Whose class is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Classed<'a> {
    pub(crate) direction: Direction,
    pub(crate) address: IpAddr,
    pub(crate) met: Option<&'a Met>,
    /// Connections from and to that address.
    pub(crate) from_there: u32,
    /// The class that the connection is in; none for datagrams.
    pub(crate) is_in: Option<u8>,
}

fn connect<'a>(direction: Direction, peer: Peer<'a>, from_there: u32) -> Event<'a> {
    let figures = Figures { peer_connections: Some(from_there), ..Figures::default() };
    Event {
        message: Message::Connect,
        direction,
        peer,
        content: Content::default(),
        figures,
        ..Event::default()
    }
}

/// Every fact: what has no value has none later either.
fn all() -> FactSet {
    (0..128).map(Fact).collect()
}

/// All but what a peer says of itself.
fn before_it_speaks() -> FactSet {
    (0..128).map(Fact).filter(|fact| !matches!(*fact, Fact::GROUP | Fact::AGENT)).collect()
}

/// What stays as it is for as long as a peer is connected. Where the peer is and how its link does nobody knows, and
/// nobody will.
fn of_peers() -> FactSet {
    const STAYS: [Fact; 5] = [Fact::ADDRESS, Fact::GROUP, Fact::AGENT, Fact::ASN, Fact::REGION];
    debug_assert!(STAYS.iter().all(|fact| usize::from(fact.0) < FACTS.len()));
    STAYS.into_iter().chain([Fact::LINK]).collect()
}
