//! Policy plane of the application layer: who may join, and which messages may pass.
//!
//! Two have a say: the lists of the configuration ([`Access`]), and the [`Policy`] of the shell, where it has one. The
//! latter is not asked about each message. Once about each peer it says what is settled, whatever the peer sends;
//! messages that it must see wait for the end of the batch and are decided together.

use std::net::IpAddr;
use std::time::Duration;

use super::forward::Forward;
use crate::config::Config;
use crate::gnutella::Kind;
use crate::gnutella::hit::QueryHit;
use crate::gnutella::huge::Sha1;
use crate::gnutella::query::Query;
use crate::host::ConnId;

/// What the shell decides: the policy of the operator.
pub trait Policy {
    /// The generation in force; 0 for none.
    fn generation(&mut self) -> u64;

    /// Says who peers are, and learns what is settled about them: [`RIGHTS`] decisions for each, one inbound and one
    /// outbound for each kind of message, by [`Message::right`].
    fn meet(&mut self, peers: &[Peer<'_>]) -> Answer;

    /// Decides questions, one decision each. They are counted.
    fn decide(&mut self, questions: &Questions) -> Answer;

    /// What it says of routes and neighbours as a whole; nothing unless given.
    fn plan(&mut self) -> Plan {
        Plan::default()
    }

    /// In which regions peers are, one answer each: asked where [`Plan::regions`] says so.
    fn regions(&mut self, conns: &[ConnId]) -> Vec<Region> {
        let _ = conns;
        Vec::new()
    }

    /// Hears how links do, where [`Plan::links`] says so. Answers what each costs, as far as the policy says.
    fn measured(&mut self, links: &[Measured]) -> Vec<Option<f64>> {
        let _ = links;
        Vec::new()
    }

    /// Decides where queries go, one decision each: asked where [`Plan::routes`] says so. They are counted.
    fn route(&mut self, questions: &Questions) -> Answer {
        let _ = questions;
        Answer::default()
    }

    /// What such a decision is, by its outcome; none where standard rules hold.
    fn forward(&mut self, outcome: u32) -> Option<Forward> {
        let _ = outcome;
        None
    }

    /// Settled decisions that were made use of: outcomes and how often.
    fn used(&mut self, generation: u64, outcomes: &[u32], counts: &[u64]);
}

/// What a policy says of routes and neighbours as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Whether it decides where queries go.
    pub routes: bool,
    /// How many ultrapeer neighbours there are to be, within what the configuration lets be.
    pub degree: Option<Degree>,
    /// How many hops a query may go from its origin, within what the configuration lets it go.
    pub path_length: Option<u8>,
    /// Whether it asks in which regions peers are.
    pub regions: bool,
    /// Whether it asks how links do.
    pub links: bool,
}

/// Where a peer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Region {
    /// Where this peer is.
    Same,
    /// Elsewhere.
    Other,
    /// Nobody knows.
    #[default]
    Unknown,
}

/// How a link does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Its connection.
    pub conn: ConnId,
    /// The smoothed round trip of alive pings; none before the first was answered.
    pub round_trip: Option<Duration>,
    /// The share of alive pings that it loses, 0 to 1; none before the first could have been answered.
    pub loss: Option<f64>,
    /// How full its send queue is, 0 to 1.
    pub load: f64,
    /// Bytes a second on the busier of both ways.
    pub bytes_s: f64,
}

/// A number of neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Degree {
    /// Below it, neighbours are looked for...
    pub min: u32,
    /// ...until there are so many.
    pub target: u32,
    /// Above it none is let in, and those that are too many are given up.
    pub max: u32,
}

/// A peer, as far as its connection does not tell.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// Its connection.
    pub conn: ConnId,
    /// `leaf`, `ultrapeer`, or nothing.
    pub group: &'a str,
    /// What it calls itself.
    pub user_agent: &'a str,
}

/// What is to be done with a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    #[default]
    Go,
    /// Refuse, and say so where the protocol has words for it.
    Deny,
    /// Throw away.
    Drop,
    /// It depends on the message.
    Ask,
}

/// A verdict, and the number by which the policy knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is to be done.
    pub verdict: Verdict,
    /// The policy's number for it, counted with [`Policy::used`]; [`NO_OUTCOME`] for none.
    pub outcome: u32,
}

/// Stands for no outcome.
pub const NO_OUTCOME: u32 = u32::MAX;

impl Decision {
    /// Nothing is settled.
    pub const ASK: Self = Self { verdict: Verdict::Ask, outcome: NO_OUTCOME };
}

/// Decisions of one generation.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The generation; 0 where there is no policy, and then there are no decisions.
    pub generation: u64,
    /// In the order of what was asked.
    pub decisions: Vec<Decision>,
}

/// The kinds of message that policies know, by their numbers in the contract of `eep`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Message {
    Connect = 0,
    Ping = 1,
    Pong = 2,
    Query = 3,
    QueryHit = 4,
    Push = 5,
    RouteTable = 6,
    Vendor = 7,
    Bye = 8,
    Download = 9,
}

/// Kinds of message that the contract numbers.
const MESSAGES: usize = 13;
/// Decisions about one peer: each kind of message, both ways.
pub const RIGHTS: usize = MESSAGES * 2;

impl Message {
    /// What policies call a descriptor; none for those that they do not know.
    #[must_use]
    #[inline]
    pub const fn of(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::PING => Self::Ping,
            Kind::PONG => Self::Pong,
            Kind::QUERY => Self::Query,
            Kind::QUERY_HIT => Self::QueryHit,
            Kind::PUSH => Self::Push,
            Kind::QRP => Self::RouteTable,
            Kind::VENDOR | Kind::STANDARD_VENDOR => Self::Vendor,
            Kind::BYE => Self::Bye,
            _ => return None,
        })
    }

    /// Its place among the decisions about a peer.
    #[must_use]
    #[inline]
    pub const fn right(self, way: Way) -> usize {
        self as usize * 2 + way as usize
    }
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the peer.
    In = 0,
    /// To the peer.
    Out = 1,
}

/// What is settled about a peer, under one generation.
#[derive(Clone, Debug)]
pub struct Rights {
    generation: u64,
    decisions: [Decision; RIGHTS],
}

impl Rights {
    /// From the row of an answer; what is missing is not settled.
    #[must_use]
    pub fn new(generation: u64, row: &[Decision]) -> Self {
        let mut decisions = [Decision::ASK; RIGHTS];
        for (into, from) in decisions.iter_mut().zip(row) {
            *into = *from;
        }
        Self { generation, decisions }
    }

    /// What is settled about a kind of message; [`Decision::ASK`] under another generation.
    #[must_use]
    #[inline]
    pub fn of(&self, generation: u64, message: Message, way: Way) -> Decision {
        if self.generation == generation { self.decisions[message.right(way)] } else { Decision::ASK }
    }

    /// Whether they are of this generation.
    #[must_use]
    pub fn is_of(&self, generation: u64) -> bool {
        self.generation == generation
    }
}

/// Questions about messages, in columns: the i-th of each is about the i-th question.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Questions {
    pub conns: Vec<u64>,
    pub messages: Vec<u8>,
    pub directions: Vec<u8>,
    /// Which of the contents, from 1; 0 for none.
    pub contents: Vec<u32>,
    pub ttls: Vec<u8>,
    pub hops: Vec<u8>,
    /// Bytes of the message.
    pub sizes: Vec<u32>,
    /// Messages a second from the peer.
    pub rates: Vec<f64>,
    /// How much of `text` each content has.
    pub text_lens: Vec<u32>,
    pub text: Vec<u8>,
    /// 20 bytes each; zeros where it is not known.
    pub sha1s: Vec<u8>,
    /// Bytes of the file; the largest number where it is not known.
    pub file_sizes: Vec<u64>,
}

/// A message that is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The connection of the peer.
    pub conn: ConnId,
    /// Its kind.
    pub message: Message,
    /// From the peer, or to it.
    pub way: Way,
    /// Hops that it may still go.
    pub ttl: u8,
    /// Hops that it has gone.
    pub hops: u8,
    /// Messages a second from the peer.
    pub rate: f64,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Files of one hit that are asked about. Further ones are not looked at.
const FILES_MAX: usize = 255;
/// SHA-1s of one query that are asked about.
const SHA1S_MAX: usize = 8;

impl Questions {
    /// How many questions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// Forgets all of them; the memory is kept.
    pub fn clear(&mut self) {
        let Self { conns, messages, directions, contents, ttls, hops, sizes, rates, .. } = self;
        conns.clear();
        for column in [messages, directions, ttls, hops] {
            column.clear();
        }
        for column in [contents, sizes, &mut self.text_lens] {
            column.clear();
        }
        rates.clear();
        self.text.clear();
        self.sha1s.clear();
        self.file_sizes.clear();
    }

    /// Asks about a message: a question for each file that a hit offers and each SHA-1 that a query names, and at least
    /// one. The message may pass where all of them may. Answers how many questions it took.
    pub fn push(&mut self, asked: &Asked<'_>) -> usize {
        let before = self.len();
        match asked.message {
            Message::Query => {
                if let Some(query) = Query::parse(asked.payload) {
                    for sha1 in query.sha1s().take(SHA1S_MAX) {
                        let content = self.content(query.text, Some(sha1), None);
                        self.row(asked, content);
                    }
                    if self.len() == before {
                        let content = self.content(query.text, None, None);
                        self.row(asked, content);
                    }
                }
            }
            Message::QueryHit => {
                if let Some(hit) = QueryHit::parse(asked.payload) {
                    for record in hit.records().map_while(Result::ok).take(FILES_MAX) {
                        let content = self.content(record.name, record.sha1(), Some(record.size()));
                        self.row(asked, content);
                    }
                }
            }
            _ => {}
        }
        if self.len() == before {
            self.row(asked, 0);
        }
        self.len() - before
    }

    /// Asks about a file.
    pub fn push_file(&mut self, asked: &Asked<'_>, name: &str, sha1: Option<Sha1>) {
        let content = self.content(name.as_bytes(), sha1, None);
        self.row(asked, content);
    }

    fn content(&mut self, text: &[u8], sha1: Option<Sha1>, bytes: Option<u64>) -> u32 {
        self.text_lens.push(text.len() as u32);
        self.text.extend_from_slice(text);
        self.sha1s.extend_from_slice(&sha1.map_or([0; 20], |sha1| sha1.0));
        self.file_sizes.push(bytes.unwrap_or(u64::MAX));
        self.text_lens.len() as u32
    }

    fn row(&mut self, asked: &Asked<'_>, content: u32) {
        self.conns.push(asked.conn.0);
        self.messages.push(asked.message as u8);
        self.directions.push(asked.way as u8);
        self.contents.push(content);
        self.ttls.push(asked.ttl);
        self.hops.push(asked.hops);
        self.sizes.push(asked.payload.len() as u32);
        self.rates.push(asked.rate);
    }
}

/// The lists of the configuration.
#[derive(Clone, Debug)]
pub struct Access {
    deny_addresses: Vec<IpAddr>,
    deny_user_agents: Vec<String>,
}

impl Access {
    /// From the configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            deny_addresses: config.deny_addresses.clone(),
            deny_user_agents: config.deny_user_agents.clone(),
        }
    }

    /// Whether a peer at this address that calls itself so may join. `user_agent` is empty before it has said so.
    #[must_use]
    pub fn admits(&self, address: IpAddr, user_agent: &str) -> bool {
        let begins = |prefix: &String| {
            user_agent
                .as_bytes()
                .get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        !self.deny_addresses.contains(&address.to_canonical()) && !self.deny_user_agents.iter().any(begins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gnutella::{hit, query};

    #[test]
    fn listed_peers_are_kept_out() {
        let access = Access::new(&Config {
            deny_addresses: vec!["198.51.100.7".parse().unwrap()],
            deny_user_agents: vec!["BadShare/1".into()],
            ..Config::default()
        });
        let ok = |ip: &str, agent| access.admits(ip.parse().unwrap(), agent);
        assert!(ok("198.51.100.8", "GoodShare/1"));
        assert!(!ok("198.51.100.7", "GoodShare/1"));
        assert!(!ok("::ffff:198.51.100.7", "GoodShare/1"));
        assert!(!ok("198.51.100.8", "badshare/1.7"));
        assert!(ok("198.51.100.8", "BadShare"));
    }

    fn asked(message: Message, payload: &[u8]) -> Asked<'_> {
        Asked { conn: ConnId(7), message, way: Way::In, ttl: 4, hops: 1, rate: 2.0, payload }
    }

    #[test]
    fn each_file_of_a_hit_is_a_question_of_its_own() {
        let sha1 = Sha1([9; 20]);
        let payload = hit::Builder::new(*b"TEST", "192.0.2.1:6346".parse().unwrap(), 100)
            .file(1, 10, "a.mp3", Some(sha1))
            .file(2, 20, "bc.ogg", None)
            .finish(crate::gnutella::Guid([1; 16]));
        let mut questions = Questions::default();
        assert_eq!(questions.push(&asked(Message::QueryHit, &payload)), 2);
        assert_eq!(questions.push(&asked(Message::Push, &[])), 1);
        assert_eq!(questions.contents, [1, 2, 0]);
        assert_eq!((&questions.text[..], &questions.text_lens[..]), (&b"a.mp3bc.ogg"[..], &[5, 6][..]));
        assert_eq!(questions.file_sizes, [10, 20]);
        assert_eq!((&questions.sha1s[..20], &questions.sha1s[20..]), (&[9; 20][..], &[0; 20][..]));
        questions.clear();
        assert!(questions.is_empty() && questions.text.is_empty());
    }

    #[test]
    fn a_query_is_asked_about_by_its_words_and_its_urns() {
        let mut questions = Questions::default();
        let words = query::Builder::new("walrus").finish();
        let urns = query::Builder::new("").sha1(Sha1([1; 20])).sha1(Sha1([2; 20])).finish();
        assert_eq!(questions.push(&asked(Message::Query, &words)), 1);
        assert_eq!(questions.push(&asked(Message::Query, &urns)), 2);
        assert_eq!(questions.push(&asked(Message::Query, b"no query")), 1);
        assert_eq!(questions.contents, [1, 2, 3, 0]);
    }

    #[test]
    fn rights_hold_for_one_generation() {
        let go = Decision { verdict: Verdict::Go, outcome: 3 };
        let rights = Rights::new(5, &[go; 8]);
        assert_eq!(rights.of(5, Message::Connect, Way::Out), go);
        assert_eq!(rights.of(6, Message::Connect, Way::Out), Decision::ASK);
        assert_eq!(rights.of(5, Message::Bye, Way::In), Decision::ASK);
    }
}
