//! A new proxylet's project: whole, with a test that passes, and with the SDK and the contract in it, so that it builds
//! wherever it lies.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::ServiceName;
use crate::proxylet::build::Language;
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
    /// The Gnutella peer is a Rust crate.
    #[error("there is no Gnutella peer to begin with in {0}, since the stock peer is a Rust crate")]
    RustOnly(Language),
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
const IGNORED: &str = "/target\n/eep-data\n/node_modules\n/.venv\n__pycache__\n";
/// What a service in any language has: its manifest, and what its peers say and hear.
const SERVICE: &[(&str, &str)] = &[
    ("proxylet.json", include_str!("../../templates/service/proxylet.json")),
    ("tests/lines.yaml", include_str!("../../templates/service/tests/lines.yaml")),
    ("tests/restart.yaml", include_str!("../../templates/service/tests/restart.yaml")),
];
const SERVICE_RUST: &[(&str, &str)] = &[
    ("src/lib.rs", include_str!("../../templates/service/src/lib.rs")),
    ("src/lines.rs", include_str!("../../templates/service/src/lines.rs")),
];
const SERVICE_C: &[(&str, &str)] = &[("src/proxylet.c", include_str!("../../templates/c/src/proxylet.c"))];
/// What jco and componentize-py are asked for, whatever the kind.
const JS: &[(&str, &str)] = &[("package.json", include_str!("../../templates/js/package.json"))];
const PYTHON: &[(&str, &str)] =
    &[("requirements.txt", include_str!("../../templates/python/requirements.txt"))];
/// Interpreters import all that a world has: such a project has a world of its own.
const SERVICE_JS: &[(&str, &str)] = &[
    ("src/proxylet.js", include_str!("../../templates/js/src/proxylet.js")),
    ("wit/world.wit", include_str!("../../templates/world.wit")),
];
const SERVICE_PYTHON: &[(&str, &str)] = &[
    ("src/app.py", include_str!("../../templates/python/src/app.py")),
    ("wit/world.wit", include_str!("../../templates/world.wit")),
];
/// What a probe in any language has.
const PROBE: &[(&str, &str)] = &[
    ("proxylet.json", include_str!("../../templates/probe/proxylet.json")),
    ("tests/rounds.yaml", include_str!("../../templates/probe/tests/rounds.yaml")),
];
const PROBE_RUST: &[(&str, &str)] = &[
    ("src/lib.rs", include_str!("../../templates/probe/src/lib.rs")),
    ("src/rounds.rs", include_str!("../../templates/probe/src/rounds.rs")),
];
const PROBE_C: &[(&str, &str)] = &[("src/proxylet.c", include_str!("../../templates/probe/c/proxylet.c"))];
const PROBE_JS: &[(&str, &str)] = &[
    ("src/proxylet.js", include_str!("../../templates/probe/js/proxylet.js")),
    ("wit/world.wit", include_str!("../../templates/probe/world.wit")),
];
const PROBE_PYTHON: &[(&str, &str)] = &[
    ("src/app.py", include_str!("../../templates/probe/python/app.py")),
    ("wit/world.wit", include_str!("../../templates/probe/world.wit")),
];
const GNUTELLA: &[(&str, &str)] = &[
    ("tests/peer.rs", include_str!("../../templates/gnutella/tests/peer.rs")),
    ("vendor/avp/Cargo.toml", vendored::AVP_MANIFEST),
    ("vendor/gnutella-shell/Cargo.toml", vendored::SHELL_MANIFEST),
];

/// Makes the project in a new folder.
///
/// # Errors
/// The name is taken, there is no such kind in this language, or the folder cannot be made or written.
pub fn scaffold(
    folder: &Path,
    name: &ServiceName,
    kind: Kind,
    language: Language,
) -> Result<(), ScaffoldError> {
    if language == Language::Rust && TAKEN.contains(&name.as_str()) {
        return Err(ScaffoldError::Name(name.clone()));
    }
    if language != Language::Rust && kind == Kind::Gnutella {
        return Err(ScaffoldError::RustOnly(language));
    }
    fs::create_dir(folder).map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => ScaffoldError::Exists(folder.to_owned()),
        _ => ScaffoldError::File { path: folder.to_owned(), source },
    })?;
    let mut files = files(name, kind, language).into_iter();
    let written = files.try_for_each(|(path, text)| write(&folder.join(path), &text));
    if written.is_err() {
        // Half a project is of no use, and the first error is the one to tell.
        let _ = fs::remove_dir_all(folder);
    }
    written
}

/// What a reader is told of a project: its parts, and what must be there before it builds.
struct Words {
    sources: &'static str,
    vendor: &'static str,
    before: &'static str,
}

fn words(kind: Kind, language: Language) -> Words {
    const SDK: &str =
        "| `vendor/` | the SDK (`eep-sdk`) and the contract (`wit`), so that it builds anywhere";
    const CONTRACT: &str = "| `wit/` | which capabilities it imports (`world.wit`), and the contract";
    let (sources, vendor, before) = match (language, kind) {
        (Language::Rust, Kind::Service) => {
            ("`lines.rs` is what it does; `lib.rs` is the shell around it", SDK, "")
        }
        (Language::Rust, Kind::Probe) => {
            ("`rounds.rs` is what it measures; `lib.rs` is the shell around it", SDK, "")
        }
        (Language::Rust, Kind::Gnutella) => {
            ("its routing, to be changed; the rest is the stock peer (`vendor/avp`)", SDK, "")
        }
        (Language::C, _) => (
            "what it does",
            "| `vendor/` | the contract (`wit`) and what it is in C (`c`)",
            "Install clang with wasm-ld and wasi-libc first (Debian: `clang lld wasi-libc libclang-rt-dev-wasm32`).\n\n",
        ),
        (Language::Js, _) => ("what it does; QuickJS runs it", CONTRACT, "Run `npm install` first.\n\n"),
        (Language::Python, _) => (
            "what it does; CPython runs it",
            CONTRACT,
            "Run `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt` first.\n\n",
        ),
    };
    Words { sources, vendor, before }
}

/// Every file of a project.
fn files(name: &ServiceName, kind: Kind, language: Language) -> Vec<(String, String)> {
    let Words { sources, vendor, before } = words(kind, language);
    let more = match kind {
        Kind::Gnutella => {
            "avp = { path = \"vendor/avp\" }\ngnutella-shell = { path = \"vendor/gnutella-shell\" }\n"
        }
        Kind::Service | Kind::Probe => "serde_json = \"1\"\n",
    };
    let native = if language == Language::Rust {
        "    cargo test                                   # what it does, on this machine\n"
    } else {
        ""
    };
    let filled = |text: &str| {
        [
            ("name", name.as_str()),
            ("more", more),
            ("sources", sources),
            ("vendor", vendor),
            ("before", before),
        ]
        .into_iter()
        .fold(text.replace("{{native}}", native), |text, (key, value)| {
            text.replace(&format!("{{{{{key}}}}}"), value)
        })
    };
    let mut files =
        vec![("README.md".to_owned(), filled(README)), (".gitignore".to_owned(), IGNORED.to_owned())];
    let own: &[&[(&str, &str)]] = match (language, kind) {
        (_, Kind::Gnutella) => &[GNUTELLA],
        (Language::Rust, Kind::Service) => &[SERVICE, SERVICE_RUST],
        (Language::Rust, Kind::Probe) => &[PROBE, PROBE_RUST],
        (Language::C, Kind::Service) => &[SERVICE, SERVICE_C],
        (Language::C, Kind::Probe) => &[PROBE, PROBE_C],
        (Language::Js, Kind::Service) => &[SERVICE, SERVICE_JS, JS],
        (Language::Js, Kind::Probe) => &[PROBE, PROBE_JS, JS],
        (Language::Python, Kind::Service) => &[SERVICE, SERVICE_PYTHON, PYTHON],
        (Language::Python, Kind::Probe) => &[PROBE, PROBE_PYTHON, PYTHON],
    };
    files.extend(own.iter().copied().flatten().map(|(path, text)| ((*path).to_owned(), filled(text))));
    let contract = match language {
        Language::Rust | Language::C => "vendor/wit",
        Language::Js | Language::Python => "wit/deps/eep-proxylet",
    };
    let mut vendor: Vec<(String, &str)> =
        vendored::WIT.iter().map(|(path, text)| (format!("{contract}/{path}"), *text)).collect();
    let mut add = |list: &[(&'static str, &'static str)]| {
        vendor.extend(list.iter().map(|(path, text)| ((*path).to_owned(), *text)));
    };
    match language {
        Language::Rust => {
            files.push(("Cargo.toml".to_owned(), filled(CARGO)));
            files.push(("vendor/sdk/Cargo.toml".to_owned(), vendored::SDK_MANIFEST.to_owned()));
            add(vendored::SDK);
        }
        Language::C => add(vendored::C),
        Language::Js | Language::Python => {}
    }
    if kind == Kind::Gnutella {
        add(vendored::AVP);
        add(vendored::SHELL);
        // The example is what a project begins with, under the project's name.
        let named = |text: &str| text.replace("directed-search", name.as_str());
        files.extend(vendored::PEER.iter().map(|(path, text)| ((*path).to_owned(), named(text))));
    }
    files.extend(vendor.into_iter().map(|(path, text)| (path, text.to_owned())));
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
        let made = [
            (Kind::Service, Language::Rust, "src/lib.rs"),
            (Kind::Probe, Language::Rust, "src/lib.rs"),
            (Kind::Gnutella, Language::Rust, "src/lib.rs"),
            (Kind::Service, Language::C, "vendor/c/service.h"),
            (Kind::Service, Language::Js, "wit/world.wit"),
            (Kind::Service, Language::Python, "src/app.py"),
            (Kind::Probe, Language::C, "src/proxylet.c"),
            (Kind::Probe, Language::Js, "src/proxylet.js"),
            (Kind::Probe, Language::Python, "src/app.py"),
        ];
        // What is between two braces in C may be something else.
        let unfilled = |text: &str| {
            let keys = text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}"));
            keys.map(|(key, _)| key).any(|key| key.bytes().all(|b| b.is_ascii_lowercase()))
        };
        for (kind, language, source) in made {
            let files = files(&"edge-2".parse().unwrap(), kind, language);
            let text = |path: &str| &files.iter().find(|(p, _)| p == path).unwrap().1;
            let manifest: crate::proxylet::manifest::Manifest =
                serde_json::from_str(text("proxylet.json")).unwrap();
            assert_eq!(manifest.name, "edge-2");
            manifest.grants_wanted(&manifest.config).unwrap();
            for path in [source, "README.md"] {
                assert!(!unfilled(text(path)), "{kind:?} {language:?}: {path}");
            }
            assert!(files.iter().any(|(path, _)| path.starts_with("tests/") && path.ends_with(".yaml")));
            for (path, text) in files.iter().filter(|(path, _)| path.ends_with("Cargo.toml")) {
                assert!(!text.contains("workspace = true"), "{kind:?} {language:?}: {path}");
            }
            let mut paths: Vec<_> = files.iter().map(|(path, _)| path).collect();
            paths.sort();
            paths.dedup();
            assert_eq!(paths.len(), files.len(), "{kind:?} {language:?}: a file twice");
        }
    }
}
