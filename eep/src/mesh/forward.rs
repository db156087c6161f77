//! Services' streams over the mesh, for programs that know TCP and nothing of a mesh: an address of this machine stands for
//! a service on another node.
//!
//! ```text
//!  service A ─TCP─▶ 127.0.0.1:7346 ─▶ mesh stream, TLS from end to end, along SOAR's routes ─▶ node B ─TCP─▶ service B
//! ```
//!
//! Where a way dies the stream goes on over another one ([`super::session`]), and neither service notices more than a pause.
//! Where there is none for long, both TCP connections are reset.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::config::mesh::MeshLink;
use crate::mesh::Mesh;
use crate::mesh::streams::Stream;
use crate::mesh::trust::Peer;
use crate::problem::Problem;

/// Connections that one such address carries at a time; further ones wait in the system's queue.
const CARRIED_MAX: usize = 1024;

/// Who is behind connections of this machine that came over the mesh; as many as streams may end here.
#[derive(Debug, Default)]
pub(crate) struct Behind(Mutex<HashMap<SocketAddr, Peer>>);

/// An entry there, for as long as its connection lives.
struct Known {
    all: Arc<Behind>,
    address: SocketAddr,
}

impl Drop for Known {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.address);
    }
}

/// Where a service takes connections, if it does now.
pub trait Lookup: Fn() -> Option<SocketAddr> + Send + Sync + 'static {}
impl<T: Fn() -> Option<SocketAddr> + Send + Sync + 'static> Lookup for T {}

impl Mesh {
    /// Opens the addresses of the node file that stand for services on other nodes.
    ///
    /// # Errors
    /// One cannot be had.
    pub async fn open_links(&self, ending: &watch::Receiver<bool>) -> Result<(), Box<Problem>> {
        for link in self.settings().links.clone() {
            let listener = TcpListener::bind(link.listen).await.map_err(|e| {
                Problem::new("mesh-link", 500, format!("the link to {} cannot listen: {e}", link.node))
                    .at(link.listen.to_string())
                    .fix("choose another address under `mesh.links`")
            })?;
            tokio::spawn(carry_all(self.clone(), link, listener, ending.clone()));
        }
        Ok(())
    }

    /// Passes the streams that come for a service on to its own listener, until the node ends.
    pub async fn serve_service(
        &self,
        service: String,
        address: impl Lookup,
        mut ending: watch::Receiver<bool>,
    ) {
        let mut streams = self.listen(&service);
        let address = Arc::new(address);
        loop {
            let stream = tokio::select! {
                stream = streams.recv() => stream,
                _ = ending.wait_for(|ending| *ending) => return,
            };
            let Some(stream) = stream else { return };
            let (mesh, address, service) = (self.clone(), Arc::clone(&address), service.clone());
            tokio::spawn(async move {
                let to = address();
                let connected = match to {
                    Some(to) => mesh.connect_for(local(to), &stream.peer).await.ok(),
                    None => None,
                };
                match connected {
                    Some((tcp, _known)) => mesh.carry(tcp, stream).await,
                    // The stream ends; its other end sees that at once.
                    None => {
                        tracing::debug!(service, peer = %stream.peer.full_name(), "the service takes no streams now")
                    }
                }
            });
        }
    }

    /// Who is behind a connection that came from an address of this machine; none where it did not come over the mesh.
    pub(crate) fn behind(&self, address: SocketAddr) -> Option<Peer> {
        self.behind.0.lock().unwrap_or_else(PoisonError::into_inner).get(&address).cloned()
    }

    /// Connects to a service of this node for a peer. It is known who that is before the service can ask.
    async fn connect_for(&self, to: SocketAddr, peer: &Peer) -> std::io::Result<(TcpStream, Known)> {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        let loopback: IpAddr =
            if to.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        // A service may listen on an address of the machine that is not reached from loopback.
        let from = if to.ip().is_loopback() { loopback } else { to.ip() };
        socket.bind(SocketAddr::new(from, 0))?;
        let address = socket.local_addr()?;
        let known = Known { all: Arc::clone(&self.behind), address };
        known.all.0.lock().unwrap_or_else(PoisonError::into_inner).insert(address, peer.clone());
        Ok((socket.connect(to).await?, known))
    }

    /// Carries bytes both ways until both sides have ended, or the stream has failed.
    pub(crate) async fn carry(&self, mut tcp: TcpStream, mut stream: Stream) {
        let _ = tcp.set_nodelay(true);
        if tokio::io::copy_bidirectional(&mut tcp, &mut stream.io).await.is_err() {
            // What was cut short must not look like what has ended.
            let _ = tcp.set_zero_linger();
        }
    }
}

async fn carry_all(mesh: Mesh, link: MeshLink, listener: TcpListener, mut ending: watch::Receiver<bool>) {
    let carried = Arc::new(Semaphore::new(CARRIED_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&carried).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ending.wait_for(|ending| *ending) => return,
        };
        let Ok((tcp, _)) = accepted else { continue };
        let (mesh, link) = (mesh.clone(), link.clone());
        tokio::spawn(async move {
            let opened = async {
                let node = mesh.resolve(&link.node).await.map_err(|e| e.title)?;
                mesh.open(node, &link.service).await.map_err(|e| e.to_string())
            };
            match opened.await {
                Ok(stream) => mesh.carry(tcp, stream).await,
                Err(why) => {
                    tracing::info!(node = link.node, service = link.service, why, "no stream over the mesh")
                }
            }
            drop(permit);
        });
    }
}

/// A listener on all addresses is reached on loopback.
pub(crate) fn local(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}
