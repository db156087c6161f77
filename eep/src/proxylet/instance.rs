//! One instance of a proxylet, and the calls into it.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use wasmtime::{Engine, Error, Store, Trap, WasmBacktrace};

use crate::host::Host;
use crate::host::inbox::Batch;
use crate::proxylet::code::Code;
use crate::proxylet::epoch::TICK;
use crate::proxylet::exports::Exports;
use crate::proxylet::memory::MemoryLimit;
use crate::proxylet::trap::{TrapKind, TrapReport};
use crate::record::entry::{Call, Return};
use crate::record::recorder::Recorder;

/// Bytes that the proxylet may hand over in one call: a `net.send` of more than every connection could hold at once
/// is a mistake.
pub(crate) const HOST_CALL_BYTES_MAX: usize = 64 << 20;

/// An instance with its memory. After a [`TrapReport`] it is of no more use.
pub(crate) struct Instance {
    store: Store<Host>,
    exports: Exports,
    deadline_ticks: u64,
    call_ms: u128,
    /// How long the state was that it was given, and the last one that it gave, in bytes.
    given_bytes: usize,
    gave_bytes: usize,
}

impl Instance {
    pub(crate) fn new(engine: &Engine, code: &Code, host: Host, call: Duration) -> Result<Self, TrapReport> {
        let deadline_ticks =
            u64::try_from(call.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX >> 1) + 1;
        let mut store = Store::new(engine, host);
        store.limiter(|host| &mut host.memory);
        store.set_hostcall_fuel(HOST_CALL_BYTES_MAX);
        store.set_epoch_deadline(deadline_ticks);
        let call_ms = call.as_millis();
        match code.instantiate(&mut store) {
            Ok(exports) => {
                Ok(Self { store, exports, deadline_ticks, call_ms, given_bytes: 0, gave_bytes: 0 })
            }
            Err(error) => Err(report(&store.data().memory, "instantiate", call_ms, &error)),
        }
    }

    /// What records it.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.store.data().recorder
    }

    /// Has it recorded from here on.
    pub(crate) fn record(&mut self, recorder: Rc<Recorder>) {
        self.store.data_mut().recorder = recorder;
    }

    /// Calls an export within the deadline. A state that it is given or returns is shared with the recorder.
    fn call<T>(
        &mut self,
        recorded: &Call<'_>,
        given: Option<&Bytes>,
        call: impl FnOnce(&Exports, &mut Store<Host>) -> wasmtime::Result<T>,
        told: impl FnOnce(&T) -> (Return<'_>, Option<&Bytes>),
    ) -> Result<T, TrapReport> {
        self.store.set_epoch_deadline(self.deadline_ticks);
        let host = self.store.data_mut();
        host.memory.forget_refusal();
        host.wasi.batch_ns = recorded.now().unwrap_or(host.wasi.batch_ns);
        host.recorder.call(recorded, given);
        match call(&self.exports, &mut self.store) {
            Ok(back) => {
                let (told, state) = told(&back);
                self.recorder().returned(&told, state);
                Ok(back)
            }
            Err(error) => {
                let mut report = report(&self.store.data().memory, recorded.name(), self.call_ms, &error);
                report.recording = self.recorder().trapped(&report).map(|path| path.display().to_string());
                Err(report)
            }
        }
    }

    pub(crate) fn start(&mut self, now_ns: u64, config: &str) -> Result<Result<(), String>, TrapReport> {
        let recorded = Call::Start { now: now_ns, config: config.into() };
        let start = |exports: &Exports, store: &mut Store<Host>| exports.start(store, now_ns, config);
        self.call(&recorded, None, start, begun)
    }

    pub(crate) fn restore(
        &mut self,
        now_ns: u64,
        config: &str,
        state: &Bytes,
    ) -> Result<Result<(), String>, TrapReport> {
        self.given_bytes = state.len();
        let recorded = Call::Restore { now: now_ns, config: config.into(), state: state.as_ref().into() };
        let restore =
            |exports: &Exports, store: &mut Store<Host>| exports.restore(store, now_ns, config, state);
        self.call(&recorded, Some(state), restore, begun)
    }

    pub(crate) fn handle(&mut self, now_ns: u64, batch: &Batch) -> Result<(), TrapReport> {
        let Batch { events, conns, lens, .. } = batch;
        let recorded = Call::Handle {
            now: now_ns,
            events: events.into(),
            conns: conns.into(),
            lens: lens.into(),
            bytes: batch.bytes().into(),
        };
        let handle = |exports: &Exports, store: &mut Store<Host>| {
            exports.handle(store, now_ns, events, conns, lens, batch.bytes())
        };
        self.call(&recorded, None, handle, |()| (Return::Done, None))
    }

    /// How much memory it has, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().memory.bytes()
    }

    /// How much longer its state has become since it was given one, in bytes.
    pub(crate) fn state_growth_bytes(&self) -> usize {
        self.gave_bytes.saturating_sub(self.given_bytes)
    }

    /// Whether it can be given memory ahead of its `restore`.
    pub(crate) fn can_warm(&self) -> bool {
        self.exports.can_warm()
    }

    /// Gives it so many bytes of memory more, or takes back all that it was given so (0).
    pub(crate) fn warm(&mut self, bytes: u32) -> Result<(), TrapReport> {
        self.store.set_epoch_deadline(self.deadline_ticks);
        self.store.data_mut().memory.forget_refusal();
        let warmed = self.exports.warm(&mut self.store, bytes);
        warmed.map_err(|error| report(&self.store.data().memory, "warm", self.call_ms, &error))
    }

    /// Says again how much memory it has, after another instance has.
    pub(crate) fn show_memory(&self) {
        self.store.data().memory.show();
    }

    pub(crate) fn save(&mut self) -> Result<Bytes, TrapReport> {
        fn saved(state: &Bytes) -> (Return<'_>, Option<&Bytes>) {
            (Return::Saved(state.as_ref().into()), Some(state))
        }
        let save = |exports: &Exports, store: &mut Store<Host>| exports.save(store).map(Bytes::from);
        let state = self.call(&Call::Save, None, save, saved)?;
        self.gave_bytes = state.len();
        Ok(state)
    }

    pub(crate) fn stop(&mut self) -> Result<(), TrapReport> {
        let stop = |exports: &Exports, store: &mut Store<Host>| exports.stop(store);
        self.call(&Call::Stop, None, stop, |()| (Return::Done, None))
    }
}

/// How `start` or `restore` ended, as it is recorded.
fn begun(answer: &Result<(), String>) -> (Return<'_>, Option<&Bytes>) {
    match answer {
        Ok(()) => (Return::Done, None),
        Err(reason) => (Return::Refused(reason.into()), None),
    }
}

/// What is known of an instance's end, from the error that a call into it gave.
pub(crate) fn report(memory: &MemoryLimit, during: &'static str, call_ms: u128, error: &Error) -> TrapReport {
    let trap = error.downcast_ref::<Trap>();
    let (kind, message) = if trap == Some(&Trap::Interrupt) {
        (
            TrapKind::Deadline,
            format!("the call took longer than its limit of {call_ms} ms (`limits.call-ms`)"),
        )
    } else if memory.was_refused() {
        let limit = memory.bytes_max() >> 20;
        (
            TrapKind::Memory,
            format!("it ended after it was refused memory beyond {limit} MiB (`limits.memory`)"),
        )
    } else {
        let message = trap.map_or_else(|| error.root_cause().to_string(), |trap| trap.to_string());
        (TrapKind::Trap, message)
    };
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], WasmBacktrace::frames);
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
        None => format!("function {}", frame.func_index()),
    };
    let backtrace = frames.iter().take(TrapReport::FRAMES_MAX).map(name).collect();
    TrapReport::new(kind, during, message, backtrace)
}
