//! The text before the descriptors: Gnutella handshakes, HTTP requests and answers, `GIV`.
//!
//! What a connection speaks is told by its first bytes. Then a block of lines is collected, up to an empty one; lines
//! may end with CRLF or LF. `GNUTELLA CONNECT/0.4`, `GNUTELLA OK` and `GIV` are blocks without headers.

use super::guid::Guid;
use super::headers::{Headers, Version};
use crate::state;

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

    /// Memory for an unfinished block, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
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
        if self.bytes.capacity() - self.bytes.len() < piece.len() {
            // As much again, as ever, but never more than may come.
            let more = self.bytes.len().max(piece.len()).min(self.bytes_max - self.bytes.len());
            self.bytes.reserve_exact(more);
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

/// The bounds are the owner's and are not saved.
impl Reader {
    pub(crate) fn save(&self, to: &mut state::Writer) {
        to.buffer(&self.bytes);
        to.len_of(self.line_start);
        to.len_of(self.lines);
    }

    /// Takes over what has come in.
    pub(crate) fn load(&mut self, from: &mut state::Reader<'_>) -> Result<(), state::Damaged> {
        self.bytes = from.buffer(self.bytes_max)?;
        self.line_start = from.load::<u32>()? as usize;
        self.lines = from.load::<u32>()? as usize;
        from.ensure(self.line_start <= self.bytes.len() && self.lines <= self.lines_max)
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::gnutella::headers::Writer;

    /// A leaf dials an ultrapeer.
    const LEAF: &str = "GNUTELLA CONNECT/0.6\r\nNode: 100.64.77.2:6347\r\nRemote-IP: 100.64.77.1\r\n\
        User-Agent: gtk-gnutella/1.2.3-14-ga331a-dirty (2024-03-03; Topless; Linux x86_64)\r\nPong-Caching: 0.1\r\n\
        Bye-Packet: 0.1\r\nGGEP: 0.5\r\nGUID: d99a3102bcb3da2b5303b3b587639cc1\r\nVendor-Message: 0.2\r\n\
        X-Query-Routing: 0.2\r\nX-Requeries: False\r\nUpgrade: TLS/1.0\r\nAccept-Encoding: deflate\r\n\
        X-Token: ZlvE5ZLmz4m8dsfKJKeLug2Px2b1vQw9/+ZD; 9Pg=\r\nX-Live-Since: Sun, 02 Jun 2024 01:03:13 +0000\r\n\
        X-Ultrapeer: False\r\nX-Dynamic-Querying: 0.1\r\nX-Ultrapeer-Query-Routing: 0.1\r\nX-Degree: 32\r\n\
        X-Max-TTL: 4\r\nX-Guess: 0.2\r\nX-Features: tls/1.0, browse/1.0, sflag/0.1, HSEP/0.2\r\n\r\n";

    fn read(text: &[u8]) -> Result<Option<(Block, usize)>, Error> {
        Reader::default().push(text)
    }

    fn start(text: &str) -> Result<Start, Error> {
        read(text.as_bytes()).map(|b| b.expect("a whole block").0.start)
    }

    #[test]
    fn a_captured_handshake_is_read_however_it_is_cut() {
        let (whole, used) = read(LEAF.as_bytes()).unwrap().unwrap();
        assert_eq!((used, whole.start.clone()), (LEAF.len(), Start::Connect(Version::new(0, 6))));
        assert_eq!(whole.headers.len(), 21);
        assert_eq!(whole.headers.addr("node"), "100.64.77.2:6347".parse().ok());
        assert_eq!(whole.headers.boolean("X-Ultrapeer"), Some(false));
        assert_eq!(whole.headers.feature("X-Features", "hsep"), Some(Version::new(0, 2)));
        for size in [1, 2, 7, 100] {
            let mut reader = Reader::default();
            let blocks: Vec<_> =
                LEAF.as_bytes().chunks(size).filter_map(|c| reader.push(c).unwrap()).collect();
            assert_eq!(blocks.len(), 1);
            assert_eq!(blocks[0].0, whole);
            assert_eq!(reader.held_bytes(), 0);
        }
    }

    #[test]
    fn what_follows_the_block_is_left() {
        // The third leg of another client, with its first ping right behind.
        let bytes = b"GNUTELLA/0.6 200 OK\r\nX-Ultrapeer: False\r\n\r\n\x69\x16\x99\xe1\xbe";
        let (block, used) = read(bytes).unwrap().unwrap();
        assert_eq!(
            block.start,
            Start::Status { version: Version::new(0, 6), code: 200, reason: "OK".into() }
        );
        assert_eq!(&bytes[used..], b"\x69\x16\x99\xe1\xbe");
    }

    #[test]
    fn every_start_line_is_told_apart() {
        assert_eq!(start("GNUTELLA CONNECT/0.4\n\n"), Ok(Start::Connect(Version::new(0, 4))));
        assert_eq!(start("GNUTELLA OK\n\n"), Ok(Start::Ok04));
        let refusal = start("GNUTELLA/0.6 403 Normal nodes refused\r\n\r\n").unwrap();
        let version = Version::new(0, 6);
        assert_eq!(refusal, Start::Status { version, code: 403, reason: "Normal nodes refused".into() });
        let giv = start("GIV 1:d99a3102bcb3da2b5303b3b587639cc1/file\n\n").unwrap();
        let servent = Guid::from_hex(b"d99a3102bcb3da2b5303b3b587639cc1").unwrap();
        assert_eq!(giv, Start::Giv { index: 1, servent, name: "file".into() });
        let answer = start("HTTP/1.1 503 Queued (slot 1, ETA: 0s)\r\n\r\n").unwrap();
        let version = Version::new(1, 1);
        assert_eq!(answer, Start::Answer { version, code: 503, reason: "Queued (slot 1, ETA: 0s)".into() });
    }

    #[test]
    fn a_request_with_raw_spaces_and_a_doubled_host_is_tolerated() {
        let bytes = b"GET /get/5/walrus from avp.mp3 HTTP/1.1\r\nHost: Host: 100.64.79.1:7100\r\nRange: bytes=0-9\r\n\r\n";
        let (block, _) = read(bytes).unwrap().unwrap();
        let target = "/get/5/walrus from avp.mp3".into();
        assert_eq!(block.start, Start::Request { method: Method::Get, target, version: Version::new(1, 1) });
        assert_eq!(block.headers.get("host"), Some("Host: 100.64.79.1:7100"));
    }

    #[test]
    fn continuations_join_and_lines_may_end_with_lf() {
        let (block, _) =
            read(b"GNUTELLA CONNECT/0.6\nX-Try: 1.2.3.4:1,\n\t5.6.7.8:2\nA:b\n\n").unwrap().unwrap();
        assert_eq!(block.headers.items("X-Try").collect::<Vec<_>>(), ["1.2.3.4:1", "5.6.7.8:2"]);
        assert_eq!(block.headers.get("a"), Some("b"));
    }

    #[test]
    fn each_way_to_be_wrong_is_told_at_once() {
        assert_eq!(read(b"SSH-2.0-x").unwrap_err(), Error::Unknown);
        assert_eq!(read(b"\r\n").unwrap_err(), Error::Unknown);
        assert_eq!(read(b"\x16\x03\x01").unwrap_err(), Error::Tls);
        assert_eq!(read(b"GNUTELLA HELLO\r\n\r\n").unwrap_err(), Error::Start);
        assert_eq!(read(b"GNUTELLA/0.6 2x0 OK\r\n\r\n").unwrap_err(), Error::Start);
        assert_eq!(read(b"GET /\r\n\r\n").unwrap_err(), Error::Start);
        assert_eq!(read(b"GIV 1:abc/file\n\n").unwrap_err(), Error::Start);
        assert_eq!(read(b"GET / HTTP/1.1\r\nA: b\r\nno colon\r\n\r\n").unwrap_err(), Error::Header(3));
        assert_eq!(read(b"GET / HTTP/1.1\r\n continued\r\n\r\n").unwrap_err(), Error::Header(2));
        assert_eq!(read(b"GET / HTTP/1.1\r\nA b: c\r\n\r\n").unwrap_err(), Error::Header(2));
        assert_eq!(read(b"GNUT"), Ok(None));
    }

    #[test]
    fn an_endless_block_is_cut_off() {
        let mut reader = Reader::new(100, 10);
        assert_eq!(reader.push(b"GET / HTTP/1.1\r\n"), Ok(None));
        let error = (0..20).find_map(|_| reader.push(b"A: b\r\n").err());
        assert_eq!(error, Some(Error::TooManyLines(10)));
        let mut reader = Reader::new(100, 10);
        let error = (0..200).find_map(|n| reader.push(if n == 0 { b"GET " } else { b"xxxx" }).err());
        assert_eq!(error, Some(Error::TooLong(100)));
        assert!(reader.held_bytes() <= 100);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pairs in vec(("[A-Za-z][A-Za-z-]{0,12}", "[!-~]([ -~]{0,30}[!-~])?"), 0..20), code in 100..1000_u16, size in 1..50_usize) {
            let writer = pairs.iter().fold(Writer::status(code, "why not"), |w, (name, value)| w.header(name, value));
            let bytes = writer.finish();
            let mut reader = Reader::default();
            let blocks: Vec<_> = bytes.chunks(size).filter_map(|c| reader.push(c).unwrap()).collect();
            prop_assert_eq!(blocks.len(), 1);
            let read: Vec<_> = blocks[0].0.headers.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(read, pairs);
        }

        #[test]
        fn any_bytes_are_read_without_panic_and_within_bounds(opening in 0..7_usize, bytes in vec(prop_oneof![2 => any::<u8>(), 1 => Just(b'\n'), 1 => Just(b':'), 1 => Just(b' ')], 0..400), size in 1..64_usize) {
            let start: &[u8] = [&b""[..], b"GNUTELLA CONNECT/", b"GNUTELLA/0.6 ", b"GET ", b"HEAD / HTTP/1.1\n", b"GIV ", b"HTTP/1"][opening];
            let mut reader = Reader::new(300, 20);
            for piece in [start, &bytes].concat().chunks(size) {
                prop_assert!(reader.held_bytes() <= 300);
                if reader.push(piece).is_err() { break }
            }
        }
    }
}
