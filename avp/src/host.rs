//! What the outside gives to a virtual peer and takes from it.

use std::net::SocketAddr;
use std::ops::{Add, Sub};
use std::time::Duration;

use crate::application::policy::Policy;

/// A point on the shell's monotonic clock, in nanoseconds from an arbitrary origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// The time from `earlier` to `self`; zero where `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A stream connection, named by the shell. Never used again for another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Why a connection could not be made or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The other side closed it, and all its bytes were delivered.
    Ended,
    /// Reset, broken pipe or another transport error.
    Reset,
    /// Nobody listens there.
    Refused,
    /// No answer in time.
    TimedOut,
    /// No route.
    Unreachable,
    /// The shell does not allow this address.
    NotGranted,
    /// A limit of the shell: connections, descriptors, bytes waiting to be sent.
    Limit,
    /// The received bytes are not the zlib stream that [`Host::inflate`] announced.
    Corrupt,
}

/// What has happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A peer connected to us.
    Accepted { conn: ConnId, remote: SocketAddr, local: SocketAddr },
    /// A connection that [`Host::connect`] started is up.
    Established { conn: ConnId, remote: SocketAddr, local: SocketAddr },
    /// A connection that [`Host::connect`] started could not be made.
    Failed { conn: ConnId, reason: CloseReason },
    /// Bytes came in.
    Received { conn: ConnId, bytes: &'a [u8] },
    /// A connection that was congested has room again.
    Writable { conn: ConnId },
    /// A connection has ended; not sent for those that the peer closed itself.
    Closed { conn: ConnId, reason: CloseReason },
    /// A datagram came in on the peer's own port.
    Datagram { from: SocketAddr, bytes: &'a [u8] },
    /// Another generation of the shell's policy is in force; 0 for none.
    PolicyChanged { generation: u64 },
    /// The time asked for with [`Host::wake_at`] has come.
    Timer,
}

/// Runs of bytes for runs of connections, collected during one call of `VirtualPeer::handle` and handed
/// over once. The bytes of a run are stored once, however many connections they go to.
#[derive(Debug, Default)]
pub struct SendBatch {
    bytes: Vec<u8>,
    targets: Vec<u64>,
    /// Of each run, how many of the targets are its own, and how many of the bytes.
    fanouts: Vec<u32>,
    lens: Vec<u32>,
}

impl SendBatch {
    /// Adds bytes for some connections. A run to the same connections as the one before is joined with it.
    pub fn push(&mut self, to: &[ConnId], bytes: &[u8]) {
        self.push_parts(to, &[bytes]);
    }

    /// Like [`Self::push`], for bytes that lie in several places (a header and a payload).
    pub fn push_parts(&mut self, to: &[ConnId], parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|p| p.len()).sum();
        if to.is_empty() || len == 0 {
            return;
        }
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        let len = len as u32;
        if let (Some(last), Some(last_len)) = (self.fanouts.last(), self.lens.last_mut()) {
            let n = *last as usize;
            let tail = &self.targets[self.targets.len() - n..];
            if n == to.len() && tail.iter().zip(to).all(|(a, b)| *a == b.0) {
                *last_len += len;
                return;
            }
        }
        self.targets.extend(to.iter().map(|c| c.0));
        self.fanouts.push(to.len() as u32);
        self.lens.push(len);
    }

    /// All bytes, run after run.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All targets ([`ConnId`]s as plain numbers), run after run.
    #[must_use]
    pub fn targets(&self) -> &[u64] {
        &self.targets
    }

    /// Of each run, to how many of the targets it goes.
    #[must_use]
    pub fn fanouts(&self) -> &[u32] {
        &self.fanouts
    }

    /// Of each run, how many of the bytes it is.
    #[must_use]
    pub fn lens(&self) -> &[u32] {
        &self.lens
    }

    /// Each run: its connections and its bytes.
    pub fn runs(&self) -> impl Iterator<Item = (&[u64], &[u8])> {
        let (mut t, mut b) = (0, 0);
        self.fanouts.iter().zip(&self.lens).map(move |(fanout, len)| {
            let (fanout, len) = (*fanout as usize, *len as usize);
            let run = (&self.targets[t..t + fanout], &self.bytes[b..b + len]);
            t += fanout;
            b += len;
            run
        })
    }

    /// Memory that it takes, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.len()
            + size_of_val(&self.targets[..])
            + size_of_val(&self.fanouts[..])
            + size_of_val(&self.lens[..])
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lens.is_empty()
    }

    /// Empties the batch; its memory is kept for the next one up to a bound.
    pub fn clear(&mut self) {
        const KEEP: usize = 1 << 20;
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.targets.clear();
        self.targets.shrink_to(KEEP / 8);
        self.fanouts.clear();
        self.fanouts.shrink_to(KEEP / 8);
        self.lens.clear();
        self.lens.shrink_to(KEEP / 8);
    }
}

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something an operator must act on.
    Error,
    /// Something an operator should know.
    Warn,
    /// Milestones: started, a relation was made or has ended.
    Info,
    /// For the developer.
    Debug,
}

/// What a virtual peer asks of its shell. All calls are cheap and return at once; what they bring about comes back
/// as [`Event`]s.
pub trait Host {
    /// Starts to connect; [`Event::Established`] or [`Event::Failed`] follows.
    ///
    /// # Errors
    /// Where the shell refuses at once; then no event follows.
    fn connect(&mut self, to: SocketAddr) -> Result<ConnId, CloseReason>;

    /// Sends a batch, and puts into `congested` the connections that have no room for more until their
    /// [`Event::Writable`]. What was sent on them is not lost.
    fn send(&mut self, batch: &SendBatch, congested: &mut Vec<ConnId>);

    /// Closes a connection once what was sent has left.
    fn close(&mut self, conn: ConnId);

    /// Closes a connection at once and throws away what waits on it.
    fn abort(&mut self, conn: ConnId);

    /// From `rest` on, what is received is a zlib stream and is delivered inflated.
    fn inflate(&mut self, conn: ConnId, rest: &[u8]);

    /// What is sent from now on leaves as a zlib stream.
    fn deflate(&mut self, conn: ConnId);

    /// Sends one datagram from the peer's own port.
    fn datagram(&mut self, to: SocketAddr, bytes: &[u8]);

    /// Asks for [`Event::Timer`] at this time; replaces what was asked before.
    fn wake_at(&mut self, at: Instant);

    /// Seconds since 1970-01-01T00:00:00Z, for what goes over the wire as a date.
    fn wall_seconds(&mut self) -> u64;

    /// The policy that is asked about connections and messages, where the shell has one. It is asked as long as the last
    /// [`Event::PolicyChanged`] named a generation.
    fn policy(&mut self) -> Option<&mut dyn Policy> {
        None
    }

    /// A line for the operator.
    fn log(&mut self, level: Level, line: &str);
}
