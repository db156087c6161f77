//! Streams and messages of services to services on other nodes.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use topology::NodeId;

use crate::host::bindings::eep::proxylet::mesh::{Identity, Target};
use crate::host::mesh::{MESSAGE_BYTES_MAX, Opened};
use crate::mesh::find::parse_id;
use crate::mesh::forward::local;
use crate::mesh::requests::Question;
use crate::mesh::trust;
use crate::mesh::views::By;
use crate::node::{Held, Node};
use crate::problem::Problem;
use crate::proxylet::error::ControlError;

/// Nodes that are tried, one after the other.
const TRIED_MAX: usize = 4;

/// A message between services.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sent {
    from: String,
    to: String,
    bytes: Vec<u8>,
}

fn system(e: &std::io::Error) -> Box<Problem> {
    Problem::new("system", 500, format!("no connection can be made here: {e}"))
}

fn nobody(service: &str) -> Box<Problem> {
    Problem::new("no-such-service", 404, format!("no such node offers {service}"))
}

impl Node {
    /// The nodes that are meant, the nearest first.
    async fn meant(&self, to: &Target, service: &str) -> Result<Vec<NodeId>, Box<Problem>> {
        let mesh = self.mesh()?;
        let offering = async || {
            let found = mesh.find(&format!("service:{service}"), By::Rtt).await?;
            let ids = found.nodes.iter().filter_map(|found| parse_id(&found.node.id));
            Ok::<Vec<NodeId>, Box<Problem>>(ids.collect())
        };
        let mut meant = match to {
            Target::Node(name) => vec![mesh.resolve(name).await?],
            Target::Nearest => offering().await?,
            Target::Region(region) => {
                let (offering, members) = (offering().await?, mesh.in_region(region, By::Rtt).await);
                offering.into_iter().filter(|id| members.iter().any(|(member, _)| member == id)).collect()
            }
        };
        meant.truncate(TRIED_MAX);
        if meant.is_empty() { Err(nobody(service)) } else { Ok(meant) }
    }

    /// Opens a stream to a service.
    pub(super) async fn open_stream(&self, to: &Target, service: &str) -> Result<Opened, Box<Problem>> {
        let mesh = self.mesh()?.clone();
        let mut last = nobody(service);
        for node in self.meant(to, service).await? {
            if node == mesh.me().id {
                let me = mesh.me();
                let address = self.serves(service).then(|| self.listener_of(service)).flatten();
                let Some(address) = address else { continue };
                let tcp = TcpStream::connect(local(address)).await.map_err(|e| system(&e))?;
                let tcp = tcp.into_std().map_err(|e| system(&e))?;
                return Ok((tcp, Identity { node: me.id.to_string(), name: me.full_name() }));
            }
            let stream = match mesh.open(node, service).await {
                Ok(stream) => stream,
                Err(refused) => {
                    let status = match refused.cause {
                        crate::mesh::wire::Refusal::NotAllowed => 403,
                        crate::mesh::wire::Refusal::NoService => 404,
                        _ => 502,
                    };
                    last = Problem::new("no-stream", status, refused.to_string());
                    continue;
                }
            };
            let peer = Identity { node: stream.peer.id.to_string(), name: stream.peer.full_name() };
            let (theirs, ours) = pair().await.map_err(|e| system(&e))?;
            tokio::spawn(async move { mesh.carry(ours, stream).await });
            return Ok((theirs.into_std().map_err(|e| system(&e))?, peer));
        }
        Err(last)
    }

    /// Whether other nodes may reach a service.
    fn serves(&self, name: &str) -> bool {
        let Ok(mesh) = self.mesh() else { return false };
        let of_web = |held: Held| held.desired.placed.is_some_and(|by| by.serve);
        mesh.settings().serve.iter().any(|served| served == "*" || served == name)
            || self.held(name).is_ok_and(of_web)
    }

    /// Sends a message of a service to another.
    pub(super) async fn send_message(
        &self,
        from: &str,
        to: &Target,
        service: &str,
        bytes: Vec<u8>,
    ) -> Result<Vec<u8>, Box<Problem>> {
        if matches!(to, Target::Node(name) if name == "self") {
            return self.hand_over(service, from.to_owned(), bytes).await;
        }
        let mesh = self.mesh()?;
        let mut last = nobody(service);
        for node in self.meant(to, service).await? {
            let sent = Sent { from: from.to_owned(), to: service.to_owned(), bytes: bytes.clone() };
            let answer = if node == mesh.me().id {
                self.hand_over(service, from.to_owned(), sent.bytes).await
            } else {
                let body =
                    postcard::to_allocvec(&sent).map_err(|e| Problem::new("internal", 500, e.to_string()))?;
                mesh.ask(node, &Question::Message(body)).await
            };
            match answer {
                Ok(_) => return Ok(Vec::new()),
                Err(problem) => last = problem,
            }
        }
        Err(last)
    }

    /// Takes a message from another node.
    pub(super) async fn take_message(
        &self,
        peer: &trust::Peer,
        body: &[u8],
    ) -> Result<Vec<u8>, Box<Problem>> {
        let bad = || Problem::new("bad-request", 400, "this is not a message");
        let sent: Sent = postcard::from_bytes(body).map_err(|_| bad())?;
        let is_name = sent.from.parse::<crate::config::ServiceName>().is_ok();
        if sent.bytes.len() > MESSAGE_BYTES_MAX || !is_name {
            return Err(bad());
        }
        if !self.serves(&sent.to) {
            return Err(nobody(&sent.to));
        }
        self.hand_over(&sent.to, format!("{}@{}", sent.from, peer.id), sent.bytes).await
    }

    async fn hand_over(&self, to: &str, sender: String, bytes: Vec<u8>) -> Result<Vec<u8>, Box<Problem>> {
        let held = self.held(to).ok().filter(|held| held.grants.mesh());
        let engine = held.and_then(|held| held.engine).ok_or_else(|| nobody(to))?;
        match engine.tell(sender, bytes).await {
            Ok(()) => Ok(Vec::new()),
            Err(ControlError::Busy) => {
                Err(Problem::new("busy", 503, format!("{to} does not keep up")).fix("send it again later"))
            }
            Err(_) => Err(nobody(to)),
        }
    }

    /// Who is behind a connection that came from this address of this machine.
    pub(super) fn behind(&self, address: SocketAddr) -> Option<Identity> {
        let peer = self.mesh().ok()?.behind(address)?;
        Some(Identity { node: peer.id.to_string(), name: peer.full_name() })
    }
}

/// Two ends of one connection on this machine.
async fn pair() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let one = TcpStream::connect(listener.local_addr()?).await?;
    let own = one.local_addr()?;
    loop {
        // Somebody else may have connected first.
        let (other, from) = listener.accept().await?;
        if from == own {
            one.set_nodelay(true)?;
            return Ok((one, other));
        }
    }
}
