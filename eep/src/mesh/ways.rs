//! Ways to other nodes: which neighbour leads there best, and whether it is time for an open stream to take another one.
//!
//! A stream leaves its way for one that costs less by half and by [`DETOUR_GAIN_US`], or for the link to its target where a
//! detour gains nothing any more. What keeps it from going to and fro: links are quick to cost more and slow to cost less
//! again (`topology::soar::link`), and a way that was left since it had come to cost more is not gone back to for [`REST`], and for twice as long each time
//! that it is left again soon.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quinn::Connection;
use tokio::time::Instant as Clock;
use topology::NodeId;
use topology::soar::{Metric, Route};

use crate::mesh::core::Core;

/// Ways to a node that are tried.
const WAYS_MAX: usize = 4;
/// Levels of regions (`topology::soar::Config::near`), and one.
const LEVELS_MAX: usize = 8;
/// A stream goes round a link that answers where it gains at least so much of the round trip, in microseconds.
const DETOUR_GAIN_US: u64 = 2_000;
/// A way that was left since it had come to cost more is not gone back to for this time...
const REST: Duration = Duration::from_secs(10);
/// ...and at most for this one, where it was left several times.
const REST_MAX: Duration = Duration::from_secs(160);
/// Ways that were left and are remembered.
const RESTING_MAX: usize = 4096;
/// Targets whose routes are remembered until the map changes.
const ROUTES_MAX: usize = 4096;

/// A way that was left.
#[derive(Clone, Copy, Debug)]
struct Resting {
    until: Clock,
    pause: Duration,
}

/// How a way in use compares with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compared {
    /// What it costs now, in microseconds; none where it is not among the best ones any more.
    pub(super) cost_us: Option<u64>,
    /// Whether another one is to be taken.
    pub(super) leave: bool,
}

impl Compared {
    /// Whether it costs more than it did, by more than measurements waver.
    pub(super) fn has_risen(&self, from_us: u64) -> bool {
        self.cost_us.is_none_or(|now| costs_more(now, from_us))
    }
}

fn costs_more(now_us: u64, than_us: u64) -> bool {
    now_us > than_us.saturating_add(DETOUR_GAIN_US.max(than_us / 2))
}

/// What is remembered of ways.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// Routes as the map has them now.
    routes: BTreeMap<NodeId, Vec<Route>>,
    /// Ways that were left, by target and neighbour.
    resting: BTreeMap<(NodeId, NodeId), Resting>,
}

impl Ways {
    /// The map has changed.
    pub(super) fn forget_routes(&mut self) {
        self.routes.clear();
    }

    fn is_resting(&self, now: Clock, to: NodeId, via: NodeId) -> bool {
        self.resting.get(&(to, via)).is_some_and(|resting| now < resting.until)
    }

    /// A stream has left this way. Others that leave it meanwhile do not make its rest longer.
    fn rest(&mut self, now: Clock, to: NodeId, via: NodeId) {
        if self.is_resting(now, to, via) {
            return;
        }
        let again = |old: &Resting| now < old.until + old.pause * 2;
        let pause = match self.resting.get(&(to, via)).filter(|old| again(old)) {
            Some(old) => (old.pause * 2).min(REST_MAX),
            None => REST,
        };
        if self.resting.len() >= RESTING_MAX {
            self.resting.retain(|_, old| again(old));
        }
        if self.resting.len() < RESTING_MAX {
            self.resting.insert((to, via), Resting { until: now + pause, pause });
        }
    }
}

impl Core {
    /// Ways to a node, the best first: the neighbour to go to, and its connection. Nodes to avoid are not gone to.
    pub(super) fn ways(
        &mut self,
        to: NodeId,
        locator: &[NodeId],
        avoid: &[NodeId],
    ) -> Vec<(NodeId, Connection)> {
        let mut ways = self.ways_by_cost(to, locator);
        ways.retain(|(hop, _)| !avoid.contains(hop));
        let connected = |(hop, _)| Some((hop, self.links.get(&hop)?.connection.clone()));
        ways.into_iter().filter_map(connected).collect()
    }

    /// Whether a way to a node is better than the one over this neighbour, by more than measurements waver, and was not
    /// left of late.
    pub(super) fn compare_way(&mut self, now: Clock, to: NodeId, via: NodeId, avoid: &[NodeId]) -> Compared {
        let mut ways = self.ways_by_cost(to, &[]);
        ways.retain(|(hop, _)| *hop == via || !(avoid.contains(hop) || self.ways.is_resting(now, to, *hop)));
        let cost_us = ways.iter().find(|(hop, _)| *hop == via).map(|(_, cost)| *cost);
        let best = ways.first().filter(|(first, cost)| *first != via && *cost < u64::MAX);
        // A detour that is not worth it any more is left.
        let leave = best
            .is_some_and(|&(first, best)| first == to || cost_us.is_none_or(|cost| costs_more(cost, best)));
        Compared { cost_us, leave }
    }

    /// A stream leaves this way since it has come to cost more.
    pub(super) fn rest_way(&mut self, now: Clock, to: NodeId, via: NodeId) {
        self.ways.rest(now, to, via);
    }

    /// The neighbours that lead to a node, the best first, each once, with what the way costs in microseconds.
    fn ways_by_cost(&mut self, to: NodeId, locator: &[NodeId]) -> Vec<(NodeId, u64)> {
        let mut next: Vec<(NodeId, u64)> = Vec::new();
        let routes = self.routes(to, locator);
        let best = routes.first().map(|route| route.cost);
        for route in routes {
            let Some(&hop) = route.nodes.get(1) else { continue };
            if self.soar.links().contains_key(&hop) {
                next.push((hop, route.cost));
            } else {
                next.extend(self.neighbour_towards(hop).map(|hop| (hop, route.cost)));
            }
        }
        // A detour has to be worth the node that it burdens.
        if let (Some(direct), Some(best)) = (self.direct_us(to), best)
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
    fn neighbour_towards(&mut self, to: NodeId) -> Option<NodeId> {
        let mut hop = to;
        for _ in 0..LEVELS_MAX {
            if self.soar.links().contains_key(&hop) {
                return Some(hop);
            }
            hop = self.routes(hop, &[]).first()?.nodes.get(1).copied()?;
        }
        None
    }

    fn routes(&mut self, to: NodeId, locator: &[NodeId]) -> Vec<Route> {
        if !locator.is_empty() {
            return self.soar.routes(Metric::RoundTrip, to, locator, WAYS_MAX);
        }
        if let Some(known) = self.ways.routes.get(&to) {
            return known.clone();
        }
        let found = self.soar.routes(Metric::RoundTrip, to, &[], WAYS_MAX);
        if self.ways.routes.len() < ROUTES_MAX {
            self.ways.routes.insert(to, found.clone());
        }
        found
    }

    /// What the link to a neighbour costs: the worse of what its two ends measure, since each sees what is lost on the way
    /// out.
    fn direct_us(&self, to: NodeId) -> Option<u64> {
        let ours = self.soar.links().get(&to).and_then(|link| link.cost_us())?;
        let theirs = self.soar.graph(0).and_then(|level| level.get(&to)?.edge(self.me()));
        Some(u64::from(ours.max(theirs.map_or(0, |edge| edge.rtt_us))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_that_was_left_rests_longer_each_time_and_is_forgotten_at_last() {
        let [to, via] = [b"to", b"by"].map(|key| NodeId::of_public_key(key));
        let (mut ways, zero) = (Ways::default(), Clock::now());
        let mut now = zero;
        let mut rests = Vec::new();
        for _ in 0..6 {
            ways.rest(now, to, via);
            // Another stream that leaves it, too.
            ways.rest(now, to, via);
            let from = now;
            while ways.is_resting(now, to, via) {
                now += Duration::from_secs(1);
            }
            rests.push((now - from).as_secs());
        }
        assert_eq!(rests, [10, 20, 40, 80, 160, 160]);
        now += Duration::from_secs(400);
        ways.rest(now, to, via);
        assert!(!ways.is_resting(now + REST, to, via));
    }
}
