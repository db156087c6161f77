//! What a version on probation has handled, so that the former version can catch up with it.
//!
//! The former instance is as it was when its state was saved. To go on in the place of the new one it handles the same
//! batches again: what it asks of the network meanwhile was done by the new version and is not done twice, and the batch
//! in which the new version trapped had no effect and is handled in full. So no connection ends, and no message is lost
//! or answered twice, as long as both versions answer the same bytes with as many answers.
//!
//! The journal is bounded. Where a version has handled more than it holds before it fails, the former instance goes on
//! from its own state, with the connections on which nothing has passed since; the others end.

use std::rc::Rc;

use tokio::sync::oneshot;

use crate::host::Env;
use crate::host::bindings::eep::proxylet::types::Event;
use crate::host::effects::Done;
use crate::host::inbox::Batch;
use crate::host::legacy::Mark;
use crate::proxylet::instance::Instance;
use crate::proxylet::swap::Verdict;
use crate::proxylet::trap::TrapReport;

/// A version on probation, as its service's thread sees it.
pub(crate) struct Journal {
    /// What the service had when the former version was paused.
    mark: Mark,
    /// What the new version asked for in `restore`.
    begun: Done,
    entries: Vec<Entry>,
    bytes: usize,
    /// Whether all that was handled is in it.
    whole: bool,
    verdict: oneshot::Receiver<Verdict>,
}

struct Entry {
    now_ns: u64,
    batch: Batch,
    /// What was asked of the network; none where the call trapped.
    done: Option<Done>,
}

impl Journal {
    /// Bytes of batches that are kept.
    const BYTES_MAX: usize = 32 << 20;

    pub(crate) fn new(mark: Mark, begun: Done, verdict: oneshot::Receiver<Verdict>) -> Self {
        Self { mark, begun, entries: Vec::new(), bytes: 0, whole: true, verdict }
    }

    /// What becomes of the version, as soon as it is known.
    pub(crate) fn verdict(&mut self) -> &mut oneshot::Receiver<Verdict> {
        &mut self.verdict
    }

    /// Has the new version handle a batch, with no effect if it traps.
    pub(crate) fn handle(
        &mut self,
        env: &Env,
        instance: &mut Instance,
        now_ns: u64,
        batch: &Batch,
    ) -> Result<(), TrapReport> {
        self.bytes += batch.size();
        if self.bytes > Self::BYTES_MAX {
            self.whole = false;
            self.entries = Vec::new();
        }
        if self.whole {
            self.entries.push(Entry { now_ns, batch: batch.copy(), done: None });
        }
        env.hold();
        instance.handle(now_ns, batch).inspect_err(|_| env.discard())?;
        let done = env.commit();
        if let Some(entry) = self.entries.last_mut() {
            entry.done = Some(done);
        }
        Ok(())
    }

    /// Takes the service back to the former instance; how many connections ended by that.
    pub(crate) fn roll_back(self, env: &Rc<Env>, former: &mut Instance) -> Result<u64, TrapReport> {
        env.give_back(&self.mark);
        let ended = if self.whole {
            let caught_up = self.catch_up(env, former);
            env.live_on();
            caught_up.map(|()| 0)
        } else {
            Ok(env.rewind_paused(&self.mark) as u64)
        };
        env.close_shelved();
        ended
    }

    fn catch_up(self, env: &Rc<Env>, former: &mut Instance) -> Result<(), TrapReport> {
        env.rewind_timers(&self.mark);
        env.relive(self.begun);
        for Entry { now_ns, batch, done } in self.entries {
            match done {
                Some(done) => env.relive(done),
                None => env.live_on(),
            }
            for event in &batch.events {
                if let Event::Timer(token) = event {
                    env.timers.borrow_mut().cancel(*token);
                }
            }
            former.handle(now_ns, &batch)?;
        }
        Ok(())
    }
}
