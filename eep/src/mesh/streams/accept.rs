//! Streams that others begin: passed on, or taken here by whom they are for.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use quinn::Connection;
use tokio::time::timeout;

use crate::mesh::admission::Changes;
use crate::mesh::revocable::{Forbidden, Revocable};
use crate::mesh::session::know_none;
use crate::mesh::streams::{HANDSHAKE, Io, Refused, Stream, Streams, refused};
use crate::mesh::throughput::be_tried;
use crate::mesh::trust::{May, Peer};
use crate::mesh::wire::{self, Opening, Purpose, Refusal, Reply};

/// How long the first message of a stream may take.
const OPENING: Duration = Duration::from_secs(3);

impl Streams {
    /// Serves the streams that the other end of a connection opens, until it ends.
    pub(in crate::mesh) async fn serve(self: Arc<Self>, from: Peer, connection: Connection) {
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

    /// Comes back when a new policy forbids a stream to a service, with the reason.
    fn forbidden(self: &Arc<Self>, policies: Changes, peer: Peer, service: String) -> Forbidden {
        let streams = Arc::clone(self);
        Box::pin(async move {
            let why = streams.admission.forbids(policies, &peer, May::Stream, &service).await;
            streams.count_forbidden(&peer, &why);
            why
        })
    }
}
