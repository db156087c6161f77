//! Other code for a service that serves: as it is asked for, and as it went.
//!
//! ```text
//! running ─ save ─▶ restore in the new version ─▶ on probation ─ keep ─▶ running (new code)
//!                         │ trap, refusal              │ trap, revert
//!                         ▼                            ▼
//!                   running (old code)           running (old code, caught up)
//! ```
//!
//! What the service holds (sockets, connections, zlib streams, timers, events that wait) belongs to neither version and
//! stays where it is. The former instance is kept, paused, for as long as the new one is on probation.

use std::future::pending;
use std::time::SystemTime;

use serde::Serialize;
use tokio::sync::oneshot;

use crate::proxylet::digest::Digest;
use crate::proxylet::error::{ControlError, StartError};
use crate::proxylet::service::ServiceSpec;
use crate::proxylet::trap::TrapReport;

/// How a swap stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SwapOutcome {
    /// The new version serves, on probation.
    OnProbation,
    /// The new version serves.
    Held,
    /// The new version did not take over; the former one went on.
    Refused,
    /// The new version served and was taken back; the former one serves.
    RolledBack,
}

/// How the last swap of a service went.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct SwapReport {
    /// How it stands.
    pub outcome: SwapOutcome,
    /// Why the new version does not serve, where it does not.
    pub reason: Option<String>,
    /// The former code.
    #[schema(value_type = String)]
    pub from: Digest,
    /// The new code.
    #[schema(value_type = String)]
    pub to: Digest,
    /// For how long the service handled nothing, in seconds; for one that was rolled back, both times together.
    pub pause_s: f64,
    /// Connections that the new version took over.
    pub connections: u64,
    /// Connections that ended by the swap: not asked for by the new version, or not to be carried on after a roll-back.
    pub connections_closed: u64,
    /// When, in seconds since 1970-01-01T00:00:00Z.
    pub at_s: f64,
}

impl SwapReport {
    /// A swap that begins now.
    pub(crate) fn new(from: Digest, to: Digest) -> Self {
        Self {
            outcome: SwapOutcome::OnProbation,
            reason: None,
            from,
            to,
            pause_s: 0.0,
            connections: 0,
            connections_closed: 0,
            at_s: SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |d| d.as_secs_f64()),
        }
    }
}

/// Why a service does not run with the new version. The former one serves, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwapError {
    /// The service took no order.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The new version does not fit, traps in `restore`, or says no.
    #[error("the new version did not take over: {0}")]
    Refused(#[from] StartError),
    /// The running version trapped when it was asked for its state; `on-trap` decides what follows.
    #[error("the running version gave no state: {0}")]
    Save(TrapReport),
    /// The new version served for a while.
    #[error("the new version was taken back: {0}")]
    RolledBack(String),
}

/// What becomes of a version on probation.
#[derive(Debug)]
pub(crate) enum Verdict {
    Keep,
    Revert(String),
}

/// The order to swap, and how it is followed.
pub(crate) struct SwapOrder {
    pub(crate) spec: Box<ServiceSpec>,
    /// Told when the new version has taken over, or has not.
    pub(crate) told: oneshot::Sender<Result<(), SwapError>>,
    pub(crate) verdict: oneshot::Receiver<Verdict>,
    /// Told when the swap is over.
    pub(crate) ended: oneshot::Sender<Result<(), SwapError>>,
}

/// A new version on probation: it serves, and what it is asked to do is done when each batch is; a trap takes the
/// service back to the former version. Dropped without a verdict, it is taken back.
#[derive(Debug)]
pub struct Probation {
    verdict: Option<oneshot::Sender<Verdict>>,
    ended: oneshot::Receiver<Result<(), SwapError>>,
}

impl SwapOrder {
    /// An order, what is told when the new version has taken over, and the probation that follows.
    pub(crate) fn new(spec: ServiceSpec) -> (Self, oneshot::Receiver<Result<(), SwapError>>, Probation) {
        let (told, taken_over) = oneshot::channel();
        let (judge, verdict) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        let probation = Probation { verdict: Some(judge), ended: end };
        (Self { spec: Box::new(spec), told, verdict, ended }, taken_over, probation)
    }
}

impl Probation {
    /// Comes back when the service has left the new version by itself, with the reason.
    pub async fn failed(&mut self) -> SwapError {
        match (&mut self.ended).await {
            Ok(Err(error)) => error,
            // Nobody has said that it is over: it is not.
            Ok(Ok(())) => pending().await,
            Err(_) => ControlError::NotRunning.into(),
        }
    }

    /// Ends the probation well: the former version is given up. Comes back when the new version's state is on disk.
    ///
    /// # Errors
    /// The service had left the new version before.
    pub async fn keep(mut self) -> Result<(), SwapError> {
        self.judge(Verdict::Keep);
        self.ended.await.unwrap_or(Err(ControlError::NotRunning.into()))
    }

    /// Takes the service back to the former version. Comes back when it serves.
    pub async fn revert(mut self, why: String) -> SwapError {
        self.judge(Verdict::Revert(why));
        match self.ended.await {
            Ok(Err(error)) => error,
            _ => ControlError::NotRunning.into(),
        }
    }

    fn judge(&mut self, verdict: Verdict) {
        if let Some(judge) = self.verdict.take() {
            // Where it is not heard, the service has ended the probation by itself.
            let _ = judge.send(verdict);
        }
    }
}
