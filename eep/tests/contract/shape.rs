//! A WIT package as names and types, without comments and order.

use std::collections::BTreeMap;
use std::path::Path;

use wit_parser::{
    Function, InterfaceId, Resolve, Type, TypeDefKind, UnresolvedPackageGroup, WorldItem, WorldKey,
};

/// What a package defines.
pub(crate) struct Shape {
    /// Such as `eep:proxylet@0.1.0`.
    pub(crate) package: String,
    /// By interface, and in it by `function NAME` or `type NAME`.
    interfaces: BTreeMap<String, BTreeMap<String, String>>,
    /// By world, and in it `import NAME` and `export NAME`.
    worlds: BTreeMap<String, Vec<String>>,
}

impl Shape {
    pub(crate) fn of_directory(directory: &Path) -> Self {
        let mut wit = Resolve::default();
        let (package, _) = wit.push_dir(directory).unwrap();
        Self::of(&wit, package)
    }

    pub(crate) fn of_text(text: &str) -> Self {
        let mut wit = Resolve::default();
        let parsed = UnresolvedPackageGroup::parse("changed.wit", text).unwrap();
        let package = wit.push_group(parsed).unwrap();
        Self::of(&wit, package)
    }

    fn of(wit: &Resolve, package: wit_parser::PackageId) -> Self {
        let package = &wit.packages[package];
        let interfaces = package.interfaces.iter().map(|(name, id)| (name.clone(), interface(wit, *id)));
        let worlds = package.worlds.iter().map(|(name, id)| {
            let world = &wit.worlds[*id];
            let name_of = |key: &WorldKey, item: &WorldItem| match (key, item) {
                (WorldKey::Interface(id), _) => wit.interfaces[*id].name.clone().unwrap(),
                (WorldKey::Name(name), _) => name.clone(),
            };
            let imports = world.imports.iter().map(|(key, item)| format!("import {}", name_of(key, item)));
            let exports = world.exports.iter().map(|(key, item)| format!("export {}", name_of(key, item)));
            (name.clone(), imports.chain(exports).collect())
        });
        Self { package: package.name.to_string(), interfaces: interfaces.collect(), worlds: worlds.collect() }
    }

    /// All interfaces.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.interfaces.keys().map(String::as_str)
    }

    /// The interfaces that proxylets export.
    pub(crate) fn exports(&self) -> Vec<&str> {
        self.worlds.values().flatten().filter_map(|item| item.strip_prefix("export ")).collect()
    }

    /// What a guest that was built against this finds changed in `now`.
    pub(crate) fn broken_by(&self, now: &Self) -> Vec<String> {
        let mut broken = Vec::new();
        let empty = BTreeMap::new();
        for (name, then) in &self.interfaces {
            let now = now.interfaces.get(name).unwrap_or(&empty);
            for (item, was) in then {
                match now.get(item) {
                    Some(is) if is == was => {}
                    Some(is) => broken.push(format!("{name}: {item}: was {was}, is {is}")),
                    None => broken.push(format!("{name}: {item}: was {was}, is gone")),
                }
            }
            if self.exports().contains(&name.as_str()) {
                let added =
                    now.keys().filter(|item| item.starts_with("function ") && !then.contains_key(*item));
                broken.extend(added.map(|item| {
                    format!("{name}: {item}: was not there, and every earlier proxylet lacks it")
                }));
            }
        }
        for (name, then) in &self.worlds {
            let now = now.worlds.get(name).map(Vec::as_slice).unwrap_or_default();
            let gone = then.iter().filter(|item| !now.contains(item));
            broken.extend(gone.map(|item| format!("world {name}: {item}: was there, is gone")));
            let added = now.iter().filter(|item| item.starts_with("export ") && !then.contains(item));
            broken.extend(added.map(|item| format!("world {name}: {item}: was not there")));
        }
        broken
    }
}

fn interface(wit: &Resolve, id: InterfaceId) -> BTreeMap<String, String> {
    let interface = &wit.interfaces[id];
    let functions =
        interface.functions.iter().map(|(name, f)| (format!("function {name}"), function(wit, f)));
    let types =
        interface.types.iter().map(|(name, id)| (format!("type {name}"), kind(wit, &wit.types[*id].kind)));
    functions.chain(types).collect()
}

fn function(wit: &Resolve, function: &Function) -> String {
    let params: Vec<_> = function.params.iter().map(|p| format!("{}: {}", p.name, ty(wit, &p.ty))).collect();
    let result = function.result.map(|result| format!(" -> {}", ty(wit, &result))).unwrap_or_default();
    format!("({}){result}", params.join(", "))
}

/// A type where it is used: by its name, where it has one.
fn ty(wit: &Resolve, t: &Type) -> String {
    match t {
        Type::Id(id) => match &wit.types[*id].name {
            Some(name) => name.clone(),
            None => kind(wit, &wit.types[*id].kind),
        },
        plain => format!("{plain:?}").to_lowercase(),
    }
}

/// A type where it is defined.
fn kind(wit: &Resolve, kind: &TypeDefKind) -> String {
    let of = |t: &Option<Type>| t.as_ref().map_or("_".to_owned(), |t| ty(wit, t));
    let list = |all: Vec<String>| all.join(", ");
    match kind {
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter().map(|field| format!("{}: {}", field.name, ty(wit, &field.ty)));
            format!("record {{ {} }}", list(fields.collect()))
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| match &case.ty {
                Some(t) => format!("{}({})", case.name, ty(wit, t)),
                None => case.name.clone(),
            });
            format!("variant {{ {} }}", list(cases.collect()))
        }
        TypeDefKind::Enum(all) => {
            format!("enum {{ {} }}", list(all.cases.iter().map(|case| case.name.clone()).collect()))
        }
        TypeDefKind::Flags(all) => {
            format!("flags {{ {} }}", list(all.flags.iter().map(|flag| flag.name.clone()).collect()))
        }
        TypeDefKind::Tuple(all) => format!("tuple<{}>", list(all.types.iter().map(|t| ty(wit, t)).collect())),
        TypeDefKind::Option(t) => format!("option<{}>", ty(wit, t)),
        TypeDefKind::Result(r) => format!("result<{}, {}>", of(&r.ok), of(&r.err)),
        TypeDefKind::List(t) => format!("list<{}>", ty(wit, t)),
        TypeDefKind::Type(t) => ty(wit, t),
        other => panic!("the contract has no {} so far: say here how to compare them", other.as_str()),
    }
}
