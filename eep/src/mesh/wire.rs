//! What nodes say to each other. Everything is a CBOR map with numbered fields behind a length, so that versions that
//! differ by one understand each other: unknown fields are skipped, unknown kinds are counted and passed over.
//!
//! A connection has one stream for control, opened by the side that dialled: [`Opening`], then [`Frame`]s both ways, the
//! first of them a [`Hello`]. All further streams begin with an [`Opening`] that says what they are for.

use std::net::SocketAddr;

use minicbor::{Decode, Encode};
use quinn::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use topology::NodeId;

/// The version of these messages.
pub const VERSION: u32 = 1;
/// Longest frame, in bytes: a frame of the measurement plane and a little.
pub const FRAME_BYTES_MAX: usize = topology::soar::report::FRAME_BYTES_MAX + 1024;
/// Longest opening of a stream, in bytes.
pub const OPENING_BYTES_MAX: usize = 4 * 1024;
/// Most nodes that a relayed stream may pass.
pub const HOPS_MAX: usize = 8;
/// Longest name of a service.
pub const SERVICE_BYTES_MAX: usize = 128;
/// Longest locator, in levels.
pub const LOCATOR_MAX: usize = 8;

/// What a stream is for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Opening {
    /// See [`Purpose`].
    #[n(0)]
    pub purpose: u32,
    /// Whom it is for; the connection's other end where it is absent.
    #[n(1)]
    pub target: Option<NodeId>,
    /// Who opened it; the connection's other end where it is absent.
    #[n(2)]
    pub source: Option<NodeId>,
    /// Nodes that it has passed, the source first.
    #[n(3)]
    pub passed: Option<Vec<NodeId>>,
    /// The target's regions, lowest first, where the source knows them.
    #[n(4)]
    pub locator: Option<Vec<NodeId>>,
    /// The service that is meant, or the request.
    #[n(5)]
    pub service: Option<String>,
    /// Who may not be passed: links that have just failed.
    #[n(6)]
    pub avoid: Option<Vec<NodeId>>,
}

/// The kinds of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Frames between two neighbours.
    Control,
    /// A service's stream that ends with its way, as versions before sessions open them.
    Service,
    /// One request and its answer.
    Request,
    /// A service's stream that outlives its way; see `session`.
    Session,
    /// The same, taken up again.
    Resume,
    /// Bytes that show how much a link carries; see `throughput`.
    Measure,
}

impl Purpose {
    /// Its number.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Control => 0,
            Self::Service => 1,
            Self::Request => 2,
            Self::Session => 3,
            Self::Resume => 4,
            Self::Measure => 5,
        }
    }

    /// The purpose with a number.
    #[must_use]
    pub fn of(number: u32) -> Option<Self> {
        let services = [Self::Service, Self::Session, Self::Resume];
        let all = [Self::Control, Self::Request, Self::Measure].into_iter().chain(services);
        all.into_iter().find(|p| p.number() == number)
    }
}

impl Opening {
    /// The opening of the control stream.
    #[must_use]
    pub fn control() -> Self {
        Self::to(Purpose::Control, None, None)
    }

    /// The opening of a stream to the connection's other end, or through it.
    #[must_use]
    pub fn to(purpose: Purpose, target: Option<NodeId>, service: Option<String>) -> Self {
        let purpose = purpose.number();
        Self { purpose, target, source: None, passed: None, locator: None, service, avoid: None }
    }

    fn is_bounded(&self) -> bool {
        let short = |list: &Option<Vec<NodeId>>, max| list.as_ref().is_none_or(|l| l.len() <= max);
        short(&self.passed, HOPS_MAX)
            && short(&self.avoid, HOPS_MAX)
            && short(&self.locator, LOCATOR_MAX)
            && self.service.as_ref().is_none_or(|s| s.len() <= SERVICE_BYTES_MAX)
    }
}

/// What was answered to an [`Opening`] that is not for control.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Reply {
    /// 0 where the stream is connected; otherwise a [`Refusal`].
    #[n(0)]
    pub code: u32,
    /// In words.
    #[n(1)]
    pub why: Option<String>,
}

/// Why a stream was not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No route, or all that there are have failed.
    NoRoute,
    /// The domain may not ask for this.
    NotAllowed,
    /// No such service here.
    NoService,
    /// A bound was reached.
    Busy,
    /// The opening cannot be understood.
    BadOpening,
}

impl Refusal {
    /// Its number.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::NoRoute => 1,
            Self::NotAllowed => 2,
            Self::NoService => 3,
            Self::Busy => 4,
            Self::BadOpening => 5,
        }
    }

    /// The refusal with a number; unknown ones are as good as no route.
    #[must_use]
    pub fn of(number: u32) -> Self {
        match number {
            2 => Self::NotAllowed,
            3 => Self::NoService,
            4 => Self::Busy,
            5 => Self::BadOpening,
            _ => Self::NoRoute,
        }
    }
}

/// The first frame of each side.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// [`VERSION`] of the sender.
    #[n(0)]
    pub version: u32,
    /// Higher with each start of the sender.
    #[n(1)]
    pub boot: u64,
    /// The address at which the sender sees the receiver.
    #[n(2)]
    pub seen_at: Option<SocketAddr>,
    /// Where the sender's endpoint is reached, where its operator says so.
    #[n(3)]
    pub reach_at: Option<SocketAddr>,
}

/// One frame of the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Frame {
    /// 0 [`Hello`], 1 Kademlia, 2 SOAR.
    #[n(0)]
    pub kind: u32,
    /// The message.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub body: Vec<u8>,
}

/// A frame's kind.
pub const HELLO: u32 = 0;
/// A message of [`topology::dht`].
pub const DHT: u32 = 1;
/// A message of [`topology::soar`].
pub const SOAR: u32 = 2;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// The stream has ended or broken off.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Longer than it may be.
    #[error("a message of {0} bytes: at most {1} are read")]
    TooLong(usize, usize),
    /// Not CBOR, or not of the message's shape.
    #[error("not a message: {0}")]
    Shape(#[from] minicbor::decode::Error),
    /// A list or a text in it is too long.
    #[error("a list or a text in the message is too long")]
    Bounds,
}

/// A message behind its length, as it travels.
pub fn encode<T: Encode<()>>(message: &T) -> Vec<u8> {
    let body = minicbor::to_vec(message).unwrap_or_default();
    let mut bytes = Vec::with_capacity(body.len() + 4);
    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// Reads one message.
///
/// # Errors
/// See [`Malformed`].
pub async fn read<T: for<'b> Decode<'b, ()>>(
    from: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
) -> Result<T, Malformed> {
    let mut len = [0; 4];
    from.read_exact(&mut len).await?;
    let len = u32::from_be_bytes(len) as usize;
    if len > bytes_max {
        return Err(Malformed::TooLong(len, bytes_max));
    }
    let mut body = vec![0; len];
    from.read_exact(&mut body).await?;
    Ok(minicbor::decode(&body)?)
}

/// Reads the opening of a stream.
///
/// # Errors
/// See [`Malformed`].
pub async fn read_opening(from: &mut (impl AsyncRead + Unpin)) -> Result<Opening, Malformed> {
    let opening: Opening = read(from, OPENING_BYTES_MAX).await?;
    if opening.is_bounded() { Ok(opening) } else { Err(Malformed::Bounds) }
}

/// Writes one message.
///
/// # Errors
/// The stream is broken.
pub async fn write<T: Encode<()>>(to: &mut (impl AsyncWrite + Unpin), message: &T) -> std::io::Result<()> {
    to.write_all(&encode(message)).await
}

/// Both halves of a stream as one.
pub type Bi = tokio::io::Join<RecvStream, SendStream>;

#[cfg(test)]
mod tests {
    use super::*;
    use minicbor::encode::Encoder;

    async fn read_back<T: for<'b> Decode<'b, ()>>(bytes: &[u8]) -> Result<T, Malformed> {
        let mut bytes = bytes;
        read(&mut bytes, OPENING_BYTES_MAX).await
    }

    #[tokio::test]
    async fn a_newer_version_is_understood() {
        let mut body = Vec::new();
        let mut e = Encoder::new(&mut body);
        e.map(4).unwrap();
        e.u8(0).unwrap().u32(VERSION + 1).unwrap();
        e.u8(1).unwrap().u64(7).unwrap();
        e.u8(40).unwrap().array(1).unwrap().str("what is to come").unwrap();
        e.u8(41).unwrap().bool(true).unwrap();
        let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(&body);
        let hello: Hello = read_back(&bytes).await.unwrap();
        assert_eq!(hello, Hello { version: VERSION + 1, boot: 7, seen_at: None, reach_at: None });
    }

    #[tokio::test]
    async fn what_is_too_long_is_not_read() {
        let long = [0xff, 0xff, 0xff, 0xff, 0];
        assert!(matches!(read_back::<Hello>(&long).await, Err(Malformed::TooLong(..))));
        let node = NodeId::of_public_key(b"a");
        let mut opening = Opening::to(Purpose::Service, Some(node), None);
        opening.passed = Some(vec![node; HOPS_MAX + 1]);
        assert!(matches!(read_opening(&mut &encode(&opening)[..]).await, Err(Malformed::Bounds)));
    }

    proptest::proptest! {
        #[test]
        fn noise_is_no_message_and_does_no_harm(noise in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let framed = [&(noise.len() as u32).to_be_bytes()[..], &noise].concat();
            runtime.block_on(async {
                for bytes in [&noise, &framed] {
                    let _ = read_opening(&mut &bytes[..]).await;
                    let _ = read_back::<Hello>(bytes).await;
                    let _ = read_back::<Reply>(bytes).await;
                    if let Ok(frame) = read_back::<Frame>(bytes).await {
                        assert_eq!(read_back::<Frame>(&encode(&frame)).await.unwrap(), frame);
                    }
                }
            });
        }
    }

    #[tokio::test]
    async fn openings_come_back_as_they_were() {
        let node = NodeId::of_public_key(b"a");
        let mut opening = Opening::to(Purpose::Request, Some(node), Some("info".to_owned()));
        opening.locator = Some(vec![node; 2]);
        assert_eq!(read_opening(&mut &encode(&opening)[..]).await.unwrap(), opening);
    }
}
