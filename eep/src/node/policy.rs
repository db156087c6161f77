//! What an operator does to a service's policy, and what becomes of it by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::config::ServiceName;
use crate::node::{Held, Node, blocking, lock};
use crate::observe::log_ring::{LogLevel, LogSource};
use crate::policy::carried::Carried;
use crate::policy::explain::{Explain, Explained};
use crate::policy::generation::Generation;
use crate::policy::service::{Applied, PolicyView, ServicePolicy, Told};
use crate::problem::Problem;

/// How often trials and files of sets are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
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
        let name = self.held(name)?.desired.name;
        let _reserved = self.reserve_soon(&name).await?;
        let held = self.held(name.as_str())?;
        let applied = self.apply_to(&held, apply.file.clone(), apply.confirm_s).await?;
        held.tell(&Told::Info(format!("policy generation {} is in force", applied.now.generation)));
        held.policy_changed().await;
        Ok(applied)
    }

    /// Keeps a policy that is on trial.
    ///
    /// # Errors
    /// Nothing is on trial.
    pub async fn confirm_policy(&self, name: &str) -> Result<PolicyView, Box<Problem>> {
        let name = self.held(name)?.desired.name;
        let _reserved = self.reserve_soon(&name).await?;
        let held = self.held(name.as_str())?;
        let view = self.with_policy(&held, |policy, state, service| policy.confirm(state, service)).await?;
        held.tell(&Told::Info(format!("policy generation {} is confirmed", view.generation)));
        Ok(view)
    }

    /// Puts an earlier generation in force again.
    ///
    /// # Errors
    /// There is none such. What was in force still is.
    pub async fn roll_back_policy(&self, name: &str, to: RollBack) -> Result<PolicyView, Box<Problem>> {
        let name = self.held(name)?.desired.name;
        let _reserved = self.reserve_soon(&name).await?;
        let held = self.held(name.as_str())?;
        self.go_back_to(&held, to.to).await
    }

    pub(super) async fn go_back_to(&self, held: &Held, to: Option<u64>) -> Result<PolicyView, Box<Problem>> {
        let view = self
            .with_policy(held, move |policy, state, service| policy.roll_back(state, service, to))
            .await?;
        held.tell(&Told::Warn(match view.generation {
            0 => "rolled back: there is no policy any more".to_owned(),
            n => format!("rolled back: policy generation {n} is in force again"),
        }));
        held.policy_changed().await;
        Ok(view)
    }

    /// A service's policy and its generations.
    ///
    /// # Errors
    /// There is no such service.
    pub fn policy_history(&self, name: &str) -> Result<PolicyHistory, Box<Problem>> {
        let policy = self.held(name)?.policy;
        Ok(PolicyHistory { now: policy.view(), history: policy.history() })
    }

    /// A service's policy, for its decisions on record.
    ///
    /// # Errors
    /// There is no such service.
    pub fn policy(&self, name: &str) -> Result<Arc<ServicePolicy>, Box<Problem>> {
        self.held(name).map(|held| held.policy)
    }

    /// How a service's policy came to a decision on record, or comes to one about an event.
    ///
    /// # Errors
    /// There is no such service or decision, or the event is none.
    pub async fn explain_policy(&self, name: &str, asked: Explain) -> Result<Explained, Box<Problem>> {
        let held = self.held(name)?;
        self.with_policy(&held, move |policy, state, _| policy.explain(state, &asked)).await
    }

    pub(super) async fn apply_to(
        &self,
        held: &Held,
        file: Option<PathBuf>,
        confirm_s: Option<u64>,
    ) -> Result<Applied, Box<Problem>> {
        self.with_policy(held, move |policy, state, service| {
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
        held: &Held,
        act: impl FnOnce(&ServicePolicy, &crate::state::State, &str) -> Result<T, Box<Problem>> + Send + 'static,
    ) -> Result<T, Box<Problem>> {
        let (policy, state, service) =
            (Arc::clone(&held.policy), Arc::clone(&self.state), held.desired.name.clone());
        blocking(move || act(&policy, &state, service.as_str())).await?
    }

    /// Ends trials that nobody confirms, and reloads sets whose files change, until the node ends.
    pub async fn look_after_policies(&self) {
        let mut ending = self.ending();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = ending.wait_for(|ending| *ending) => return,
            }
            let names: Vec<ServiceName> = lock(&self.services).keys().cloned().collect();
            for name in names {
                // A change that is under way comes first; the next look sees what became of it.
                let Some(_looking) = self.reserve_to_look(&name) else { continue };
                let Ok(held) = self.held(name.as_str()) else { continue };
                let connections = held.engine.as_ref().map_or(0, |engine| engine.status().connections);
                let now_ns = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
                let looked = self
                    .with_policy(&held, move |policy, state, service| {
                        let (told, changed) = policy.look(state, service, now_s());
                        let mut told: Vec<Told> = told.into_iter().collect();
                        told.extend(policy.look_at_alarms(now_ns, connections as usize));
                        if let Err(problem) = policy.keep_usage(state, service) {
                            tracing::warn!(%service, %problem, "what is used of budgets is not kept");
                        }
                        Ok((told, changed))
                    })
                    .await;
                let Ok((told, changed)) = looked else { continue };
                told.iter().for_each(|told| held.tell(told));
                if changed {
                    held.policy_changed().await;
                }
            }
        }
    }
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
