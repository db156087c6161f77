//! Who comes in, and as what.

use std::net::{IpAddr, SocketAddr};

use rand_chacha::ChaCha12Rng;

use super::policing::group;
use super::table::Table;
use crate::application::policy::{self, Access, Decision, Message, Policy, Rights, Verdict, Way};
use crate::cache::hosts::HostCache;
use crate::config::Config;
use crate::gnutella::Guid;
use crate::host::{ConnId, Instant};
use crate::link::handshake::{Census, TRY_HOSTS_MAX};
use crate::link::{Admission, Gate, Proposal, Refusal, Role};
use crate::network::rate::OncePer;

/// The peer, as far as it decides over a handshake.
pub(super) struct Admissions<'a> {
    pub(super) config: &'a Config,
    pub(super) access: &'a Access,
    pub(super) guid: Guid,
    pub(super) table: &'a Table,
    /// Ultrapeers that there may be.
    pub(super) ultrapeers_max: u16,
    /// Slots held by handshakes, by role.
    pub(super) reserved: [u32; 3],
    pub(super) hosts: &'a HostCache,
    pub(super) crawls: &'a mut OncePer<IpAddr>,
    pub(super) rng: &'a mut ChaCha12Rng,
    pub(super) now: Instant,
    pub(super) stopping: bool,
    /// The shell's policy, where one is in force.
    pub(super) policy: Option<&'a mut dyn Policy>,
    pub(super) conn: ConnId,
    /// What it has decided.
    pub(super) decided: Option<Decision>,
}

impl Admissions<'_> {
    fn taken(&self, role: Role) -> u32 {
        self.table.count(role) + self.reserved[role as usize]
    }

    fn has_room(&self, role: Role) -> bool {
        let limit = match role {
            Role::Leaf => self.config.leaves,
            Role::Ultrapeer => self.ultrapeers_max.into(),
            Role::Old => self.config.old_peers.into(),
        };
        self.taken(role) < limit
    }

    /// Whether the shell's policy lets a peer in.
    fn policy_admits(&mut self, proposal: &Proposal<'_>) -> bool {
        let Some(policy) = &mut self.policy else { return true };
        let user_agent = proposal.hello.user_agent.as_str();
        let peer = policy::Peer { conn: self.conn, group: group(proposal.role), user_agent };
        let answer = policy.meet(&[peer]);
        if answer.generation == 0 {
            return true;
        }
        let way = if proposal.dialled { Way::Out } else { Way::In };
        let rights = Rights::new(answer.generation, &answer.decisions);
        let decision = rights.of(answer.generation, Message::Connect, way);
        self.decided = Some(decision);
        decision.verdict == Verdict::Go
    }

    /// Whether a peer is connected already, as far as it can be recognised. A servent's id alone says nothing: it stands in
    /// each of its hits, for everybody to use.
    fn is_duplicate(&self, proposal: &Proposal<'_>) -> bool {
        let twin = proposal.hello.guid.and_then(|guid| self.table.get(self.table.by_servent(guid)?.index));
        let servent = twin.is_some_and(|r| r.link.remote.ip() == proposal.remote.ip());
        let port = if proposal.dialled { Some(proposal.remote.port()) } else { None };
        let port = port.or(proposal.hello.listen.map(|l| l.port())).filter(|p| *p != 0);
        servent || port.is_some_and(|p| self.table.has_address(SocketAddr::new(proposal.remote.ip(), p)))
    }
}

impl Gate for Admissions<'_> {
    fn judge(&mut self, proposal: &Proposal<'_>) -> Result<Admission, Refusal> {
        if self.stopping {
            return Err(Refusal::ShuttingDown);
        }
        if proposal.hello.guid == Some(self.guid) {
            return Err(Refusal::Ourselves);
        }
        if !self.access.admits(proposal.remote.ip(), &proposal.hello.user_agent) {
            return Err(Refusal::Forbidden);
        }
        if !self.policy_admits(proposal) {
            return Err(Refusal::Forbidden);
        }
        if self.is_duplicate(proposal) {
            return Err(Refusal::Duplicate);
        }
        let per_address = self.config.links_per_address;
        if per_address > 0 && self.table.count_at(proposal.remote.ip()) >= per_address {
            return Err(Refusal::TooManyFromAddress);
        }
        let role = proposal.role;
        let ultrapeer_needed = self.has_room(Role::Ultrapeer);
        if self.has_room(role) {
            return Ok(Admission { role, ultrapeer_needed });
        }
        match role {
            Role::Leaf => Err(Refusal::LeavesFull),
            Role::Old => Err(Refusal::OldFull),
            // Who connected to us may still become a leaf.
            Role::Ultrapeer if !proposal.dialled && self.has_room(Role::Leaf) => {
                Ok(Admission { role: Role::Leaf, ultrapeer_needed: false })
            }
            Role::Ultrapeer => Err(Refusal::UltrapeersFull),
        }
    }

    fn ultrapeers_to_try(&mut self, into: &mut Vec<SocketAddr>) {
        let mut known = Vec::new();
        self.hosts.recommend(self.now, TRY_HOSTS_MAX, self.rng, &mut known);
        into.extend(known.into_iter().map(|(host, _)| host));
    }

    fn census(&mut self, asker: IpAddr) -> Option<Census> {
        if !self.crawls.pass(self.now, asker) {
            return None;
        }
        let mut census = Census::default();
        for relation in self.table.iter() {
            let Some(address) = relation.address else { continue };
            match relation.link.terms.role {
                Role::Leaf => census.leaves.push(address),
                Role::Ultrapeer => census.ultrapeers.push(address),
                Role::Old => {}
            }
        }
        Some(census)
    }
}
