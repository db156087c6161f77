//! One lookup: the nodes that were heard of on the way to a point, nearest first, and whom to ask next.

use std::collections::BTreeMap;

use super::records::Key;
use crate::id::{Contact, NodeId};

/// Most nodes that one lookup keeps in view.
pub const CANDIDATES_MAX: usize = 64;
/// A teller of at least this many nodes, none of which answers, told nothing.
const BARREN: usize = 4;

/// Names a lookup towards the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u64);

/// What a lookup is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// One node, by its id.
    Node,
    /// Any node, each as likely as the next.
    Random,
    /// The holders of a record.
    Holders,
    /// The nodes that are to keep our record.
    Publish(Key),
    /// Our own neighbours, for the table.
    Join,
    /// Some nodes of a bucket, for the table.
    Refresh,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    /// Asked; `true` once it is late and no longer counts as being waited for.
    Asked(bool),
    Answered,
    Failed,
}

#[derive(Clone, Debug)]
struct Candidate {
    contact: Contact,
    state: State,
    told_by: Option<NodeId>,
    rtt_us: u32,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// What for.
    pub goal: Goal,
    /// Where to.
    pub point: NodeId,
    width: usize,
    candidates: Vec<Candidate>,
}

impl Lookup {
    /// A lookup that is over once the `width` nearest nodes have answered.
    #[must_use]
    pub fn new(goal: Goal, point: NodeId, width: usize) -> Self {
        Self { goal, point, width, candidates: Vec::new() }
    }

    /// Puts a node into view; `told_by` is who spoke of it, None for our own table.
    pub fn add(&mut self, contact: Contact, told_by: Option<NodeId>, rtt_us: Option<u32>) {
        let distance = contact.id.distance(self.point);
        let found = self.candidates.binary_search_by_key(&distance, |c| c.contact.id.distance(self.point));
        if let Err(at) = found {
            let rtt_us = rtt_us.unwrap_or(u32::MAX);
            self.candidates.insert(at, Candidate { contact, state: State::Fresh, told_by, rtt_us });
            if self.candidates.len() > CANDIDATES_MAX {
                // One that was asked stays, so that its answer finds it.
                let last = self.candidates.iter().rposition(|c| !matches!(c.state, State::Asked(_)));
                self.candidates.remove(last.unwrap_or(CANDIDATES_MAX));
            }
        }
    }

    /// Questions that are waited for.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.candidates.iter().filter(|c| c.state == State::Asked(false)).count()
    }

    /// Whom to ask next: of the nearest nodes one as near as any in bits, and of those the one with the shortest
    /// round trip. Kademlia leaves this choice free.
    pub fn next_to_ask(&mut self) -> Option<Contact> {
        let point = self.point;
        let nearest = self.candidates.iter_mut().filter(|c| c.state != State::Failed).take(self.width);
        let fresh = nearest.filter(|c| c.state == State::Fresh);
        let best = fresh.min_by_key(|c| {
            let id = c.contact.id;
            (std::cmp::Reverse(id.common_bits(point)), c.rtt_us, id.distance(point))
        })?;
        best.state = State::Asked(false);
        Some(best.contact)
    }

    /// Whether the nearest nodes have all answered or there is nobody left to ask.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let mut nearest = self.candidates.iter().filter(|c| c.state != State::Failed).take(self.width);
        nearest.all(|c| c.state == State::Answered)
    }

    /// A question is late.
    pub fn stalled(&mut self, id: NodeId) {
        self.set(id, State::Asked(true));
    }

    /// A node has answered.
    pub fn answered(&mut self, id: NodeId) {
        self.set(id, State::Answered);
    }

    /// A node did not answer. Gives who spoke of it.
    pub fn failed(&mut self, id: NodeId) -> Option<NodeId> {
        self.set(id, State::Failed);
        self.candidates.iter().find(|c| c.contact.id == id)?.told_by
    }

    /// The nodes that have answered, nearest first.
    #[must_use]
    pub fn closest(&self, count: usize) -> Vec<Contact> {
        let answered = self.candidates.iter().filter(|c| c.state == State::Answered);
        answered.take(count).map(|c| c.contact).collect()
    }

    /// Who told of many nodes of which not one was there.
    #[must_use]
    pub fn barren(&self) -> Vec<NodeId> {
        let mut tellers: BTreeMap<NodeId, (usize, bool)> = BTreeMap::new();
        for c in &self.candidates {
            let Some(teller) = c.told_by else { continue };
            let (failed, any) = tellers.entry(teller).or_default();
            *failed += usize::from(c.state == State::Failed);
            *any |= c.state == State::Answered;
        }
        tellers.into_iter().filter(|(_, (failed, any))| *failed >= BARREN && !any).map(|(id, _)| id).collect()
    }

    fn set(&mut self, id: NodeId, state: State) {
        if let Some(c) = self.candidates.iter_mut().find(|c| c.contact.id == id) {
            c.state = state;
        }
    }
}
