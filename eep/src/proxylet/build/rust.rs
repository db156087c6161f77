//! A guest crate: `cargo build` for `wasm32-unknown-unknown`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::{BuildError, read, run, wrap};

pub(super) const TARGET: &str = "wasm32-unknown-unknown";
/// The cargo profile of guests; a crate outside this workspace may not have it.
const PROFILE: &str = "guest";

/// One line of cargo's `--message-format=json`; of its many kinds only the built files matter here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    #[serde(default)]
    manifest_path: PathBuf,
}

/// The component of a crate, and where it goes: `target/proxylets/NAME.wasm` of its workspace.
pub(super) fn build(project: &Path) -> Result<(Vec<u8>, PathBuf), BuildError> {
    let manifest = project.join("Cargo.toml");
    let manifest =
        manifest.canonicalize().map_err(|source| BuildError::File { path: manifest.clone(), source })?;
    let module = cargo(project, &manifest)?;
    let component = wrap::component(&read(&module)?).map_err(|reason| BuildError::NotAProxylet {
        module: module.clone(),
        reason,
        fix: "is `eep_sdk::proxylet!` in its lib.rs?",
    })?;
    let place = default_place(&module);
    Ok((component, place))
}

fn cargo(project: &Path, manifest: &Path) -> Result<PathBuf, BuildError> {
    let tool = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let built = run(
        &tool,
        |command| {
            command
                .args(["build", "--target", TARGET, "--profile", PROFILE])
                .arg("--message-format=json-render-diagnostics")
                // What every engine that runs components has, and what the compiler does not switch on by itself.
                .args(["--config", "target.wasm32-unknown-unknown.rustflags=['-Ctarget-feature=+simd128']"])
                // A guest crate of another workspace need not know our profile.
                .args(["--config", "profile.guest.inherits='release'"])
                .args(["--config", "profile.guest.panic='abort'"])
                .arg("--manifest-path")
                .arg(manifest)
        },
        project,
        "install a Rust toolchain (https://rustup.rs) and put cargo on the PATH",
    );
    let said = match built {
        Err(BuildError::Tool { .. }) if !has_target() => return Err(BuildError::NoTarget),
        other => other?,
    };
    String::from_utf8_lossy(&said)
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|m| m.reason == "compiler-artifact" && m.manifest_path == manifest)
        .flat_map(|m| m.filenames)
        .find(|f| f.extension().is_some_and(|e| e == "wasm"))
        .ok_or_else(|| BuildError::NoModule(project.to_owned()))
}

/// Whether the toolchain has a standard library for guests.
fn has_target() -> bool {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .is_ok_and(|o| o.status.success() && Path::new(String::from_utf8_lossy(&o.stdout).trim()).is_dir())
}

/// `TARGET_DIR/wasm32-unknown-unknown/guest/some_name.wasm` becomes `TARGET_DIR/proxylets/some-name.wasm`.
fn default_place(module: &Path) -> PathBuf {
    let name = module.file_name().unwrap_or_default().to_string_lossy().replace('_', "-");
    module.ancestors().nth(3).unwrap_or(Path::new("target")).join("proxylets").join(name)
}
