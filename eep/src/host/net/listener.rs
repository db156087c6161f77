//! Listening sockets, and the task that accepts from each.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use policies::event::Direction;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

use crate::host::Env;
use crate::host::address::to_wit;
use crate::host::bindings::eep::proxylet::net::NetError;
use crate::host::bindings::eep::proxylet::types::{Accepted, Event};
use crate::host::descriptors::Descriptor;
use crate::host::net::connection::{ConnTask, Far, Phase};
use crate::host::net::relay::{Meanwhile, pass_on};

/// Peers that the system holds until they are accepted.
const BACKLOG: i32 = 4_096;
/// The pause after the system gave no descriptor.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// The listening sockets of one service.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    open: BTreeMap<u32, Listening>,
    meanwhile: Meanwhile,
    last: u32,
}

#[derive(Debug)]
struct Listening {
    socket: TcpListener,
    /// The address that was asked for.
    asked: SocketAddr,
    address: SocketAddr,
    task: Option<Waker>,
    _descriptor: Descriptor,
    /// Whether no instance has it: nobody is accepted, the peers wait.
    shelved: bool,
}

impl Listening {
    fn set_shelved(&mut self, shelved: bool) {
        self.shelved = shelved;
        if let Some(task) = self.task.as_ref().filter(|_| !shelved) {
            task.wake_by_ref();
        }
    }
}

impl Listeners {
    /// Listening sockets that a service may have.
    pub(crate) const MAX: usize = 64;

    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.open.values().filter(|listening| !listening.shelved).map(|listening| listening.address)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> {
        self.open.iter().filter(|(_, listening)| !listening.shelved).map(|(id, _)| *id)
    }

    /// Puts one aside.
    pub(crate) fn shelve(&mut self, id: u32) {
        if let Some(listening) = self.open.get_mut(&id) {
            listening.set_shelved(true);
        }
    }

    /// Puts aside all but these, and has these again.
    pub(crate) fn shelve_all_but(&mut self, kept: &[u32]) {
        for (id, listening) in &mut self.open {
            listening.set_shelved(!kept.contains(id));
        }
    }

    /// Says what becomes of those who connect to what is put aside.
    pub(crate) fn meanwhile(&mut self, meanwhile: Meanwhile) {
        self.meanwhile = meanwhile;
        for task in self.open.values().filter_map(|listening| listening.task.as_ref()) {
            task.wake_by_ref();
        }
    }

    /// What becomes of whoever connects to this one: an instance has it, or else.
    fn fate(&self, id: u32) -> Option<Meanwhile> {
        self.open.get(&id).filter(|listening| listening.shelved).map(|_| self.meanwhile)
    }

    /// Closes what is put aside.
    pub(crate) fn remove_shelved(&mut self) {
        let shelved: Vec<u32> = self.open.iter().filter(|(_, l)| l.shelved).map(|(id, _)| *id).collect();
        for id in shelved {
            self.remove(id);
        }
    }

    /// Takes over the first that is put aside and was asked for, or bound, with this address.
    fn take_over(&mut self, address: SocketAddr) -> Option<(u32, SocketAddr)> {
        let fits = |l: &Listening| l.shelved && (l.asked == address || l.address == address);
        let (id, listening) = self.open.iter_mut().find(|(_, listening)| fits(listening))?;
        listening.set_shelved(false);
        Some((*id, listening.address))
    }

    pub(crate) fn remove(&mut self, id: u32) {
        if let Some(Listening { task: Some(task), .. }) = self.open.remove(&id) {
            task.wake();
        }
    }

    pub(crate) fn clear(&mut self) {
        for (_, listening) in std::mem::take(&mut self.open) {
            if let Some(task) = listening.task {
                task.wake();
            }
        }
    }
}

/// Opens a listening socket, and accepts from it until it is closed.
pub(crate) fn listen(env: &Rc<Env>, address: SocketAddr) -> Result<(u32, SocketAddr), NetError> {
    if !env.grants.borrow().may_listen(address) {
        return Err(NetError::NotGranted);
    }
    let mut net = env.net.borrow_mut();
    if let Some(taken) = net.listeners.take_over(address) {
        env.listening_changed.set(true);
        return Ok(taken);
    }
    if net.listeners.open.len() >= Listeners::MAX {
        return Err(NetError::Limit);
    }
    let descriptor = net.descriptor().ok_or(NetError::Limit)?;
    let socket = open(address).map_err(|error| net_error(&error))?;
    let bound = socket.local_addr().map_err(|error| net_error(&error))?;
    let listeners = &mut net.listeners;
    listeners.last += 1;
    let id = listeners.last;
    let listening = Listening {
        socket,
        asked: address,
        address: bound,
        task: None,
        _descriptor: descriptor,
        shelved: false,
    };
    listeners.open.insert(id, listening);
    env.listening_changed.set(true);
    env.listened(id);
    spawn_local(accept_all(Rc::clone(env), id));
    Ok((id, bound))
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit this: relayed messages are small and must not wait for each other.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// What a system's refusal of a socket means to a proxylet.
pub(crate) fn net_error(error: &io::Error) -> NetError {
    match error.kind() {
        io::ErrorKind::AddrInUse => NetError::InUse,
        _ if is_exhausted(error) => NetError::Limit,
        _ => NetError::Unavailable,
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

async fn accept_all(env: Rc<Env>, id: u32) {
    loop {
        match poll_fn(|cx| poll_accept(&env, id, cx)).await {
            None => return,
            Some(Ok((stream, remote))) => {
                let fate = env.net.borrow().listeners.fate(id);
                match fate {
                    None | Some(Meanwhile::Wait) => admit(&env, id, stream, remote),
                    Some(Meanwhile::Refuse) => env.figures.connections_refused.add(1),
                    Some(Meanwhile::PassOn(_))
                        if !env.net.borrow().may_be(&env, remote, Direction::Inbound) =>
                    {
                        env.figures.connections_denied.add(1);
                    }
                    Some(Meanwhile::PassOn(to)) => pass_on(&env, stream, to),
                }
            }
            Some(Err(error)) if is_exhausted(&error) => {
                env.log.node_warn(&format!("no peer can be accepted for now: {error}"));
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
            // The peer was gone before it was accepted.
            Some(Err(_)) => {}
        }
    }
}

/// The next peer, once the pending batch has room for it; none where the listener was closed.
fn poll_accept(
    env: &Env,
    id: u32,
    cx: &mut Context<'_>,
) -> Poll<Option<io::Result<(TcpStream, SocketAddr)>>> {
    let mut net = env.net.borrow_mut();
    let waits = net.listeners.meanwhile == Meanwhile::Wait;
    let Some(listening) = net.listeners.open.get_mut(&id) else { return Poll::Ready(None) };
    listening.task = Some(cx.waker().clone());
    let mut inbox = env.inbox.borrow_mut();
    if listening.shelved && waits {
        return Poll::Pending;
    }
    if inbox.is_full() && !listening.shelved {
        inbox.wait_for_room(cx.waker());
        return Poll::Pending;
    }
    Poll::Ready(Some(ready!(listening.socket.poll_accept(cx))))
}

/// Takes a peer in, or closes its connection where the policy denies it or the service or the node has no room.
fn admit(env: &Rc<Env>, listener: u32, stream: TcpStream, remote: SocketAddr) {
    let Ok(local) = stream.local_addr() else { return };
    let mut net = env.net.borrow_mut();
    if !net.may_be(env, remote, Direction::Inbound) {
        env.figures.connections_denied.add(1);
        return;
    }
    let far = Far { address: remote, inbound: true };
    let Some(conn) = net.admit(Phase::Open, Some(stream), far) else {
        env.figures.connections_refused.add(1);
        return;
    };
    net.assign(env, conn);
    env.figures.connections_accepted.add(1);
    spawn_local(ConnTask { env: Rc::clone(env), id: conn });
    let event = Accepted { conn, listener, remote: to_wit(remote), local: to_wit(local) };
    env.inbox.borrow_mut().push(Event::Accepted(event));
}
