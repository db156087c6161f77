//! Languages that bring an interpreter: the tools of the Bytecode Alliance put it, the program and the contract into one
//! component.

use std::ffi::OsString;
use std::path::Path;

use super::{BuildError, manifest, read, run, workshop, wrap};

/// What such proxylets name as their SDK.
const JS_SDK: &str = concat!("js ", env!("CARGO_PKG_VERSION"));
const PYTHON_SDK: &str = concat!("python ", env!("CARGO_PKG_VERSION"));

/// `src/proxylet.js` with QuickJS: small, and without an engine that makes code at run time.
pub(super) fn javascript(project: &Path) -> Result<Vec<u8>, BuildError> {
    let out = workshop(project)?.join("proxylet.wasm");
    let jco = tool(project, "node_modules/.bin/jco", "jco");
    run(
        &jco,
        |command| {
            command
                .arg("componentize")
                .arg(project.join("src/proxylet.js"))
                .arg("--wit")
                .arg(project.join("wit"))
                .args([
                    "--world-name",
                    "proxylet",
                    "--backend",
                    "qjs",
                    "--backend-qjs-disable-async",
                    "--out",
                ])
                .arg(&out)
        },
        project,
        "run `npm install` in the project's folder (Node.js 20 or later brings npm)",
    )?;
    described(project, &out, JS_SDK)
}

/// `src/app.py` with CPython.
pub(super) fn python(project: &Path) -> Result<Vec<u8>, BuildError> {
    let out = workshop(project)?.join("proxylet.wasm");
    let componentize = tool(project, ".venv/bin/componentize-py", "componentize-py");
    run(
        &componentize,
        |command| {
            command
                .arg("-d")
                .arg(project.join("wit"))
                .args(["-w", "proxylet", "--quiet", "componentize", "app", "-p"])
                .arg(project.join("src"))
                .arg("-o")
                .arg(&out)
        },
        project,
        "run `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt` in the project's folder",
    )?;
    described(project, &out, PYTHON_SDK)
}

/// A tool of the project, or the one on the PATH.
fn tool(project: &Path, own: &str, name: &str) -> OsString {
    let own = project.join(own);
    match own.canonicalize() {
        Ok(own) => own.into_os_string(),
        Err(_) => OsString::from(name),
    }
}

fn described(project: &Path, out: &Path, sdk: &str) -> Result<Vec<u8>, BuildError> {
    let (text, _) = manifest(project)?;
    let mut component = read(out)?;
    wrap::describe(&mut component, &text, sdk);
    Ok(component)
}
