//! Streams between nodes: to the other end of a connection, or through other nodes, with TLS from end to end inside.
//!
//! A stream to a neighbour is a QUIC stream of their connection, which has proved already who is at its ends. One to any
//! other node is passed on along SOAR's routes, each node choosing the next, and carries TLS 1.3 with the certificates of
//! its two ends: nodes on the way see how much is sent and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use quinn::Connection;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant as Clock, sleep, timeout};
use topology::dht::Outcome;
use topology::{Contact, NodeId};

use crate::mesh::Asker;
use crate::mesh::admission::{Admission, Changes};
use crate::mesh::endpoint::{SERVER_NAME, Tls};
use crate::mesh::identity::shown;
use crate::mesh::requests::Requests;
use crate::mesh::revocable::{Forbidden, Revocable};
use crate::mesh::session::{BEGUN_MAX, RESUMING_MAX, Sessions, know_none};
use crate::mesh::throughput::be_tried;
use crate::mesh::trust::{May, Peer, SharedDomains};
use crate::mesh::wire::{self, OPENING_BYTES_MAX, Opening, Purpose, Refusal, Reply};

/// Streams that are passed on at a time.
const RELAYED_MAX: usize = 1024;
/// Streams that end here, at a time.
const ACCEPTED_MAX: usize = 4096;
/// Streams that wait for a service to take them.
const WAITING_MAX: usize = 64;
/// How long one node on the way may take to connect a stream.
const HOP: Duration = Duration::from_secs(2);
/// How long TLS may take over the whole way.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// A stream that is open looks for a better way when the map changes, with this pause at least...
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// ...and this one at most.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long the first message of a stream may take.
const OPENING: Duration = Duration::from_secs(3);

/// A stream to another node.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A stream whose other end has proved who it is.
pub struct Stream {
    /// The stream.
    pub io: Box<dyn Io>,
    /// Its other end.
    pub peer: Peer,
    /// The neighbour that it leaves by.
    pub via: NodeId,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("peer", &self.peer.id).field("via", &self.via).finish()
    }
}

/// What streams have counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamCounts {
    /// Opened from here.
    pub opened: u64,
    /// Ended here.
    pub accepted: u64,
    /// Passed on.
    pub relayed: u64,
    /// Connected over another way after the first had failed.
    pub rerouted: u64,
    /// Taken up again over another way while they were open.
    pub resumed: u64,
    /// Failed since their way was lost and no other was had in time.
    pub broken: u64,
    /// Ended since a new policy does not allow them.
    pub forbidden: u64,
    /// Refused to a domain that may not ask.
    pub not_allowed: u64,
    /// Refused for want of a route.
    pub no_route: u64,
    /// Refused since a bound was reached.
    pub busy: u64,
    /// Openings that are none.
    pub malformed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    opened: AtomicU64,
    accepted: AtomicU64,
    pub(super) relayed: AtomicU64,
    rerouted: AtomicU64,
    pub(super) resumed: AtomicU64,
    pub(super) broken: AtomicU64,
    pub(super) forbidden: AtomicU64,
    not_allowed: AtomicU64,
    no_route: AtomicU64,
    busy: AtomicU64,
    malformed: AtomicU64,
}

/// Opens, accepts and relays.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) me: NodeId,
    pub(super) domains: SharedDomains,
    pub(super) admission: Admission,
    tls: Tls,
    ask: Asker,
    pub(super) alive: watch::Receiver<BTreeSet<NodeId>>,
    /// Counts up with each change of the map.
    map: watch::Receiver<u64>,
    services: Mutex<BTreeMap<String, mpsc::Sender<Stream>>>,
    pub(super) requests: Requests,
    pub(super) relays: Arc<Semaphore>,
    ends: Arc<Semaphore>,
    resuming: Arc<Semaphore>,
    pub(super) begun: Arc<Semaphore>,
    pub(super) sessions: Sessions,
    pub(super) counters: Counters,
}

/// Why a stream was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Refused {
    /// The cause.
    pub cause: Refusal,
    /// In words.
    pub words: String,
}

pub(super) fn refused(cause: Refusal, words: impl Into<String>) -> Refused {
    Refused { cause, words: words.into() }
}

impl Streams {
    pub(super) fn new(
        me: NodeId,
        domains: &SharedDomains,
        admission: Admission,
        tls: Tls,
        ask: Asker,
        alive: watch::Receiver<BTreeSet<NodeId>>,
        map: watch::Receiver<u64>,
    ) -> Self {
        Self {
            me,
            domains: Arc::clone(domains),
            admission,
            tls,
            ask,
            alive,
            map,
            services: Mutex::default(),
            requests: Requests::default(),
            relays: Arc::new(Semaphore::new(RELAYED_MAX)),
            ends: Arc::new(Semaphore::new(ACCEPTED_MAX)),
            resuming: Arc::new(Semaphore::new(RESUMING_MAX)),
            begun: Arc::new(Semaphore::new(BEGUN_MAX)),
            sessions: Sessions::default(),
            counters: Counters::default(),
        }
    }

    pub(super) fn counts(&self) -> StreamCounts {
        let c = &self.counters;
        StreamCounts {
            opened: c.opened.load(Relaxed),
            accepted: c.accepted.load(Relaxed),
            relayed: c.relayed.load(Relaxed),
            rerouted: c.rerouted.load(Relaxed),
            resumed: c.resumed.load(Relaxed),
            broken: c.broken.load(Relaxed),
            forbidden: c.forbidden.load(Relaxed),
            not_allowed: c.not_allowed.load(Relaxed),
            no_route: c.no_route.load(Relaxed),
            busy: c.busy.load(Relaxed),
            malformed: c.malformed.load(Relaxed),
        }
    }

    /// Takes the streams to a service from now on; an earlier taker gets none any more.
    pub(super) fn listen(&self, service: &str) -> mpsc::Receiver<Stream> {
        let (give, take) = mpsc::channel(WAITING_MAX);
        self.services.lock().unwrap_or_else(PoisonError::into_inner).insert(service.to_owned(), give);
        take
    }

    /// Services that take streams.
    pub(super) fn services(&self) -> Vec<String> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.retain(|_, give| !give.is_closed());
        services.keys().cloned().collect()
    }

    /// Neighbours whose links answer, as they change.
    pub(super) fn alive(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.alive.clone()
    }

    /// Comes back when a stream that leaves by this neighbour is to take a better way, which leads over none of those to
    /// avoid. A better way has to be there twice in turn.
    pub(super) async fn better(&self, to: NodeId, via: NodeId, avoid: &[NodeId]) {
        let mut map = self.map.clone();
        let (mut seen, mut least_us) = (false, u64::MAX);
        loop {
            map.mark_unchanged();
            let avoid = avoid.to_vec();
            let way = self.ask.core(move |core, _| core.compare_way(Clock::now(), to, via, &avoid)).await;
            // Where the core has gone, so has the mesh.
            let Some(way) = way else { return std::future::pending().await };
            if seen && way.leave {
                if least_us < u64::MAX && way.has_risen(least_us) {
                    self.ask.core(move |core, _| core.rest_way(Clock::now(), to, via)).await;
                }
                return;
            }
            seen = way.leave;
            least_us = least_us.min(way.cost_us.unwrap_or(u64::MAX));
            sleep(LOOK_PAUSE).await;
            if !seen {
                // Where no change is heard of, a way that was left may have rested.
                let _ = timeout(LOOK_EVERY, map.changed()).await;
            }
        }
    }

    /// A link was tried out.
    pub(super) async fn tried(&self, link: (NodeId, u64), kbps: Option<u32>) {
        // Where the core has gone, so has the mesh.
        let _ = self.ask.core(move |core, now| core.tried(now, link, kbps)).await;
    }

    /// Opens a stream to a node.
    pub(super) async fn open(&self, to: NodeId, purpose: Purpose, service: &str) -> Result<Stream, Refused> {
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
    pub(super) async fn connect(
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

    /// Comes back when a new policy forbids a stream to a service, with the reason.
    fn forbidden(self: &Arc<Self>, policies: Changes, peer: Peer, service: String) -> Forbidden {
        let streams = Arc::clone(self);
        Box::pin(async move {
            let why = streams.admission.forbids(policies, &peer, May::Stream, &service).await;
            streams.count_forbidden(&peer, &why);
            why
        })
    }

    pub(super) fn count_forbidden(&self, peer: &Peer, why: &str) {
        self.counters.forbidden.fetch_add(1, Relaxed);
        tracing::info!(peer = %peer.full_name(), why, "a stream is not allowed any more");
    }

    /// Serves the streams that the other end of a connection opens, until it ends.
    pub(super) async fn serve(self: Arc<Self>, from: Peer, connection: Connection) {
        while let Ok((send, recv)) = connection.accept_bi().await {
            let streams = Arc::clone(&self);
            let from = from.clone();
            // quinn bounds how many there are at a time.
            tokio::spawn(async move { streams.take(from, tokio::io::join(recv, send)).await });
        }
    }

    async fn take(self: Arc<Self>, from: Peer, mut io: wire::Bi) {
        let opening = match timeout(OPENING, wire::read_opening(io.reader_mut())).await {
            Ok(Ok(opening)) => opening,
            _ => {
                self.counters.malformed.fetch_add(1, Relaxed);
                return;
            }
        };
        let taken = match opening.target {
            Some(target) if target != self.me => self.relay(&from, &opening, target, &mut io).await,
            _ => self.end(from, &opening, io).await,
        };
        if let Err((no, io)) = taken {
            let counter = match no.cause {
                Refusal::NotAllowed => &self.counters.not_allowed,
                Refusal::NoRoute | Refusal::NoService => &self.counters.no_route,
                Refusal::Busy => &self.counters.busy,
                Refusal::BadOpening => &self.counters.malformed,
            };
            counter.fetch_add(1, Relaxed);
            tracing::debug!(%no, "a stream was refused");
            if let Some(mut io) = io {
                let _ = wire::write(&mut io, &Reply { code: no.cause.number(), why: Some(no.words) }).await;
                let _ = io.writer_mut().finish();
            }
        }
    }

    /// A stream ends here.
    async fn end(
        self: &Arc<Self>,
        from: Peer,
        opening: &Opening,
        mut io: wire::Bi,
    ) -> Result<(), (Refused, Option<wire::Bi>)> {
        let service = opening.service.clone().unwrap_or_default();
        let known = Purpose::of(opening.purpose).filter(|purpose| *purpose != Purpose::Control);
        let Some(purpose) = known else {
            return Err((refused(Refusal::BadOpening, "this version knows no such streams"), Some(io)));
        };
        if purpose == Purpose::Measure {
            if opening.target.is_some() {
                return Err((refused(Refusal::BadOpening, "links are measured by their two ends"), Some(io)));
            }
            // Who does not wait for the answer does not get it.
            let _ = be_tried(&mut io).await;
            return Ok(());
        }
        let bound = if purpose == Purpose::Resume { &self.resuming } else { &self.ends };
        let Ok(permit) = Arc::clone(bound).try_acquire_owned() else {
            return Err((refused(Refusal::Busy, "too many streams end here"), Some(io)));
        };
        let taker = match purpose {
            Purpose::Service | Purpose::Session => {
                let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
                services.get(&service).filter(|give| !give.is_closed()).cloned()
            }
            _ => None,
        };
        let relayed = opening.target.is_some();
        let policies = self.admission.changes();
        // Each question is decided about by itself.
        let allowed = |peer: &Peer| match purpose {
            Purpose::Request => Ok(()),
            _ => {
                let asked = self.admission.ask(peer, May::Stream, &service);
                asked.map_err(|why| refused(Refusal::NotAllowed, why))
            }
        };
        if !relayed && let Err(no) = allowed(&from) {
            return Err((no, Some(io)));
        }
        if matches!(purpose, Purpose::Service | Purpose::Session) && taker.is_none() {
            let words = format!("no service {service:?} takes streams here");
            return Err((refused(Refusal::NoService, words), Some(io)));
        }
        if wire::write(&mut io, &Reply { code: 0, why: None }).await.is_err() {
            return Ok(());
        }
        let via = from.id;
        let (io, peer): (Box<dyn Io>, Peer) = if relayed {
            let Ok(Ok(mut io)) = timeout(HANDSHAKE, self.tls.acceptor().accept(io)).await else {
                return Err((refused(Refusal::NotAllowed, "no TLS with the stream's source"), None));
            };
            let chain = io.get_ref().1.peer_certificates().unwrap_or_default();
            match self.domains.judge(chain, SystemTime::now()) {
                Ok(peer) => match allowed(&peer) {
                    Ok(()) => (Box::new(io), peer),
                    Err(no) => {
                        if purpose == Purpose::Resume {
                            know_none(&mut io).await;
                        }
                        return Err((no, None));
                    }
                },
                Err(e) => return Err((refused(Refusal::NotAllowed, e.to_string()), None)),
            }
        } else {
            (Box::new(io), from)
        };
        self.counters.accepted.fetch_add(u64::from(purpose != Purpose::Resume), Relaxed);
        let forbidden = self.forbidden(policies, peer.clone(), service.clone());
        let stream = Stream { io, peer, via };
        match (purpose, taker) {
            (Purpose::Resume, _) => self.resume(stream).await.map_err(|no| (no, None))?,
            (Purpose::Session, Some(give)) => {
                self.session(stream, &give, permit, forbidden).await.map_err(|no| (no, None))?;
            }
            // Where it does not come to take it, the stream ends.
            (_, Some(give)) => {
                let io = Box::new(Revocable::new(stream.io, forbidden));
                let _ = give.try_send(Stream { io, ..stream });
            }
            (_, None) => self.requests.answer(&self.admission, &service, stream).await,
        }
        Ok(())
    }
}
