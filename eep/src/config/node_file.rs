//! The node file: `eep run --config eep.yaml`.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_yaml::Spanned;

use crate::config::diagnostic::FileError;
use crate::config::mesh::{MESH_ADDRESS, MeshSection};
use crate::config::name::ServiceName;
use crate::config::service::ServiceEntry;
use crate::config::trust::TrustSection;
use crate::config::web::{Web, is_web, read_web};
use crate::policy::systems::Systems;
use crate::proxylet::trust::Trust;

/// Where a node keeps what must survive it, unless told otherwise.
pub const DATA_DIR: &str = "eep-data";
/// Where the API is served, unless told otherwise.
pub const API_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8346);
/// The largest node or manifest file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// The most services in one node file.
pub const SERVICES_MAX: usize = 1_000;

/// A node file. Every key may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct NodeFile {
    /// The node itself.
    pub node: NodeSection,
    /// Where it is reached.
    pub listen: ListenSection,
    /// The mesh that it is in. Without it, and without `listen.mesh`, the node is on its own.
    pub mesh: Option<MeshSection>,
    /// What it knows of addresses.
    pub addresses: AddressesSection,
    /// Whose signatures code needs. Without it none are asked for, and what is pinned by its digest is trusted.
    trust: Option<TrustSection>,
    /// What runs on it.
    services: Vec<Spanned<ServiceEntry>>,
}

/// The node itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct NodeSection {
    /// What it is called in answers and logs; the machine's name where it is missing.
    pub name: Option<ServiceName>,
    /// The domain that it belongs to: what the certificate of the domain's CA is called. Checked against it.
    pub domain: Option<String>,
    /// Where it keeps what must survive it; relative to the file. Default `./eep-data` where the node is started.
    pub data: Option<PathBuf>,
}

/// What the node knows of addresses.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct AddressesSection {
    /// A table of the autonomous systems that prefixes are in, for policies: `192.0.2.0/24 64500` a line; relative to the
    /// file. It is read anew when it changes.
    pub systems: Option<PathBuf>,
}

/// Where the node is reached.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ListenSection {
    /// The HTTP API; a loopback address. Default `127.0.0.1:8346`; port 0 lets the system choose.
    #[serde(deserialize_with = "loopback")]
    pub api: SocketAddr,
    /// Other nodes, by UDP. Default `0.0.0.0:6340` where there is a mesh; port 0 lets the system choose.
    #[serde(deserialize_with = "mesh_address")]
    pub mesh: Option<SocketAddr>,
}

impl Default for ListenSection {
    fn default() -> Self {
        Self { api: API_ADDRESS, mesh: None }
    }
}

/// An address for the API.
fn loopback<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    api_address(&text).map_err(serde::de::Error::custom)
}

/// An address for the mesh.
fn mesh_address<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let shown: String = text.chars().take(80).collect();
    text.parse().map(Some).map_err(|_| {
        serde::de::Error::custom(format!(
            "{shown:?} is not an address with a port\nwrite one such as \"0.0.0.0:6340\" or \"[::]:6340\""
        ))
    })
}

/// Reads an address for the API.
///
/// # Errors
/// What is wrong and, after a line break, what to write: it is no address, or one that others can reach.
pub fn api_address(text: &str) -> Result<SocketAddr, String> {
    let shown: String = text.chars().take(80).collect();
    let address: SocketAddr = text.parse().map_err(|_| {
        format!("{shown:?} is not an address with a port\nwrite one such as 127.0.0.1:8346 or \"[::1]:8346\"")
    })?;
    if !address.ip().is_loopback() {
        return Err(format!(
            "the API would be open to others at {address}\nit is served on loopback addresses alone: write 127.0.0.1:{}, \
             and reach it from elsewhere through ssh -L",
            address.port()
        ));
    }
    Ok(address)
}

impl NodeFile {
    /// Reads and checks a node file. Paths in it are taken from the file's own directory.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn read(path: &Path) -> Result<Self, Box<FileError>> {
        let text = read_text(path)?;
        let mut file: Self = parse(path, &text)?;
        let directory = std::path::absolute(path).ok().and_then(|p| p.parent().map(Path::to_owned));
        if let (Some(trust), Some(directory)) = (&mut file.trust, &directory) {
            trust.under(directory);
        }
        if let (Some(mesh), Some(directory)) = (&mut file.mesh, &directory) {
            mesh.under(directory);
        }
        file.check(path, &text)?;
        if let Some(directory) = directory {
            file.node.data = file.node.data.map(|data| directory.join(data));
            file.addresses.systems = file.addresses.systems.map(|table| directory.join(table));
            for entry in &mut file.services {
                entry.value = entry.value.clone().under(&directory);
            }
        }
        Ok(file)
    }

    /// Whom the node trusts; none where the file does not say.
    #[must_use]
    pub fn trust(&self) -> Option<Trust> {
        self.trust.as_ref().map(TrustSection::trust)
    }

    /// Where the mesh listens; none where the node is on its own.
    #[must_use]
    pub fn mesh_address(&self) -> Option<SocketAddr> {
        self.listen.mesh.or_else(|| self.mesh.as_ref().map(|_| MESH_ADDRESS))
    }

    /// The services, in the file's order.
    pub fn services(&self) -> impl Iterator<Item = &ServiceEntry> {
        self.services.iter().map(|entry| &entry.value)
    }

    fn check(&self, path: &Path, text: &str) -> Result<(), Box<FileError>> {
        if let Some(trust) = &self.trust {
            trust.check(path, text)?;
        }
        if let Some(mesh) = &self.mesh {
            mesh.check(path, text)?;
        }
        if let Some(extra) = self.services.get(SERVICES_MAX) {
            let words = format!("this is one service too many\na node file holds at most {SERVICES_MAX}");
            return Err(FileError::at(path, text, extra.referenced, &words));
        }
        let mut lines = HashMap::new();
        for entry in &self.services {
            let wrong = |words: &str| FileError::at(path, text, entry.referenced, words);
            entry.value.check().map_err(|words| wrong(&words))?;
            let Some(name) = &entry.value.name else {
                return Err(wrong(
                    "this service has no name\nadd `name: …`; a node file names each of its services",
                ));
            };
            if let Some(line) = lines.insert(name, entry.referenced.line()) {
                return Err(wrong(&format!(
                    "a second service is called `{name}` (the first is in line {line})\ngive one of them another name"
                )));
            }
        }
        Ok(())
    }
}

/// Reads and checks a service manifest: one entry of `services` as a file of its own. A relative path in it is taken
/// from the file's own directory.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn read_manifest(path: &Path) -> Result<ServiceEntry, Box<FileError>> {
    let text = read_text(path)?;
    let entry: Spanned<ServiceEntry> = parse(path, &text)?;
    entry.value.check().map_err(|words| FileError::at(path, &text, entry.referenced, &words))?;
    if let Some(directory) = std::path::absolute(path).ok().as_deref().and_then(Path::parent) {
        return Ok(entry.value.under(directory));
    }
    Ok(entry.value)
}

/// A manifest: of a service, or of a web.
#[derive(Clone, Debug)]
pub enum Manifest {
    /// One service.
    Service(Box<ServiceEntry>),
    /// Several.
    Web(Web),
}

/// Reads and checks a manifest: that of a web has `web` at its top.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn read_any_manifest(path: &Path) -> Result<Manifest, Box<FileError>> {
    if is_web(path, &read_text(path)?) {
        return read_web(path).map(Manifest::Web);
    }
    read_manifest(path).map(|entry| Manifest::Service(Box::new(entry)))
}

/// Checks a file that is a node file, a web or a service manifest: a manifest has `proxylet` at its top.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn check_file(path: &Path) -> Result<Kind, Box<FileError>> {
    let text = read_text(path)?;
    if is_web(path, &text) {
        return read_web(path).map(|web| Kind::Web { services: web.services.len() });
    }
    let manifest = text.lines().any(|line| {
        let line = line.trim_start_matches('{').trim_start_matches('"');
        line.strip_prefix("proxylet")
            .is_some_and(|rest| rest.trim_start_matches('"').trim_start().starts_with(':'))
    });
    if manifest {
        read_manifest(path).map(|_| Kind::Manifest)
    } else {
        let file = NodeFile::read(path)?;
        if let Some(table) = &file.addresses.systems {
            Systems::read(table).map_err(|problem| {
                let place = problem.place.unwrap_or_default();
                FileError::whole(Path::new(&place), problem.title, problem.fix.unwrap_or_default())
            })?;
        }
        Ok(Kind::Node { services: file.services.len() })
    }
}

/// What a checked file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Kind {
    /// A node file.
    Node {
        /// How many services it has.
        services: usize,
    },
    /// A service manifest.
    Manifest,
    /// A web.
    Web {
        /// How many services it has.
        services: usize,
    },
}

pub(super) fn read_text(path: &Path) -> Result<String, Box<FileError>> {
    let unreadable = |e: std::io::Error| {
        let fix = match e.kind() {
            std::io::ErrorKind::NotFound => "check the path",
            std::io::ErrorKind::PermissionDenied => "let this user read it",
            _ => "check that it is a readable file",
        };
        FileError::whole(path, format!("the file cannot be read: {e}"), fix)
    };
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    if meta.len() > FILE_BYTES_MAX {
        return Err(FileError::whole(
            path,
            format!("the file has {} bytes", meta.len()),
            format!("node files and manifests have at most {FILE_BYTES_MAX} bytes: is it the right file?"),
        ));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        FileError::whole(
            path,
            format!("byte {at} is not UTF-8 text"),
            "is it the right file? Save it as UTF-8",
        )
    })
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, Box<FileError>> {
    let options = serde_yaml::options! { with_snippet: false, strict_booleans: true };
    serde_yaml::from_str_with_options(text, options).map_err(|e| FileError::from_yaml(path, text, &e))
}
