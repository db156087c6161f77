//! What one service has saved, and what is on its way to the disk.
//!
//! The service's thread asks the instance for its state between two batches; the state is written by another thread
//! ([`crate::proxylet::checkpoint_writer`]) while the service goes on. Until it is there, a trap or a kill of the node takes
//! the service back to the checkpoint before.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::host::Env;
use crate::host::legacy::Mark;
use crate::proxylet::checkpoint_writer::{ENDED, Written};
use crate::proxylet::instance::Instance;
use crate::proxylet::life::Life;
use crate::proxylet::state_store::{Checkpoint, StoreError};
use crate::proxylet::swap::SwapError;
use crate::proxylet::trap::TrapReport;

/// The checkpoints of one service. One at most is on its way.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    /// What the service had at the checkpoint that is on disk, where that was taken in this run of it.
    mark: Option<Mark>,
    coming: Option<Coming>,
}

/// A checkpoint that is being written.
#[derive(Debug)]
struct Coming {
    mark: Mark,
    written: Written,
    /// Told when it is there; that it could not be written is for the log.
    told: Option<oneshot::Sender<Result<(), SwapError>>>,
}

impl Checkpoints {
    /// What the service had at the checkpoint that is on disk.
    pub(crate) fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// Whether one is being written.
    pub(crate) fn is_coming(&self) -> bool {
        self.coming.is_some()
    }

    /// Has the instance save its state, which is written then. One that is being written is waited for.
    pub(crate) fn take(&mut self, life: &Life, env: &Env, instance: &mut Instance) -> Result<(), TrapReport> {
        let state = base(env, instance)?;
        self.write(life, env, state);
        Ok(())
    }

    /// Writes what the instance has just saved.
    pub(crate) fn put(&mut self, life: &Life, env: &Env, instance: &Instance, state: Bytes) {
        rebase(env, instance, &state);
        self.write(life, env, state);
    }

    fn write(&mut self, life: &Life, env: &Env, state: Bytes) {
        self.settle(env);
        let checkpoint = Checkpoint { now_ns: env.clock.now_ns(), state };
        let written = life.runtime.checkpoints.put(&life.name, checkpoint);
        self.coming = Some(Coming { mark: env.mark(), written, told: None });
    }

    /// Says so when what is being written is there; at once where nothing is.
    pub(crate) fn tell(&mut self, told: oneshot::Sender<Result<(), SwapError>>) {
        match &mut self.coming {
            Some(coming) => coming.told = Some(told),
            // Whoever asked may have gone.
            None => drop(told.send(Ok(()))),
        }
    }

    /// Ready when what was being written has been; pending where nothing is.
    pub(crate) fn poll(&mut self, env: &Env, cx: &mut Context<'_>) -> Poll<()> {
        let Some(coming) = &mut self.coming else { return Poll::Pending };
        let Poll::Ready(written) = Pin::new(&mut coming.written).poll(cx) else { return Poll::Pending };
        let Some(Coming { mark, told, .. }) = self.coming.take() else { return Poll::Pending };
        match written.unwrap_or_else(|_| Err(StoreError::new(ENDED))) {
            Ok(()) => self.mark = Some(mark),
            Err(error) => env.log.node_error(&format!("its state was not saved: {error}")),
        }
        if let Some(told) = told {
            // Whoever asked may have gone.
            let _ = told.send(Ok(()));
        }
        Poll::Ready(())
    }

    /// Waits, and has the service's thread wait, for what is being written: what follows needs to know what is on disk.
    pub(crate) fn settle(&mut self, env: &Env) {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        while self.is_coming() && self.poll(env, &mut cx).is_pending() {
            thread::park();
        }
    }
}

/// Has the instance save its state, for a recording to go on from.
pub(crate) fn base(env: &Env, instance: &mut Instance) -> Result<Bytes, TrapReport> {
    let state = instance.save()?;
    rebase(env, instance, &state);
    Ok(state)
}

fn rebase(env: &Env, instance: &Instance, state: &Bytes) {
    instance.recorder().rebase(state, &env.net.borrow().known(&env.inbox.borrow()));
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
