//! One thread's share of the peers.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::{Conn, Phase, Spec};

/// Bytes read at once.
const SCRATCH: usize = 256 * 1024;
/// Events taken at once.
const EVENTS: usize = 1_024;
/// How long joining may make no progress.
const STALLED: Duration = Duration::from_secs(15);

/// Who hears the messages.
pub(crate) trait Sink {
    /// Peer `conn` has received a message.
    fn heard(&mut self, conn: usize, header: &[u8], payload: &[u8]);
}

impl Sink for () {
    fn heard(&mut self, _: usize, _: &[u8], _: &[u8]) {}
}

/// Peers and the poll that wakes for them.
#[derive(Debug)]
pub(crate) struct Worker {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    pub(crate) conns: Vec<Conn>,
    gone: Option<String>,
}

impl Worker {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            scratch: vec![0; SCRATCH],
            conns: Vec::new(),
            gone: None,
        })
    }

    /// Joins all of `specs`, at most `at_once` of them at the same time.
    pub(crate) fn join(&mut self, specs: impl Iterator<Item = Spec>, at_once: usize) -> Result<(), String> {
        let mut joining: Vec<usize> = Vec::with_capacity(at_once);
        let mut specs = specs.fuse();
        let mut progress = Instant::now();
        loop {
            while joining.len() < at_once {
                let Some(spec) = specs.next() else { break };
                joining.push(self.conns.len());
                let conn = Conn::dial(spec).map_err(|e| format!("connect: {e}"))?;
                self.add(conn).map_err(|e| e.to_string())?;
                progress = Instant::now();
            }
            if joining.is_empty() {
                return Ok(());
            }
            self.turn(Duration::from_millis(100), &mut ()).map_err(|e| e.to_string())?;
            let before = joining.len();
            joining.retain(|at| self.conns[*at].phase == Phase::Joining);
            if joining.len() < before {
                progress = Instant::now();
            }
            if let Some(why) = self.first_gone() {
                return Err(format!("a peer could not join: {why}"));
            }
            if progress.elapsed() > STALLED {
                return Err(format!("{before} handshakes without an answer for {STALLED:?}"));
            }
        }
    }

    fn add(&mut self, mut conn: Conn) -> io::Result<()> {
        let token = Token(self.conns.len());
        self.poll.registry().register(&mut conn.stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.conns.push(conn);
        Ok(())
    }

    /// Waits for sockets at most `limit`, and does what they ask for.
    pub(crate) fn turn(&mut self, limit: Duration, sink: &mut impl Sink) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(limit)) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            let at = event.token().0;
            let conn = &mut self.conns[at];
            if event.is_writable() {
                conn.flush();
            }
            if event.is_readable() {
                conn.receive(&mut self.scratch, &mut |header, payload| sink.heard(at, header, payload));
            }
            if let Phase::Gone(why) = &conn.phase
                && self.gone.is_none()
            {
                self.gone = Some(why.clone());
            }
        }
        Ok(())
    }

    /// Why the first of the peers that are gone is gone.
    pub(crate) fn first_gone(&self) -> Option<&str> {
        self.gone.as_deref()
    }
}
