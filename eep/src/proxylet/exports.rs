//! What an instance exports, and how it is handed a batch: on a node, in a replay and in a test alike.
//!
//! `lifecycle` is there always, the other interfaces where the proxylet has them.

use std::cell::OnceCell;

use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, Instance, TypedFunc};

use crate::host::bindings::eep::proxylet::types::Event;
use crate::host::bindings::exports::eep::proxylet::lifecycle::Guest;
use crate::host::bindings::{Service, ServicePre};
use crate::proxylet::inspect::{PACKAGE, VERSION};

/// Linked code, with where its exports are.
#[derive(Clone)]
pub(crate) struct ExportsPre<T: 'static> {
    service: ServicePre<T>,
    warm: Option<ComponentExportIndex>,
    due: Option<ComponentExportIndex>,
}

/// The exports of one instance. Those that not every instance is asked for are looked up when they are: an instance is made
/// in ten microseconds.
pub(crate) struct Exports {
    service: Service,
    instance: Instance,
    warm: Option<ComponentExportIndex>,
    due: Option<ComponentExportIndex>,
    due_found: OnceCell<Due>,
}

/// `takeover.warm`.
type Warm = TypedFunc<(u32,), ()>;
/// `timers.due`.
type Due = TypedFunc<(u64, Option<u64>), ()>;

impl<T: 'static> ExportsPre<T> {
    pub(crate) fn new(service: ServicePre<T>) -> Self {
        let component = service.instance_pre().component();
        let find = |interface: &str, function: &str| {
            let interface = component.get_export_index(None, format!("{PACKAGE}/{interface}@{VERSION}"))?;
            component.get_export_index(Some(&interface), function)
        };
        let (warm, due) = (find("takeover", "warm"), find("timers", "due"));
        Self { service, warm, due }
    }

    /// Memory that the compiled form takes up, in bytes.
    pub(crate) fn compiled_bytes(&self) -> u64 {
        let image = self.service.instance_pre().component().image_range();
        (image.end as u64).saturating_sub(image.start as u64)
    }

    /// Makes an instance.
    pub(crate) fn instantiate(&self, store: &mut Store<T>) -> wasmtime::Result<Exports> {
        let instance = self.service.instance_pre().instantiate(&mut *store)?;
        let service = Service::new(&mut *store, &instance)?;
        Ok(Exports { service, instance, warm: self.warm, due: self.due, due_found: OnceCell::new() })
    }
}

impl Exports {
    pub(crate) fn lifecycle(&self) -> &Guest {
        self.service.eep_proxylet_lifecycle()
    }

    /// Whether it can be asked to [`Self::warm`].
    pub(crate) fn can_warm(&self) -> bool {
        self.warm.is_some()
    }

    /// Has the instance ask for so many bytes of memory and write to them, or give all that it has so back (0).
    pub(crate) fn warm<T>(&self, store: &mut Store<T>, bytes: u32) -> wasmtime::Result<()> {
        let Some(at) = &self.warm else { return Ok(()) };
        let warm: Warm = self.instance.get_typed_func(&mut *store, at)?;
        warm.call(store, (bytes,))
    }

    fn due<T>(&self, store: &mut Store<T>) -> wasmtime::Result<Option<Due>> {
        match (self.due_found.get(), &self.due) {
            (Some(due), _) => Ok(Some(*due)),
            (None, None) => Ok(None),
            (None, Some(at)) => {
                let due = self.instance.get_typed_func(store, at)?;
                Ok(Some(*self.due_found.get_or_init(|| due)))
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
        self.lifecycle().call_handle(store, now_ns, events, conns, lens, bytes)
    }
}
