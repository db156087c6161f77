//! How an instance comes to life.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::host::clock::ServiceClock;
use crate::host::kv::Kv;
use crate::host::log::LogGate;
use crate::host::net::Net;
use crate::host::{Env, Host, WasiState};
use crate::proxylet::error::StartError;
use crate::proxylet::instance::Instance;
use crate::proxylet::memory::MemoryLimit;
use crate::proxylet::service::Life;
use crate::proxylet::state_store::Checkpoint;
use crate::proxylet::status::State;

/// What a new instance's host functions work with: no sockets, no timers, no series.
pub(crate) fn make_env(life: &Life, clock: ServiceClock) -> Rc<Env> {
    let (spec, runtime) = (&life.spec, &life.runtime);
    let figures = Arc::clone(&life.figures);
    let descriptors = Arc::clone(&runtime.descriptors);
    life.series.clear();
    Rc::new(Env {
        grants: spec.grants.clone(),
        clock,
        inbox: RefCell::default(),
        net: RefCell::new(Net::new(spec.limits.connections, descriptors, Arc::clone(&figures))),
        datagrams: RefCell::default(),
        timers: RefCell::default(),
        listening_changed: Cell::new(false),
        log: LogGate::new(Arc::clone(&spec.log), spec.limits.log_lines_per_s),
        kv: Kv::new(Arc::clone(&runtime.store), spec.name.as_str().into(), spec.limits.kv.0),
        series: Arc::clone(&life.series),
        figures,
    })
}

/// Makes an instance and calls `restore` where there is a checkpoint, `start` otherwise.
pub(crate) fn begin(
    life: &Life,
    env: &Rc<Env>,
    config: &str,
    checkpoint: Option<&Checkpoint>,
) -> Result<Instance, StartError> {
    let (spec, runtime) = (&life.spec, &life.runtime);
    life.figures.memory_bytes.set(0);
    let memory = MemoryLimit::new(spec.limits.memory.0, Arc::clone(&life.figures));
    let host = Host { env: Rc::clone(env), memory, wasi: WasiState::default() };
    let call = spec.limits.call();
    let mut instance =
        Instance::new(runtime.engine(), &spec.code, host, call).map_err(StartError::Trapped)?;
    let now_ns = env.clock.now_ns();
    let begun = match checkpoint.filter(|c| !c.state.is_empty()) {
        Some(checkpoint) => instance.restore(now_ns, config, &checkpoint.state),
        None => instance.start(now_ns, config),
    };
    match begun {
        Ok(Ok(())) => {}
        Ok(Err(reason)) => return Err(StartError::Refused(reason)),
        Err(trap) => return Err(StartError::Trapped(trap)),
    }
    // What was sent meanwhile leaves now.
    env.net.borrow_mut().flush_dirty(&mut env.inbox.borrow_mut());
    env.listening_changed.set(false);
    life.publish_listening(env);
    life.enter(State::Running, None);
    env.log.node_info(&format!("started, proxylet {}", spec.code.digest()));
    Ok(instance)
}
