//! The policy's word on where queries go, and on how many neighbours there are.

use std::collections::BTreeMap;

use rand_chacha::rand_core::Rng;

use super::VirtualPeer;
use crate::application::dynamic_query::Candidate;
use crate::application::forward::{Condition, Forward};
use crate::application::policy::{Asked, Message, Plan, Questions, Region, Verdict, Way};
use crate::application::routes::LinkId;
use crate::host::{ConnId, Host};
use crate::link::{Ending, Role};

/// Outcomes whose words are kept. Beyond it all are forgotten, and asked for anew.
const KNOWN_MAX: usize = 4_096;
/// Neighbours that are given up in one second, where there are too many.
const SHED_MAX: usize = 4;

/// What the generation in force says.
#[derive(Debug, Default)]
pub(super) struct Forwarding {
    pub(super) plan: Plan,
    known: BTreeMap<u32, Option<Forward>>,
    /// Whether neighbours are looked for until there are as many as are aimed at.
    seeking: bool,
}

/// What becomes of a query that may come in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Course {
    /// It goes where standard rules say.
    Standard,
    /// It goes where the policy says.
    Forward(Forward),
    /// It goes nowhere.
    Refused,
}

impl Course {
    /// What the policy says, where it lets it go.
    pub(super) fn forward(self) -> Option<Forward> {
        match self {
            Self::Forward(forward) => Some(forward),
            Self::Standard | Self::Refused => None,
        }
    }
}

impl VirtualPeer {
    /// Learns what the generation in force says of routes and neighbours.
    pub(super) fn learn_plan(&mut self, host: &mut impl Host) {
        let plan = match host.policy() {
            Some(policy) if self.policing.is_on() => policy.plan(),
            _ => Plan::default(),
        };
        self.forwarding = Forwarding { plan, ..Forwarding::default() };
        self.identity.degree = self.ultrapeers_max().max(super::DEGREE_SAID_MIN);
        self.survey(host);
    }

    /// Whether the policy decides where queries go.
    #[inline]
    pub(super) fn forwards_by_policy(&self) -> bool {
        self.forwarding.plan.routes && self.policing.is_on()
    }

    /// Hops that a query may go from its origin.
    pub(super) fn max_ttl(&self) -> u8 {
        let own = self.config.max_ttl;
        self.forwarding.plan.path_length.map_or(own, |most| most.min(own))
    }

    /// Decides where queries go: one course for each, asked for in one crossing.
    pub(super) fn courses(&mut self, asked: &[Asked<'_>], host: &mut impl Host) -> Vec<Course> {
        if asked.is_empty() || !self.forwards_by_policy() {
            return vec![Course::Standard; asked.len()];
        }
        let mut questions = Questions::default();
        let rows: Vec<_> = asked
            .iter()
            .map(|asked| {
                let first = questions.len();
                first..first + questions.push(asked)
            })
            .collect();
        let Some(policy) = host.policy() else { return vec![Course::Standard; asked.len()] };
        let answer = policy.route(&questions);
        let known = &mut self.forwarding.known;
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        rows.into_iter()
            .map(|rows| {
                let rows = answer.decisions.get(rows).unwrap_or_default();
                // A query goes where all that it names may go.
                if rows.iter().any(|d| matches!(d.verdict, Verdict::Deny | Verdict::Drop)) {
                    return Course::Refused;
                }
                let Some(first) = rows.first() else { return Course::Standard };
                let forward = *known.entry(first.outcome).or_insert_with(|| policy.forward(first.outcome));
                forward.map_or(Course::Standard, Course::Forward)
            })
            .collect()
    }

    /// Where a leaf's query goes that is under way, under another generation than when it began.
    pub(super) fn course_of_leaf(&mut self, leaf: LinkId, payload: &[u8], host: &mut impl Host) -> Course {
        let conn = self.table.by_id(leaf).map_or(ConnId(0), |relation| relation.link.conn);
        let ttl = self.max_ttl();
        let asked = Asked { conn, message: Message::Query, way: Way::In, ttl, hops: 0, rate: 0.0, payload };
        self.courses(&[asked], host).first().copied().unwrap_or(Course::Standard)
    }

    /// Leaves out, orders and bounds the neighbours that may get a query.
    pub(super) fn obey(&mut self, forward: &Forward, neighbours: &mut Vec<Candidate>) {
        let now = self.now;
        forward.choose(neighbours, |candidate| match self.table.by_id_ref(candidate.link) {
            Some(relation) => Condition {
                load: relation.link.flow.fill(),
                loss: relation.link.monitor.loss(),
                sent_bytes_s: relation.link.monitor.sent.bytes_per_second(now),
                region: relation.policed.as_ref().map_or(Region::Unknown, |policed| policed.region),
            },
            None => Condition::default(),
        });
    }

    /// Begins at a random one, so that not always the same are among the first.
    pub(super) fn shuffle(&mut self, neighbours: &mut [Candidate]) {
        if !neighbours.is_empty() {
            let first = self.rng.next_u32() as usize % neighbours.len();
            neighbours.rotate_left(first);
        }
    }

    /// Ultrapeer neighbours that there may be.
    pub(super) fn ultrapeers_max(&self) -> u16 {
        let own = self.config.ultrapeers;
        self.forwarding.plan.degree.map_or(own, |degree| u16::try_from(degree.max).unwrap_or(own).min(own))
    }

    /// Ultrapeer neighbours that are to be looked for now. Below the policy's least number they are looked for until
    /// there are as many as it aims at.
    pub(super) fn ultrapeers_wanted(&mut self) -> u32 {
        let (now, own) = (self.table.count(Role::Ultrapeer), u32::from(self.config.ultrapeers));
        let Some(degree) = self.forwarding.plan.degree else { return own.saturating_sub(now) };
        self.forwarding.seeking = now < degree.target && (self.forwarding.seeking || now < degree.min);
        if self.forwarding.seeking { degree.target.min(own).saturating_sub(now) } else { 0 }
    }

    /// Gives up neighbours where there are more than the policy lets be: those first whose links cost most, by the policy
    /// or else by their round trip; configured ones last.
    pub(super) fn shed(&mut self) {
        let Some(degree) = self.forwarding.plan.degree else { return };
        let (now, priced) = (self.table.count(Role::Ultrapeer), self.forwarding.plan.links);
        if now <= degree.max {
            return;
        }
        let too_many = (now - degree.target.min(now)) as usize;
        let rank = |index: &u32| {
            let relation = self.table.get(*index)?;
            let kept = relation.address.is_some_and(|address| self.config.connect.contains(&address));
            let round_trip =
                || relation.link.monitor.round_trip.smoothed().map(|rtt| rtt.as_secs_f64() * 1e3);
            let cost = relation.policed.as_ref().filter(|_| priced).and_then(|policed| policed.cost);
            let is_ultrapeer = relation.link.terms.role == Role::Ultrapeer;
            is_ultrapeer.then_some((!kept, cost.or_else(round_trip).unwrap_or(f64::INFINITY), *index))
        };
        let mut ranked: Vec<_> = self.table.neighbours().iter().filter_map(rank).collect();
        for _ in 0..too_many.min(SHED_MAX) {
            let last = (0..ranked.len()).max_by(|&a, &b| {
                let (a, b): (&(bool, f64, u32), &(bool, f64, u32)) = (&ranked[a], &ranked[b]);
                (a.0.cmp(&b.0)).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2))
            });
            let Some(last) = last else { break };
            let (_, _, index) = ranked.swap_remove(last);
            self.end(index, Ending::Replaced);
        }
    }
}
