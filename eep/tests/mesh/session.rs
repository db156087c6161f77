//! Streams that outlive their way: taken up again by whoever began them, where they were broken off, and by nobody else.

use eep::mesh::authority::{Authority, Pair};
use eep::mesh::wire::{self, OPENING_BYTES_MAX, Opening, Purpose, Refusal, Reply};
use minicbor::{Decode, Encode};
use quinn::{RecvStream, SendStream};
use serde_json::json;

use crate::guest::probe;
use crate::node::{Domain, Node, done, until};
use crate::raw::Raw;

const TOKEN: [u8; 16] = [42; 16];
const DATA: u8 = 0;
const TAKEN: u8 = 1;
const RESET: u8 = 3;

#[derive(Encode)]
#[cbor(map)]
struct Attach {
    #[cbor(n(0), with = "minicbor::bytes")]
    token: [u8; 16],
    #[n(1)]
    received: u64,
}

#[derive(Decode)]
#[cbor(map)]
struct Attached {
    #[n(0)]
    received: Option<u64>,
}

/// One channel of a session, by hand.
struct Channel {
    send: SendStream,
    recv: RecvStream,
}

/// What the node answers to an opening.
async fn answer(raw: &Raw, opening: &Opening) -> u32 {
    let (mut send, mut recv) = raw.connection.open_bi().await.unwrap();
    wire::write(&mut send, opening).await.unwrap();
    wire::read::<Reply>(&mut recv, OPENING_BYTES_MAX).await.unwrap().code
}

impl Channel {
    /// None where the node refuses.
    async fn open(raw: &Raw, purpose: Purpose, received: u64) -> Option<Self> {
        let (mut send, mut recv) = raw.connection.open_bi().await.unwrap();
        wire::write(&mut send, &Opening::to(purpose, None, Some("probe".to_owned()))).await.unwrap();
        let reply: Reply = wire::read(&mut recv, OPENING_BYTES_MAX).await.unwrap();
        if reply.code != 0 {
            return None;
        }
        wire::write(&mut send, &Attach { token: TOKEN, received }).await.unwrap();
        Some(Self { send, recv })
    }

    async fn attached(&mut self) -> Option<u64> {
        wire::read::<Attached>(&mut self.recv, OPENING_BYTES_MAX).await.unwrap().received
    }

    async fn say(&mut self, offset: u64, words: &[u8]) {
        let len = (8 + words.len()) as u16;
        let frame = [&[DATA][..], &len.to_be_bytes(), &offset.to_be_bytes(), words].concat();
        self.send.write_all(&frame).await.unwrap();
    }

    async fn frame(&mut self) -> (u8, u64, Vec<u8>) {
        let mut head = [0; 3];
        self.recv.read_exact(&mut head).await.unwrap();
        let mut body = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
        self.recv.read_exact(&mut body).await.unwrap();
        (head[0], u64::from_be_bytes(body[..8].try_into().unwrap()), body[8..].to_vec())
    }

    /// What the service says, up to so many bytes, from this place of its stream on.
    async fn hear(&mut self, mut offset: u64, bytes: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        while heard.len() < bytes {
            let (kind, at, words) = self.frame().await;
            if kind == DATA {
                assert_eq!(at, offset, "bytes of the wrong place");
                offset += words.len() as u64;
                heard.extend(words);
            } else {
                assert_eq!(kind, TAKEN);
            }
        }
        heard
    }
}

pub(crate) fn pair(domain: &Domain, name: &str) -> Pair {
    Authority::read(&domain.ca(), &domain.ca_key()).unwrap().certify(name).unwrap()
}

fn serving(domain: &Domain) -> Node {
    let node = domain.node_with("edge", json!({ "serve": ["probe"] }));
    std::fs::write(node.dir.path().join("probe.wasm"), probe()).unwrap();
    let digest = eep::proxylet::digest::Digest::of(&probe()).to_string();
    done(&node.eep(&["load", "probe.wasm", "--sha256", &digest, "--name", "probe"]));
    node
}

#[test]
fn a_session_goes_on_where_it_was_broken_off_for_who_began_it_alone() {
    let domain = Domain::new("isp-a");
    let node = serving(&domain);
    let (mine, other) = (pair(&domain, "mine"), pair(&domain, "other"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let raw = runtime.block_on(Raw::honest(node.mesh(), &mine));
    let mut first =
        until("the service takes streams", || runtime.block_on(Channel::open(&raw, Purpose::Session, 0)));
    runtime.block_on(async {
        first.say(0, b"Ehello").await;
        assert_eq!(first.hear(0, 5).await, b"hello");
        drop(first);

        let stranger = Raw::honest(node.mesh(), &other).await;
        let mut stolen = Channel::open(&stranger, Purpose::Resume, 0).await.unwrap();
        assert_eq!(stolen.attached().await, None, "a session is its beginner's");

        // Two bytes of the answer are said to be lost: they come again, and nothing else does.
        let mut second = Channel::open(&raw, Purpose::Resume, 3).await.unwrap();
        assert_eq!(second.attached().await, Some(6), "what was taken");
        assert_eq!(second.hear(3, 2).await, b"lo");
        // A new channel takes the place of one that may not be dead yet.
        let mut third = Channel::open(&raw, Purpose::Resume, 5).await.unwrap();
        assert_eq!(third.attached().await, Some(6));
        third.say(6, b"Eagain").await;
        assert_eq!(third.hear(5, 5).await, b"again");
        // Bytes of a place that was passed already end the session.
        third.say(6, b"Eagain").await;
        while third.frame().await.0 != RESET {}
        let mut fourth = Channel::open(&raw, Purpose::Resume, 10).await.unwrap();
        assert_eq!(fourth.attached().await, None, "it is over");
    });
    until("it is counted", || (node.figure("eep_mesh_streams_broken_total") >= 1.0).then_some(()));
}

#[test]
fn another_domain_opens_and_passes_on_no_more_than_it_may() {
    let [own, guest, stranger] = ["isp-a", "isp-b", "isp-c"].map(Domain::new);
    let trust = json!([{"ca": guest.ca(), "may": ["stream"]}, {"ca": stranger.ca(), "may": []}]);
    let node = own.node_with("edge", json!({ "trust": trust }));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let elsewhere = Some(topology::NodeId::of_public_key(b"elsewhere"));
    let ends_here = Opening::to(Purpose::Session, None, Some("edge".to_owned()));
    let passes_on = Opening::to(Purpose::Session, elsewhere, Some("edge".to_owned()));
    let answers = runtime.block_on(async {
        let mut answers = Vec::new();
        for domain in [&own, &guest, &stranger] {
            let raw = Raw::honest(node.mesh(), &pair(domain, "peer")).await;
            answers.push([answer(&raw, &ends_here).await, answer(&raw, &passes_on).await]);
        }
        answers
    });
    let [no_route, not_allowed, no_service] =
        [Refusal::NoRoute, Refusal::NotAllowed, Refusal::NoService].map(Refusal::number);
    // One that passes nothing on for them says no more than that there is no way through it.
    let wanted = [[no_service, no_route], [no_service, no_route], [not_allowed, no_route]];
    assert_eq!(answers, wanted);
    until("three refusals", || (node.refused("stream-not-allowed") == 3.0).then_some(()));
}
