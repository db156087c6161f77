//! The policy's word on messages: what is settled at once, what has to wait for the end of the batch.

use std::net::SocketAddr;

use super::VirtualPeer;
use super::forwarding::Course;
use super::journal::Topic;
use crate::application::monitoring::DropReason;
use crate::application::policy::{
    Asked, Decision, Message, NO_OUTCOME, Peer, Questions, RIGHTS, Region, Rights, Verdict, Way,
};
use crate::application::routes::LinkId;
use crate::gnutella::huge::Sha1;
use crate::gnutella::{HEADER_LEN, Header, Kind};
use crate::host::{ConnId, Host, Instant};
use crate::link::Role;
use crate::link::dispatch::{Outgoing, Sent};

/// Messages that may wait for the end of a batch.
const WAITING_MAX: usize = 65_536;
/// And their bytes. Beyond either, messages that would have to wait are dropped.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// Outcomes that are counted.
const OUTCOMES_MAX: usize = 1 << 17;
/// Peers that are met in one crossing.
const MEET_MAX: usize = 256;

/// What this peer keeps for the shell's policy.
#[derive(Debug, Default)]
pub(super) struct Policing {
    /// The generation in force; 0 for none.
    generation: u64,
    waiting: Vec<Waiting>,
    bytes: Vec<u8>,
    questions: Questions,
    /// How often settled decisions were made use of, by outcome.
    used: Vec<u64>,
}

/// A message that waits for its verdict.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    link: LinkId,
    way: Way,
    header: Header,
    /// Where its payload lies.
    from: usize,
    len: usize,
}

impl Waiting {
    /// Whether it is a query that came in.
    fn is_query(&self) -> bool {
        self.way == Way::In && self.header.kind == Kind::QUERY
    }
}

/// What is kept about the peer of a relation while there is a policy.
#[derive(Debug)]
pub(super) struct Policed {
    rights: Rights,
    second: u64,
    now: u32,
    before: u32,
    /// Where the peer is, as far as the policy asks.
    pub(super) region: Region,
    /// What its link costs, where the policy says.
    pub(super) cost: Option<f64>,
}

impl Default for Policed {
    /// Of a peer about whom nothing is settled.
    fn default() -> Self {
        Self::new(Rights::new(0, &[]))
    }
}

impl Policed {
    fn new(rights: Rights) -> Self {
        Self { rights, second: 0, now: 0, before: 0, region: Region::Unknown, cost: None }
    }

    /// Counts a message.
    fn tick(&mut self, now: Instant) {
        let second = now.0 / 1_000_000_000;
        if second != self.second {
            self.before = if second == self.second + 1 { self.now } else { 0 };
            (self.second, self.now) = (second, 0);
        }
        self.now += 1;
    }

    /// Messages a second: those of the last whole second, or of this one where there are more by now.
    fn rate(&self) -> f64 {
        self.now.max(self.before).into()
    }
}

impl Policing {
    /// Whether there is a policy.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.generation != 0
    }

    /// The generation in force; 0 for none.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn count(&mut self, decision: Decision) {
        let outcome = decision.outcome as usize;
        if decision.outcome == NO_OUTCOME || outcome >= OUTCOMES_MAX {
            return;
        }
        if self.used.len() <= outcome {
            self.used.resize(outcome + 1, 0);
        }
        self.used[outcome] += 1;
    }

    /// Puts a message off; whether there is room for it.
    fn put_off(&mut self, link: LinkId, way: Way, header: Header, payload: &[u8]) -> bool {
        let fits = self.waiting.len() < WAITING_MAX && self.bytes.len() + payload.len() <= WAITING_BYTES_MAX;
        if fits {
            let from = self.bytes.len();
            self.bytes.extend_from_slice(payload);
            self.waiting.push(Waiting { link, way, header, from, len: payload.len() });
        }
        fits
    }

    /// Memory that it takes, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.bytes.len() + size_of_val(&self.waiting[..])
    }
}

impl VirtualPeer {
    /// Another generation of the shell's policy is in force; 0 for none.
    pub(super) fn policy_changed(&mut self, generation: u64, host: &mut impl Host) {
        self.report_used(host);
        self.policing.generation = generation;
        self.learn_plan(host);
        if generation != 0 {
            // Most that is passed on goes to them.
            let neighbours: Vec<u32> = self.table.neighbours().to_vec();
            self.meet(&neighbours, host);
        }
    }

    /// Tells the policy how often its settled decisions were made use of.
    pub(super) fn report_used(&mut self, host: &mut impl Host) {
        let generation = self.policing.generation;
        if generation == 0 {
            return;
        }
        let counts = self.policing.used.iter().enumerate().filter(|(_, n)| **n > 0);
        let (outcomes, counts): (Vec<u32>, Vec<u64>) = counts.map(|(i, n)| (i as u32, *n)).unzip();
        self.policing.used.clear();
        if let Some(policy) = host.policy()
            && !outcomes.is_empty()
        {
            policy.used(generation, &outcomes, &counts);
        }
    }

    /// Learns what is settled about the peers of relations.
    fn meet(&mut self, links: &[u32], host: &mut impl Host) {
        let Some(policy) = host.policy() else { return };
        for some in links.chunks(MEET_MAX) {
            let relations: Vec<_> = some.iter().filter_map(|i| Some((*i, self.table.get(*i)?))).collect();
            let peers: Vec<Peer<'_>> = relations
                .iter()
                .map(|(_, r)| Peer {
                    conn: r.link.conn,
                    group: group(r.link.terms.role),
                    user_agent: &r.link.terms.user_agent,
                })
                .collect();
            let answer = policy.meet(&peers);
            let met: Vec<u32> = relations.iter().map(|(i, _)| *i).collect();
            for (index, row) in met.into_iter().zip(answer.decisions.chunks(RIGHTS)) {
                let rights = Rights::new(answer.generation, row);
                let Some(relation) = self.table.get_mut(index) else { continue };
                match &mut relation.policed {
                    Some(policed) => policed.rights = rights,
                    None => relation.policed = Some(Box::new(Policed::new(rights))),
                }
            }
        }
    }

    /// Whether a message that came in is to be handled now. Where not, it waits, or is dropped.
    #[inline]
    pub(super) fn may_come(&mut self, index: u32, header: Header, payload: &[u8]) -> bool {
        !self.policing.is_on() || self.may(index, Way::In, header, payload)
    }

    /// Whether a message may be passed on to a relation now. Where not, it waits, or is dropped.
    #[inline]
    pub(super) fn may_go(&mut self, index: u32, header: Header, payload: &[u8]) -> bool {
        !self.policing.is_on() || self.may(index, Way::Out, header, payload)
    }

    fn may(&mut self, index: u32, way: Way, header: Header, payload: &[u8]) -> bool {
        // Where it goes is decided with all others of the batch.
        let is_forwarded = way == Way::In && header.kind == Kind::QUERY && self.forwards_by_policy();
        let (Some(message), Some(relation)) = (Message::of(header.kind), self.table.get_mut(index)) else {
            return true;
        };
        let decision = match &mut relation.policed {
            Some(policed) => {
                if way == Way::In {
                    policed.tick(self.now);
                }
                policed.rights.of(self.policing.generation, message, way)
            }
            None => Decision::ASK,
        };
        match decision.verdict {
            Verdict::Go if !is_forwarded => {
                self.policing.count(decision);
                true
            }
            Verdict::Deny | Verdict::Drop => {
                self.policing.count(decision);
                self.monitor.dropped(header.kind, DropReason::Denied);
                false
            }
            Verdict::Go | Verdict::Ask => {
                if !self.policing.put_off(relation.id, way, header, payload) {
                    self.monitor.dropped(header.kind, DropReason::Throttled);
                }
                false
            }
        }
    }

    /// Decides what waits, and carries it out. What comes in may have to be passed on to peers that are to be asked
    /// about as well, once.
    pub(super) fn decide_waiting(&mut self, host: &mut impl Host) {
        while !self.policing.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.policing.waiting);
            let bytes = std::mem::take(&mut self.policing.bytes);
            let decisions = self.verdicts(&waiting, &bytes, host);
            let mut courses = self.ways(&waiting, &bytes, &decisions, host).into_iter();
            for (message, decision) in waiting.iter().zip(decisions) {
                let payload = &bytes[message.from..message.from + message.len];
                let goes = decision.verdict == Verdict::Go;
                let course = match goes && message.is_query() {
                    true => courses.next().unwrap_or(Course::Standard),
                    false => Course::Standard,
                };
                if goes && course != Course::Refused {
                    self.carry_out(message, payload, course, host);
                } else {
                    self.monitor.dropped(message.header.kind, DropReason::Denied);
                }
            }
        }
    }

    /// One decision for each message: by what is settled about its peer, else by asking about it.
    fn verdicts(&mut self, waiting: &[Waiting], bytes: &[u8], host: &mut impl Host) -> Vec<Decision> {
        let generation = self.policing.generation;
        let stale = |w: &Waiting| {
            let relation = self.table.by_id_ref(w.link)?;
            let met = relation.policed.as_ref().is_some_and(|p| p.rights.is_of(generation));
            (!met).then_some(w.link.index)
        };
        let mut strangers: Vec<u32> = waiting.iter().filter_map(stale).collect();
        strangers.sort_unstable();
        strangers.dedup();
        self.meet(&strangers, host);
        let mut questions = std::mem::take(&mut self.policing.questions);
        questions.clear();
        let mut decisions = Vec::with_capacity(waiting.len());
        // Where the questions of a message begin and end.
        let mut asked = Vec::new();
        for (place, w) in waiting.iter().enumerate() {
            let relation = self.table.by_id_ref(w.link);
            let (Some(message), Some(relation)) = (Message::of(w.header.kind), relation) else {
                decisions.push(Decision::ASK);
                continue;
            };
            let policed = relation.policed.as_ref();
            let decision = policed.map_or(Decision::ASK, |p| p.rights.of(generation, message, w.way));
            decisions.push(decision);
            if decision.verdict != Verdict::Ask {
                self.policing.count(decision);
                continue;
            }
            let first = questions.len();
            let rate = policed.map_or(0.0, |p| p.rate());
            let taken = questions.push(&Asked {
                conn: relation.link.conn,
                message,
                way: w.way,
                ttl: w.header.ttl,
                hops: w.header.hops,
                rate,
                payload: &bytes[w.from..w.from + w.len],
            });
            asked.push((place, first..first + taken));
        }
        if let Some(policy) = host.policy()
            && !questions.is_empty()
        {
            let answer = policy.decide(&questions);
            for (place, rows) in asked {
                let rows = answer.decisions.get(rows).unwrap_or_default();
                // A message goes where all that it carries may go.
                let worst = rows.iter().find(|d| d.verdict != Verdict::Go).or(rows.first());
                decisions[place] = worst.copied().unwrap_or(Decision::ASK);
            }
        }
        self.policing.questions = questions;
        decisions
    }

    /// Where the queries go that came in and may: one course for each, in their order.
    fn ways(
        &mut self,
        waiting: &[Waiting],
        bytes: &[u8],
        decisions: &[Decision],
        host: &mut impl Host,
    ) -> Vec<Course> {
        if !self.forwards_by_policy() {
            return Vec::new();
        }
        let goes = |(w, d): &(&Waiting, &Decision)| w.is_query() && d.verdict == Verdict::Go;
        let asked = |(w, _): (&Waiting, &Decision)| {
            let relation = self.table.by_id_ref(w.link);
            Asked {
                conn: relation.map_or(ConnId(0), |r| r.link.conn),
                message: Message::Query,
                way: Way::In,
                ttl: w.header.ttl,
                hops: w.header.hops,
                rate: relation.and_then(|r| r.policed.as_ref()).map_or(0.0, |p| p.rate()),
                payload: &bytes[w.from..w.from + w.len],
            }
        };
        let asked: Vec<Asked<'_>> = waiting.iter().zip(decisions).filter(goes).map(asked).collect();
        self.courses(&asked, host)
    }

    fn carry_out(&mut self, message: &Waiting, payload: &[u8], course: Course, host: &mut impl Host) {
        let (index, header) = (message.link.index, message.header);
        match message.way {
            Way::In if message.is_query() && self.table.lives(message.link) => {
                self.query(index, header, payload, course.forward());
            }
            Way::In if self.table.lives(message.link) => {
                if let Err(ending) = self.handle_message(index, header, payload, host) {
                    self.end(index, ending);
                }
            }
            Way::In => {}
            Way::Out => {
                let Some(relation) = self.table.by_id(message.link) else { return };
                let sent = self.dispatch.send(&mut relation.link, &mut Outgoing::relayed(&header, payload));
                match sent {
                    Sent::Now | Sent::Waits => {
                        self.monitor.relayed(header.kind, 1, HEADER_LEN + payload.len());
                    }
                    Sent::Dropped(_) | Sent::Overflow => {
                        self.monitor.dropped(header.kind, DropReason::Congested);
                    }
                }
            }
        }
    }

    /// What the policy says about a stranger who asks for something, with no relation to us.
    pub(super) fn judge_stranger(
        &mut self,
        conn: ConnId,
        user_agent: &str,
        message: Message,
        file: Option<(&str, Option<Sha1>)>,
        host: &mut impl Host,
    ) -> Verdict {
        if !self.policing.is_on() {
            return Verdict::Go;
        }
        let Some(policy) = host.policy() else { return Verdict::Go };
        let answer = policy.meet(&[Peer { conn, group: "", user_agent }]);
        let rights = Rights::new(answer.generation, &answer.decisions);
        let both = [Message::Connect, message];
        for message in if message == Message::Connect { &both[..1] } else { &both[..] } {
            let message = *message;
            let mut decision = rights.of(answer.generation, message, Way::In);
            if decision.verdict == Verdict::Ask {
                let mut questions = Questions::default();
                let asked = Asked { conn, message, way: Way::In, ttl: 1, hops: 0, rate: 1.0, payload: &[] };
                match file {
                    Some((name, sha1)) => questions.push_file(&asked, name, sha1),
                    None => {
                        questions.push(&asked);
                    }
                }
                decision = policy.decide(&questions).decisions.first().copied().unwrap_or(Decision::ASK);
            } else {
                self.policing.count(decision);
            }
            match decision.verdict {
                Verdict::Go => {}
                Verdict::Ask => return Verdict::Drop,
                refused => return refused,
            }
        }
        Verdict::Go
    }

    /// Tells the operator that the shell does not let us connect somewhere.
    pub(super) fn warn_not_granted(&mut self, to: SocketAddr) {
        self.journal.warn(
            self.now,
            Topic::NotGranted,
            format_args!("may not connect to {to}: grant net.connect for it, or let the policy allow it"),
        );
    }
}

/// The group that a peer is in.
pub(super) fn group(role: Role) -> &'static str {
    match role {
        Role::Leaf => "leaf",
        Role::Ultrapeer => "ultrapeer",
        Role::Old => "",
    }
}
