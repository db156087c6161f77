//! The life of one service, on its own thread: begin, run, and begin again after a trap.

use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::coop::unconstrained;
use tokio::time::{sleep, sleep_until, timeout};

use crate::host::Env;
use crate::host::clock::ServiceClock;
use crate::host::net::relay::Meanwhile;
use crate::proxylet::backoff::Backoff;
use crate::proxylet::begin::{begin, make_env};
use crate::proxylet::checkpoints::Checkpoints;
use crate::proxylet::driver::{Driver, End};
use crate::proxylet::error::{ControlError, StartError};
use crate::proxylet::instance::Instance;
use crate::proxylet::journal::Journal;
use crate::proxylet::life::Life;
use crate::proxylet::optimise::Optimised;
use crate::proxylet::service::{OnTrap, Order, ServiceSpec};
use crate::proxylet::state_store::Checkpoint;
use crate::proxylet::status::State;
use crate::proxylet::throttle::Throttle;
use crate::proxylet::trap::TrapReport;
use crate::proxylet::warming::Warming;

/// Descriptors that a service's own event loop takes (epoll, its waker, its signals).
const LOOP_DESCRIPTORS: usize = 4;
/// Instances in a row that may trap with the same checkpoint before one is started without it.
const RESTORES_MAX: u32 = 3;
/// How often it is looked whether all has left after a stop.
const DRAIN_POLL: Duration = Duration::from_millis(10);

type Started = oneshot::Sender<Result<(), StartError>>;

/// The body of a service's thread. `started` is told when the service has started; where it has not, the reason comes
/// back with it, so that it is told when nothing is left of the attempt.
pub(crate) fn run(
    life: &Arc<Life>,
    orders: mpsc::Receiver<Order>,
    started: Started,
) -> Result<(), (Started, StartError)> {
    let _guard = EndGuard(life);
    let descriptors: Option<Vec<_>> =
        (0..LOOP_DESCRIPTORS).map(|_| life.runtime.descriptors.take()).collect();
    let runtime = match descriptors {
        Some(_) => Builder::new_current_thread().enable_all().build_local(LocalOptions::default()),
        None => Err(std::io::Error::other("no file descriptors are left for the service (`ulimit -n`)")),
    };
    match runtime {
        // The driver serves every connection in one go: it must not be cut short as if it were one of many tasks.
        Ok(runtime) => runtime.block_on(unconstrained(supervise(life, orders, started))),
        Err(error) => Err((started, error.into())),
    }
    .inspect_err(|(_, error)| life.enter(State::Failed, Some(error.to_string())))
}

/// A thread that ends by a fault of the node must not leave a service that seems to run.
struct EndGuard<'a>(&'a Life);

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.enter(State::Failed, Some("a fault of the node ended the service's thread".to_owned()));
        }
        self.0.recordings.end();
    }
}

/// What carries over from one instance to the next.
pub(crate) struct Supervisor<'a> {
    pub(crate) life: &'a Arc<Life>,
    orders: mpsc::Receiver<Order>,
    pub(crate) spec: Arc<ServiceSpec>,
    pub(crate) config: String,
    pub(crate) throttle: Throttle,
    backoff: Backoff,
    pub(crate) checkpoints: Checkpoints,
}

async fn supervise(
    life: &Arc<Life>,
    orders: mpsc::Receiver<Order>,
    started: Started,
) -> Result<(), (Started, StartError)> {
    let checkpoint = match read_checkpoint(life) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return Err((started, error)),
    };
    let spec = life.spec();
    let clock = ServiceClock::not_before(checkpoint.as_ref().map_or(0, |c| c.now_ns));
    let s = Supervisor {
        life,
        orders,
        config: config_of(&spec),
        throttle: Throttle::new(spec.limits.cpu, clock.now_ns()),
        backoff: Backoff::new(life.runtime.config.backoff),
        checkpoints: Checkpoints::default(),
        spec,
    };
    let env = make_env(life, clock);
    let instance = match begin(life, &env, &s.spec, &s.config, checkpoint.filter(|_| !s.spec.fresh).as_ref())
    {
        Ok(instance) => instance,
        Err(error) => {
            env.close();
            return Err((started, error));
        }
    };
    if started.send(Ok(())).is_err() {
        // Whoever asked has gone, and with it the only handle.
        env.close();
        life.enter(State::Stopped, None);
        return Ok(());
    }
    s.live(env, instance).await;
    Ok(())
}

pub(crate) fn config_of(spec: &ServiceSpec) -> String {
    serde_json::Value::Object(spec.config.clone()).to_string()
}

fn read_checkpoint(life: &Life) -> Result<Option<Checkpoint>, StartError> {
    Ok(life.runtime.store.checkpoint(&life.name)?)
}

/// What follows a swap.
pub(crate) enum After {
    /// One of the two versions serves.
    Serves,
    /// The service is to stop.
    Stops(Stopping),
    /// The version that was to serve has trapped.
    Trapped(TrapReport),
    /// The service may not go on.
    Lapsed,
}

/// How a service is to stop.
pub(crate) struct Stopping {
    pub(crate) drain: Duration,
    pub(crate) done: Option<oneshot::Sender<()>>,
}

impl Supervisor<'_> {
    /// Runs instances, one after the other, until told to stop.
    async fn live(mut self, env: Rc<Env>, mut instance: Instance) {
        loop {
            let began = Instant::now();
            let after = match self.drive(&env, &mut instance, None, None).await {
                End::Ordered { drain, done } => After::Stops(Stopping { drain, done }),
                End::Trapped(trap) => After::Trapped(trap),
                End::Lapsed => After::Lapsed,
                End::Swap(order) => self.swap(&env, &mut instance, order).await,
                // Nothing is on probation, and nothing is made ready.
                End::Judged(_) | End::Warm(_) => After::Serves,
                End::Optimise { code, done } => self.optimise(&env, &mut instance, code, done),
            };
            let trap = match after {
                After::Serves => continue,
                After::Stops(how) => return self.stop(&env, instance, how).await,
                After::Lapsed => return self.lapse(&env, instance),
                After::Trapped(trap) => trap,
            };
            env.log.node_error(&format!("trapped: {trap}"));
            drop(instance);
            self.checkpoints.settle(&env);
            let ended = env.rewind(self.checkpoints.mark());
            env.log.report_dropped();
            if ended > 0 {
                env.log.node_warn(&format!(
                    "{ended} connections have ended: something had passed on them since its state was saved"
                ));
            }
            self.life.trapped(trap.clone());
            match self.revive(&env, began.elapsed(), trap.to_string()).await {
                Some(revived) => instance = revived,
                None => return env.close(),
            }
        }
    }

    /// Feeds an instance until something else is to be done.
    pub(crate) async fn drive(
        &mut self,
        env: &Rc<Env>,
        instance: &mut Instance,
        journal: Option<&mut Journal>,
        warming: Option<Warming<'_>>,
    ) -> End {
        let driver = Driver {
            env,
            instance,
            orders: &mut self.orders,
            life: self.life,
            config: &mut self.config,
            vouched: self.spec.vouched.clone(),
            throttle: &mut self.throttle,
            checkpoint_every: self.life.runtime.config.checkpoint_every,
            checkpoints: &mut self.checkpoints,
            journal,
            warming,
        };
        driver.run().await
    }

    /// Makes the next instance after a trap, as `on-trap` says; none where there is to be none.
    async fn revive(&mut self, env: &Rc<Env>, mut ran: Duration, mut why: String) -> Option<Instance> {
        loop {
            env.shelve();
            match self.spec.on_trap {
                OnTrap::Stop => {
                    self.life.enter(State::Failed, Some(why));
                    return None;
                }
                OnTrap::FailClosed => {
                    self.stay_closed(env, why).await;
                    return None;
                }
                OnTrap::FailOpen { to } => {
                    env.log.node_warn(&format!("until it runs again, who connects is passed on to {to}"));
                    env.net.borrow_mut().listeners.meanwhile(Meanwhile::PassOn(to));
                }
                OnTrap::Restart => {}
            }
            if !self.pause(env, ran, why).await {
                return None;
            }
            env.net.borrow_mut().listeners.meanwhile(Meanwhile::Wait);
            match self.begin_again(env) {
                Ok(instance) => return Some(instance),
                Err(error) => {
                    env.log.node_error(&format!("not started again: {error}"));
                    if let StartError::Trapped(trap) = &error {
                        self.life.trapped(trap.clone());
                    }
                    why = error.to_string();
                    ran = Duration::ZERO;
                }
            }
        }
    }

    /// Waits before the next instance; false where the service was told to stop meanwhile.
    async fn pause(&mut self, env: &Env, ran: Duration, why: String) -> bool {
        let mut chance = [127];
        // Without randomness the pause is the middle one.
        let _ = getrandom::fill(&mut chance);
        let pause = self.backoff.next(ran, chance[0]);
        env.log.node_info(&format!("starts again in {} ms", pause.as_millis()));
        self.life.enter(State::BackingOff, Some(why));
        let until = tokio::time::Instant::now() + pause;
        loop {
            tokio::select! {
                () = sleep_until(until) => return true,
                order = self.orders.recv() => match order {
                    Some(Order::Configure { config, done }) => {
                        self.config = config;
                        let _ = done.send(Ok(()));
                    }
                    Some(Order::Message { done, .. }) => {
                        let _ = done.send(Err(ControlError::NotRunning));
                    }
                    Some(Order::Optimise { code, done }) => {
                        self.adopt_faster(code);
                        let _ = done.send(Optimised::Over);
                    }
                    Some(Order::Swap(order)) => {
                        // There is no instance to take over from.
                        let _ = order.told.send(Err(ControlError::NotRunning.into()));
                    }
                    Some(Order::Policy { done }) => {
                        env.change_policy();
                        let _ = done.send(());
                    }
                    // Its next instance is recorded from its beginning on.
                    Some(Order::Record { done, .. }) => {
                        let _ = done.send(Ok(()));
                    }
                    Some(Order::Stop { done, .. }) => {
                        env.close();
                        self.life.enter(State::Stopped, None);
                        let _ = done.send(());
                        return false;
                    }
                    None => {
                        self.life.enter(State::Stopped, None);
                        return false;
                    }
                },
            }
        }
    }

    /// Keeps the service's addresses and lets nobody in, until told to stop.
    async fn stay_closed(&mut self, env: &Env, why: String) {
        env.rewind(None);
        env.net.borrow_mut().listeners.meanwhile(Meanwhile::Refuse);
        env.log.node_error("it stays down, and its addresses are closed to everybody: start it by hand");
        self.life.enter(State::Failed, Some(why));
        loop {
            match self.orders.recv().await {
                Some(
                    Order::Configure { done, .. } | Order::Record { done, .. } | Order::Message { done, .. },
                ) => {
                    let _ = done.send(Err(ControlError::NotRunning));
                }
                Some(Order::Optimise { done, .. }) => {
                    let _ = done.send(Optimised::Over);
                }
                Some(Order::Swap(order)) => {
                    let _ = order.told.send(Err(ControlError::NotRunning.into()));
                }
                Some(Order::Policy { done }) => {
                    env.change_policy();
                    let _ = done.send(());
                }
                Some(Order::Stop { done, .. }) => {
                    env.close();
                    self.life.enter(State::Stopped, None);
                    let _ = done.send(());
                    return;
                }
                None => return,
            }
        }
    }

    fn begin_again(&mut self, env: &Rc<Env>) -> Result<Instance, StartError> {
        self.spec.vouched.ask().map_err(StartError::Distrusted)?;
        self.life.figures.restarts.add(1);
        let mut checkpoint = read_checkpoint(self.life)?;
        if checkpoint.is_some() && self.backoff.failures() > RESTORES_MAX {
            env.log.node_warn("it trapped again and again with its saved state: it starts without it");
            checkpoint = None;
        }
        if checkpoint.is_none() {
            env.rewind(None);
        }
        begin(self.life, env, &self.spec, &self.config, checkpoint.as_ref())
    }

    /// Ends the service as it is: another node may run it now, so nothing more is said and nothing saved.
    fn lapse(mut self, env: &Env, instance: Instance) {
        env.close();
        self.checkpoints.settle(env);
        env.log.report_dropped();
        drop(instance);
        self.life.recordings.end();
        env.log.node_warn("stopped at once: its lease is over");
        self.life.enter(State::Stopped, Some("its lease is over".to_owned()));
    }

    /// Saves, says good-bye, lets what was sent leave.
    async fn stop(mut self, env: &Rc<Env>, mut instance: Instance, how: Stopping) {
        let saved = self.checkpoints.take(self.life, env, &mut instance);
        let ended = saved.and_then(|()| instance.stop());
        if let Err(trap) = ended {
            env.log.node_error(&format!("trapped while it was stopped: {trap}"));
            self.life.trapped(trap);
        }
        env.net.borrow_mut().listeners.clear();
        env.net.borrow_mut().close_all(env.clock.now_ns());
        let left = async {
            loop {
                env.net.borrow_mut().flush_dirty(&mut env.inbox.borrow_mut());
                if !env.net.borrow().has_waiting() {
                    return;
                }
                sleep(DRAIN_POLL).await;
            }
        };
        if timeout(how.drain, left).await.is_err() {
            env.log.node_warn("not all that it had sent could leave before it was stopped");
        }
        env.close();
        self.checkpoints.settle(env);
        env.log.report_dropped();
        drop(instance);
        self.life.recordings.end();
        env.log.node_info("stopped");
        self.life.enter(State::Stopped, None);
        if let Some(done) = how.done {
            let _ = done.send(());
        }
    }
}
