//! What a proxylet can reach: one file a capability, the answer to one interface of `proxylets/wit`.
//!
//! All of a service's host functions and socket tasks run on the service's own thread and share its [`Env`]; nothing
//! here is locked.

pub(crate) mod address;
pub(crate) mod bindings;
pub(crate) mod clock;
pub(crate) mod datagram;
mod deploy;
pub(crate) mod descriptors;
pub(crate) mod effects;
pub(crate) mod enforce;
pub mod grant;
pub(crate) mod inbox;
pub(crate) mod kv;
pub(crate) mod legacy;
pub(crate) mod log;
pub(crate) mod measured;
pub(crate) mod mesh;
mod metrics;
pub(crate) mod net;
pub(crate) mod outside;
mod policy;
mod random;
pub(crate) mod recorded;
pub(crate) mod requests;
pub(crate) mod topology;
pub(crate) mod wasi;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use wasmtime::component::Linker;

use crate::host::bindings::eep::proxylet as wit;
use crate::host::bindings::eep::proxylet::types::Event;
use crate::host::clock::{ServiceClock, Timers};
use crate::host::datagram::Datagrams;
use crate::host::effects::Effects;
use crate::host::enforce::Enforcer;
use crate::host::grant::Grants;
use crate::host::inbox::Inbox;
use crate::host::kv::Kv;
use crate::host::log::LogGate;
use crate::host::net::Net;
use crate::host::outside::Door;
use crate::host::recorded::Recorded;
use crate::host::requests::Requests;
use crate::host::topology::Watching;
use crate::host::wasi::{Stdio, Wasi};
use crate::observe::figures::Figures;
use crate::observe::series::SeriesTable;
use crate::proxylet::limits::Limits;
use crate::proxylet::memory::MemoryLimit;
use crate::record::recorder::Recorder;

/// What the host functions of a service's instances and its socket tasks share.
#[derive(Debug)]
pub(crate) struct Env {
    /// Itself, for tasks that outlive a call.
    pub(crate) this: Weak<Self>,
    pub(crate) door: Door,
    pub(crate) requests: RefCell<Requests>,
    pub(crate) watching: RefCell<Watching>,
    pub(crate) grants: RefCell<Grants>,
    pub(crate) clock: ServiceClock,
    pub(crate) inbox: RefCell<Inbox>,
    pub(crate) net: RefCell<Net>,
    pub(crate) datagrams: RefCell<Datagrams>,
    pub(crate) timers: RefCell<Timers>,
    pub(crate) effects: RefCell<Effects>,
    /// Whether a socket that waits for peers was opened or closed since it was last asked.
    pub(crate) listening_changed: Cell<bool>,
    pub(crate) log: LogGate,
    pub(crate) kv: Kv,
    pub(crate) policy: RefCell<Enforcer>,
    pub(crate) series: Arc<SeriesTable>,
    pub(crate) figures: Arc<Figures>,
}

impl Env {
    /// Puts rights and limits in force. Connections beyond a lower limit stay.
    pub(crate) fn allow(&self, grants: &Grants, limits: &Limits) {
        self.grants.borrow_mut().clone_from(grants);
        self.policy.borrow_mut().set_aware(grants.policy());
        self.net.borrow_mut().allow(limits.connections);
        self.log.allow(limits.log_lines_per_s);
        self.kv.allow(limits.kv.0);
    }

    /// Takes over the generation of the policy that is in force, between two batches: no batch is decided by two.
    pub(crate) fn change_policy(&self) {
        let generation = self.policy.borrow_mut().refresh();
        let mut inbox = self.inbox.borrow_mut();
        self.net.borrow_mut().change_policy(self, &mut inbox);
        if self.policy.borrow().is_aware() {
            inbox.push(Event::PolicyChanged(generation));
        }
    }

    /// Closes every socket and forgets every timer and request.
    pub(crate) fn close(&self) {
        self.requests.borrow_mut().clear();
        self.net.borrow_mut().clear();
        self.datagrams.borrow_mut().clear();
        *self.timers.borrow_mut() = Timers::default();
    }
}

/// What an instance's store holds.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) env: Rc<Env>,
    pub(crate) memory: MemoryLimit,
    pub(crate) wasi: WasiState,
    pub(crate) recorder: Rc<Recorder>,
}

/// What an instance has of WASI.
#[derive(Debug, Default)]
pub(crate) struct WasiState {
    /// The time of the present batch.
    pub(crate) batch_ns: u64,
    pub(crate) stdio: Stdio,
}

impl Wasi for Host {
    fn batch_ns(&self) -> u64 {
        self.wasi.batch_ns
    }

    fn wall_ns(&mut self) -> u64 {
        wit::clock::Host::wall(&mut Recorded(self))
    }

    fn random(&mut self, len: u32) -> Vec<u8> {
        wit::random::Host::bytes(&mut Recorded(self), len)
    }

    fn line(&mut self, warn: bool, line: String) {
        let level = if warn { wit::log::Level::Warn } else { wit::log::Level::Info };
        wit::log::Host::write(&mut Recorded(self), level, line);
    }

    fn refused(&mut self, line: &str) {
        self.env.log.node_warn(line);
    }

    fn stdio(&mut self) -> &mut Stdio {
        &mut self.wasi.stdio
    }
}

/// Links every capability. Which of them a service may use is decided before an instance is made, by its imports and
/// grants, and again at each call that names an address.
pub(crate) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    fn same(host: &mut Host) -> Recorded<'_> {
        Recorded(host)
    }
    wit::log::add_to_linker::<_, Recorded<'static>>(linker, same)?;
    wit::clock::add_to_linker::<_, Recorded<'static>>(linker, same)?;
    wit::random::add_to_linker::<_, Recorded<'static>>(linker, same)?;
    wit::kv::add_to_linker::<_, Recorded<'static>>(linker, same)?;
    wit::metrics::add_to_linker::<_, Recorded<'static>>(linker, same)?;
    wit::policy::add_to_linker::<_, Recorded<'static>>(linker, same)?;
    wit::deploy::add_to_linker::<_, Recorded<'static>>(linker, same)?;
    wit::topology::add_to_linker::<_, Recorded<'static>>(linker, same)?;
    wit::mesh::add_to_linker::<_, Recorded<'static>>(linker, same)?;
    wit::datagram::add_to_linker::<_, Recorded<'static>>(linker, same)?;
    net::link(linker)?;
    wasi::link(linker)
}
