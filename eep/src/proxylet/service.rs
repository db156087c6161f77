//! A service as the rest of the node sees it: started, ordered, asked.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot, watch};

use crate::host::grant::Grants;
use crate::observe::figures::Figures;
use crate::observe::log_ring::LogRing;
use crate::observe::series::Series;
use crate::policy::facts::Counted;
use crate::policy::service::ServicePolicy;
use crate::proxylet::code::Code;
use crate::proxylet::error::{ControlError, StartError};
use crate::proxylet::life::Life;
use crate::proxylet::limits::Limits;
use crate::proxylet::optimise::{self, Optimised};
use crate::proxylet::permit::Permit;
use crate::proxylet::runtime::Runtime;
use crate::proxylet::status::{State, Status};
use crate::proxylet::supervisor;
use crate::proxylet::swap::{Probation, SwapError, SwapOrder};
use crate::record::queue::Inlet;
use crate::record::service::Record;

/// What follows a trap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnTrap {
    /// The service is started again with its last checkpoint, after a pause that grows with each trap in a row. Its
    /// listeners stay open: whoever connects meanwhile waits.
    #[default]
    Restart,
    /// The service stays down, and its listeners are closed: whoever connects is refused, and another program may have
    /// the addresses.
    Stop,
    /// The service stays down, and its listeners stay bound: whoever connects is cut off at once, and no other program
    /// can answer at these addresses until an operator decides.
    FailClosed,
    /// As `restart`; whoever connects meanwhile is passed on to this address, and what they say is seen by nobody here.
    FailOpen {
        /// Where to.
        #[schema(value_type = String)]
        to: SocketAddr,
    },
}

/// What a service is made of.
#[derive(Clone, Debug)]
pub struct ServiceSpec {
    /// Its name on this node, unique there.
    pub name: String,
    /// The code, from [`Runtime::prepare`].
    pub code: Code,
    /// Its rights.
    pub grants: Grants,
    /// Its limits.
    pub limits: Limits,
    /// What follows a trap.
    pub on_trap: OnTrap,
    /// Its whole configuration, defaults included ([`crate::proxylet::manifest::Manifest::config_with`]).
    pub config: Map<String, Value>,
    /// Whether a checkpoint that the store may have is passed over: the proxylet's `start` is called and not `restore`.
    pub fresh: bool,
    /// Its policy. Give the same one again so that counts and record outlive a stop.
    pub policy: Arc<ServicePolicy>,
    /// Whether it is recorded from its start on.
    pub record: Record,
    /// Where its lines go. Give the same one again so that the log outlives a stop.
    pub log: Arc<LogRing>,
    /// Whether its code may still run, asked before it is started again after a trap.
    pub vouched: Vouched,
}

/// Says whether code may still run, or why not.
#[derive(Clone)]
pub struct Vouched {
    ask: Option<Arc<Ask>>,
    permit: Option<Permit>,
}

type Ask = dyn Fn() -> Result<(), String> + Send + Sync;

impl Vouched {
    /// It may.
    #[must_use]
    pub fn always() -> Self {
        Self { ask: None, permit: None }
    }

    /// This says whether. It may block for as long as it takes to read some files.
    #[must_use]
    pub fn by(ask: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { ask: Some(Arc::new(ask)), permit: None }
    }

    /// And only while a permit holds: without it the service ends between two batches, and nothing that it has not sent
    /// yet leaves.
    #[must_use]
    pub fn within(self, permit: Permit) -> Self {
        Self { permit: Some(permit), ..self }
    }

    pub(crate) fn ask(&self) -> Result<(), String> {
        if !self.holds() {
            return Err("its lease is over".to_owned());
        }
        self.ask.as_ref().map_or(Ok(()), |ask| ask())
    }

    /// Whether its permit holds, where it needs one.
    pub(crate) fn holds(&self) -> bool {
        self.permit.as_ref().is_none_or(Permit::holds)
    }
}

impl fmt::Debug for Vouched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vouched").field("permit", &self.permit).finish_non_exhaustive()
    }
}

/// A service that was started. Cheap to clone; all clones mean the same service. When the last one is dropped the
/// service is stopped.
#[derive(Clone)]
pub struct Service {
    life: Arc<Life>,
    orders: mpsc::Sender<Order>,
}

/// What a service's thread can be told.
pub(crate) enum Order {
    Stop {
        drain: Duration,
        done: oneshot::Sender<()>,
    },
    Configure {
        config: String,
        done: oneshot::Sender<Result<(), ControlError>>,
    },
    Swap(Box<SwapOrder>),
    /// The same code, compiled for speed.
    Optimise {
        code: Code,
        done: oneshot::Sender<Optimised>,
    },
    /// Another generation of the policy is in force.
    Policy {
        done: oneshot::Sender<()>,
    },
    /// A message from another service.
    Message {
        sender: String,
        bytes: Vec<u8>,
        done: oneshot::Sender<Result<(), ControlError>>,
    },
    /// Records it to one more place, from its state as it is now.
    Record {
        to: Arc<Inlet>,
        done: oneshot::Sender<Result<(), ControlError>>,
    },
}

/// Orders that may wait for a service.
const ORDERS_MAX: usize = 16;

impl Service {
    /// Starts a service on a thread of its own. Comes back when the proxylet's `start` (or `restore`, where there is
    /// a checkpoint) has returned: its listeners are open then, or it said why they are not.
    ///
    /// # Errors
    /// Why it does not run. Nothing is left behind.
    pub async fn start(runtime: &Arc<Runtime>, spec: ServiceSpec) -> Result<Self, StartError> {
        spec.limits.check()?;
        spec.code.check_grants(&spec.grants)?;
        let running = runtime
            .ticker
            .admit(runtime.config.services_max as usize)
            .map_err(|running| StartError::Full { running })?;
        let life = Arc::new(Life::new(Arc::clone(runtime), spec));
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let (tell, told) = oneshot::channel();
        let mine = Arc::clone(&life);
        thread::Builder::new().name(format!("eep:{}", life.name)).spawn(move || {
            let ended = supervisor::run(&mine, taken, tell);
            // Whoever starts again on hearing that it has ended finds everything free.
            drop(mine);
            drop(running);
            if let Err((tell, error)) = ended {
                let _ = tell.send(Err(error));
            }
        })?;
        let quick = Some(life.spec().code.clone()).filter(Code::is_quick);
        match told.await {
            Ok(Ok(())) => {
                let service = Self { life, orders };
                service.optimise(quick);
                Ok(service)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StartError::System(std::io::Error::other("the service's thread ended"))),
        }
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.life.name
    }

    /// Saves its state, calls its `stop`, lets what it has sent leave within `drain`, and ends it. Comes back when
    /// that is done; at once where it does not run.
    ///
    /// # Errors
    /// [`ControlError::Busy`]: it was not told.
    pub async fn stop(&self, drain: Duration) -> Result<(), ControlError> {
        let (done, wait) = oneshot::channel();
        match self.orders.try_send(Order::Stop { drain, done }) {
            Ok(()) => {
                // Where the thread ends without an answer the service has ended all the same.
                let _ = wait.await;
                Ok(())
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(ControlError::Busy),
        }
    }

    /// Gives it a new configuration, whole, and comes back when the proxylet has taken it (event `configured`). It is
    /// also what the service is started with after a trap.
    ///
    /// # Errors
    /// It does not run, it is busy, or it trapped over the new configuration and is started again with it.
    pub async fn configure(&self, config: &Map<String, Value>) -> Result<(), ControlError> {
        let config = Value::Object(config.clone()).to_string();
        let (done, wait) = oneshot::channel();
        match self.orders.try_send(Order::Configure { config, done }) {
            Ok(()) => wait.await.unwrap_or(Err(ControlError::Trapped)),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(ControlError::NotRunning),
            Err(mpsc::error::TrySendError::Full(_)) => Err(ControlError::Busy),
        }
    }

    /// Has other code take over, or the same with other rights and limits, with all that the service holds: sockets,
    /// connections, timers, events that wait. Comes back when the new version serves; it is on probation then. The
    /// service's name and log stay what they are.
    ///
    /// # Errors
    /// Why the new version does not serve. The former one goes on as if nothing had been.
    pub async fn swap(&self, spec: ServiceSpec) -> Result<Probation, SwapError> {
        spec.limits.check().map_err(StartError::from)?;
        spec.code.check_grants(&spec.grants).map_err(StartError::from)?;
        let quick = Some(spec.code.clone()).filter(Code::is_quick);
        let (order, taken_over, probation) = SwapOrder::new(spec);
        self.orders.try_send(Order::Swap(Box::new(order))).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(_) => ControlError::NotRunning,
            mpsc::error::TrySendError::Full(_) => ControlError::Busy,
        })?;
        taken_over.await.unwrap_or(Err(ControlError::NotRunning.into()))?;
        self.optimise(quick);
        Ok(probation)
    }

    /// Sees to it that code that was compiled quickly is soon replaced.
    fn optimise(&self, quick: Option<Code>) {
        if let Some(code) = quick {
            let runtime = Arc::clone(&self.life.runtime);
            tokio::spawn(optimise::run(runtime, code, self.orders.downgrade()));
        }
    }

    /// Has it take over the generation of its policy that is in force. Comes back when every decision is made by that
    /// one; at once where it does not run.
    pub async fn policy_changed(&self) {
        let (done, wait) = oneshot::channel();
        if self.orders.send(Order::Policy { done }).await.is_ok() {
            // Where the thread ends without an answer nothing decides any more.
            let _ = wait.await;
        }
    }

    /// Hands it a message from another service. Comes back when it is among what the proxylet is told next.
    ///
    /// # Errors
    /// It does not run, or does not keep up.
    pub async fn tell(&self, sender: String, bytes: Vec<u8>) -> Result<(), ControlError> {
        // Messages take up few of the places: an operator's orders find one whoever sends them.
        let Ok(_place) = self.life.mail.try_acquire() else { return Err(ControlError::Busy) };
        let (done, wait) = oneshot::channel();
        match self.orders.try_send(Order::Message { sender, bytes, done }) {
            Ok(()) => wait.await.unwrap_or(Err(ControlError::NotRunning)),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(ControlError::NotRunning),
            Err(mpsc::error::TrySendError::Full(_)) => Err(ControlError::Busy),
        }
    }

    /// Its policy.
    #[must_use]
    pub fn policy(&self) -> &Arc<ServicePolicy> {
        &self.life.policy
    }

    /// Records it, from its state as it is now: the pieces of a file, until the receiver is dropped. Only one at a time.
    ///
    /// A replay gives the state to a new instance, which may differ from the one that was recorded in what `save` does
    /// not say. With `renew`, its present configuration, the service itself goes on with such an instance, as in a swap:
    /// then the replay is exact.
    ///
    /// # Errors
    /// It does not run, it is busy or recorded so already, it trapped in `save`, it cannot be renewed, or the system
    /// gives no thread. It goes on as it was.
    pub async fn record(
        &self,
        renew: Option<&Map<String, Value>>,
    ) -> Result<mpsc::Receiver<Vec<u8>>, ControlError> {
        let (to, pieces) = self.life.recordings.to_client()?.ok_or(ControlError::Recorded)?;
        if let Some(config) = renew {
            // The new instance's recorder finds the client.
            let spec = ServiceSpec { config: config.clone(), ..ServiceSpec::clone(&self.life.spec()) };
            let renewed = async { self.swap(spec).await?.keep().await };
            return match renewed.await {
                Ok(()) => Ok(pieces),
                Err(error) => Err(ControlError::NotRenewed(error.to_string())),
            };
        }
        let (done, wait) = oneshot::channel();
        match self.orders.try_send(Order::Record { to, done }) {
            Ok(()) => wait.await.unwrap_or(Err(ControlError::Trapped))?,
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(ControlError::NotRunning),
            Err(mpsc::error::TrySendError::Full(_)) => return Err(ControlError::Busy),
        }
        Ok(pieces)
    }

    /// What can be known of it now. Takes some microseconds and disturbs nothing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.life.status()
    }

    /// Its state, and each change of it.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<State> {
        self.life.changes.subscribe()
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Arc<LogRing> {
        &self.life.log
    }

    /// The time series that its proxylet keeps, as they are now.
    #[must_use]
    pub fn series(&self) -> Vec<Series> {
        self.life.series.snapshot()
    }

    /// What is counted of it, for its policy.
    pub(crate) fn counted(&self) -> Counted {
        Counted::of(&self.life.figures)
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.life.figures
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.life.name).field("state", &self.life.state()).finish()
    }
}
