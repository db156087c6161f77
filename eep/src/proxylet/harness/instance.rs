//! A proxylet's instance on this host, and the calls into it.

use std::time::Duration;

use wasmtime::{Error, Store};

use crate::proxylet::epoch::{Running, TICK};
use crate::proxylet::exports::Exports;
use crate::proxylet::harness::capabilities::TestHost;
use crate::proxylet::harness::network::Batch;
use crate::proxylet::harness::{Harness, admitted};
use crate::proxylet::instance::report;
use crate::proxylet::limits::Limits;

/// Bytes that the proxylet may hand over in one call, as on a node.
const HOST_CALL_BYTES_MAX: usize = 64 << 20;

pub(super) struct TestInstance {
    store: Store<TestHost>,
    exports: Exports,
    call: Duration,
    _running: Option<Running>,
}

impl TestInstance {
    pub(super) fn new(harness: &Harness, host: TestHost, limits: &Limits) -> Result<Self, String> {
        let mut store = Store::new(&harness.engine, host);
        store.limiter(|host| &mut host.memory);
        store.set_hostcall_fuel(HOST_CALL_BYTES_MAX);
        let running = admitted(harness);
        let call = limits.call();
        store.set_epoch_deadline(ticks(call));
        let made = harness.pre.instantiate(&mut store);
        let exports = made.map_err(|error| words(&store, "instantiate", call, &error))?;
        Ok(Self { store, exports, call, _running: running })
    }

    pub(super) fn host(&mut self) -> &mut TestHost {
        self.store.data_mut()
    }

    pub(super) fn into_host(self) -> TestHost {
        self.store.into_data()
    }

    pub(super) fn start(&mut self, config: &str) -> Result<(), String> {
        self.prepare();
        let now = self.store.data().now_ns;
        match self.exports.start(&mut self.store, now, config) {
            Ok(done) => done.map_err(|why| format!("it does not start: {why}")),
            Err(error) => Err(words(&self.store, "start", self.call, &error)),
        }
    }

    pub(super) fn restore(&mut self, config: &str, state: &[u8]) -> Result<(), String> {
        self.prepare();
        let now = self.store.data().now_ns;
        match self.exports.restore(&mut self.store, now, config, state) {
            Ok(done) => done.map_err(|why| format!("it does not take up its state: {why}")),
            Err(error) => Err(words(&self.store, "restore", self.call, &error)),
        }
    }

    pub(super) fn handle(&mut self, batch: &Batch) -> Result<(), String> {
        self.prepare();
        let now = self.store.data().now_ns;
        let Batch { events, conns, lens, bytes } = batch;
        let done = self.exports.handle(&mut self.store, now, events, conns, lens, bytes);
        done.map_err(|error| words(&self.store, "handle", self.call, &error))
    }

    pub(super) fn save(&mut self) -> Result<Vec<u8>, String> {
        self.prepare();
        let saved = self.exports.save(&mut self.store);
        saved.map_err(|error| words(&self.store, "save", self.call, &error))
    }

    pub(super) fn stop(&mut self) -> Result<(), String> {
        self.prepare();
        let done = self.exports.stop(&mut self.store);
        done.map_err(|error| words(&self.store, "stop", self.call, &error))
    }

    fn prepare(&mut self) {
        self.store.set_epoch_deadline(ticks(self.call));
        self.store.data_mut().memory.forget_refusal();
    }
}

fn ticks(call: Duration) -> u64 {
    u64::try_from(call.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX >> 1) + 1
}

fn words(store: &Store<TestHost>, during: &'static str, call: Duration, error: &Error) -> String {
    format!("it trapped: {}", report(&store.data().memory, during, call.as_millis(), error))
}
