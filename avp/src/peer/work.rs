//! How much one call may do, and who has to wait for the next.
//!
//! A few bytes can cost milliseconds: a query that every leaf may answer, a routing table of the largest size. The shell
//! ends a call that takes too long, and with it every relation. So messages cost work, a relation has a share of it in
//! each call, and what it has sent beyond that waits for the next call, behind what others have sent.

use std::collections::VecDeque;
use std::time::Duration;

use crate::host::ConnId;
use crate::state::{Damaged, Reader, Saved, Writer};

/// Work of one call. A unit is some ten nanoseconds natively and twenty in a sandbox, so that a call stays well below the
/// second that shells grant.
const CALL_WORK_MAX: u32 = 8_000_000;
/// The share of it that one relation's bytes may take.
const CHUNK_WORK_MAX: u32 = CALL_WORK_MAX / 16;
/// What a message costs that is only read.
pub(super) const MESSAGE_WORK: u32 = 20;
/// What each copy costs that is sent on.
pub(super) const COPY_WORK: u32 = 2;
/// What each row of the matrix costs that a routing table's update changes.
pub(super) const ROW_WORK: u32 = 1;
/// Slots of a routing table that an update only looks at, for one unit.
pub(super) const SLOTS_A_UNIT: u32 = 16;
/// When what has to wait is looked at again.
pub(super) const PAUSE: Duration = Duration::from_millis(1);

/// Between two calls none is left.
impl Saved for Work {
    fn save(&self, to: &mut Writer) {
        to.list(self.waiting.iter());
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { left: 0, waiting: from.list(usize::MAX)? })
    }
}

/// The work that is left, and who waits for more.
#[derive(Debug, Default)]
pub(super) struct Work {
    left: u32,
    waiting: VecDeque<ConnId>,
}

impl Work {
    /// A call begins.
    pub(super) fn begin(&mut self) {
        self.left = CALL_WORK_MAX;
    }

    /// Where one relation's share of what is left ends, for [`Self::is_left`].
    pub(super) fn share(&self) -> u32 {
        self.left.saturating_sub(CHUNK_WORK_MAX)
    }

    /// Whether a relation may go on that has this [`Self::share`].
    #[inline]
    pub(super) fn is_left(&self, share: u32) -> bool {
        self.left > share
    }

    #[inline]
    pub(super) fn spend(&mut self, units: u32) {
        self.left = self.left.saturating_sub(units);
    }

    /// A relation has to wait. Once until [`Self::next`] has named it.
    pub(super) fn wait(&mut self, conn: ConnId) {
        self.waiting.push_back(conn);
    }

    /// Who may go on, as long as there is work left.
    pub(super) fn next(&mut self) -> Option<ConnId> {
        if self.left == 0 {
            return None;
        }
        self.waiting.pop_front()
    }

    /// Whether anybody has to wait.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}
