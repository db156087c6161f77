//! Streams that outlive their way: a session is what two services say to each other, and goes on over another route where
//! the link, the relay or the connection that carried it dies.
//!
//! ```text
//!  service A ─▶ ledger ─▶ channel over the best way ─▶ ledger ─▶ service B      the way dies:
//!               └─ keeps what B has not taken      another channel ─▶ goes on where B's end has come to
//! ```
//!
//! A channel is a stream of the mesh whose two ends have proved who they are ([`super::streams`]). A session begins with the
//! first one and is known by 16 random bytes together with the other end's identity: who resumes it must have both. Both
//! ends keep what the other one has not taken, at most [`ledger::WINDOW_BYTES`] in each direction, and tell each other on a
//! new channel up to where they have come. Where no channel is had for [`RESUME`], both services see the stream fail, with
//! the reason.
//!
//! A session also moves to a better way while its own still works: back after a detour, and off a way that congests.

mod ledger;
mod pump;
mod stream;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use minicbor::{Decode, Encode};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{sleep, timeout};
use topology::NodeId;

use crate::mesh::revocable::Forbidden;
use crate::mesh::session::pump::{Left, Session};
use crate::mesh::session::stream::pair;
use crate::mesh::streams::{Carried, Io, Refused, Stream, Streams, refused};
use crate::mesh::wire::{self, OPENING_BYTES_MAX, Purpose, Refusal};

/// How long a session looks for another way before it fails.
pub const RESUME: Duration = Duration::from_secs(30);
/// Pause between two tries, where nothing is heard of the mesh meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(500);
/// How long the first words on a channel may take.
const GREETING: Duration = Duration::from_secs(5);
/// Channels that wait for a session to take them.
const CHANNELS_WAITING_MAX: usize = 2;
/// Sessions that were begun here, at a time.
pub(super) const BEGUN_MAX: usize = 4096;
/// Channels whose first words are awaited, at a time.
pub(super) const RESUMING_MAX: usize = 256;

/// The first words on a channel, of who opened it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Attach {
    /// The session.
    #[cbor(n(0), with = "minicbor::bytes")]
    token: [u8; 16],
    /// Up to where the other end's stream has come here; 0 where the session begins.
    #[n(1)]
    received: u64,
}

/// The answer where a session is resumed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Attached {
    /// Up to where the stream has come; none where there is no such session.
    #[n(0)]
    received: Option<u64>,
}

/// What carries a session.
struct Channel {
    io: Box<dyn Io>,
    /// The neighbour that it comes or leaves by.
    via: NodeId,
    /// Up to where the other end says that our stream has come there.
    received: u64,
    /// Whether the other end is to be told the same.
    owes_answer: bool,
}

type Token = [u8; 16];

/// The sessions that others have begun here.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_token: Mutex<BTreeMap<(NodeId, Token), mpsc::Sender<Channel>>>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("via", &self.via)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    fn enter(&self, key: (NodeId, Token), give: mpsc::Sender<Channel>) -> bool {
        let mut by_token = self.by_token.lock().unwrap_or_else(PoisonError::into_inner);
        let free = !by_token.contains_key(&key);
        if free {
            by_token.insert(key, give);
        }
        free
    }

    fn find(&self, key: &(NodeId, Token)) -> Option<mpsc::Sender<Channel>> {
        self.by_token.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn leave(&self, key: &(NodeId, Token)) {
        self.by_token.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl Streams {
    /// Opens a stream to a service that outlives its way.
    pub(super) async fn begin(self: &Arc<Self>, to: NodeId, service: &str) -> Result<Stream, Refused> {
        let busy = |_| refused(Refusal::Busy, "too many streams were opened here");
        let permit = Arc::clone(&self.begun).try_acquire_owned().map_err(busy)?;
        let mut stream = match self.open(to, Purpose::Session, service).await {
            // A node of the version before knows streams that end with their way.
            Err(no) if no.cause == Refusal::BadOpening => {
                return self.open(to, Purpose::Service, service).await;
            }
            opened => opened?,
        };
        let mut token = [0; 16];
        getrandom::fill(&mut token)
            .map_err(|e| refused(Refusal::Busy, format!("the system gives no randomness: {e}")))?;
        let (peer, via) = (stream.peer.clone(), stream.via);
        let failed = |e| refused(Refusal::NoRoute, format!("the stream to {to} broke off: {e}"));
        wire::write(&mut stream.io, &Attach { token, received: 0 }).await.map_err(failed)?;
        let (io, session) = pair();
        let channel = Channel { io: stream.io, via, received: 0, owes_answer: false };
        let opener = Opener { streams: Arc::clone(self), to, service: service.to_owned(), token };
        tokio::spawn(opener.keep(session, channel, permit));
        Ok(Stream { io: Box::new(io), peer, via })
    }

    /// A channel on which another node begins a session.
    pub(super) async fn session(
        self: &Arc<Self>,
        mut channel: Stream,
        give: &mpsc::Sender<Stream>,
        permit: OwnedSemaphorePermit,
        forbidden: Forbidden,
    ) -> Result<(), Refused> {
        let attach = first_words(&mut channel.io).await?;
        let (tell, told) = mpsc::channel(CHANNELS_WAITING_MAX);
        let key = (channel.peer.id, attach.token);
        if !self.sessions.enter(key, tell) {
            return Err(refused(Refusal::BadOpening, "there is a session of this name"));
        }
        let (io, session) = pair();
        let stream = Stream { io: Box::new(io), peer: channel.peer, via: channel.via };
        // Where the service does not come to take it, the stream ends.
        let _ = give.try_send(stream);
        let first = Channel { io: channel.io, via: channel.via, received: 0, owes_answer: false };
        let accepted = Accepted { streams: Arc::clone(self), key, session, channels: told, permit };
        tokio::spawn(accepted.keep(first, forbidden));
        Ok(())
    }

    /// A channel on which another node resumes a session.
    pub(super) async fn resume(&self, mut channel: Stream) -> Result<(), Refused> {
        let attach = first_words(&mut channel.io).await?;
        let Some(give) = self.sessions.find(&(channel.peer.id, attach.token)) else {
            know_none(&mut channel.io).await;
            return Err(refused(Refusal::NoService, "there is no such session"));
        };
        let (io, via, received) = (channel.io, channel.via, attach.received);
        give.try_send(Channel { io, via, received, owes_answer: true })
            .map_err(|_| refused(Refusal::Busy, "the session is being resumed"))
    }
}

/// Answers whoever resumes a session that there is none.
pub(super) async fn know_none(io: &mut (impl tokio::io::AsyncWrite + Unpin)) {
    // Whoever asked may have gone.
    let _ = wire::write(io, &Attached { received: None }).await;
    let _ = tokio::io::AsyncWriteExt::shutdown(io).await;
}

async fn first_words(io: &mut Box<dyn Io>) -> Result<Attach, Refused> {
    let words = timeout(GREETING, wire::read::<Attach>(io, OPENING_BYTES_MAX)).await;
    words
        .map_err(|_| refused(Refusal::BadOpening, "a session without a first word"))?
        .map_err(|e| refused(Refusal::BadOpening, e.to_string()))
}

/// The end that began a session, and that looks for ways.
struct Opener {
    streams: Arc<Streams>,
    to: NodeId,
    service: String,
    token: Token,
}

/// Why a session was not resumed.
enum Lost {
    /// The other end does not know it.
    Unknown,
    /// It may not be asked any more.
    Refused(Refused),
}

impl Opener {
    async fn keep(self, mut session: Session, mut channel: Channel, permit: OwnedSemaphorePermit) {
        loop {
            let via = channel.via;
            let received = session.received();
            let carried = Carried::default();
            channel.io = Box::new(carried.by(channel.io));
            let left = tokio::select! {
                left = session.carry(&self.streams, channel) => left,
                () = self.streams.better(self.to, via, &[], &carried) => Left::Broken("there is a better way".to_owned()),
            };
            let why = match left {
                Left::Done => break,
                Left::Failed(why) => {
                    session.fail(why);
                    break;
                }
                Left::Broken(why) => why,
            };
            tracing::debug!(to = %self.to, %via, %why, received, "a stream takes another way");
            match timeout(RESUME, self.again(&session)).await {
                Ok(Ok(found)) => {
                    self.streams.counters.resumed.fetch_add(1, Relaxed);
                    channel = found;
                }
                Ok(Err(Lost::Unknown)) if session.has_ended() => break,
                Ok(Err(Lost::Unknown)) => {
                    session.fail(format!("{why}, and the other end does not know the stream any more"));
                    break;
                }
                Ok(Err(Lost::Refused(no))) => {
                    session.fail(format!("{why}, and the stream was not taken up again: {no}"));
                    break;
                }
                Err(_) => {
                    session.fail(format!(
                        "{why}, and for {} s there was no other way to {}",
                        RESUME.as_secs(),
                        self.to
                    ));
                    break;
                }
            }
        }
        self.streams.count_end(&session, self.to);
        drop(permit);
    }

    /// Looks for a channel until there is one.
    async fn again(&self, session: &Session) -> Result<Channel, Lost> {
        let mut news = self.streams.alive();
        loop {
            news.mark_unchanged();
            match self.attach(session.received()).await {
                Err(Lost::Refused(no)) if !matches!(no.cause, Refusal::NotAllowed | Refusal::BadOpening) => {
                    tracing::debug!(to = %self.to, %no, "no other way yet");
                }
                found => return found,
            }
            tokio::select! {
                () = sleep(TRY_EVERY) => {}
                Ok(()) = news.changed() => {}
            }
        }
    }

    async fn attach(&self, received: u64) -> Result<Channel, Lost> {
        let opened = self.streams.open(self.to, Purpose::Resume, &self.service).await;
        let Stream { mut io, via, .. } = opened.map_err(Lost::Refused)?;
        let words = async {
            wire::write(&mut io, &Attach { token: self.token, received }).await?;
            tokio::io::AsyncWriteExt::flush(&mut io).await?;
            wire::read::<Attached>(&mut io, OPENING_BYTES_MAX).await
        };
        let broken = |words: String| Lost::Refused(refused(Refusal::NoRoute, words));
        let attached =
            timeout(GREETING, words).await.map_err(|_| broken("it did not answer in time".to_owned()))?;
        match attached.map_err(|e| broken(e.to_string()))?.received {
            Some(received) => Ok(Channel { io, via, received, owes_answer: false }),
            None => Err(Lost::Unknown),
        }
    }
}

/// The end of a session that another node has begun.
struct Accepted {
    streams: Arc<Streams>,
    key: (NodeId, Token),
    session: Session,
    channels: mpsc::Receiver<Channel>,
    permit: OwnedSemaphorePermit,
}

impl Accepted {
    /// Keeps it to its end, or until it is forbidden: whoever began it is told why when it is to be resumed.
    async fn keep(mut self, first: Channel, forbidden: Forbidden) {
        let why = tokio::select! {
            () = self.carry(first) => None,
            why = forbidden => Some(why),
        };
        self.streams.sessions.leave(&self.key);
        match why {
            Some(why) => self.session.fail(why),
            None => self.streams.count_end(&self.session, self.key.0),
        }
        drop(self.permit);
    }

    async fn carry(&mut self, mut channel: Channel) {
        loop {
            let left = tokio::select! {
                left = self.session.carry(&self.streams, channel) => left,
                // The other end has taken another way: whatever is under way on this one comes there again.
                Some(another) = self.channels.recv() => {
                    channel = another;
                    continue;
                }
            };
            let why = match left {
                Left::Done => return,
                Left::Failed(why) => return self.session.fail(why),
                Left::Broken(why) => why,
            };
            match timeout(RESUME, self.channels.recv()).await {
                Ok(Some(another)) => channel = another,
                _ if self.session.has_ended() => return,
                _ => {
                    let words = format!("{why}, and it was not resumed within {} s", RESUME.as_secs());
                    return self.session.fail(words);
                }
            }
        }
    }
}

impl Streams {
    fn count_end(&self, session: &Session, peer: NodeId) {
        if let Some(why) = session.failure() {
            self.counters.broken.fetch_add(1, Relaxed);
            tracing::info!(%peer, why, "a stream has failed");
        }
    }
}
