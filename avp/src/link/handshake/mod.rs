//! From the first byte of a connection to agreed [`Terms`].
//!
//! Gnutella 0.6 has three legs, each a line and a block of headers: who connects says who it is, the other answers
//! with a status and who it is, the first confirms. What one side offers with `Accept-Encoding` the other takes up
//! with `Content-Encoding`, each direction by itself. Gnutella 0.4 has two lines: `GNUTELLA CONNECT/0.4` and
//! `GNUTELLA OK`; peers that speak it are answered, never dialled.
//!
//! | module | what |
//! | --- | --- |
//! | [`gate`] | the decisions that others take: may this peer come in, and as what? |
//! | [`hello`] | what a peer says of itself |
//! | [`identity`] | what we say of ourselves |

mod date;
pub mod gate;
pub mod hello;
pub mod identity;

use std::net::SocketAddr;
use std::time::Duration;

pub use gate::{Admission, CRAWL_INTERVAL, Census, Gate, Proposal, Refusal};
pub use hello::Hello;
pub use identity::{Identity, TRY_HOSTS_MAX};

use super::{Ending, Role, Terms};
use crate::gnutella::handshake::{Block, Error, Reader, Start};
use crate::gnutella::headers::{Headers, Version};
use crate::host::Instant;
use crate::state::{self, Damaged, Saved, Writer, saved};

/// A longer block of headers ends the handshake. Real peers' blocks have 250 to 750 bytes; lists of hosts make them
/// longer.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// A block with more lines ends the handshake. Real peers' blocks have up to 25.
pub const HEAD_LINES_MAX: usize = 64;
/// A handshake that takes longer is broken off.
pub const TIME_MAX: Duration = Duration::from_secs(20);
/// Of the hosts that a peer gives in `X-Try` and `X-Try-Ultrapeers`, so many are taken.
pub const LEARNT_HOSTS_MAX: usize = 32;
/// Our version of query routing between leaf and ultrapeer; gtk-gnutella leaves those who say more.
const QUERY_ROUTING: Version = Version::new(0, 2);
/// And between ultrapeers.
const ULTRAPEER_QUERY_ROUTING: Version = Version::new(0, 1);
/// What a peer is held to that says nothing of a maximum TTL.
const MAX_TTL_DEFAULT: u8 = 7;

/// One handshake under way.
#[derive(Debug)]
pub struct Handshake {
    remote: SocketAddr,
    deadline: Instant,
    stage: Stage,
    reader: Reader,
    learnt: Vec<SocketAddr>,
}

#[derive(Debug)]
enum Stage {
    /// Somebody connected: what do they want?
    Request,
    /// We connected and said who we are.
    Reply,
    /// We said yes: do they?
    Confirmation(Box<Agreed>),
    Over,
}

#[derive(Debug)]
struct Agreed {
    hello: Hello,
    role: Role,
    deflate: bool,
}

impl Saved for Box<Handshake> {
    fn save(&self, to: &mut Writer) {
        self.remote.save(to);
        self.deadline.save(to);
        self.stage.save(to);
        self.reader.save(to);
    }

    fn load(from: &mut state::Reader<'_>) -> Result<Self, Damaged> {
        // What was learnt was taken in the same call.
        let mut handshake = Handshake::new(Instant(0), from.load()?, Stage::Over);
        handshake.deadline = from.load()?;
        handshake.stage = from.load()?;
        handshake.reader.load(from)?;
        Ok(Box::new(handshake))
    }
}

saved!(Agreed { hello, role, deflate });

impl Saved for Stage {
    fn save(&self, to: &mut Writer) {
        match self {
            Self::Request => to.raw(&[0]),
            Self::Reply => to.raw(&[1]),
            Self::Confirmation(agreed) => {
                to.raw(&[2]);
                agreed.save(to);
            }
            Self::Over => to.raw(&[3]),
        }
    }

    fn load(from: &mut state::Reader<'_>) -> Result<Self, Damaged> {
        Ok(match from.array()? {
            [0] => Self::Request,
            [1] => Self::Reply,
            [2] => Self::Confirmation(Box::new(from.load()?)),
            [3] => Self::Over,
            _ => return Err(from.damaged()),
        })
    }
}

/// What a chunk has brought. Whatever it is: first send what was written to `out`.
#[derive(Debug)]
pub enum Progress<'b> {
    /// The handshake goes on.
    Waiting,
    /// It is done. `rest` are bytes that belong to the relation; where [`Terms::inflate`] is set they are compressed
    /// already ([`crate::Host::inflate`]), and where [`Terms::deflate`] is set what is sent from now on must be.
    Agreed {
        /// What was agreed.
        terms: Box<Terms>,
        /// What the chunk has beyond the handshake.
        rest: &'b [u8],
    },
    /// It is no handshake but an HTTP request: its head, and what follows.
    Http {
        /// The request's head; its start is [`Start::Request`].
        head: Block,
        /// What the chunk has beyond it.
        rest: &'b [u8],
    },
    /// It has failed; close the connection.
    Ended(Failure),
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For the metrics.
    pub ending: Ending,
    /// Where we refused: why.
    pub refusal: Option<Refusal>,
    /// Where the peer refused: its status code.
    pub declined: Option<u16>,
}

impl From<Ending> for Failure {
    fn from(ending: Ending) -> Self {
        Self { ending, refusal: None, declined: None }
    }
}

impl Handshake {
    /// Somebody connected to us.
    #[must_use]
    pub fn accept(now: Instant, remote: SocketAddr) -> Self {
        Self::new(now, remote, Stage::Request)
    }

    /// We connected to somebody: writes our request to `out`.
    #[must_use]
    pub fn dial(now: Instant, remote: SocketAddr, identity: &Identity, out: &mut Vec<u8>) -> Self {
        identity.write_request(remote.ip(), out);
        Self::new(now, remote, Stage::Reply)
    }

    fn new(now: Instant, remote: SocketAddr, stage: Stage) -> Self {
        let deadline = now + TIME_MAX;
        Self {
            remote,
            deadline,
            stage,
            reader: Reader::new(HEAD_BYTES_MAX, HEAD_LINES_MAX),
            learnt: Vec::new(),
        }
    }

    /// When it must be done; after that, end it with [`Ending::HandshakeTimeout`].
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The other end.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Memory for the text that is unfinished, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.reader.held_bytes()
    }

    /// The slot that is held for the peer while it makes up its mind.
    #[must_use]
    pub fn reserved(&self) -> Option<Role> {
        match &self.stage {
            Stage::Confirmation(agreed) => Some(agreed.role),
            _ => None,
        }
    }

    /// The ultrapeers that the peer has told us of, once.
    pub fn take_learnt(&mut self) -> Vec<SocketAddr> {
        std::mem::take(&mut self.learnt)
    }

    /// Takes a chunk of what came in, and appends to `out` what is to be sent.
    pub fn receive<'b>(
        &mut self,
        chunk: &'b [u8],
        identity: &Identity,
        gate: &mut impl Gate,
        out: &mut Vec<u8>,
    ) -> Progress<'b> {
        let mut chunk = chunk;
        loop {
            let (head, used) = match self.reader.push(chunk) {
                Ok(Some(whole)) => whole,
                Ok(None) => return Progress::Waiting,
                Err(error) => return fail(unreadable(error)),
            };
            chunk = &chunk[used..];
            let progress = match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Request => self.request(head, chunk, identity, gate, out),
                Stage::Reply => self.reply(&head, chunk, identity, gate, out),
                Stage::Confirmation(agreed) => self.confirmation(&head, chunk, *agreed, identity),
                Stage::Over => fail(Ending::HandshakeMalformed),
            };
            if !matches!(progress, Progress::Waiting) {
                return progress;
            }
        }
    }
}

impl Handshake {
    /// The opening of somebody who connected to us.
    fn request<'b>(
        &mut self,
        head: Block,
        rest: &'b [u8],
        identity: &Identity,
        gate: &mut impl Gate,
        out: &mut Vec<u8>,
    ) -> Progress<'b> {
        match head.start {
            Start::Connect(version) if version < Version::new(0, 6) => self.old_request(rest, gate, out),
            Start::Connect(_) => self.modern_request(Hello::read(&head.headers), identity, gate, out),
            Start::Request { .. } => Progress::Http { head, rest },
            _ => fail(Ending::NotGnutella),
        }
    }

    /// `GNUTELLA CONNECT/0.4`: all that can be said is yes, or nothing.
    fn old_request<'b>(&mut self, rest: &'b [u8], gate: &mut impl Gate, out: &mut Vec<u8>) -> Progress<'b> {
        let hello = Hello::default();
        match gate.judge(&self.proposal(false, &hello)) {
            Ok(_) => {
                out.extend_from_slice(b"GNUTELLA OK\n\n");
                agreed(Agreed { hello, role: Role::Old, deflate: false }, false, false, rest)
            }
            Err(refusal) => refused(refusal),
        }
    }

    fn modern_request<'b>(
        &mut self,
        hello: Hello,
        identity: &Identity,
        gate: &mut impl Gate,
        out: &mut Vec<u8>,
    ) -> Progress<'b> {
        let ip = self.remote.ip();
        if hello.crawler {
            let Some(census) = gate.census(ip) else {
                return self.refuse(Refusal::AskedTooOften, identity, gate, out);
            };
            identity.write_census(&census, out);
            return fail(Ending::Crawled);
        }
        match gate.judge(&self.proposal(false, &hello)) {
            Ok(Admission { role, ultrapeer_needed }) => {
                let deflate = identity.compression && hello.accepts_deflate;
                let needed = ultrapeer_needed && role == hello.role();
                let mut tries = Vec::new();
                gate.ultrapeers_to_try(&mut tries);
                identity.write_welcome(ip, &hello, needed, deflate, &tries, out);
                self.stage = Stage::Confirmation(Box::new(Agreed { hello, role, deflate }));
                Progress::Waiting
            }
            Err(refusal) => self.refuse(refusal, identity, gate, out),
        }
    }

    /// The third leg of somebody whom we let in.
    fn confirmation<'b>(
        &mut self,
        head: &Block,
        rest: &'b [u8],
        mut deal: Agreed,
        identity: &Identity,
    ) -> Progress<'b> {
        let Start::Status { code, .. } = head.start else { return fail(Ending::HandshakeMalformed) };
        self.learn(&head.headers);
        if !is_success(code) {
            return declined(code);
        }
        let confirmed = Hello::read(&head.headers);
        if confirmed.sends_deflate && !identity.compression {
            return fail(Ending::HandshakeMalformed);
        }
        let proposed = deal.hello.role();
        if proposed == Role::Ultrapeer && confirmed.ultrapeer == Some(false) {
            // It was asked to become a leaf, or chose to.
            deal.role = Role::Leaf;
        } else if proposed != deal.role {
            return refused(Refusal::UltrapeersFull);
        }
        agreed(deal, false, confirmed.sends_deflate, rest)
    }

    /// The answer of somebody whom we dialled.
    fn reply<'b>(
        &mut self,
        head: &Block,
        rest: &'b [u8],
        identity: &Identity,
        gate: &mut impl Gate,
        out: &mut Vec<u8>,
    ) -> Progress<'b> {
        let Start::Status { code, .. } = head.start else { return fail(Ending::NotGnutella) };
        self.learn(&head.headers);
        if !is_success(code) {
            return declined(code);
        }
        let hello = Hello::read(&head.headers);
        if hello.sends_deflate && !identity.compression {
            return fail(Ending::HandshakeMalformed);
        }
        match gate.judge(&self.proposal(true, &hello)) {
            Ok(Admission { role, .. }) => {
                let deflate = identity.compression && hello.accepts_deflate;
                let inflate = hello.sends_deflate;
                identity.write_confirmation(deflate, out);
                agreed(Agreed { hello, role, deflate }, true, inflate, rest)
            }
            Err(refusal) => self.refuse(refusal, identity, gate, out),
        }
    }

    fn proposal<'h>(&self, dialled: bool, hello: &'h Hello) -> Proposal<'h> {
        Proposal { remote: self.remote, dialled, role: hello.role(), hello }
    }

    /// Takes the hosts that the peer names.
    fn learn(&mut self, headers: &Headers) {
        for name in ["X-Try-Ultrapeers", "X-Try"] {
            // Some write a date behind the address.
            let words = headers.items(name).filter_map(|host| host.split_whitespace().next());
            let hosts = words.filter_map(|host| host.parse::<SocketAddr>().ok());
            self.learnt.extend(hosts.take(LEARNT_HOSTS_MAX - self.learnt.len()));
        }
    }

    /// Says no, and whom to try instead.
    fn refuse<'b>(
        &self,
        refusal: Refusal,
        identity: &Identity,
        gate: &mut impl Gate,
        out: &mut Vec<u8>,
    ) -> Progress<'b> {
        let mut tries = Vec::new();
        gate.ultrapeers_to_try(&mut tries);
        identity.write_refusal(self.remote.ip(), refusal.code(), refusal.reason(), &tries, out);
        refused(refusal)
    }
}

fn agreed(deal: Agreed, dialled: bool, inflate: bool, rest: &[u8]) -> Progress<'_> {
    let Agreed { hello, role, deflate } = deal;
    let terms = Terms {
        role,
        dialled,
        inflate,
        deflate,
        max_ttl: hello.max_ttl.unwrap_or(MAX_TTL_DEFAULT).clamp(1, MAX_TTL_DEFAULT),
        degree: hello.degree.unwrap_or(0),
        features: hello.features,
        query_routing: hello.query_routing.map(|v| v.min(QUERY_ROUTING)),
        ultrapeer_query_routing: hello.ultrapeer_query_routing.map(|v| v.min(ULTRAPEER_QUERY_ROUTING)),
        user_agent: hello.user_agent.into(),
        listen: hello.listen,
        seen_as: hello.seen_as,
        guid: hello.guid,
    };
    Progress::Agreed { terms: Box::new(terms), rest }
}

fn unreadable(error: Error) -> Ending {
    match error {
        Error::Unknown | Error::Tls => Ending::NotGnutella,
        Error::TooLong(_) | Error::TooManyLines(_) => Ending::HandshakeTooLong,
        Error::Start | Error::Header(_) => Ending::HandshakeMalformed,
    }
}

fn is_success(code: u16) -> bool {
    (200..300).contains(&code)
}

fn fail<'b>(ending: Ending) -> Progress<'b> {
    Progress::Ended(ending.into())
}

fn refused<'b>(refusal: Refusal) -> Progress<'b> {
    Progress::Ended(Failure { ending: Ending::Refused, refusal: Some(refusal), declined: None })
}

fn declined<'b>(code: u16) -> Progress<'b> {
    Progress::Ended(Failure { ending: Ending::Declined, refusal: None, declined: Some(code) })
}

#[cfg(test)]
mod tests;
