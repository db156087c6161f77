//! The sockets of a native shell: what they bring is collected for one batch, what the peer asks for is done at once.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use avp::{CloseReason, ConnId, Event, Host, Instant, SendBatch, host::Level};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(0);
const DATAGRAMS: Token = Token(1);
/// Connections come behind the two.
const FIRST_CONN: u64 = 2;
/// Bytes read from one connection in one turn.
const READ: usize = 64 * 1024;
/// More than this waiting: congested. The same as a node's.
const CONGESTED: usize = 64 * 1024;
/// Less than this waiting: room again.
const ROOM: usize = 16 * 1024;
/// More than this waiting: closed.
const WAITING_MAX: usize = 1 << 20;
/// Connections accepted in one turn.
const ACCEPTS: usize = 256;
/// How long a closed connection may still send.
const LINGER: Duration = Duration::from_secs(5);

/// An event whose bytes lie in the batch's arena.
#[derive(Debug)]
pub(super) enum Stored {
    Whole(Event<'static>),
    Received(ConnId, Range<usize>),
    Datagram(SocketAddr, Range<usize>),
}

impl Stored {
    pub(super) fn lend<'a>(&self, bytes: &'a [u8]) -> Event<'a> {
        match self {
            Self::Whole(event) => *event,
            Self::Received(conn, range) => Event::Received { conn: *conn, bytes: &bytes[range.clone()] },
            Self::Datagram(from, range) => Event::Datagram { from: *from, bytes: &bytes[range.clone()] },
        }
    }
}

#[derive(Debug)]
struct Conn {
    stream: TcpStream,
    remote: SocketAddr,
    established: bool,
    out: Vec<u8>,
    sent: usize,
    congested: bool,
    /// Until when what waits may still leave, once the peer has closed it.
    closing: Option<std::time::Instant>,
    inflate: Option<Box<Decompress>>,
    deflate: Option<Box<Compress>>,
}

/// Everything outside of the peer.
#[derive(Debug)]
pub(super) struct Sockets {
    poll: Poll,
    ready: Events,
    origin: std::time::Instant,
    address: SocketAddr,
    listener: TcpListener,
    datagrams: UdpSocket,
    conns: HashMap<u64, Conn>,
    next: u64,
    /// Connections with something new to send or to end.
    touched: Vec<u64>,
    wake_at: Option<Instant>,
    events: Vec<Stored>,
    bytes: Vec<u8>,
}

impl Sockets {
    pub(super) fn new(listen: SocketAddr) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let mut datagrams = UdpSocket::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        poll.registry().register(&mut datagrams, DATAGRAMS, Interest::READABLE)?;
        Ok(Self {
            poll,
            ready: Events::with_capacity(1_024),
            origin: std::time::Instant::now(),
            address,
            listener,
            datagrams,
            conns: HashMap::new(),
            next: FIRST_CONN,
            touched: Vec::new(),
            wake_at: None,
            events: Vec::new(),
            bytes: Vec::new(),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn now(&self) -> Instant {
        Instant(self.origin.elapsed().as_nanos() as u64)
    }

    /// What has happened since the last time, to be given back with [`Self::give_back`].
    pub(super) fn take_batch(&mut self) -> (Vec<Stored>, Vec<u8>) {
        (std::mem::take(&mut self.events), std::mem::take(&mut self.bytes))
    }

    /// Takes a batch's memory back. What happened meanwhile is kept.
    pub(super) fn give_back(&mut self, mut events: Vec<Stored>, mut bytes: Vec<u8>) {
        if self.events.is_empty() && self.bytes.is_empty() {
            events.clear();
            bytes.clear();
            (self.events, self.bytes) = (events, bytes);
        }
    }

    /// Waits until something happens, at most `limit`.
    pub(super) fn wait(&mut self, limit: Duration) -> io::Result<()> {
        let until_timer = self.wake_at.map_or(limit, |at| at.since(self.now()));
        let limit = if self.events.is_empty() { limit.min(until_timer) } else { Duration::ZERO };
        match self.poll.poll(&mut self.ready, Some(limit)) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => other?,
        }
        let ready: Vec<(Token, bool, bool)> =
            self.ready.iter().map(|e| (e.token(), e.is_readable(), e.is_writable())).collect();
        for (token, readable, writable) in ready {
            match token {
                LISTENER => self.accept(),
                DATAGRAMS => self.datagrams(),
                Token(id) => self.ready(id as u64, readable, writable),
            }
        }
        let now = std::time::Instant::now();
        self.conns.retain(|_, conn| conn.closing.is_none_or(|end| end > now));
        if self.wake_at.is_some_and(|at| at <= self.now()) {
            self.wake_at = None;
            self.events.push(Stored::Whole(Event::Timer));
        }
        Ok(())
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS {
            let Ok((stream, remote)) = self.listener.accept() else { return };
            if let Ok(id) = self.add(stream, remote, true) {
                let (conn, local) = (ConnId(id), self.address);
                self.events.push(Stored::Whole(Event::Accepted { conn, remote, local }));
            }
        }
    }

    fn add(&mut self, mut stream: TcpStream, remote: SocketAddr, established: bool) -> io::Result<u64> {
        let id = self.next;
        self.next += 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(id as usize), interest)?;
        // Only slower without it.
        stream.set_nodelay(true).ok();
        let conn = Conn {
            stream,
            remote,
            established,
            out: Vec::new(),
            sent: 0,
            congested: false,
            closing: None,
            inflate: None,
            deflate: None,
        };
        self.conns.insert(id, conn);
        Ok(id)
    }

    fn datagrams(&mut self) {
        loop {
            let start = self.bytes.len();
            self.bytes.resize(start + READ, 0);
            let got = self.datagrams.recv_from(&mut self.bytes[start..]);
            self.bytes.truncate(start + got.as_ref().map_or(0, |(n, _)| *n));
            match got {
                Ok((n, from)) => self.events.push(Stored::Datagram(from, start..start + n)),
                Err(_) => return,
            }
        }
    }

    fn ready(&mut self, id: u64, readable: bool, writable: bool) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if !conn.established {
            match conn.stream.take_error() {
                Ok(None) if conn.stream.peer_addr().is_ok() => {
                    conn.established = true;
                    let local = conn.stream.local_addr().unwrap_or(self.address);
                    let event = Event::Established { conn: ConnId(id), remote: conn.remote, local };
                    self.events.push(Stored::Whole(event));
                }
                Ok(None) => return,
                Ok(Some(e)) | Err(e) => {
                    self.conns.remove(&id);
                    let event = Event::Failed { conn: ConnId(id), reason: reason(&e) };
                    return self.events.push(Stored::Whole(event));
                }
            }
        }
        if writable {
            self.write(id);
        }
        if readable {
            self.read(id);
        }
    }

    fn read(&mut self, id: u64) {
        let Some(conn) = self.conns.get_mut(&id).filter(|c| c.closing.is_none()) else { return };
        let start = self.bytes.len();
        let mut end = None;
        self.bytes.resize(start + READ, 0);
        let mut got = 0;
        while got < READ {
            match conn.stream.read(&mut self.bytes[start + got..]) {
                Ok(0) => end = Some(CloseReason::Ended),
                Ok(n) => {
                    got += n;
                    continue;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => end = Some(reason(&e)),
            }
            break;
        }
        self.bytes.truncate(start + got);
        if got == READ {
            // Perhaps more: the socket says so only once.
            self.poll
                .registry()
                .reregister(&mut conn.stream, Token(id as usize), Interest::READABLE | Interest::WRITABLE)
                .ok();
        }
        if got > 0 && !self.received(id, start) {
            end = Some(CloseReason::Corrupt);
        }
        if let Some(reason) = end {
            self.conns.remove(&id);
            self.events.push(Stored::Whole(Event::Closed { conn: ConnId(id), reason }));
        }
    }

    /// What the arena has from `start` on came in on a connection; `false` where it does not inflate.
    fn received(&mut self, id: u64, start: usize) -> bool {
        let Some(conn) = self.conns.get_mut(&id) else { return true };
        if let Some(inflate) = &mut conn.inflate {
            let raw = self.bytes.split_off(start);
            let mut used = 0;
            while used < raw.len() {
                self.bytes.reserve(READ);
                let before = inflate.total_in();
                let length = self.bytes.len();
                let status = inflate.decompress_vec(&raw[used..], &mut self.bytes, FlushDecompress::Sync);
                let taken = (inflate.total_in() - before) as usize;
                used += taken;
                match status {
                    Ok(Status::StreamEnd) => break,
                    Ok(_) if taken > 0 || self.bytes.len() > length => {}
                    _ => return false,
                }
            }
        }
        if self.bytes.len() > start {
            self.events.push(Stored::Received(ConnId(id), start..self.bytes.len()));
        }
        true
    }

    /// Writes what the peer has sent.
    pub(super) fn flush(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        for id in &touched {
            self.write(*id);
        }
        self.touched = touched;
        self.touched.clear();
    }

    fn write(&mut self, id: u64) {
        let Some(conn) = self.conns.get_mut(&id).filter(|c| c.established) else { return };
        let mut failed = None;
        while conn.sent < conn.out.len() {
            match conn.stream.write(&conn.out[conn.sent..]) {
                Ok(n) => conn.sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    failed = Some(reason(&e));
                    break;
                }
            }
        }
        if conn.sent == conn.out.len() || failed.is_some() {
            conn.out.clear();
            conn.sent = 0;
        }
        let waiting = conn.out.len() - conn.sent;
        if waiting > WAITING_MAX {
            failed = Some(CloseReason::Limit);
        }
        if conn.congested && waiting < ROOM {
            conn.congested = false;
            self.events.push(Stored::Whole(Event::Writable { conn: ConnId(id) }));
        }
        let done = conn.closing.is_some();
        if let Some(reason) = failed {
            self.conns.remove(&id);
            if !done {
                self.events.push(Stored::Whole(Event::Closed { conn: ConnId(id), reason }));
            }
        } else if done && waiting == 0 {
            self.conns.remove(&id);
        }
    }
}

impl Conn {
    fn append(&mut self, bytes: &[u8]) {
        let Some(deflate) = &mut self.deflate else {
            return self.out.extend_from_slice(bytes);
        };
        let mut used = 0;
        loop {
            // Room for the flush's own bytes, so that it ends within one call most often.
            self.out.reserve(bytes.len() - used + 64);
            let (taken, made) = (deflate.total_in(), deflate.total_out());
            let room = self.out.capacity() - self.out.len();
            let status = deflate.compress_vec(&bytes[used..], &mut self.out, FlushCompress::Sync);
            used += (deflate.total_in() - taken) as usize;
            let full = (deflate.total_out() - made) as usize == room;
            if status.is_err() || (used == bytes.len() && !full) {
                return;
            }
        }
    }
}

impl Host for Sockets {
    fn connect(&mut self, to: SocketAddr) -> Result<ConnId, CloseReason> {
        let stream = TcpStream::connect(to).map_err(|e| reason(&e))?;
        self.add(stream, to, false).map(ConnId).map_err(|_| CloseReason::Limit)
    }

    fn send(&mut self, batch: &SendBatch, congested: &mut Vec<ConnId>) {
        for (targets, bytes) in batch.runs() {
            for id in targets {
                let Some(conn) = self.conns.get_mut(id).filter(|c| c.closing.is_none()) else { continue };
                if conn.out.is_empty() {
                    self.touched.push(*id);
                }
                conn.append(bytes);
                if conn.out.len() - conn.sent > CONGESTED && !conn.congested {
                    conn.congested = true;
                    congested.push(ConnId(*id));
                }
            }
        }
    }

    fn close(&mut self, conn: ConnId) {
        if let Some(at) = self.conns.get_mut(&conn.0) {
            at.closing = Some(std::time::Instant::now() + LINGER);
            self.touched.push(conn.0);
        }
    }

    fn abort(&mut self, conn: ConnId) {
        self.conns.remove(&conn.0);
    }

    fn inflate(&mut self, conn: ConnId, rest: &[u8]) {
        let Some(at) = self.conns.get_mut(&conn.0) else { return };
        at.inflate = Some(Box::new(Decompress::new(true)));
        let start = self.bytes.len();
        self.bytes.extend_from_slice(rest);
        if !self.received(conn.0, start) {
            self.conns.remove(&conn.0);
            let event = Event::Closed { conn, reason: CloseReason::Corrupt };
            self.events.push(Stored::Whole(event));
        }
    }

    fn deflate(&mut self, conn: ConnId) {
        if let Some(at) = self.conns.get_mut(&conn.0) {
            at.deflate = Some(Box::new(Compress::new(Compression::default(), true)));
        }
    }

    fn datagram(&mut self, to: SocketAddr, bytes: &[u8]) {
        // Without room it is lost, as datagrams are.
        self.datagrams.send_to(bytes, to).ok();
    }

    fn wake_at(&mut self, at: Instant) {
        self.wake_at = Some(at);
    }

    fn wall_seconds(&mut self) -> u64 {
        SystemTime::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_secs())
    }

    fn log(&mut self, level: Level, line: &str) {
        if level != Level::Debug {
            eprintln!("avp {level:?}: {line}");
        }
    }
}

fn reason(error: &io::Error) -> CloseReason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => CloseReason::Refused,
        io::ErrorKind::TimedOut => CloseReason::TimedOut,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => CloseReason::Unreachable,
        _ => CloseReason::Reset,
    }
}
