//! One non-blocking peer: its handshake, what it has to say, what it hears.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use eep_tests::wire::{Guid, HEADER, PAYLOAD_MAX, kind, pong};
use mio::net::TcpStream;

/// Most bytes of a handshake answer.
const ANSWER_MAX: usize = 16_384;

/// What a peer says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Leaf,
    Ultrapeer,
}

/// What a peer is, says and sends first.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) target: SocketAddr,
    pub(crate) source: Option<Ipv4Addr>,
    pub(crate) listen: SocketAddr,
    pub(crate) guid: Guid,
    pub(crate) kind: Kind,
    /// Query routing messages to send once joined.
    pub(crate) table: Vec<u8>,
}

/// How far a peer has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Joining,
    Up,
    /// With the reason.
    Gone(String),
}

/// A peer's connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) stream: TcpStream,
    pub(crate) phase: Phase,
    pub(crate) began: Instant,
    /// When the handshake was done.
    pub(crate) joined: Option<Instant>,
    listen: SocketAddr,
    table: Vec<u8>,
    out: Vec<u8>,
    sent: usize,
    partial: Vec<u8>,
}

impl Conn {
    /// Starts to connect; the handshake follows as the socket allows.
    pub(crate) fn dial(spec: Spec) -> io::Result<Self> {
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(spec.target), socket2::Type::STREAM, None)?;
        if let Some(ip) = spec.source {
            socket.bind(&SocketAddr::from((ip, 0)).into())?;
        }
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&spec.target.into()) {
            Err(e) if e.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(e);
            }
            _ => {}
        }
        Ok(Self {
            stream: TcpStream::from_std(socket.into()),
            phase: Phase::Joining,
            began: Instant::now(),
            joined: None,
            listen: spec.listen,
            out: request(&spec),
            table: spec.table,
            sent: 0,
            partial: Vec::new(),
        })
    }

    /// Whether all that was to be sent has left.
    pub(crate) fn idle(&self) -> bool {
        self.out.is_empty()
    }

    /// What to send next; call [`Self::flush`] after adding to it.
    pub(crate) fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Writes as much as the socket takes.
    pub(crate) fn flush(&mut self) {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::NotConnected => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return self.end(format!("write: {e}")),
            }
        }
        self.out.clear();
        self.sent = 0;
    }

    /// Reads all that there is, and hands every message to `heard` as header and payload.
    pub(crate) fn receive(&mut self, scratch: &mut [u8], heard: &mut impl FnMut(&[u8], &[u8])) {
        while !matches!(self.phase, Phase::Gone(_)) {
            // What was left of the last read is completed in front.
            let kept = self.partial.len();
            scratch[..kept].copy_from_slice(&self.partial);
            let room = scratch.len() - kept;
            match self.stream.read(&mut scratch[kept..]) {
                Ok(0) => return self.end("closed by the other side".to_owned()),
                Ok(n) => {
                    self.partial.clear();
                    let used = self.take(&scratch[..kept + n], heard);
                    self.partial.extend_from_slice(&scratch[used..kept + n]);
                    if n < room {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return self.end(format!("read: {e}")),
            }
        }
        if !self.out.is_empty() {
            self.flush();
        }
    }

    fn take(&mut self, bytes: &[u8], heard: &mut impl FnMut(&[u8], &[u8])) -> usize {
        let mut used = 0;
        if self.phase == Phase::Joining {
            match self.answered(bytes) {
                Some(n) => used = n,
                None => return 0,
            }
        }
        while let Some(head) = bytes[used..].first_chunk::<HEADER>() {
            let len = u32::from_le_bytes([head[19], head[20], head[21], head[22]]) as usize;
            if len > PAYLOAD_MAX {
                self.end(format!("a message of {len} bytes"));
                return bytes.len();
            }
            let Some(payload) = bytes[used + HEADER..].get(..len) else { break };
            used += HEADER + len;
            if head[16] == kind::PING {
                self.pong(head);
            } else {
                heard(head, payload);
            }
        }
        used
    }

    fn answered(&mut self, bytes: &[u8]) -> Option<usize> {
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            if bytes.len() > ANSWER_MAX {
                self.end("a handshake without end".to_owned());
            }
            return None;
        };
        let first = bytes.split(|b| *b == b'\r').next().unwrap_or_default();
        if !first.starts_with(b"GNUTELLA/0.6 200") {
            self.end(format!("refused: {}", String::from_utf8_lossy(first)));
            return Some(bytes.len());
        }
        self.out.extend_from_slice(b"GNUTELLA/0.6 200 OK\r\n\r\n");
        self.out.append(&mut self.table);
        self.phase = Phase::Up;
        self.joined = Some(Instant::now());
        Some(end + 4)
    }

    /// Answers a ping: an ultrapeer drops those who do not.
    fn pong(&mut self, ping: &[u8; HEADER]) {
        let SocketAddr::V4(listen) = self.listen else { return };
        let payload = pong(listen, 1, 1);
        self.out.extend_from_slice(&ping[..16]);
        self.out.extend_from_slice(&[kind::PONG, ping[18] + 1, 0]);
        self.out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.out.extend_from_slice(&payload);
    }

    pub(crate) fn end(&mut self, why: String) {
        self.phase = Phase::Gone(why);
        self.out.clear();
        self.sent = 0;
    }
}

fn request(spec: &Spec) -> Vec<u8> {
    let guid = data_encoding::HEXLOWER.encode(&spec.guid);
    let role = match spec.kind {
        Kind::Leaf => "X-Ultrapeer: False\r\n",
        Kind::Ultrapeer => {
            "X-Ultrapeer: True\r\nX-Degree: 32\r\nX-Dynamic-Querying: 0.1\r\n\
             X-Ultrapeer-Query-Routing: 0.1\r\nX-Ext-Probes: 0.1\r\n"
        }
    };
    format!(
        "GNUTELLA CONNECT/0.6\r\nUser-Agent: eep-bench/1.0\r\nListen-IP: {}\r\nRemote-IP: {}\r\n{role}\
         X-Query-Routing: 0.2\r\nX-Max-TTL: 4\r\nGGEP: 0.5\r\nPong-Caching: 0.1\r\nBye-Packet: 0.1\r\n\
         GUID: {guid}\r\n\r\n",
        spec.listen,
        spec.target.ip(),
    )
    .into_bytes()
}
