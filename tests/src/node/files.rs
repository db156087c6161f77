//! Where the built node and the built guests lie.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The `eep` binary: `$EEP_BIN`, or the one that was built beside this test.
///
/// # Panics
/// Where there is none; the message says how to build it.
#[must_use]
pub fn eep_binary() -> PathBuf {
    if let Some(named) = std::env::var_os("EEP_BIN") {
        let path = PathBuf::from(named);
        assert!(path.is_file(), "EEP_BIN names {}, which is no file", path.display());
        return path;
    }
    let path = profile_folder().join("eep");
    assert!(
        path.is_file(),
        "no {}: build it with `make build`, or name another with EEP_BIN",
        path.display()
    );
    path
}

/// A built guest: in `$EEP_PROXYLETS`, or in `proxylets` of the target folder.
///
/// # Panics
/// Where there is none; the message says how to build it.
#[must_use]
pub fn proxylet(name: &str) -> PathBuf {
    let folder = match std::env::var_os("EEP_PROXYLETS") {
        Some(named) => PathBuf::from(named),
        None => profile_folder().parent().expect("a profile lies in the target folder").join("proxylets"),
    };
    let path = folder.join(format!("{name}.wasm"));
    assert!(
        path.is_file(),
        "no {}: build it with `make build`, or name another folder with EEP_PROXYLETS",
        path.display()
    );
    path
}

/// The same code as another version: with a mark that changes its digest and nothing else.
///
/// # Panics
/// Where the mark is longer than 100 bytes.
#[must_use]
pub fn other_version(code: &[u8], mark: &str) -> Vec<u8> {
    assert!(mark.len() <= 100, "a mark is short");
    // A custom section: id, length, the length of its name, its name.
    [code, &[0, mark.len() as u8 + 1, mark.len() as u8], mark.as_bytes()].concat()
}

/// A digest as `--sha256` takes it.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

/// The folder of the profile that this test was built with: tests lie in its `deps`.
fn profile_folder() -> PathBuf {
    let own = std::env::current_exe().expect("a process has a binary");
    let folder = own.parent().expect("a binary lies in a folder");
    if folder.ends_with("deps") {
        folder.parent().unwrap_or(Path::new("/")).to_owned()
    } else {
        folder.to_owned()
    }
}
