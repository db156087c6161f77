//! Whether a component was built against the contract as this node has it: each function and type that it imports or
//! exports, compared by name and shape. Versions alone do not tell: a contract that was changed by hand keeps its number.

use std::sync::LazyLock;

use wit_component::DecodedWasm;
use wit_parser::{
    Function, InterfaceId, Resolve, SourceMap, Type, TypeDef, TypeDefKind, TypeId, WorldId, WorldItem,
    WorldKey,
};

use crate::proxylet::error::LoadError;
use crate::proxylet::inspect::{PACKAGE, VERSION};
use crate::proxylet::vendored;

/// The contract that this node was built with.
static OFFERED: LazyLock<Option<Resolve>> = LazyLock::new(|| {
    let mut sources = SourceMap::default();
    for (path, text) in vendored::WIT {
        sources.push_str(path, *text);
    }
    let mut wit = Resolve::default();
    wit.push_group(sources.parse().ok()?).ok()?;
    Some(wit)
});

/// Sets up what the first check of a process would wait for: the contract.
pub(crate) fn warm() {
    LazyLock::force(&OFFERED);
}

/// Compares what a component imports and exports of the contract with what this node offers and calls.
///
/// # Errors
/// The first function or type that is another one. A component that cannot be read is not judged here.
pub(crate) fn check(bytes: &[u8]) -> Result<(), LoadError> {
    match wit_component::decode(bytes) {
        Ok(DecodedWasm::Component(wit, world)) => compare(&wit, world),
        _ => Ok(()),
    }
}

fn compare(theirs: &Resolve, world: WorldId) -> Result<(), LoadError> {
    let Some(offered) = OFFERED.as_ref() else { return Ok(()) };
    let world = &theirs.worlds[world];
    for (key, item) in world.imports.iter().chain(&world.exports) {
        let (WorldKey::Interface(id), WorldItem::Interface { .. }) = (key, item) else { continue };
        let Some((name, ours)) = counterpart(theirs, *id, offered) else { continue };
        let pair = Pair { name, theirs, offered };
        pair.compare(*id, ours)?;
        if world.exports.contains_key(key) {
            pair.check_exported(*id, ours)?;
        }
    }
    Ok(())
}

/// The interface of the contract that has the same name.
fn counterpart<'a>(
    theirs: &Resolve,
    id: InterfaceId,
    offered: &'a Resolve,
) -> Option<(&'a str, InterfaceId)> {
    let interface = &theirs.interfaces[id];
    let package = &theirs.packages[interface.package?].name;
    if format!("{}:{}", package.namespace, package.name) != PACKAGE {
        return None;
    }
    let name = interface.name.as_deref()?;
    let (_, package) = offered.packages.iter().next()?;
    package.interfaces.get_key_value(name).map(|(name, id)| (name.as_str(), *id))
}

/// One interface as the component has it and as this node has it.
struct Pair<'a> {
    name: &'a str,
    theirs: &'a Resolve,
    offered: &'a Resolve,
}

impl Pair<'_> {
    fn compare(&self, theirs: InterfaceId, ours: InterfaceId) -> Result<(), LoadError> {
        let (theirs, ours) = (&self.theirs.interfaces[theirs], &self.offered.interfaces[ours]);
        for (name, id) in &theirs.types {
            let wanted = definition(self.theirs, *id);
            let offered = ours.types.get(name).map(|id| definition(self.offered, *id));
            self.same("type", name, Some(wanted), offered)?;
        }
        for (name, function) in &theirs.functions {
            let wanted = signature(self.theirs, function);
            let offered = ours.functions.get(name).map(|function| signature(self.offered, function));
            self.same("function", name, Some(wanted), offered)?;
        }
        Ok(())
    }

    fn same(
        &self,
        kind: &'static str,
        name: &str,
        wanted: Option<String>,
        offered: Option<String>,
    ) -> Result<(), LoadError> {
        if offered == wanted {
            return Ok(());
        }
        Err(LoadError::Shape {
            interface: format!("{PACKAGE}/{}@{VERSION}", self.name),
            item: format!("{kind} `{name}`"),
            wanted: wanted.map_or("is missing".to_owned(), |wanted| format!("is `{wanted}`")),
            offered: offered.map_or("none of that name".to_owned(), |offered| format!("`{offered}`")),
        })
    }

    /// A node calls every function of an exported interface.
    fn check_exported(&self, theirs: InterfaceId, ours: InterfaceId) -> Result<(), LoadError> {
        let theirs = &self.theirs.interfaces[theirs].functions;
        match self.offered.interfaces[ours].functions.iter().find(|(name, _)| !theirs.contains_key(*name)) {
            None => Ok(()),
            Some((name, function)) => {
                self.same("function", name, None, Some(signature(self.offered, function)))
            }
        }
    }
}

fn signature(wit: &Resolve, function: &Function) -> String {
    let param = |p: &wit_parser::Param| format!("{}: {}", p.name, used(wit, &p.ty));
    let params: Vec<_> = function.params.iter().map(param).collect();
    let result = function.result.map(|result| format!(" -> {}", used(wit, &result))).unwrap_or_default();
    format!("func({}){result}", params.join(", "))
}

/// A type where it is used: by its name where it has a shape of its own, which is compared where it is defined.
fn used(wit: &Resolve, ty: &Type) -> String {
    let Type::Id(id) = ty else { return format!("{ty:?}").to_lowercase() };
    let def = &wit.types[*id];
    match (&def.kind, &def.name) {
        (TypeDefKind::Type(other), _) => used(wit, other),
        (
            TypeDefKind::Record(_)
            | TypeDefKind::Variant(_)
            | TypeDefKind::Enum(_)
            | TypeDefKind::Flags(_)
            | TypeDefKind::Resource,
            Some(name),
        ) => name.clone(),
        _ => shape(wit, def),
    }
}

/// A type where it is defined.
fn definition(wit: &Resolve, id: TypeId) -> String {
    shape(wit, &wit.types[id])
}

fn shape(wit: &Resolve, def: &TypeDef) -> String {
    let of = |ty: &Option<Type>| ty.as_ref().map_or("_".to_owned(), |ty| used(wit, ty));
    match &def.kind {
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter().map(|f| format!("{}: {}", f.name, used(wit, &f.ty)));
            format!("record {{ {} }}", list(fields))
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| match &case.ty {
                Some(ty) => format!("{}({})", case.name, used(wit, ty)),
                None => case.name.clone(),
            });
            format!("variant {{ {} }}", list(cases))
        }
        TypeDefKind::Enum(all) => format!("enum {{ {} }}", list(all.cases.iter().map(|c| c.name.clone()))),
        TypeDefKind::Flags(all) => format!("flags {{ {} }}", list(all.flags.iter().map(|f| f.name.clone()))),
        TypeDefKind::Tuple(all) => format!("tuple<{}>", list(all.types.iter().map(|ty| used(wit, ty)))),
        TypeDefKind::Option(ty) => format!("option<{}>", used(wit, ty)),
        TypeDefKind::Result(result) => format!("result<{}, {}>", of(&result.ok), of(&result.err)),
        TypeDefKind::List(ty) => format!("list<{}>", used(wit, ty)),
        TypeDefKind::Type(ty) => used(wit, ty),
        // The contract has none of the others; one that a component has is told by its kind.
        other => other.as_str().to_owned(),
    }
}

fn list(all: impl Iterator<Item = String>) -> String {
    all.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a component that was built against the contract with one text in the place of another.
    fn built_against(from: &str, to: &str) -> Result<(), LoadError> {
        let mut sources = SourceMap::default();
        let mut changed = false;
        for (path, text) in vendored::WIT {
            changed |= text.contains(from);
            sources.push_str(path, text.replace(from, to));
        }
        assert!(changed, "{from:?} is not in the contract any more");
        let mut wit = Resolve::default();
        let package = wit.push_group(sources.parse().map_err(|(_, e)| e).unwrap()).unwrap();
        let world = wit.select_world(&[package], Some("service")).unwrap();
        compare(&wit, world)
    }

    fn told(from: &str, to: &str) -> String {
        built_against(from, to).unwrap_err().to_string()
    }

    #[test]
    fn what_was_built_against_this_contract_fits() {
        built_against("Randomness", "Much randomness").unwrap();
        built_against("  bytes: func(len: u32) -> list<u8>;\n", "").unwrap();
    }

    #[test]
    fn another_shape_is_told_in_plain_words() {
        assert_eq!(
            told(
                "events: list<event>, conns: list<conn>, lens: list<u32>, bytes: list<u8>)",
                "events: list<event>, bytes: list<u8>)"
            ),
            "the proxylet was built against another form of `eep:proxylet/lifecycle@0.1.0`: the function `handle` \
             is `func(now: u64, events: list<event>, bytes: list<u8>)` there, and this node has `func(now: u64, \
             events: list<event>, conns: list<u64>, lens: list<u32>, bytes: list<u8>)`: build it again with the SDK \
             and the contract of this node (`eep proxylet new` makes a project with both)"
        );
        let grown =
            told("interface random {", "interface random {\n  seed: func() -> tuple<u64, option<string>>;");
        assert!(
            grown.contains(
                "the function `seed` is `func() -> tuple<u64, option<string>>` there, and this node has none of that name"
            ),
            "{grown}"
        );
        let longer = told("enum level { error, warn, info, debug }", "enum level { error, warn, info }");
        assert!(
            longer.contains(
                "the type `level` is `enum { error, warn, info }` there, and this node has `enum {"
            ),
            "{longer}"
        );
        let lacking = told("  save: func() -> list<u8>;\n", "");
        assert!(
            lacking.contains("the function `save` is missing there, and this node has `func() -> list<u8>`"),
            "{lacking}"
        );
    }
}
