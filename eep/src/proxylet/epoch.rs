//! The clock against which calls into proxylets are held.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::Engine;

/// The engine's epoch goes up this often while any service runs. A deadline is kept to within two ticks.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Counts the engine's epoch up as long as any [`Running`] lives; sleeps otherwise.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<TickerState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct TickerState {
    running: usize,
    ended: bool,
}

/// As long as this lives, the epoch goes up.
#[derive(Debug)]
pub(crate) struct Running(Arc<Shared>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, TickerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let (mine, engine) = (Arc::clone(&shared), engine.clone());
        let thread =
            thread::Builder::new().name("eep-epoch".to_owned()).spawn(move || tick(&mine, &engine))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A place among at most `max`, or how many there are.
    pub(crate) fn admit(&self, max: usize) -> Result<Running, usize> {
        let mut state = self.shared.lock();
        if state.running >= max {
            return Err(state.running);
        }
        state.running += 1;
        self.shared.changed.notify_one();
        Ok(Running(Arc::clone(&self.shared)))
    }

    /// How many [`Running`] live.
    pub(crate) fn count(&self) -> usize {
        self.shared.lock().running
    }
}

fn tick(shared: &Shared, engine: &Engine) {
    let mut state = shared.lock();
    while !state.ended {
        let idle = state.running == 0;
        state = if idle {
            shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
        } else {
            let waited = shared.changed.wait_timeout_while(state, TICK, |s| !s.ended);
            engine.increment_epoch();
            waited.unwrap_or_else(PoisonError::into_inner).0
        };
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
