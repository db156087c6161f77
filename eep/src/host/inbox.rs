//! The batch that is being filled while the proxylet works on the one before.

use std::collections::HashSet;
use std::mem;
use std::task::Waker;

use crate::host::bindings::eep::proxylet::types::{
    Accepted, Answer, DatagramReceived, Ended, Established, Event, Message,
};

/// Events, who received how many bytes, and the bytes that belong to all of them.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) events: Vec<Event>,
    pub(crate) conns: Vec<u64>,
    pub(crate) lens: Vec<u32>,
    /// Filled up to `filled`. What lies beyond is of earlier batches: reading into memory that is set already needs no
    /// `unsafe`, and the memory is reused from batch to batch.
    arena: Vec<u8>,
    filled: usize,
}

impl Batch {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.arena[..self.filled]
    }

    fn len(&self) -> usize {
        self.events.len() + self.conns.len()
    }

    /// How many things have happened, each reception counted for itself.
    pub(crate) fn happened(&self) -> u64 {
        let collected = self.events.iter().filter(|event| matches!(event, Event::Received(_))).count();
        (self.len() - collected) as u64
    }

    /// A batch of receptions: so many, of these bytes each, on one connection after the other.
    pub(crate) fn of_receptions(conns: &[u64], receptions: usize, bytes: &[u8]) -> Self {
        let events = if receptions > 0 { vec![Event::Received(receptions as u32)] } else { Vec::new() };
        let arena = bytes.repeat(receptions);
        Self {
            events,
            conns: conns.iter().copied().cycle().take(receptions).collect(),
            lens: vec![bytes.len() as u32; receptions],
            filled: arena.len(),
            arena,
        }
    }

    /// A batch in which a timer is due.
    pub(crate) fn of_timer(token: u64) -> Self {
        Self { events: vec![Event::Timer(token)], ..Self::default() }
    }

    /// What it takes up, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.filled + self.events.len() * size_of::<Event>() + self.conns.len() * 12
    }

    /// The same, in memory of its own.
    pub(crate) fn copy(&self) -> Self {
        Self {
            events: self.events.clone(),
            conns: self.conns.clone(),
            lens: self.lens.clone(),
            arena: self.bytes().to_vec(),
            filled: self.filled,
        }
    }

    fn clear(&mut self) {
        self.events.clear();
        self.conns.clear();
        self.lens.clear();
        self.filled = 0;
    }
}

/// The pending batch of a service, and who waits for it: its readers for room, its driver for content.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pending: Batch,
    number: u64,
    readers: Vec<Waker>,
    driver: Option<Waker>,
    called: bool,
}

impl Inbox {
    /// Bytes that may wait for the proxylet; beyond it sockets are not read.
    pub(crate) const BYTES_MAX: usize = 1 << 20;
    /// Events that may wait for the proxylet; beyond it sockets are neither read nor accepted from.
    pub(crate) const EVENTS_MAX: usize = 8_192;
    /// Bytes that one read takes at most.
    pub(crate) const READ_MAX: usize = 64 << 10;

    /// Whether there is no room for another read.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.filled >= Self::BYTES_MAX || self.pending.len() >= Self::EVENTS_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.events.is_empty()
    }

    /// The number of the batch that was taken last; 0 where none was.
    pub(crate) fn taken(&self) -> u64 {
        self.number
    }

    /// Counts up with each batch taken; from 1, so that 0 is before all of them.
    pub(crate) fn number(&self) -> u64 {
        self.number + 1
    }

    /// Memory for one read, [`Self::READ_MAX`] long. [`Self::push_received`] keeps what was put there.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        let end = self.pending.filled + Self::READ_MAX;
        if self.pending.arena.len() < end {
            let grown = end.next_power_of_two().min(Self::BYTES_MAX + Self::READ_MAX).max(end);
            self.pending.arena.resize(grown, 0);
        }
        &mut self.pending.arena[self.pending.filled..end]
    }

    /// Says that a connection received the first `len` bytes of [`Self::space`].
    pub(crate) fn push_received(&mut self, conn: u64, len: usize) {
        let batch = &mut self.pending;
        batch.filled += len.min(Self::READ_MAX);
        batch.conns.push(conn);
        batch.lens.push(len as u32);
        match batch.events.last_mut() {
            Some(Event::Received(receptions)) => *receptions += 1,
            _ => self.push(Event::Received(1)),
        }
    }

    /// Adds an event whose bytes are the first `len` of [`Self::space`].
    pub(crate) fn push_with_bytes(&mut self, event: Event, len: usize) {
        self.pending.filled += len.min(Self::READ_MAX);
        self.push(event);
    }

    /// Adds an event with these bytes, at most [`Self::READ_MAX`]. Never refused: such events are as few as requests.
    pub(crate) fn push_carrying(&mut self, event: Event, bytes: &[u8]) {
        self.put(bytes);
        self.push_with_bytes(event, bytes.len());
    }

    /// Adds an event without bytes. Never refused: such events are as few as connections, timers and orders.
    pub(crate) fn push(&mut self, event: Event) {
        self.pending.events.push(event);
        self.wake_driver();
    }

    /// The connections whose acceptance the proxylet has not been told of.
    pub(crate) fn accepted(&self) -> HashSet<u64> {
        let of = |event: &Event| match event {
            Event::Accepted(accepted) => Some(accepted.conn),
            _ => None,
        };
        self.pending.events.iter().filter_map(of).collect()
    }

    /// The connections whose end the proxylet has not been told of.
    pub(crate) fn ended(&self) -> HashSet<u64> {
        let of = |event: &Event| match event {
            Event::Closed(ended) | Event::Failed(ended) => Some(ended.conn),
            _ => None,
        };
        self.pending.events.iter().filter_map(of).collect()
    }

    /// Drops what has happened on connections of which this is true.
    pub(crate) fn forget(&mut self, gone: impl Fn(u64) -> bool) {
        let pending = mem::take(&mut self.pending);
        let (mut receptions, mut bytes) = (pending.conns.iter().zip(&pending.lens), pending.bytes());
        let mut take = |len: u32| {
            let (head, tail) = bytes.split_at(bytes.len().min(len as usize));
            bytes = tail;
            head
        };
        for event in &pending.events {
            match event {
                Event::Received(times) => {
                    for (conn, len) in receptions.by_ref().take(*times as usize) {
                        let run = take(*len);
                        if !gone(*conn) {
                            self.put(run);
                            self.push_received(*conn, run.len());
                        }
                    }
                }
                Event::Datagram(DatagramReceived { len, .. })
                | Event::Message(Message { len, .. })
                | Event::Answer(Answer { len, .. }) => {
                    let run = take(*len);
                    self.put(run);
                    self.push_with_bytes(event.clone(), run.len());
                }
                Event::Accepted(Accepted { conn, .. })
                | Event::Established(Established { conn, .. })
                | Event::Failed(Ended { conn, .. })
                | Event::Writable(conn)
                | Event::Closed(Ended { conn, .. })
                    if gone(*conn) => {}
                _ => self.push(event.clone()),
            }
        }
    }

    /// Lays bytes into [`Self::space`].
    fn put(&mut self, run: &[u8]) {
        let len = run.len().min(Self::READ_MAX);
        self.space()[..len].copy_from_slice(&run[..len]);
    }

    /// Has the driver look at what is due, without an event.
    pub(crate) fn call_driver(&mut self) {
        self.called = true;
        self.wake_driver();
    }

    /// Whether the driver was called since it last asked.
    pub(crate) fn take_call(&mut self) -> bool {
        mem::take(&mut self.called)
    }

    fn wake_driver(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// Wakes this task when the pending batch has been taken.
    pub(crate) fn wait_for_room(&mut self, reader: &Waker) {
        self.readers.push(reader.clone());
    }

    /// Wakes this task when there is an event.
    pub(crate) fn wait_for_event(&mut self, driver: &Waker) {
        self.driver = Some(driver.clone());
    }

    /// Swaps the pending batch for an empty one; the memory of `batch` is used for the next.
    pub(crate) fn take(&mut self, batch: &mut Batch) {
        batch.clear();
        mem::swap(batch, &mut self.pending);
        self.number += 1;
        for reader in self.readers.drain(..) {
            reader.wake();
        }
    }
}
