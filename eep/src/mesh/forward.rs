//! Services' streams over the mesh, for programs that know TCP and nothing of a mesh: an address of this machine stands for
//! a service on another node.
//!
//! ```text
//!  service A ─TCP─▶ 127.0.0.1:7346 ─▶ mesh stream, TLS from end to end, along SOAR's routes ─▶ node B ─TCP─▶ service B
//! ```
//!
//! Where the link that a stream leaves by dies, the TCP connection ends at once, and whoever holds it connects again: over
//! another way, where there is one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::config::mesh::MeshLink;
use crate::mesh::Mesh;
use crate::mesh::streams::Stream;
use crate::problem::Problem;

/// Connections that one such address carries at a time; further ones wait in the system's queue.
const CARRIED_MAX: usize = 1024;

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
                    Some(to) => TcpStream::connect(local(to)).await.ok(),
                    None => None,
                };
                match connected {
                    Some(tcp) => mesh.carry(tcp, stream).await,
                    // The stream ends; its other end sees that at once.
                    None => {
                        tracing::debug!(service, peer = %stream.peer.full_name(), "the service takes no streams now")
                    }
                }
            });
        }
    }

    /// Carries bytes both ways until one side ends, or the link that the stream leaves by dies.
    pub(crate) async fn carry(&self, mut tcp: TcpStream, mut stream: Stream) {
        let _ = tcp.set_nodelay(true);
        let via = [stream.via];
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut tcp, &mut stream.io) => {}
            () = self.streams.has_died(&via) => {}
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
