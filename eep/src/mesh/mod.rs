//! The mesh: QUIC between nodes with mutual TLS, and the driver of the `topology` crate. Off unless it is configured.
//!
//! ```text
//!  node A ──── one QUIC connection ──── node B          control: frames of Kademlia and SOAR
//!     │                                   │              streams: services' and questions, one QUIC stream each
//!     └─ driver: one task owns the core   └─ relays      streams to others, with TLS inside from end to end
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | [`authority`] | making a domain's CA and certificates |
//! | [`identity`] | this node's certificate and key |
//! | [`trust`] | whose certificates are believed |
//! | [`admission`] | what nodes of other domains may ask for |
//! | `verifier`, `seal` | the same in TLS, and over reports of measurements |
//! | `endpoint` | socket, QUIC, TLS |
//! | [`wire`] | what nodes say to each other |
//! | `link` | one connection |
//! | `core` | what is known, and what is done when something is heard |
//! | `driver` | the task that owns it |
//! | `throughput` | how much links carry, and how much is lost on them |
//! | `ways`, `rests` | which neighbour leads to a node best, and which ways were left of late |
//! | `tend` | what is done without being asked |
//! | `memory` | nodes that are remembered for the next start |
//! | [`streams`] | streams to other nodes, and through this one |
//! | `relay` | streams of others that pass through this node |
//! | `revocable` | streams that end where they are not allowed any more |
//! | [`session`] | services' streams, which outlive the way that they take |
//! | [`forward`] | services' streams, for programs that know TCP alone |
//! | [`requests`] | questions between nodes |
//! | `renewal` | the certificate, renewed and taken up again, and those of trusted CAs |
//! | [`views`], [`find`] | what operators and the API see |
//! | [`snapshot`] | the same for services |
//! | [`alto`] | the same for other software (RFC 7285) |
//! | [`figures`] | what was counted |

pub mod admission;
pub mod alto;
pub mod authority;
mod core;
mod driver;
mod endpoint;
pub mod figures;
pub mod find;
pub mod forward;
pub mod identity;
mod link;
mod memory;
mod relay;
mod renewal;
pub mod requests;
mod rests;
mod revocable;
mod seal;
pub mod session;
pub mod snapshot;
pub mod streams;
mod tend;
mod throughput;
pub mod trust;
mod verifier;
pub mod views;
mod ways;
pub mod wire;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant as Clock;
use topology::dht::{self, Dht, Key};
use topology::soar::{self, Soar};
use topology::{Contact, Instant, NodeId};

use crate::config::mesh::{MeshLink, Quota, TrustedDomain};
use crate::mesh::admission::Admission;
use crate::mesh::core::Core;
use crate::mesh::driver::{ASKS_MAX, Ask, Driver, HEARD_MAX, since};
use crate::mesh::endpoint::Tls;
use crate::mesh::figures::Figures;
use crate::mesh::identity::{Identity, IdentityFiles};
use crate::mesh::renewal::AuthorityFile;
use crate::mesh::requests::{Local, Question};
use crate::mesh::seal::Signer;
use crate::mesh::streams::{Stream, Streams};
use crate::mesh::trust::{Domains, Peer, SharedDomains, read_authorities};
use crate::mesh::wire::Purpose;
use crate::policy::service::ServicePolicy;
use crate::problem::Problem;

/// What a mesh is made of.
#[derive(Clone, Debug)]
pub struct MeshSettings {
    /// Where it listens, UDP.
    pub listen: SocketAddr,
    /// The domain that the node file names, if any; checked against the certificate's.
    pub domain: Option<String>,
    /// What the node is called: its certificate's word, filled in when the mesh starts.
    pub name: String,
    /// Nodes to join through, `HOST:PORT`.
    pub seeds: Vec<String>,
    /// Other domains.
    pub trust: Vec<TrustedDomain>,
    /// The policy that decides what their nodes may ask for, where the node file names one.
    pub policy: Option<PathBuf>,
    /// Certificate, key and CA.
    pub files: IdentityFiles,
    /// Where others reach this node, where its operator says so.
    pub advertise: Option<SocketAddr>,
    /// Prefixes whose users the node is to serve.
    pub prefixes: Vec<IpNet>,
    /// The round trip under which two nodes belong to one region.
    pub near: Option<Duration>,
    /// How long a placed service goes on without hearing from who placed it.
    pub lease: Duration,
    /// Addresses of this machine that stand for services on other nodes.
    pub links: Vec<MeshLink>,
    /// Services that take streams; `*` for all.
    pub serve: Vec<String>,
    /// How much others may place here.
    pub placed: Quota,
    /// The file in which nodes are remembered for the next start.
    pub remembered: PathBuf,
}

/// How long a placed service goes on without hearing from who placed it, unless told otherwise.
pub const LEASE: Duration = Duration::from_secs(15);

impl MeshSettings {
    /// The settings of a node file that wants a mesh; none where it wants none.
    #[must_use]
    pub fn of(file: &crate::config::NodeFile, data: &std::path::Path) -> Option<Self> {
        let listen = file.mesh_address()?;
        let section = file.mesh.clone().unwrap_or_default();
        let made = IdentityFiles::in_data(data);
        let or = |given: &Option<PathBuf>, made: PathBuf| given.clone().unwrap_or(made);
        Some(Self {
            listen,
            domain: file.node.domain.clone(),
            name: String::new(),
            seeds: section.seeds(),
            trust: section.trust(),
            policy: section.policy.clone(),
            files: IdentityFiles {
                certificate: or(&section.certificate, made.certificate),
                key: or(&section.key, made.key),
                ca: or(&section.ca, made.ca),
            },
            advertise: section.advertise,
            prefixes: section.prefixes(),
            near: section.near_ms,
            lease: section.lease_s.unwrap_or(LEASE),
            links: section.links(),
            serve: section.serve.clone(),
            placed: section.placed.clone(),
            remembered: data.join("mesh").join("remembered"),
        })
    }
}

/// The point under which a node of this name (`NAME@DOMAIN`) is found. Names of services have no `@`.
pub(crate) fn key_of_name(full_name: &str) -> Key {
    Key::service(full_name)
}

/// The way into the core.
#[derive(Clone, Debug)]
pub(crate) struct Asker(mpsc::Sender<Ask>);

impl Asker {
    /// Does something with the core; none where the mesh has ended.
    async fn core<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Core, Instant) -> T + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = oneshot::channel();
        let ask: Ask = Box::new(move |core, now| _ = tell.send(act(core, now)));
        self.0.send(ask).await.ok()?;
        told.await.ok()
    }
}

/// A node's part of the mesh. Cheap to clone; it ends with the node.
#[derive(Clone, Debug)]
pub struct Mesh {
    ask: Asker,
    streams: Arc<Streams>,
    domains: SharedDomains,
    identity: Arc<Identity>,
    settings: Arc<MeshSettings>,
    address: SocketAddr,
    version: watch::Receiver<u64>,
    facts: Arc<find::FactsTable>,
    behind: Arc<forward::Behind>,
}

fn problem(code: &str, words: &str) -> Box<Problem> {
    Problem::words(code, 500, words)
}

impl Mesh {
    /// Joins the mesh. The policy decides what nodes of other domains may ask for; `ending` turns true when the node ends.
    ///
    /// # Errors
    /// Certificates that do not fit, or a socket that cannot be had. Nothing runs then.
    pub fn start(
        mut settings: MeshSettings,
        policy: Arc<ServicePolicy>,
        ending: watch::Receiver<bool>,
    ) -> Result<Self, Box<Problem>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let own = read_authorities(&settings.files.ca).map_err(|words| {
            let fix = "make a domain and a certificate with `eep init`, or name the files under `mesh`";
            let title = words.split('\n').next().unwrap_or_default().to_owned();
            Problem::new("mesh-identity", 500, title).fix(fix)
        })?;
        let domains =
            Arc::new(Domains::new(&provider, &own).map_err(|words| problem("mesh-identity", &words))?);
        let mut authority_files = vec![AuthorityFile::new(&settings.files.ca, domains.own())];
        for other in &settings.trust {
            let authorities = read_authorities(&other.ca).map_err(|words| problem("mesh-trust", &words))?;
            let name = domains
                .trust(&authorities, other.prefixes.clone())
                .map_err(|words| problem("mesh-trust", &words))?;
            authority_files.push(AuthorityFile::new(&other.ca, &name));
        }
        let identity = Arc::new(Identity::load(&settings.files, &provider, &domains)?);
        let me = identity.me();
        if let Some(domain) = settings.domain.as_ref().filter(|domain| **domain != me.domain) {
            return Err(Problem::new(
                "mesh-identity",
                500,
                format!("the node file says domain {domain:?}, and the certificate {:?}", me.domain),
            )
            .at("node.domain")
            .fix("correct the one or make the other anew with `eep init`"));
        }
        settings.name = me.full_name();
        let endpoint = endpoint::open(settings.listen, &provider, &identity, &domains).map_err(|e| {
            Problem::new("mesh-address", 500, format!("the mesh cannot listen: {e}"))
                .at(settings.listen.to_string())
                .fix("choose another address with `listen.mesh`")
        })?;
        let address = endpoint.local_addr().unwrap_or(settings.listen);
        let tls = Tls::of_streams(&provider, &identity, &domains)
            .map_err(|e| problem("mesh-identity", &format!("TLS cannot be set up: {e}")))?;

        let origin = Clock::now();
        let now = since(origin);
        let boot = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let contact = Contact { id: me.id, addr: settings.advertise.unwrap_or(address) };
        let dht = Dht::new(dht::Config::default(), contact, seed()?, now)
            .map_err(|e| problem("internal", &e.to_string()))?;
        let signer = Signer { identity: Arc::clone(&identity), domains: Arc::clone(&domains) };
        let mut config = soar::Config::default();
        if let Some(near) = settings.near {
            config.near = vec![near];
        }
        let soar = Soar::new(config, me.id, Box::new(signer), boot.as_secs(), seed()?, now);
        let (heard_tell, heard) = mpsc::channel(HEARD_MAX);
        let (asks_tell, asks) = mpsc::channel(ASKS_MAX);
        let (version_tell, version) = watch::channel(0);
        let (alive_tell, alive) = watch::channel(BTreeSet::new());
        let boot = u64::try_from(boot.as_millis()).unwrap_or(u64::MAX);
        let core = Core::new(dht, soar, &domains, heard_tell, version_tell, alive_tell, boot);
        let ask = Asker(asks_tell);
        let admission = Admission::new(domains.own().to_owned(), policy);
        let streams =
            Arc::new(Streams::new(me.id, &domains, admission, tls, ask.clone(), alive, version.clone()));
        let driver =
            Driver { core, endpoint, streams: Arc::clone(&streams), settings: settings.clone(), origin };
        tokio::spawn(driver.run(heard, asks, ending.clone()));
        tokio::spawn(renewal::keep(
            Arc::clone(&identity),
            settings.files.clone(),
            provider,
            Arc::clone(&domains),
            authority_files,
            ending,
        ));
        let (settings, facts, behind) = (Arc::new(settings), Arc::default(), Arc::default());
        Ok(Self { ask, streams, domains, identity, settings, address, version, facts, behind })
    }

    /// Who this node is.
    #[must_use]
    pub fn me(&self) -> Peer {
        self.identity.me()
    }

    /// Where the mesh listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was made with.
    #[must_use]
    pub fn settings(&self) -> &MeshSettings {
        &self.settings
    }

    /// Counts up with each change of the map.
    #[must_use]
    pub fn version(&self) -> watch::Receiver<u64> {
        self.version.clone()
    }

    /// Has the rest of the node answer other nodes' questions. The first call counts.
    pub fn answer_with(&self, local: Weak<dyn Local>) {
        self.streams.requests.answer_with(local);
    }

    /// Takes the streams that come for a service.
    #[must_use]
    pub fn listen(&self, service: &str) -> mpsc::Receiver<Stream> {
        self.streams.listen(service)
    }

    /// Opens a stream to a service on another node, over the best route that works. It goes on over another one where that
    /// dies; see [`session`].
    ///
    /// # Errors
    /// Why not.
    pub async fn open(&self, to: NodeId, service: &str) -> Result<Stream, streams::Refused> {
        self.streams.begin(to, service).await
    }

    /// Asks another node something.
    ///
    /// # Errors
    /// It cannot be reached, or what it says.
    pub async fn ask(&self, to: NodeId, question: &Question) -> Result<Vec<u8>, Box<Problem>> {
        let stream =
            self.streams.open(to, Purpose::Request, question.service()).await.map_err(unreachable(to))?;
        requests::ask(stream, question).await
    }

    /// Asks another node what it says of itself, over the best route that works now; with who it has proved to be, and the
    /// neighbour that the question left by.
    ///
    /// # Errors
    /// It cannot be reached, or what it says.
    pub(crate) async fn ask_facts(&self, to: NodeId) -> Result<(Peer, NodeId, Vec<u8>), Box<Problem>> {
        let question = Question::Facts;
        let stream =
            self.streams.open(to, Purpose::Request, question.service()).await.map_err(unreachable(to))?;
        let (peer, via) = (stream.peer.clone(), stream.via);
        Ok((peer, via, requests::ask(stream, &question).await?))
    }

    /// What was counted.
    pub async fn figures(&self) -> Figures {
        let counted = self.ask.core(|core, _| Figures {
            counts: core.counts,
            dht: core.dht.stats(),
            soar: core.soar.stats(),
            streams: streams::StreamCounts::default(),
            connections: core.links.len(),
            links: core.soar.links().values().filter(|link| link.rtt_us.is_some()).count(),
            contacts: core.dht.contacts().count(),
            region: core.soar.region(0).len(),
        });
        Figures { streams: self.streams.counts(), ..counted.await.unwrap_or_default() }
    }
}

fn unreachable(to: NodeId) -> impl Fn(streams::Refused) -> Box<Problem> {
    move |no| {
        Problem::new("node-unreachable", 502, format!("the node {to} cannot be asked: {no}"))
            .fix("see with `eep topology map` who is there")
    }
}

fn seed() -> Result<[u8; 32], Box<Problem>> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|e| problem("system", &format!("the system gives no randomness: {e}")))?;
    Ok(seed)
}
