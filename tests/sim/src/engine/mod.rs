//! What every simulation needs: chance that can be repeated, and events in the order of their times.

pub mod dice;
pub mod queue;

pub use dice::Dice;
pub use queue::Queue;

use avp::Instant;

/// Where virtual time begins: not at zero, so that times before the start can be told from none.
pub const START: Instant = Instant(1_000_000_000_000);
/// One millisecond in the engine's unit.
pub const MS: u64 = 1_000_000;
/// One second in the engine's unit.
pub const SECOND: u64 = 1_000 * MS;
