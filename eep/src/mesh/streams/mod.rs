//! Streams between nodes: to the other end of a connection, or through other nodes, with TLS from end to end inside.
//!
//! A stream to a neighbour is a QUIC stream of their connection, which has proved already who is at its ends. One to any
//! other node is passed on along SOAR's routes, each node choosing the next, and carries TLS 1.3 with the certificates of
//! its two ends: nodes on the way see how much is sent and nothing else.

mod accept;
mod better;
mod carried;
mod open;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, watch};
use topology::NodeId;

use crate::mesh::Asker;
use crate::mesh::admission::Admission;
use crate::mesh::endpoint::Tls;
use crate::mesh::requests::Requests;
use crate::mesh::session::{BEGUN_MAX, RESUMING_MAX, Sessions};
use crate::mesh::trust::{Peer, SharedDomains};
use crate::mesh::wire::Refusal;

pub(super) use carried::Carried;

/// Streams that are passed on at a time.
const RELAYED_MAX: usize = 1024;
/// Streams that end here, at a time.
const ACCEPTED_MAX: usize = 4096;
/// Streams that wait for a service to take them.
const WAITING_MAX: usize = 64;
/// How long TLS may take over the whole way.
const HANDSHAKE: Duration = Duration::from_secs(5);

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

    /// A link was tried out.
    pub(super) async fn tried(&self, link: (NodeId, u64), kbps: Option<u32>) {
        // Where the core has gone, so has the mesh.
        let _ = self.ask.core(move |core, now| core.tried(now, link, kbps)).await;
    }

    pub(super) fn count_forbidden(&self, peer: &Peer, why: &str) {
        self.counters.forbidden.fetch_add(1, Relaxed);
        tracing::info!(peer = %peer.full_name(), why, "a stream is not allowed any more");
    }
}
