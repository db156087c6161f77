//! The loop that feeds one instance: wait, take the batch, one call, write what it sent.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Sleep, sleep};

use crate::host::Env;
use crate::host::bindings::eep::proxylet::types::{Event, Message};
use crate::host::inbox::Batch;
use crate::proxylet::checkpoints::{Checkpoints, base};
use crate::proxylet::code::Code;
use crate::proxylet::error::ControlError;
use crate::proxylet::instance::Instance;
use crate::proxylet::journal::Journal;
use crate::proxylet::life::Life;
use crate::proxylet::optimise::Optimised;
use crate::proxylet::service::{Order, Vouched};
use crate::proxylet::swap::{SwapOrder, Verdict};
use crate::proxylet::throttle::Throttle;
use crate::proxylet::trap::TrapReport;
use crate::proxylet::warming::Warming;

/// How long the driver sleeps where nothing is due.
const IDLE_NS: u64 = 3_600_000_000_000;

/// Feeds one instance until it is told to stop or the instance ends.
pub(crate) struct Driver<'a> {
    pub(crate) env: &'a Rc<Env>,
    pub(crate) instance: &'a mut Instance,
    pub(crate) orders: &'a mut mpsc::Receiver<Order>,
    pub(crate) life: &'a Life,
    /// The configuration, for the instance after this one.
    pub(crate) config: &'a mut String,
    /// Whether the service may go on.
    pub(crate) vouched: Vouched,
    pub(crate) throttle: &'a mut Throttle,
    pub(crate) checkpoint_every: Duration,
    pub(crate) checkpoints: &'a mut Checkpoints,
    /// Where the instance is on probation: no checkpoints are taken then.
    pub(crate) journal: Option<&'a mut Journal>,
    /// The instance that is to take over next.
    pub(crate) warming: Option<Warming<'a>>,
}

/// Why the driver has stopped.
pub(crate) enum End {
    /// It was told to, with so much time for what was sent to leave.
    Ordered { drain: Duration, done: Option<oneshot::Sender<()>> },
    /// The instance ended.
    Trapped(TrapReport),
    /// It may not go on: what it has not sent yet must not leave.
    Lapsed,
    /// Another version is to take over; the instance waits between two batches.
    Swap(Box<SwapOrder>),
    /// The probation is over.
    Judged(Verdict),
    /// The instance that is to take over next is ready, or why it is not; the present one waits between two batches.
    Warm(Result<(), TrapReport>),
    /// Faster code is to take over; the instance waits between two batches.
    Optimise { code: Code, done: oneshot::Sender<Optimised> },
}

enum Wake {
    /// A checkpoint has been written.
    Written,
    Order(Option<Order>),
    Verdict(Verdict),
    Work,
}

type Reply = oneshot::Sender<Result<(), ControlError>>;

impl Driver<'_> {
    pub(crate) async fn run(mut self) -> End {
        let mut batch = Batch::default();
        let mut replies: Vec<Reply> = Vec::new();
        let mut worked = false;
        let mut checkpoint_ns = self.env.clock.now_ns() + self.checkpoint_every.as_nanos() as u64;
        let mut timer = Alarm::new();
        loop {
            let now_ns = self.env.clock.now_ns();
            let held_until_ns = self.throttle.held_until_ns(now_ns);
            let saves = worked && self.journal.is_none() && !self.checkpoints.is_coming();
            let due_ns = held_until_ns.or_else(|| self.next_due_ns(saves.then_some(checkpoint_ns)));
            timer.set(due_ns.map_or(IDLE_NS, |due_ns| due_ns.saturating_sub(now_ns)), due_ns);
            let wake = self.wait(&mut timer, held_until_ns.is_some()).await;
            // Whatever it is told to do, it would have to say something for it.
            if !self.vouched.holds() {
                return End::Lapsed;
            }
            match wake {
                Wake::Order(Some(Order::Configure { config, done })) => {
                    self.env.inbox.borrow_mut().push(Event::Configured(config.clone()));
                    *self.config = config;
                    replies.push(done);
                    continue;
                }
                Wake::Order(Some(Order::Message { sender, bytes, done })) => {
                    let mut inbox = self.env.inbox.borrow_mut();
                    let room = !inbox.is_full();
                    if room {
                        let event = Message { sender, len: bytes.len() as u32 };
                        inbox.push_carrying(Event::Message(event), &bytes);
                    }
                    drop(inbox);
                    // Whoever asked may have gone.
                    let _ = done.send(if room { Ok(()) } else { Err(ControlError::Busy) });
                    // Messages that keep coming do not keep the proxylet from its work.
                    if held_until_ns.is_some() {
                        continue;
                    }
                }
                Wake::Order(Some(Order::Policy { done })) => {
                    self.env.change_policy();
                    // Whoever asked may have gone.
                    let _ = done.send(());
                    continue;
                }
                Wake::Order(Some(Order::Record { to, done })) => {
                    self.instance.recorder().attach(to);
                    // What is on disk while a version is on probation is the former one's: the recording begins after.
                    if self.journal.is_none()
                        && let Err(trap) = base(self.env, self.instance)
                    {
                        return End::Trapped(trap);
                    }
                    // Whoever asked may have gone.
                    let _ = done.send(Ok(()));
                    continue;
                }
                Wake::Order(Some(Order::Stop { drain, done })) => {
                    return End::Ordered { drain, done: Some(done) };
                }
                Wake::Order(Some(Order::Swap(order))) if self.is_free() && replies.is_empty() => {
                    return End::Swap(order);
                }
                Wake::Order(Some(Order::Swap(order))) => {
                    // Whoever asked may have gone.
                    let _ = order.told.send(Err(ControlError::Busy.into()));
                    continue;
                }
                Wake::Order(Some(Order::Optimise { code, done })) => {
                    if self.is_free() && replies.is_empty() {
                        return End::Optimise { code, done };
                    }
                    let _ = done.send(Optimised::Later);
                    continue;
                }
                Wake::Written => continue,
                Wake::Verdict(verdict) => return End::Judged(verdict),
                Wake::Order(None) => return End::Ordered { drain: Duration::ZERO, done: None },
                Wake::Work if held_until_ns.is_some() => continue,
                Wake::Work => {}
            }
            let (handled, now_ns) = match self.work(&mut batch) {
                Ok(worked) => worked,
                Err(end) => return end,
            };
            worked |= handled;
            for reply in replies.drain(..) {
                // Whoever asked may have gone.
                let _ = reply.send(Ok(()));
            }
            if worked && self.journal.is_none() {
                let saved = if now_ns >= checkpoint_ns && !self.checkpoints.is_coming() {
                    checkpoint_ns = now_ns + self.checkpoint_every.as_nanos() as u64;
                    worked = false;
                    self.checkpoints.take(self.life, self.env, self.instance)
                } else if self.instance.recorder().wants_base(now_ns) {
                    base(self.env, self.instance).map(drop)
                } else {
                    Ok(())
                };
                if let Err(trap) = saved {
                    return End::Trapped(trap);
                }
            }
            match self.warming.as_mut().map(Warming::step) {
                Some(Ok(true)) => return End::Warm(Ok(())),
                Some(Err(trap)) => return End::Warm(Err(trap)),
                Some(Ok(false)) | None => {}
            }
            self.throttle.account(self.env, now_ns);
            // Sockets that became ready meanwhile are read before the next batch is taken.
            tokio::task::yield_now().await;
        }
    }

    /// Whether another version may begin to take over.
    fn is_free(&self) -> bool {
        self.journal.is_none() && self.warming.is_none()
    }

    /// Takes the pending batch with what is due by now, hands it to the proxylet, and writes what it sent. Whether
    /// there was anything, and the time after the call: the clock is read twice, since each time costs a tenth of what an
    /// empty call does.
    fn work(&mut self, batch: &mut Batch) -> Result<(bool, u64), End> {
        let env = self.env;
        let now_ns = env.clock.now_ns();
        let mut after_ns = now_ns;
        {
            let (mut inbox, mut timers) = (env.inbox.borrow_mut(), env.timers.borrow_mut());
            while let Some(token) = timers.take_due(now_ns) {
                inbox.push(Event::Timer(token));
            }
            inbox.take(batch);
        }
        let handled = !batch.events.is_empty();
        if handled {
            env.net.borrow_mut().begin_batch(env.inbox.borrow().taken());
            let done = match &mut self.journal {
                None => self.instance.handle(now_ns, batch),
                Some(journal) => journal.handle(env, self.instance, now_ns, batch),
            };
            done.map_err(End::Trapped)?;
            after_ns = env.clock.now_ns();
            env.figures.batch_durations.add(Duration::from_nanos(after_ns.saturating_sub(now_ns)));
            env.figures.batches.add(1);
            env.figures.events.add(batch.happened());
            // The process may have been suspended meanwhile.
            if !self.vouched.holds() {
                return Err(End::Lapsed);
            }
        }
        let mut net = env.net.borrow_mut();
        net.run_due(now_ns);
        net.flush_dirty(&mut env.inbox.borrow_mut());
        net.spend(env, &mut env.inbox.borrow_mut());
        drop(net);
        if env.listening_changed.take() {
            self.life.publish_listening(env);
        }
        Ok((handled, after_ns))
    }

    fn next_due_ns(&self, checkpoint_ns: Option<u64>) -> Option<u64> {
        let timers = self.env.timers.borrow().next_ns();
        let net = self.env.net.borrow().next_due_ns();
        [timers, net, checkpoint_ns].into_iter().flatten().min()
    }

    /// Waits for an order, an event or the alarm; where the service is held back, not for events.
    async fn wait(&mut self, alarm: &mut Alarm, held: bool) -> Wake {
        poll_fn(|cx| {
            if let Poll::Ready(order) = self.orders.poll_recv(cx) {
                return Poll::Ready(Wake::Order(order));
            }
            if self.checkpoints.poll(self.env, cx).is_ready() {
                return Poll::Ready(Wake::Written);
            }
            if let Some(journal) = &mut self.journal
                && let Poll::Ready(verdict) = Pin::new(journal.verdict()).poll(cx)
            {
                let given_up = |_| Verdict::Revert("whoever asked for it has gone".to_owned());
                return Poll::Ready(Wake::Verdict(verdict.unwrap_or_else(given_up)));
            }
            if !held {
                let mut inbox = self.env.inbox.borrow_mut();
                if !inbox.is_empty() || self.warming.is_some() {
                    return Poll::Ready(Wake::Work);
                }
                inbox.wait_for_event(cx.waker());
                if inbox.take_call() {
                    return Poll::Ready(Wake::Work);
                }
            }
            alarm.sleep.as_mut().poll(cx).map(|()| Wake::Work)
        })
        .await
    }
}

/// A timer that is only set anew when its time has changed.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    due_ns: Option<u64>,
}

impl Alarm {
    fn new() -> Self {
        Self { sleep: Box::pin(sleep(Duration::ZERO)), due_ns: Some(0) }
    }

    fn set(&mut self, in_ns: u64, due_ns: Option<u64>) {
        if due_ns != self.due_ns || due_ns.is_none() || self.sleep.is_elapsed() {
            self.due_ns = due_ns;
            self.sleep.as_mut().reset(tokio::time::Instant::now() + Duration::from_nanos(in_ns));
        }
    }
}
