//! How an instance comes to life.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::host::clock::ServiceClock;
use crate::host::effects::Done;
use crate::host::enforce::Enforcer;
use crate::host::kv::Kv;
use crate::host::log::LogGate;
use crate::host::net::Net;
use crate::host::outside::Door;
use crate::host::{Env, Host, WasiState};
use crate::proxylet::error::StartError;
use crate::proxylet::instance::Instance;
use crate::proxylet::life::Life;
use crate::proxylet::memory::MemoryLimit;
use crate::proxylet::service::ServiceSpec;
use crate::proxylet::state_store::Checkpoint;
use crate::proxylet::status::State;
use crate::record::recorder::Recorder;

/// What the host functions of a service's instances work with: no sockets, no timers.
pub(crate) fn make_env(life: &Life, clock: ServiceClock) -> Rc<Env> {
    let (spec, runtime) = (life.spec(), &life.runtime);
    let figures = Arc::clone(&life.figures);
    let descriptors = Arc::clone(&runtime.descriptors);
    let door = Door { runtime: Arc::clone(runtime), service: life.name.clone() };
    let env = Rc::new_cyclic(|this| Env {
        this: this.clone(),
        door,
        requests: RefCell::default(),
        watching: RefCell::default(),
        grants: RefCell::new(spec.grants.clone()),
        clock,
        inbox: RefCell::default(),
        net: RefCell::new(Net::new(spec.limits.connections, descriptors, Arc::clone(&figures))),
        datagrams: RefCell::default(),
        timers: RefCell::default(),
        effects: RefCell::default(),
        listening_changed: Cell::new(false),
        log: LogGate::new(Arc::clone(&life.log), spec.limits.log_lines_per_s),
        kv: Kv::new(Arc::clone(&runtime.store), life.name.as_str().into(), spec.limits.kv.0),
        policy: RefCell::new(Enforcer::new(
            Arc::clone(&spec.policy),
            spec.grants.policy(),
            Arc::clone(runtime),
        )),
        series: Arc::clone(&life.series),
        figures,
    });
    env.net.borrow_mut().begin_policy(&env);
    env
}

/// Makes the first instance of a service, or the next one after a trap. What was left for it and what it does not take
/// over is closed.
pub(crate) fn begin(
    life: &Life,
    env: &Rc<Env>,
    spec: &ServiceSpec,
    config: &str,
    checkpoint: Option<&Checkpoint>,
) -> Result<Instance, StartError> {
    life.figures.memory_bytes.set(0);
    life.series.clear();
    let state = checkpoint.map(|c| &c.state).filter(|state| !state.is_empty());
    let instance = make(life, env, spec)?;
    let (instance, _) = bring_up(life, env, spec, instance, config, state)?;
    env.close_shelved();
    show(life, env);
    env.log.node_info(&format!("started, proxylet {}", spec.code.digest()));
    Ok(instance)
}

/// Makes an instance that nothing was asked of yet; it is not recorded before it is brought up.
pub(crate) fn make(life: &Life, env: &Rc<Env>, spec: &ServiceSpec) -> Result<Instance, StartError> {
    let memory = MemoryLimit::new(spec.limits.memory.0, Arc::clone(&life.figures));
    let host = Host { env: Rc::clone(env), memory, wasi: WasiState::default(), recorder: Recorder::off() };
    let call = spec.limits.call();
    Instance::new(life.runtime.engine(), &spec.code, host, call).map_err(StartError::Trapped)
}

/// Calls an instance's `restore` where there is a state, `start` otherwise. It may take over what was put aside. Where it
/// fails, all that it asked for is undone; what it asked for where it does not, comes with it.
pub(crate) fn bring_up(
    life: &Life,
    env: &Rc<Env>,
    spec: &ServiceSpec,
    mut instance: Instance,
    config: &str,
    state: Option<&Bytes>,
) -> Result<(Instance, Done), StartError> {
    instance.record(life.recordings.recorder(spec));
    let now_ns = env.clock.now_ns();
    env.hold();
    env.net.borrow_mut().takes_over = true;
    let begun = match state {
        Some(state) => instance.restore(now_ns, config, state),
        None => instance.start(now_ns, config),
    };
    env.net.borrow_mut().takes_over = false;
    let begun = match begun {
        Ok(Ok(())) => Ok((instance, env.commit())),
        Ok(Err(reason)) => Err(StartError::Refused(reason)),
        Err(trap) => Err(StartError::Trapped(trap)),
    };
    begun.inspect_err(|_| env.discard())
}

/// Attends to the service, and shows it as running: whoever sees that sees where it listens.
pub(crate) fn show(life: &Life, env: &Env) {
    attend(life, env);
    life.enter(State::Running, None);
}

/// Lets what was sent meanwhile leave, and shows where the service listens.
pub(crate) fn attend(life: &Life, env: &Env) {
    env.net.borrow_mut().flush_dirty(&mut env.inbox.borrow_mut());
    env.listening_changed.set(false);
    life.publish_listening(env);
}
