//! Files and sockets of WASI, which a proxylet does not have. Language runtimes import them all the same, so they are
//! there and say no: no folder is open, and whoever asks for a socket hears `access-denied`. The log names who asked.

use wasmtime::component::types::{ComponentItem, Type};
use wasmtime::component::{Component, Linker, Resource, ResourceAny, ResourceType, Val};
use wasmtime::{Engine, Error, Result, StoreContextMut};

use super::Wasi;
use super::streams::{Failure, Input, Output, Pollable};

/// A file, a socket, a network: there are none.
struct Absent;

/// Whether an interface is of what a proxylet does not have and may import.
pub(crate) fn is_absent(interface: &str) -> bool {
    interface.starts_with("wasi:filesystem/") || interface.starts_with("wasi:sockets/")
}

/// Links the refusals that a component needs.
pub(crate) fn link<T: Wasi>(linker: &mut Linker<T>, component: &Component, engine: &Engine) -> Result<()> {
    for (name, item) in component.component_type().imports(engine) {
        let interface = name.split('@').next().unwrap_or_default();
        let ComponentItem::ComponentInstance(instance) = item.ty else { continue };
        if !is_absent(interface) {
            continue;
        }
        let mut linked = linker.instance(name)?;
        for (export, item) in instance.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => {
                    let what = format!("{name} {export}");
                    linked.func_new(export, move |store, ty, _, results| {
                        refuse(store, &what, ty.results(), results)
                    })?;
                }
                // One that is only named here is defined where it comes from; saying so twice does no harm.
                ComponentItem::Resource(_) => {
                    linked.resource(export, resource(export), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn resource(name: &str) -> ResourceType {
    match name {
        "input-stream" => ResourceType::host::<Input>(),
        "output-stream" => ResourceType::host::<Output>(),
        "pollable" => ResourceType::host::<Pollable>(),
        "error" => ResourceType::host::<Failure>(),
        _ => ResourceType::host::<Absent>(),
    }
}

/// Answers with nothing, or with the refusal that the function's type has.
fn refuse<T: Wasi>(
    mut store: StoreContextMut<'_, T>,
    what: &str,
    types: impl Iterator<Item = Type>,
    results: &mut [Val],
) -> Result<()> {
    for (ty, result) in types.zip(results) {
        *result = match ty {
            Type::List(_) => Val::List(Vec::new()),
            Type::Option(_) => Val::Option(None),
            Type::Own(_) => {
                Val::Resource(ResourceAny::try_from_resource(Resource::<Absent>::new_own(0), &mut store)?)
            }
            Type::Result(result) => match result.err() {
                Some(Type::Enum(codes)) => {
                    let denied = codes.names().find(|name| ["access", "access-denied"].contains(name));
                    let denied = denied.ok_or_else(|| none(what))?;
                    store
                        .data_mut()
                        .refused(&format!("{what}: proxylets have no files and no sockets of WASI"));
                    Val::Result(Err(Some(Box::new(Val::Enum(denied.to_owned())))))
                }
                _ => return Err(none(what)),
            },
            _ => return Err(none(what)),
        };
    }
    Ok(())
}

fn none(what: &str) -> Error {
    Error::msg(format!("it called {what}: proxylets have no files and no sockets of WASI"))
}
