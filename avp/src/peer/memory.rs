//! What all relations make us hold, and whose end it is when that is too much.
//!
//! Each relation has bounds of its own, but ten thousand of them at their bounds would take gigabytes. So there is a bound
//! for all together; where it is exceeded those that hold most are ended, so that nobody can take the room of others.

use std::collections::BinaryHeap;

use super::VirtualPeer;
use super::journal::Topic;
use super::table::Relation;
use crate::link::Ending;

impl VirtualPeer {
    /// Brings what one relation holds into the sum.
    pub(super) fn count_held(&mut self, index: u32) {
        let Some(relation) = self.table.get_mut(index) else { return };
        let held = relation.held_bytes();
        self.held_bytes = self.held_bytes - std::mem::replace(&mut relation.counted_bytes, held) + held;
    }

    /// Takes a relation that is over out of the sums.
    pub(super) fn forget_held(&mut self, relation: &Relation) {
        self.held_bytes -= relation.counted_bytes;
        self.dispatch.forget(&relation.link);
    }

    /// Memory for what is unfinished or has to wait, of all relations and both ways.
    pub(super) fn all_held_bytes(&self) -> usize {
        self.held_bytes + self.dispatch.held_bytes() + self.policing.memory()
    }

    /// Ends the relations that hold most, where all together hold too much.
    #[inline]
    pub(super) fn make_room(&mut self) {
        if self.all_held_bytes() > self.config.held_bytes as usize {
            self.end_greatest_holders();
        }
    }

    #[cold]
    fn end_greatest_holders(&mut self) {
        let held = |r: &Relation| (r.counted_bytes + r.link.flow.held_bytes(), r.id.index);
        let mut holders: BinaryHeap<(usize, u32)> = self.table.iter().map(held).collect();
        // Some more than must be, so that not everybody is looked at for each message.
        let enough = self.config.held_bytes as usize / 8 * 7;
        while self.all_held_bytes() > enough
            && let Some((_, index)) = holders.pop()
        {
            self.end(index, Ending::OutOfMemory);
        }
        let max = self.config.held_bytes;
        self.journal.warn(
            self.now,
            Topic::Held,
            format_args!(
                "peers made us hold more than held-bytes ({max}): those who did most were sent away"
            ),
        );
    }
}
