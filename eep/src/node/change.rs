//! What an operator does to a service that is there: start, stop, modify, unload.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::config::health::Health;
use crate::config::service::GRANTS_MAX;
use crate::config::{ServiceName, Source, settings};
use crate::host::grant::Grant;
use crate::node::load::{Brought, configured};
use crate::node::progress::{OnProgress, Progress};
use crate::node::restore::Down;
use crate::node::rights::{self, Trust};
use crate::node::view::ServiceView;
use crate::node::{DRAIN, Held, Node, blocking, lock, refusals};
use crate::problem::Problem;
use crate::proxylet::code::Code;
use crate::proxylet::digest::Digest;
use crate::proxylet::error::ControlError;
use crate::proxylet::limits::Limits;
use crate::proxylet::service::{OnTrap, Service};
use crate::proxylet::state_store::{Checkpoint, StateStore as _};
use crate::proxylet::status::State as Life;
use crate::record::service::Record;
use crate::state::desired::{Desired, Granted, Wanted};

/// What is to be different. What is missing stays as it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Change {
    /// Other code.
    #[schema(value_type = Option<String>)]
    pub url: Option<Source>,
    /// The SHA-256 that the code must have.
    #[schema(value_type = Option<String>)]
    pub sha256: Option<Digest>,
    /// Settings: laid over those that the operator set before; `null` takes one back to the proxylet's default.
    #[schema(value_type = Object)]
    pub config: Map<String, Value>,
    /// What it may reach, in place of what it may now.
    #[schema(value_type = Option<Vec<String>>)]
    pub grant: Option<Vec<Grant>>,
    /// How much it may use, in place of what it may now.
    #[schema(value_type = Option<Object>)]
    pub limits: Option<Limits>,
    /// What happens when it traps.
    pub on_trap: Option<OnTrap>,
    /// How long a new version is on probation, in milliseconds; see `health` in a manifest.
    pub health_window_ms: Option<u32>,
    /// Whether it is recorded from its start on.
    #[schema(value_type = Option<Object>)]
    pub record: Option<Record>,
}

impl Node {
    /// Starts a service that does not run.
    ///
    /// # Errors
    /// It does not start, or that it is wanted cannot be written down. It does not run then, as before.
    pub async fn start(&self, name: &str) -> Result<ServiceView, Box<Problem>> {
        let name = self.held(name)?.desired.name;
        let _reserved = self.reserve_soon(&name).await?;
        let mut held = self.held(name.as_str())?;
        if held.engine.as_ref().is_some_and(alive) {
            return Ok(held.view());
        }
        let brought = self.bring(&held.desired.url, Some(held.desired.sha256), &|_| {}).await?;
        held.settle(&brought)?;
        release(&held).await;
        let engine = self.start_engine(&held, &brought.code, false).await?;
        held.desired.wanted = Wanted::Running;
        if let Err(problem) = self.keep(&held.desired, brought).await {
            let _ = engine.stop(DRAIN).await;
            return Err(problem);
        }
        held.engine = Some(engine);
        held.down = None;
        let view = held.view();
        self.hold(held);
        Ok(view)
    }

    /// Stops a service, with its state saved; it stays stopped until it is started by hand.
    ///
    /// # Errors
    /// That it is to stop cannot be written down, or it does not take the order. It runs on then.
    pub async fn stop(&self, name: &str) -> Result<ServiceView, Box<Problem>> {
        let name = self.held(name)?.desired.name;
        let _reserved = self.reserve_at_once(&name).await?;
        let mut held = self.held(name.as_str())?;
        let former = held.desired.clone();
        held.desired.wanted = Wanted::Stopped;
        self.update(&held.desired).await?;
        if let Some(engine) = &held.engine
            && let Err(error) = engine.stop(DRAIN).await
        {
            self.update(&former).await?;
            return Err(refusals::control(&name, &error));
        }
        held.down = None;
        let view = held.view();
        self.hold(held);
        Ok(view)
    }

    /// Records a service from its state as it is now, or from a renewed instance on ([`Service::record`]): the pieces of a
    /// file, until the receiver is dropped.
    ///
    /// # Errors
    /// It does not run, is busy, is recorded so already, or cannot be renewed.
    pub async fn record(&self, name: &str, renew: bool) -> Result<mpsc::Receiver<Vec<u8>>, Box<Problem>> {
        let name = self.held(name)?.desired.name;
        // A renewed instance has the configuration that is held now, and no change may come in between.
        let _reserved = if renew { Some(self.reserve_soon(&name).await?) } else { None };
        let held = self.held(name.as_str())?;
        let engine = held.engine.filter(alive).ok_or(ControlError::NotRunning);
        let recording = match engine {
            Ok(engine) => engine.record(renew.then_some(&held.config)).await,
            Err(error) => Err(error),
        };
        recording.map_err(|e| refusals::control(&held.desired.name, &e))
    }

    /// Stops a service and forgets it, with all that it stored.
    ///
    /// # Errors
    /// It does not take the order, or it cannot be taken off the disk. It is still there then.
    pub async fn unload(&self, name: &str) -> Result<(), Box<Problem>> {
        let name = self.held(name)?.desired.name;
        let _reserved = self.reserve_at_once(&name).await?;
        let held = self.held(name.as_str())?;
        let (state, key) = (Arc::clone(&self.state), name.clone());
        blocking(move || state.remove(key.as_str())).await??;
        if let Some(engine) = &held.engine {
            // It is no longer wanted; where it is too busy to be told, it ends when its last handle goes.
            let _ = engine.stop(DRAIN).await;
        }
        lock(&self.services).remove(&name);
        // What it saved when it was stopped. Where that fails, the next service of this name passes it over.
        let state = Arc::clone(&self.state);
        let key = name.clone();
        let _ = blocking(move || state.forget(key.as_str())).await;
        self.close_links(name.as_str()).await;
        self.forget_carried(&name).await;
        self.unload_launched(&name).await;
        Ok(())
    }

    /// Gives a service another configuration, other code, other grants or limits.
    ///
    /// A configuration alone is handed to the running instance. Other code, limits and further grants take a new
    /// instance, which takes over all that the service holds: no connection ends. Where the operator takes grants away, the
    /// service is stopped and started again with its state, so that nothing lives on that was made with them.
    ///
    /// # Errors
    /// What is wrong with the change, or why the service does not run with it. It goes on as it was.
    pub async fn modify(
        &self,
        name: &str,
        change: &Change,
        on: OnProgress<'_>,
    ) -> Result<ServiceView, Box<Problem>> {
        let name = self.held(name)?.desired.name;
        let _reserved = self.reserve_soon(&name).await?;
        let held = self.held(name.as_str())?;
        let brought = self.bring_changed(&held.desired, change, on).await?;
        let next = changed(&held, change, &brought.code)?;
        if next.desired.placed.is_some() {
            self.may_be_granted_here(&next.grants)?;
            self.may_be_placed_so(&next.desired)?;
        }
        let health = next.desired.health.clone();
        let view = self.exchange(held, next, brought, &health, on).await?;
        self.unload_exceeding(&name).await;
        Ok(view)
    }

    /// The code that a change asks for; what is kept where it asks for none.
    async fn bring_changed(
        &self,
        now: &Desired,
        change: &Change,
        on: OnProgress<'_>,
    ) -> Result<Brought, Box<Problem>> {
        match (&change.url, change.sha256) {
            (None, None) => self.bring(&now.url, Some(now.sha256), on).await,
            (url, digest) => self.bring(url.as_ref().unwrap_or(&now.url), digest, on).await,
        }
    }

    /// Replaces a service as it is by a service as it shall be, and goes back where that fails, also within the
    /// probation that `health` sets.
    pub(super) async fn exchange(
        &self,
        held: Held,
        mut next: Held,
        brought: Brought,
        health: &Health,
        on: OnProgress<'_>,
    ) -> Result<ServiceView, Box<Problem>> {
        next.signers = Arc::clone(&brought.signers);
        let running = held.engine.clone().filter(alive);
        match running {
            None if next.desired.wanted == Wanted::Stopped => self.keep(&next.desired, brought).await?,
            Some(engine) if only_config_differs(&held.desired, &next) && held.grants == next.grants => {
                self.reconfigure(&held, &next, &engine, brought).await?;
                next.engine = Some(engine);
            }
            Some(engine)
                if !narrows(&held, &next)
                    && self.swap(&held, &next, &engine, &brought, health, on).await? =>
            {
                next.engine = Some(engine);
            }
            running => next.engine = Some(self.replace(&held, &next, running, brought, on).await?),
        }
        next.down = None;
        let view = next.view();
        self.hold(next);
        Ok(view)
    }

    /// Hands a running instance its new configuration.
    async fn reconfigure(
        &self,
        held: &Held,
        next: &Held,
        engine: &Service,
        brought: Brought,
    ) -> Result<(), Box<Problem>> {
        let back = || async {
            // Where it takes not even its old configuration, its log says so.
            let _ = engine.configure(&held.config).await;
        };
        if held.config != next.config
            && let Err(error) = engine.configure(&next.config).await
        {
            back().await;
            return Err(refusals::control(&held.desired.name, &error));
        }
        if let Err(problem) = self.keep(&next.desired, brought).await {
            back().await;
            return Err(problem);
        }
        Ok(())
    }

    /// Ends the old instance and starts the new one with its state; or the old one again.
    async fn replace(
        &self,
        held: &Held,
        next: &Held,
        running: Option<Service>,
        brought: Brought,
        on: OnProgress<'_>,
    ) -> Result<Service, Box<Problem>> {
        on(Progress::Starting);
        if let Some(engine) = &running {
            engine.stop(DRAIN).await.map_err(|e| refusals::control(&held.desired.name, &e))?;
        }
        release(held).await;
        let saved = self.saved(&held.desired.name).await;
        let problem = match self.start_engine(next, &brought.code, false).await {
            Ok(engine) => match self.keep(&next.desired, brought).await {
                Ok(()) => return Ok(engine),
                Err(problem) => {
                    let _ = engine.stop(DRAIN).await;
                    problem
                }
            },
            Err(problem) => problem,
        };
        if running.is_some() {
            self.go_back(held, saved).await;
        }
        Err(problem)
    }

    /// Starts a service as it was, after what should have replaced it did not run.
    async fn go_back(&self, held: &Held, saved: Option<Checkpoint>) {
        let mut held = held.clone();
        if let Some(saved) = saved {
            let (state, name) = (Arc::clone(&self.state), held.desired.name.clone());
            // The new instance may have saved in a form that the old one does not know.
            let _ = blocking(move || state.put_checkpoint(name.as_str(), &saved)).await;
        }
        let began = match self.bring_kept(&held.desired.url, held.desired.sha256).await {
            Ok(Some(old)) => self.start_engine(&held, &old.code, false).await,
            Ok(None) => Err(Problem::new("code-lost", 500, "its code is no longer kept")),
            Err(problem) => Err(problem),
        };
        match began {
            Ok(engine) => held.engine = Some(engine),
            Err(problem) => {
                tracing::error!(service = %held.desired.name, %problem, "the service could not go back to what it was");
                held.engine = None;
                held.down = Some(Down::because(&problem));
            }
        }
        self.hold(held);
    }

    async fn saved(&self, name: &ServiceName) -> Option<Checkpoint> {
        let (state, name) = (Arc::clone(&self.state), name.clone());
        blocking(move || state.checkpoint(name.as_str())).await.ok()?.ok()?
    }

    /// Writes down what is wanted, with its code.
    async fn keep(&self, desired: &Desired, brought: Brought) -> Result<(), Box<Problem>> {
        let (state, desired) = (Arc::clone(&self.state), desired.clone());
        blocking(move || state.put(&desired, &brought.bytes, &brought.signatures)).await?.map_err(Into::into)
    }

    pub(super) async fn update(&self, desired: &Desired) -> Result<(), Box<Problem>> {
        let (state, desired) = (Arc::clone(&self.state), desired.clone());
        blocking(move || state.update(&desired)).await?.map_err(Into::into)
    }
}

/// Whether the operator takes rights away. Code that asks for less than the code before it does not.
fn narrows(held: &Held, next: &Held) -> bool {
    matches!(next.desired.granted, Granted::Listed(_)) && !next.grants.cover(&held.grants)
}

/// Has a service that failed give up the addresses that it still keeps.
async fn release(held: &Held) {
    if let Some(engine) = held.engine.as_ref().filter(|engine| !alive(engine)) {
        // One that is too busy to be told keeps them; whoever starts then hears of it.
        let _ = engine.stop(DRAIN).await;
    }
}

/// Whether a service's thread is at work.
pub(super) fn alive(engine: &Service) -> bool {
    matches!(engine.status().state, Life::Starting | Life::Running | Life::BackingOff)
}

/// Whether a running instance need only be told its new configuration.
fn only_config_differs(now: &Desired, next: &Held) -> bool {
    let next = &next.desired;
    now.sha256 == next.sha256
        && now.limits == next.limits
        && now.on_trap == next.on_trap
        && now.record == next.record
        && next.wanted == Wanted::Running
}

/// A service with a change laid over it.
fn changed(held: &Held, change: &Change, code: &Code) -> Result<Held, Box<Problem>> {
    let mut desired = held.desired.clone();
    let other_code = desired.sha256 != code.digest();
    if let Some(url) = &change.url {
        desired.url = url.clone();
    }
    desired.sha256 = code.digest();
    desired.pinned = change.sha256.is_some() || (desired.pinned && !other_code);
    settings::change(&mut desired.config, &change.config);
    if let Some(limits) = &change.limits {
        limits.check().map_err(|e| {
            Problem::new("bad-limits", 422, e.to_string()).at("limits").fix("correct the limit")
        })?;
        desired.limits = limits.clone();
    }
    if let Some(window_ms) = change.health_window_ms {
        desired.health.window_ms = window_ms;
        desired.health.check().map_err(|words| {
            Problem::new("bad-request", 422, words).at("health-window-ms").fix("correct the number")
        })?;
    }
    desired.on_trap = change.on_trap.unwrap_or(desired.on_trap);
    desired.record = change.record.unwrap_or(desired.record);
    if change.grant.as_ref().is_some_and(|grants| grants.len() > GRANTS_MAX) {
        return Err(Problem::new("bad-request", 422, "too many grants")
            .at("grant")
            .fix(format!("give at most {GRANTS_MAX}")));
    }
    let (listed, trust) = match (&change.grant, &desired.granted) {
        (Some(listed), _) => (Some(listed.clone()), Trust::Unpinned),
        (None, Granted::Listed(listed)) => (Some(listed.clone()), Trust::Unpinned),
        // What it asks for is granted to the code that was pinned, or trusted, and to no other.
        (None, Granted::AsWanted) if other_code && change.sha256.is_none() => (None, Trust::Unpinned),
        (None, Granted::AsWanted) => (None, Trust::AsWanted),
    };
    let command = format!("eep modify {} --url {}", desired.name, desired.url);
    let mut next = Held::plan(desired, code, listed.as_deref(), trust, &command)?;
    next.log = Arc::clone(&held.log);
    next.policy = Arc::clone(&held.policy);
    Ok(next)
}

impl Held {
    /// Takes over what the code says: its configuration's defaults, what it asks for.
    pub(super) fn settle(&mut self, brought: &Brought) -> Result<(), Box<Problem>> {
        let code = &brought.code;
        self.config = configured(code, &self.desired.config)?;
        self.grants = rights::of(&self.desired.granted, code, &self.desired.url, &self.config)?;
        self.manifest = code.manifest().clone();
        self.signers = Arc::clone(&brought.signers);
        Ok(())
    }
}
