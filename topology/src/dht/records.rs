//! Records of others that are kept here: under each point, who said of itself that it holds what the point stands
//! for. Nobody can say so for another node, since the transport has authenticated who stores.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::id::{Contact, NodeId};
use crate::time::Instant;

/// What a record is about; its point in the id space is where the record lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(NodeId);

impl Key {
    /// Which nodes offer this service.
    #[must_use]
    pub fn service(name: &str) -> Self {
        Self::of(b"service", name.as_bytes())
    }

    /// Which nodes hold the content with this SHA-256 (a proxylet, mostly).
    #[must_use]
    pub fn digest(sha256: &[u8; 32]) -> Self {
        Self::of(b"digest", sha256)
    }

    fn of(kind: &[u8], name: &[u8]) -> Self {
        Self(NodeId::from_bytes(
            Sha256::new().chain_update(kind).chain_update([0]).chain_update(name).finalize().into(),
        ))
    }

    /// Where the record lives.
    #[must_use]
    pub fn point(self) -> NodeId {
        self.0
    }
}

/// Bounds; see [`super::Config`].
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Points kept.
    pub points_max: usize,
    /// Holders for one point.
    pub holders_max: usize,
    /// Points under which one node is kept.
    pub points_per_node_max: usize,
    /// Longest time that a record is good for.
    pub ttl: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    contact: Contact,
    ends: Instant,
}

/// The records kept for others.
#[derive(Clone, Debug)]
pub struct Records {
    me: NodeId,
    bounds: Bounds,
    points: BTreeMap<NodeId, BTreeMap<NodeId, Holder>>,
    per_node: BTreeMap<NodeId, usize>,
}

impl Records {
    /// No records.
    #[must_use]
    pub fn new(me: NodeId, bounds: Bounds) -> Self {
        Self { me, bounds, points: BTreeMap::new(), per_node: BTreeMap::new() }
    }

    /// Points kept now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// `holder` says that it holds what `point` stands for. False where there is no room for that. A full table makes
    /// room for a point that is nearer to us by giving up the farthest.
    pub fn store(&mut self, now: Instant, point: NodeId, holder: Contact, ttl: Duration) -> bool {
        let Bounds { points_max, holders_max, points_per_node_max, ttl: ttl_max } = self.bounds;
        let fresh = Holder { contact: holder, ends: now + ttl.min(ttl_max) };
        let known = self.points.get_mut(&point);
        if let Some(old) = known.and_then(|holders| holders.get_mut(&holder.id)) {
            *old = fresh;
            return true;
        }
        if self.per_node.get(&holder.id).is_some_and(|n| *n >= points_per_node_max)
            || self.points.get(&point).is_some_and(|holders| holders.len() >= holders_max)
        {
            return false;
        }
        if !self.points.contains_key(&point) && self.points.len() >= points_max {
            let farthest = self.points.keys().copied().max_by_key(|p| p.distance(self.me));
            match farthest.filter(|far| point.distance(self.me) < far.distance(self.me)) {
                Some(far) => self.drop_point(far),
                None => return false,
            }
        }
        self.points.entry(point).or_default().insert(holder.id, fresh);
        *self.per_node.entry(holder.id).or_default() += 1;
        true
    }

    /// A holder takes its word back.
    pub fn withdraw(&mut self, point: NodeId, holder: NodeId) {
        let Some(holders) = self.points.get_mut(&point) else { return };
        if holders.remove(&holder).is_some() {
            if holders.is_empty() {
                self.points.remove(&point);
            }
            self.one_less(holder);
        }
    }

    /// Who holds what this point stands for.
    #[must_use]
    pub fn holders(&self, now: Instant, point: NodeId) -> Vec<Contact> {
        let holders = self.points.get(&point).into_iter().flat_map(BTreeMap::values);
        holders.filter(|h| now < h.ends).map(|h| h.contact).collect()
    }

    /// Forgets what has run out.
    pub fn expire(&mut self, now: Instant) {
        let mut gone = Vec::new();
        self.points.retain(|_, holders| {
            holders.retain(|id, h| {
                let keep = now < h.ends;
                if !keep {
                    gone.push(*id);
                }
                keep
            });
            !holders.is_empty()
        });
        gone.into_iter().for_each(|id| self.one_less(id));
    }

    fn drop_point(&mut self, point: NodeId) {
        for id in self.points.remove(&point).unwrap_or_default().into_keys() {
            self.one_less(id);
        }
    }

    fn one_less(&mut self, holder: NodeId) {
        if let Some(n) = self.per_node.get_mut(&holder) {
            *n -= 1;
            if *n == 0 {
                self.per_node.remove(&holder);
            }
        }
    }
}
