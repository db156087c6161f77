//! When which relation needs attention.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::host::{ConnId, Instant};
use crate::state::{Damaged, Reader, Saved, Writer};

/// So many ended connections are borne in any case.
const SLACK: usize = 1024;

/// A clock with one hand for each connection. What is due is looked at again, and if it lives it is put back with its
/// next time; what has ended in between is simply not found then. So there is one entry a connection, and ended ones
/// leave when they would have been due, or with [`Schedule::trim`].
#[derive(Debug, Default)]
pub struct Schedule {
    due: BinaryHeap<Reverse<(Instant, ConnId)>>,
}

impl Schedule {
    /// Puts a connection in. Once for each that is new, and again when [`Self::pop_due`] has given it out.
    pub fn put(&mut self, at: Instant, conn: ConnId) {
        self.due.push(Reverse((at, conn)));
    }

    /// A connection whose time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<ConnId> {
        let Reverse((at, _)) = self.due.peek()?;
        if *at > now {
            return None;
        }
        self.due.pop().map(|Reverse((_, conn))| conn)
    }

    /// Throws ended connections out once they are the greater part, so that many short ones do not pile up.
    pub fn trim(&mut self, lives: impl Fn(ConnId) -> bool, living: usize) {
        if self.due.len() > 2 * living + SLACK {
            self.due.retain(|Reverse((_, conn))| lives(*conn));
        }
    }

    /// When the next one is due.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }
}

impl Saved for Schedule {
    fn save(&self, to: &mut Writer) {
        to.len_of(self.due.len());
        self.due.iter().for_each(|Reverse(entry)| entry.save(to));
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let due: Vec<_> = from.list(usize::MAX)?;
        Ok(Self { due: due.into_iter().map(Reverse).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_out_in_time_order() {
        let mut schedule = Schedule::default();
        for (at, conn) in [(30, 3), (10, 1), (20, 2)] {
            schedule.put(Instant(at), ConnId(conn));
        }
        assert_eq!(schedule.next_at(), Some(Instant(10)));
        assert_eq!(schedule.pop_due(Instant(9)), None);
        assert_eq!(schedule.pop_due(Instant(25)), Some(ConnId(1)));
        assert_eq!(schedule.pop_due(Instant(25)), Some(ConnId(2)));
        assert_eq!(schedule.pop_due(Instant(25)), None);
        assert_eq!(schedule.next_at(), Some(Instant(30)));
    }

    #[test]
    fn ended_connections_do_not_pile_up() {
        let mut schedule = Schedule::default();
        for conn in 0..50_000 {
            schedule.put(Instant(conn), ConnId(conn));
            schedule.trim(|c| c.0 % 1_000 == 0, 50);
            assert!(schedule.due.len() <= 2 * 50 + SLACK + 1);
        }
        assert_eq!(schedule.pop_due(Instant(0)), Some(ConnId(0)));
    }
}
