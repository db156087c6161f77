//! The capability `mesh`: streams and messages to services on other nodes.
//!
//! A stream comes to the service as a TCP connection of this machine, whose other end the node carries over the mesh: so
//! whatever holds for connections holds for it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use policies::event::Direction;
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use crate::host::bindings::eep::proxylet::mesh::{self, Identity, MeshError, Target};
use crate::host::bindings::eep::proxylet::types::CloseReason;
use crate::host::effects::Called;
use crate::host::net::connect::establish;
use crate::host::net::connection::{Far, Phase};
use crate::host::outside::Request;
use crate::host::{Env, Host};

/// Bytes of a message.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 10;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 128;
/// What streams count as.
const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A stream that was opened: the service's end of it, and who is at the other.
pub(crate) type Opened = (std::net::TcpStream, Identity);

fn too_long(to: &Target, service: &str) -> bool {
    let name = match to {
        Target::Node(name) | Target::Region(name) => name.len(),
        Target::Nearest => 0,
    };
    name.max(service.len()) > NAME_BYTES_MAX
}

/// Starts to open a stream. An event follows, unless the proxylet closes the connection before.
fn open(env: &Rc<Env>, to: Target, service: String) -> Result<u64, MeshError> {
    if too_long(&to, &service) {
        return Err(MeshError::TooLong);
    }
    let called = Called::Service(format!("{to:?} {service}"));
    if let Some(past) = env.past_connect(&called) {
        return past.ok_or(MeshError::Limit);
    }
    if !env.net.borrow().may_be(env, HERE, Direction::Outbound) {
        env.figures.connections_denied.add(1);
        return Err(MeshError::Denied);
    }
    let mut net = env.net.borrow_mut();
    // The task needs the id, and the place in the table needs the task.
    let (tell, told) = tokio::sync::oneshot::channel();
    let task = spawn_local({
        let env = Rc::clone(env);
        async move {
            let Ok(id) = told.await else { return };
            if let Err(reason) = run(&env, id, to, service).await {
                let mut net = env.net.borrow_mut();
                net.fail(id, reason, &mut env.inbox.borrow_mut());
            }
        }
    });
    let far = Far { address: HERE, inbound: false };
    let id = net.admit(Phase::Connecting(task.abort_handle()), None, far).ok_or(MeshError::Limit)?;
    net.assign(env, id);
    // The task is alive: nothing has run since it was made.
    let _ = tell.send(id);
    env.connected(called, id);
    Ok(id)
}

async fn run(env: &Rc<Env>, id: u64, to: Target, service: String) -> Result<(), CloseReason> {
    let opened = env.door.open(to, service).await;
    let (stream, peer) = opened.map_err(|problem| match problem.status {
        403 => CloseReason::NotGranted,
        404 | 409 => CloseReason::Refused,
        504 => CloseReason::TimedOut,
        _ => CloseReason::Unreachable,
    })?;
    let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
    let made = stream.and_then(|stream| establish(env, id, stream));
    made.map_err(|_: io::Error| CloseReason::Reset)?;
    if let Some(conn) = env.net.borrow_mut().get_mut(id) {
        conn.peer = Some(Box::new(peer));
    }
    Ok(())
}

impl mesh::Host for Host {
    fn open(&mut self, to: Target, service: String) -> Result<u64, MeshError> {
        open(&self.env, to, service)
    }

    fn peer(&mut self, conn: u64) -> Option<Identity> {
        let mut net = self.env.net.borrow_mut();
        let conn = net.get_mut(conn)?;
        if conn.peer.is_none() && conn.far.inbound {
            conn.peer = self.env.door.behind(conn.far.address).map(Box::new);
        }
        conn.peer.as_deref().cloned()
    }

    fn send(&mut self, to: Target, service: String, bytes: Vec<u8>) -> Result<u64, MeshError> {
        if bytes.len() > MESSAGE_BYTES_MAX || too_long(&to, &service) {
            return Err(MeshError::TooLong);
        }
        self.env.request(Request::Message(to, service, bytes)).ok_or(MeshError::Limit)
    }
}
