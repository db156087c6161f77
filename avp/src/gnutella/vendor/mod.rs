//! Vendor messages: what grew beside the specification, named by vendor, number and version (framework 0.1).

pub mod head;
pub mod list;
pub mod node_info;

use std::fmt;
use std::net::SocketAddrV4;

use super::extension;
use super::guid::Guid;
use super::read::{Reader, ip_port_bytes};
use head::{HeadPing, HeadPong};
use list::{Features, Ids};
use node_info::NodeInfo;

/// Bytes before a vendor message's body.
pub const ID_BYTES: usize = 8;
/// Longest token of an out-of-band acknowledgement, in bytes.
pub const TOKEN_BYTES_MAX: usize = 16;
/// What says "no more hits wanted" in a query status.
pub const HITS_ENOUGH: u16 = 0xffff;

/// Which message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Four letters, or four NULs for what belongs to all.
    pub vendor: [u8; 4],
    /// The vendor's number for it.
    pub number: u16,
    /// Its version.
    pub version: u16,
}

impl Id {
    /// Names a message.
    #[must_use]
    pub const fn new(vendor: &[u8; 4], number: u16, version: u16) -> Self {
        Self { vendor: *vendor, number, version }
    }

    /// The eight bytes on the wire.
    #[must_use]
    pub const fn encode(self) -> [u8; ID_BYTES] {
        let ([a, b, c, d], [n, m], [v, w]) =
            (self.vendor, self.number.to_le_bytes(), self.version.to_le_bytes());
        [a, b, c, d, n, m, v, w]
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self { vendor: r.array()?, number: r.u16_le()?, version: r.u16_le()? })
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vendor = if self.vendor == [0; 4] { "0".into() } else { self.vendor.escape_ascii().to_string() };
        write!(f, "{vendor}/{}v{}", self.number, self.version)
    }
}

/// The null vendor: what belongs to all.
const ALL: &[u8; 4] = &[0; 4];
const BEAR: &[u8; 4] = b"BEAR";
const GTKG: &[u8; 4] = b"GTKG";
const LIME: &[u8; 4] = b"LIME";

/// A vendor message. Versions that only differ in fields behind the known ones are read as the one that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// 0/0v0: what the sender understands; sent right after the handshake.
    MessagesSupported(Ids<'a>),
    /// 0/10v0: what the sender can do.
    FeaturesSupported(Features<'a>),
    /// BEAR/4v1: send me only queries with fewer hops than this.
    HopsFlow {
        /// 0 stops queries.
        hops: u8,
    },
    /// BEAR/7v1: connect to me, so that I know whether I can be reached.
    TcpConnectBack {
        /// The port at the address that the message comes from.
        port: u16,
    },
    /// BEAR/11v1: how many hits of the query with this message's GUID have you kept?
    QueryStatusRequest,
    /// BEAR/12v1: so many; [`HITS_ENOUGH`] to end the search. The message's GUID is that of the query.
    QueryStatus {
        /// Hits kept.
        hits: u16,
    },
    /// GTKG/7v1 and v2: send me a datagram, so that I know whether I can be reached.
    UdpConnectBack {
        /// The port at the address that the message comes from.
        port: u16,
        /// The GUID that the ping should have: in version 1 alone, in version 2 it is the message's.
        guid: Option<Guid>,
    },
    /// GTKG/9v1: what time is it? The time sent is in the message's GUID.
    TimeSyncRequest {
        /// Bit 0: the clock is kept by NTP.
        flags: u8,
    },
    /// GTKG/10v1: received then. The other times are in the message's GUID.
    TimeSyncReply {
        /// Bit 0: the clock is kept by NTP.
        flags: u8,
        /// Seconds since 1970.
        received_s: u32,
        /// And microseconds.
        received_us: u32,
    },
    /// GTKG/21v1: be my push proxy no longer.
    PushProxyCancel,
    /// GTKG/22v1: tell me about your node.
    NodeInfoRequest {
        /// Which of the optional parts.
        flags: u32,
    },
    /// GTKG/23v1: the answer.
    NodeInfo(NodeInfo<'a>),
    /// LIME/5v1: which peers do you have?
    CrawlerPing {
        /// How many ultrapeers; 255 for all.
        ultrapeers: u8,
        /// How many leaves; 255 for all.
        leaves: u8,
        /// Bit 0 connection time, 1 locale, 2 only those that understand this message, 3 user agents.
        features: u8,
    },
    /// LIME/11v2 and v3: send me so many of your hits.
    OobReplyAck {
        /// How many.
        wanted: u8,
        /// In version 3, what each of those hits must carry (GGEP `SO`).
        token: Option<Token>,
    },
    /// LIME/12v1 to v3: I have so many hits for your query.
    OobReplyIndication {
        /// How many; 255 for so many or more.
        hits: u8,
        /// In versions from 2 on: datagrams that it did not ask for reach the sender.
        unsolicited: Option<bool>,
        /// Version 3: hits must carry a token.
        secure: bool,
    },
    /// LIME/13v1: ask in my name neither.
    OobProxyVeto {
        /// From which version of out-of-band on; `None` is for all.
        version: Option<u8>,
    },
    /// LIME/21v1 and v2: be my push proxy. The message's GUID is that of the sender.
    PushProxyRequest {
        /// 1 or 2.
        version: u16,
    },
    /// LIME/22v1 and v2: I am. The message's GUID is that of the asker.
    PushProxyAck {
        /// Where; version 1 has the port alone, at the address that the message comes from.
        at: ProxyAddr,
    },
    /// LIME/23: do you have this file?
    HeadPing(HeadPing<'a>),
    /// LIME/24: the answer.
    HeadPong(HeadPong<'a>),
    /// A message that is not known here.
    Unknown {
        /// Which.
        id: Id,
        /// Its body.
        body: &'a [u8],
    },
}

/// Where a push proxy listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyAddr {
    /// Version 1: at the address that the message comes from.
    Port(u16),
    /// Version 2.
    Full(SocketAddrV4),
}

/// A few bytes that prove that a hit was asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token {
    len: u8,
    bytes: [u8; TOKEN_BYTES_MAX],
}

impl Token {
    /// At most [`TOKEN_BYTES_MAX`] bytes, at least one.
    #[must_use]
    pub fn new(token: &[u8]) -> Option<Self> {
        let mut bytes = [0; TOKEN_BYTES_MAX];
        bytes.get_mut(..token.len())?.copy_from_slice(token);
        (!token.is_empty()).then_some(Self { len: token.len() as u8, bytes })
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x?}", self.bytes())
    }
}

impl<'a> Message<'a> {
    /// Reads a payload; `None` where it is shorter than its id, or than what a known message must have.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let mut r = Reader(payload);
        let id = Id::read(&mut r)?;
        let body = r.0;
        Some(match (&id.vendor, id.number, id.version) {
            (ALL, 0, 0) => Self::MessagesSupported(Ids::parse(body)?),
            (ALL, 10, 0) => Self::FeaturesSupported(Features::parse(body)?),
            (BEAR, 4, 1..) => Self::HopsFlow { hops: r.u8()? },
            (BEAR, 7, 1..) => Self::TcpConnectBack { port: r.u16_le()? },
            (BEAR, 11, 1..) => Self::QueryStatusRequest,
            (BEAR, 12, 1..) => Self::QueryStatus { hits: r.u16_le()? },
            (GTKG, 7, 1) => Self::UdpConnectBack { port: r.u16_le()?, guid: Some(Guid(r.array()?)) },
            (GTKG, 7, 2..) => Self::UdpConnectBack { port: r.u16_le()?, guid: None },
            (GTKG, 9, 1..) => Self::TimeSyncRequest { flags: r.u8()? },
            (GTKG, 10, 1..) => {
                Self::TimeSyncReply { flags: r.u8()?, received_s: r.u32_be()?, received_us: r.u32_be()? }
            }
            (GTKG, 21, 1..) => Self::PushProxyCancel,
            (GTKG, 22, 1..) => Self::NodeInfoRequest { flags: r.u32_be()? },
            (GTKG, 23, 1..) => Self::NodeInfo(NodeInfo::parse(body)?),
            (LIME, 5, 1..) => Self::CrawlerPing { ultrapeers: r.u8()?, leaves: r.u8()?, features: r.u8()? },
            (LIME, 11, 2..) => {
                let wanted = r.u8()?;
                let token = extension::ggep(r.0).and_then(|b| b.value(b"SO", TOKEN_BYTES_MAX));
                Self::OobReplyAck { wanted, token: token.and_then(|t| Token::new(&t)) }
            }
            (LIME, 12, version @ 1..) => {
                let hits = r.u8()?;
                let unsolicited = if version > 1 { Some(r.u8()? & 1 != 0) } else { None };
                Self::OobReplyIndication { hits, unsolicited, secure: version > 2 }
            }
            (LIME, 13, 1..) => Self::OobProxyVeto { version: r.u8() },
            (LIME, 21, version @ 1..) => Self::PushProxyRequest { version },
            (LIME, 22, 1) => Self::PushProxyAck { at: ProxyAddr::Port(r.u16_le()?) },
            (LIME, 22, 2..) => Self::PushProxyAck { at: ProxyAddr::Full(r.ip_port()?) },
            (LIME, 23, version @ 1..) => Self::HeadPing(HeadPing::parse(version, body)?),
            (LIME, 24, version @ 1..) => Self::HeadPong(HeadPong::parse(version, body)?),
            _ => Self::Unknown { id, body },
        })
    }

    /// Which message this is; where it could be written in several versions, the newest that says all of it.
    #[must_use]
    pub const fn id(&self) -> Id {
        match self {
            Self::MessagesSupported(_) => Id::new(ALL, 0, 0),
            Self::FeaturesSupported(_) => Id::new(ALL, 10, 0),
            Self::HopsFlow { .. } => Id::new(BEAR, 4, 1),
            Self::TcpConnectBack { .. } => Id::new(BEAR, 7, 1),
            Self::QueryStatusRequest => Id::new(BEAR, 11, 1),
            Self::QueryStatus { .. } => Id::new(BEAR, 12, 1),
            Self::UdpConnectBack { guid: Some(_), .. } => Id::new(GTKG, 7, 1),
            Self::UdpConnectBack { guid: None, .. } => Id::new(GTKG, 7, 2),
            Self::TimeSyncRequest { .. } => Id::new(GTKG, 9, 1),
            Self::TimeSyncReply { .. } => Id::new(GTKG, 10, 1),
            Self::PushProxyCancel => Id::new(GTKG, 21, 1),
            Self::NodeInfoRequest { .. } => Id::new(GTKG, 22, 1),
            Self::NodeInfo(_) => Id::new(GTKG, 23, 1),
            Self::CrawlerPing { .. } => Id::new(LIME, 5, 1),
            Self::OobReplyAck { token: None, .. } => Id::new(LIME, 11, 2),
            Self::OobReplyAck { token: Some(_), .. } => Id::new(LIME, 11, 3),
            Self::OobReplyIndication { unsolicited: None, .. } => Id::new(LIME, 12, 1),
            Self::OobReplyIndication { secure: false, .. } => Id::new(LIME, 12, 2),
            Self::OobReplyIndication { .. } => Id::new(LIME, 12, 3),
            Self::OobProxyVeto { .. } => Id::new(LIME, 13, 1),
            Self::PushProxyRequest { version } => Id::new(LIME, 21, *version),
            Self::PushProxyAck { at: ProxyAddr::Port(_) } => Id::new(LIME, 22, 1),
            Self::PushProxyAck { at: ProxyAddr::Full(_) } => Id::new(LIME, 22, 2),
            Self::HeadPing(ping) => Id::new(LIME, 23, ping.version),
            Self::HeadPong(pong) => Id::new(LIME, 24, pong.version()),
            Self::Unknown { id, .. } => *id,
        }
    }

    /// The payload on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.id().encode().to_vec();
        match self {
            Self::MessagesSupported(ids) => out.extend_from_slice(ids.bytes()),
            Self::FeaturesSupported(features) => out.extend_from_slice(features.bytes()),
            Self::HopsFlow { hops } => out.push(*hops),
            Self::TcpConnectBack { port } => out.extend_from_slice(&port.to_le_bytes()),
            Self::QueryStatus { hits } => out.extend_from_slice(&hits.to_le_bytes()),
            Self::UdpConnectBack { port, guid } => {
                out.extend_from_slice(&port.to_le_bytes());
                out.extend(guid.iter().flat_map(|g| g.0));
            }
            Self::TimeSyncRequest { flags } => out.push(*flags),
            Self::TimeSyncReply { flags, received_s, received_us } => {
                out.push(*flags);
                out.extend_from_slice(&received_s.to_be_bytes());
                out.extend_from_slice(&received_us.to_be_bytes());
            }
            Self::NodeInfoRequest { flags } => out.extend_from_slice(&flags.to_be_bytes()),
            Self::NodeInfo(info) => out.extend_from_slice(&info.encode()),
            Self::CrawlerPing { ultrapeers, leaves, features } => out.extend([ultrapeers, leaves, features]),
            Self::OobReplyAck { wanted, token } => {
                out.push(*wanted);
                if let Some(token) = token {
                    let block =
                        super::ggep::Builder::new(super::ggep::Nul::Allowed).with(b"SO", token.bytes());
                    out.extend_from_slice(&block.finish());
                }
            }
            Self::OobReplyIndication { hits, unsolicited, .. } => {
                out.push(*hits);
                out.extend(unsolicited.map(u8::from));
            }
            Self::OobProxyVeto { version } => out.extend(version),
            Self::PushProxyAck { at: ProxyAddr::Port(port) } => out.extend_from_slice(&port.to_le_bytes()),
            Self::PushProxyAck { at: ProxyAddr::Full(at) } => out.extend_from_slice(&ip_port_bytes(*at)),
            Self::QueryStatusRequest | Self::PushProxyCancel | Self::PushProxyRequest { .. } => {}
            Self::HeadPing(ping) => out.extend_from_slice(&ping.encode()),
            Self::HeadPong(pong) => out.extend_from_slice(&pong.encode()),
            Self::Unknown { body, .. } => out.extend_from_slice(body),
        }
        out
    }
}

/// The payload of 0/0v0.
#[must_use]
pub fn messages_supported(ids: &[Id]) -> Vec<u8> {
    let mut out = Id::new(ALL, 0, 0).encode().to_vec();
    out.extend_from_slice(&(ids.len() as u16).to_le_bytes());
    out.extend(ids.iter().flat_map(|id| id.encode()));
    out
}

/// The payload of 0/10v0.
#[must_use]
pub fn features_supported(features: &[([u8; 4], u16)]) -> Vec<u8> {
    let mut out = Id::new(ALL, 10, 0).encode().to_vec();
    out.extend_from_slice(&(features.len() as u16).to_le_bytes());
    for (name, version) in features {
        out.extend_from_slice(name);
        out.extend_from_slice(&version.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests;
