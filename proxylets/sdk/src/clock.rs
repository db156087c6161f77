//! The wall clock and timers. The monotonic time comes with every batch.
//!
//! ```
//! use eep_sdk::{Event, Events, Instant, clock};
//!
//! /// The token of the timer that comes every second.
//! const TICK: u64 = 1;
//! const SECOND_NS: u64 = 1_000_000_000;
//!
//! fn handle(now: Instant, events: Events<'_>) {
//!     for event in events {
//!         if let Event::Timer { token: TICK } = event {
//!             clock::set_timer(TICK, now + SECOND_NS);
//!         }
//!     }
//! }
//! ```

use std::time::{Duration, SystemTime};

use crate::Instant;
use crate::bindings::eep::proxylet::clock;

/// The wall clock; it may jump.
#[must_use]
pub fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(clock::wall())
}

/// Asks for [`crate::Event::Timer`] with this token, once, at or after `at`; replaces the timer of the same token.
pub fn set_timer(token: u64, at: Instant) {
    clock::set_timer(token, at);
}

/// Takes a timer back.
pub fn cancel_timer(token: u64) {
    clock::cancel_timer(token);
}
