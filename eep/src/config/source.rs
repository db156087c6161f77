//! Where the code of a service comes from.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use topology::NodeId;

use crate::mesh::find::parse_id;
use crate::proxylet::digest::Digest;
use crate::proxylet::registry::address::ImageAddress;

/// The longest address, in bytes; what HTTP servers commonly take.
pub const URL_BYTES_MAX: usize = 8 * 1024;

/// A place that a proxylet is fetched from: `https://…`, `http://…`, `oci://…`, `eep:SHA256` (over the mesh), or a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// Fetched with GET.
    Http(String),
    /// Pulled from an OCI registry.
    Oci(ImageAddress),
    /// Read from this machine.
    File(PathBuf),
    /// Fetched by its digest from the nearest node of the mesh that holds it; where none is found, from this one.
    Mesh(Digest, Option<NodeId>),
}

impl Source {
    /// The same place with a file's path made absolute, so that it means the same in another process.
    #[must_use]
    pub fn under(self, directory: &Path) -> Self {
        match self {
            Self::File(path) if path.is_relative() => Self::File(tidy(&directory.join(path))),
            other => other,
        }
    }
}

/// Takes `.` and what `..` undoes out of a path, by its text alone.
fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fix = "give an https://, http://, oci:// or file:// address, eep:SHA256 for code that a node of the mesh \
                   has, or the path of a file";
        if text.is_empty() {
            return Err(format!("the address of the proxylet is empty\n{fix}"));
        }
        if text.len() > URL_BYTES_MAX {
            return Err(format!("the address of the proxylet is longer than {URL_BYTES_MAX} bytes\n{fix}"));
        }
        if text.contains(char::is_control) {
            return Err(format!("the address {text:?} has control characters in it\n{fix}"));
        }
        if let Some(rest) = text.strip_prefix("eep:") {
            let (digest, holder) =
                rest.split_once('@').map_or((rest, None), |(digest, holder)| (digest, Some(holder)));
            let wrong = || {
                format!(
                    "{text:?} is not the address of code in the mesh\nwrite eep:SHA256 or eep:SHA256@NODE-ID"
                )
            };
            let digest = digest.parse().map_err(|_| wrong())?;
            let holder = holder.map(|holder| parse_id(holder).ok_or_else(wrong)).transpose()?;
            return Ok(Self::Mesh(digest, holder));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::File(PathBuf::from(text)));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" if rest.is_empty() || rest.starts_with('/') => {
                Err(format!("the address {text:?} names no host\n{fix}"))
            }
            "http" | "https" => match reqwest::Url::parse(&text) {
                Ok(_) => Ok(Self::Http(text)),
                Err(reason) => Err(format!("the address {text:?} cannot be read: {reason}\n{fix}")),
            },
            "oci" => rest.parse().map(Self::Oci),
            "file" => match rest.strip_prefix("localhost").unwrap_or(rest) {
                path if path.starts_with('/') => Ok(Self::File(PathBuf::from(path))),
                _ => Err(format!(
                    "{text:?} is not the address of a file on this machine\nwrite file:///followed/by/its/path"
                )),
            },
            _ => Err(format!("{scheme}:// is not supported in this version\n{fix}")),
        }
    }
}

impl std::str::FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => f.write_str(url),
            Self::Oci(image) => write!(f, "{image}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Mesh(digest, None) => write!(f, "eep:{digest}"),
            Self::Mesh(digest, Some(holder)) => write!(f, "eep:{digest}@{holder}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Source, String> {
        text.parse()
    }

    #[test]
    fn kinds() {
        assert_eq!(read("a/b.wasm"), Ok(Source::File("a/b.wasm".into())));
        assert_eq!(read("file:///a/b.wasm"), Ok(Source::File("/a/b.wasm".into())));
        assert_eq!(read("HTTPS://h/x"), Ok(Source::Http("HTTPS://h/x".into())));
        assert_eq!(read("oci://h:1/x:2").map(|s| s.to_string()), Ok("oci://h:1/x:2".to_owned()));
        assert!(read("oci://h/x").unwrap_err().contains("names no registry"));
        assert!(read("ftp://h/x").unwrap_err().starts_with("ftp:// is not supported"));
        assert!(read("http:///x").unwrap_err().contains("names no host"));
        assert!(read("file://host/x").unwrap_err().contains("not the address of a file"));
        let sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for mesh in [format!("eep:{sha}"), format!("eep:{sha}@{sha}")] {
            assert_eq!(read(&mesh).map(|s| s.to_string()), Ok(mesh));
        }
        assert!(read("eep:12").unwrap_err().contains("write eep:SHA256"));
        assert!(read("").is_err() && read("a\0b").is_err());
    }

    #[test]
    fn paths_are_made_absolute() {
        let at = |p: &str| read(p).unwrap().under(Path::new("/srv/x"));
        assert_eq!(at("./a/../b.wasm"), Source::File("/srv/x/b.wasm".into()));
        assert_eq!(at("../b.wasm"), Source::File("/srv/b.wasm".into()));
        assert_eq!(at("/b.wasm"), Source::File("/b.wasm".into()));
        assert_eq!(at("http://h/../b"), Source::Http("http://h/../b".into()));
    }
}
