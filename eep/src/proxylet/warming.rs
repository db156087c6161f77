//! An instance gets its memory before it takes over.
//!
//! Most of the time of a `restore` with much state goes into memory that the system gives page by page, when each is
//! written to for the first time. A proxylet that exports `takeover` is given it while the other instance still serves: a
//! step, a batch of that one, the next step.

use crate::proxylet::instance::Instance;
use crate::proxylet::trap::TrapReport;

/// An instance that is being made ready.
pub(crate) struct Warming<'a> {
    instance: &'a mut Instance,
    left: usize,
}

impl<'a> Warming<'a> {
    /// Bytes from which on it is worth the trouble.
    const BYTES_MIN: usize = 4 << 20;
    /// Bytes that are asked for ahead at most; what is needed beyond takes its time in `restore`.
    const BYTES_MAX: usize = 512 << 20;
    /// Bytes of one step: some 256 pages, less than a millisecond.
    const STEP_BYTES: usize = 1 << 20;

    /// Makes an instance ready to have as much memory as the one has from which it takes over, and what the state has grown
    /// by since: the new one has it twice for a while, as it is handed over and as it is used. None where it cannot be made ready, or that would take no time.
    pub(crate) fn of(instance: &'a mut Instance, from: &Instance) -> Option<Self> {
        let wanted = from.memory_bytes() + from.state_growth_bytes();
        let left = wanted.saturating_sub(instance.memory_bytes()).min(Self::BYTES_MAX);
        (instance.can_warm() && left >= Self::BYTES_MIN).then_some(Self { instance, left })
    }

    /// Takes the next step. Whether it was the last one.
    pub(crate) fn step(&mut self) -> Result<bool, TrapReport> {
        let step = self.left.min(Self::STEP_BYTES);
        self.left -= step;
        self.instance.warm(step as u32)?;
        Ok(step == 0)
    }
}
