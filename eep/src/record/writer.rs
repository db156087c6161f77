//! The thread that compresses and writes, so that the service's does neither.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::proxylet::digest::Digest;
use crate::proxylet::state_store::StateStore;
use crate::record::chunk::{MAGIC, Packer};
use crate::record::entry::{Lost, Tag, put, put_value};
use crate::record::queue::{Queue, Waiting};

/// Where chunks go.
pub(crate) trait Sink: Send {
    /// Takes chunks over.
    fn write(&mut self, chunks: &[u8]) -> Result<(), Stopped>;

    /// Takes over the last chunk, whatever the budget says.
    fn last(&mut self, chunk: &[u8]) -> Result<(), Stopped> {
        self.write(chunk)
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
    chunks: Vec<u8>,
    /// The code that is in the present file.
    code: Option<Digest>,
    /// Whether there is no room for more in it.
    full: bool,
}

impl<S: Sink> Writer<S> {
    pub(crate) fn new(queue: Arc<Queue>, sink: S, store: Arc<dyn StateStore>) -> Self {
        let (packer, chunks) = (Packer::default(), Vec::new());
        Self { queue, sink, store, written: Written::default(), packer, chunks, code: None, full: false }
    }

    /// Writes until the service ends or nothing can be written any more.
    pub(crate) fn run(mut self) -> Result<(), Stopped> {
        let done = self.write_all();
        self.queue.close();
        done
    }

    fn write_all(&mut self) -> Result<(), Stopped> {
        self.sink.write(&MAGIC)?;
        let mut taken = Waiting::default();
        while self.queue.take(&mut taken) {
            if self.sink.is_gone() {
                return Err(Stopped::Gone);
            }
            let entries = std::mem::take(&mut taken.entries);
            let is_large = self.full || self.sink.is_large();
            match taken.base_at.filter(|at| *at <= entries.len() && is_large) {
                Some(at) => {
                    let (before, after) = entries.split_at(at);
                    self.write(before, None)?;
                    self.sink.renew()?;
                    (self.code, self.full) = (None, false);
                    self.sink.write(&MAGIC)?;
                    self.write(after, taken.code)?;
                }
                None => self.write(&entries, taken.code)?,
            }
            if self.full || self.sink.is_large() {
                self.queue.want_base();
            }
            taken.entries = entries;
        }
        Ok(())
    }

    /// Writes entries, and before them the code, where it is not there yet and can be had by now. Where the file is full
    /// they are left out, until a checkpoint lets the next one begin.
    fn write(&mut self, entries: &[u8], code: Option<Digest>) -> Result<(), Stopped> {
        if self.full {
            return Ok(());
        }
        if let Some(digest) = code.filter(|code| self.code != Some(*code))
            && let Some(bytes) = self.store.code(&digest)
        {
            let mut entry = Vec::new();
            put(&mut entry, Tag::Code, digest.bytes(), &bytes);
            self.packer.pack(&entry, &mut self.chunks);
            self.code = Some(digest);
        }
        self.packer.pack(entries, &mut self.chunks);
        self.written.fetch_add(entries.len() as u64, Relaxed);
        let done = if self.chunks.is_empty() { Ok(()) } else { self.sink.write(&self.chunks) };
        self.chunks.clear();
        if let Err(Stopped::Full) = &done {
            return self.say_full();
        }
        done
    }

    /// Ends a full file with a word about it.
    fn say_full(&mut self) -> Result<(), Stopped> {
        self.full = true;
        let mut entry = Vec::new();
        let why = "the budget was used up before a checkpoint let the next file begin".into();
        put_value(&mut entry, Tag::Lost, &Lost { calls: 0, why });
        self.packer.pack(&entry, &mut self.chunks);
        let done = self.sink.last(&self.chunks);
        self.chunks.clear();
        done
    }
}
