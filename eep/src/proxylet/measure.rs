//! An instance without sockets, fed by hand, and classes of traffic: for the benchmarks of the boundary between node and
//! proxylet.

use std::fmt;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;

use policies::Policy;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use crate::host::Env;
use crate::host::clock::ServiceClock;
use crate::host::inbox::Batch;
use crate::host::net::connection::{Far, Phase};
use crate::host::net::shape::{Shaper, UNCLASSED, Way};
use crate::proxylet::begin::{begin, make_env};
use crate::proxylet::error::StartError;
use crate::proxylet::instance::Instance;
use crate::proxylet::life::Life;
use crate::proxylet::runtime::Runtime;
use crate::proxylet::service::ServiceSpec;
use crate::proxylet::trap::TrapReport;

/// A started instance whose connections lead nowhere: what it sends is queued as for real ones, then thrown away.
pub struct Measured {
    life: Life,
    env: Rc<Env>,
    instance: Instance,
    conns: Vec<u64>,
    batch: Batch,
    /// What the instance is told that the time is. A driver reads the clock before the call, for more than the call.
    now_ns: u64,
    local: LocalRuntime,
}

impl Measured {
    /// Starts an instance with so many connections.
    ///
    /// # Errors
    /// As for [`crate::proxylet::service::Service::start`].
    pub fn start(runtime: &Arc<Runtime>, spec: ServiceSpec, connections: usize) -> Result<Self, StartError> {
        let life = Life::new(Arc::clone(runtime), spec);
        let local = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        let env = make_env(&life, ServiceClock::not_before(0));
        let instance = local.block_on(async { begin(&life, &env, &life.spec(), "{}", None) })?;
        let far = Far { address: (Ipv4Addr::UNSPECIFIED, 0).into(), inbound: true };
        let conns =
            (0..connections).map_while(|_| env.net.borrow_mut().admit(Phase::Open, None, far)).collect();
        let now_ns = env.clock.now_ns();
        Ok(Self { life, env, instance, conns, batch: Batch::default(), now_ns, local })
    }

    /// Sets the batch that [`Self::run`] hands over: so many times these bytes, from one connection after the other.
    pub fn batch(&mut self, receptions: usize, bytes: &[u8]) {
        self.batch = Batch::of_receptions(&self.conns, receptions, bytes);
        self.now_ns = self.env.clock.now_ns();
    }

    /// Sets the batch that [`Self::run`] hands over: a timer is due.
    pub fn timer(&mut self) {
        self.batch = Batch::of_timer(1);
        self.now_ns = self.env.clock.now_ns();
    }

    /// Hands the batch over once; how many bytes were sent, once a target.
    ///
    /// # Errors
    /// The instance trapped.
    pub fn run(&mut self) -> Result<u64, TrapReport> {
        let before = self.env.figures.sent_bytes.get();
        self.instance.handle(self.now_ns, &self.batch)?;
        self.env.net.borrow_mut().throw_away();
        Ok(self.env.figures.sent_bytes.get() - before)
    }

    /// Puts a new instance in the place of the present one.
    ///
    /// # Errors
    /// As for [`crate::proxylet::service::Service::start`].
    pub fn renew(&mut self) -> Result<(), StartError> {
        let Self { life, env, local, .. } = self;
        self.instance = local.block_on(async { begin(life, env, &life.spec(), "{}", None) })?;
        Ok(())
    }
}

/// The classes of traffic of a policy, without sockets: what each write of a connection asks of them.
#[derive(Debug)]
pub struct Classes(Shaper);

impl Classes {
    /// Those of a policy.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        Self(Shaper::new(policy.classes(), ServiceClock::not_before(0)))
    }

    /// Writes so many bytes of a connection in a class, by its place in the policy; how many may pass. Where that is
    /// none, the connection is in line.
    pub fn write(&mut self, class: Option<u8>, conn: u64, bytes: usize) -> usize {
        let class = class.unwrap_or(UNCLASSED);
        let passes = self.0.room(class, Way::Out, conn).min(bytes);
        self.0.passed(class, Way::Out, passes);
        passes
    }
}

impl fmt::Debug for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measured").field("name", &self.life.name).finish_non_exhaustive()
    }
}
