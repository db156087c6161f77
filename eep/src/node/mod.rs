//! A node: the services that are wanted, brought to life and kept.
//!
//! Here the rooms meet: `config` says what is asked for, `proxylet` runs it, `state` keeps it. The API and the command
//! line speak to [`Node`] and to nothing below it.
//!
//! | module | what |
//! | --- | --- |
//! | `load` | a new service: fetch, verify, check, start, and only then keep |
//! | `change` | start, stop, modify, unload |
//! | `swap` | other code for a service that serves |
//! | `policy` | policies applied, confirmed, rolled back, reloaded |
//! | `restore` | what was wanted before, after the node starts |
//! | `converse` | streams and messages of services to services on other nodes |
//! | `launch` | what services launch |
//! | `mesh` | what other nodes are told |
//! | `place` | from a request to a service that runs on another node |
//! | [`placement`] | services that this node has placed on others |
//! | [`placed`] | services that others have placed here |
//! | [`web`] | services that are placed together |
//! | `verify` | whether enough trusted keys vouch for code |
//! | `distrust` | whether they still do while it runs |
//! | `rights` | what a service is granted |
//! | [`view`], [`progress`] | what is shown |
//! | `refusals` | what went wrong below, in the shape in which it is told |
//!
//! Every change is made in the order: try it, write it down, answer. A change that fails leaves everything as it was.

mod change;
mod converse;
mod distrust;
mod launch;
mod load;
mod mesh;
mod operate;
mod operate_web;
mod place;
pub mod placed;
pub mod placement;
pub mod policy;
pub mod progress;
pub(crate) mod refusals;
mod restore;
pub mod rights;
mod swap;
mod verify;
pub mod view;
pub mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};

use crate::config::{ServiceName, settings};
use crate::host::grant::Grants;
use crate::mesh::Mesh;
use crate::mesh::snapshot::Snapshot;
use crate::node::restore::Down;
use crate::node::view::{NodeView, ServiceList, ServiceView};
use crate::observe::log_ring::LogRing;
use crate::observe::prometheus;
use crate::policy::service::ServicePolicy;
use crate::problem::Problem;
use crate::proxylet::contract;
use crate::proxylet::fetch::Fetcher;
use crate::proxylet::manifest::Manifest;
use crate::proxylet::runtime::{Runtime, RuntimeConfig};
use crate::proxylet::service::Service;
use crate::proxylet::state_store::StateStore;
use crate::proxylet::status::{State as Life, Status};
use crate::proxylet::trust::{Signer, Trust};
use crate::state::State;
use crate::state::desired::{Desired, Wanted};

pub use change::Change;
pub use restore::Recalled;

/// How long a service that ends may take until what it sent has left.
const DRAIN: Duration = Duration::from_secs(5);

/// A node.
#[derive(Debug)]
pub struct Node {
    name: String,
    started: Instant,
    state: Arc<State>,
    runtime: Arc<Runtime>,
    fetcher: Fetcher,
    /// Whose signatures code needs; none are asked for where it is missing.
    trust: Option<Trust>,
    /// Where the API is served on TCP, once it is.
    api: OnceLock<SocketAddr>,
    /// The mesh that it is in, where it is in one.
    mesh: OnceLock<Mesh>,
    /// What decides what nodes of other domains may ask for.
    mesh_policy: Arc<ServicePolicy>,
    /// Leases that were given to nodes that run this node's placed services.
    leases: Mutex<placement::Leases>,
    /// Leases of services that others have placed here.
    held_leases: Mutex<BTreeMap<(String, u64), placed::HeldLease>>,
    /// Room for services that others are placing here.
    placing: Semaphore,
    /// Services that are being launched, by launcher.
    launching: Mutex<BTreeSet<(String, String)>>,
    /// Itself, for tasks of its own.
    this: OnceLock<Weak<Self>>,
    /// The newest view of the mesh for services, while there are some that look.
    views: watch::Sender<Option<Arc<Snapshot>>>,
    viewed: Notify,
    /// The open links of placed services, by name and epoch.
    links: Mutex<BTreeMap<(String, u64), web::Links>>,
    /// The threads on which services' requests are fulfilled.
    workers: OnceLock<Handle>,
    services: Mutex<BTreeMap<ServiceName, Held>>,
    /// Names that a change is under way for.
    busy: Mutex<BTreeSet<ServiceName>>,
    /// Services that the node itself looks after at the moment, which takes no longer than some reads and writes.
    looked_at: Mutex<BTreeSet<ServiceName>>,
    /// New versions that are on probation, and how to end that.
    proving: Mutex<BTreeMap<ServiceName, Arc<Notify>>>,
    /// Told when a change is over.
    freed: Notify,
    /// Turns true when the node is about to end.
    ending: watch::Sender<bool>,
}

/// One wanted service.
#[derive(Clone, Debug)]
struct Held {
    desired: Desired,
    /// What its proxylet says of itself; empty where its code cannot be had.
    manifest: Manifest,
    /// Its grants under its configuration.
    grants: Grants,
    /// Its whole configuration.
    config: Map<String, Value>,
    log: Arc<LogRing>,
    /// Who vouched for its code; nobody where none was asked for.
    signers: Arc<[Signer]>,
    policy: Arc<ServicePolicy>,
    /// The last run of it; none where it has not run since the node started.
    engine: Option<Service>,
    /// Why it does not run though it is wanted.
    down: Option<Down>,
}

/// The right to change one service, given back when dropped.
#[derive(Debug)]
struct Reserved<'a> {
    node: &'a Node,
    name: ServiceName,
}

/// The right to look after a service, until it is dropped.
struct Looking<'a> {
    node: &'a Node,
    name: ServiceName,
    right: Option<Reserved<'a>>,
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        // The right first: whoever finds it taken is to find why.
        self.right = None;
        lock(&self.node.looked_at).remove(&self.name);
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        lock(&self.node.busy).remove(&self.name);
        self.node.freed.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs what blocks on a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Box<Problem>> {
    tokio::task::spawn_blocking(work).await.map_err(|e| {
        Problem::new("internal", 500, format!("the work broke off: {e}")).fix("see the node's log")
    })
}

impl Node {
    /// Sets a node up on its data. Nothing runs yet: see [`Self::restore`].
    ///
    /// # Errors
    /// The engine or TLS cannot be set up on this machine.
    pub fn new(name: String, state: State) -> Result<Self, Box<Problem>> {
        // Nobody waits for this; what it does not set up is set up when it is wanted.
        drop(thread::Builder::new().name("eep-warm".to_owned()).spawn(|| {
            settings::warm();
            contract::warm();
        }));
        let state = Arc::new(state);
        let store: Arc<dyn StateStore> = Arc::<State>::clone(&state);
        let cache = state.directory().path().join("cache");
        let recordings_dir = Some(state.directory().path().join("recordings"));
        let config = RuntimeConfig { recordings_dir, ..RuntimeConfig::new(cache) };
        let runtime = Runtime::new(config, store).map_err(|e| {
            Problem::new("engine", 500, format!("the engine cannot be set up: {e}"))
                .fix("see what it names, and start again")
        })?;
        let fetcher = Fetcher::new().map_err(|e| {
            Problem::new("tls", 500, format!("TLS cannot be set up: {e}"))
                .fix("install the system's CA certificates")
        })?;
        Ok(Self {
            name,
            started: Instant::now(),
            state,
            runtime: Arc::new(runtime),
            fetcher,
            trust: None,
            api: OnceLock::new(),
            mesh: OnceLock::new(),
            mesh_policy: Arc::default(),
            leases: Mutex::default(),
            held_leases: Mutex::default(),
            placing: Semaphore::new(placed::PLACING_MAX),
            launching: Mutex::default(),
            workers: OnceLock::new(),
            this: OnceLock::new(),
            links: Mutex::default(),
            views: watch::channel(None).0,
            viewed: Notify::new(),
            services: Mutex::default(),
            busy: Mutex::default(),
            looked_at: Mutex::default(),
            proving: Mutex::default(),
            freed: Notify::new(),
            ending: watch::channel(false).0,
        })
    }

    /// Runs nothing but what enough of these keys vouch for.
    #[must_use]
    pub fn trusting(mut self, trust: Trust) -> Self {
        self.trust = Some(trust);
        self
    }

    /// Reads a table of autonomous systems, for policies, and looks after it from now on.
    ///
    /// # Errors
    /// It cannot be read, or a line of it is none.
    pub fn knows_systems(&self, table: &Path) -> Result<(), Box<Problem>> {
        self.runtime.whereabouts.read_table(table)
    }

    /// Notes where the API is served on TCP. The first call counts.
    pub fn serves_api_at(&self, address: SocketAddr) {
        let _ = self.api.set(address);
    }

    /// All services, by name.
    #[must_use]
    pub fn list(&self) -> ServiceList {
        ServiceList { services: lock(&self.services).values().map(Held::view).collect() }
    }

    /// One service.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn view(&self, name: &str) -> Result<ServiceView, Box<Problem>> {
        self.held(name).map(|held| held.view())
    }

    /// The log of a service.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn log(&self, name: &str) -> Result<Arc<LogRing>, Box<Problem>> {
        self.held(name).map(|held| held.log)
    }

    /// The node itself.
    #[must_use]
    pub fn info(&self) -> NodeView {
        let (descriptors, descriptors_max) = self.runtime.descriptors();
        NodeView {
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            api: self.api.get().map(|address| format!("http://{address}")),
            mesh: self.mesh.get().map(view::MeshView::of),
            systems: self.runtime.whereabouts.view(),
            data: self.state.directory().path().display().to_string(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            services: lock(&self.services).len(),
            services_running: self.runtime.services_running(),
            memory_bytes: view::resident_bytes(),
            descriptors,
            descriptors_max,
        }
    }

    /// Figures of the node and of all services, as text for Prometheus.
    pub async fn metrics(&self) -> String {
        let engines: Vec<Service> =
            lock(&self.services).values().filter_map(|held| held.engine.clone()).collect();
        let mesh = match self.mesh.get() {
            Some(mesh) => Some(mesh.figures().await),
            None => None,
        };
        let mesh = mesh.as_ref().map(|figures| (figures, &*self.mesh_policy));
        prometheus::render(&self.runtime, &engines, mesh)
    }

    /// Turns true when the node is about to end: long answers end then.
    #[must_use]
    pub fn ending(&self) -> watch::Receiver<bool> {
        self.ending.subscribe()
    }

    /// Stops every service; what is wanted stays as it is.
    pub async fn end(&self) {
        self.ending.send_replace(true);
        let engines: Vec<Service> =
            lock(&self.services).values().filter_map(|held| held.engine.clone()).collect();
        futures_util::future::join_all(engines.iter().map(|engine| engine.stop(DRAIN))).await;
    }

    fn held(&self, name: &str) -> Result<Held, Box<Problem>> {
        let services = lock(&self.services);
        services
            .iter()
            .find(|(key, _)| key.as_str() == name)
            .map(|(_, held)| held.clone())
            .ok_or_else(|| refusals::no_such(name))
    }

    fn hold(&self, held: Held) {
        lock(&self.services).insert(held.desired.name.clone(), held);
    }

    /// Takes the right to change a service. A new version that is on probation is taken back for it.
    async fn reserve_at_once(&self, name: &ServiceName) -> Result<Reserved<'_>, Box<Problem>> {
        self.reserve_when(name, || {
            let proving = lock(&self.proving).get(name).cloned();
            proving.inspect(|proving| proving.notify_one()).is_some()
        })
        .await
    }

    /// Takes the right to change a service. Where the node itself looks after it, that is waited for: it is no change that
    /// an operator would know of.
    async fn reserve_soon(&self, name: &ServiceName) -> Result<Reserved<'_>, Box<Problem>> {
        self.reserve_when(name, || false).await
    }

    /// Waits where whoever has the right is about to give it back: `ends` asks for that.
    async fn reserve_when(
        &self,
        name: &ServiceName,
        ends: impl Fn() -> bool,
    ) -> Result<Reserved<'_>, Box<Problem>> {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            if let Ok(reserved) = self.reserve(name) {
                return Ok(reserved);
            }
            if !lock(&self.looked_at).contains(name) && !ends() {
                // The look that was in the way may have been over before this one.
                return self.reserve(name);
            }
            freed.await;
        }
    }

    /// Takes the right to look after a service, where nobody changes it.
    fn reserve_to_look(&self, name: &ServiceName) -> Option<Looking<'_>> {
        // Before the right is taken: who is refused for it finds why.
        if !lock(&self.looked_at).insert(name.clone()) {
            return None;
        }
        match self.reserve(name) {
            Ok(right) => Some(Looking { node: self, name: name.clone(), right: Some(right) }),
            Err(_) => {
                lock(&self.looked_at).remove(name);
                // Who was refused meanwhile waits for an end.
                self.freed.notify_waiters();
                None
            }
        }
    }

    /// Takes the right to change a service, whether it exists or not.
    fn reserve(&self, name: &ServiceName) -> Result<Reserved<'_>, Box<Problem>> {
        if *self.ending.borrow() {
            return Err(refusals::ending());
        }
        if !lock(&self.busy).insert(name.clone()) {
            return Err(refusals::under_way(name));
        }
        Ok(Reserved { node: self, name: name.clone() })
    }
}

impl Held {
    fn view(&self) -> ServiceView {
        let status = self.status();
        let policy = self.policy.view();
        let hint = view::hint(&self.manifest.hint, &self.config, &status);
        ServiceView {
            status,
            wanted: self.desired.wanted,
            url: self.desired.url.to_string(),
            pinned: self.desired.pinned,
            on_trap: self.desired.on_trap,
            health: self.desired.health.clone(),
            signers: self.signers.iter().map(Signer::view).collect(),
            about: self.manifest.about.clone(),
            hint,
            policy: (policy.generation > 0).then_some(policy),
            config: self.config.clone(),
            settings: self.desired.config.clone(),
        }
    }

    fn status(&self) -> Status {
        if let Some(engine) = &self.engine {
            return engine.status();
        }
        let state = match self.desired.wanted {
            Wanted::Stopped => Life::Stopped,
            Wanted::Running if self.down.is_none() => Life::Starting,
            Wanted::Running => Life::Failed,
        };
        Status {
            name: self.desired.name.to_string(),
            state,
            reason: self.down.as_ref().map(|down| down.reason.clone()),
            digest: self.desired.sha256,
            proxylet: self.manifest.name.clone(),
            version: self.manifest.version.clone(),
            grants: self.grants.iter().copied().collect(),
            limits: self.desired.limits.clone(),
            uptime_s: 0.0,
            restarts: 0,
            last_trap: None,
            last_swap: None,
            memory_bytes: 0,
            connections: 0,
            connections_refused: 0,
            cpu_s: 0.0,
            batches: 0,
            events: 0,
            received_bytes: 0,
            sent_bytes: 0,
            batch_us_p50: 0.0,
            batch_us_p99: 0.0,
            listening: Vec::new(),
            recording: None,
        }
    }
}
