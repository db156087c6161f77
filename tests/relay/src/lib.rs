//! What one core of a virtual peer does, as scenarios that run the same natively and as a proxylet.
//!
//! Bytes go through the whole peer, from `Event::Received` to the batch that the host would send; there are no sockets.
//! `cargo bench -p eep-relay` times both and says what the sandbox costs.

mod peer;

use avp::gnutella::{Guid, Header, Kind, query};
use avp::{CloseReason, ConnId};

use peer::Peer;

/// Queries handed to the peer in one call, as a busy shell does.
const CALL: usize = 64;
/// Calls in a round.
const CALLS: usize = 200;
/// Leaves that join and go in a round.
const JOINS: usize = 500;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// 50 leaves; each query matches the one leaf whose table has its word.
    LeafToLeaf,
    /// A neighbour's query goes on to 32 neighbours and to no leaf.
    FanOut,
    /// A leaf shakes hands, sends its routing table and goes, while 1,000 others stay.
    JoinAndLeave,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::LeafToLeaf, Self::FanOut, Self::JoinAndLeave];

    /// What reports call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeafToLeaf => "leaf-to-leaf",
            Self::FanOut => "fan-out-32",
            Self::JoinAndLeave => "join-and-leave",
        }
    }

    /// Queries or joins in a round.
    #[must_use]
    pub const fn steps(self) -> usize {
        match self {
            Self::LeafToLeaf | Self::FanOut => CALL * CALLS,
            Self::JoinAndLeave => JOINS,
        }
    }

    /// How often a query is sent on.
    const fn copies(self) -> usize {
        match self {
            Self::LeafToLeaf => 1,
            Self::FanOut => 32,
            Self::JoinAndLeave => 0,
        }
    }
}

/// A peer with its community, and the next round's bytes.
#[derive(Debug)]
pub struct Round {
    scenario: Scenario,
    peer: Peer,
    members: Vec<ConnId>,
    /// What was said or joined so far; ids never come twice.
    said: u64,
    calls: Vec<(ConnId, Vec<u8>)>,
}

impl Round {
    /// The community joins.
    #[must_use]
    pub fn new(scenario: Scenario) -> Self {
        let mut peer = Peer::new();
        let members = match scenario {
            Scenario::LeafToLeaf => (0..50)
                .map(|n| peer.join(n, false, &format!("shared{n:04} archive recording.flac")))
                .collect(),
            Scenario::FanOut => (0..33).map(|n| peer.join(n, true, "archive recording.flac")).collect(),
            Scenario::JoinAndLeave => {
                (0..1_000).map(|n| peer.join(n, false, "shared archive recording.flac")).collect()
            }
        };
        Self { scenario, peer, members, said: 0, calls: Vec::new() }
    }

    /// Makes the bytes of the next round: not a part of what is timed.
    pub fn prepare(&mut self) {
        if self.scenario != Scenario::JoinAndLeave {
            self.calls = (0..CALLS).map(|n| self.call(n)).collect();
        }
    }

    /// Runs the round that was prepared.
    ///
    /// # Panics
    /// The peer sent something else than the scenario says.
    pub fn run(&mut self) {
        match self.scenario {
            Scenario::JoinAndLeave => {
                for _ in 0..JOINS {
                    self.said += 1;
                    let conn = self.peer.join(
                        self.members.len() as u64 + self.said,
                        false,
                        "another archive recording.flac",
                    );
                    self.peer.closed(conn, CloseReason::Ended);
                }
            }
            Scenario::LeafToLeaf | Scenario::FanOut => {
                let before = self.peer.sent();
                let mut received = 0;
                for (conn, bytes) in &self.calls {
                    received += bytes.len();
                    self.peer.received(*conn, bytes);
                }
                let sent = self.peer.sent() - before;
                assert_eq!(
                    sent,
                    received * self.scenario.copies(),
                    "{} is something else",
                    self.scenario.name()
                );
            }
        }
    }

    /// From each member in turn: from leaves, what each other leaf has; from neighbours, what nobody has.
    fn call(&mut self, n: usize) -> (ConnId, Vec<u8>) {
        let conn = self.members[n % self.members.len()];
        let (ttl, hops) = if self.scenario == Scenario::FanOut { (3, 1) } else { (4, 0) };
        let mut bytes = Vec::new();
        for _ in 0..CALL {
            self.said += 1;
            let text = match self.scenario {
                Scenario::FanOut => format!("wanted{:08} recording by whoever it was", self.said),
                _ => {
                    let whose = (n as u64 + 1 + self.said % 49) % 50;
                    format!("shared{whose:04} recording of an archive by me in flac")
                }
            };
            let mut guid = Guid([0xff; 16]);
            guid.0[..8].copy_from_slice(&self.said.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
            let payload = query::Builder::new(&text).finish();
            bytes.extend(Header { guid, kind: Kind::QUERY, ttl, hops, len: 0 }.frame(&payload));
        }
        (conn, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_does_what_it_says_round_after_round() {
        for scenario in Scenario::ALL {
            let mut round = Round::new(scenario);
            for _ in 0..3 {
                round.prepare();
                round.run();
            }
        }
    }
}
