//! The thread that compresses and writes, so that the service's does neither.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::proxylet::digest::Digest;
use crate::proxylet::state_store::StateStore;
use crate::record::chunk::{CONTENT_MAX, Chunk, MAGIC, Packer};
use crate::record::entry::{Lost, Tag, put, put_value};
use crate::record::kept::Kept;
use crate::record::queue::{Queue, Waiting};

/// Where chunks go.
pub(crate) trait Sink: Send {
    /// Takes over all of these, one after the other; where there is no room, none of them. Where it is `behind`, much more
    /// waits already.
    fn write(&mut self, parts: &[&[u8]], behind: bool) -> Result<(), Stopped>;

    /// Takes over the last of all, whatever the budget says.
    fn last(&mut self, parts: &[&[u8]]) -> Result<(), Stopped> {
        self.write(parts, false)
    }

    /// Has what it took over be where it can be read: all of it, or what has waited for a while.
    fn settle(&mut self, _all: bool) -> Result<(), Stopped> {
        Ok(())
    }

    /// Whether the next has to wait until somebody takes what is there.
    fn waits(&self) -> bool {
        false
    }

    /// Whether it would rather go on in a new file.
    fn is_large(&self) -> bool {
        false
    }

    /// Goes on in a new file.
    fn renew(&mut self) -> Result<(), Stopped> {
        Ok(())
    }

    /// Whether there is nobody who would read it.
    fn is_gone(&self) -> bool {
        false
    }
}

/// Why nothing is written any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    /// The system refused.
    #[error("{0}")]
    System(#[from] io::Error),
    /// There is no room for more in the present file.
    #[error("the budget is used up")]
    Full,
    /// Whoever read it has gone.
    #[error("nobody reads it any more")]
    Gone,
}

/// Content that has been written, in bytes before compression.
pub(crate) type Written = Arc<AtomicU64>;

/// Writes what comes through a queue.
pub(crate) struct Writer<S> {
    pub(crate) queue: Arc<Queue>,
    pub(crate) sink: S,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) written: Written,
    packer: Packer,
    allowance: Allowance,
    /// The code that is in the present file.
    code: Option<Digest>,
    /// Whether there is no room for more in it.
    full: bool,
}

impl<S: Sink> Writer<S> {
    pub(crate) fn new(queue: Arc<Queue>, sink: S, store: Arc<dyn StateStore>) -> Self {
        let (packer, allowance) = (Packer::default(), Allowance::new(Instant::now()));
        Self { queue, sink, store, written: Written::default(), packer, allowance, code: None, full: false }
    }

    /// Writes until the service ends or nothing can be written any more.
    pub(crate) fn run(mut self) -> Result<(), Stopped> {
        let done = self.write_all().and_then(|()| self.sink.settle(true));
        self.queue.close();
        done
    }

    fn write_all(&mut self) -> Result<(), Stopped> {
        self.sink.write(&[&MAGIC], false)?;
        let mut taken = Waiting::default();
        while self.queue.take(&mut taken) {
            if self.sink.is_gone() {
                return Err(Stopped::Gone);
            }
            let entries = std::mem::take(&mut taken.entries);
            let is_large = self.full || self.sink.is_large();
            match taken.turn.filter(|_| is_large) {
                Some(turn) => {
                    self.write(&entries, 0..turn.end, None)?;
                    self.sink.renew()?;
                    (self.code, self.full) = (None, false);
                    self.sink.write(&[&MAGIC], false)?;
                    self.write(&entries, turn.begin..taken.len, taken.code)?;
                }
                None => self.write(&entries, 0..taken.len, taken.code)?,
            }
            if self.full || self.sink.is_large() {
                self.queue.want_base();
            }
            self.sink.settle(taken.len < Queue::WAKE_BYTES)?;
            taken.entries = entries;
        }
        Ok(())
    }

    /// Writes entries, and before them the code, where it is not there yet and can be had by now. Where the file is full
    /// they are left out, until a checkpoint lets the next one begin.
    fn write(&mut self, entries: &Kept, range: Range<usize>, code: Option<Digest>) -> Result<(), Stopped> {
        if self.full {
            return Ok(());
        }
        let mut before = Vec::new();
        if let Some(digest) = code.filter(|code| self.code != Some(*code))
            && let Some(bytes) = self.store.code(&digest)
        {
            put(&mut before, Tag::Code, digest.bytes(), &bytes);
            self.code = Some(digest);
        }
        let (now, waits) = (Instant::now(), self.sink.waits());
        let mut chunks = Vec::new();
        for run in [before.as_slice()].into_iter().chain(entries.runs_of(range)) {
            for piece in run.chunks(CONTENT_MAX) {
                let compress = waits || self.allowance.take(piece.len(), now);
                chunks.push(self.packer.chunk(piece, compress));
                self.written.fetch_add(piece.len() as u64, Relaxed);
            }
        }
        if chunks.is_empty() {
            return Ok(());
        }
        let parts: Vec<_> = chunks.iter().flat_map(Chunk::parts).collect();
        match self.sink.write(&parts, entries.len() >= Queue::BEHIND_BYTES) {
            Err(Stopped::Full) => self.say_full(),
            done => done,
        }
    }

    /// Ends a full file with a word about it.
    fn say_full(&mut self) -> Result<(), Stopped> {
        self.full = true;
        let mut entry = Vec::new();
        let why = "the budget was used up before a checkpoint let the next file begin".into();
        put_value(&mut entry, Tag::Lost, &Lost { calls: 0, why });
        self.sink.last(&self.packer.chunk(&entry, true).parts())
    }
}

/// How much may be compressed. It takes more of a processor's time than all else that a recording does: what a service does
/// beyond this is stored as it is. Of what one that does far more could have compressed so little is left to gain that
/// nothing of it is.
#[derive(Debug)]
struct Allowance {
    left: usize,
    at: Instant,
}

impl Allowance {
    /// Bytes that may be compressed in a second, and that may be saved up: half a hundredth of a processor's time, where it
    /// is a slow one.
    const BYTES_PER_S: usize = 1 << 20;
    /// So many bytes that are stored as they are count as one that is compressed: where a service does as many times more
    /// than may be compressed, nothing is.
    const STORED_FOR_ONE: usize = 8;

    fn new(now: Instant) -> Self {
        Self { left: Self::BYTES_PER_S, at: now }
    }

    /// Whether so many bytes may be compressed now.
    fn take(&mut self, bytes: usize, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * Self::BYTES_PER_S as f64;
        self.left = Self::BYTES_PER_S.min(self.left.saturating_add(earned as usize));
        self.at = now;
        let may = bytes <= self.left;
        self.left = self.left.saturating_sub(if may { bytes } else { bytes / Self::STORED_FOR_ONE });
        may
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Which share of its bytes a service may have compressed that does so many in a second, in pieces of this size.
    fn share(bytes_per_s: usize, piece: usize) -> f64 {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let (mut all, mut may) = (0_u64, 0_u64);
        for i in 0..20 * bytes_per_s / piece {
            let at = Duration::from_secs_f64((i * piece) as f64 / bytes_per_s as f64);
            let taken = allowance.take(piece, start + at);
            // The first seconds have what was saved up.
            if at >= Duration::from_secs(5) {
                (all, may) = (all + 1, may + u64::from(taken));
            }
        }
        may as f64 / all as f64
    }

    #[test]
    fn what_is_compressed_is_held_to_its_allowance() {
        const MAX: usize = Allowance::BYTES_PER_S;
        for piece in [10_000, 256 << 10, CONTENT_MAX] {
            assert_eq!(share(MAX - MAX / 16, piece), 1.0);
            let share_of_twice = share(2 * MAX, piece);
            assert!((0.3..0.5).contains(&share_of_twice), "{share_of_twice} in pieces of {piece}");
        }
        assert_eq!(share(2 * Allowance::STORED_FOR_ONE * MAX, 256 << 10), 0.0);
    }

    #[test]
    fn what_is_not_compressed_is_saved_up() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let piece = Allowance::BYTES_PER_S / 4;
        let taken = |allowance: &mut Allowance, after_s| {
            let now = start + Duration::from_secs(after_s);
            (0..100).filter(|_| allowance.take(piece, now)).count()
        };
        assert_eq!(taken(&mut allowance, 0), 4);
        assert_eq!(taken(&mut allowance, 600), 4);
    }
}
