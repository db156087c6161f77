//! What an operator does to a service's policy, and what becomes of it by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::config::ServiceName;
use crate::config::mesh::TrustedDomain;
use crate::mesh::trust::{May, domain_name, read_authorities};
use crate::mesh::{MeshSettings, admission};
use crate::node::{Held, Node, blocking, lock};
use crate::observe::log_ring::{LogLevel, LogSource};
use crate::policy::carried::Carried;
use crate::policy::explain::{Explain, Explained};
use crate::policy::facts::Counted;
use crate::policy::generation::Generation;
use crate::policy::service::{Applied, PolicyView, ServicePolicy, Told};
use crate::policy::unenforced::Asker;
use crate::problem::Problem;
use crate::proxylet::service::Service;

/// How often trials and files of sets are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// By this name the policy of the mesh is spoken of. No service can be called so.
pub const MESH: &str = "@mesh";
/// The longest trial, in seconds: a week.
const CONFIRM_S_MAX: u64 = 7 * 86_400;

/// A policy to be put in force.
#[derive(Clone, Debug, Default, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Apply {
    /// The policy's file, on the node; the one that is in force where it is missing, read anew.
    #[schema(value_type = Option<String>)]
    pub file: Option<PathBuf>,
    /// Go back by itself, unless it is confirmed within so many seconds; at most a week.
    pub confirm_s: Option<u64>,
}

/// A generation to go back to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RollBack {
    /// Its number; the one before where it is missing, 0 for no policy.
    pub to: Option<u64>,
}

/// A service's policy and its generations.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PolicyHistory {
    /// What is in force.
    #[serde(flatten)]
    pub now: PolicyView,
    /// The generations that are kept, the oldest first.
    pub history: Vec<Generation>,
}

fn now_s() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// A policy and whose it is: a service's, or the mesh's.
#[derive(Clone, Debug)]
pub(super) struct PolicyOf {
    policy: Arc<ServicePolicy>,
    name: String,
    service: Option<Held>,
}

impl From<&Held> for PolicyOf {
    fn from(held: &Held) -> Self {
        let (policy, name) = (Arc::clone(&held.policy), held.desired.name.to_string());
        Self { policy, name, service: Some(held.clone()) }
    }
}

impl PolicyOf {
    /// Has a service decide by what is in force; the mesh looks at each decision.
    async fn policy_changed(&self) {
        if let Some(held) = &self.service {
            held.policy_changed().await;
        }
    }

    /// Says it in the service's log; what must not be missed, and what is about the mesh, in the node's.
    fn tell(&self, told: &Told) {
        match (&self.service, told) {
            (Some(held), told) => held.tell(told),
            (None, Told::Info(line)) => tracing::info!(policy = self.name, "{line}"),
            (None, Told::Warn(line)) => tracing::warn!(policy = self.name, "{line}"),
        }
    }
}

impl Node {
    /// Reads a policy and puts it in force. When this returns it decides, and it is on disk that it does.
    ///
    /// # Errors
    /// What is wrong with it. What was in force still is.
    pub async fn apply_policy(&self, name: &str, apply: &Apply) -> Result<Applied, Box<Problem>> {
        if apply.confirm_s.is_some_and(|s| s == 0 || s > CONFIRM_S_MAX) {
            return Err(Problem::new("bad-request", 422, "a trial lasts from a second to a week")
                .at("confirm_s")
                .fix("give a time such as 5m"));
        }
        let (of, _reserved) = self.policy_to_change(name).await?;
        let applied = self.apply_to(of.clone(), apply.file.clone(), apply.confirm_s).await?;
        of.tell(&Told::Info(format!("policy generation {} is in force", applied.now.generation)));
        of.policy_changed().await;
        Ok(applied)
    }

    /// Keeps a policy that is on trial.
    ///
    /// # Errors
    /// Nothing is on trial.
    pub async fn confirm_policy(&self, name: &str) -> Result<PolicyView, Box<Problem>> {
        let (of, _reserved) = self.policy_to_change(name).await?;
        let view =
            self.with_policy(of.clone(), |policy, state, service| policy.confirm(state, service)).await?;
        of.tell(&Told::Info(format!("policy generation {} is confirmed", view.generation)));
        Ok(view)
    }

    /// Puts an earlier generation in force again.
    ///
    /// # Errors
    /// There is none such. What was in force still is.
    pub async fn roll_back_policy(&self, name: &str, to: RollBack) -> Result<PolicyView, Box<Problem>> {
        let (of, _reserved) = self.policy_to_change(name).await?;
        self.go_back_to(of, to.to).await
    }

    /// The right to change a policy. Changes of the mesh's wait for each other.
    async fn policy_to_change(
        &self,
        name: &str,
    ) -> Result<(PolicyOf, Option<super::Reserved<'_>>), Box<Problem>> {
        let of = self.policy_of(name)?;
        let Some(held) = of.service else { return Ok((of, None)) };
        let reserved = self.reserve_soon(&held.desired.name).await?;
        Ok((self.policy_of(name)?, Some(reserved)))
    }

    pub(super) async fn go_back_to(
        &self,
        of: impl Into<PolicyOf>,
        to: Option<u64>,
    ) -> Result<PolicyView, Box<Problem>> {
        let of = of.into();
        let view = self
            .with_policy(of.clone(), move |policy, state, service| policy.roll_back(state, service, to))
            .await?;
        of.tell(&Told::Warn(match view.generation {
            0 => "rolled back: there is no policy any more".to_owned(),
            n => format!("rolled back: policy generation {n} is in force again"),
        }));
        of.policy_changed().await;
        Ok(view)
    }

    /// The policy of a service, or with [`MESH`] that of the mesh.
    pub(super) fn policy_of(&self, name: &str) -> Result<PolicyOf, Box<Problem>> {
        if name == MESH {
            self.mesh()?;
            return Ok(self.policy_of_mesh());
        }
        self.held(name).map(|held| PolicyOf::from(&held))
    }

    fn policy_of_mesh(&self) -> PolicyOf {
        PolicyOf { policy: Arc::clone(&self.mesh_policy), name: MESH.to_owned(), service: None }
    }

    /// A service's policy and its generations.
    ///
    /// # Errors
    /// There is no such service.
    pub fn policy_history(&self, name: &str) -> Result<PolicyHistory, Box<Problem>> {
        let policy = self.policy_of(name)?.policy;
        Ok(PolicyHistory { now: policy.view(), history: policy.history() })
    }

    /// A service's policy, for its decisions on record.
    ///
    /// # Errors
    /// There is no such service.
    pub fn policy(&self, name: &str) -> Result<Arc<ServicePolicy>, Box<Problem>> {
        self.policy_of(name).map(|of| of.policy)
    }

    /// How a service's policy came to a decision on record, or comes to one about an event.
    ///
    /// # Errors
    /// There is no such service or decision, or the event is none.
    pub async fn explain_policy(&self, name: &str, asked: Explain) -> Result<Explained, Box<Problem>> {
        let of = self.policy_of(name)?;
        self.with_policy(of.clone(), move |policy, state, _| policy.explain(state, &asked)).await
    }

    pub(super) async fn apply_to(
        &self,
        of: impl Into<PolicyOf>,
        file: Option<PathBuf>,
        confirm_s: Option<u64>,
    ) -> Result<Applied, Box<Problem>> {
        self.with_policy(of, move |policy, state, service| {
            policy.apply(state, service, file.as_deref(), now_s(), confirm_s)
        })
        .await
    }

    /// Keeps a policy that came with a service, in a folder of its own; the path of its file there.
    pub(super) async fn lay_down(
        &self,
        service: &ServiceName,
        policy: Carried,
    ) -> Result<PathBuf, Box<Problem>> {
        let folder = self.carried_folder(service);
        blocking(move || policy.lay_into(&folder)).await?
    }

    /// Forgets the policy that came with a service, where one did.
    pub(super) async fn forget_carried(&self, service: &ServiceName) {
        let folder = self.carried_folder(service);
        // What cannot be removed is overwritten by the next one.
        let _ = blocking(move || std::fs::remove_dir_all(folder)).await;
    }

    fn carried_folder(&self, service: &ServiceName) -> PathBuf {
        self.state.directory().path().join("policies").join(service.as_str())
    }

    /// The node file names another policy than it did, or none any more.
    pub(super) async fn follow_file(&self, held: &Held, file: Option<&Path>) -> Result<(), Box<Problem>> {
        if let Some(file) = file {
            self.apply_to(held, Some(file.to_owned()), None).await?;
            held.policy_changed().await;
        } else if held.policy.view().generation > 0 {
            self.go_back_to(held, Some(0)).await?;
        }
        Ok(())
    }

    /// Puts in force what was in force when the node ended.
    pub(super) async fn restore_policy(&self, held: &Held) -> Result<(), Box<Problem>> {
        self.with_policy(held, |policy, state, service| policy.restore(state, service)).await
    }

    /// Does what reads or writes files off the threads that answer.
    async fn with_policy<T: Send + 'static>(
        &self,
        of: impl Into<PolicyOf>,
        act: impl FnOnce(&ServicePolicy, &crate::state::State, &str) -> Result<T, Box<Problem>> + Send + 'static,
    ) -> Result<T, Box<Problem>> {
        let (of, state) = (of.into(), Arc::clone(&self.state));
        blocking(move || act(&of.policy, &state, &of.name)).await?
    }

    /// Ends trials that nobody confirms, and reloads sets whose files change, until the node ends.
    pub async fn look_after_policies(&self) {
        let mut ending = self.ending();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = ending.wait_for(|ending| *ending) => return,
            }
            let whereabouts = Arc::clone(&self.runtime.whereabouts);
            match blocking(move || whereabouts.look()).await {
                Ok(Some(Told::Info(line))) => tracing::info!("{line}"),
                Ok(Some(Told::Warn(line))) => tracing::warn!("{line}"),
                Ok(None) | Err(_) => {}
            }
            let names: Vec<ServiceName> = lock(&self.services).keys().cloned().collect();
            for name in names {
                // A change that is under way comes first; the next look sees what became of it.
                let Some(_looking) = self.reserve_to_look(&name) else { continue };
                let Ok(held) = self.held(name.as_str()) else { continue };
                let counted = held.engine.as_ref().map(Service::counted).unwrap_or_default();
                self.look_at_policy(PolicyOf::from(&held), counted).await;
            }
            if self.mesh().is_ok() {
                self.look_at_policy(self.policy_of_mesh(), Counted::default()).await;
            }
        }
    }

    async fn look_at_policy(&self, of: PolicyOf, counted: Counted) {
        let now_ns = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let looked = self
            .with_policy(of.clone(), move |policy, state, service| {
                let (told, changed) = policy.look(state, service, now_s());
                let mut told: Vec<Told> = told.into_iter().collect();
                told.extend(policy.look_at_alarms(now_ns, counted));
                if let Err(problem) = policy.keep_usage(state, service) {
                    tracing::warn!(%service, %problem, "what is used of budgets is not kept");
                }
                Ok((told, changed))
            })
            .await;
        let Ok((told, changed)) = looked else { return };
        told.iter().for_each(|told| of.tell(told));
        if changed {
            of.policy_changed().await;
        }
    }

    /// Puts the policy of the mesh in force before the node joins it: what was in force when the node ended, or, where the
    /// node file says something else than it did, what that says. Without `mesh.policy`, `mesh.trust` is made into one.
    ///
    /// # Errors
    /// What is wrong with it. The node must not join the mesh without it.
    pub async fn govern_mesh(&self, settings: &MeshSettings) -> Result<(), Box<Problem>> {
        let of = self.policy_of_mesh();
        of.policy.set_asker(Asker::Mesh);
        self.with_policy(of.clone(), |policy, state, name| policy.restore(state, name)).await?;
        let (file, text) = match &settings.policy {
            Some(file) => (file.clone(), None),
            None => {
                let trusted: Result<Vec<_>, String> = settings.trust.iter().map(named).collect();
                let text = admission::policy_of(
                    &trusted.map_err(|words| Problem::words("mesh-trust", 500, &words))?,
                );
                (self.state.directory().path().join("policies").join("mesh-trust.yaml"), Some(text))
            }
        };
        self.with_policy(of, move |policy, state, name| {
            if policy.follows(&file, text.as_deref()) {
                return Ok(());
            }
            if let Some(text) = &text {
                let written = file.parent().map_or(Ok(()), std::fs::create_dir_all);
                written.and_then(|()| std::fs::write(&file, text)).map_err(|e| {
                    Problem::new("state", 500, format!("the policy of the mesh cannot be written: {e}"))
                        .at(file.display().to_string())
                })?;
            }
            policy.apply(state, name, Some(&file), now_s(), None).map(drop)
        })
        .await
    }
}

/// A trusted domain by its name, with what it may ask for.
fn named(domain: &TrustedDomain) -> Result<(String, Vec<May>), String> {
    let name = domain_name(&read_authorities(&domain.ca)?)?;
    Ok((name, domain.may.iter().flatten().copied().collect()))
}

impl Held {
    /// Has the service decide by what is in force.
    async fn policy_changed(&self) {
        if let Some(engine) = &self.engine {
            engine.policy_changed().await;
        }
    }

    /// Says it in the service's log; what must not be missed in the node's as well.
    fn tell(&self, told: &Told) {
        match told {
            Told::Info(line) => self.log.write(LogLevel::Info, LogSource::Node, line),
            Told::Warn(line) => {
                self.log.write(LogLevel::Warn, LogSource::Node, line);
                tracing::warn!(service = %self.desired.name, "{line}");
            }
        }
    }
}
