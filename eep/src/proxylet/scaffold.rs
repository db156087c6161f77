//! A new proxylet's project: whole, with a test that passes, and with the SDK and the contract in it, so that it builds
//! wherever it lies.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::ServiceName;
use crate::proxylet::vendored;

/// What a new proxylet begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Listens, and answers what it receives.
    Service,
    /// The stock Gnutella peer, to be changed.
    Gnutella,
    /// Connects to targets, and measures.
    Probe,
}

/// Why there is no new project. Nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// Rust has another use for the word.
    #[error("a Rust crate cannot be called {0}")]
    Name(ServiceName),
    /// Something has this name.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// A file could not be written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Words that cargo does not take as the name of a crate.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
    "avp",
    "eep-sdk",
    "gnutella-shell",
];

const CARGO: &str = include_str!("../../templates/Cargo.toml.txt");
const README: &str = include_str!("../../templates/README.md.txt");
const SERVICE: &[(&str, &str)] = &[
    ("src/lib.rs", include_str!("../../templates/service/src/lib.rs")),
    ("src/lines.rs", include_str!("../../templates/service/src/lines.rs")),
    ("proxylet.json", include_str!("../../templates/service/proxylet.json")),
];
const PROBE: &[(&str, &str)] = &[
    ("src/lib.rs", include_str!("../../templates/probe/src/lib.rs")),
    ("src/rounds.rs", include_str!("../../templates/probe/src/rounds.rs")),
    ("proxylet.json", include_str!("../../templates/probe/proxylet.json")),
];
const GNUTELLA: &[(&str, &str)] = &[
    ("tests/peer.rs", include_str!("../../templates/gnutella/tests/peer.rs")),
    ("vendor/avp/Cargo.toml", vendored::AVP_MANIFEST),
    ("vendor/gnutella-shell/Cargo.toml", vendored::SHELL_MANIFEST),
];
const GNUTELLA_MANIFEST: &str = include_str!("../../../proxylets/gnutella-peer/proxylet.json");

/// Makes the project in a new folder.
///
/// # Errors
/// The name is taken, or the folder cannot be made or written.
pub fn scaffold(folder: &Path, name: &ServiceName, kind: Kind) -> Result<(), ScaffoldError> {
    if TAKEN.contains(&name.as_str()) {
        return Err(ScaffoldError::Name(name.clone()));
    }
    fs::create_dir(folder).map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => ScaffoldError::Exists(folder.to_owned()),
        _ => ScaffoldError::File { path: folder.to_owned(), source },
    })?;
    let written = files(name, kind).into_iter().try_for_each(|(path, text)| write(&folder.join(path), &text));
    if written.is_err() {
        // Half a project is of no use, and the first error is the one to tell.
        let _ = fs::remove_dir_all(folder);
    }
    written
}

/// Every file of a project.
fn files(name: &ServiceName, kind: Kind) -> Vec<(String, String)> {
    let (own, more, sources): (&[_], _, _) = match kind {
        Kind::Service => {
            (SERVICE, "", "`lines.rs` is what it does, and is tested; `lib.rs` is the shell around it")
        }
        Kind::Probe => {
            (PROBE, "", "`rounds.rs` is what it measures, and is tested; `lib.rs` is the shell around it")
        }
        Kind::Gnutella => (
            GNUTELLA,
            "avp = { path = \"vendor/avp\" }\ngnutella-shell = { path = \"vendor/gnutella-shell\" }\n",
            "its routing, to be changed; the rest is the stock peer (`vendor/avp`), and `tests/peer.rs` tries it without a node",
        ),
    };
    let filled = |text: &str| {
        text.replace("{{name}}", name.as_str()).replace("{{more}}", more).replace("{{sources}}", sources)
    };
    let mut files = vec![
        ("Cargo.toml".to_owned(), filled(CARGO)),
        ("README.md".to_owned(), filled(README)),
        (".gitignore".to_owned(), "/target\n/eep-data\n".to_owned()),
        ("vendor/sdk/Cargo.toml".to_owned(), vendored::SDK_MANIFEST.to_owned()),
    ];
    files.extend(own.iter().map(|(path, text)| ((*path).to_owned(), filled(text))));
    let mut vendor: Vec<&(&str, &str)> = vendored::SDK.iter().collect();
    if kind == Kind::Gnutella {
        vendor.extend(vendored::AVP.iter().chain(vendored::SHELL));
        let manifest = GNUTELLA_MANIFEST.replace("\"gnutella-peer\"", &format!("\"{name}\""));
        files.push(("proxylet.json".to_owned(), manifest));
    }
    if kind == Kind::Gnutella {
        let named = |text: &str| text.replace("directed-search", name.as_str());
        files.extend(vendored::PEER.iter().map(|(path, text)| ((*path).to_owned(), named(text))));
    }
    files.extend(vendor.into_iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())));
    files
}

fn write(path: &Path, text: &str) -> Result<(), ScaffoldError> {
    let failed = |source| ScaffoldError::File { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_whole() {
        for kind in [Kind::Service, Kind::Probe, Kind::Gnutella] {
            let files = files(&"edge-2".parse().unwrap(), kind);
            let text = |path: &str| &files.iter().find(|(p, _)| p == path).unwrap().1;
            let manifest: crate::proxylet::manifest::Manifest =
                serde_json::from_str(text("proxylet.json")).unwrap();
            assert_eq!(manifest.name, "edge-2");
            manifest.grants_wanted(&manifest.config).unwrap();
            for path in ["src/lib.rs", "vendor/wit/world.wit", "vendor/sdk/src/lib.rs", "README.md"] {
                assert!(!text(path).contains("{{"), "{kind:?}: {path}");
            }
            for path in ["Cargo.toml", "vendor/sdk/Cargo.toml"] {
                assert!(!text(path).contains("workspace = true"), "{kind:?}: {path}");
            }
            let mut paths: Vec<_> = files.iter().map(|(path, _)| path).collect();
            paths.sort();
            paths.dedup();
            assert_eq!(paths.len(), files.len(), "{kind:?}: a file twice");
        }
    }
}
