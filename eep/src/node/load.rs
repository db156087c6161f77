//! A new service: fetch, verify, check, start, and only when it runs is it wanted.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::config::settings;
use crate::config::{ServiceEntry, ServiceName, Source};
use crate::host::grant::{Grant, Grants};
use crate::node::placed::PlacedBy;
use crate::node::progress::{OnProgress, Progress};
use crate::node::rights::{self, Asked, Trust};
use crate::node::verify::Verified;
use crate::node::view::ServiceView;
use crate::node::{DRAIN, Held, Node, Reserved, blocking, lock, refusals};
use crate::observe::log_ring::LogRing;
use crate::problem::Problem;
use crate::proxylet::code::Code;
use crate::proxylet::digest::{Digest, Digested};
use crate::proxylet::error::LoadError;
use crate::proxylet::runtime::Cached;
use crate::proxylet::service::{Service, ServiceSpec};
use crate::proxylet::trust::Signer;
use crate::state::desired::{Desired, Granted, Wanted};

/// Who wants a service, where that is not this node's operator.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    /// The node that places it here.
    pub(super) placed: Option<PlacedBy>,
    /// The service of this node that launches it.
    pub(super) launched_by: Option<ServiceName>,
}

/// Code, its bytes, and the file of signatures that vouched for it; empty where none were asked for.
pub(super) struct Brought {
    pub(super) code: Code,
    pub(super) bytes: Arc<Digested>,
    pub(super) signatures: Vec<u8>,
    pub(super) signers: Arc<[Signer]>,
}

impl Node {
    /// Fetches, verifies and starts a service. When this returns, its listeners are open and it is on disk that it is
    /// wanted.
    ///
    /// # Errors
    /// What is wrong with the entry, the code or the start. Nothing was changed.
    pub async fn load(&self, entry: &ServiceEntry, on: OnProgress<'_>) -> Result<ServiceView, Box<Problem>> {
        let trust = if entry.proxylet.sha256.is_some() { Trust::AsWanted } else { Trust::Unpinned };
        self.load_as(entry, trust, None, on).await
    }

    /// As [`Self::load`], with what else is known: how far the code is trusted, and which entry of the node file it is.
    pub(super) async fn load_as(
        &self,
        entry: &ServiceEntry,
        trust: Trust,
        applied: Option<ServiceEntry>,
        on: OnProgress<'_>,
    ) -> Result<ServiceView, Box<Problem>> {
        self.load_with(entry, trust, applied, Origin::default(), on).await
    }

    /// As [`Self::load_as`], with who else than the operator wants it.
    pub(super) async fn load_with(
        &self,
        entry: &ServiceEntry,
        trust: Trust,
        applied: Option<ServiceEntry>,
        origin: Origin,
        on: OnProgress<'_>,
    ) -> Result<ServiceView, Box<Problem>> {
        entry.check().map_err(|words| Problem::words("bad-request", 422, &words))?;
        // A name that is taken is told before anything is fetched.
        let early = entry.name.as_ref().map(|name| self.reserve_new(name)).transpose()?;
        let brought = self.bring(&entry.proxylet.url, entry.proxylet.sha256, on).await?;
        let name = match &entry.name {
            Some(name) => name.clone(),
            None => embedded_name(&brought.code, &entry.proxylet.url)?,
        };
        let _reserved = match early {
            Some(reserved) => reserved,
            None => self.reserve_new(&name)?,
        };
        let desired = Desired {
            name,
            url: entry.proxylet.url.clone(),
            sha256: brought.code.digest(),
            pinned: entry.proxylet.sha256.is_some(),
            granted: Granted::AsWanted,
            limits: entry.limits.clone(),
            on_trap: entry.on_trap,
            health: entry.health.clone(),
            record: entry.record,
            config: entry.config.clone(),
            wanted: Wanted::Running,
            applied,
            placed: origin.placed,
            launched_by: origin.launched_by,
        };
        let command = match &entry.name {
            Some(name) => format!("eep load {} --name {name}", desired.url),
            None => format!("eep load {}", desired.url),
        };
        let held = Held::plan(desired, &brought.code, entry.grant.as_deref(), trust, &command)?;
        if held.desired.placed.is_some() {
            self.may_be_granted_here(&held.grants)?;
        }
        self.begin(held, brought, entry.policy.as_deref(), on).await
    }

    /// Starts what is new, and keeps it where it runs.
    async fn begin(
        &self,
        mut held: Held,
        brought: Brought,
        policy: Option<&Path>,
        on: OnProgress<'_>,
    ) -> Result<ServiceView, Box<Problem>> {
        // What an unloaded service of this name might have left.
        let (state, name) = (Arc::clone(&self.state), held.desired.name.clone());
        blocking(move || state.forget(name.as_str()).and_then(|()| state.forget_policy(name.as_str())))
            .await??;
        // Kept before the service is: it never runs without.
        if let Some(file) = policy {
            self.apply_to(&held, Some(file.to_owned()), None).await?;
        }
        on(Progress::Starting);
        held.signers = Arc::clone(&brought.signers);
        let begun = match self.start_engine(&held, &brought.code, true).await {
            Ok(engine) => {
                let (state, desired) = (Arc::clone(&self.state), held.desired.clone());
                match blocking(move || state.put(&desired, &brought.bytes, &brought.signatures)).await? {
                    Ok(()) => Ok(engine),
                    Err(error) => {
                        let _ = engine.stop(DRAIN).await;
                        Err(error.into())
                    }
                }
            }
            Err(problem) => Err(problem),
        };
        let engine = match begun {
            Ok(engine) => engine,
            Err(problem) => {
                let (state, name) = (Arc::clone(&self.state), held.desired.name.clone());
                // Where that fails, the next service of this name passes it over.
                let _ = blocking(move || state.forget_policy(name.as_str())).await;
                return Err(problem);
            }
        };
        held.engine = Some(engine);
        let view = held.view();
        self.hold(held);
        Ok(view)
    }

    pub(super) fn reserve_new(&self, name: &ServiceName) -> Result<Reserved<'_>, Box<Problem>> {
        if lock(&self.services).contains_key(name) {
            return Err(refusals::name_in_use(name));
        }
        self.reserve(name)
    }

    /// Fetches and prepares code. Code that is pinned, or named by its digest, and kept is not fetched again.
    pub(super) async fn bring(
        &self,
        url: &Source,
        wanted: Option<Digest>,
        on: OnProgress<'_>,
    ) -> Result<Brought, Box<Problem>> {
        let wanted = match (url, wanted) {
            (Source::Mesh(found, _), Some(wanted)) if *found != wanted => {
                return Err(refusals::load(url, &LoadError::Digest { wanted, found: *found }));
            }
            (Source::Mesh(digest, _), _) => Some(*digest),
            (_, wanted) => wanted,
        };
        let early = wanted.map(|digest| self.look_in_cache(digest));
        if let Some(digest) = wanted
            && let Some(bytes) = self.kept(digest).await?
        {
            return self.prepare(url, bytes, wanted, early, true).await;
        }
        let told = |bytes, total| on(Progress::Fetching { bytes, total });
        if let Source::Mesh(digest, holder) = url {
            let bytes = self.fetch_over_mesh(*digest, *holder).await?;
            on(Progress::Preparing);
            return self.prepare(url, bytes, wanted, early, true).await;
        }
        let bytes = match (self.fetcher.fetch(url, &told).await, wanted) {
            (Ok(bytes), _) => bytes,
            // Somebody in the mesh may hold what the address does not give.
            (Err(error), Some(digest)) if self.mesh().is_ok() => {
                match self.fetch_over_mesh(digest, None).await {
                    Ok(bytes) => return self.prepare(url, bytes, Some(digest), early, true).await,
                    Err(_) => return Err(refusals::fetch(url, &error)),
                }
            }
            (Err(error), _) => return Err(refusals::fetch(url, &error)),
        };
        on(Progress::Preparing);
        let bytes = blocking(move || Digested::of(bytes)).await?;
        self.prepare(url, bytes, wanted, early, false).await
    }

    /// Reads compiled code from the cache, while its bytes are brought here.
    fn look_in_cache(&self, digest: Digest) -> JoinHandle<Option<Cached>> {
        let runtime = Arc::clone(&self.runtime);
        spawn_blocking(move || runtime.cached(digest))
    }

    async fn kept(&self, digest: Digest) -> Result<Option<Digested>, Box<Problem>> {
        let state = Arc::clone(&self.state);
        Ok(blocking(move || state.code(&digest)).await??)
    }

    /// Prepares code that is kept; none where it is not.
    pub(super) async fn bring_kept(
        &self,
        url: &Source,
        digest: Digest,
    ) -> Result<Option<Brought>, Box<Problem>> {
        let early = self.look_in_cache(digest);
        match self.kept(digest).await? {
            Some(bytes) => self.prepare(url, bytes, Some(digest), Some(early), true).await.map(Some),
            None => Ok(None),
        }
    }

    async fn prepare(
        &self,
        url: &Source,
        bytes: Digested,
        wanted: Option<Digest>,
        early: Option<JoinHandle<Option<Cached>>>,
        kept: bool,
    ) -> Result<Brought, Box<Problem>> {
        let Verified { bytes, signatures, signers } = self.verify(url, bytes, wanted, kept).await?;
        let runtime = Arc::clone(&self.runtime);
        let early = match early {
            // Where that broke off, it is looked for again.
            Some(early) => early.await.ok().flatten(),
            None => None,
        };
        let (prepared, bytes) =
            blocking(move || (runtime.prepare_quickly(&bytes, wanted, early), bytes)).await?;
        match prepared {
            Ok(code) => {
                let bytes = Arc::new(bytes);
                let code = code.kept_by(&bytes);
                Ok(Brought { code, bytes, signatures, signers: signers.into() })
            }
            Err(error) => Err(refusals::load(url, &error)),
        }
    }

    /// What a service's engine is made of. `fresh` passes over a state that was saved.
    pub(super) fn spec(&self, held: &Held, code: &Code, fresh: bool) -> ServiceSpec {
        ServiceSpec {
            name: held.desired.name.to_string(),
            code: code.clone(),
            grants: held.grants.clone(),
            limits: held.desired.limits.clone(),
            on_trap: held.desired.on_trap,
            record: held.desired.record,
            config: held.config.clone(),
            fresh,
            policy: Arc::clone(&held.policy),
            log: Arc::clone(&held.log),
            vouched: self.vouched(held),
        }
    }

    /// Starts a service as it is held. `fresh` passes over a state that was saved.
    pub(super) async fn start_engine(
        &self,
        held: &Held,
        code: &Code,
        fresh: bool,
    ) -> Result<Service, Box<Problem>> {
        if !held.policy.is_read() {
            self.restore_policy(held).await?;
        }
        self.lease_before_start(&held.desired).await?;
        let (name, url) = (&held.desired.name, &held.desired.url);
        Service::start(&self.runtime, self.spec(held, code, fresh))
            .await
            .map_err(|e| refusals::start(name, url, e))
    }
}

impl Held {
    /// What a service would be with this code: its configuration checked, its grants decided. `command` is what an
    /// operator types to get it, without digest and grants.
    pub(super) fn plan(
        mut desired: Desired,
        code: &Code,
        listed: Option<&[Grant]>,
        trust: Trust,
        command: &str,
    ) -> Result<Self, Box<Problem>> {
        let config = configured(code, &desired.config)?;
        let asked = Asked { code, url: &desired.url, config: &config, command };
        let (granted, grants) = rights::decide(&asked, listed, trust)?;
        desired.granted = granted;
        Ok(Self::with(desired, code, grants, config))
    }

    pub(super) fn with(desired: Desired, code: &Code, grants: Grants, config: Map<String, Value>) -> Self {
        let (manifest, log) = (code.manifest().clone(), Arc::new(LogRing::new()));
        Self {
            desired,
            manifest,
            grants,
            config,
            log,
            policy: Arc::default(),
            signers: Arc::default(),
            engine: None,
            down: None,
        }
    }
}

/// The whole configuration, checked against the schema that the code carries.
pub(super) fn configured(code: &Code, set: &Map<String, Value>) -> Result<Map<String, Value>, Box<Problem>> {
    let config = code.manifest().config_with(set);
    if let Some(schema) = &code.manifest().schema {
        settings::check(schema, &config).map_err(refusals::settings)?;
    }
    Ok(config)
}

pub(super) fn embedded_name(code: &Code, url: &Source) -> Result<ServiceName, Box<Problem>> {
    let name = &code.manifest().name;
    name.parse().map_err(|_| {
        Problem::new("no-name", 422, "the proxylet does not say what it is called")
            .at(url.to_string())
            .fix("name the service with --name")
    })
}
