//! Decisions by the policy that the operator gave the service. Grant: `policy`.
//!
//! Do not ask for each message. Say once who a peer is ([`meet`]) and keep the answer: [`Verdict::Go`], [`Verdict::Deny`]
//! and [`Verdict::Drop`] hold for whatever the peer sends of that kind, until [`crate::Event::PolicyChanged`]. Collect the
//! messages whose verdict is [`Verdict::Ask`] and [`decide`] over them at the end of the batch, all in one call. Once a
//! second, say with [`used`] how often settled decisions were made use of, so that the operator's counts are right.
//!
//! ```no_run
//! use eep_sdk::policy::{self, Direction, Message, Peer, Verdict};
//!
//! # fn of(conn: u64) {
//! let met = policy::meet(&[Peer { conn, group: "leaf".to_owned(), user_agent: "Client/1.0".to_owned() }]);
//! if met.verdict(Message::Connect.right(Direction::Inbound)) != Verdict::Go {
//!     eep_sdk::net::close(conn);
//! }
//! # }
//! ```
//!
//! What a proxylet could dodge is enforced by the node, whether it asks or not: addresses that the policy denies cannot
//! be connected to, and connections from there do not reach the proxylet.

use crate::bindings::eep::proxylet::policy;

pub use policy::{
    Action, Avoid, Chain, Decisions, Degree, Forward, Link, Outcome, Peer, Plan, Preference, Questions,
    Region, Store, Survey,
};

/// Kinds of message, numbered as in questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Message {
    Connect,
    Ping,
    Pong,
    Query,
    QueryHit,
    Push,
    RouteTable,
    Vendor,
    Bye,
    Download,
    Upload,
    Deploy,
    Relay,
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// From the peer.
    Inbound,
    /// To the peer.
    Outbound,
}

/// Decisions about one peer in the answer of [`meet`].
pub const RIGHTS: usize = 26;

impl Message {
    /// Its place among the [`RIGHTS`] of a peer.
    #[must_use]
    pub const fn right(self, direction: Direction) -> usize {
        self as usize * 2 + direction as usize
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Go,
    /// Refuse, and say so.
    Deny,
    /// Throw away.
    Drop,
    /// It depends on the message: ask with [`decide`].
    Ask,
}

impl Verdict {
    /// The verdict with this number; [`Verdict::Drop`] for one that this version does not know.
    #[must_use]
    pub const fn of(number: u8) -> Self {
        match number {
            0 => Self::Go,
            1 => Self::Deny,
            3 => Self::Ask,
            _ => Self::Drop,
        }
    }
}

impl Decisions {
    /// The i-th verdict; [`Verdict::Go`] where there is none.
    #[must_use]
    pub fn verdict(&self, i: usize) -> Verdict {
        self.verdicts.get(i).map_or(Verdict::Go, |number| Verdict::of(*number))
    }
}

/// The generation in force; 0 where the service has no policy.
#[must_use]
pub fn generation() -> u64 {
    policy::generation()
}

/// What the generation in force says of routes and neighbours as a whole. It changes with the generation alone.
#[must_use]
pub fn planned() -> Plan {
    policy::planned()
}

/// What the generation in force reads of peers beside what is asked: whether [`regions`] and [`measured`] are worth a call.
#[must_use]
pub fn surveyed() -> Survey {
    policy::surveyed()
}

/// In which regions peers are, by their connections. It may change at any time.
#[must_use]
pub fn regions(conns: &[u64]) -> Vec<Region> {
    policy::regions(conns)
}

/// Says how links do, so that rules can ask for it; once a second is enough. What each costs, where the policy says.
#[expect(clippy::must_use_candidate, reason = "what links cost need not matter to who tells of them")]
pub fn measured(links: &[Link]) -> Vec<Option<f64>> {
    policy::measured(links)
}

/// Says who peers are. The answer has [`RIGHTS`] decisions of the chain `access` for each, by [`Message::right`].
#[must_use]
pub fn meet(peers: &[Peer]) -> Decisions {
    policy::meet(peers)
}

/// Decides, and counts. Columns that are left empty say nothing.
#[must_use]
pub fn decide(questions: &Questions) -> Decisions {
    policy::decide(questions)
}

/// Counts settled decisions: outcomes of this generation, and how often each was made use of since the last call.
pub fn used(generation: u64, outcomes: &[u32], counts: &[u64]) {
    policy::used(generation, outcomes, counts);
}

/// What an outcome of the generation in force is: rule, action, reason.
#[must_use]
pub fn describe(outcome: u32) -> Option<Outcome> {
    policy::describe(outcome)
}
