//! Waiting for a condition with a deadline.

use std::time::{Duration, Instant};

/// How long a test waits for what normally takes milliseconds: a bound on a hang, far beyond what a busy machine takes.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition is looked at that nothing announces.
const POLL: Duration = Duration::from_millis(10);

/// Looks at `condition` until it gives something.
///
/// # Panics
/// Where it gives nothing within `limit`; the message says `what` was waited for.
pub fn until_within<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(POLL);
    }
}

/// [`until_within`] the usual [`PATIENCE`].
pub fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, condition)
}

/// Waits for a yes.
pub fn until_true(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, || condition().then_some(()));
}
