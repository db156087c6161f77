//! Connections that the proxylet asked for.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use policies::event::Direction;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::host::Env;
use crate::host::address::to_wit;
use crate::host::bindings::eep::proxylet::net::NetError;
use crate::host::bindings::eep::proxylet::types::{Established, Event};
use crate::host::effects::Called;
use crate::host::net::connection::{ConnTask, Far, Phase, reason};
use crate::host::net::listener::net_error;

/// How long a peer may take to answer.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts to connect. An event follows, unless the proxylet closes the connection before.
pub(crate) fn connect(env: &Rc<Env>, to: SocketAddr) -> Result<u64, NetError> {
    if !env.grants.borrow().may_connect(to) {
        return Err(NetError::NotGranted);
    }
    if let Some(past) = env.past_connect(&Called::Address(to)) {
        return past.ok_or(NetError::Limit);
    }
    if !env.net.borrow().may_be(env, to, Direction::Outbound) {
        env.figures.connections_denied.add(1);
        return Err(NetError::NotGranted);
    }
    let socket = open(to).map_err(|error| net_error(&error))?;
    let mut net = env.net.borrow_mut();
    // The task needs the id, and the place in the table needs the task.
    let (tell, told) = tokio::sync::oneshot::channel();
    let task = spawn_local({
        let env = Rc::clone(env);
        async move {
            if let Ok(id) = told.await {
                run(env, id, socket, to).await;
            }
        }
    });
    let far = Far { address: to, inbound: false };
    let id = net.admit(Phase::Connecting(task.abort_handle()), None, far).ok_or(NetError::Limit)?;
    net.assign(env, id);
    // The task is alive: nothing has run since it was made.
    let _ = tell.send(id);
    env.connected(Called::Address(to), id);
    Ok(id)
}

fn open(to: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    Ok(socket)
}

async fn run(env: Rc<Env>, id: u64, socket: TcpSocket, to: SocketAddr) {
    let connected = match timeout(CONNECT_TIMEOUT, socket.connect(to)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    if let Err(error) = connected.and_then(|stream| establish(&env, id, stream)) {
        let mut net = env.net.borrow_mut();
        net.fail(id, reason(&error), &mut env.inbox.borrow_mut());
    }
}

pub(crate) fn establish(env: &Rc<Env>, id: u64, stream: TcpStream) -> io::Result<()> {
    let (remote, local) = (stream.peer_addr()?, stream.local_addr()?);
    let mut net = env.net.borrow_mut();
    let Some(conn) = net.get_mut(id) else { return Ok(()) };
    conn.phase = Phase::Open;
    conn.touched = env.inbox.borrow().number();
    conn.stream = Some(stream);
    net.mark(id);
    spawn_local(ConnTask { env: Rc::clone(env), id });
    let event = Established { conn: id, remote: to_wit(remote), local: to_wit(local) };
    env.inbox.borrow_mut().push(Event::Established(event));
    Ok(())
}
