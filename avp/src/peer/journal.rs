//! What the operator is told in words.
//!
//! Strangers decide how often there is something to tell. So lines about single peers have a rate, beyond which they are
//! only counted, and what the operator should know or act on is repeated only once in a while. What is in a line that a peer
//! has said itself is escaped.

use std::fmt;
use std::time::Duration;

use crate::host::{Host, Instant, Level};
use crate::link::Role;
use crate::network::rate::{Bucket, OncePer};
use crate::state::{Damaged, Reader, Saved, Writer, choice};
use crate::tables::Hasher;

/// Lines about single leaves, and about single neighbours, in a second, in the mean.
const LINES_PER_SECOND: u32 = 2;
/// And at once, after silence.
const LINES_BURST: u32 = 40;
/// From one line about a topic to the next.
const TOPIC_INTERVAL: Duration = Duration::from_secs(600);

/// What a line that is seldom repeated is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    /// An address that may not be dialled.
    NotGranted,
    /// The shell's limit of connections.
    Limit,
    /// Slots for leaves.
    Leaves,
    /// Slots for ultrapeers.
    Ultrapeers,
    /// The bound on what is held.
    Held,
    /// Where this peer can be reached.
    Address,
    /// That nobody else is known.
    Alone,
}

const TOPICS: [Topic; 7] = [
    Topic::NotGranted,
    Topic::Limit,
    Topic::Leaves,
    Topic::Ultrapeers,
    Topic::Held,
    Topic::Address,
    Topic::Alone,
];

choice!(Topic, TOPICS);

/// Lines on their way to the log.
#[derive(Debug)]
pub(super) struct Journal {
    lines: Vec<(Level, String)>,
    leaves: Rate,
    neighbours: Rate,
    told: OncePer<Topic>,
}

#[derive(Debug)]
struct Rate {
    bucket: Bucket,
    left_out: u64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { bucket: Bucket::new(LINES_PER_SECOND, LINES_BURST), left_out: 0 }
    }
}

impl Journal {
    pub(super) fn new(hasher: &Hasher) -> Self {
        Self {
            lines: Vec::new(),
            leaves: Rate::default(),
            neighbours: Rate::default(),
            told: OncePer::new(TOPIC_INTERVAL, TOPICS.len(), hasher.clone()),
        }
    }

    /// Something that a peer has done: a neighbour is worth a line to the operator, a leaf to the developer.
    pub(super) fn of_peer(&mut self, now: Instant, role: Role, line: fmt::Arguments<'_>) {
        let (rate, level) = match role.is_neighbour() {
            true => (&mut self.neighbours, Level::Info),
            false => (&mut self.leaves, Level::Debug),
        };
        if !rate.bucket.pass(now) {
            rate.left_out += 1;
            return;
        }
        let left_out = std::mem::take(&mut rate.left_out);
        if left_out > 0 {
            let whom = if role.is_neighbour() { "neighbours" } else { "leaves" };
            self.lines.push((level, format!("{left_out} lines about {whom} left out")));
        }
        self.lines.push((level, format!("{} {line}", role.name())));
    }

    /// Something that the operator should act on; `topic` tells which lines are the same.
    pub(super) fn warn(&mut self, now: Instant, topic: Topic, line: fmt::Arguments<'_>) {
        self.seldom(now, Level::Warn, topic, line);
    }

    /// Something that the operator may want to know; `topic` tells which lines are the same.
    pub(super) fn tell(&mut self, now: Instant, topic: Topic, line: fmt::Arguments<'_>) {
        self.seldom(now, Level::Info, topic, line);
    }

    fn seldom(&mut self, now: Instant, level: Level, topic: Topic, line: fmt::Arguments<'_>) {
        if self.told.pass(now, topic) {
            self.lines.push((level, line.to_string()));
        }
    }

    /// Hands the lines over.
    pub(super) fn flush(&mut self, host: &mut impl Host) {
        for (level, line) in self.lines.drain(..) {
            host.log(level, &line);
        }
    }
}

/// Between two calls there are no lines.
impl Journal {
    pub(super) fn save(&self, to: &mut Writer) {
        for rate in [&self.leaves, &self.neighbours] {
            rate.bucket.save(to);
            rate.left_out.save(to);
        }
        self.told.save(to);
    }

    /// Takes over how much was told.
    pub(super) fn load(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        for rate in [&mut self.leaves, &mut self.neighbours] {
            rate.bucket.load(from)?;
            rate.left_out = from.count()?;
        }
        self.told.load(from)
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha12Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;
    use crate::tables;

    #[test]
    fn a_flood_of_lines_is_counted_instead() {
        let mut journal = Journal::new(&tables::hasher(&mut ChaCha12Rng::seed_from_u64(1)));
        let at = |seconds| Instant(0) + Duration::from_secs(seconds);
        for n in 0..1_000 {
            journal.of_peer(at(100), Role::Leaf, format_args!("{n}"));
            journal.warn(at(100), Topic::Leaves, format_args!("full"));
        }
        assert_eq!(journal.lines.len(), LINES_BURST as usize + 1);
        journal.of_peer(at(100), Role::Ultrapeer, format_args!("joined"));
        journal.of_peer(at(101), Role::Leaf, format_args!("left"));
        journal.warn(at(699), Topic::Leaves, format_args!("full"));
        journal.warn(at(700), Topic::Leaves, format_args!("full"));
        let said: Vec<String> = journal
            .lines
            .drain(LINES_BURST as usize + 1..)
            .map(|(level, line)| format!("{level:?} {line}"))
            .collect();
        assert_eq!(
            said,
            [
                "Info ultrapeer joined",
                "Debug 960 lines about leaves left out",
                "Debug leaf left",
                "Warn full"
            ]
        );
    }
}
