//! One overlay relation of a raw peer: a thread reads and answers, anyone writes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::{ZlibDecoder, ZlibEncoder};

use super::handshake::{Agreed, Headers};
use super::{Core, transfer};
use crate::wait::PATIENCE;
use crate::wire::{self, Guid, Hit, Message, Patcher, Push, Query, kind};

/// Most messages that a link keeps for the test to look at.
const INBOX_MAX: usize = 200_000;
/// Most bytes of one read.
const READ: usize = 16_384;

/// A relation. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Link {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    stream: TcpStream,
    theirs: Headers,
    compressed: (bool, bool),
    writer: Mutex<Writer>,
    inbox: Mutex<Inbox>,
    arrived: Condvar,
}

#[derive(Debug)]
enum Writer {
    Plain(TcpStream),
    Deflate(ZlibEncoder<TcpStream>),
}

#[derive(Debug, Default)]
struct Inbox {
    messages: Vec<Message>,
    table: Patcher,
    /// Why nothing comes any more.
    closed: Option<String>,
}

impl Link {
    pub(super) fn start(
        core: &Arc<Core>,
        stream: TcpStream,
        agreed: Agreed,
        rest: Vec<u8>,
    ) -> io::Result<Self> {
        let out = stream.try_clone()?;
        let writer = if agreed.we_deflate {
            Writer::Deflate(ZlibEncoder::new(out, Compression::fast()))
        } else {
            Writer::Plain(out)
        };
        stream.set_read_timeout(None)?;
        let reading = stream.try_clone()?;
        let link = Self {
            inner: Arc::new(Inner {
                stream,
                theirs: agreed.theirs,
                compressed: (agreed.we_deflate, agreed.they_deflate),
                writer: Mutex::new(writer),
                inbox: Mutex::default(),
                arrived: Condvar::new(),
            }),
        };
        let (core, theirs) = (Arc::clone(core), link.clone());
        std::thread::Builder::new().name("raw-peer-link".to_owned()).spawn(move || {
            let why = match theirs.read_on(&core, reading, rest, agreed.they_deflate) {
                Ok(()) => "ended".to_owned(),
                Err(error) => error.to_string(),
            };
            theirs.inner.inbox.lock().expect("no thread panics with it").closed = Some(why);
            theirs.inner.arrived.notify_all();
        })?;
        Ok(link)
    }

    /// What the other side said in the handshake.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.inner.theirs
    }

    /// Whether we deflate, and whether they do.
    #[must_use]
    pub fn compressed(&self) -> (bool, bool) {
        self.inner.compressed
    }

    /// Our end's address.
    ///
    /// # Errors
    /// Where the socket is gone.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.inner.stream.local_addr()
    }

    /// Sends a message.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub fn send(&self, message: &Message) -> io::Result<()> {
        self.send_bytes(&message.encode())
    }

    /// Sends bytes, whatever they are.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        match &mut *self.inner.writer.lock().expect("no thread panics with it") {
            Writer::Plain(stream) => stream.write_all(bytes),
            Writer::Deflate(zlib) => {
                zlib.write_all(bytes)?;
                zlib.flush()
            }
        }
    }

    /// Ends the relation without a word.
    pub fn close(&self) {
        // Fails where the other side was faster.
        self.inner.stream.shutdown(Shutdown::Both).ok();
    }

    /// The first message so far for which `wanted` holds; waits for one.
    ///
    /// # Panics
    /// Where none comes in time or the link ends; the message says what came instead.
    pub fn expect(&self, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        match self.find(PATIENCE, wanted) {
            Ok(message) => message,
            Err(why) => panic!("no {what}: {why}"),
        }
    }

    /// The first hit that answers the query with this GUID; waits for one.
    ///
    /// # Panics
    /// Where none comes in time, or it cannot be read.
    pub fn expect_hit(&self, query: Guid) -> Hit {
        let message = self.expect("hit", |m| m.kind == kind::HIT && m.guid == query);
        Hit::decode(&message.payload).expect("a well-formed hit")
    }

    /// The first message so far for which `wanted` holds; waits for one at most `limit`.
    ///
    /// # Errors
    /// Where none comes in time or the link ends: what came instead.
    pub fn find(&self, limit: Duration, wanted: impl Fn(&Message) -> bool) -> Result<Message, String> {
        let end = Instant::now() + limit;
        let mut inbox = self.inner.inbox.lock().expect("no thread panics with it");
        let mut seen = 0;
        loop {
            if let Some(found) = inbox.messages[seen..].iter().find(|m| wanted(m)) {
                return Ok(found.clone());
            }
            seen = inbox.messages.len();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || inbox.closed.is_some() {
                let kinds: Vec<String> = inbox.messages.iter().map(|m| format!("{:02x}", m.kind)).collect();
                return Err(format!("link {:?}, messages so far: {}", inbox.closed, kinds.join(" ")));
            }
            inbox = self.inner.arrived.wait_timeout(inbox, left).expect("no thread panics with it").0;
        }
    }

    /// All messages so far of one kind.
    #[must_use]
    pub fn received(&self, kind: u8) -> Vec<Message> {
        let inbox = self.inner.inbox.lock().expect("no thread panics with it");
        inbox.messages.iter().filter(|m| m.kind == kind).cloned().collect()
    }

    /// Whether the other side's query routing table, if it sent one, has this word.
    #[must_use]
    pub fn table_has(&self, word: &str) -> bool {
        self.inner.inbox.lock().expect("no thread panics with it").table.has(word)
    }

    /// Why the link has ended, if it has.
    #[must_use]
    pub fn closed(&self) -> Option<String> {
        self.inner.inbox.lock().expect("no thread panics with it").closed.clone()
    }

    /// Proves that the other side is alive and has handled all that was sent before: a ping and its pong.
    ///
    /// # Panics
    /// Where no pong comes.
    pub fn ping(&self, guid: Guid) -> Message {
        self.send(&Message::new(guid, kind::PING, 1, Vec::new())).expect("a link that is up");
        self.expect("pong", |m| m.kind == kind::PONG && m.guid == guid)
    }

    fn read_on(
        &self,
        core: &Arc<Core>,
        mut stream: TcpStream,
        rest: Vec<u8>,
        inflating: bool,
    ) -> io::Result<()> {
        let mut inflater = inflating.then(|| ZlibDecoder::new(Vec::new()));
        let mut pending = Vec::new();
        let mut chunk = rest;
        loop {
            match &mut inflater {
                Some(zlib) => {
                    zlib.write_all(&chunk)?;
                    zlib.flush()?;
                    pending.append(zlib.get_mut());
                }
                None => pending.extend_from_slice(&chunk),
            }
            let mut used = 0;
            while let Some((message, len)) = Message::decode(&pending[used..]).map_err(io::Error::other)? {
                used += len;
                // Seen before it is answered: who gets the answer may look at once.
                self.keep(&message).map_err(io::Error::other)?;
                self.react(core, &message)?;
            }
            pending.drain(..used);
            chunk.resize(READ, 0);
            match stream.read(&mut chunk)? {
                0 => return Ok(()),
                n => chunk.truncate(n),
            }
        }
    }

    /// Keeps a message for the test to look at.
    fn keep(&self, message: &Message) -> Result<(), String> {
        let mut inbox = self.inner.inbox.lock().expect("no thread panics with it");
        if inbox.messages.len() == INBOX_MAX {
            return Err("more messages than a test looks at".to_owned());
        }
        if message.kind == kind::QRP {
            inbox.table.take(&message.payload)?;
        }
        inbox.messages.push(message.clone());
        self.inner.arrived.notify_all();
        Ok(())
    }

    /// What a peer does by itself: pongs, hits, pushes.
    fn react(&self, core: &Arc<Core>, message: &Message) -> io::Result<()> {
        match message.kind {
            kind::PING if core.config.answers_pings => {
                let files = core.config.files.len() as u32;
                let pong = wire::pong(core.address, files, files);
                self.send(&Message::new(message.guid, kind::PONG, message.hops + 1, pong))
            }
            kind::QUERY => {
                let hit = Query::decode(&message.payload).and_then(|q| core.answer(&q));
                hit.map_or(Ok(()), |hit| {
                    self.send(&Message::new(message.guid, kind::HIT, message.hops + 2, hit.encode()))
                })
            }
            kind::PUSH => match Push::decode(&message.payload) {
                Some(push) if push.servent == core.guid => transfer::push(core, &push),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
