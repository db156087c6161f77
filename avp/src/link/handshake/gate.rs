//! What the handshake must ask of those who know the whole: may this peer come in, and as what?

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::hello::Hello;
use crate::link::Role;

/// A crawler is answered once in so long.
pub const CRAWL_INTERVAL: Duration = Duration::from_secs(300);

/// Decides over proposed relations. Who implements it knows the slots, the other peers and the policy.
pub trait Gate {
    /// Says whether and as what the peer comes in. Asked once a handshake, as soon as the peer has said who it is.
    /// An admission stands, and its slot is taken, until the handshake ends
    /// ([`super::Handshake::reserved`]).
    ///
    /// # Errors
    /// The peer is told the refusal's code and reason, and other ultrapeers to try.
    fn judge(&mut self, proposal: &Proposal<'_>) -> Result<Admission, Refusal>;

    /// Appends ultrapeers that a peer may try instead of us or besides us; of more than
    /// [`super::TRY_HOSTS_MAX`] only so many are sent.
    fn ultrapeers_to_try(&mut self, into: &mut Vec<SocketAddr>);

    /// Who is connected to us, for a crawler at `asker`; `None` where it asks more often than once in
    /// [`CRAWL_INTERVAL`].
    fn census(&mut self, asker: IpAddr) -> Option<Census>;
}

/// What a peer proposes.
#[derive(Clone, Copy, Debug)]
pub struct Proposal<'a> {
    /// The other end of the connection.
    pub remote: SocketAddr,
    /// Whether we made the connection.
    pub dialled: bool,
    /// What the peer is, and so wants to be to us.
    pub role: Role,
    /// All that it said of itself. Empty for Gnutella 0.4.
    pub hello: &'a Hello,
}

/// How a peer comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// What it will be to us: what it proposes, or, of an ultrapeer that connected to us, [`Role::Leaf`]: then it is
    /// asked to become one (with `ultrapeer_needed` false), and if it insists the handshake fails.
    pub role: Role,
    /// Whether we look for more ultrapeers (`X-Ultrapeer-Needed`).
    pub ultrapeer_needed: bool,
}

/// Why a peer does not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// All slots for leaves are taken.
    LeavesFull,
    /// All slots for ultrapeers are taken.
    UltrapeersFull,
    /// All slots for peers without ultrapeer support are taken, or there are none.
    OldFull,
    /// The same servent, or the same address and port, is connected already.
    Duplicate,
    /// Its servent GUID is ours: we dialled ourselves.
    Ourselves,
    /// Too many connections from its address.
    TooManyFromAddress,
    /// A crawler that asks again too soon.
    AskedTooOften,
    /// A rule of the operator keeps it out.
    Forbidden,
    /// We are about to stop.
    ShuttingDown,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::LeavesFull,
        Self::UltrapeersFull,
        Self::OldFull,
        Self::Duplicate,
        Self::Ourselves,
        Self::TooManyFromAddress,
        Self::AskedTooOften,
        Self::Forbidden,
        Self::ShuttingDown,
    ];

    /// The status code in the handshake.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::LeavesFull | Self::UltrapeersFull | Self::ShuttingDown => 503,
            Self::OldFull | Self::Forbidden => 403,
            Self::Duplicate | Self::Ourselves => 409,
            Self::TooManyFromAddress | Self::AskedTooOften => 429,
        }
    }

    /// The text beside the code.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::LeavesFull => "Too many leaf connections",
            Self::UltrapeersFull => "Too many ultrapeer connections",
            Self::OldFull => "Normal nodes refused",
            Self::Duplicate => "Already connected",
            Self::Ourselves => "Connected to itself",
            Self::TooManyFromAddress => "Too many connections from this address",
            Self::AskedTooOften => "Asked too often",
            Self::Forbidden => "Not allowed here",
            Self::ShuttingDown => "Shutting down",
        }
    }

    /// The value of the `reason` label in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LeavesFull => "leaves_full",
            Self::UltrapeersFull => "ultrapeers_full",
            Self::OldFull => "old_full",
            Self::Duplicate => "duplicate",
            Self::Ourselves => "ourselves",
            Self::TooManyFromAddress => "too_many_from_address",
            Self::AskedTooOften => "asked_too_often",
            Self::Forbidden => "forbidden",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// Who is connected, as a crawler may know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Addresses of neighbour ultrapeers.
    pub ultrapeers: Vec<SocketAddr>,
    /// Addresses of leaves.
    pub leaves: Vec<SocketAddr>,
}
