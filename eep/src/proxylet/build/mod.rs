//! From a project to a component, so that what a node loads says by its types what it imports.
//!
//! | module | what |
//! | --- | --- |
//! | `rust` | a crate, by cargo |
//! | `c` | C sources, by clang and wasi-libc |
//! | `script` | JavaScript by jco, Python by componentize-py |
//! | `wrap` | a core module becomes a component; the manifest is put in |

mod c;
mod rust;
mod script;
mod wrap;

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;

use super::digest::Digest;
use super::manifest::Manifest;

/// What a proxylet is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// With the SDK `eep-sdk`.
    #[default]
    Rust,
    /// With the bindings that lie in the project.
    C,
    /// JavaScript, on QuickJS.
    Js,
    /// Python, on CPython.
    Python,
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "Rust",
            Self::C => "C",
            Self::Js => "JavaScript",
            Self::Python => "Python",
        })
    }
}

/// The file by which a project's language is known.
const MARKS: [(&str, Language); 4] = [
    ("Cargo.toml", Language::Rust),
    ("package.json", Language::Js),
    ("src/app.py", Language::Python),
    ("src/proxylet.c", Language::C),
];

/// Why a proxylet could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no project there.
    #[error(
        "{}: no proxylet's project is here (no Cargo.toml, package.json, src/app.py or src/proxylet.c); name its \
         folder, or make one with `eep proxylet new`",
        .0.display()
    )]
    NoProject(PathBuf),
    /// A tool is missing.
    #[error("cannot run {tool}: {source}; {fix}")]
    NoTool {
        /// Its name.
        tool: String,
        /// Why.
        source: std::io::Error,
        /// How it is installed.
        fix: &'static str,
    },
    /// The standard library for the guest target is missing.
    #[error(
        "this Rust toolchain has no {target} target; add it: rustup target add {target} \
         (without rustup: install your distribution's rust-std for that target, Debian's is libstd-rust-dev-wasm32)",
        target = rust::TARGET
    )]
    NoTarget,
    /// A tool said no; its words were shown as they came.
    #[error("{tool} could not build {}; its errors are above", place.display())]
    Tool {
        /// Its name.
        tool: String,
        /// What it was to build.
        place: PathBuf,
    },
    /// The crate makes no wasm file.
    #[error("{}: makes no wasm module; a guest needs `[lib] crate-type = [\"cdylib\"]` in its Cargo.toml", .0.display())]
    NoModule(PathBuf),
    /// The module does not follow the contract.
    #[error("{}: not a proxylet: {reason}; {fix}", module.display())]
    NotAProxylet {
        /// The core module.
        module: PathBuf,
        /// What the encoder said.
        reason: String,
        /// What may be missing.
        fix: &'static str,
    },
    /// The project's proxylet.json.
    #[error("{}: {reason}; see `eep proxylet new` for one that is whole", path.display())]
    Manifest {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A component on disk.
#[derive(Clone, Debug, Serialize)]
pub struct Built {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: usize,
    /// What `eep load --sha256` takes.
    pub sha256: Digest,
    /// What it is written in.
    pub language: Language,
}

/// The language of the project in a folder.
///
/// # Errors
/// There is no project.
pub fn language_of(project: &Path) -> Result<Language, BuildError> {
    let mark = MARKS.iter().find(|(file, _)| project.join(file).is_file());
    mark.map(|(_, language)| *language).ok_or_else(|| BuildError::NoProject(project.to_owned()))
}

/// Builds the project in a folder and writes its component to `out`, or to `target/proxylets/NAME.wasm` of its
/// workspace.
///
/// # Errors
/// See [`BuildError`]; an earlier component at the same place is left as it was.
pub fn build(project: &Path, out: Option<&Path>) -> Result<Built, BuildError> {
    let language = language_of(project)?;
    // Some tools understand relative paths in a way of their own.
    let project =
        &project.canonicalize().map_err(|source| BuildError::File { path: project.to_owned(), source })?;
    let (component, place) = match language {
        Language::Rust => rust::build(project)?,
        Language::C => (c::build(project)?, place(project)?),
        Language::Js => (script::javascript(project)?, place(project)?),
        Language::Python => (script::python(project)?, place(project)?),
    };
    let path = out.map_or(place, Path::to_owned);
    write(&path, &component)?;
    Ok(Built { path, bytes: component.len(), sha256: Digest::of(&component), language })
}

/// What a project that is not a crate says of its proxylet: as it is written, and read.
fn manifest(project: &Path) -> Result<(String, Manifest), BuildError> {
    let path = project.join("proxylet.json");
    let text =
        std::fs::read_to_string(&path).map_err(|source| BuildError::File { path: path.clone(), source })?;
    let wrong = |reason: String| BuildError::Manifest { path: path.clone(), reason };
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let name: Result<crate::config::ServiceName, _> = manifest.name.parse();
    name.map_err(|_| wrong("`name` must be lower-case letters, digits and `-`".to_owned()))?;
    Ok((text, manifest))
}

/// Where the component of a project that is not a crate goes.
fn place(project: &Path) -> Result<PathBuf, BuildError> {
    let (_, manifest) = manifest(project)?;
    Ok(project.join("target/proxylets").join(format!("{}.wasm", manifest.name)))
}

/// Runs a tool whose words go to the terminal.
fn run(
    tool: &OsStr,
    command: impl FnOnce(&mut Command) -> &mut Command,
    project: &Path,
    fix: &'static str,
) -> Result<Vec<u8>, BuildError> {
    let name = Path::new(tool).file_name().unwrap_or(tool).to_string_lossy().into_owned();
    let mut prepared = Command::new(tool);
    let output = command(&mut prepared)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| BuildError::NoTool { tool: name.clone(), source, fix })?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(BuildError::Tool { tool: name, place: project.to_owned() })
    }
}

/// Writes beside the place and renames, so that nobody reads half a component.
fn write(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let failed = |source| BuildError::File { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let unfinished = path.with_extension("wasm.part");
    std::fs::write(&unfinished, bytes).and_then(|()| std::fs::rename(&unfinished, path)).map_err(failed)
}

/// A folder for what a tool writes on the way, inside the project's `target`.
fn workshop(project: &Path) -> Result<PathBuf, BuildError> {
    let folder = project.join("target/build");
    std::fs::create_dir_all(&folder).map_err(|source| BuildError::File { path: folder.clone(), source })?;
    Ok(folder)
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(|source| BuildError::File { path: path.to_owned(), source })
}
