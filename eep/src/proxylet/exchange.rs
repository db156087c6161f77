//! One version takes over from another, on the service's thread.

use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::host::Env;
use crate::host::effects::Done;
use crate::host::legacy::Mark;
use crate::proxylet::begin::{attend, bring_up, make};
use crate::proxylet::driver::End;
use crate::proxylet::error::{ControlError, StartError};
use crate::proxylet::instance::Instance;
use crate::proxylet::journal::Journal;
use crate::proxylet::service::ServiceSpec;
use crate::proxylet::supervisor::{After, Stopping, Supervisor, config_of};
use crate::proxylet::swap::{SwapError, SwapOrder, SwapOutcome, SwapReport, Verdict};
use crate::proxylet::trap::TrapReport;
use crate::proxylet::warming::Warming;

/// The version that is paused while another one is on probation.
pub(super) struct Former {
    spec: Arc<ServiceSpec>,
    config: String,
    instance: Instance,
    /// Since when it has served.
    since: Option<Instant>,
}

/// Why no instance is ready to take over.
enum NotReady {
    /// There is none.
    Refused(StartError),
    /// Something else became of the service meanwhile.
    Over(After),
}

/// Why a probation is over.
enum Over {
    Kept,
    Failed(String),
    Stopped(Stopping),
    Lapsed,
}

impl Supervisor<'_> {
    /// Has another version take over, and watches it until it is known what becomes of it.
    pub(crate) async fn swap(
        &mut self,
        env: &Rc<Env>,
        instance: &mut Instance,
        order: Box<SwapOrder>,
    ) -> After {
        let SwapOrder { spec, told, verdict, ended } = *order;
        let mut report = SwapReport::new(self.spec.code.digest(), spec.code.digest());
        let next = match self.make_ready(env, instance, &spec).await {
            Ok(next) => next,
            Err(NotReady::Refused(error)) => {
                self.refuse(env, &mut report, told, SwapError::Refused(error));
                return After::Serves;
            }
            Err(NotReady::Over(after)) => {
                // Where whoever asked has gone, nobody needs to hear of it.
                let _ = told.send(Err(ControlError::NotRunning.into()));
                return after;
            }
        };
        let paused = Instant::now();
        let state = match instance.save() {
            Ok(state) => state,
            Err(trap) => {
                self.refuse(env, &mut report, told, SwapError::Save(trap.clone()));
                return After::Trapped(trap);
            }
        };
        let config = config_of(&spec);
        let (former, mark, begun) = match self.take_over(env, instance, next, *spec, config, &state) {
            Ok(taken_over) => taken_over,
            Err(error) => {
                report.pause_s = paused.elapsed().as_secs_f64();
                self.refuse(env, &mut report, told, SwapError::Refused(error));
                return After::Serves;
            }
        };
        self.serves(env, Some(Instant::now()));
        report.pause_s = paused.elapsed().as_secs_f64();
        report.connections = env.mark().connections() as u64;
        report.connections_closed = mark.connections().saturating_sub(env.mark().connections()) as u64;
        self.report(env, &mut report, SwapOutcome::OnProbation, None);
        // Where whoever asked has gone, the verdict says so.
        let _ = told.send(Ok(()));
        let mut journal = Journal::new(mark, begun, verdict);
        let mut over = self.watch(env, instance, &mut journal).await;
        if let Over::Kept = over
            && let Err(failed) = self.keep(env, instance)
        {
            over = failed;
        }
        match over {
            Over::Kept => {
                drop(former);
                self.report(env, &mut report, SwapOutcome::Held, None);
                self.checkpoints.tell(ended);
                After::Serves
            }
            Over::Failed(why) => {
                let after = self.take_back(env, instance, former, journal, &mut report, &why);
                let _ = ended.send(Err(SwapError::RolledBack(why)));
                after
            }
            Over::Lapsed => {
                env.kv.end_trial();
                let why = "the service's lease was over".to_owned();
                self.report(env, &mut report, SwapOutcome::RolledBack, Some(why.clone()));
                let _ = ended.send(Err(SwapError::RolledBack(why)));
                After::Lapsed
            }
            Over::Stopped(how) => {
                // What is on disk is the former version's.
                let why = "the service was stopped while the new version was on probation".to_owned();
                let after = self.take_back(env, instance, former, journal, &mut report, &why);
                let _ = ended.send(Err(SwapError::RolledBack(why)));
                match after {
                    After::Trapped(trap) => {
                        env.log.node_error(&format!("trapped while it was stopped: {trap}"));
                        After::Stops(how)
                    }
                    _ => After::Stops(how),
                }
            }
        }
    }

    /// Makes an instance of another version, and gives it memory while the running one goes on.
    async fn make_ready(
        &mut self,
        env: &Rc<Env>,
        instance: &mut Instance,
        spec: &ServiceSpec,
    ) -> Result<Instance, NotReady> {
        let made = make(self.life, env, spec).map_err(NotReady::Refused);
        instance.show_memory();
        let mut next = made?;
        if let Some(warming) = Warming::of(&mut next, instance) {
            let end = self.drive(env, instance, None, Some(warming)).await;
            instance.show_memory();
            match end {
                End::Warm(Ok(())) => {}
                End::Warm(Err(trap)) => return Err(NotReady::Refused(StartError::Trapped(trap))),
                End::Ordered { drain, done } => {
                    return Err(NotReady::Over(After::Stops(Stopping { drain, done })));
                }
                End::Trapped(trap) => return Err(NotReady::Over(After::Trapped(trap))),
                End::Lapsed => return Err(NotReady::Over(After::Lapsed)),
                // The driver takes no such order now.
                End::Swap(_) | End::Judged(_) | End::Optimise { .. } => {
                    return Err(NotReady::Over(After::Serves));
                }
            }
        }
        Ok(next)
    }

    /// Says that a version did not take over.
    fn refuse(
        &self,
        env: &Env,
        report: &mut SwapReport,
        told: oneshot::Sender<Result<(), SwapError>>,
        error: SwapError,
    ) {
        self.report(env, report, SwapOutcome::Refused, Some(error.to_string()));
        // Whoever asked may have gone.
        let _ = told.send(Err(error));
    }

    /// Puts another version in the place of the running one, with all that it asks for in `restore`, or in `start` where
    /// there is no state; what it does not ask for stays put aside. Where it fails, the running one goes on.
    pub(super) fn take_over(
        &mut self,
        env: &Rc<Env>,
        instance: &mut Instance,
        next: Instance,
        spec: ServiceSpec,
        config: String,
        state: &Bytes,
    ) -> Result<(Former, Mark, Done), StartError> {
        let mark = env.mark();
        env.shelve();
        env.kv.begin_trial();
        env.series.begin_version();
        if state.is_empty() {
            env.timers.take();
        }
        let spec = Arc::new(spec);
        env.allow(&spec.grants, &spec.limits);
        let state = Some(state).filter(|state| !state.is_empty());
        match bring_up(self.life, env, &spec, next, &config, state) {
            Ok((new, begun)) => {
                new.show_memory();
                let instance = mem::replace(instance, new);
                let config = mem::replace(&mut self.config, config);
                let former = mem::replace(&mut self.spec, spec);
                Ok((Former { spec: former, config, instance, since: self.life.since() }, mark, begun))
            }
            Err(error) => {
                env.kv.end_trial();
                env.allow(&self.spec.grants, &self.spec.limits);
                env.give_back(&mark);
                env.rewind_timers(&mark);
                env.series.take_back_version();
                instance.show_memory();
                self.life.publish_listening(env);
                Err(error)
            }
        }
    }

    /// Feeds the new version until its probation is over.
    async fn watch(&mut self, env: &Rc<Env>, instance: &mut Instance, journal: &mut Journal) -> Over {
        match self.drive(env, instance, Some(journal), None).await {
            End::Judged(Verdict::Keep) => Over::Kept,
            End::Judged(Verdict::Revert(why)) => Over::Failed(why),
            End::Trapped(trap) => self.new_version_trapped(env, trap),
            End::Ordered { drain, done } => Over::Stopped(Stopping { drain, done }),
            End::Lapsed => Over::Lapsed,
            // The driver takes no such order now.
            End::Swap(_) | End::Warm(_) | End::Optimise { .. } => {
                Over::Failed("two swaps at one time".to_owned())
            }
        }
    }

    fn new_version_trapped(&self, env: &Env, trap: TrapReport) -> Over {
        env.log.node_error(&format!("the new version trapped: {trap}"));
        self.life.trapped(trap.clone());
        Over::Failed(trap.to_string())
    }

    /// The new version stays: what it has put into `kv` is stored, its state is saved and on its way to the disk, and what
    /// it did not take over is closed. One that gives no state does not stay: nothing is stored or closed then.
    fn keep(&mut self, env: &Rc<Env>, instance: &mut Instance) -> Result<(), Over> {
        let state = instance.save().map_err(|trap| self.new_version_trapped(env, trap))?;
        let stored = env.kv.keep_trial();
        stored.map_err(|e| Over::Failed(format!("what it has put into `kv` cannot be stored: {e}")))?;
        self.checkpoints.put(self.life, env, instance, state);
        env.close_shelved();
        env.series.retire_earlier();
        Ok(())
    }

    /// Takes the service back to the former version after a probation.
    fn take_back(
        &mut self,
        env: &Rc<Env>,
        instance: &mut Instance,
        former: Former,
        journal: Journal,
        report: &mut SwapReport,
        why: &str,
    ) -> After {
        let paused = Instant::now();
        let (back, after) = self.resume(env, instance, former, journal);
        report.pause_s += paused.elapsed().as_secs_f64();
        report.connections_closed = back;
        self.report(env, report, SwapOutcome::RolledBack, Some(why.to_owned()));
        after
    }

    /// The former version goes on in the place of the new one; how many connections have ended by it.
    pub(super) fn resume(
        &mut self,
        env: &Rc<Env>,
        instance: &mut Instance,
        former: Former,
        journal: Journal,
    ) -> (u64, After) {
        *instance = former.instance;
        env.kv.end_trial();
        (self.spec, self.config) = (former.spec, former.config);
        self.life.recordings.go_on_with(instance.recorder());
        env.allow(&self.spec.grants, &self.spec.limits);
        env.series.take_back_version();
        let back = journal.roll_back(env, instance);
        instance.show_memory();
        self.serves(env, former.since);
        match back {
            Ok(ended) => (ended, After::Serves),
            Err(trap) => (0, After::Trapped(trap)),
        }
    }

    /// Shows the version that serves now, and since when it does.
    fn serves(&mut self, env: &Rc<Env>, since: Option<Instant>) {
        self.throttle.set_share(self.spec.limits.cpu, env.clock.now_ns());
        self.life.adopt(&self.spec);
        self.life.serves_since(since);
        attend(self.life, env);
    }

    fn report(&self, env: &Env, report: &mut SwapReport, outcome: SwapOutcome, why: Option<String>) {
        report.outcome = outcome;
        report.reason = why;
        let pause = Duration::from_secs_f64(report.pause_s);
        let SwapReport { from, to, connections, connections_closed, .. } = report;
        let why = report.reason.as_deref().unwrap_or_default();
        match outcome {
            SwapOutcome::OnProbation => env.log.node_info(&format!(
                "proxylet {to} has taken over from {from} after a pause of {pause:.1?}, with {connections} connections; \
                 {connections_closed} were not taken over"
            )),
            SwapOutcome::Held => env.log.node_info(&format!("proxylet {to} stays")),
            SwapOutcome::Refused => {
                env.log.node_error(&format!("proxylet {to} did not take over, {from} goes on: {why}"));
            }
            SwapOutcome::RolledBack => env.log.node_error(&format!(
                "proxylet {to} was taken back, {from} goes on; {connections_closed} connections have ended: {why}"
            )),
        }
        self.life.swapped(report.clone());
    }
}
