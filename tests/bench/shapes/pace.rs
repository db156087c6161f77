//! When to send: at a rate, whatever comes back, or as much as has come back.

use std::time::{Duration, Instant};

use super::Load;

/// The grid on which a paced thread sends. Queries carry the time of the grid and not the time at which the thread
/// got to them, so a thread that is late shows up as latency and hides nothing.
const TICK: Duration = Duration::from_millis(1);
/// After so long without anything coming back, what a sender has outstanding counts as lost.
const GIVEN_UP: Duration = Duration::from_secs(1);

/// A fixed rate.
#[derive(Debug)]
struct Rate {
    per_tick: f64,
    owed: f64,
    next: Duration,
}

impl Rate {
    fn new(per_second: f64, start: Duration) -> Self {
        Self { per_tick: per_second * TICK.as_secs_f64(), owed: 0.0, next: start }
    }

    /// How many queries are due at `now`, and the time of the grid that they carry; one tick a call.
    fn due(&mut self, now: Duration) -> Option<(u32, Duration)> {
        if now < self.next {
            return None;
        }
        let at = self.next;
        self.next += TICK;
        self.owed += self.per_tick;
        let whole = self.owed.floor();
        self.owed -= whole;
        Some((whole as u32, at))
    }

    /// How long until more are due.
    fn wait(&self, now: Duration) -> Duration {
        self.next.saturating_sub(now)
    }
}

/// A sender that keeps a number of queries under way.
#[derive(Clone, Debug)]
struct Window {
    size: u32,
    sent: u64,
    /// Answers and losses together.
    settled: u64,
    heard: u64,
    changed: Instant,
}

impl Window {
    fn new(size: u32) -> Self {
        Self { size: size.max(1), sent: 0, settled: 0, heard: 0, changed: Instant::now() }
    }

    /// How many to send now, when `heard` have come back so far. Waits for half a window, so that writes are whole
    /// batches.
    fn due(&mut self, heard: u64) -> u32 {
        if heard > self.heard {
            self.settled = (self.settled + (heard - self.heard)).min(self.sent);
            self.heard = heard;
            self.changed = Instant::now();
        }
        let mut under_way = (self.sent - self.settled) as u32;
        if under_way > 0 && self.changed.elapsed() > GIVEN_UP {
            self.settled = self.sent;
            under_way = 0;
        }
        if under_way > self.size / 2 {
            return 0;
        }
        let n = self.size - under_way;
        self.sent += u64::from(n);
        self.changed = Instant::now();
        n
    }
}

/// Peers that send when they are told to.
pub(super) trait Senders {
    fn count(&self) -> usize;

    /// Since the start of the run.
    fn now(&self) -> Duration;

    /// Sends `n` queries from one sender, stamped with `at`.
    fn burst(&mut self, sender: usize, n: u32, at: Duration);

    /// Whether all that a sender had to send has left.
    fn idle(&self, sender: usize) -> bool;

    /// How many of a sender's queries have arrived so far.
    fn heard(&self, sender: usize) -> u64;

    /// Waits for sockets at most `limit`, and does what they ask for.
    fn turn(&mut self, limit: Duration) -> Result<(), String>;
}

/// Sends until the end of `span`, and returns how many queries were sent within it. `share` is the part of the
/// load's rate that these senders have.
pub(super) fn drive(
    senders: &mut impl Senders,
    load: &Load,
    share: f64,
    span: (Duration, Duration),
) -> Result<u64, String> {
    match load.rate {
        Some(rate) => paced(senders, load, Rate::new(f64::from(rate) * share, senders.now()), span),
        None => windowed(senders, load, span),
    }
}

fn paced(
    senders: &mut impl Senders,
    load: &Load,
    mut rate: Rate,
    span: (Duration, Duration),
) -> Result<u64, String> {
    let (mut sent, mut sender) = (0, 0);
    loop {
        let now = senders.now();
        if now >= span.1 {
            return Ok(sent);
        }
        while let Some((mut due, at)) = rate.due(now) {
            if at >= span.0 && at < span.1 {
                sent += u64::from(due);
            }
            while due > 0 {
                let n = due.min(load.batch.max(1));
                senders.burst(sender, n, at);
                due -= n;
                sender = (sender + 1) % senders.count();
            }
        }
        let wait = rate.wait(senders.now());
        senders.turn(wait)?;
    }
}

fn windowed(senders: &mut impl Senders, load: &Load, span: (Duration, Duration)) -> Result<u64, String> {
    let heard_before: Vec<u64> = (0..senders.count()).map(|s| senders.heard(s)).collect();
    let mut windows = vec![Window::new(load.window); senders.count()];
    let mut sent = 0;
    loop {
        let now = senders.now();
        if now >= span.1 {
            return Ok(sent);
        }
        for (sender, window) in windows.iter_mut().enumerate() {
            if !senders.idle(sender) {
                continue;
            }
            let due = window.due(senders.heard(sender) - heard_before[sender]);
            if due > 0 {
                if now >= span.0 {
                    sent += u64::from(due);
                }
                senders.burst(sender, due, now);
            }
        }
        senders.turn(TICK)?;
    }
}
