//! One question and one answer on a stream of its own, between any two nodes.

use std::sync::{OnceLock, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use minicbor::{Decode, Encode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::mesh::admission::Admission;
use crate::mesh::streams::Stream;
use crate::mesh::trust::{May, Peer};
use crate::mesh::wire;
use crate::problem::Problem;
use crate::proxylet::fetch::CODE_BYTES_MAX;

/// Bytes of a question.
pub const QUESTION_BYTES_MAX: usize = 1 << 20;
/// Bytes of an answer with code and its signatures.
pub const CODE_ANSWER_BYTES_MAX: u64 = CODE_BYTES_MAX + (1 << 20);
/// Bytes of any other answer.
pub const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// How long a question may take to come, and the next piece of an answer.
const PIECE: Duration = Duration::from_secs(30);
/// How long the whole of an answer may take to be taken.
const TAKEN: Duration = Duration::from_secs(600);
/// Answers with code, each of which is in memory, that are given at one time.
const CODES_MAX: usize = 8;
/// How long a node may take to answer: it may have to fetch and compile.
const ANSWER: Duration = Duration::from_secs(300);

/// What the rest of the node answers to other nodes.
pub trait Local: Send + Sync {
    /// Answers a question of a peer that may ask it.
    ///
    /// # Errors
    /// Why not; it is told to the peer.
    fn answer<'a>(
        &'a self,
        peer: &'a Peer,
        question: Question,
    ) -> BoxFuture<'a, Result<Vec<u8>, Box<Problem>>>;

    /// What is offered here: services that run, and digests of code that is kept.
    fn offers(&self) -> Offers;
}

/// What a node offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// Services that run.
    pub services: Vec<String>,
    /// Code by its SHA-256.
    pub digests: Vec<[u8; 32]>,
}

/// A question and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What is there to know of you? See [`super::views::NodeFacts`].
    Facts,
    /// The code with this SHA-256, and its signatures.
    Code([u8; 32]),
    /// Run this service; an order as JSON.
    Place(Vec<u8>),
    /// May I go on running this service? A lease as JSON.
    Lease(Vec<u8>),
    /// Where does a service run that one of mine is linked to? A lease and a name, as JSON.
    WhereIs(Vec<u8>),
    /// Hand this to a service of yours.
    Message(Vec<u8>),
    /// Run this service no longer; a lease as JSON.
    Withdraw(Vec<u8>),
    /// Do this to the service that I have placed with you; an operation as JSON.
    Operate(Vec<u8>),
    /// How is the service that I have placed with you? A lease as JSON.
    Status(Vec<u8>),
}

impl Question {
    fn name(&self) -> &'static str {
        match self {
            Self::Facts => "facts",
            Self::Code(_) => "code",
            Self::Place(_) => "place",
            Self::Lease(_) => "lease",
            Self::WhereIs(_) => "where",
            Self::Message(_) => "message",
            Self::Withdraw(_) => "withdraw",
            Self::Operate(_) => "operate",
            Self::Status(_) => "status",
        }
    }

    fn of(name: &str, body: Vec<u8>) -> Option<Self> {
        Some(match name {
            "facts" => Self::Facts,
            "code" => Self::Code(body.try_into().ok()?),
            "place" => Self::Place(body),
            "lease" => Self::Lease(body),
            "where" => Self::WhereIs(body),
            "message" => Self::Message(body),
            "withdraw" => Self::Withdraw(body),
            "operate" => Self::Operate(body),
            "status" => Self::Status(body),
            _ => return None,
        })
    }

    fn body(&self) -> &[u8] {
        match self {
            Self::Facts => &[],
            Self::Code(digest) => digest,
            Self::Place(body)
            | Self::Lease(body)
            | Self::WhereIs(body)
            | Self::Message(body)
            | Self::Withdraw(body)
            | Self::Operate(body)
            | Self::Status(body) => body,
        }
    }

    /// Bytes of the answer.
    fn answer_bytes_max(&self) -> u64 {
        if let Self::Code(_) = self { CODE_ANSWER_BYTES_MAX } else { ANSWER_BYTES_MAX }
    }

    /// What the asker's domain must be allowed.
    fn needs(&self) -> Option<May> {
        match self {
            // Whoever asks for a lease was given the service by this node; how a service is, only who has placed it is told.
            Self::Facts | Self::Lease(_) | Self::WhereIs(_) | Self::Status(_) => None,
            Self::Place(_) | Self::Withdraw(_) | Self::Operate(_) => Some(May::Place),
            Self::Code(_) => Some(May::Fetch),
            Self::Message(_) => Some(May::Stream),
        }
    }

    /// What it is about, as far as a policy is told: the service, or the code's digest.
    fn about(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Named {
            name: String,
        }
        #[derive(serde::Deserialize)]
        struct To {
            to: String,
        }
        // What is not understood is refused by whoever answers.
        match self {
            Self::Facts => String::new(),
            Self::Code(digest) => data_encoding::HEXLOWER.encode(digest),
            Self::Place(body)
            | Self::Lease(body)
            | Self::Withdraw(body)
            | Self::Operate(body)
            | Self::Status(body) => {
                serde_json::from_slice::<Named>(body).map(|named| named.name).unwrap_or_default()
            }
            Self::Message(body) | Self::WhereIs(body) => {
                serde_json::from_slice::<To>(body).map(|named| named.to).unwrap_or_default()
            }
        }
    }

    /// The service name that a stream for it is opened with.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.name()
    }
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Asked {
    #[cbor(n(0), with = "minicbor::bytes")]
    body: Vec<u8>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Answered {
    /// Whether it was done; the body is the answer or a [`Problem`] as JSON.
    #[n(0)]
    done: bool,
    /// Bytes of the body, which follow the message.
    #[n(1)]
    len: u64,
}

/// Who answers.
pub(super) struct Requests {
    local: OnceLock<Weak<dyn Local>>,
    codes: Semaphore,
}

impl Default for Requests {
    fn default() -> Self {
        Self { local: OnceLock::new(), codes: Semaphore::new(CODES_MAX) }
    }
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Requests")
    }
}

impl Requests {
    /// Has the rest of the node answer from now on.
    pub(super) fn answer_with(&self, local: Weak<dyn Local>) {
        // There is one node around a mesh.
        let _ = self.local.set(local);
    }

    pub(super) fn offers(&self) -> Offers {
        self.local.get().and_then(Weak::upgrade).map(|local| local.offers()).unwrap_or_default()
    }

    /// Answers one question.
    pub(super) async fn answer(&self, admission: &Admission, name: &str, mut stream: Stream) {
        let asked = timeout(PIECE, wire::read::<Asked>(&mut stream.io, QUESTION_BYTES_MAX)).await;
        let Ok(Ok(asked)) = asked else { return };
        let mut room = None;
        let answer = match Question::of(name, asked.body) {
            None => Err(Problem::new("no-such-question", 404, "this version does not know the question")),
            Some(question) => {
                let needs = question.needs();
                match needs.map_or(Ok(()), |may| admission.ask(&stream.peer, may, &question.about())) {
                    Err(why) => Err(Problem::new("not-allowed", 403, why).fix(
                        "have its operator allow it in the policy of the mesh (`mesh.policy`, `mesh.trust`)",
                    )),
                    Ok(()) if needs == Some(May::Fetch) && !self.has_room(&mut room) => {
                        Err(Problem::new("busy", 503, "too many nodes fetch code from this one")
                            .fix("try again soon"))
                    }
                    Ok(()) => match self.local.get().and_then(Weak::upgrade) {
                        Some(local) => local.answer(&stream.peer, question).await,
                        None => Err(Problem::new("ending", 503, "the node is ending")),
                    },
                }
            }
        };
        let (done, body) = match answer {
            Ok(body) => (true, body),
            Err(problem) => (false, serde_json::to_vec(&problem).unwrap_or_default()),
        };
        let head = Answered { done, len: body.len() as u64 };
        let work = async {
            wire::write(&mut stream.io, &head).await?;
            for piece in body.chunks(1 << 16) {
                timeout(PIECE, stream.io.write_all(piece)).await??;
            }
            stream.io.shutdown().await
        };
        // Who does not take the answer does not get it.
        let _: Result<std::io::Result<()>, _> = timeout(TAKEN, work).await;
    }

    /// Takes room for one more answer with code.
    fn has_room<'a>(&'a self, room: &mut Option<SemaphorePermit<'a>>) -> bool {
        *room = self.codes.try_acquire().ok();
        room.is_some()
    }
}

/// Asks a question on a stream that was opened for it.
///
/// # Errors
/// What the other node says, or that it says nothing.
pub(super) async fn ask(mut stream: Stream, question: &Question) -> Result<Vec<u8>, Box<Problem>> {
    let who = stream.peer.full_name();
    let broken = |e: &dyn std::fmt::Display| {
        Problem::new("mesh-broken-off", 502, format!("the answer of {who} broke off: {e}")).fix("try again")
    };
    let asked = Asked { body: question.body().to_vec() };
    wire::write(&mut stream.io, &asked).await.map_err(|e| broken(&e))?;
    let head = timeout(ANSWER, wire::read::<Answered>(&mut stream.io, 1024)).await;
    let head = head.map_err(|e| broken(&e))?.map_err(|e| broken(&e))?;
    if head.len > question.answer_bytes_max() {
        return Err(broken(&"it is too long"));
    }
    let mut body = Vec::new();
    let mut rest = (&mut stream.io).take(head.len);
    let mut piece = vec![0; 1 << 16];
    while (body.len() as u64) < head.len {
        let got =
            timeout(PIECE, rest.read(&mut piece)).await.map_err(|e| broken(&e))?.map_err(|e| broken(&e))?;
        if got == 0 {
            return Err(broken(&"it is not whole"));
        }
        body.extend_from_slice(&piece[..got]);
    }
    if head.done {
        return Ok(body);
    }
    Err(serde_json::from_slice::<Problem>(&body)
        .map(Box::new)
        .unwrap_or_else(|_| broken(&"it refused without a word")))
}
