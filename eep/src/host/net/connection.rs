//! One stream connection: its place in the table, and the task that waits for its socket.

use std::future::Future;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use crate::host::Env;
use crate::host::bindings::eep::proxylet::mesh::Identity;
use crate::host::bindings::eep::proxylet::types::{CloseReason, Ended, Event};
use crate::host::descriptors::Descriptor;
use crate::host::enforce::Met;
use crate::host::inbox::Inbox;
use crate::host::measured::Measured;
use crate::host::net::deflate::Deflate;
use crate::host::net::inflate::Inflate;
use crate::host::net::outbound::Outbound;
use crate::host::net::shape::{Shaper, UNCLASSED, Way};
use crate::host::net::{Net, find, meter};

/// Where a connection is in its life.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Asked for by the proxylet, not yet up.
    Connecting(AbortHandle),
    /// Both ways are open.
    Open,
    /// The proxylet has closed it, or the peer has ended it while bytes still waited: they leave, nothing is delivered.
    Draining,
    /// All has left and our side is shut: the peer's end is awaited, or closing would reset what is still under way.
    Lingering,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Far {
    pub(crate) address: SocketAddr,
    /// Whether the peer has connected to us.
    pub(crate) inbound: bool,
}

/// A connection in the table. Ten thousand idle ones are the common case: what only a busy one needs is boxed.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) id: u64,
    pub(crate) phase: Phase,
    pub(crate) far: Far,
    /// The node at the other end, where it came over the mesh and that was asked or is known.
    pub(crate) peer: Option<Box<Identity>>,
    /// What the proxylet has said of the peer, where it asks for decisions about it.
    pub(crate) met: Option<Box<Met>>,
    /// What it has said of the link.
    pub(crate) measured: Option<Box<Measured>>,
    /// The budgets that its bytes count against, a bit each.
    pub(crate) budgets: u32,
    /// Its class of traffic, by its place in the policy.
    pub(crate) class: u8,
    /// None while connecting.
    pub(crate) stream: Option<TcpStream>,
    /// None while nothing waits.
    pub(crate) out: Option<Box<Outbound>>,
    pub(crate) deflate: Option<Box<Deflate>>,
    pub(crate) inflate: Option<Box<Inflate>>,
    /// The connection's task, once it has been polled.
    pub(crate) task: Option<Waker>,
    /// The last batch that has an event with bytes of this connection. There is one in a batch at most: a proxylet
    /// that switches to inflating in the middle of a batch has then seen all that came before.
    pub(crate) in_batch: u64,
    /// Whether it is read from (`net.receive`).
    pub(crate) receive: bool,
    /// Whether the proxylet was told to wait for `writable`.
    pub(crate) congested: bool,
    /// Whether the present call of `net.send` has reported it.
    pub(crate) reported: bool,
    /// Whether the socket has no room: the task waits for it.
    pub(crate) blocked: bool,
    /// The last batch in which something passed on it, as far as the next field does not say it.
    pub(crate) touched: u64,
    /// Whether the instance that had it is gone and none has taken it over yet: it is not read.
    pub(crate) shelved: bool,
    /// Whether it is in the table's list of connections to be flushed.
    pub(crate) dirty: bool,
    pub(crate) _descriptor: Descriptor,
}

impl Conn {
    pub(crate) fn wake(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }

    /// Whether anything has passed on it in the batches after `since`, up to the one that was `taken` last.
    pub(crate) fn touched_since(&self, since: u64, taken: u64) -> bool {
        self.touched > since || (self.in_batch > since && self.in_batch <= taken)
    }

    /// Bytes that wait to leave.
    pub(crate) fn waiting(&self) -> usize {
        self.out.as_ref().map_or(0, |out| out.waiting()) + self.deflate.as_ref().map_or(0, |d| d.waiting())
    }
}

/// Waits for one connection's socket: for bytes to deliver, and for room where the driver found none.
#[derive(Debug)]
pub(crate) struct ConnTask {
    pub(crate) env: Rc<Env>,
    pub(crate) id: u64,
}

impl Future for ConnTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut net = self.env.net.borrow_mut();
        let net = &mut *net;
        let Some(conn) = net.get_mut(self.id) else { return Poll::Ready(()) };
        if !conn.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            conn.task = Some(cx.waker().clone());
        }
        let mut inbox = self.env.inbox.borrow_mut();
        if mem::take(&mut conn.blocked) {
            net.flush(self.id, &mut inbox);
        }
        loop {
            let Some(conn) = find(&mut net.conns, self.id) else { return Poll::Ready(()) };
            match conn.phase {
                // The task is made when the connection is up.
                Phase::Connecting(_) => return Poll::Pending,
                Phase::Open => {
                    let (budgets, class) = (conn.budgets, conn.class);
                    match ready!(receive(conn, &mut net.scratch, &mut net.shaper, &mut inbox, cx)) {
                        Step::Read { wire, delivered } => {
                            self.env.figures.received_bytes.add(delivered as u64);
                            net.meter(budgets, wire);
                            net.shaper.passed(class, Way::In, wire);
                        }
                        Step::Ended(reason) => {
                            net.peer_ended(self.id, reason, self.env.clock.now_ns(), &mut inbox);
                        }
                    }
                }
                Phase::Draining => {
                    if conn.waiting() > 0 {
                        return Poll::Pending;
                    }
                    ready!(shut(conn, cx));
                    conn.phase = Phase::Lingering;
                    net.linger(self.id, self.env.clock.now_ns(), &mut inbox);
                }
                Phase::Lingering => {
                    let ended = ready!(discard(conn, &mut net.scratch, cx));
                    if ended {
                        net.remove(self.id);
                    }
                }
            }
        }
    }
}

/// Memory into which bytes are read that are not delivered as they are; one for all connections of the service.
fn room(scratch: &mut Vec<u8>) -> &mut [u8] {
    scratch.resize(Inbox::READ_MAX, 0);
    scratch
}

enum Step {
    /// So many bytes were read, and so many delivered: as many, unless they are inflated in between.
    Read {
        wire: usize,
        delivered: usize,
    },
    Ended(CloseReason),
}

/// Delivers the next bytes to the pending batch.
fn receive(
    conn: &mut Conn,
    scratch: &mut Vec<u8>,
    shaper: &mut Shaper,
    inbox: &mut Inbox,
    cx: &mut Context<'_>,
) -> Poll<Step> {
    if !conn.receive || conn.shelved {
        return Poll::Pending;
    }
    if inbox.is_full() || conn.in_batch == inbox.number() {
        inbox.wait_for_room(cx.waker());
        return Poll::Pending;
    }
    if let Some(inflate) = conn.inflate.as_mut().filter(|inflate| inflate.is_ready()) {
        match inflate.step(inbox.space()) {
            Ok(0) => {}
            Ok(len) => return Poll::Ready(deliver(conn, inbox, 0, len)),
            Err(_) => return Poll::Ready(Step::Ended(CloseReason::Corrupt)),
        }
    }
    let Some(stream) = conn.stream.as_mut() else { return Poll::Pending };
    let most = shaper.room(conn.class, Way::In, conn.id);
    if most == 0 {
        // The driver sleeps until the time that it knows of.
        inbox.call_driver();
        return Poll::Pending;
    }
    let space = if conn.inflate.is_some() { room(scratch) } else { inbox.space() };
    let most = most.min(space.len());
    let mut buf = ReadBuf::new(&mut space[..most]);
    if let Err(error) = ready!(Pin::new(stream).poll_read(cx, &mut buf)) {
        return Poll::Ready(Step::Ended(reason(&error)));
    }
    let wire = buf.filled().len();
    Poll::Ready(match &mut conn.inflate {
        _ if wire == 0 => Step::Ended(CloseReason::Ended),
        Some(inflate) => {
            inflate.push(buf.filled());
            Step::Read { wire, delivered: 0 }
        }
        None => deliver(conn, inbox, wire, wire),
    })
}

fn deliver(conn: &mut Conn, inbox: &mut Inbox, wire: usize, len: usize) -> Step {
    conn.touched = conn.touched.max(conn.in_batch);
    conn.in_batch = inbox.number();
    inbox.push_received(conn.id, len);
    Step::Read { wire, delivered: len }
}

/// Ends our side of the stream.
fn shut(conn: &mut Conn, cx: &mut Context<'_>) -> Poll<()> {
    match conn.stream.as_mut() {
        // What it says does not matter any more.
        Some(stream) => Pin::new(stream).poll_shutdown(cx).map(|_| ()),
        None => Poll::Ready(()),
    }
}

/// Reads and throws away; whether the peer has ended.
fn discard(conn: &mut Conn, scratch: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<bool> {
    let Some(stream) = conn.stream.as_mut() else { return Poll::Ready(true) };
    let mut buf = ReadBuf::new(room(scratch));
    let result = ready!(Pin::new(stream).poll_read(cx, &mut buf));
    Poll::Ready(result.is_err() || buf.filled().is_empty())
}

impl Net {
    /// Writes what waits on a connection, as far as the socket has room; where it has none, the connection's task is
    /// woken when it has. Tells the proxylet when there is room again.
    pub(crate) fn flush(&mut self, id: u64, inbox: &mut Inbox) {
        let Some(conn) = find(&mut self.conns, id) else { return };
        if conn.blocked {
            return;
        }
        let mut wire = 0;
        let result = write_out(conn, &mut self.shaper, &mut wire);
        meter(&mut self.metered, conn.budgets, wire);
        if conn.blocked && conn.class != UNCLASSED {
            // It may be its class that holds it back: the driver sleeps until the time that it knows of.
            inbox.call_driver();
        }
        if let Some(out) = conn.out.take_if(|out| out.waiting() == 0) {
            self.spare.put(out);
        }
        let Some(conn) = self.get_mut(id) else { return };
        match result {
            Ok(()) => {
                if conn.congested && conn.waiting() < Self::WRITABLE_BYTES {
                    conn.congested = false;
                    conn.touched = conn.touched.max(inbox.number());
                    if matches!(conn.phase, Phase::Open) {
                        inbox.push(Event::Writable(id));
                    }
                }
                if matches!(conn.phase, Phase::Draining) && conn.waiting() == 0 {
                    conn.wake();
                }
            }
            Err(error) => self.fail(id, reason(&error), inbox),
        }
    }

    /// Ends a connection because of the peer or of a limit, and tells the proxylet.
    pub(crate) fn fail(&mut self, id: u64, reason: CloseReason, inbox: &mut Inbox) {
        match self.get_mut(id).map(|conn| &conn.phase) {
            Some(Phase::Open) => inbox.push(Event::Closed(Ended { conn: id, reason })),
            Some(Phase::Connecting(_)) => inbox.push(Event::Failed(Ended { conn: id, reason })),
            _ => {}
        }
        self.remove(id);
    }

    /// The peer has ended its side. What the proxylet has sent still leaves, if the transport is whole.
    fn peer_ended(&mut self, id: u64, reason: CloseReason, now_ns: u64, inbox: &mut Inbox) {
        let drains = reason == CloseReason::Ended && self.get_mut(id).is_some_and(|conn| conn.waiting() > 0);
        if !drains {
            return self.fail(id, reason, inbox);
        }
        inbox.push(Event::Closed(Ended { conn: id, reason }));
        self.drain(id, now_ns);
    }
}

/// Writes until all has left, the socket is full or the class has no room; `wire` is how many bytes have left. Whoever
/// polls, it is the connection's task that is woken for more.
fn write_out(conn: &mut Conn, shaper: &mut Shaper, wire: &mut usize) -> io::Result<()> {
    let (Some(out), Some(stream)) = (conn.out.as_mut(), conn.stream.as_mut()) else {
        // Nothing waits, or the connection is not up: its task flushes when it is.
        conn.blocked = conn.out.is_some();
        return Ok(());
    };
    let mut cx = Context::from_waker(conn.task.as_ref().unwrap_or(Waker::noop()));
    while out.waiting() > 0 {
        let most = shaper.room(conn.class, Way::Out, conn.id);
        if most == 0 {
            conn.blocked = true;
            return Ok(());
        }
        let stream = Pin::new(&mut *stream);
        let written = match out.only_piece() {
            Some(piece) => stream.poll_write(&mut cx, &piece[..piece.len().min(most)]),
            None => {
                let mut slices = [io::IoSlice::new(&[]); super::outbound::SLICES_MAX];
                let filled = out.pieces(&mut slices);
                if most < out.waiting() {
                    // One piece after the other, while there is little room.
                    let first = &*slices[0];
                    stream.poll_write(&mut cx, &first[..first.len().min(most)])
                } else {
                    stream.poll_write_vectored(&mut cx, &slices[..filled])
                }
            }
        };
        match written {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(written)) => {
                out.advance(written);
                *wire += written;
                shaper.passed(conn.class, Way::Out, written);
            }
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => {
                conn.blocked = true;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What a transport's error means to a proxylet.
pub(crate) fn reason(error: &io::Error) -> CloseReason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => CloseReason::Refused,
        io::ErrorKind::TimedOut => CloseReason::TimedOut,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => CloseReason::Unreachable,
        _ => CloseReason::Reset,
    }
}
