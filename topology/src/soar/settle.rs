//! After something has changed: what do we report, who is in our region, who leads out of it, and whom does it concern?

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::rand_core::Rng;

use super::link::is_near;
use super::report::{Edge, Message, Report, Sealed};
use super::routes::{Map, Metric};
use super::view::{Level, edges_of, gateways, region_of};
use super::{Action, Held, Soar};
use crate::id::NodeId;
use crate::time::Instant;

/// A gateway's edge that its other end has not confirmed after so many probe intervals is passed over.
const CONFIRM_INTERVALS: u32 = 3;

impl Soar {
    /// Works on all that came in since the last time.
    pub(super) fn settle(&mut self, now: Instant) {
        self.settle_at = None;
        let before = (self.members.clone(), self.gateways.clone());
        let mut own: BTreeSet<(u8, NodeId)> = BTreeSet::new();
        let measured = self.measured_edges();
        self.say(now, 0, Some((self.me, measured)), &mut own);
        for level in 0..self.top() {
            let from: Vec<NodeId> = match level {
                0 => vec![self.me],
                _ => self.gateways[level - 1].values().map(|g| g.node).chain(self.at_work(level)).collect(),
            };
            self.members[level] = region_of(&self.levels[level], from);
            if level == 0 {
                self.members[0].insert(self.me);
            }
            if self.members[level] != before.0[level] {
                self.changed_at[level] = now;
            }
            let distrusted = self.unconfirmed(now, level);
            let members = &self.members[level];
            let above = &self.levels[level + 1];
            self.gateways[level] =
                gateways(&self.levels[level], members, above, &distrusted, self.config.yield_percent);
            let as_gateway = self.gateway_edges(now, level);
            let region = self.region_id(level);
            self.say(now, level + 1, as_gateway.map(|edges| (region, edges)), &mut own);
        }
        self.map = None;
        let heard = !self.fresh.is_empty() || !own.is_empty();
        self.pass_on(&before.0, own);
        let moved = before != (self.members.clone(), self.gateways.clone());
        if heard || moved {
            self.actions.push_back(Action::Changed);
        }
        if moved {
            // Our own reports name our regions.
            self.soon(now);
        }
    }

    /// Gateways of our region below that already report on this level.
    fn at_work(&self, level: usize) -> impl Iterator<Item = NodeId> + '_ {
        let working = move |m: &NodeId| self.levels[level].get(m).is_some_and(|r| !r.edges.is_empty());
        self.members[level - 1].iter().copied().filter(working)
    }

    fn measured_edges(&mut self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (peer, link) in &mut self.links {
            let Some(rtt_us) = link.report_us(self.config.change_percent) else { continue };
            let theirs = self.levels[0].get(peer);
            let region = theirs.map(|r| r.region);
            edges.push(Edge {
                to: *peer,
                rtt_us,
                throughput_kbps: link.throughput_kbps,
                near: link.near,
                region,
                inner: false,
                elected: false,
            });
        }
        edges.truncate(self.config.edges_max);
        edges
    }

    /// Claims of members about edges out of the region that the other end had time to confirm and did not.
    fn unconfirmed(&mut self, now: Instant, level: usize) -> BTreeSet<(NodeId, NodeId)> {
        let above = &self.levels[level + 1];
        let mut open = BTreeSet::new();
        for report in self.members[level].iter().filter_map(|m| above.get(m)) {
            let node = report.origin;
            let edges = report.edges.iter().filter(|e| !e.inner);
            let edges = edges.filter(|e| above.get(&e.to).is_none_or(|other| other.edge(node).is_none()));
            open.extend(edges.map(|e| (node, e.to)));
        }
        let since = &mut self.unconfirmed[level];
        since.retain(|claim, _| open.contains(claim));
        open.iter().for_each(|claim| _ = since.entry(*claim).or_insert(now));
        let patience = self.config.probe_interval * CONFIRM_INTERVALS;
        open.retain(|claim| since.get(claim).is_some_and(|at| now.since(*at) >= patience));
        open
    }

    /// What we report on the level above `level`, where we are a gateway: our edges out of the region, and the paths to
    /// the other gateways inside it.
    fn gateway_edges(&mut self, now: Instant, level: usize) -> Option<Vec<Edge>> {
        let ready_at = self.changed_at[level] + self.config.hold;
        let at_work = self.levels[level + 1].get(&self.me).is_some_and(|r| !r.edges.is_empty());
        if now < ready_at && !at_work {
            self.settle_at = Some(self.settle_at.map_or(ready_at, |planned| planned.min(ready_at)));
            return None;
        }
        let above = &self.levels[level + 1];
        let members = &self.members[level];
        let elected = self.gateways[level].values().filter(|g| g.node == self.me).map(|g| g.peer);
        // The other side may have come to another choice; what it reports of us and we measure too, we confirm.
        let claimed = above.values().filter(|r| !members.contains(&r.origin));
        let claimed = claimed.filter(|r| r.edge(self.me).is_some_and(|e| e.elected)).map(|r| r.origin);
        let elected: BTreeSet<NodeId> = elected.collect();
        let peers: BTreeSet<NodeId> = elected.iter().copied().chain(claimed).collect();
        let mut edges: BTreeMap<NodeId, Edge> = BTreeMap::new();
        for (to, edge) in edges_of(&self.levels[level], self.me).filter(|(to, _)| peers.contains(to)) {
            let was = above.get(&self.me).and_then(|r| r.edge(to)).is_some_and(|e| e.near);
            edges.insert(
                to,
                Edge {
                    to,
                    rtt_us: edge.rtt_us,
                    throughput_kbps: edge.throughput_kbps,
                    near: is_near(edge.rtt_us, was, &self.config, level + 1),
                    region: above.get(&to).map(|r| r.region),
                    inner: false,
                    elected: elected.contains(&to),
                },
            );
        }
        if edges.is_empty() {
            return None;
        }
        let fellows =
            members.iter().filter(|m| **m != self.me && above.get(m).is_some_and(|r| !r.edges.is_empty()));
        let chosen = self.gateways[level].values().map(|g| &g.node).filter(|m| **m != self.me);
        let fellows: BTreeSet<NodeId> = fellows.chain(chosen).copied().collect();
        let inside = region_map(&self.levels[level], members);
        for to in fellows {
            let Some((rtt, _)) = inside.routes(Metric::RoundTrip, self.me, to, 1).pop() else { continue };
            let rtt_us = u32::try_from(rtt).unwrap_or(u32::MAX);
            edges.insert(
                to,
                Edge {
                    to,
                    rtt_us,
                    throughput_kbps: None,
                    near: true,
                    region: None,
                    inner: true,
                    elected: false,
                },
            );
        }
        Some(edges.into_values().take(self.config.edges_max).collect())
    }

    /// Reports on a level, or takes the report back (None), where that says something new.
    fn say(
        &mut self,
        now: Instant,
        level: usize,
        what: Option<(NodeId, Vec<Edge>)>,
        own: &mut BTreeSet<(u8, NodeId)>,
    ) {
        let old = self.levels[level].get(&self.me);
        let retired = old.is_none_or(|r| r.edges.is_empty());
        let (home, edges) = match what {
            Some(what) => what,
            // A report without edges takes the old one back.
            None if retired => return,
            None => (self.me, Vec::new()),
        };
        let region = if level < self.top() { self.region_id(level) } else { self.me };
        let mut report = Report {
            origin: self.me,
            level: level as u8,
            version: old.map_or(0, |r| r.version),
            region,
            home,
            load_milli: self.load_milli,
            edges,
        };
        if old == Some(&report) {
            return;
        }
        self.last_version += 1;
        report.version = self.last_version;
        let bytes = report.encode();
        let seal = self.seal.seal(&bytes);
        let key = (level as u8, self.me);
        self.held.insert(key, Held { sealed: Sealed { report: bytes, seal }, at: now });
        self.levels[level].insert(self.me, report);
        own.insert(key);
    }

    /// Sends new reports, and old ones that came to concern somebody, to those whom they concern.
    fn pass_on(&mut self, members_before: &[BTreeSet<NodeId>], own: BTreeSet<(u8, NodeId)>) {
        let fresh = std::mem::take(&mut self.fresh);
        let mut keys: BTreeMap<(u8, NodeId), Option<NodeId>> =
            fresh.into_iter().map(|(key, from)| (key, Some(from))).collect();
        keys.extend(own.into_iter().map(|key| (key, None)));
        for (level, (now, before)) in self.members.iter().zip(members_before).enumerate() {
            let joined = now.difference(before).map(|m| (level as u8, *m));
            joined.for_each(|key| _ = keys.entry(key).or_insert(None));
        }
        let peers: Vec<NodeId> = self.links.keys().copied().collect();
        for peer in peers {
            let in_region = self.members.first().is_some_and(|m| m.contains(&peer));
            let link = self.links.get_mut(&peer);
            let newly = link.is_some_and(|l| in_region && !std::mem::replace(&mut l.in_region, in_region));
            let Some(link) = self.links.get_mut(&peer) else { continue };
            link.in_region = in_region;
            if link.dead {
                // When it answers again, both tell each other what they have.
                continue;
            }
            let mine = keys.iter().filter(|(key, from)| **from != Some(peer) && self.concerns(peer, **key));
            let reports = mine.filter_map(|(key, _)| Some(self.held.get(key)?.sealed.clone())).collect();
            for message in Message::reports(reports) {
                self.send(peer, message);
            }
            if newly {
                self.tell_all(peer, true);
            }
        }
    }

    pub(super) fn draw_map(&self) -> Map {
        let mut map = Map::default();
        map.node(self.me);
        for (number, level) in self.levels.iter().enumerate() {
            for report in level.values() {
                // The region that the level's inner paths cross, where it is ours.
                let crossed = self.members.get(number.saturating_sub(1));
                let own_region = |id: &NodeId| crossed.is_some_and(|m| m.contains(id));
                for (to, edge) in edges_of(level, report.origin).filter(|(to, _)| report.origin < *to) {
                    let concerns_us = report.origin == self.me || to == self.me;
                    let inside = own_region(&report.origin) && own_region(&to);
                    // A path inside our own region is known hop by hop.
                    let take = if number == 0 { inside || concerns_us } else { !(edge.inner && inside) };
                    if take {
                        let load = |id| level.get(id).map_or(0, |r: &Report| r.load_milli);
                        map.edge(report.origin, to, edge, [load(&report.origin), load(&to)]);
                    }
                }
            }
        }
        map
    }

    /// Renews our own reports, forgets what nobody renews, and compares notes with one neighbour.
    pub(super) fn renew(&mut self, now: Instant) {
        let interval = self.config.renew_interval;
        self.renew_at = now + interval;
        let old = |at: Instant| now.since(at) > interval * 3;
        self.forgotten.retain(|_, (_, at)| !old(*at));
        let gone: Vec<(u8, NodeId)> =
            self.held.iter().filter(|(key, h)| old(h.at) && key.1 != self.me).map(|(key, _)| *key).collect();
        let strange = |key: &(u8, NodeId)| {
            let members = self.members.get(usize::from(key.0));
            key.1 != self.me
                && members.is_some_and(|m| !m.contains(&key.1))
                && !self.links.contains_key(&key.1)
        };
        // Reports of nodes that were in our region once concern us no longer.
        let foreign: Vec<(u8, NodeId)> = self
            .held
            .iter()
            .filter(|(key, h)| strange(key) && now.since(h.at) > interval / 2)
            .map(|(key, _)| *key)
            .collect();
        if !gone.is_empty() || !foreign.is_empty() {
            self.actions.push_back(Action::Changed);
        }
        for key in foreign {
            self.held.remove(&key);
            self.levels[usize::from(key.0)].remove(&key.1);
        }
        for key in gone {
            self.held.remove(&key);
            if let Some(report) = self.levels[usize::from(key.0)].remove(&key.1)
                && self.forgotten.len() < self.config.reports_max
            {
                self.forgotten.insert(key, (report.version, now));
            }
        }
        for level in &mut self.levels {
            if let Some(own) = level.get_mut(&self.me) {
                // No version is this low: the report differs and is said anew.
                own.version = 0;
                own.load_milli = u32::MAX;
            }
        }
        let peer = self.rng.next_u32() as usize % self.links.len().max(1);
        if let Some(peer) = self.links.keys().nth(peer).copied() {
            self.tell_all(peer, true);
        }
        self.settle(now);
    }
}

fn region_map(level: &Level, members: &BTreeSet<NodeId>) -> Map {
    let mut map = Map::default();
    for member in members {
        for (to, edge) in edges_of(level, *member).filter(|(to, _)| member < to && members.contains(to)) {
            map.edge(*member, to, edge, [0, 0]);
        }
    }
    map
}
