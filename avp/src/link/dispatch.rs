//! One message to many relations, one batch to the shell.

use std::sync::Arc;

use super::flow::Change;
use super::queue::Pushed;
use super::state::Link;
use crate::gnutella::{HEADER_LEN, Header};
use crate::host::{ConnId, Host, Instant, SendBatch};
use crate::network::traffic::{Class, Rank};
use crate::state::{Damaged, Reader, Saved, Writer};

/// A message on its way out. Its bytes are copied once into the batch however many relations take it at once, and
/// once more, shared, if any of them has to wait.
#[derive(Debug)]
pub struct Outgoing<'a> {
    rank: Rank,
    class: Class,
    hops: u8,
    header: [u8; HEADER_LEN],
    payload: &'a [u8],
    shared: Option<Arc<[u8]>>,
}

impl<'a> Outgoing<'a> {
    /// A message that is passed on, its TTL and hops already those of the next hop. The header's `len` is taken from
    /// the payload.
    #[must_use]
    #[inline]
    pub fn relayed(header: &Header, payload: &'a [u8]) -> Self {
        Self::with_rank(Rank::of(header), header, payload)
    }

    /// A message of our own that keeps the relation going, and is never dropped.
    #[must_use]
    #[inline]
    pub fn signal(header: &Header, payload: &'a [u8]) -> Self {
        Self::with_rank(Rank::new(Class::Signal, 0), header, payload)
    }

    fn with_rank(rank: Rank, header: &Header, payload: &'a [u8]) -> Self {
        let header = Header { len: payload.len() as u32, ..*header };
        let class = rank.class();
        Self { rank, class, hops: header.hops, header: header.encode(), payload, shared: None }
    }

    fn len(&self) -> usize {
        HEADER_LEN + self.payload.len()
    }

    fn shared(&mut self) -> Arc<[u8]> {
        let (header, payload) = (&self.header, self.payload);
        self.shared.get_or_insert_with(|| [header, payload].concat().into()).clone()
    }
}

/// What became of a message on one relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is in the batch.
    Now,
    /// It waits in the relation's queue.
    Waits,
    /// It was dropped, and counted.
    Dropped(Loss),
    /// It cannot be dropped and finds no room: the relation is in [`Dispatch::take_overflowed`].
    Overflow,
}

/// Why a message did not go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// No room in the queue, and nothing less important in it.
    NoRoom,
    /// It waited, and made room for something more important.
    Displaced,
    /// A ping for a relation that is flow-controlled: its pongs would only add to it.
    FlowControl,
    /// The peer does not want queries from so far away (hops-flow).
    HopsFlow,
}

impl Loss {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::NoRoom, Self::Displaced, Self::FlowControl, Self::HopsFlow];

    /// The value of the `reason` label in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoRoom => "no_room",
            Self::Displaced => "displaced",
            Self::FlowControl => "flow_control",
            Self::HopsFlow => "hops_flow",
        }
    }
}

/// How many messages did not go out, by class and reason.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses([[u64; Loss::ALL.len()]; Class::ALL.len()]);

impl Losses {
    fn add(&mut self, class: Class, loss: Loss) {
        self.0[class as usize][loss as usize] += 1;
    }

    /// How many of one class were lost for one reason.
    #[must_use]
    pub fn get(&self, class: Class, loss: Loss) -> u64 {
        self.0[class as usize][loss as usize]
    }
}

/// Finds the relation of a connection.
pub trait Relations {
    /// The relation, while it lives.
    fn link(&mut self, conn: ConnId) -> Option<&mut Link>;
}

/// Memory of a batch from which on it is handed over before the call is done: a call may send many times what it got.
pub const BATCH_MEMORY_MAX: usize = 1 << 20;

/// The way out for all relations of a peer.
///
/// **Drive it so:** within one call of `VirtualPeer::handle`, send as often as you like, [`Self::spill`] between two
/// messages, and [`Self::flush`] last.
#[derive(Debug, Default)]
pub struct Dispatch {
    batch: SendBatch,
    /// Counts batches, so that a relation knows whether what it sent last was in this one.
    number: u32,
    /// Those that take the message at hand at once.
    ready: Vec<ConnId>,
    /// Those whose queue is to be emptied into the next batch.
    refill: Vec<ConnId>,
    /// Whether a relation that is not congested has had its share of the batch.
    full: bool,
    congested: Vec<ConnId>,
    overflowed: Vec<ConnId>,
    /// Those to be closed when the batch has been handed over.
    closing: Vec<ConnId>,
    losses: Losses,
    /// Memory for what waits on all relations.
    held_bytes: usize,
}

impl Dispatch {
    /// Sends a message to one relation.
    #[inline]
    pub fn send(&mut self, link: &mut Link, message: &mut Outgoing<'_>) -> Sent {
        if let Some(sent) = self.bar(link, message) {
            return sent;
        }
        if !link.flow.admit(self.number, message.len()) {
            return self.wait(link, message);
        }
        link.count_sent(message.len());
        self.batch.push_parts(&[link.conn], &[&message.header, message.payload]);
        Sent::Now
    }

    /// Sends a message to one of many relations. [`Self::finish`] it after the last of them, and send nothing else
    /// before.
    #[inline]
    pub fn add(&mut self, link: &mut Link, message: &mut Outgoing<'_>) -> Sent {
        if let Some(sent) = self.bar(link, message) {
            return sent;
        }
        if !link.flow.admit(self.number, message.len()) {
            return self.wait(link, message);
        }
        link.count_sent(message.len());
        self.ready.push(link.conn);
        Sent::Now
    }

    /// Ends the sending of a message to many relations.
    #[inline]
    pub fn finish(&mut self, message: &Outgoing<'_>) {
        self.batch.push_parts(&self.ready, &[&message.header, message.payload]);
        self.ready.clear();
    }

    /// Sends bytes that are no message, to a connection that is no relation (yet): a handshake, an HTTP answer.
    pub fn text(&mut self, conn: ConnId, bytes: &[u8]) {
        self.batch.push(&[conn], bytes);
    }

    /// What is sent on this connection from now on leaves compressed; what was sent before does not.
    pub fn deflate(&mut self, conn: ConnId, host: &mut impl Host) {
        self.hand_over(host);
        host.deflate(conn);
    }

    /// Closes a connection when what was sent on it has left.
    pub fn close(&mut self, conn: ConnId) {
        self.closing.push(conn);
    }

    /// Says goodbye with a Bye where the peer understands it, past everything that waits, and closes.
    /// [`Self::forget`] the link.
    pub fn end(&mut self, link: &Link, bye: Option<(&Header, &[u8])>) {
        if let Some((header, payload)) = bye {
            let header = Header { len: payload.len() as u32, ..*header };
            self.batch.push_parts(&[link.conn], &[&header.encode(), payload]);
        }
        self.close(link.conn);
    }

    /// A relation is over, and what waits on it is lost with it.
    pub fn forget(&mut self, link: &Link) {
        self.held_bytes -= link.flow.held_bytes();
    }

    /// Memory for what waits on all relations, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The shell has room again for this relation.
    pub fn writable(&mut self, link: &mut Link) {
        link.flow.writable();
        if link.flow.is_waiting() {
            self.refill.push(link.conn);
        }
    }

    /// A relation for which something had no room that cannot be dropped. End it with
    /// [`super::Ending::QueueOverflow`].
    pub fn take_overflowed(&mut self) -> Option<ConnId> {
        self.overflowed.pop()
    }

    /// Hands over what was sent, lets queues flow that can, and closes what is to be closed.
    pub fn flush(&mut self, now: Instant, host: &mut impl Host, relations: &mut impl Relations) {
        self.pump(now, host, relations);
        for conn in self.closing.drain(..) {
            host.close(conn);
        }
    }

    /// Hands over what was sent where that is much, or too much for one of the relations, before more is sent.
    #[inline]
    pub fn spill(&mut self, now: Instant, host: &mut impl Host, relations: &mut impl Relations) {
        if self.full || self.batch.memory() > BATCH_MEMORY_MAX {
            self.pump(now, host, relations);
        }
    }

    /// Hands over what was sent, and what has waited only for that.
    fn pump(&mut self, now: Instant, host: &mut impl Host, relations: &mut impl Relations) {
        self.full = false;
        loop {
            self.hand_over(host);
            self.number = self.number.wrapping_add(1);
            while let Some(conn) = self.congested.pop() {
                if let Some(link) = relations.link(conn) {
                    link.flow.congested(now);
                }
            }
            for conn in std::mem::take(&mut self.refill) {
                if let Some(link) = relations.link(conn) {
                    self.refill(link);
                }
            }
            if self.batch.is_empty() {
                break;
            }
        }
    }

    /// What did not go out so far.
    #[must_use]
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    fn hand_over(&mut self, host: &mut impl Host) {
        if !self.batch.is_empty() {
            host.send(&self.batch, &mut self.congested);
            self.batch.clear();
        }
    }

    /// What the peer does not want, or must not get now.
    #[inline]
    fn bar(&mut self, link: &mut Link, message: &Outgoing<'_>) -> Option<Sent> {
        let class = message.class;
        let loss = match class {
            Class::Query if !link.takes_queries(message.hops) => Loss::HopsFlow,
            Class::Ping if link.flow.is_controlled() => Loss::FlowControl,
            _ => return None,
        };
        Some(self.lose(link, class, loss))
    }

    #[cold]
    fn lose(&mut self, link: &mut Link, class: Class, loss: Loss) -> Sent {
        self.losses.add(class, loss);
        link.monitor.messages_dropped += 1;
        Sent::Dropped(loss)
    }

    #[cold]
    fn wait(&mut self, link: &mut Link, message: &mut Outgoing<'_>) -> Sent {
        self.wait_shared(link, message.rank, message.shared())
    }

    fn wait_shared(&mut self, link: &mut Link, rank: Rank, message: Arc<[u8]>) -> Sent {
        if !link.flow.is_waiting() {
            // Where the shell has no room, Writable begins the refill; where only this batch is full, its end does.
            self.refill.push(link.conn);
            self.full |= !link.flow.is_congested();
        }
        let (losses, lost) = (&mut self.losses, &mut link.monitor.messages_dropped);
        let held = link.flow.held_bytes();
        let (pushed, change) = link.flow.wait(rank, message, |class| {
            losses.add(class, Loss::Displaced);
            *lost += 1;
        });
        self.held_bytes = self.held_bytes - held + link.flow.held_bytes();
        self.tell(link, change);
        match pushed {
            Pushed::Waits => Sent::Waits,
            Pushed::Dropped => self.lose(link, rank.class(), Loss::NoRoom),
            Pushed::Overflow => {
                self.overflowed.push(link.conn);
                Sent::Overflow
            }
        }
    }

    fn refill(&mut self, link: &mut Link) {
        let (batch, conn) = (&mut self.batch, link.conn);
        let (mut messages, mut bytes) = (0, 0);
        let held = link.flow.held_bytes();
        let change = link.flow.refill(self.number, |message| {
            batch.push(&[conn], message);
            messages += 1;
            bytes += message.len();
        });
        link.monitor.messages_sent += messages;
        link.monitor.sent.add(bytes);
        self.held_bytes = self.held_bytes - held + link.flow.held_bytes();
        self.tell(link, change);
        if link.flow.is_waiting() && !link.flow.is_congested() {
            self.refill.push(conn);
        }
    }

    /// Asks the peer to hold its queries back, or to send them again.
    fn tell(&mut self, link: &mut Link, change: Change) {
        let limit = match change {
            Change::None => return,
            Change::Entered => 0,
            Change::Left => u8::MAX,
        };
        if let Some((header, payload)) = link.hops_flow_message(limit) {
            self.send(link, &mut Outgoing::signal(&header, &payload));
        }
    }
}

/// Between two calls nothing is in a batch and nothing is to be closed.
impl Dispatch {
    pub(crate) fn save(&self, to: &mut Writer) {
        self.number.save(to);
        to.list(self.refill.iter());
        to.list(self.overflowed.iter());
        self.losses.0.save(to);
    }

    /// `held_bytes` is what waits on all relations.
    pub(crate) fn load(from: &mut Reader<'_>, held_bytes: usize) -> Result<Self, Damaged> {
        let (number, refill, overflowed) = (from.load()?, from.list(usize::MAX)?, from.list(usize::MAX)?);
        let mut losses = Losses::default();
        for n in losses.0.as_flattened_mut() {
            *n = from.count()?;
        }
        Ok(Self { number, refill, overflowed, losses, held_bytes, ..Self::default() })
    }
}

#[cfg(test)]
mod tests;
