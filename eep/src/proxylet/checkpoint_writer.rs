//! The thread of the node that writes checkpoints to the disk.
//!
//! The database takes one change after the other, so one thread writes as fast as many; and no service's peers wait for
//! the disk.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use crate::proxylet::state_store::{Checkpoint, StateStore, StoreError};

/// Told when a checkpoint is on disk, or why it is not: the former one is still there then.
pub(crate) type Written = oneshot::Receiver<Result<(), StoreError>>;

/// Writes the checkpoints of all services, in the order in which they come.
#[derive(Debug)]
pub(crate) struct CheckpointWriter {
    /// None from the moment on at which the thread is to end.
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Order {
    service: String,
    checkpoint: Checkpoint,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// What is said where the thread is no more.
pub(crate) const ENDED: &str = "the thread that writes checkpoints has ended";

impl Order {
    fn refuse(self, why: &'static str) {
        // Whoever asked may have gone.
        let _ = self.done.send(Err(StoreError::new(why)));
    }
}

impl CheckpointWriter {
    /// Starts the thread. At most `waiting_max` checkpoints wait for it: one for each service that may run.
    pub(crate) fn start(store: Arc<dyn StateStore>, waiting_max: usize) -> io::Result<Self> {
        let (orders, taken) = sync_channel(waiting_max);
        let thread = thread::Builder::new()
            .name("eep-checkpoints".to_owned())
            .spawn(move || write(&*store, &taken))?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    /// Has a checkpoint take the place of the service's former one. Does not wait.
    pub(crate) fn put(&self, service: &str, checkpoint: Checkpoint) -> Written {
        let (done, written) = oneshot::channel();
        let order = Order { service: service.to_owned(), checkpoint, done };
        match self.orders.as_ref().map(|orders| orders.try_send(order)) {
            Some(Err(TrySendError::Full(order))) => order.refuse("too many checkpoints wait for the disk"),
            Some(Err(TrySendError::Disconnected(order))) => order.refuse(ENDED),
            Some(Ok(())) | None => {}
        }
        written
    }
}

fn write(store: &dyn StateStore, orders: &Receiver<Order>) {
    for Order { service, checkpoint, done } in orders {
        // Whoever asked may have gone.
        let _ = done.send(store.put_checkpoint(&service, &checkpoint));
    }
}

impl Drop for CheckpointWriter {
    /// Comes back when all that was ordered is on disk.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
