//! What the policy says about a service, asked where the service cannot get round it: at its sockets, and by the
//! proxylet itself (`policy`).

use std::net::IpAddr;
use std::sync::Arc;

use policies::event::{Content, Direction, Figures, Message, Peer, Region, Scope};
use policies::facts::{Fact, FactSet, Facts};
use policies::{Action, Chain, Decision, Event};

use crate::host::Env;
use crate::host::log::LogGate;
use crate::host::measured::Measured;
use crate::host::net::shape::UNCLASSED;
use crate::host::topology::Views;
use crate::policy::audit::Sampler;
use crate::policy::facts::{Counted, Taker, wanted};
use crate::policy::service::{InForce, ServicePolicy};
use crate::policy::systems::Systems;
use crate::policy::whereabouts::Regions;
use crate::proxylet::runtime::Runtime;

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

/// What is known of a peer and of the connection with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    /// Who has connected to whom.
    pub(crate) direction: Direction,
    pub(crate) address: Option<IpAddr>,
    /// The node that it is, where the connection came over the mesh.
    pub(crate) node: Option<&'a str>,
    pub(crate) met: Option<&'a Met>,
    pub(crate) measured: Option<&'a Measured>,
    /// Connections from and to that address.
    pub(crate) from_there: u32,
}

impl Known<'_> {
    /// A peer of whom no more is known than its address.
    pub(crate) fn at(direction: Direction, address: IpAddr, from_there: u32) -> Self {
        let address = Some(address.to_canonical());
        Self { direction, address, node: None, met: None, measured: None, from_there }
    }
}

/// A service's end of its policy: one generation at a time, and the facts beside it.
#[derive(Debug)]
pub(crate) struct Enforcer {
    source: Arc<ServicePolicy>,
    runtime: Arc<Runtime>,
    /// What the generation in force may ask about.
    reads: FactSet,
    systems: Option<Arc<Systems>>,
    /// Views of the mesh, while regions are asked for.
    views: Option<Views>,
    regions: Arc<Regions>,
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
    pub(crate) fn new(source: Arc<ServicePolicy>, aware: bool, runtime: Arc<Runtime>) -> Self {
        source.set_asked(aware);
        source.set_whereabouts(&runtime.whereabouts);
        let now = source.current();
        Self {
            reads: now.as_ref().map(|now| wanted(now.policy())).unwrap_or_default(),
            now,
            source,
            runtime,
            systems: None,
            views: None,
            regions: Arc::default(),
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
        self.reads = self.now.as_ref().map(|now| wanted(now.policy())).unwrap_or_default();
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

    fn take_facts(&mut self, at: At<'_>) {
        if let Some(now) = &self.now
            && self.facts_ns.is_none_or(|last| at.now_ns.saturating_sub(last) >= FACTS_NS)
        {
            self.facts = self.taker.take(self.reads, at.now_ns, at.counted);
            self.source.add_shares(now.policy(), &mut self.facts);
            self.facts_ns = Some(at.now_ns);
            self.look_around();
        }
    }

    /// Takes over what the node knows of where peers are, as far as the policy asks.
    fn look_around(&mut self) {
        self.systems = self.runtime.whereabouts.systems().filter(|_| self.reads.contains(Fact::ASN));
        if !self.reads.contains(Fact::REGION) {
            self.views = None;
            return;
        }
        if self.views.is_none() {
            self.views = self.runtime.outside().and_then(|outside| outside.views());
        }
        let view = self.views.as_ref().and_then(|views| views.borrow().clone());
        if let Some(view) = view.filter(|view| view.version != self.regions.version) {
            self.regions = self.runtime.whereabouts.regions(&view);
        }
    }

    /// Where a peer is.
    pub(crate) fn region(&mut self, at: At<'_>, known: &Known<'_>) -> Region {
        self.take_facts(at);
        self.regions.region(known.address, known.node)
    }

    /// What is known of a peer as an event: that it is connected, or wants to be.
    pub(crate) fn event<'a>(&self, known: &Known<'a>) -> Event<'a> {
        let asn = || self.systems.as_ref()?.table.get(known.address?);
        let said = |of: fn(&Met) -> &str| known.met.map(of).unwrap_or_default();
        let group = Some(said(|met| &met.group)).filter(|group| !group.is_empty());
        let figures = Figures { peer_connections: Some(known.from_there), ..Figures::default() };
        Event {
            message: Message::Connect,
            direction: known.direction,
            region: match self.reads.contains(Fact::REGION) {
                true => self.regions.region(known.address, known.node),
                false => Region::Unknown,
            },
            link: known.measured.map(Measured::state).unwrap_or_default(),
            peer: Peer { address: known.address, asn: asn(), group, user_agent: said(|met| &met.user_agent) },
            content: Content::default(),
            figures: known.measured.map_or(figures, |measured| measured.put(figures)),
        }
    }

    /// What a link costs, by the policy in force.
    pub(crate) fn cost(&mut self, at: At<'_>, known: &Known<'_>) -> Option<f64> {
        self.take_facts(at);
        let now = self.now.as_ref().filter(|now| !now.policy().is_shadow())?;
        let event = self.event(known);
        now.policy().link_cost()?.value(&Scope { event: &event, facts: &self.facts }).ok()
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
        self.take_facts(at);
        let Some(now) = self.now.clone() else { return (Verdict::Go, u32::MAX) };
        let decision = now.policy().decide(chain, event, &self.facts);
        (self.note(at, &decision, event), decision.outcome)
    }

    /// What is settled about a peer's messages of one kind; not counted: who makes use of it does that.
    pub(crate) fn settled(
        &mut self,
        message: Message,
        direction: Direction,
        known: &Known<'_>,
    ) -> (Verdict, u32) {
        let Some(now) = &self.now else { return (Verdict::Go, u32::MAX) };
        let event = Event { message, direction, ..self.event(known) };
        match now.policy().settled(Chain::Access, &event, &self.facts, of_peers()) {
            Some(decision) => (Verdict::of(&decision), decision.outcome),
            None => (Verdict::Ask, u32::MAX),
        }
    }

    /// The same for a connection that is there or asked for: everything that counts is known.
    pub(crate) fn connects(&mut self, at: At<'_>, known: &Known<'_>) -> (Verdict, u32) {
        self.take_facts(at);
        let Some(now) = self.now.clone() else { return (Verdict::Go, u32::MAX) };
        let event = self.event(known);
        let decision = now.policy().decide(Chain::Access, &event, &self.facts);
        if decision.failed.is_some() || !matches!(Verdict::of(&decision), Verdict::Go) {
            self.note(at, &decision, &event);
        }
        (Verdict::of(&decision), decision.outcome)
    }

    /// The budgets that a peer's traffic counts against, a bit each by their places.
    pub(crate) fn budgets_of(&mut self, at: At<'_>, known: &Known<'_>) -> u32 {
        self.take_facts(at);
        let Some(now) = self.now.as_ref().filter(|now| !now.policy().budgets().is_empty()) else { return 0 };
        now.policy().counts_against(&self.event(known)).fold(0, |all, place| all | 1 << place)
    }

    /// Whether there is anything that [`Self::spend`] looks at.
    pub(crate) fn has_traffic(&self) -> bool {
        self.now.as_ref().is_some_and(|now| now.policy().speaks_of(Chain::Traffic))
    }

    /// The class of a peer's traffic, by its place in the policy; [`UNCLASSED`] for none. The decision is counted where
    /// it differs from the class that the connection is in; datagrams are in none.
    pub(crate) fn class_of(&mut self, at: At<'_>, known: &Known<'_>, is_in: Option<u8>) -> u8 {
        let Some(now) = self.now.clone().filter(|now| !now.policy().classes().is_empty()) else {
            return UNCLASSED;
        };
        self.take_facts(at);
        let event = self.event(known);
        let decision = now.policy().decide(Chain::Traffic, &event, &self.facts);
        let place = match decision.action {
            Action::Class(name) if decision.enforced => {
                now.policy().classes().iter().position(|class| class.name.value == *name)
            }
            _ => None,
        };
        let class = place.and_then(|place| u8::try_from(place).ok()).unwrap_or(UNCLASSED);
        if is_in != Some(class) {
            self.note(at, &decision, &event);
        }
        class
    }

    /// Whether the node's uplink is known to be full: then classes get what they are sure to get, and no more.
    pub(crate) fn is_uplink_full(&mut self, at: At<'_>) -> bool {
        self.take_facts(at);
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
    pub(crate) fn admits(&mut self, at: At<'_>, known: &Known<'_>) -> bool {
        if self.now.is_none() {
            return true;
        }
        self.take_facts(at);
        let Some(now) = self.now.clone() else { return true };
        let event = self.event(known);
        let unmet = known.met.is_none();
        let facts = if self.aware && unmet { before_it_speaks() } else { all() };
        let Some(decision) = now.policy().settled(Chain::Access, &event, &self.facts, facts) else {
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
        if !goes || (!self.aware && unmet) {
            self.note(at, &decision, &event);
        }
        goes
    }
}

/// When and where a question is asked.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) now_ns: u64,
    pub(crate) counted: Counted,
    pub(crate) log: &'a LogGate,
}

impl<'a> At<'a> {
    /// Now, in a service.
    pub(crate) fn of(env: &'a Env) -> Self {
        Self { now_ns: env.clock.now_ns(), counted: Counted::of(&env.figures), log: &env.log }
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

/// What stays as it is for as long as a peer is connected, or another generation is in force. Where it is and how its link
/// does may change at any time.
fn of_peers() -> FactSet {
    const STAYS: [Fact; 4] = [Fact::ADDRESS, Fact::GROUP, Fact::AGENT, Fact::ASN];
    STAYS.into_iter().collect()
}
