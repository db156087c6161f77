//! A runtime with the probe, and peers that talk to it.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use eep::host::grant::Grants;
use eep::observe::log_ring::LogRing;
use eep::proxylet::backoff::BackoffConfig;
use eep::proxylet::code::Code;
use eep::proxylet::error::StartError;
use eep::proxylet::limits::Limits;
use eep::proxylet::runtime::{Runtime, RuntimeConfig};
use eep::proxylet::service::{OnTrap, Service, ServiceSpec, Vouched};
use eep::proxylet::state_store::StateStore;
use eep::proxylet::status::{Protocol, State as Life};
use eep::record::service::Record;
use eep::state::State;
use serde_json::Map;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A bound for what must happen, far beyond what it takes on a busy machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked at what nothing announces: what is waited for needs the processor more than who waits.
const LOOK_EVERY: Duration = Duration::from_millis(1);

pub(crate) const PROBE: &str = include_str!("../guests/probe.wat");

/// Waits for what must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// A core module in text form as a component of the world `service`.
pub(crate) fn component(wat: &str) -> Vec<u8> {
    component_of(wat, "service")
}

/// The same of another world.
pub(crate) fn component_of(wat: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(wat).unwrap();
    let mut wit = Resolve::default();
    let (package, _) = wit.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxylets/wit")).unwrap();
    let world = wit.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, &wit, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

pub(crate) struct Node {
    pub(crate) dir: TempDir,
    store: Arc<State>,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) probe: Code,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut RuntimeConfig)) -> Self {
        Self::in_dir(tempfile::tempdir().unwrap(), change)
    }

    /// A node over what an earlier one left.
    pub(crate) fn in_dir(dir: TempDir, change: impl FnOnce(&mut RuntimeConfig)) -> Self {
        Self::on(dir, change, |store| store)
    }

    /// A node that keeps the services' state by way of something else.
    pub(crate) fn on(
        dir: TempDir,
        change: impl FnOnce(&mut RuntimeConfig),
        by_way_of: impl FnOnce(Arc<dyn StateStore>) -> Arc<dyn StateStore>,
    ) -> Self {
        let mut config = RuntimeConfig::new(dir.path().join("cache"));
        config.services_max = 4;
        config.backoff = BackoffConfig {
            first: Duration::from_millis(10),
            longest: Duration::from_millis(100),
            healthy_after: Duration::from_secs(3_600),
        };
        config.recordings_dir = Some(dir.path().join("recordings"));
        change(&mut config);
        let store = Arc::new(State::open(&dir.path().join("data")).unwrap());
        let runtime =
            Arc::new(Runtime::new(config, by_way_of(Arc::clone(&store) as Arc<dyn StateStore>)).unwrap());
        let probe = runtime.prepare(&component(PROBE), None).unwrap();
        Self { dir, store, runtime, probe }
    }

    /// The state that a service saved last.
    pub(crate) fn saved(&self, service: &str) -> Option<Vec<u8>> {
        self.store.checkpoint(service).unwrap().map(|checkpoint| checkpoint.state.into())
    }

    /// Puts keys with empty values on disk for a service.
    pub(crate) fn store_keys(&self, service: &str, keys: &[String]) {
        let changes = keys.iter().map(|key| (key.clone(), Some(Vec::new()))).collect();
        self.store.kv_apply(service, &changes).unwrap();
    }

    /// What a service has on disk under a key.
    pub(crate) fn stored(&self, service: &str, key: &str) -> Option<Vec<u8>> {
        self.store.kv_get(service, key).unwrap()
    }

    /// Ends the node; what it leaves on disk.
    pub(crate) fn end(self) -> TempDir {
        self.dir
    }

    pub(crate) fn spec(&self, name: &str) -> ServiceSpec {
        ServiceSpec {
            name: name.to_owned(),
            code: self.probe.clone(),
            grants: grants(&["net.listen:*", "net.connect", "datagram:*"]),
            // Only a test of it is to meet this one, however busy the machine is.
            limits: Limits { call_ms: 60_000, ..Limits::default() },
            on_trap: OnTrap::Restart,
            config: Map::new(),
            fresh: false,
            policy: Arc::default(),
            record: Record::Off,
            log: Arc::new(LogRing::new()),
            vouched: Vouched::always(),
        }
    }

    pub(crate) async fn try_start(
        &self,
        change: impl FnOnce(&mut ServiceSpec),
    ) -> Result<Service, StartError> {
        let mut spec = self.spec("probe");
        change(&mut spec);
        soon("start", Service::start(&self.runtime, spec)).await
    }

    pub(crate) async fn start(&self) -> Service {
        self.try_start(|_| {}).await.unwrap()
    }

    pub(crate) async fn start_with(&self, change: impl FnOnce(&mut ServiceSpec)) -> Service {
        self.try_start(change).await.unwrap()
    }
}

pub(crate) fn grants(texts: &[&str]) -> Grants {
    texts.iter().map(|text| text.parse::<eep::host::grant::Grant>().unwrap()).collect()
}

/// Where the service listens.
pub(crate) fn address(service: &Service, protocol: Protocol) -> SocketAddr {
    service.status().listening.iter().find(|l| l.protocol == protocol).expect("a listener").address
}

/// Waits until the service is in this state.
pub(crate) async fn becomes(service: &Service, state: Life) {
    let mut watch = service.watch();
    soon("the state", watch.wait_for(|now| *now == state)).await.unwrap();
}

/// Waits until the service runs again after so many restarts.
pub(crate) async fn restarted(service: &Service, times: u64) {
    shows("the restart", || {
        let status = service.status();
        (status.restarts == times && status.state == Life::Running).then_some(())
    })
    .await;
}

/// Waits until a look at the service shows what is wanted.
pub(crate) async fn shows<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    soon(what, async {
        loop {
            match look() {
                Some(found) => return found,
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    })
    .await
}

/// A peer that says commands to the probe.
pub(crate) struct Peer(pub(crate) TcpStream);

impl Peer {
    pub(crate) async fn join(service: &Service) -> Self {
        Self::to(address(service, Protocol::Tcp)).await
    }

    pub(crate) async fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub(crate) async fn say(&mut self, text: impl AsRef<[u8]>) {
        soon("saying", self.0.write_all(text.as_ref())).await.unwrap();
    }

    pub(crate) async fn hear(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        soon("hearing", self.0.read_exact(&mut bytes)).await.unwrap();
        bytes
    }

    /// A command and its answer.
    pub(crate) async fn ask(&mut self, text: impl AsRef<[u8]>, len: usize) -> Vec<u8> {
        self.say(text).await;
        self.hear(len).await
    }

    /// All that comes until the service ends the connection.
    pub(crate) async fn hear_out(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset ends it as well.
        let _ = soon("the end", self.0.read_to_end(&mut bytes)).await;
        bytes
    }

    /// What the probe has counted.
    pub(crate) async fn counted(&mut self) -> Counted {
        let bytes = self.ask("Q", 6).await;
        let [congested, writable, closed, reason, failed, configured] = bytes.try_into().unwrap();
        Counted { congested, writable, closed, reason, failed, configured }
    }
}

/// What the probe has counted; `reason` is the number of a `close-reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) congested: u8,
    pub(crate) writable: u8,
    pub(crate) closed: u8,
    pub(crate) reason: u8,
    pub(crate) failed: u8,
    pub(crate) configured: u8,
}

/// The numbers of `close-reason`.
pub(crate) const ENDED: u8 = 0;
pub(crate) const REFUSED: u8 = 2;
pub(crate) const LIMIT: u8 = 6;
pub(crate) const CORRUPT: u8 = 7;
