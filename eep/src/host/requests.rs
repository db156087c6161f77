//! Requests that are answered later, with `event.answer`.

use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::task::{AbortHandle, spawn_local};

use crate::host::Env;
use crate::host::bindings::eep::proxylet::types::{Answer, Event};
use crate::host::outside::Request;
use crate::problem::Problem;
use crate::record::entry::encode;

/// Bytes of an answer; what is longer is cut.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// The requests of one service that wait for their answers.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    last: u64,
    /// By number; without a task while they are held back.
    waiting: BTreeMap<u64, Option<AbortHandle>>,
}

impl Requests {
    /// Requests that may wait at one time.
    const MAX: usize = 16;

    fn admit(&mut self) -> Option<u64> {
        if self.waiting.len() >= Self::MAX {
            return None;
        }
        self.last += 1;
        self.waiting.insert(self.last, None);
        Some(self.last)
    }

    /// Takes back one that was held back.
    pub(crate) fn take_back(&mut self, id: u64) {
        self.waiting.remove(&id);
    }

    /// Nobody is left to be answered. What is under way goes on.
    pub(crate) fn clear(&mut self) {
        for task in std::mem::take(&mut self.waiting).into_values().flatten() {
            task.abort();
        }
    }
}

/// By what a request is known again.
pub(crate) fn key(request: &Request) -> Vec<u8> {
    let mut key = Vec::new();
    encode(&mut key, request);
    key
}

impl Env {
    /// Takes a request; its number, where there is room for one more.
    pub(crate) fn request(&self, request: Request) -> Option<u64> {
        if let Some(past) = self.past_request(&key(&request)) {
            return past;
        }
        let id = self.requests.borrow_mut().admit()?;
        if self.hold_request(id, &request).is_none() {
            self.begin_request(id, request);
        }
        Some(id)
    }

    /// Has a request fulfilled; the answer is an event.
    pub(crate) fn begin_request(&self, id: u64, request: Request) {
        let Some(env) = self.this.upgrade() else { return };
        let task = spawn_local(async move {
            let done = env.door.fulfil(request).await;
            env.answer(id, done);
        });
        if let Some(waiting) = self.requests.borrow_mut().waiting.get_mut(&id) {
            *waiting = Some(task.abort_handle());
        }
    }

    fn answer(self: &Rc<Self>, request: u64, done: Result<Vec<u8>, Box<Problem>>) {
        self.requests.borrow_mut().waiting.remove(&request);
        let (done, mut bytes) = match done {
            Ok(bytes) => (true, bytes),
            Err(problem) => (false, problem.to_string().into_bytes()),
        };
        bytes.truncate(ANSWER_BYTES_MAX);
        let event = Answer { request, done, len: bytes.len() as u32 };
        // As few as there may be requests: there is room for them beside what connections deliver.
        self.inbox.borrow_mut().push_carrying(Event::Answer(event), &bytes);
    }
}
