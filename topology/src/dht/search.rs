//! Lookups and the questions that they and the upkeep ask.

use rand_chacha::rand_core::Rng;

use super::lookup::{Goal, Lookup, LookupId};
use super::message::Body;
use super::{Action, Busy, Dht, Offence, Outcome, Purpose, Question, RUMOURS_MAX, Timer};
use crate::id::{Contact, NodeId};
use crate::time::{Instant, micros};

/// A random node is drawn from so many nearest to a random point: the nearest alone would be drawn as often as its
/// part of the id space is large.
const RANDOM_POOL: usize = 8;
/// Most contacts that any node puts into an answer ([`super::Config::k`] is at most this).
const ANSWER_MAX: usize = 32;
/// A contact that shares this many bits more with the point asked for than the network's density explains is made
/// up: chance brings that about once in 2^24 answers.
const IMPOSSIBLE_BITS: u32 = 24;

impl Dht {
    /// Looks for a node; [`Outcome::Node`] or [`Outcome::NotFound`] follows.
    ///
    /// # Errors
    /// Where `lookups_max` lookups are under way.
    pub fn find_node(&mut self, now: Instant, id: NodeId) -> Result<LookupId, Busy> {
        let known = if id == self.me.id { Some(self.me) } else { self.table.get(id).map(|e| e.contact) };
        match known {
            Some(contact) => Ok(self.done_at_once(Outcome::Node(contact))),
            None => self.start(now, Goal::Node, id, self.config.k),
        }
    }

    /// Looks for some node, each as likely as the next; [`Outcome::Node`] or [`Outcome::NotFound`] follows.
    ///
    /// # Errors
    /// Where `lookups_max` lookups are under way.
    pub fn find_random(&mut self, now: Instant) -> Result<LookupId, Busy> {
        let point = self.random_point();
        self.start(now, Goal::Random, point, RANDOM_POOL.min(self.config.k))
    }

    /// Looks for who holds a record; [`Outcome::Holders`] or [`Outcome::NotFound`] follows.
    ///
    /// # Errors
    /// Where `lookups_max` lookups are under way.
    pub fn find_holders(&mut self, now: Instant, key: super::Key) -> Result<LookupId, Busy> {
        let holders = self.records.holders(now, key.point());
        if holders.is_empty() {
            return self.start(now, Goal::Holders, key.point(), self.config.k);
        }
        Ok(self.done_at_once(Outcome::Holders(holders)))
    }

    fn done_at_once(&mut self, outcome: Outcome) -> LookupId {
        self.last_lookup += 1;
        let lookup = LookupId(self.last_lookup);
        self.actions.push_back(Action::Done { lookup, outcome });
        lookup
    }

    pub(super) fn random_point(&mut self) -> NodeId {
        let mut bytes = [0; 32];
        self.rng.fill_bytes(&mut bytes);
        NodeId::from_bytes(bytes)
    }

    pub(super) fn start(
        &mut self,
        now: Instant,
        goal: Goal,
        point: NodeId,
        width: usize,
    ) -> Result<LookupId, Busy> {
        if self.lookups.len() >= self.config.lookups_max {
            return Err(Busy { what: "lookups_max", max: self.config.lookups_max });
        }
        let mut lookup = Lookup::new(goal, point, width);
        for entry in self.table.closest(point, self.config.k) {
            lookup.add(entry.contact, None, entry.rtt_us);
        }
        if goal == Goal::Join {
            self.seeds.iter().for_each(|seed| lookup.add(*seed, None, None));
        }
        self.table.touch(now, point);
        self.last_lookup += 1;
        let id = LookupId(self.last_lookup);
        self.drive(now, id, lookup);
        Ok(id)
    }

    /// Asks whom there is to ask, and keeps the lookup unless it is over.
    fn drive(&mut self, now: Instant, id: LookupId, mut lookup: Lookup) {
        while lookup.waiting() < self.config.alpha {
            let Some(to) = lookup.next_to_ask() else { break };
            let body = match lookup.goal {
                Goal::Holders => Body::FindRecord(lookup.point),
                _ => Body::FindNode(lookup.point),
            };
            self.ask(now, to, body, Purpose::Lookup(id));
        }
        if lookup.is_over() {
            self.blame_barren(now, &lookup);
            self.conclude(now, id, &lookup);
        } else {
            self.lookups.insert(id, lookup);
        }
    }

    fn blame_barren(&mut self, now: Instant, lookup: &Lookup) {
        for teller in lookup.barren() {
            self.offend(now, teller, Offence::BarrenAnswer);
        }
    }

    fn conclude(&mut self, now: Instant, id: LookupId, lookup: &Lookup) {
        let outcome = match lookup.goal {
            Goal::Node | Goal::Holders => Outcome::NotFound,
            Goal::Random => {
                let pool = lookup.closest(RANDOM_POOL);
                let drawn = self.rng.next_u64() as usize % pool.len().max(1);
                pool.get(drawn).map_or(Outcome::NotFound, |c| Outcome::Node(*c))
            }
            Goal::Publish(key) => {
                Outcome::Published { copies: self.spread(now, key, &lookup.closest(self.config.replicas)) }
            }
            Goal::Join => return self.joined(now, !lookup.closest(1).is_empty()),
            Goal::Refresh => return,
        };
        self.actions.push_back(Action::Done { lookup: id, outcome });
    }

    pub(super) fn ask(&mut self, now: Instant, to: Contact, body: Body, purpose: Purpose) {
        self.last_transaction += 1;
        let transaction = self.last_transaction;
        let timer = now + self.config.stall;
        self.timers.insert((timer, Timer::Question(transaction)));
        self.questions.insert(transaction, Question { to, sent: now, timer, late: false, purpose });
        self.send(to, transaction, body);
    }

    pub(super) fn ping(&mut self, now: Instant, to: Contact) {
        let open = |q: &Question| q.to.id == to.id && matches!(q.purpose, Purpose::Ping);
        if !self.questions.values().any(open) {
            self.ask(now, to, Body::Ping, Purpose::Ping);
        }
    }

    /// A question's time is up: it is late at first, and then too late.
    pub(super) fn question_due(&mut self, now: Instant, transaction: u64) {
        let Some(question) = self.questions.get_mut(&transaction) else { return };
        if question.late {
            self.give_up(now, transaction);
            return;
        }
        question.late = true;
        question.timer = question.sent + self.config.timeout.max(self.config.stall);
        self.timers.insert((question.timer, Timer::Question(transaction)));
        let (to, purpose) = (question.to.id, question.purpose);
        if let Purpose::Lookup(id) = purpose
            && let Some(mut lookup) = self.lookups.remove(&id)
        {
            lookup.stalled(to);
            self.drive(now, id, lookup);
        }
    }

    /// A question stays unanswered. Gives who spoke of the node that was asked.
    pub(super) fn give_up(&mut self, now: Instant, transaction: u64) -> Option<NodeId> {
        let question = self.questions.remove(&transaction)?;
        self.timers.remove(&(question.timer, Timer::Question(transaction)));
        self.stats.unanswered += 1;
        let id = question.to.id;
        self.lost(now, id);
        match question.purpose {
            Purpose::Lookup(lookup_id) => {
                let mut lookup = self.lookups.remove(&lookup_id)?;
                let teller = lookup.failed(id);
                self.drive(now, lookup_id, lookup);
                teller
            }
            Purpose::Ping => {
                // Asked once more before it is given up.
                if let Some(again) = self.table.get(id).map(|e| e.contact) {
                    self.ping(now, again);
                }
                None
            }
            Purpose::Store => None,
        }
    }

    /// An answer came from the node that was asked.
    pub(super) fn answered(&mut self, now: Instant, from: Contact, transaction: u64, body: Body) {
        let question = match self.questions.get(&transaction) {
            Some(q) if q.to.id == from.id => *q,
            _ => return self.offend(now, from.id, Offence::Unsolicited),
        };
        let fits = match question.purpose {
            Purpose::Ping => body == Body::Pong,
            Purpose::Store => matches!(body, Body::Stored(_)),
            Purpose::Lookup(_) => matches!(body, Body::Nodes(_) | Body::Record { .. }),
        };
        if !fits {
            return self.offend(now, from.id, Offence::Malformed);
        }
        self.questions.remove(&transaction);
        self.timers.remove(&(question.timer, Timer::Question(transaction)));
        self.hear(now, from, Some(micros(now.since(question.sent))));
        let (nodes, holders) = match body {
            Body::Nodes(nodes) => (nodes, Vec::new()),
            Body::Record { holders, nodes } => (nodes, holders),
            _ => return,
        };
        if let Purpose::Lookup(id) = question.purpose
            && let Some(mut lookup) = self.lookups.remove(&id)
        {
            lookup.answered(from.id);
            match self.told(now, from.id, &mut lookup, &nodes, &holders) {
                Some(outcome) => {
                    self.blame_barren(now, &lookup);
                    self.actions.push_back(Action::Done { lookup: id, outcome });
                }
                None => self.drive(now, id, lookup),
            }
        }
    }

    /// Takes hearsay into a lookup. Gives the outcome where that ends it.
    fn told(
        &mut self,
        now: Instant,
        teller: NodeId,
        lookup: &mut Lookup,
        nodes: &[Contact],
        holders: &[Contact],
    ) -> Option<Outcome> {
        if nodes.len() > ANSWER_MAX {
            self.offend(now, teller, Offence::Oversized);
            return None;
        }
        let impossible = self.size_bits.map_or(u32::MAX, |bits| bits + IMPOSSIBLE_BITS);
        let mut lied = false;
        for node in nodes {
            let id = node.id;
            if id == self.me.id || self.guard.is_banned(now, id) {
                continue;
            }
            if id != lookup.point && id.common_bits(lookup.point) > impossible {
                lied = true;
                continue;
            }
            if id == lookup.point && lookup.goal == Goal::Node {
                self.remember(id, teller);
                return Some(Outcome::Node(*node));
            }
            lookup.add(*node, Some(teller), self.table.get(id).and_then(|e| e.rtt_us));
        }
        if lied {
            self.offend(now, teller, Offence::ImpossibleDistance);
        }
        if lookup.goal == Goal::Holders && !holders.is_empty() {
            let holders: Vec<Contact> = holders.iter().take(self.config.holders_max).copied().collect();
            holders.iter().for_each(|h| self.remember(h.id, teller));
            return Some(Outcome::Holders(holders));
        }
        None
    }

    fn remember(&mut self, who: NodeId, teller: NodeId) {
        if who != teller {
            if self.rumours.len() >= RUMOURS_MAX {
                self.rumours.pop_front();
            }
            self.rumours.push_back((who, teller));
        }
    }
}
