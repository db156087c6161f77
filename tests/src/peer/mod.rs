//! A Gnutella peer of our own over real sockets: leaf or ultrapeer, dialling or accepting.
//!
//! It is a witness, not a product: handshakes are written by hand, the wire is read by [`crate::wire`], and it is
//! strict about what it gets where a strict real peer is. Blocking threads: one a connection.

mod accept;
mod files;
mod handshake;
mod link;
pub mod transfer;

pub use files::{SharedFile, sha1_urn};
pub use handshake::{HandshakeError, Headers};
pub use link::Link;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::dice::Dice;
use crate::wire::{Guid, Hit, HitFile, Message, Push, QrpShape, QrpTable, Query, kind};

/// How long a connection may take, and each step of a handshake.
const STEP: Duration = Duration::from_secs(60);

/// What a peer says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Leaf,
    Ultrapeer,
}

/// What kind of peer to be.
#[derive(Clone, Debug)]
pub struct Config {
    pub role: Role,
    /// The address that it dials from and listens on (at a port that the system chooses).
    pub ip: Ipv4Addr,
    pub files: Vec<SharedFile>,
    /// Whether it offers deflate and uses it where the other side offers it too.
    pub compress: bool,
    /// Whether its hits ask for a push.
    pub firewalled: bool,
    pub qrp: QrpShape,
    /// Whether pings are answered.
    pub answers_pings: bool,
    /// Header lines added to its half of a handshake.
    pub extra_headers: Vec<String>,
}

impl Config {
    #[must_use]
    pub fn leaf(ip: Ipv4Addr) -> Self {
        Self {
            role: Role::Leaf,
            ip,
            files: Vec::new(),
            compress: false,
            firewalled: false,
            qrp: QrpShape::default(),
            answers_pings: true,
            extra_headers: Vec::new(),
        }
    }

    #[must_use]
    pub fn ultrapeer(ip: Ipv4Addr) -> Self {
        Self { role: Role::Ultrapeer, ..Self::leaf(ip) }
    }

    #[must_use]
    pub fn sharing(mut self, files: Vec<SharedFile>) -> Self {
        self.files = files;
        self
    }
}

/// A running peer; its connections end when it is dropped.
#[derive(Debug)]
pub struct Peer {
    core: Arc<Core>,
}

/// What the threads of one peer share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) guid: Guid,
    pub(crate) address: SocketAddrV4,
    pub(crate) accepted: Mutex<Vec<Link>>,
    pub(crate) givs: Mutex<Vec<accept::Giv>>,
    pub(crate) served: AtomicU32,
    sequence: AtomicU64,
}

impl Peer {
    /// Starts to listen.
    ///
    /// # Errors
    /// Where the system gives no port.
    pub fn start(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind((config.ip, 0))?;
        let SocketAddr::V4(address) = listener.local_addr()? else {
            return Err(io::Error::other("an IPv4 listener has an IPv4 address"));
        };
        let core = Arc::new(Core {
            guid: random_guid(u64::from(address.port()) << 32 | u64::from(u32::from(*address.ip()))),
            config,
            address,
            accepted: Mutex::default(),
            givs: Mutex::default(),
            served: AtomicU32::new(0),
            sequence: AtomicU64::new(0),
        });
        accept::spawn(listener, &core)?;
        Ok(Self { core })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddrV4 {
        self.core.address
    }

    /// Its servent GUID.
    #[must_use]
    pub fn guid(&self) -> Guid {
        self.core.guid
    }

    /// A GUID that it has not used yet.
    #[must_use]
    pub fn fresh_guid(&self) -> Guid {
        self.core.fresh_guid()
    }

    /// Makes an overlay relation with the peer at `to`, and sends its query routing table.
    ///
    /// # Errors
    /// Where the connection fails, or the other side refuses.
    pub fn dial(&self, to: SocketAddr) -> Result<Link, HandshakeError> {
        let stream = self.core.connect(to)?;
        let (headers, rest) = handshake::dial(&stream, &self.core, to)?;
        let link = Link::start(&self.core, stream, headers, rest)?;
        self.core.send_table(&link)?;
        Ok(link)
    }

    /// The relations that others have made with it, oldest first.
    #[must_use]
    pub fn accepted(&self) -> Vec<Link> {
        self.core.accepted.lock().expect("no thread panics with it").clone()
    }

    /// How many file requests it has answered in full.
    #[must_use]
    pub fn served(&self) -> u32 {
        self.core.served.load(Ordering::SeqCst)
    }

    /// Sends a search over a link; the answers come in on it with the GUID that this returns.
    ///
    /// # Errors
    /// Where the link is gone.
    pub fn search(&self, link: &Link, query: &Query) -> io::Result<Guid> {
        let guid = self.fresh_guid();
        let ttl = if self.core.config.role == Role::Leaf { 4 } else { 3 };
        link.send(&Message::new(guid, kind::QUERY, ttl, query.encode()))?;
        Ok(guid)
    }

    /// Asks over a link for a push of a hit's first file. The stream comes in at [`Self::take_giv`].
    ///
    /// # Errors
    /// Where the link is gone.
    pub fn request_push(&self, link: &Link, hit: &Hit) -> io::Result<()> {
        let index = hit.files.first().map_or(0, |f| f.index);
        let push = Push { servent: hit.servent, index, to: self.core.address };
        link.send(&Message::new(self.fresh_guid(), kind::PUSH, 4, push.encode()))
    }

    /// A stream on which somebody has announced a file with GIV, if one has come.
    #[must_use]
    pub fn take_giv(&self) -> Option<accept::Giv> {
        self.core.givs.lock().expect("no thread panics with it").pop()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for link in self.accepted() {
            link.close();
        }
        // Wakes the accepting thread, which finds itself the last owner and ends.
        drop(TcpStream::connect(self.core.address));
    }
}

impl Core {
    pub(crate) fn fresh_guid(&self) -> Guid {
        let n = self.sequence.fetch_add(1, Ordering::Relaxed);
        let own = u64::from_le_bytes([
            self.guid[0],
            self.guid[1],
            self.guid[2],
            self.guid[3],
            self.guid[4],
            self.guid[5],
            self.guid[6],
            self.guid[7],
        ]);
        random_guid(own.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// Connects from this peer's own address.
    pub(crate) fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(IpAddr::V4(self.config.ip), 0).into())?;
        socket.connect_timeout(&to.into(), STEP)?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket.into())
    }

    pub(crate) fn send_table(&self, link: &Link) -> io::Result<()> {
        let mut table = QrpTable::new(self.config.qrp);
        for file in &self.config.files {
            table.add_name(&file.name);
            table.add(&file.urn);
        }
        table.messages(|| self.fresh_guid()).iter().try_for_each(|m| link.send(m))
    }

    /// The hit that answers a query, if anything here matches.
    pub(crate) fn answer(&self, query: &Query) -> Option<Hit> {
        let files: Vec<HitFile> = self
            .config
            .files
            .iter()
            .enumerate()
            .filter(|(_, f)| f.matches(query))
            .map(|(i, f)| HitFile {
                index: i as u32,
                size: f.bytes.len() as u32,
                name: f.name.clone(),
                urn: Some(f.urn.clone()),
            })
            .collect();
        (!files.is_empty()).then_some(Hit {
            address: self.address,
            kbit_per_s: 1000,
            files,
            vendor: *b"EEPT",
            push: self.config.firewalled,
            servent: self.guid,
        })
    }
}

/// A well-formed GUID that is different for each `n`.
#[must_use]
pub fn random_guid(n: u64) -> Guid {
    let mut guid = [0; 16];
    Dice::new(n).fill(&mut guid);
    guid[8] = 0xff;
    guid[15] = 0;
    guid
}
