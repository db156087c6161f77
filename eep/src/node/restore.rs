//! What was wanted before, after the node starts; and what the operator starts the node with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::Map;

use crate::config::{ServiceEntry, ServiceName, Source};
use crate::host::grant::Grants;
use crate::node::progress::OnProgress;
use crate::node::rights::Trust;
use crate::node::view::ServiceView;
use crate::node::{Held, Looking, Node, distrust, lock};
use crate::observe::log_ring::LogRing;
use crate::problem::Problem;
use crate::proxylet::manifest::Manifest;
use crate::state::desired::{Desired, Granted, Wanted};

/// How many services are started at one time.
const STARTS_AT_ONCE_MAX: usize = 8;
/// How often it is looked for services that are down.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The first pause before a service that is down is tried again; it doubles.
const AGAIN_FIRST: Duration = Duration::from_secs(2);
/// The longest pause.
const AGAIN_LONGEST: Duration = Duration::from_secs(120);

/// The longest probation of code that somebody starts the node with, in milliseconds: it is watched anyway.
const WATCHED_WINDOW_MS: u32 = 300;

/// Why a service does not run though it is wanted, and when it is tried again.
#[derive(Clone, Debug)]
pub(super) struct Down {
    pub(super) reason: String,
    at: Instant,
    pause: Duration,
}

impl Down {
    pub(super) fn because(problem: &Problem) -> Self {
        Self { reason: problem.title.clone(), at: Instant::now() + AGAIN_FIRST, pause: AGAIN_FIRST }
    }

    /// The same after one more attempt.
    fn again(mut self, problem: &Problem) -> Self {
        self.pause = (self.pause * 2).min(AGAIN_LONGEST);
        self.at = Instant::now() + self.pause;
        self.reason.clone_from(&problem.title);
        self
    }
}

/// Services that are known and do not run yet; nobody changes one until it has come back. See [`Node::recall`].
#[must_use]
pub struct Recalled<'a>(Vec<(Looking<'a>, Held)>);

impl std::fmt::Debug for Recalled<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(_, held)| &held.desired.name)).finish()
    }
}

impl Node {
    /// Takes up every service that is wanted, and its name: for whom the API is served to, they are there, and starting.
    ///
    /// # Errors
    /// What is wanted cannot be read.
    pub fn recall(&self) -> Result<Recalled<'_>, Box<Problem>> {
        let known = self.state.services()?.into_iter().filter_map(|desired| {
            let looking = self.reserve_to_look(&desired.name)?;
            let held = Held::unknown(desired);
            self.hold(held.clone());
            Some((looking, held))
        });
        Ok(Recalled(known.collect()))
    }

    /// Brings back every service that is wanted. One that does not start is kept and shown with the reason; see
    /// [`Self::look_after`].
    pub async fn restore(&self, recalled: Recalled<'_>) {
        futures_util::stream::iter(recalled.0)
            .for_each_concurrent(STARTS_AT_ONCE_MAX, |(_looking, held)| async {
                self.hold(self.come_back(held).await);
            })
            .await;
    }

    /// Tries services that are down, each after a pause that grows, until the node ends.
    pub async fn look_after(&self) {
        let mut ending = self.ending();
        let mut looked = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = ending.wait_for(|ending| *ending) => return,
            }
            if looked.elapsed() >= distrust::LOOK_EVERY {
                looked = Instant::now();
                self.end_distrusted().await;
            }
            let due: Vec<ServiceName> = {
                let services = lock(&self.services);
                let due =
                    services.values().filter(|held| held.is_due()).map(|held| held.desired.name.clone());
                due.collect()
            };
            for name in due {
                // A change that is under way decides by itself what becomes of the service.
                let Some(_looking) = self.reserve_to_look(&name) else { continue };
                if let Ok(held) = self.held(name.as_str())
                    && held.is_due()
                {
                    self.hold(self.come_back(held).await);
                }
            }
        }
    }

    /// Prepares a service, and starts it where it is to run.
    async fn come_back(&self, mut held: Held) -> Held {
        held.down = match self.try_come_back(&mut held).await {
            Ok(()) => None,
            Err(problem) => {
                tracing::warn!(service = %held.desired.name, %problem, "the service does not run");
                Some(match held.down.take() {
                    Some(down) => down.again(&problem),
                    None => Down::because(&problem),
                })
            }
        };
        held
    }

    async fn try_come_back(&self, held: &mut Held) -> Result<(), Box<Problem>> {
        self.restore_policy(held).await?;
        let brought = self.bring(&held.desired.url, Some(held.desired.sha256), &|_| {}).await?;
        held.settle(&brought)?;
        if held.desired.wanted == Wanted::Running {
            held.engine = Some(self.start_engine(held, &brought.code, false).await?);
        }
        Ok(())
    }

    /// Makes sure that a service of the node file is there as it says. What it says is applied once: a change that was
    /// made by hand since stays until the file says something new. Nothing is answered where nothing was to do.
    ///
    /// # Errors
    /// The service could not be loaded, or not changed; it is as it was.
    pub async fn apply(
        &self,
        name: &ServiceName,
        entry: &ServiceEntry,
    ) -> Result<Option<ServiceView>, Box<Problem>> {
        let trust = if entry.proxylet.sha256.is_some() { Trust::AsWanted } else { Trust::Unpinned };
        let Ok(held) = self.held(name.as_str()) else {
            return self.load_as(entry, trust, Some(entry.clone()), &|_| {}).await.map(Some);
        };
        if held.desired.applied.as_ref() == Some(entry) {
            return Ok(None);
        }
        let _reserved = self.reserve_soon(name).await?;
        // As a change has left it that was under way.
        let held = self.held(name.as_str())?;
        let brought = self.bring(&entry.proxylet.url, entry.proxylet.sha256, &|_| {}).await?;
        let desired = Desired {
            url: entry.proxylet.url.clone(),
            sha256: brought.code.digest(),
            pinned: entry.proxylet.sha256.is_some(),
            limits: entry.limits.clone(),
            on_trap: entry.on_trap,
            health: entry.health.clone(),
            record: entry.record,
            config: entry.config.clone(),
            applied: Some(entry.clone()),
            ..held.desired.clone()
        };
        let mut next = Held::plan(
            desired,
            &brought.code,
            entry.grant.as_deref(),
            trust,
            &format!("eep modify {name} --url {}", entry.proxylet.url),
        )?;
        next.log = Arc::clone(&held.log);
        next.policy = Arc::clone(&held.policy);
        let health = next.desired.health.clone();
        let before = held.desired.applied.as_ref().and_then(|entry| entry.policy.as_ref());
        let generation = held.policy.view().generation;
        if entry.policy.as_ref() != before {
            self.follow_file(&held, entry.policy.as_deref()).await?;
        }
        let exchanged = self.exchange(held, next, brought, &health, &|_| {}).await;
        if exchanged.is_err()
            && let Ok(held) = self.held(name.as_str())
            && held.policy.view().generation != generation
        {
            self.go_back_to(&held, Some(generation)).await?;
        }
        let view = exchanged?;
        self.unload_exceeding(name).await;
        Ok(Some(view))
    }

    /// Runs a proxylet that the operator starts the node with, under its own name. It is granted what it asks for. A
    /// service of that name which came from the same place takes over its new code; any other is left as it is.
    ///
    /// # Errors
    /// It could not be loaded.
    pub async fn ensure(&self, url: &Source, on: OnProgress<'_>) -> Result<ServiceView, Box<Problem>> {
        let brought = self.bring(url, None, on).await?;
        let code = brought.code.clone();
        let known = {
            let services = lock(&self.services);
            services.values().find(|held| held.desired.name.as_str() == code.manifest().name).cloned()
        };
        let Some(held) = known else {
            return self.load_as(&ServiceEntry::of(url.clone(), None), Trust::AsWanted, None, on).await;
        };
        let same = held.desired.sha256 == code.digest() || held.desired.url != *url || held.desired.pinned;
        if same {
            return Ok(held.view());
        }
        let _reserved = self.reserve_at_once(&held.desired.name).await?;
        // As a change has left it that was under way.
        let held = self.held(held.desired.name.as_str())?;
        let desired = Desired { sha256: code.digest(), ..held.desired.clone() };
        let listed = match &desired.granted {
            Granted::Listed(listed) => Some(listed.clone()),
            Granted::AsWanted => None,
        };
        let mut next = Held::plan(
            desired,
            &code,
            listed.as_deref(),
            Trust::AsWanted,
            &format!("eep modify {} --url {url}", held.desired.name),
        )?;
        next.log = Arc::clone(&held.log);
        next.policy = Arc::clone(&held.policy);
        let mut health = next.desired.health.clone();
        health.window_ms = health.window_ms.min(WATCHED_WINDOW_MS);
        self.exchange(held, next, brought, &health, on).await
    }
}

impl Held {
    /// Whether it is down and is to be tried now.
    fn is_due(&self) -> bool {
        self.desired.wanted == Wanted::Running
            && self.down.as_ref().is_some_and(|down| down.at <= Instant::now())
    }

    /// A service of which no more is known than that it is wanted.
    fn unknown(desired: Desired) -> Self {
        let grants = match &desired.granted {
            Granted::Listed(listed) => listed.iter().copied().collect(),
            Granted::AsWanted => Grants::default(),
        };
        Self {
            desired,
            manifest: Manifest::default(),
            grants,
            config: Map::new(),
            log: Arc::new(LogRing::new()),
            signers: Arc::default(),
            policy: Arc::default(),
            engine: None,
            down: None,
        }
    }
}
