//! What is known of a service, shared by its thread and those who ask.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Semaphore, watch};

use crate::host::Env;
use crate::observe::figures::Figures;
use crate::observe::log_ring::LogRing;
use crate::observe::series::SeriesTable;
use crate::policy::service::ServicePolicy;
use crate::proxylet::runtime::Runtime;
use crate::proxylet::service::ServiceSpec;
use crate::proxylet::status::{Listening, Protocol, State, Status};
use crate::proxylet::swap::SwapReport;
use crate::proxylet::trap::TrapReport;
use crate::record::service::Recordings;

/// Messages that may wait among the orders for a service.
const MESSAGES_MAX: usize = 4;

/// What is known of a service, shared by its thread and those who ask.
pub(crate) struct Life {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) name: String,
    pub(crate) log: Arc<LogRing>,
    pub(crate) policy: Arc<ServicePolicy>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) series: Arc<SeriesTable>,
    pub(crate) recordings: Arc<Recordings>,
    /// Places for messages among the orders.
    pub(crate) mail: Semaphore,
    now: Mutex<Now>,
    pub(crate) changes: watch::Sender<State>,
}

struct Now {
    /// What it is made of: the version that serves.
    spec: Arc<ServiceSpec>,
    state: State,
    reason: Option<String>,
    since: Option<Instant>,
    last_trap: Option<TrapReport>,
    last_swap: Option<SwapReport>,
    listening: Vec<Listening>,
}

impl Life {
    pub(crate) fn new(runtime: Arc<Runtime>, spec: ServiceSpec) -> Self {
        let (name, log, policy) = (spec.name.clone(), Arc::clone(&spec.log), Arc::clone(&spec.policy));
        let now = Now {
            spec: Arc::new(spec),
            state: State::Starting,
            reason: None,
            since: None,
            last_trap: None,
            last_swap: None,
            listening: Vec::new(),
        };
        let place = runtime.recordings.clone();
        let recordings = Recordings::new(&name, place, Arc::clone(&log));
        Self {
            runtime,
            name,
            log,
            policy,
            figures: Arc::default(),
            series: Arc::default(),
            recordings,
            mail: Semaphore::new(MESSAGES_MAX),
            now: Mutex::new(now),
            changes: watch::channel(State::Starting).0,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.lock().state
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the service is made of.
    pub(crate) fn spec(&self) -> Arc<ServiceSpec> {
        Arc::clone(&self.lock().spec)
    }

    /// Another version serves.
    pub(crate) fn adopt(&self, spec: &Arc<ServiceSpec>) {
        self.lock().spec = Arc::clone(spec);
    }

    /// Since when what serves has served; none where nothing does.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.lock().since
    }

    /// What serves has served since then.
    pub(crate) fn serves_since(&self, since: Option<Instant>) {
        self.lock().since = since;
    }

    /// Notes how a swap went.
    pub(crate) fn swapped(&self, report: SwapReport) {
        self.figures.swap(&report);
        self.lock().last_swap = Some(report);
    }

    /// Enters a state.
    pub(crate) fn enter(&self, state: State, reason: Option<String>) {
        let mut now = self.lock();
        now.state = state;
        now.reason = reason;
        if state == State::Running {
            now.since = Some(Instant::now());
        } else {
            now.since = None;
            now.listening.clear();
            self.figures.memory_bytes.set(0);
        }
        drop(now);
        self.changes.send_replace(state);
    }

    pub(crate) fn trapped(&self, trap: TrapReport) {
        self.lock().last_trap = Some(trap);
    }

    /// Notes the sockets on which the service waits for peers.
    pub(crate) fn publish_listening(&self, env: &Env) {
        let tcp = env.net.borrow().listeners.addresses().map(|a| (Protocol::Tcp, a)).collect::<Vec<_>>();
        let udp = env.datagrams.borrow().addresses().map(|a| (Protocol::Udp, a)).collect::<Vec<_>>();
        let listening =
            tcp.into_iter().chain(udp).map(|(protocol, address)| Listening { protocol, address }).collect();
        self.lock().listening = listening;
    }

    pub(crate) fn status(&self) -> Status {
        let now = self.lock();
        let (spec, f) = (&now.spec, &self.figures);
        let manifest = spec.code.manifest();
        Status {
            name: self.name.clone(),
            state: now.state,
            reason: now.reason.clone(),
            digest: spec.code.digest(),
            proxylet: manifest.name.clone(),
            version: manifest.version.clone(),
            grants: spec.grants.iter().copied().collect(),
            limits: spec.limits.clone(),
            uptime_s: now.since.map_or(0.0, |since| since.elapsed().as_secs_f64()),
            restarts: f.restarts.get(),
            last_trap: now.last_trap.clone(),
            last_swap: now.last_swap.clone(),
            memory_bytes: f.memory_bytes.get(),
            connections: f.connections.get(),
            connections_refused: f.connections_refused.get(),
            cpu_s: f.cpu_ns.get() as f64 / 1e9,
            batches: f.batches.get(),
            events: f.events.get(),
            received_bytes: f.received_bytes.get(),
            sent_bytes: f.sent_bytes.get(),
            batch_us_p50: f.batch_durations.quantile_us(0.50),
            batch_us_p99: f.batch_durations.quantile_us(0.99),
            listening: now.listening.clone(),
            recording: self.recordings.view(),
        }
    }
}
