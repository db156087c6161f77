//! The memory limit of an instance.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::observe::figures::Figures;

/// Elements of each table of an instance: function pointers, as a rule a few thousand. The same in a replay, which has no
/// pool.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 20_000;

/// Holds all linear memories of an instance together to the service's limit.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    bytes_max: usize,
    bytes: usize,
    refused: bool,
    figures: Arc<Figures>,
}

impl MemoryLimit {
    pub(crate) fn new(bytes_max: u64, figures: Arc<Figures>) -> Self {
        Self {
            bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
            bytes: 0,
            refused: false,
            figures,
        }
    }

    /// Forgets that more was asked for than there may be.
    pub(crate) fn forget_refusal(&mut self) {
        self.refused = false;
    }

    /// Whether the instance has asked for more than it may have.
    pub(crate) fn was_refused(&self) -> bool {
        self.refused
    }

    /// Says how much the instance has.
    pub(crate) fn show(&self) {
        self.figures.memory_bytes.set(self.bytes as u64);
    }

    /// How much the instance has.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        if bytes > self.bytes_max {
            self.refused = true;
            return Ok(false);
        }
        self.bytes = bytes;
        self.figures.memory_bytes.set(bytes as u64);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}
