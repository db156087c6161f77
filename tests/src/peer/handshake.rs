//! The 0.6 handshake, written by hand.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{Core, Role, STEP};

/// Most bytes of one block of a handshake.
const BLOCK_MAX: usize = 16_384;

/// A status or request line and its headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    pub first_line: String,
    pub lines: Vec<(String, String)>,
}

impl Headers {
    /// The value of a header, whatever its case; of several, joined with commas.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .lines
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// Whether a comma-separated header names `token`.
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.get(name).is_some_and(|v| v.split(',').any(|t| t.trim().eq_ignore_ascii_case(token)))
    }

    /// The status code of a response's first line.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.first_line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Reads a block from text that ends with an empty line.
    ///
    /// # Errors
    /// Where a line is no header.
    pub fn parse(text: &str) -> io::Result<Self> {
        let mut lines = text.lines();
        let first_line = lines.next().unwrap_or_default().to_owned();
        let mut headers = Self { first_line, lines: Vec::new() };
        for line in lines.take_while(|l| !l.is_empty()) {
            let (name, value) =
                line.split_once(':').ok_or_else(|| io::Error::other(format!("no header: {line:?}")))?;
            headers.lines.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(headers)
    }
}

/// Why there is no relation.
#[derive(Debug)]
pub enum HandshakeError {
    Io(io::Error),
    /// The other side's answer was not a 200.
    Refused(Headers),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl std::fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "handshake: {error}"),
            Self::Refused(headers) => write!(f, "handshake refused: {}", headers.first_line),
        }
    }
}

impl std::error::Error for HandshakeError {}

/// Reads up to an empty line; what came after it is returned too.
pub(super) fn read_block(mut stream: &TcpStream, mut got: Vec<u8>) -> io::Result<(String, Vec<u8>)> {
    stream.set_read_timeout(Some(STEP))?;
    let mut chunk = [0; 2_048];
    loop {
        if let Some(end) = block_end(&got) {
            let rest = got.split_off(end);
            let text = String::from_utf8(got).map_err(io::Error::other)?;
            return Ok((text, rest));
        }
        if got.len() > BLOCK_MAX {
            return Err(io::Error::other("a header block without end"));
        }
        match stream.read(&mut chunk)? {
            0 => {
                let so_far = String::from_utf8_lossy(&got).into_owned();
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("closed within a header block: {so_far:?}"),
                ));
            }
            n => got.extend_from_slice(&chunk[..n]),
        }
    }
}

fn block_end(bytes: &[u8]) -> Option<usize> {
    let crlf = bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|i| i + 4);
    let lf = bytes.windows(2).position(|w| w == b"\n\n").map(|i| i + 2);
    match (crlf, lf) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The headers that say what we are.
fn own_headers(core: &Core, remote: SocketAddr) -> String {
    let mut out = String::new();
    let ultrapeer = core.config.role == Role::Ultrapeer;
    let mut line = |l: std::fmt::Arguments<'_>| {
        out.write_fmt(l).expect("writing to memory");
        out.push_str("\r\n");
    };
    line(format_args!("User-Agent: eep-raw-peer/1.0"));
    line(format_args!("Listen-IP: {}", core.address));
    line(format_args!("Remote-IP: {}", remote.ip()));
    line(format_args!("X-Ultrapeer: {}", if ultrapeer { "True" } else { "False" }));
    line(format_args!("X-Query-Routing: 0.2"));
    line(format_args!("GGEP: 0.5"));
    line(format_args!("Pong-Caching: 0.1"));
    line(format_args!("Bye-Packet: 0.1"));
    line(format_args!("Vendor-Message: 0.2"));
    line(format_args!("X-Max-TTL: 4"));
    line(format_args!("GUID: {}", data_encoding::HEXLOWER.encode(&core.guid)));
    if ultrapeer {
        line(format_args!("X-Degree: 32"));
        line(format_args!("X-Dynamic-Querying: 0.1"));
        line(format_args!("X-Ultrapeer-Query-Routing: 0.1"));
        line(format_args!("X-Ext-Probes: 0.1"));
    }
    if core.config.compress {
        line(format_args!("Accept-Encoding: deflate"));
    }
    for extra in &core.config.extra_headers {
        line(format_args!("{extra}"));
    }
    out
}

fn encoding(core: &Core, theirs: &Headers) -> &'static str {
    if core.config.compress && theirs.has_token("Accept-Encoding", "deflate") {
        "Content-Encoding: deflate\r\n"
    } else {
        ""
    }
}

/// What both sides have agreed on.
#[derive(Clone, Debug)]
pub(super) struct Agreed {
    pub(super) theirs: Headers,
    pub(super) we_deflate: bool,
    pub(super) they_deflate: bool,
}

/// Dials: request, their answer, our confirmation. Returns also the bytes that came after their answer.
pub(super) fn dial(
    mut stream: &TcpStream,
    core: &Core,
    to: SocketAddr,
) -> Result<(Agreed, Vec<u8>), HandshakeError> {
    stream.write_all(format!("GNUTELLA CONNECT/0.6\r\n{}\r\n", own_headers(core, to)).as_bytes())?;
    let (text, rest) = read_block(stream, Vec::new())?;
    let theirs = Headers::parse(&text)?;
    if theirs.status() != Some(200) {
        return Err(HandshakeError::Refused(theirs));
    }
    let encoding = encoding(core, &theirs);
    stream.write_all(format!("GNUTELLA/0.6 200 OK\r\n{encoding}\r\n").as_bytes())?;
    let they_deflate = theirs.has_token("Content-Encoding", "deflate");
    Ok((Agreed { theirs, we_deflate: !encoding.is_empty(), they_deflate }, rest))
}

/// Answers a request that has been read already.
pub(super) fn answer(
    mut stream: &TcpStream,
    core: &Core,
    request: Headers,
    rest: Vec<u8>,
) -> Result<(Agreed, Vec<u8>), HandshakeError> {
    let encoding = encoding(core, &request);
    let own = own_headers(core, stream.peer_addr()?);
    stream.write_all(format!("GNUTELLA/0.6 200 OK\r\n{own}{encoding}\r\n").as_bytes())?;
    let (text, rest) = read_block(stream, rest)?;
    let confirmation = Headers::parse(&text)?;
    if confirmation.status() != Some(200) {
        return Err(HandshakeError::Refused(confirmation));
    }
    let they_deflate = confirmation.has_token("Content-Encoding", "deflate");
    Ok((Agreed { theirs: request, we_deflate: !encoding.is_empty(), they_deflate }, rest))
}
