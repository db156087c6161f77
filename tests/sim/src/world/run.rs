//! All shards side by side, on as many threads as one likes.
//!
//! Whatever one peer does reaches another after the delay of the way between them, never less than
//! [`Places::LEAST_DELAY_US`](crate::internet::Places::LEAST_DELAY_US). So shards need not hear of each other for as long
//! as that: time is cut into windows of this length, each shard runs through a window by itself, and what it has for
//! another is taken in before the next one, in the order of the senders' numbers (conservative synchronisation with
//! lookahead: Chandy and Misra 1979; in windows: Lubachevsky 1989). Which thread runs which shard changes nothing.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use avp::Instant;

use super::Shard;
use super::mail::Parcel;
use crate::internet::Places;

/// Length of a window, in nanoseconds.
const WINDOW: u64 = Places::LEAST_DELAY_US as u64 * 1_000;
/// How often a thread that waits looks before it lets others have its core...
const SPINS: u32 = 1_000;
/// ...and how often then, before it sleeps: to be woken takes as long as some hundred looks.
const YIELDS: u32 = 200;

/// Lets everything happen up to a time, included.
pub(super) fn run(shards: &mut [Shard], threads: usize, until: Instant) {
    if let [only] = shards {
        only.run_until(until);
        only.rest_until(until);
        return;
    }
    let count = shards.len();
    let from = shards.first().map_or(until.0, |shard| shard.now().0);
    let stage = Stage {
        mail: [(); 2].map(|()| (0..count * count).map(|_| Mutex::default()).collect()),
        shards: shards.iter_mut().map(|shard| Mutex::new((0, shard))).collect(),
        meeting: Meeting::new(threads.clamp(1, count)),
        panic: Mutex::new(None),
    };
    std::thread::scope(|scope| {
        let stage = &stage;
        for thread in 1..stage.meeting.threads {
            scope.spawn(move || stage.work(thread, from, until.0));
        }
        stage.work(0, from, until.0);
    });
    if let Some(panic) = stage.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(panic);
    }
    for shard in shards {
        shard.rest_until(until);
    }
}

/// What threads share while shards run.
struct Stage<'a> {
    /// Of windows with even and with odd numbers: by receiver, then by sender.
    mail: [Vec<Mutex<Parcel>>; 2],
    /// How many windows each is through with.
    shards: Vec<Mutex<(u64, &'a mut Shard)>>,
    meeting: Meeting,
    /// The first of a peer or a check, which ends the run.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Stage<'_> {
    fn work(&self, thread: usize, from: u64, until: u64) {
        let (mut window, mut begin) = (1, from);
        loop {
            // The last window is empty: mail is taken in.
            let end = (begin + WINDOW).min(until + 1);
            let run = || self.window(thread, window, Instant(end - 1));
            if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                lock(&self.panic).get_or_insert(panic);
            }
            self.meeting.wait();
            if begin > until || lock(&self.panic).is_some() {
                return;
            }
            (window, begin) = (window + 1, end);
        }
    }

    /// Runs shards through a window: first those that this thread ran before, which its core's cache may have, then those
    /// that nobody else has begun.
    fn window(&self, thread: usize, window: u64, last: Instant) {
        let (count, threads) = (self.shards.len(), self.meeting.threads);
        let own = (thread..count).step_by(threads);
        let others = (0..count).filter(|n| n % threads != thread);
        for n in own.chain(others) {
            let Ok(mut guard) = self.shards[n].try_lock() else { continue };
            let (through, shard) = &mut *guard;
            if *through >= window {
                continue;
            }
            *through = window;
            let [read, write] = if window.is_multiple_of(2) { [0, 1] } else { [1, 0] };
            for sender in 0..count {
                shard.take_in(&mut lock(&self.mail[read][n * count + sender]));
            }
            shard.run_until(last);
            for (receiver, parcel) in shard.out.iter_mut().enumerate() {
                std::mem::swap(&mut *lock(&self.mail[write][receiver * count + n]), parcel);
            }
        }
    }
}

/// A panic elsewhere ends the run anyhow.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where threads wait for each other. Windows are short: who comes early looks for a while before it sleeps.
struct Meeting {
    threads: usize,
    here: AtomicUsize,
    round: AtomicUsize,
    gate: Mutex<()>,
    turned: Condvar,
}

impl Meeting {
    fn new(threads: usize) -> Self {
        Self {
            threads,
            here: AtomicUsize::new(0),
            round: AtomicUsize::new(0),
            gate: Mutex::new(()),
            turned: Condvar::new(),
        }
    }

    fn wait(&self) {
        let round = self.round.load(Ordering::Acquire);
        if self.here.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.here.store(0, Ordering::Relaxed);
            let gate = lock(&self.gate);
            self.round.store(round.wrapping_add(1), Ordering::Release);
            drop(gate);
            self.turned.notify_all();
            return;
        }
        for _ in 0..SPINS {
            if self.round.load(Ordering::Acquire) != round {
                return;
            }
            std::hint::spin_loop();
        }
        for _ in 0..YIELDS {
            if self.round.load(Ordering::Acquire) != round {
                return;
            }
            std::thread::yield_now();
        }
        let mut gate = lock(&self.gate);
        while self.round.load(Ordering::Acquire) == round {
            gate = self.turned.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
