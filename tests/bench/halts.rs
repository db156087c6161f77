//! How long the machine itself stood still.
//!
//! A thread does nothing but look at the clock: what it misses, any thread that has work may miss too, whatever program it
//! is of. So a pause is judged beside the longest halt of the same time. It takes a core of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Looks at the clock until it is dropped.
pub(crate) struct Halts {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    longest_ns: AtomicU64,
    ended: AtomicBool,
}

impl Halts {
    /// Begins to look.
    pub(crate) fn watch() -> Self {
        let seen = Arc::<Seen>::default();
        let mine = Arc::clone(&seen);
        let thread = thread::spawn(move || {
            let mut last = Instant::now();
            while !mine.ended.load(Ordering::Relaxed) {
                let now = Instant::now();
                mine.longest_ns.fetch_max((now - last).as_nanos() as u64, Ordering::Relaxed);
                last = now;
            }
        });
        Self { seen, thread: Some(thread) }
    }

    /// The longest halt since this was last called.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_nanos(self.seen.longest_ns.swap(0, Ordering::Relaxed))
    }
}

impl Drop for Halts {
    fn drop(&mut self) {
        self.seen.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that only looks at the clock does not fail.
            let _ = thread.join();
        }
    }
}
