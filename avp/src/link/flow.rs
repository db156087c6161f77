//! The send side of one relation: straight through, or queued.

use std::sync::Arc;
use std::time::Duration;

use super::queue::{Pushed, QUEUE_BYTES_MAX, Queue};
use crate::host::Instant;
use crate::network::traffic::{Class, Rank};
use crate::state::saved;

/// Bytes that one batch takes to one relation before the rest waits: what the shell calls congested anyway.
pub const BATCH_BYTES_MAX: u32 = 64 * 1024;
/// From here on a relation is flow-controlled: half of its queue.
pub const CONTROL_ENTER_BYTES: usize = QUEUE_BYTES_MAX / 2;
/// Below this it is not any more: a quarter of its queue.
pub const CONTROL_LEAVE_BYTES: usize = QUEUE_BYTES_MAX / 4;
/// A relation that takes nothing for so long is given up.
pub const STALLED_MAX: Duration = Duration::from_secs(120);

/// Whether a relation takes messages now, and what waits until it does. Without memory of its own while it does.
#[derive(Debug, Default)]
pub struct Flow {
    /// Present while anything waits.
    queue: Option<Box<Queue>>,
    /// Since when the shell has no room; gone with its `Writable`.
    congested_since: Option<Instant>,
    /// The batch in which `batch_bytes` were sent.
    batch: u32,
    batch_bytes: u32,
    controlled: bool,
}

saved!(Flow { queue, congested_since, batch, batch_bytes, controlled });

/// What queueing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Entered,
    Left,
}

impl Flow {
    /// How full the queue is, 0 to 1.
    #[must_use]
    pub fn fill(&self) -> f64 {
        self.queue.as_ref().map_or(0.0, |queue| queue.bytes() as f64 / QUEUE_BYTES_MAX as f64)
    }

    /// Whether a message of `len` bytes can go straight into batch number `batch`; counts it if so.
    #[inline]
    pub(super) fn admit(&mut self, batch: u32, len: usize) -> bool {
        if self.queue.is_some() || self.congested_since.is_some() {
            return false;
        }
        if self.batch != batch {
            (self.batch, self.batch_bytes) = (batch, 0);
        }
        let bytes = self.batch_bytes.saturating_add(len as u32);
        if bytes > BATCH_BYTES_MAX && self.batch_bytes > 0 {
            return false;
        }
        self.batch_bytes = bytes;
        true
    }

    pub(super) fn wait(
        &mut self,
        rank: Rank,
        message: Arc<[u8]>,
        dropped: impl FnMut(Class),
    ) -> (Pushed, Change) {
        let queue = self.queue.get_or_insert_default();
        let pushed = queue.push(rank, message, dropped);
        let enters = !self.controlled && queue.bytes() > CONTROL_ENTER_BYTES;
        self.controlled |= enters;
        (pushed, if enters { Change::Entered } else { Change::None })
    }

    /// Takes messages out of the queue until batch number `batch` has its share.
    pub(super) fn refill(&mut self, batch: u32, mut send: impl FnMut(&[u8])) -> Change {
        if self.congested_since.is_some() {
            return Change::None;
        }
        let Some(mut queue) = self.queue.take() else { return Change::None };
        let mut sent = 0;
        while sent < BATCH_BYTES_MAX as usize
            && let Some(message) = queue.pop()
        {
            sent += message.len();
            send(&message);
        }
        (self.batch, self.batch_bytes) = (batch, sent as u32);
        let leaves = self.controlled && queue.bytes() < CONTROL_LEAVE_BYTES;
        self.controlled &= !leaves;
        if !queue.is_empty() {
            self.queue = Some(queue);
        }
        if leaves { Change::Left } else { Change::None }
    }

    pub(super) fn congested(&mut self, now: Instant) {
        self.congested_since.get_or_insert(now);
    }

    pub(super) fn writable(&mut self) {
        self.congested_since = None;
    }

    /// Whether anything waits.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.queue.is_some()
    }

    /// Whether the shell has no room for it.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.congested_since.is_some()
    }

    /// Memory for what waits here, in bytes; what waits in the shell is not counted.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |q| q.held_bytes())
    }

    /// Whether the relation is flow-controlled: queries that come from it are to be dropped, since their hits could not
    /// be taken back.
    #[must_use]
    #[inline]
    pub fn is_controlled(&self) -> bool {
        self.controlled
    }

    /// Whether the peer takes nothing, and has not for [`STALLED_MAX`].
    #[must_use]
    pub fn is_stalled(&self, now: Instant) -> bool {
        self.congested_since.is_some_and(|since| now.since(since) >= STALLED_MAX)
    }
}
