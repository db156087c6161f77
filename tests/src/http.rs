//! As much HTTP as tests need: a client, and a server that gives out files.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Most bytes of a request that the server reads.
const REQUEST_MAX: usize = 16_384;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    pub body: Vec<u8>,
}

/// Asks for a path.
///
/// # Errors
/// Where the connection fails or what comes is not HTTP.
pub fn get(from: SocketAddr, path: &str) -> io::Result<Answer> {
    request(from, "GET", path, &[], &[])
}

/// Asks for something, with more headers (lines without their end) and a body.
///
/// # Errors
/// Where the connection fails or what comes is not HTTP.
pub fn request(
    from: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&from, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {from}\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    answer(&all)
}

fn answer(all: &[u8]) -> io::Result<Answer> {
    let wrong = |what: &str| io::Error::other(format!("{what} in {:?}", String::from_utf8_lossy(all)));
    let end = all.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(|| wrong("no end of headers"))?;
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let status =
        head.split_whitespace().nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| wrong("no status"))?;
    let body = &all[end + 4..];
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body).ok_or_else(|| wrong("broken chunks"))? } else { body.to_vec() };
    Ok(Answer { status, head, body })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(out);
        }
        out.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

/// How a [`Server`] gives out a file.
#[derive(Clone, Debug)]
pub enum Served {
    /// As it is.
    Whole(Vec<u8>),
    /// Its length is announced, and the connection ends after so many bytes.
    Truncated(Vec<u8>, usize),
}

/// A server that gives out files; gone when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    files: Mutex<HashMap<String, Served>>,
    requests: AtomicU32,
    over: AtomicBool,
}

impl Server {
    /// Starts on this address; port 0 lets the system choose.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub fn start(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            files: Mutex::default(),
            requests: AtomicU32::new(0),
            over: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name("http-server".to_owned()).spawn(move || {
            for stream in listener.incoming().flatten() {
                if theirs.over.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&theirs);
                // A client that goes away in the middle is its own affair.
                std::thread::spawn(move || shared.serve(stream).ok());
            }
        })?;
        Ok(Self { address, shared })
    }

    /// Gives out a file at a path that starts with a slash; its URL.
    ///
    /// # Panics
    /// Never: no thread panics with the lock.
    #[must_use]
    pub fn put(&self, path: &str, file: Served) -> String {
        self.shared.files.lock().expect("no thread panics with it").insert(path.to_owned(), file);
        format!("http://{}{path}", self.address)
    }

    /// How many requests have come.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(LIMIT))?;
        let mut got = Vec::new();
        let mut chunk = [0; 1_024];
        while !got.windows(4).any(|w| w == b"\r\n\r\n") {
            let n = stream.read(&mut chunk)?;
            if n == 0 || got.len() > REQUEST_MAX {
                return Ok(());
            }
            got.extend_from_slice(&chunk[..n]);
        }
        self.requests.fetch_add(1, Ordering::SeqCst);
        let line = String::from_utf8_lossy(&got);
        let path = line.split_whitespace().nth(1).unwrap_or_default();
        let file = self.files.lock().expect("no thread panics with it").get(path).cloned();
        let (announced, sent) = match &file {
            Some(Served::Whole(bytes)) => (bytes.len(), bytes.as_slice()),
            Some(Served::Truncated(bytes, n)) => (bytes.len(), &bytes[..*n]),
            None => {
                return stream
                    .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        };
        stream.write_all(
            format!("HTTP/1.1 200 OK\r\nContent-Length: {announced}\r\nConnection: close\r\n\r\n").as_bytes(),
        )?;
        stream.write_all(sent)?;
        stream.shutdown(Shutdown::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_can_be_got() {
        let server = Server::start(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        let url = server.put("/a.wasm", Served::Whole(b"hello".to_vec()));
        assert!(url.ends_with("/a.wasm"), "{url}");
        let answer = get(server.address, "/a.wasm").expect("an answer");
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hello"[..]));
        assert_eq!(get(server.address, "/b").expect("an answer").status, 404);
        assert_eq!(server.requests(), 2);
    }

    #[test]
    fn chunks_are_put_together() {
        let answer = answer(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n",
        );
        assert_eq!(answer.expect("an answer").body, b"abcde");
    }
}
