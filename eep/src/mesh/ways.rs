//! Ways to other nodes: which neighbour leads there best, and whether it is time for an open stream to take another one.
//!
//! A stream leaves its way for one that costs less by half and by [`DETOUR_GAIN_US`], or for the link to its target where a
//! detour gains nothing any more. What keeps it from going to and fro: links are quick to cost more and slow to cost less
//! again (`topology::soar::link`); a way that was left since it had come to cost more rests ([`Rests`]); and a stream that
//! carries much does not go where it would not be carried faster, since the queue that it fills would come with it.

use std::collections::{BTreeMap, BTreeSet};

use quinn::Connection;
use tokio::time::Instant as Clock;
use topology::NodeId;
use topology::soar::view::believed;
use topology::soar::{Metric, Route, Soar};

use crate::mesh::core::Core;
use crate::mesh::rests::Rests;

/// Ways to a node that are tried.
const WAYS_MAX: usize = 4;
/// Levels of regions (`topology::soar::Config::near`), and one.
const LEVELS_MAX: usize = 8;
/// A stream goes round a link that answers where it gains at least so much of the round trip, in microseconds.
const DETOUR_GAIN_US: u64 = 2_000;
/// A stream that carries more than this, in kbit/s, may fill the queue of its way by itself.
const BULK_KBPS: u32 = 256;
/// Targets whose routes are remembered until the map changes.
const ROUTES_MAX: usize = 4096;

/// The way of an open stream, and how it has done on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct InUse {
    /// The neighbour that it leaves by.
    pub(super) via: NodeId,
    /// The least that it has cost since it was taken, in microseconds; `u64::MAX` where that is not known.
    pub(super) least_us: u64,
    /// How much the stream carries, in kbit/s.
    pub(super) carries_kbps: u32,
}

/// How a way in use compares with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compared {
    /// What it costs now, in microseconds; none where it is not among the best ones any more.
    pub(super) cost_us: Option<u64>,
    /// Whether it costs more than it did, by more than measurements waver.
    has_risen: bool,
    /// The neighbour of the way that is to be taken instead, if any.
    pub(super) next: Option<NodeId>,
}

fn costs_more(now_us: u64, than_us: u64) -> bool {
    now_us > than_us.saturating_add(DETOUR_GAIN_US.max(than_us / 2))
}

/// What is remembered of ways.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// Routes as the map has them now.
    routes: BTreeMap<NodeId, Vec<Route>>,
    rests: Rests,
}

impl Ways {
    /// The map has changed.
    pub(super) fn forget_routes(&mut self) {
        self.routes.clear();
    }

    /// How the way in use compares with others, which lead over none of those to avoid.
    fn compare(
        &mut self,
        now: Clock,
        soar: &mut Soar,
        to: NodeId,
        in_use: InUse,
        avoid: &[NodeId],
    ) -> Compared {
        let InUse { via, least_us, carries_kbps } = in_use;
        let mut ways = self.by_cost(soar, to, &[]);
        let cost_us = ways.iter().find(|(hop, _)| *hop == via).map(|(_, cost)| *cost);
        let has_risen = cost_us.is_none_or(|now| costs_more(now, least_us));
        let rests = |hop: NodeId| match has_risen {
            // Of two bad ways the one that has become better again.
            true => self.rests.has_to_rest(now, to, hop),
            false => self.rests.is_resting(now, to, hop),
        };
        ways.retain(|(hop, _)| *hop == via || !(avoid.contains(hop) || rests(*hop)));
        let best = ways.first().filter(|(first, cost)| *first != via && *cost < u64::MAX);
        // A detour that is not worth it any more is left.
        let better =
            best.filter(|(first, best)| *first == to || cost_us.is_none_or(|cost| costs_more(cost, *best)));
        let next = better.map(|(first, _)| *first);
        let next = next.filter(|&next| {
            // What does not answer carries nothing.
            let bulk = cost_us.is_some_and(|cost| cost < u64::MAX) && carries_kbps >= BULK_KBPS;
            // To leave a detour it is enough not to lose by it.
            let times = if next == to && !has_risen { 1 } else { 2 };
            let wanted_kbps = carries_kbps.saturating_mul(times);
            !bulk || self.carries_kbps(soar, to, next).is_none_or(|kbps| kbps >= wanted_kbps)
        });
        Compared { cost_us, has_risen, next }
    }

    /// A stream leaves its way for another one.
    fn leave(&mut self, now: Clock, to: NodeId, in_use: InUse, compared: Compared, next: NodeId) {
        if in_use.least_us < u64::MAX && compared.has_risen {
            self.rests.rest(now, to, in_use.via);
        }
        self.rests.take_back(now, to, next);
    }

    /// What the way over a neighbour carries, in kbit/s, as far as it was measured.
    fn carries_kbps(&mut self, soar: &mut Soar, to: NodeId, via: NodeId) -> Option<u32> {
        if via == to {
            return soar.links().get(&to)?.throughput_kbps;
        }
        let routes = self.routes(soar, to, &[]);
        let way = routes.into_iter().find(|route| route.nodes.get(1) == Some(&via))?;
        let level = soar.graph(0)?;
        let hops = way.nodes.windows(2);
        hops.filter_map(|hop| believed(level, hop[0], hop[1])?.throughput_kbps).min()
    }

    /// The neighbours that lead to a node, the best first, each once, with what the way costs in microseconds.
    fn by_cost(&mut self, soar: &mut Soar, to: NodeId, locator: &[NodeId]) -> Vec<(NodeId, u64)> {
        let mut next: Vec<(NodeId, u64)> = Vec::new();
        let routes = self.routes(soar, to, locator);
        let best = routes.first().map(|route| route.cost);
        for route in routes {
            let Some(&hop) = route.nodes.get(1) else { continue };
            if soar.links().contains_key(&hop) {
                next.push((hop, route.cost));
            } else {
                next.extend(self.neighbour_towards(soar, hop).map(|hop| (hop, route.cost)));
            }
        }
        // A detour has to be worth the node that it burdens.
        if let (Some(direct), Some(best)) = (direct_us(soar, to), best)
            && best + DETOUR_GAIN_US > direct
        {
            next.insert(0, (to, direct));
        }
        // A connection that is not measured, or was not yet.
        next.push((to, u64::MAX));
        let mut seen = BTreeSet::new();
        next.retain(|(hop, _)| seen.insert(*hop));
        next
    }

    /// The neighbour that leads to a gateway of our region, or to a node behind one: the way there is known hop by hop,
    /// through one level of regions after the other.
    fn neighbour_towards(&mut self, soar: &mut Soar, to: NodeId) -> Option<NodeId> {
        let mut hop = to;
        for _ in 0..LEVELS_MAX {
            if soar.links().contains_key(&hop) {
                return Some(hop);
            }
            hop = self.routes(soar, hop, &[]).first()?.nodes.get(1).copied()?;
        }
        None
    }

    fn routes(&mut self, soar: &mut Soar, to: NodeId, locator: &[NodeId]) -> Vec<Route> {
        if !locator.is_empty() {
            return soar.routes(Metric::RoundTrip, to, locator, WAYS_MAX);
        }
        if let Some(known) = self.routes.get(&to) {
            return known.clone();
        }
        let found = soar.routes(Metric::RoundTrip, to, &[], WAYS_MAX);
        if self.routes.len() < ROUTES_MAX {
            self.routes.insert(to, found.clone());
        }
        found
    }
}

/// What the link to a neighbour costs: the worse of what its two ends measure, since each sees what is lost on the way
/// out.
fn direct_us(soar: &Soar, to: NodeId) -> Option<u64> {
    let ours = soar.links().get(&to).and_then(|link| link.cost_us())?;
    let theirs = soar.graph(0).and_then(|level| level.get(&to)?.edge(soar.me()));
    Some(u64::from(ours.max(theirs.map_or(0, |edge| edge.rtt_us))))
}

impl Core {
    /// Ways to a node, the best first: the neighbour to go to, and its connection. Nodes to avoid are not gone to.
    pub(super) fn ways(
        &mut self,
        to: NodeId,
        locator: &[NodeId],
        avoid: &[NodeId],
    ) -> Vec<(NodeId, Connection)> {
        let mut ways = self.ways.by_cost(&mut self.soar, to, locator);
        ways.retain(|(hop, _)| !avoid.contains(hop));
        let connected = |(hop, _)| Some((hop, self.links.get(&hop)?.connection.clone()));
        ways.into_iter().filter_map(connected).collect()
    }

    /// How the way of an open stream compares with others, which lead over none of those to avoid.
    pub(super) fn compare_way(
        &mut self,
        now: Clock,
        to: NodeId,
        in_use: InUse,
        avoid: &[NodeId],
    ) -> Compared {
        self.ways.compare(now, &mut self.soar, to, in_use, avoid)
    }

    /// A stream leaves its way for another one.
    pub(super) fn leave_way(
        &mut self,
        now: Clock,
        to: NodeId,
        in_use: InUse,
        compared: Compared,
        next: NodeId,
    ) {
        self.ways.leave(now, to, in_use, compared, next);
    }
}

#[cfg(test)]
mod tests;
