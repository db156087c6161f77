//! An instance whose host is the script.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

use crate::host::WasiState;
use crate::host::wasi::linked;
use crate::proxylet::digest::Digest;
use crate::proxylet::epoch::{Running, TICK, Ticker};
use crate::proxylet::exports::{Exports, ExportsPre};
use crate::proxylet::inspect::inspect;
use crate::proxylet::instance::{HOST_CALL_BYTES_MAX, report};
use crate::proxylet::memory::MemoryLimit;
use crate::proxylet::runtime::same_everywhere;
use crate::proxylet::trap::TrapKind;
use crate::record::entry::{Call, Head, Return, Trapped};
use crate::record::replay::host::{ReplayHost, link};
use crate::record::replay::run::ReplayError;
use crate::record::replay::script::Script;

/// How long a call may take that took less when it was recorded. Other code may take longer, and so may this machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Compiled code, and what runs it.
pub(super) struct Machine {
    engine: Engine,
    linker: Linker<ReplayHost>,
    code: HashMap<Digest, ExportsPre<ReplayHost>>,
    _running: Option<Running>,
    _ticker: Ticker,
}

impl Machine {
    pub(super) fn new() -> Result<Self, ReplayError> {
        let engine = Engine::new(&same_everywhere()).map_err(|e| ReplayError::Engine(format!("{e:#}")))?;
        let mut linker = Linker::new(&engine);
        link(&mut linker).map_err(|e| ReplayError::Engine(format!("{e:#}")))?;
        let ticker = Ticker::start(&engine).map_err(|e| ReplayError::Engine(e.to_string()))?;
        let running = ticker.admit(1).ok();
        Ok(Self { engine, linker, code: HashMap::new(), _running: running, _ticker: ticker })
    }

    /// Compiles code.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<Digest, ReplayError> {
        let digest = Digest::of(bytes);
        inspect(bytes).and_then(|found| found.check_interfaces()).map_err(ReplayError::Code)?;
        let pre = Component::from_binary(&self.engine, bytes)
            .and_then(|component| linked(&self.linker, &component, &self.engine))
            .and_then(ExportsPre::new)
            .map_err(|e| ReplayError::Compile(format!("{e:#}")))?;
        self.code.insert(digest, pre);
        Ok(digest)
    }

    /// An instance of code that was added.
    pub(super) fn instance(&self, code: &Digest, head: &Head, script: Script) -> Result<Life, ReplayError> {
        let pre = self.code.get(code).ok_or(ReplayError::NoCode(*code))?;
        let memory = MemoryLimit::new(head.memory_bytes_max, Arc::default());
        let mut store = Store::new(&self.engine, ReplayHost { script, memory, wasi: WasiState::default() });
        store.limiter(|host| &mut host.memory);
        store.set_hostcall_fuel(HOST_CALL_BYTES_MAX);
        store.set_epoch_deadline(ticks(PATIENCE));
        let exports = pre.instantiate(&mut store).map_err(|e| ReplayError::Compile(format!("{e:#}")))?;
        Ok(Life { store, exports, call_ms: head.call_ms })
    }
}

fn ticks(within: Duration) -> u64 {
    u64::try_from(within.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX >> 1) + 1
}

/// One instance.
pub(super) struct Life {
    store: Store<ReplayHost>,
    exports: Exports,
    call_ms: u32,
}

impl Life {
    pub(super) fn script(&mut self) -> &mut Script {
        &mut self.store.data_mut().script
    }

    pub(super) fn into_script(self) -> Script {
        self.store.into_data().script
    }

    /// Calls an export as it was called; how that ended. `was` is how it ended then.
    pub(super) fn call(&mut self, call: &Call<'_>, was: &Return<'_>) -> Return<'static> {
        let overran = matches!(was, Return::Trapped(trap) if trap.kind == TrapKind::Deadline);
        let within = if overran { Duration::from_millis(self.call_ms.into()) } else { PATIENCE };
        self.store.set_epoch_deadline(ticks(within));
        let host = self.store.data_mut();
        host.memory.forget_refusal();
        host.wasi.batch_ns = call.now().unwrap_or(host.wasi.batch_ns);
        let (exports, store) = (&self.exports, &mut self.store);
        let begun = |answer: Result<(), String>| match answer {
            Ok(()) => Return::Done,
            Err(reason) => Return::Refused(reason.into()),
        };
        let back = match call {
            Call::Start { now, config } => exports.start(store, *now, config).map(begun),
            Call::Restore { now, config, state } => exports.restore(store, *now, config, &state.0).map(begun),
            Call::Handle { now, events, conns, lens, bytes } => {
                exports.handle(store, *now, events, conns, lens, &bytes.0).map(|()| Return::Done)
            }
            Call::Save => exports.save(store).map(|state| Return::Saved(state.into())),
            Call::Stop => exports.stop(store).map(|()| Return::Done),
        };
        back.unwrap_or_else(|error| {
            let memory = &self.store.data().memory;
            let report = report(memory, call.name(), self.call_ms.into(), &error);
            let (message, backtrace) = (report.message.into(), report.backtrace.into());
            Return::Trapped(Trapped { kind: report.kind, message, backtrace })
        })
    }
}
