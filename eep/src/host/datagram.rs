//! The capability `datagram`: UDP.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use policies::event::Direction;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::task::spawn_local;

use crate::host::address::{from_wit, to_wit};
use crate::host::bindings::eep::proxylet::datagram;
use crate::host::bindings::eep::proxylet::net::NetError;
use crate::host::bindings::eep::proxylet::types::{DatagramReceived, Event, SocketAddress};
use crate::host::descriptors::Descriptor;
use crate::host::effects::Ask;
use crate::host::enforce::{At, Known};
use crate::host::net::listener::net_error;
use crate::host::{Env, Host};

/// Bytes that the system keeps for a socket between two batches.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
/// Bytes of one datagram (RFC 768 over RFC 791).
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// The datagram sockets of one service.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    open: BTreeMap<u32, Bound>,
    last: u32,
}

#[derive(Debug)]
struct Bound {
    socket: UdpSocket,
    /// The address that was asked for.
    asked: SocketAddr,
    address: SocketAddr,
    task: Option<Waker>,
    _descriptor: Descriptor,
    /// Whether no instance has it: nothing is received, the datagrams wait.
    shelved: bool,
}

impl Bound {
    fn set_shelved(&mut self, shelved: bool) {
        self.shelved = shelved;
        if let Some(task) = self.task.as_ref().filter(|_| !shelved) {
            task.wake_by_ref();
        }
    }
}

impl Datagrams {
    /// Sockets that a service may have.
    const MAX: usize = 64;

    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.open.values().filter(|bound| !bound.shelved).map(|bound| bound.address)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> {
        self.open.iter().filter(|(_, bound)| !bound.shelved).map(|(id, _)| *id)
    }

    /// Puts one aside.
    pub(crate) fn shelve(&mut self, id: u32) {
        if let Some(bound) = self.open.get_mut(&id) {
            bound.set_shelved(true);
        }
    }

    /// Puts aside all but these, and has these again.
    pub(crate) fn shelve_all_but(&mut self, kept: &[u32]) {
        for (id, bound) in &mut self.open {
            bound.set_shelved(!kept.contains(id));
        }
    }

    /// Closes what is put aside.
    pub(crate) fn remove_shelved(&mut self) {
        let shelved: Vec<u32> = self.open.iter().filter(|(_, b)| b.shelved).map(|(id, _)| *id).collect();
        for id in shelved {
            self.remove(id);
        }
    }

    /// Takes over the first that is put aside and was asked for, or bound, with this address.
    fn take_over(&mut self, address: SocketAddr) -> Option<(u32, SocketAddr)> {
        let fits = |b: &Bound| b.shelved && (b.asked == address || b.address == address);
        let (id, bound) = self.open.iter_mut().find(|(_, bound)| fits(bound))?;
        bound.set_shelved(false);
        Some((*id, bound.address))
    }

    pub(crate) fn remove(&mut self, id: u32) {
        if let Some(Bound { task: Some(task), .. }) = self.open.remove(&id) {
            task.wake();
        }
    }

    pub(crate) fn clear(&mut self) {
        for (_, bound) in std::mem::take(&mut self.open) {
            if let Some(task) = bound.task {
                task.wake();
            }
        }
    }
}

fn bind(env: &Rc<Env>, address: SocketAddr) -> Result<(u32, SocketAddr), NetError> {
    if !env.grants.borrow().may_bind_datagram(address) {
        return Err(NetError::NotGranted);
    }
    let mut datagrams = env.datagrams.borrow_mut();
    if let Some(taken) = datagrams.take_over(address) {
        env.listening_changed.set(true);
        return Ok(taken);
    }
    if datagrams.open.len() >= Datagrams::MAX {
        return Err(NetError::Limit);
    }
    let descriptor = env.net.borrow().descriptor().ok_or(NetError::Limit)?;
    let socket = open(address).map_err(|error| net_error(&error))?;
    let bound = socket.local_addr().map_err(|error| net_error(&error))?;
    datagrams.last += 1;
    let id = datagrams.last;
    let entry =
        Bound { socket, asked: address, address: bound, task: None, _descriptor: descriptor, shelved: false };
    datagrams.open.insert(id, entry);
    env.listening_changed.set(true);
    env.bound(id);
    spawn_local(receive_all(Rc::clone(env), id));
    Ok((id, bound))
}

fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // The system may give less.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

async fn receive_all(env: Rc<Env>, id: u32) {
    while poll_fn(|cx| poll_receive(&env, id, cx)).await {}
}

/// Delivers the next datagram to the pending batch; false where the socket was closed.
fn poll_receive(env: &Env, id: u32, cx: &mut Context<'_>) -> Poll<bool> {
    let mut datagrams = env.datagrams.borrow_mut();
    let Some(bound) = datagrams.open.get_mut(&id) else { return Poll::Ready(false) };
    bound.task = Some(cx.waker().clone());
    if bound.shelved {
        return Poll::Pending;
    }
    let mut inbox = env.inbox.borrow_mut();
    if inbox.is_full() {
        inbox.wait_for_room(cx.waker());
        return Poll::Pending;
    }
    let mut buf = ReadBuf::new(inbox.space());
    // An error is one of an earlier datagram that did not arrive (ICMP): nothing to tell, the next one may.
    if let Ok(from) = ready!(bound.socket.poll_recv_from(cx, &mut buf)) {
        let len = buf.filled().len();
        if !may_pass(env, from, Direction::Inbound, len) {
            return Poll::Ready(true);
        }
        env.figures.received_bytes.add(len as u64);
        let event = DatagramReceived { socket: id, from: to_wit(from), len: len as u32 };
        inbox.push_with_bytes(Event::Datagram(event), len);
    }
    Poll::Ready(true)
}

impl datagram::Host for Host {
    fn bind(&mut self, address: SocketAddress) -> Result<(u32, SocketAddress), NetError> {
        bind(&self.env, from_wit(address)).map(|(id, bound)| (id, to_wit(bound)))
    }

    fn unbind(&mut self, socket: u32) {
        // Takes no bytes: it is never too much.
        let _ = self.env.ask(Ask::Unbind(socket));
    }

    fn send(&mut self, socket: u32, to: SocketAddress, bytes: Vec<u8>) {
        if self.env.ask(Ask::Datagram { socket, to: from_wit(to), bytes }).is_err() {
            self.env.figures.datagrams_dropped.add(1);
        }
    }
}

/// Sends one datagram, or drops it.
pub(crate) fn send(env: &Env, socket: u32, to: SocketAddr, bytes: &[u8]) {
    let datagrams = env.datagrams.borrow();
    let sent = bytes.len() <= DATAGRAM_BYTES_MAX
        && may_pass(env, to, Direction::Outbound, bytes.len())
        && datagrams.open.get(&socket).is_some_and(|bound| {
            let to = reachable_from(bound.address, to);
            // Asked of the system itself: the event loop does not know of a socket of this call yet, whether it has room.
            SockRef::from(&bound.socket).send_to(bytes, &to.into()).is_ok()
        });
    if sent {
        env.figures.sent_bytes.add(bytes.len() as u64);
    } else {
        env.figures.datagrams_dropped.add(1);
    }
}

/// Whether the policy lets the service hear from or speak to an address, and its class has room; where not, that is
/// counted. Where it does, the bytes count against the budgets.
fn may_pass(env: &Env, far: SocketAddr, direction: Direction, len: usize) -> bool {
    let (at, known) = (At::of(env), Known::at(direction, far.ip(), 0));
    let mut enforcer = env.policy.borrow_mut();
    let passes = enforcer.admits(at, &known) && {
        let class = enforcer.class_of(at, &known, None);
        env.net.borrow_mut().pass_datagram(class, direction, len)
    };
    if passes {
        env.net.borrow_mut().meter(enforcer.budgets_of(at, &known), len);
    } else {
        env.figures.datagrams_denied.add(1);
    }
    passes
}

/// An IPv4 address as a socket for both families takes it.
fn reachable_from(local: SocketAddr, to: SocketAddr) -> SocketAddr {
    match (local, to) {
        (SocketAddr::V6(_), SocketAddr::V4(v4)) => {
            SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
        }
        _ => to,
    }
}
