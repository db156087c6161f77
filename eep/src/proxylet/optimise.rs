//! From code that was compiled quickly to the same code compiled for speed, while the service serves.
//!
//! A proxylet that is not in the compile cache is compiled quickly first, so that it serves soon. It is compiled for speed
//! meanwhile, and the faster code takes over as in a swap, except that there is nothing to prove: it is the same proxylet.
//! Where connections would end by it, because the proxylet does not carry them on, it is left for when there are none.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::host::Env;
use crate::proxylet::begin::{attend, make};
use crate::proxylet::code::Code;
use crate::proxylet::instance::Instance;
use crate::proxylet::journal::Journal;
use crate::proxylet::runtime::Runtime;
use crate::proxylet::service::{Order, ServiceSpec};
use crate::proxylet::supervisor::{After, Supervisor};

/// From one attempt to the next, at first and at last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(60);

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Optimised {
    /// Nothing is left to do: the faster code serves, or the service has other code, or it will not have it.
    Over,
    /// It has connections that would end, or is on probation.
    Later,
}

/// Compiles for speed and hands the faster code to the service, for as long as there is one.
pub(crate) async fn run(runtime: Arc<Runtime>, quick: Code, service: mpsc::WeakSender<Order>) {
    let digest = quick.digest();
    let compiled = tokio::task::spawn_blocking(move || {
        let bytes = quick.quick_from().unwrap_or_default();
        runtime.prepare(bytes, Some(quick.digest()))
    });
    let code = match compiled.await {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => return tracing::warn!(%digest, %error, "not compiled for speed"),
        Err(error) => return tracing::warn!(%digest, %error, "not compiled for speed"),
    };
    let mut pause = RETRY_FIRST;
    loop {
        let (done, told) = oneshot::channel();
        {
            // Held no longer than that: a service ends with the last who could give it orders.
            let Some(orders) = service.upgrade() else { return };
            let order = Order::Optimise { code: code.clone(), done };
            if let Err(mpsc::error::TrySendError::Closed(_)) = orders.try_send(order) {
                return;
            }
        }
        if told.await.is_ok_and(|how| how == Optimised::Over) {
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_LONGEST);
    }
}

impl Supervisor<'_> {
    /// Has the same code, compiled for speed, take over, if no connection ends by it.
    pub(crate) fn optimise(
        &mut self,
        env: &Rc<Env>,
        instance: &mut Instance,
        code: Code,
        done: oneshot::Sender<Optimised>,
    ) -> After {
        let paused = Instant::now();
        if !self.is_slower_than(&code) {
            let _ = done.send(Optimised::Over);
            return After::Serves;
        }
        let state = match instance.save() {
            Ok(state) => state,
            Err(trap) => {
                // Its next instance has the faster code.
                self.adopt_faster(code);
                let _ = done.send(Optimised::Over);
                return After::Trapped(trap);
            }
        };
        if state.is_empty() && env.mark().connections() > 0 {
            let _ = done.send(Optimised::Later);
            return After::Serves;
        }
        let spec = ServiceSpec { code, ..ServiceSpec::clone(&self.spec) };
        let config = self.config.clone();
        let made = make(self.life, env, &spec);
        let taken_over = made.and_then(|next| self.take_over(env, instance, next, spec, config, &state));
        let (how, after) = match taken_over {
            Ok((_, mark, _))
                if env.mark().connections() >= mark.connections() && keeps_what_it_stored(env) =>
            {
                env.close_shelved();
                env.series.retire_earlier();
                self.life.adopt(&self.spec);
                attend(self.life, env);
                env.log.node_info(&format!("compiled for speed, after a pause of {:.1?}", paused.elapsed()));
                (Optimised::Over, After::Serves)
            }
            Ok((former, mark, begun)) => {
                let (_, verdict) = oneshot::channel();
                let (_, after) = self.resume(env, instance, former, Journal::new(mark, begun, verdict));
                (Optimised::Later, after)
            }
            Err(error) => {
                env.log.node_warn(&format!("stays with quickly compiled code until it starts next: {error}"));
                (Optimised::Over, After::Serves)
            }
        };
        let _ = done.send(how);
        after
    }

    /// Has the next instance run the same code, compiled for speed.
    pub(crate) fn adopt_faster(&mut self, code: Code) {
        if self.is_slower_than(&code) {
            self.spec = Arc::new(ServiceSpec { code, ..ServiceSpec::clone(&self.spec) });
            self.life.adopt(&self.spec);
        }
    }

    fn is_slower_than(&self, code: &Code) -> bool {
        self.spec.code.is_quick() && self.spec.code.digest() == code.digest()
    }
}

/// Stores what the new instance has put into `kv` while it took over. Where that fails, the former one goes on.
fn keeps_what_it_stored(env: &Env) -> bool {
    let kept = env.kv.keep_trial();
    if let Err(error) = &kept {
        env.log.node_error(&format!("kv: the node's state: {error}"));
    }
    kept.is_ok()
}
