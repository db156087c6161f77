//! C: clang and wasi-libc make a core module of `src/*.c` and the bindings in `vendor`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{BuildError, manifest, read, run, workshop, wrap};

/// What such a proxylet names as its SDK.
const SDK: &str = concat!("c ", env!("CARGO_PKG_VERSION"));
/// How to get what it takes.
const FIX: &str = "install clang with wasm-ld and wasi-libc (Debian: clang lld wasi-libc libclang-rt-dev-wasm32), or \
                   unpack the wasi-sdk and set WASI_SDK_PATH to it";

/// The component of a project in C.
pub(super) fn build(project: &Path) -> Result<Vec<u8>, BuildError> {
    let (text, _) = manifest(project)?;
    let module = workshop(project)?.join("proxylet.wasm");
    let mut sources = c_files(&project.join("src"))?;
    sources.extend(c_files(&project.join("vendor/c"))?);
    run(
        &clang(),
        |command| {
            command
                .args(["--target=wasm32-wasi", "-mexec-model=reactor", "-O2", "-msimd128", "-Wall"])
                .arg("-I")
                .arg(project.join("vendor/c"))
                .arg("-o")
                .arg(&module)
                .args(&sources)
        },
        project,
        FIX,
    )?;
    let typed = wrap::typed(read(&module)?, &project.join("vendor/wit"));
    let component = typed.and_then(|module| wrap::component(&module));
    let mut component = component.map_err(|reason| BuildError::NotAProxylet {
        module,
        reason,
        fix: "are all functions of vendor/c/service.h whose name begins with `exports_` defined?",
    })?;
    wrap::describe(&mut component, &text, SDK);
    Ok(component)
}

fn clang() -> OsString {
    match std::env::var_os("WASI_SDK_PATH") {
        Some(folder) => PathBuf::from(folder).join("bin/clang").into_os_string(),
        None => OsString::from("clang"),
    }
}

/// The C files of a folder, sorted.
fn c_files(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let failed = |source| BuildError::File { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
