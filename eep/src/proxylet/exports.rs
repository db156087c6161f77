//! What an instance exports, and how it is handed a batch: on a node, in a replay and in a test alike.
//!
//! `lifecycle` is there always, the other interfaces where the proxylet has them.

use std::cell::OnceCell;
use std::sync::OnceLock;

use wasmtime::component::{ComponentExportIndex, Instance, InstancePre, TypedFunc};
use wasmtime::{Error, Store};

use crate::host::bindings::eep::proxylet::types::Event;
use crate::host::bindings::exports::eep::proxylet::lifecycle::{Guest, GuestIndices};
use crate::proxylet::inspect::{PACKAGE, VERSION};

/// Linked code, with where its exports are.
#[derive(Clone)]
pub(crate) struct ExportsPre<T: 'static> {
    instance: InstancePre<T>,
    at: Indices,
    /// Set once all types of `lifecycle` were compared: what is cached may be older than the contract.
    compared: OnceLock<()>,
}

/// Where the exports are.
#[derive(Clone)]
struct Indices {
    lifecycle: GuestIndices,
    /// By itself: what is compared for the rest of `lifecycle`, the events among it, `start` need not wait for.
    start: ComponentExportIndex,
    warm: Option<ComponentExportIndex>,
    due: Option<ComponentExportIndex>,
}

/// The exports of one instance, looked up when they are first called: an instance is made in ten microseconds.
pub(crate) struct Exports {
    instance: Instance,
    at: Indices,
    lifecycle: OnceCell<Guest>,
    due: OnceCell<Due>,
}

/// `lifecycle.start`.
type Start<'a> = TypedFunc<(u64, &'a str), (Result<(), String>,)>;
/// `takeover.warm`.
type Warm = TypedFunc<(u32,), ()>;
/// `timers.due`.
type Due = TypedFunc<(u64, Option<u64>), ()>;

impl<T: 'static> ExportsPre<T> {
    /// # Errors
    /// The code does not export `lifecycle`.
    pub(crate) fn new(instance: InstancePre<T>) -> wasmtime::Result<Self> {
        let component = instance.component();
        let find = |interface: &str, function: &str| {
            let interface = component.get_export_index(None, format!("{PACKAGE}/{interface}@{VERSION}"))?;
            component.get_export_index(Some(&interface), function)
        };
        let at = Indices {
            lifecycle: GuestIndices::new(&instance)?,
            start: find("lifecycle", "start").ok_or_else(|| Error::msg("it does not export `start`"))?,
            warm: find("takeover", "warm"),
            due: find("timers", "due"),
        };
        Ok(Self { instance, at, compared: OnceLock::new() })
    }

    /// Memory that the compiled form takes up, in bytes.
    pub(crate) fn compiled_bytes(&self) -> u64 {
        let image = self.instance.component().image_range();
        (image.end as u64).saturating_sub(image.start as u64)
    }

    /// Makes an instance. The first one shows whether the code is what this node calls: the others need not.
    pub(crate) fn instantiate(&self, store: &mut Store<T>) -> wasmtime::Result<Exports> {
        let instance = self.instance.instantiate(&mut *store)?;
        let exports =
            Exports { instance, at: self.at.clone(), lifecycle: OnceCell::new(), due: OnceCell::new() };
        if self.compared.get().is_none() {
            exports.lifecycle(store)?;
            let _ = self.compared.set(());
        }
        Ok(exports)
    }
}

impl Exports {
    pub(crate) fn start<T>(
        &self,
        store: &mut Store<T>,
        now_ns: u64,
        config: &str,
    ) -> wasmtime::Result<Result<(), String>> {
        let start: Start<'_> = self.instance.get_typed_func(&mut *store, self.at.start)?;
        start.call(store, (now_ns, config)).map(|(begun,)| begun)
    }

    fn lifecycle<T>(&self, store: &mut Store<T>) -> wasmtime::Result<&Guest> {
        if let Some(lifecycle) = self.lifecycle.get() {
            return Ok(lifecycle);
        }
        let lifecycle = self.at.lifecycle.load(store, &self.instance)?;
        Ok(self.lifecycle.get_or_init(|| lifecycle))
    }

    pub(crate) fn restore<T>(
        &self,
        store: &mut Store<T>,
        now_ns: u64,
        config: &str,
        state: &[u8],
    ) -> wasmtime::Result<Result<(), String>> {
        self.lifecycle(store)?.call_restore(store, now_ns, config, state)
    }

    pub(crate) fn save<T>(&self, store: &mut Store<T>) -> wasmtime::Result<Vec<u8>> {
        self.lifecycle(store)?.call_save(store)
    }

    pub(crate) fn stop<T>(&self, store: &mut Store<T>) -> wasmtime::Result<()> {
        self.lifecycle(store)?.call_stop(store)
    }

    /// Whether it can be asked to [`Self::warm`].
    pub(crate) fn can_warm(&self) -> bool {
        self.at.warm.is_some()
    }

    /// Has the instance ask for so many bytes of memory and write to them, or give all that it has so back (0).
    pub(crate) fn warm<T>(&self, store: &mut Store<T>, bytes: u32) -> wasmtime::Result<()> {
        let Some(at) = &self.at.warm else { return Ok(()) };
        let warm: Warm = self.instance.get_typed_func(&mut *store, at)?;
        warm.call(store, (bytes,))
    }

    fn due<T>(&self, store: &mut Store<T>) -> wasmtime::Result<Option<Due>> {
        match (self.due.get(), &self.at.due) {
            (Some(due), _) => Ok(Some(*due)),
            (None, None) => Ok(None),
            (None, Some(at)) => {
                let due = self.instance.get_typed_func(store, at)?;
                Ok(Some(*self.due.get_or_init(|| due)))
            }
        }
    }

    /// Hands over a batch. One that says no more than that a timer is due goes through `timers.due` where there is one: that
    /// has no lists, for each of which the guest would be called to make room, an empty one included.
    pub(crate) fn handle<T>(
        &self,
        store: &mut Store<T>,
        now_ns: u64,
        events: &[Event],
        conns: &[u64],
        lens: &[u32],
        bytes: &[u8],
    ) -> wasmtime::Result<()> {
        let timer = match events {
            [] => Some(None),
            [Event::Timer(token)] => Some(Some(*token)),
            _ => None,
        };
        if let Some(timer) = timer
            && let Some(due) = self.due(store)?
        {
            return due.call(store, (now_ns, timer));
        }
        self.lifecycle(store)?.call_handle(store, now_ns, events, conns, lens, bytes)
    }
}
