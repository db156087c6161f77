//! What can be read off a proxylet's bytes without compiling them.

use serde::Serialize;
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentType, ComponentTypeRef,
    InstanceTypeDeclaration, Parser, Payload,
};

use crate::host::grant::{Grant, Grants};
use crate::host::wasi;
use crate::proxylet::error::LoadError;
use crate::proxylet::manifest::{Manifest, SECTION};

/// The package of the contracts between node and proxylet.
pub const PACKAGE: &str = "eep:proxylet";
/// The version of [`PACKAGE`] that this node offers.
pub const VERSION: &str = "0.1.0";
/// The interfaces of [`PACKAGE`] that a proxylet may import.
pub const OFFERED: [&str; 12] = [
    "types", "log", "clock", "random", "kv", "metrics", "net", "datagram", "policy", "deploy", "topology",
    "mesh",
];
/// The interface that every proxylet exports.
const EXPORTED: &str = "lifecycle";

/// An interface that a proxylet imports or exports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Interface {
    /// Such as `eep:proxylet/net`.
    pub name: String,
    /// Such as `0.1.0`.
    pub version: Option<String>,
    /// Whether nothing but types is taken from it, because another interface is written with them: there is nothing that
    /// a grant could allow.
    #[serde(skip)]
    #[schema(ignore)]
    pub types_only: bool,
}

impl Interface {
    fn parse(text: &str) -> Self {
        match text.split_once('@') {
            Some((name, version)) => {
                Self { name: name.to_owned(), version: Some(version.to_owned()), types_only: false }
            }
            None => Self { name: text.to_owned(), version: None, types_only: false },
        }
    }

    /// The interface's name within [`PACKAGE`], where it is of that package.
    #[must_use]
    pub fn of_package(&self) -> Option<&str> {
        self.name.strip_prefix(PACKAGE)?.strip_prefix('/')
    }
}

impl std::fmt::Display for Interface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "@{version}"))
    }
}

/// The custom section in which an SDK writes its language and version.
pub const SDK_SECTION: &str = "eep:sdk";
/// How much of what an SDK writes is read, in bytes.
const SDK_BYTES_MAX: usize = 64;

/// What an import needs, and what allows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The import with its version.
    pub interface: String,
    /// The grants that allow it in some way.
    pub granted: Vec<String>,
    /// What would, where nothing does.
    pub missing: Option<&'static str>,
    /// What it is answered with, where that is less than it may seem.
    pub note: Option<&'static str>,
}

impl Need {
    /// The same in words.
    #[must_use]
    pub fn told(&self) -> String {
        match self.missing {
            Some(missing) => format!("not granted (needs `{missing}`)"),
            None if self.granted.is_empty() => match self.note {
                Some(note) => format!("needs no grant: {note}"),
                None => "needs no grant".to_owned(),
            },
            None => format!("granted by {}", self.granted.join(", ")),
        }
    }
}

/// What a component says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Inspection {
    /// What it imports.
    pub imports: Vec<Interface>,
    /// What it exports.
    pub exports: Vec<Interface>,
    /// Its embedded manifest; empty where there is none.
    pub manifest: Manifest,
    /// What it was written with, such as `rust 0.1.0`; empty where nothing says so.
    pub sdk: String,
}

/// Reads imports, exports and manifest of a component. The code itself is not validated.
///
/// # Errors
/// Bytes that are not a whole component, or a manifest that is not JSON of the right shape.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, LoadError> {
    check_preamble(bytes)?;
    let mut found = Inspection {
        imports: Vec::new(),
        exports: Vec::new(),
        manifest: Manifest::default(),
        sdk: String::new(),
    };
    // Of each type of the component, whether it is that of an instance with nothing but types in it.
    let mut types_only: Vec<bool> = Vec::new();
    // How many modules and components the present payload lies in, beyond the outermost.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|e| broken(bytes, &e))? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(|e| broken(bytes, &e))?;
                    let is_types_only = match import.ty {
                        ComponentTypeRef::Instance(of) => types_only.get(of as usize) == Some(&true),
                        _ => false,
                    };
                    if let ComponentTypeRef::Type(_) = import.ty {
                        types_only.push(false);
                    }
                    let interface = Interface::parse(import.name.name);
                    found.imports.push(Interface { types_only: is_types_only, ..interface });
                }
            }
            Payload::ComponentTypeSection(section) if depth == 0 => {
                for ty in section {
                    types_only.push(has_types_only(&ty.map_err(|e| broken(bytes, &e))?));
                }
            }
            Payload::ComponentAliasSection(section) if depth == 0 => {
                for alias in section {
                    if is_of_type(&alias.map_err(|e| broken(bytes, &e))?) {
                        types_only.push(false);
                    }
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export.map_err(|e| broken(bytes, &e))?;
                    if export.kind == ComponentExternalKind::Type {
                        types_only.push(false);
                    }
                    found.exports.push(Interface::parse(export.name.name));
                }
            }
            Payload::CustomSection(section) if section.name() == SECTION => {
                found.manifest = serde_json::from_slice(section.data()).map_err(LoadError::Manifest)?;
            }
            Payload::CustomSection(section) if section.name() == SDK_SECTION => {
                let data = &section.data()[..section.data().len().min(SDK_BYTES_MAX)];
                found.sdk = String::from_utf8_lossy(data).into_owned();
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Whether an instance of this type has types in it and nothing that can be called.
fn has_types_only(ty: &ComponentType<'_>) -> bool {
    let ComponentType::Instance(declarations) = ty else { return false };
    declarations.iter().all(|declaration| match declaration {
        InstanceTypeDeclaration::Export { ty, .. } => matches!(ty, ComponentTypeRef::Type(_)),
        _ => true,
    })
}

/// Whether an alias is one more of the component's types.
fn is_of_type(alias: &ComponentAlias<'_>) -> bool {
    match alias {
        ComponentAlias::InstanceExport { kind, .. } => *kind == ComponentExternalKind::Type,
        ComponentAlias::Outer { kind, .. } => *kind == ComponentOuterAliasKind::Type,
        ComponentAlias::CoreInstanceExport { .. } => false,
    }
}

/// The first eight bytes: magic, version and layer (Component Model, binary format; core specification, 5.5.16).
fn check_preamble(bytes: &[u8]) -> Result<(), LoadError> {
    const MAGIC: &[u8] = b"\0asm";
    if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) || bytes.is_empty() {
        let start = bytes[..bytes.len().min(16)].escape_ascii().to_string();
        let start = if bytes.is_empty() { "nothing".to_owned() } else { format!("\"{start}\"") };
        return Err(LoadError::NotWasm { start });
    }
    match bytes.get(4..8) {
        None => Err(LoadError::Truncated { len: bytes.len() }),
        Some([1, 0, 0, 0]) => Err(LoadError::CoreModule),
        Some(_) => Ok(()),
    }
}

fn broken(bytes: &[u8], error: &wasmparser::BinaryReaderError) -> LoadError {
    if error.offset() >= bytes.len() as u64 || error.message().contains("unexpected end") {
        LoadError::Truncated { len: bytes.len() }
    } else {
        LoadError::Invalid { offset: error.offset(), why: error.message().to_owned() }
    }
}

impl Inspection {
    /// Whether this node offers what the component imports, and finds the export that it needs.
    ///
    /// # Errors
    /// The first interface that does not fit.
    pub fn check_interfaces(&self) -> Result<(), LoadError> {
        for import in &self.imports {
            check_import(import)?;
        }
        let lifecycle = |i: &&Interface| i.of_package() == Some(EXPORTED);
        match self.exports.iter().find(lifecycle) {
            Some(export) => check_version(export),
            None => Err(LoadError::NoExport { interface: format!("{PACKAGE}/{EXPORTED}@{VERSION}") }),
        }
    }

    /// The version of the contract that it follows; none where it is no proxylet.
    #[must_use]
    pub fn contract(&self) -> Option<&str> {
        self.exports.iter().find(|export| export.of_package() == Some(EXPORTED))?.version.as_deref()
    }

    /// What each import needs, under these grants.
    #[must_use]
    pub fn needs(&self, grants: &Grants) -> Vec<Need> {
        let need = |import: &Interface| {
            let serves = |grant: &&Grant| match import.of_package() {
                Some("net") => matches!(grant, Grant::Listen(_) | Grant::Connect(_) | Grant::Mesh),
                Some("datagram") => matches!(grant, Grant::Datagram(_)),
                Some("policy") => matches!(grant, Grant::Policy),
                Some("deploy") => matches!(grant, Grant::Deploy(_)),
                Some("topology") => matches!(grant, Grant::Topology),
                Some("mesh") => matches!(grant, Grant::Mesh),
                _ => false,
            };
            let granted: Vec<String> = grants.iter().filter(serves).map(ToString::to_string).collect();
            let allows = match import.of_package() {
                Some("net") => Some("net.listen:PORT` or `net.connect"),
                Some("datagram") => Some("datagram:PORT"),
                Some("policy") => Some("policy"),
                Some("deploy") => Some("deploy"),
                Some("topology") => Some("topology"),
                Some("mesh") => Some("mesh"),
                _ => None,
            };
            let interface = import.to_string();
            if import.types_only && allows.is_some() {
                let note = Some("only its types are used");
                return Need { interface, granted: Vec::new(), missing: None, note };
            }
            let missing = allows.filter(|_| granted.is_empty());
            Need { interface, granted, missing, note: note(&import.name) }
        };
        self.imports.iter().map(need).collect()
    }

    /// Whether every capability that the component imports is granted in some way.
    ///
    /// # Errors
    /// The first one that is not.
    pub fn check_grants(&self, grants: &Grants) -> Result<(), LoadError> {
        for need in self.needs(grants) {
            let Some(missing) = need.missing else { continue };
            let m = &self.manifest;
            let proxylet =
                if m.name.is_empty() { "the proxylet".to_owned() } else { format!("proxylet `{}`", m.name) };
            let wants = if m.wants.is_empty() {
                String::new()
            } else {
                format!("; it asks for {}", m.wants.join(", "))
            };
            return Err(LoadError::NotGranted { proxylet, interface: need.interface, missing, wants });
        }
        Ok(())
    }
}

/// What the imports of WASI come to.
fn note(interface: &str) -> Option<&'static str> {
    match interface {
        "wasi:cli/stdout" | "wasi:cli/stderr" => Some("its lines go to the log"),
        "wasi:clocks/monotonic-clock" => Some("stands still within a batch"),
        "wasi:clocks/wall-clock" => Some("as `clock`"),
        "wasi:cli/exit" => Some("ends the instance"),
        name if name.starts_with("wasi:random/") => Some("as `random`"),
        name if name.starts_with("wasi:cli/") => Some("empty"),
        name if wasi::absent::is_absent(name) => Some("there are none, and it is told so"),
        _ => None,
    }
}

fn check_import(import: &Interface) -> Result<(), LoadError> {
    let unknown = |fix| LoadError::UnknownInterface {
        interface: import.to_string(),
        offered: OFFERED.map(|name| format!("{PACKAGE}/{name}@{VERSION}")).join(", "),
        fix,
    };
    match import.of_package() {
        Some(name) if OFFERED.contains(&name) => check_version(import),
        Some(_) => Err(unknown("Run it on a newer node, or build it without that interface.")),
        None if wasi::ANSWERED.contains(&import.name.as_str()) || wasi::absent::is_absent(&import.name) => {
            match import.version.as_deref() {
                Some(version) if version.starts_with("0.2.") => Ok(()),
                version => Err(LoadError::Version {
                    interface: import.name.clone(),
                    wanted: version.unwrap_or("none").to_owned(),
                    offered: "0.2",
                    fix: "build it with tools that make components for WASI 0.2",
                }),
            }
        }
        None if import.name.starts_with("wasi:") => Err(unknown(
            "Build it with `eep proxylet build`, which leaves out what a proxylet has no use for; of WASI 0.2 there are \
             clocks, random and stdio.",
        )),
        None => Err(unknown("A proxylet may import interfaces of `eep:proxylet` only.")),
    }
}

/// A published version is only ever added to, so within 0.1 a node runs what was built for its own patch version or
/// an earlier one.
fn check_version(interface: &Interface) -> Result<(), LoadError> {
    let wanted = interface.version.clone().unwrap_or_else(|| "none".to_owned());
    let number = |version: &str| -> Option<[u32; 3]> {
        let mut parts = version.splitn(3, '.').map(|part| part.parse().ok());
        Some([parts.next()??, parts.next()??, parts.next()??])
    };
    let fix = match (number(&wanted), number(VERSION)) {
        (Some([major, minor, patch]), Some([our_major, our_minor, our_patch])) => {
            if (major, minor) == (our_major, our_minor) && patch <= our_patch {
                return Ok(());
            }
            if [major, minor, patch] > [our_major, our_minor, our_patch] {
                "run it on a newer node"
            } else {
                "build it again with the SDK of this node"
            }
        }
        _ => "build it again with the SDK of this node",
    };
    Err(LoadError::Version { interface: interface.name.clone(), wanted, offered: VERSION, fix })
}
