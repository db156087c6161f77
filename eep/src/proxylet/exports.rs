//! What an instance exports, and how it is handed a batch: on a node, in a replay and in a test alike.
//!
//! `lifecycle` is there always, the other interfaces where the proxylet has them.

use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, TypedFunc};

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

/// The exports of one instance.
pub(crate) struct Exports {
    service: Service,
    warm: Option<Warm>,
    due: Option<Due>,
}

/// `takeover.warm`.
pub(crate) type Warm = TypedFunc<(u32,), ()>;
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
        let warm = typed(store, &instance, self.warm.as_ref())?;
        let due = typed(store, &instance, self.due.as_ref())?;
        Ok(Exports { service, warm, due })
    }
}

fn typed<T, P, R>(
    store: &mut Store<T>,
    instance: &Instance,
    at: Option<&ComponentExportIndex>,
) -> wasmtime::Result<Option<TypedFunc<P, R>>>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    at.map(|at| instance.get_typed_func(store, at)).transpose()
}

impl Exports {
    pub(crate) fn lifecycle(&self) -> &Guest {
        self.service.eep_proxylet_lifecycle()
    }

    /// What has the instance ask for so many bytes of memory and write to them, or give all that it has so back (0).
    pub(crate) fn warm(&self) -> Option<Warm> {
        self.warm
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
        match (self.due, events) {
            (Some(due), []) => due.call(store, (now_ns, None)),
            (Some(due), [Event::Timer(token)]) => due.call(store, (now_ns, Some(*token))),
            _ => self.lifecycle().call_handle(store, now_ns, events, conns, lens, bytes),
        }
    }
}
