//! One instance of a proxylet, and the calls into it.

use std::time::Duration;

use wasmtime::{Engine, Error, Store, Trap, WasmBacktrace};

use crate::host::Host;
use crate::host::bindings::Service;
use crate::host::bindings::exports::eep::proxylet::lifecycle::Guest;
use crate::host::inbox::Batch;
use crate::proxylet::code::Code;
use crate::proxylet::epoch::TICK;
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
    exports: Service,
    deadline_ticks: u64,
    call_ms: u128,
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
        match code.pre().instantiate(&mut store) {
            Ok(exports) => Ok(Self { store, exports, deadline_ticks, call_ms }),
            Err(error) => Err(report(&store.data().memory, "instantiate", call_ms, &error)),
        }
    }

    /// What records it.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.store.data().recorder
    }

    /// Calls an export within the deadline.
    fn call<T>(
        &mut self,
        recorded: &Call<'_>,
        call: impl FnOnce(&Guest, &mut Store<Host>) -> wasmtime::Result<T>,
        told: impl FnOnce(&T) -> Return<'_>,
    ) -> Result<T, TrapReport> {
        self.store.set_epoch_deadline(self.deadline_ticks);
        let host = self.store.data_mut();
        host.memory.forget_refusal();
        host.wasi.batch_ns = recorded.now().unwrap_or(host.wasi.batch_ns);
        host.recorder.call(recorded);
        let guest = self.exports.eep_proxylet_lifecycle();
        match call(guest, &mut self.store) {
            Ok(back) => {
                self.recorder().returned(&told(&back));
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
        self.call(&recorded, |guest, store| guest.call_start(store, now_ns, config), begun)
    }

    pub(crate) fn restore(
        &mut self,
        now_ns: u64,
        config: &str,
        state: &[u8],
    ) -> Result<Result<(), String>, TrapReport> {
        let recorded = Call::Restore { now: now_ns, config: config.into(), state: state.into() };
        self.call(&recorded, |guest, store| guest.call_restore(store, now_ns, config, state), begun)
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
        let handle = |guest: &Guest, store: &mut Store<Host>| {
            guest.call_handle(store, now_ns, events, conns, lens, batch.bytes())
        };
        self.call(&recorded, handle, |()| Return::Done)
    }

    /// Says again how much memory it has, after another instance has.
    pub(crate) fn show_memory(&self) {
        self.store.data().memory.show();
    }

    pub(crate) fn save(&mut self) -> Result<Vec<u8>, TrapReport> {
        fn saved(state: &Vec<u8>) -> Return<'_> {
            Return::Saved(state.as_slice().into())
        }
        self.call(&Call::Save, |guest, store| guest.call_save(store), saved)
    }

    pub(crate) fn stop(&mut self) -> Result<(), TrapReport> {
        self.call(&Call::Stop, |guest, store| guest.call_stop(store), |()| Return::Done)
    }
}

/// How `start` or `restore` ended, as it is recorded.
fn begun(answer: &Result<(), String>) -> Return<'_> {
    match answer {
        Ok(()) => Return::Done,
        Err(reason) => Return::Refused(reason.into()),
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
