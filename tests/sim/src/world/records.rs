//! What was written down of searches and relations, and counted.

use crate::internet::place::NodeId;

/// One search, when it is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchRecord {
    /// Who asked.
    pub node: NodeId,
    /// Seconds from the beginning of the simulation.
    pub at_s: f64,
    /// Seconds to the first answer, where there was one.
    pub first_s: Option<f64>,
    /// Files found.
    pub hits: u32,
}

/// One relation of a light peer, when it is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RelationRecord {
    /// Who tells.
    pub node: NodeId,
    /// The other.
    pub other: NodeId,
    /// How long it was, in seconds.
    pub seconds: f64,
}

/// Most records of each kind that are kept.
const RECORDS_MAX: usize = 4_000_000;

/// What was written down.
#[derive(Debug, Default)]
pub struct Records {
    /// Searches that are over.
    pub searches: Vec<SearchRecord>,
    /// Relations that are over.
    pub relations: Vec<RelationRecord>,
    /// Lives that have begun.
    pub lives: u64,
    /// Relations that were made by light peers, both ends counted.
    pub joined: u64,
    /// Times that a light peer was refused.
    pub refused: u64,
    /// Searches that reached a light peer, each peer once: where a search of this peer's got.
    pub reached: u64,
    /// Events that have happened.
    pub events: u64,
}

impl Records {
    /// Writes a search down.
    pub fn search(&mut self, record: SearchRecord) {
        if self.searches.len() < RECORDS_MAX {
            self.searches.push(record);
        }
    }

    /// Writes a relation down.
    pub fn relation(&mut self, record: RelationRecord) {
        if self.relations.len() < RECORDS_MAX {
            self.relations.push(record);
        }
    }

    /// Adds what was written down elsewhere since.
    pub(super) fn append(&mut self, since: Self) {
        since.searches.into_iter().for_each(|record| self.search(record));
        since.relations.into_iter().for_each(|record| self.relation(record));
        self.lives += since.lives;
        self.joined += since.joined;
        self.refused += since.refused;
        self.reached += since.reached;
        self.events += since.events;
    }
}
