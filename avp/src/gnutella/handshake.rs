//! The text before the descriptors: Gnutella handshakes, HTTP requests and answers, `GIV`.
//!
//! What a connection speaks is told by its first bytes. Then a block of lines is collected, up to an empty one; lines
//! may end with CRLF or LF. `GNUTELLA CONNECT/0.4`, `GNUTELLA OK` and `GIV` are blocks without headers.

use super::guid::Guid;
use super::headers::{Headers, Version};

/// Most bytes of a block, unless the reader is given other bounds.
pub const BLOCK_BYTES_MAX: usize = 16 * 1024;
/// Most lines of a block, unless the reader is given other bounds.
pub const BLOCK_LINES_MAX: usize = 128;

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Too few bytes to tell.
    Undecided,
    /// A Gnutella handshake.
    Gnutella,
    /// An HTTP request.
    Request,
    /// An HTTP answer.
    Answer,
    /// A servent that was sent a push.
    Giv,
    /// A TLS client.
    Tls,
    /// Nothing that is known here.
    Unknown,
}

/// Tells what a connection speaks from its first bytes; ten are enough.
#[must_use]
pub fn opening(bytes: &[u8]) -> Opening {
    const OPENINGS: [(&[u8], Opening); 6] = [
        (b"GNUTELLA", Opening::Gnutella),
        (b"GET ", Opening::Request),
        (b"HEAD ", Opening::Request),
        (b"HTTP/", Opening::Answer),
        (b"GIV ", Opening::Giv),
        (b"\x16\x03", Opening::Tls),
    ];
    let mut undecided = false;
    for (start, opening) in OPENINGS {
        let n = start.len().min(bytes.len());
        if bytes[..n] == start[..n] {
            if n == start.len() {
                return opening;
            }
            undecided = true;
        }
    }
    if undecided { Opening::Undecided } else { Opening::Unknown }
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// `GNUTELLA CONNECT/0.6` or `GNUTELLA CONNECT/0.4`.
    Connect(Version),
    /// `GNUTELLA/0.6 200 OK`.
    Status {
        /// Of the protocol.
        version: Version,
        /// Three digits.
        code: u16,
        /// The rest.
        reason: String,
    },
    /// `GNUTELLA OK`, the answer of version 0.4.
    Ok04,
    /// `GET /target HTTP/1.1`.
    Request {
        /// Which of the two.
        method: Method,
        /// As sent; [`super::http`] takes it apart. Some peers send raw spaces in it.
        target: String,
        /// Of HTTP.
        version: Version,
    },
    /// `HTTP/1.1 200 OK`.
    Answer {
        /// Of HTTP.
        version: Version,
        /// Three digits.
        code: u16,
        /// The rest.
        reason: String,
    },
    /// `GIV 1:<32 hexadecimal digits>/name`.
    Giv {
        /// The servent's number for the file.
        index: u32,
        /// Who connects.
        servent: Guid,
        /// The file's name.
        name: String,
    },
}

/// The two HTTP methods that Gnutella uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
}

/// A block: its first line and its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The first line.
    pub start: Start,
    /// The others.
    pub headers: Headers,
}

/// Why a connection's text cannot be understood; nothing that follows can be either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It begins with something else.
    #[error("neither Gnutella nor HTTP")]
    Unknown,
    /// It is a TLS client's first message.
    #[error("TLS without having been asked for it")]
    Tls,
    /// The block has too many bytes.
    #[error("header block of more than {0} bytes")]
    TooLong(usize),
    /// The block has too many lines.
    #[error("header block of more than {0} lines")]
    TooManyLines(usize),
    /// The first line has the wrong form.
    #[error("malformed start line")]
    Start,
    /// A line is neither a header nor a continuation; counted from 1 for the first line.
    #[error("malformed header in line {0}")]
    Header(usize),
}

/// Collects one block from pieces of any size. Each byte is looked at once, however it comes.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Vec<u8>,
    line_start: usize,
    lines: usize,
    bytes_max: usize,
    lines_max: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new(BLOCK_BYTES_MAX, BLOCK_LINES_MAX)
    }
}

impl Reader {
    /// A reader of blocks of at most so many bytes and lines.
    #[must_use]
    pub const fn new(bytes_max: usize, lines_max: usize) -> Self {
        Self { bytes: Vec::new(), line_start: 0, lines: 0, bytes_max, lines_max }
    }

    /// Bytes held for an unfinished block.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Takes what came in. Once the block is complete it is returned with how many of `input`'s bytes belong to it;
    /// the rest is what follows the block, and the reader is ready for another one.
    ///
    /// # Errors
    /// As soon as the text can no longer become a block within bounds.
    pub fn push(&mut self, input: &[u8]) -> Result<Option<(Block, usize)>, Error> {
        let mut used = 0;
        while let Some(n) = memchr::memchr(b'\n', &input[used..]) {
            let end = used + n + 1;
            self.take(&input[used..end])?;
            used = end;
            self.lines += 1;
            if self.lines > self.lines_max {
                return Err(Error::TooManyLines(self.lines_max));
            }
            let is_empty = matches!(self.bytes[self.line_start..], [b'\n'] | [b'\r', b'\n']);
            self.line_start = self.bytes.len();
            if is_empty {
                let block = parse(&self.bytes);
                *self = Self::new(self.bytes_max, self.lines_max);
                return block.map(|block| Some((block, used)));
            }
        }
        self.take(&input[used..])?;
        Ok(None)
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), Error> {
        if self.bytes.len() + piece.len() > self.bytes_max {
            return Err(Error::TooLong(self.bytes_max));
        }
        let undecided = self.bytes.len() < 10;
        self.bytes.extend_from_slice(piece);
        if undecided {
            match opening(&self.bytes) {
                Opening::Unknown if !self.bytes.is_empty() => return Err(Error::Unknown),
                Opening::Tls => return Err(Error::Tls),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Reads a whole block. Bytes that are not UTF-8 become U+FFFD.
fn parse(bytes: &[u8]) -> Result<Block, Error> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let start = parse_start(lines.next().unwrap_or_default()).ok_or(Error::Start)?;
    let mut headers = Headers::default();
    for (n, line) in lines.enumerate().take_while(|(_, line)| !line.is_empty()) {
        let understood = if line.starts_with([' ', '\t']) {
            headers.extend_last(line.trim())
        } else if let Some((name, value)) = line.split_once(':') {
            let name = name.trim_end();
            headers.push(name, value.trim());
            !name.is_empty() && !name.contains(char::is_whitespace)
        } else {
            false
        };
        if !understood {
            return Err(Error::Header(n + 2));
        }
    }
    Ok(Block { start, headers })
}

fn parse_start(line: &str) -> Option<Start> {
    match opening(line.as_bytes()) {
        Opening::Gnutella => parse_gnutella(line.strip_prefix("GNUTELLA")?),
        Opening::Request => {
            let (method, rest) = line.split_once(' ')?;
            let (target, version) = rest.rsplit_once(' ')?;
            let version = Version::parse(version.strip_prefix("HTTP/")?)?;
            let method = if method == "HEAD" { Method::Head } else { Method::Get };
            let target = target.trim();
            (!target.is_empty()).then(|| Start::Request { method, target: target.to_owned(), version })
        }
        Opening::Answer => {
            let (version, code, reason) = parse_status(line.strip_prefix("HTTP/")?)?;
            Some(Start::Answer { version, code, reason })
        }
        Opening::Giv => {
            let (index, rest) = line.strip_prefix("GIV ")?.split_once(':')?;
            let (servent, name) = rest.split_once('/').unwrap_or((rest, ""));
            let servent = Guid::from_hex(servent.trim().as_bytes())?;
            Some(Start::Giv { index: index.trim().parse().ok()?, servent, name: name.to_owned() })
        }
        _ => None,
    }
}

fn parse_gnutella(rest: &str) -> Option<Start> {
    if let Some(version) = rest.strip_prefix(" CONNECT/") {
        return Version::parse(version).map(Start::Connect);
    }
    if rest.trim_end() == " OK" {
        return Some(Start::Ok04);
    }
    let (version, code, reason) = parse_status(rest.strip_prefix('/')?)?;
    Some(Start::Status { version, code, reason })
}

/// `0.6 200 OK`
fn parse_status(text: &str) -> Option<(Version, u16, String)> {
    let (version, rest) = text.split_once(' ')?;
    let rest = rest.trim_start();
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let is_code = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    let code = if is_code { code.parse().ok()? } else { return None };
    Some((Version::parse(version)?, code, reason.trim().to_owned()))
}
