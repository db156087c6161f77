//! A stream that begins here, or goes on from here: over the first way that works.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use quinn::Connection;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use topology::dht::Outcome;
use topology::{Contact, NodeId};

use crate::mesh::endpoint::SERVER_NAME;
use crate::mesh::identity::shown;
use crate::mesh::streams::{HANDSHAKE, Refused, Stream, Streams, refused};
use crate::mesh::trust::Peer;
use crate::mesh::wire::{self, OPENING_BYTES_MAX, Opening, Purpose, Refusal, Reply};

/// How long one node on the way may take to connect a stream.
const HOP: Duration = Duration::from_secs(2);

impl Streams {
    /// Opens a stream to a node.
    pub(in crate::mesh) async fn open(
        &self,
        to: NodeId,
        purpose: Purpose,
        service: &str,
    ) -> Result<Stream, Refused> {
        let mut opening = Opening::to(purpose, Some(to), Some(service.to_owned()));
        opening.source = Some(self.me);
        opening.passed = Some(vec![self.me]);
        let (connection, via, io) = self.connect(to, &opening).await?;
        self.counters.opened.fetch_add(1, Relaxed);
        if via == to {
            let peer = self.at_end(&connection)?;
            return Ok(Stream { io: Box::new(io), peer, via });
        }
        let name =
            ServerName::try_from(SERVER_NAME).map_err(|e| refused(Refusal::BadOpening, e.to_string()))?;
        let secured = timeout(HANDSHAKE, self.tls.connector().connect(name, io)).await;
        let io = match secured {
            Ok(Ok(io)) => io,
            Ok(Err(e)) => return Err(refused(Refusal::NoRoute, format!("no TLS with {to} over {via}: {e}"))),
            Err(_) => return Err(refused(Refusal::NoRoute, format!("{to} did not answer over {via}"))),
        };
        let chain = io.get_ref().1.peer_certificates().unwrap_or_default();
        let peer = self.domains.judge(chain, SystemTime::now());
        match peer {
            Ok(peer) if peer.id == to => Ok(Stream { io: Box::new(io), peer, via }),
            _ => Err(refused(Refusal::NoRoute, format!("another node than {to} answered over {via}"))),
        }
    }

    fn at_end(&self, connection: &Connection) -> Result<Peer, Refused> {
        let chain = shown(connection.peer_identity());
        self.domains.judge(&chain, SystemTime::now()).map_err(|e| refused(Refusal::NotAllowed, e.to_string()))
    }

    /// Connects a stream with its next node, over the first way that works.
    pub(in crate::mesh) async fn connect(
        &self,
        to: NodeId,
        opening: &Opening,
    ) -> Result<(Connection, NodeId, wire::Bi), Refused> {
        let mut avoid: Vec<NodeId> = opening.passed.clone().unwrap_or_default();
        avoid.extend(opening.avoid.iter().flatten());
        let locator = opening.locator.clone().unwrap_or_default();
        let mut last = refused(Refusal::NoRoute, format!("no route to {to}"));
        let ways = self.ask.core({
            let avoid = avoid.clone();
            move |core, _| core.ways(to, &locator, &avoid)
        });
        for (tried, (next, connection)) in ways.await.unwrap_or_default().into_iter().enumerate() {
            match self.hop(&connection, next, to, opening).await {
                Ok(io) => {
                    self.counters.rerouted.fetch_add(u64::from(tried > 0), Relaxed);
                    return Ok((connection, next, io));
                }
                // The target itself has said no: other ways lead to the same answer.
                Err(no)
                    if matches!(no.cause, Refusal::NotAllowed | Refusal::NoService | Refusal::BadOpening) =>
                {
                    return Err(no);
                }
                Err(no) => last = no,
            }
        }
        if opening.source != Some(self.me) {
            return Err(last);
        }
        // Nobody leads there: perhaps it can be dialled.
        let Some(connection) = self.dial(to).await else { return Err(last) };
        let io = self.hop(&connection, to, to, opening).await?;
        Ok((connection, to, io))
    }

    async fn dial(&self, to: NodeId) -> Option<Connection> {
        let known = self.ask.core(move |core, _| core.contact(to)).await.flatten();
        let contact: Contact = match known {
            Some(contact) => contact,
            None => {
                let lookup = self.ask.core(move |core, now| core.find_node(now, to).ok()).await.flatten()?;
                match lookup.await {
                    Ok(Outcome::Node(contact)) => contact,
                    _ => return None,
                }
            }
        };
        let reached = self.ask.core(move |core, _| core.reach(contact)).await?;
        reached.await.ok()?.ok()
    }

    /// Connects a stream with the next node.
    async fn hop(
        &self,
        connection: &Connection,
        next: NodeId,
        to: NodeId,
        opening: &Opening,
    ) -> Result<wire::Bi, Refused> {
        let mut opening = opening.clone();
        if next == to && opening.source == Some(self.me) {
            // The connection's ends are the stream's: nothing more is to be proved.
            (opening.target, opening.source, opening.passed) = (None, None, None);
        }
        let work = async {
            let (mut send, mut recv) = connection.open_bi().await.map_err(|e| e.to_string())?;
            wire::write(&mut send, &opening).await.map_err(|e| e.to_string())?;
            let reply: Reply = wire::read(&mut recv, OPENING_BYTES_MAX).await.map_err(|e| e.to_string())?;
            Ok::<_, String>((reply, tokio::io::join(recv, send)))
        };
        // A link that has just been found dead is not waited for.
        let mut alive = self.alive.clone();
        let was_alive = alive.borrow().contains(&next);
        let died = async {
            if !was_alive || alive.wait_for(|alive| !alive.contains(&next)).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let done = tokio::select! {
            done = timeout(HOP, work) => done.unwrap_or_else(|_| Err(format!("{next} did not answer in time"))),
            () = died => Err(format!("the link to {next} has died")),
        };
        match done {
            Ok((Reply { code: 0, .. }, io)) => Ok(io),
            Ok((Reply { code, why }, _)) => Err(refused(Refusal::of(code), why.unwrap_or_default())),
            Err(why) => Err(refused(Refusal::NoRoute, why)),
        }
    }
}
