//! One connection with another node: made, greeted, read and written.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use quinn::{Connection, Endpoint, RecvStream, SendDatagramError, SendStream, VarInt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use topology::{Contact, NodeId};

use crate::mesh::endpoint::SERVER_NAME;
use crate::mesh::identity::shown;
use crate::mesh::throughput::Meter;
use crate::mesh::trust::{Peer, SharedDomains};
use crate::mesh::wire::{self, FRAME_BYTES_MAX, Frame, HELLO, Hello, Opening, Purpose, VERSION};

/// How long a node may take to answer a dial and to greet.
pub(super) const DIAL: Duration = Duration::from_secs(3);
/// Frames that may wait for a neighbour; one that does not take them is dropped.
const FRAMES_WAITING_MAX: usize = 1024;

/// Why a connection is closed, as its other end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// The node ends.
    Ending = 0,
    /// There is another connection between the two.
    Spare = 1,
    /// It is banned for what it did.
    Banned = 2,
    /// Its version differs by more than one.
    Version = 3,
    /// It does not take what is sent to it, or sends what is none.
    Broken = 4,
    /// There are too many connections.
    Full = 5,
    /// Its certificate has ended.
    Expired = 6,
    /// It did not answer for a while; a new connection is tried.
    Dead = 7,
    /// No trusted domain vouches for its certificate any more.
    Distrusted = 8,
}

pub(super) fn close(connection: &Connection, why: Close) {
    connection.close(VarInt::from_u32(why as u32), &[]);
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("it did not answer within {} s", DIAL.as_secs())]
    TimedOut,
    #[error("{0}")]
    Connect(#[from] quinn::ConnectError),
    #[error("{0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error("it shows no certificate that is trusted")]
    Untrusted,
    #[error("it speaks version {0}, and this node {VERSION}: versions may differ by one")]
    Version(u32),
    #[error("its greeting cannot be read: {0}")]
    Greeting(String),
}

impl Failed {
    /// Whether certificates are the cause, on either side.
    pub(super) fn is_distrust(&self) -> bool {
        match self {
            Self::Untrusted => true,
            Self::Connection(quinn::ConnectionError::TransportError(e)) => is_crypto(e.code),
            Self::Connection(quinn::ConnectionError::ConnectionClosed(c)) => is_crypto(c.error_code),
            _ => false,
        }
    }
}

/// TLS alerts are carried as 0x100 and more (RFC 9001, section 4.8).
fn is_crypto(code: quinn::TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}

/// A connection whose other end has proved who it is and has greeted.
#[derive(Debug)]
pub(super) struct Greeted {
    pub(super) peer: Peer,
    pub(super) contact: Contact,
    pub(super) connection: Connection,
    pub(super) hello: Hello,
    pub(super) dialled: bool,
    send: SendStream,
    recv: RecvStream,
}

/// What we say of ourselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Greeting {
    pub(super) boot: u64,
    pub(super) reach_at: Option<SocketAddr>,
}

/// Dials a node.
pub(super) async fn dial(
    endpoint: &Endpoint,
    to: SocketAddr,
    greeting: Greeting,
    domains: &SharedDomains,
) -> Result<Greeted, Failed> {
    let work = async {
        let connection = endpoint.connect(to, SERVER_NAME)?.await?;
        greet(connection, greeting, domains, true).await
    };
    timeout(DIAL, work).await.unwrap_or(Err(Failed::TimedOut))
}

/// Takes a connection up.
pub(super) async fn accept(
    incoming: quinn::Incoming,
    greeting: Greeting,
    domains: &SharedDomains,
) -> Result<Greeted, Failed> {
    let work = async { greet(incoming.accept()?.await?, greeting, domains, false).await };
    timeout(DIAL, work).await.unwrap_or(Err(Failed::TimedOut))
}

async fn greet(
    connection: Connection,
    greeting: Greeting,
    domains: &SharedDomains,
    dialled: bool,
) -> Result<Greeted, Failed> {
    let chain = shown(connection.peer_identity());
    let peer = domains.judge(&chain, SystemTime::now()).map_err(|_| Failed::Untrusted)?;
    let seen_at =
        SocketAddr::new(connection.remote_address().ip().to_canonical(), connection.remote_address().port());
    let hello =
        Hello { version: VERSION, boot: greeting.boot, seen_at: Some(seen_at), reach_at: greeting.reach_at };
    let body = minicbor::to_vec(&hello).unwrap_or_default();
    let mine = wire::encode(&Frame { kind: HELLO, body });
    let bad = |e: &dyn std::fmt::Display| Failed::Greeting(e.to_string());
    let (mut send, mut recv) =
        if dialled { connection.open_bi().await? } else { connection.accept_bi().await? };
    if dialled {
        wire::write(&mut send, &Opening::control()).await.map_err(|e| bad(&e))?;
    } else {
        let opening = wire::read_opening(&mut recv).await.map_err(|e| bad(&e))?;
        if Purpose::of(opening.purpose) != Some(Purpose::Control) {
            return Err(bad(&"the first stream is not for control"));
        }
    }
    send.write_all(&mine).await.map_err(|e| bad(&e))?;
    let frame: Frame = wire::read(&mut recv, FRAME_BYTES_MAX).await.map_err(|e| bad(&e))?;
    if frame.kind != HELLO {
        return Err(bad(&"the first frame is not a greeting"));
    }
    let hello: Hello = minicbor::decode(&frame.body).map_err(|e| bad(&e))?;
    if hello.version.abs_diff(VERSION) > 1 {
        close(&connection, Close::Version);
        return Err(Failed::Version(hello.version));
    }
    // A node may say that it is reached at another port of its address, behind a forwarding router; that it is reached at
    // another host's address is not taken from it.
    let addr = hello.reach_at.filter(|at| at.ip() == seen_at.ip()).unwrap_or(seen_at);
    let contact = Contact { id: peer.id, addr };
    Ok(Greeted { peer, contact, connection, hello, dialled, send, recv })
}

/// A connection in use.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: Peer,
    pub(super) contact: Contact,
    pub(super) connection: Connection,
    pub(super) seen_at: Option<SocketAddr>,
    pub(super) boot: u64,
    pub(super) serial: u64,
    pub(super) dialled: bool,
    pub(super) since: Instant,
    /// Since when the measurement plane is known to hold it for dead.
    pub(super) dead_since: Option<Instant>,
    pub(super) meter: Meter,
    frames: mpsc::Sender<Vec<u8>>,
}

impl Link {
    /// Sends a frame; false where the neighbour does not take what is sent.
    pub(super) fn send(&self, kind: u32, body: Vec<u8>) -> bool {
        self.frames.try_send(wire::encode(&Frame { kind, body })).is_ok()
    }

    /// Sends a frame at once and once, as a datagram (RFC 9221); one that is lost is not repeated. On the stream where the
    /// neighbour takes no datagrams.
    pub(super) fn send_once(&self, kind: u32, body: Vec<u8>) -> bool {
        let frame = minicbor::to_vec(Frame { kind, body: body.clone() }).unwrap_or_default();
        match self.connection.send_datagram(frame.into()) {
            Err(SendDatagramError::UnsupportedByPeer | SendDatagramError::TooLarge) => self.send(kind, body),
            // That the connection is lost is heard from its reader.
            Ok(()) | Err(_) => true,
        }
    }
}

/// What is heard from a link.
#[derive(Debug)]
pub(super) enum Heard {
    Frame(Frame),
    /// A frame that is none, with its error.
    Broken(String),
    /// The connection has ended.
    Down,
}

/// Starts the tasks that read and write. What is heard is told with the link's id and serial number.
pub(super) fn run(greeted: Greeted, serial: u64, tell: mpsc::Sender<(NodeId, u64, Heard)>) -> Link {
    let Greeted { peer, contact, connection, hello, dialled, mut send, mut recv } = greeted;
    let (frames, mut waiting) = mpsc::channel::<Vec<u8>>(FRAMES_WAITING_MAX);
    let id = peer.id;
    tokio::spawn(async move {
        while let Some(frame) = waiting.recv().await {
            if send.write_all(&frame).await.is_err() {
                return;
            }
        }
    });
    let (datagrams, told) = (connection.clone(), tell.clone());
    tokio::spawn(async move {
        while let Ok(bytes) = datagrams.read_datagram().await {
            let heard = match minicbor::decode(&bytes) {
                Ok(frame) => Heard::Frame(frame),
                Err(error) => Heard::Broken(error.to_string()),
            };
            if told.send((id, serial, heard)).await.is_err() {
                return;
            }
        }
    });
    let reading = connection.clone();
    tokio::spawn(async move {
        loop {
            let heard = tokio::select! {
                frame = wire::read::<Frame>(&mut recv, FRAME_BYTES_MAX) => match frame {
                    Ok(frame) => Heard::Frame(frame),
                    Err(wire::Malformed::Io(_)) => Heard::Down,
                    Err(error) => Heard::Broken(error.to_string()),
                },
                _ = reading.closed() => Heard::Down,
            };
            let last = !matches!(heard, Heard::Frame(_));
            if tell.send((id, serial, heard)).await.is_err() || last {
                return;
            }
        }
    });
    Link {
        peer,
        contact,
        connection,
        seen_at: hello.seen_at,
        boot: hello.boot,
        serial,
        dialled,
        since: Instant::now(),
        dead_since: None,
        meter: Meter::new(),
        frames,
    }
}
