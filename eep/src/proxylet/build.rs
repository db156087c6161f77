//! From a guest crate to a component: `cargo build` for `wasm32-unknown-unknown`, then the component model's
//! wrapping, so that what a node loads says by its types what it imports.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use wit_component::ComponentEncoder;

use super::digest::Digest;

const TARGET: &str = "wasm32-unknown-unknown";
/// The cargo profile of guests; a crate outside this workspace may not have it.
const PROFILE: &str = "guest";

/// Why a guest could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no crate there.
    #[error("{}: no Cargo.toml here; name the folder of a guest crate", .0.display())]
    NoCrate(PathBuf),
    /// Cargo is missing.
    #[error("cannot run cargo: {0}; install a Rust toolchain (https://rustup.rs) and put cargo on the PATH")]
    NoCargo(std::io::Error),
    /// The standard library for the guest target is missing.
    #[error(
        "this Rust toolchain has no {TARGET} target; add it: rustup target add {TARGET} \
         (without rustup: install your distribution's rust-std for that target, Debian's is libstd-rust-dev-wasm32)"
    )]
    NoTarget,
    /// Cargo said no; its words were shown as they came.
    #[error("cargo could not build {}; its errors are above", .0.display())]
    Cargo(PathBuf),
    /// The crate makes no wasm file.
    #[error("{}: makes no wasm module; a guest needs `[lib] crate-type = [\"cdylib\"]` in its Cargo.toml", .0.display())]
    NoModule(PathBuf),
    /// The module does not follow the contract.
    #[error("{}: not a proxylet: {reason}; is `eep_sdk::proxylet!` in its lib.rs?", module.display())]
    NotAProxylet {
        /// The core module.
        module: PathBuf,
        /// What the encoder said.
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
}

/// One line of cargo's `--message-format=json`; of its many kinds only the built files matter here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    #[serde(default)]
    manifest_path: PathBuf,
}

/// Builds the guest crate in `crate_dir` and writes its component to `out`, or to `target/proxylets/NAME.wasm` of
/// its workspace.
///
/// # Errors
/// See [`BuildError`]; an earlier component at the same place is left as it was.
pub fn build(crate_dir: &Path, out: Option<&Path>) -> Result<Built, BuildError> {
    let manifest = crate_dir.join("Cargo.toml");
    let manifest = manifest.canonicalize().map_err(|_| BuildError::NoCrate(crate_dir.to_owned()))?;
    let module = cargo_build(crate_dir, &manifest)?;
    let component = componentize(&module)?;
    let path = match out {
        Some(path) => path.to_owned(),
        None => default_place(&module),
    };
    write(&path, &component)?;
    Ok(Built { path, bytes: component.len(), sha256: Digest::of(&component) })
}

fn cargo_build(crate_dir: &Path, manifest: &Path) -> Result<PathBuf, BuildError> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--target", TARGET, "--profile", PROFILE, "--message-format=json-render-diagnostics"])
        // What every engine that runs components has, and what the compiler does not switch on by itself.
        .args(["--config", "target.wasm32-unknown-unknown.rustflags=['-Ctarget-feature=+simd128']"])
        // A guest crate of another workspace need not know our profile.
        .args(["--config", "profile.guest.inherits='release'", "--config", "profile.guest.panic='abort'"])
        .arg("--manifest-path")
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .map_err(BuildError::NoCargo)?;
    if !output.status.success() {
        return Err(if has_target() {
            BuildError::Cargo(crate_dir.to_owned())
        } else {
            BuildError::NoTarget
        });
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|m| m.reason == "compiler-artifact" && m.manifest_path == manifest)
        .flat_map(|m| m.filenames)
        .find(|f| f.extension().is_some_and(|e| e == "wasm"))
        .ok_or_else(|| BuildError::NoModule(crate_dir.to_owned()))
}

/// Whether the toolchain has a standard library for guests.
fn has_target() -> bool {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .is_ok_and(|o| o.status.success() && Path::new(String::from_utf8_lossy(&o.stdout).trim()).is_dir())
}

/// Wraps a core module that carries its component type (what `wit-bindgen` embeds) into a component.
fn componentize(module: &Path) -> Result<Vec<u8>, BuildError> {
    let bytes =
        std::fs::read(module).map_err(|source| BuildError::File { path: module.to_owned(), source })?;
    ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|encoder| encoder.encode())
        .map_err(|e| BuildError::NotAProxylet { module: module.to_owned(), reason: format!("{e:#}") })
}

/// `TARGET_DIR/wasm32-unknown-unknown/guest/some_name.wasm` becomes `TARGET_DIR/proxylets/some-name.wasm`.
fn default_place(module: &Path) -> PathBuf {
    let name = module.file_name().unwrap_or_default().to_string_lossy().replace('_', "-");
    module.ancestors().nth(3).unwrap_or(Path::new("target")).join("proxylets").join(name)
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
