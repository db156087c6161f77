//! Gathers what `eep proxylet new` puts into a project, so that the project builds wherever it lies: the contract, the
//! SDK, the virtual peer and the stock proxylet around it, as they are in this workspace.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = here.parent().expect("eep lies in the workspace");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let workspace = read(&root.join("Cargo.toml"));
    let mut text = String::new();
    let mut list = |name: &str, parts: &[(&str, &str)]| {
        let _ = writeln!(text, "pub(crate) const {name}: &[(&str, &str)] = &[");
        for (from, to) in parts {
            for file in files(&root.join(from)) {
                let within = file.strip_prefix(root.join(from)).expect("it was found there");
                let _ = writeln!(text, "    ({:?}, include_str!({file:?})),", Path::new(to).join(within));
            }
        }
        let _ = writeln!(text, "];");
    };
    list("WIT", &[("proxylets/wit", "")]);
    list("SDK", &[("proxylets/sdk/src", "vendor/sdk/src")]);
    let bindings = c_bindings(&root.join("proxylets/wit"), &out.join("c"));
    list("C", &[(bindings.to_str().expect("OUT_DIR is UTF-8"), "vendor/c")]);
    list("AVP", &[("avp/src", "vendor/avp/src")]);
    list("SHELL", &[("proxylets/gnutella-shell/src", "vendor/gnutella-shell/src")]);
    list("PEER", &[("proxylets/examples/directed-search", "")]);
    for (name, path) in [
        ("SDK_MANIFEST", "proxylets/sdk"),
        ("AVP_MANIFEST", "avp"),
        ("SHELL_MANIFEST", "proxylets/gnutella-shell"),
    ] {
        let manifest = standalone(&read(&root.join(path).join("Cargo.toml")), &workspace);
        let _ = writeln!(text, "pub(crate) const {name}: &str = {manifest:?};");
    }
    fs::write(out.join("vendored.rs"), text).expect("OUT_DIR can be written");
}

fn read(path: &Path) -> String {
    println!("cargo::rerun-if-changed={}", path.display());
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Sources in a folder and below, sorted; released copies of the contract are not part of it.
fn files(folder: &Path) -> Vec<PathBuf> {
    // What this program has written is no reason to run it again.
    if !env::var_os("OUT_DIR").is_some_and(|out| folder.starts_with(out)) {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "released") {
            found.extend(files(&path));
        } else if path
            .extension()
            .is_some_and(|e| ["rs", "wit", "h", "c", "json", "yaml"].iter().any(|known| e == *known))
        {
            found.push(path);
        }
    }
    found
}

/// What a proxylet in C is compiled with, written into a folder.
fn c_bindings(wit: &Path, folder: &Path) -> PathBuf {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).expect("the contract is WIT");
    let world = resolve.select_world(&[package], Some("service")).expect("it has the world `service`");
    let mut files = Files::default();
    let options = wit_bindgen_c::Opts { no_object_file: true, ..Default::default() };
    options
        .build()
        .generate(&mut resolve, world, &mut files)
        .expect("the contract has no more than C can say");
    fs::create_dir_all(folder).expect("OUT_DIR can be written");
    for (name, content) in files.iter() {
        fs::write(folder.join(name), content).expect("OUT_DIR can be written");
    }
    let types = "// The bindings ask for an object with the component's type. `eep proxylet build` puts that type in by itself.\n\
                 void __component_type_object_force_link_service(void) {}\n";
    fs::write(folder.join("component_type.c"), types).expect("OUT_DIR can be written");
    folder.to_owned()
}

/// A member's manifest without the workspace: what it takes from there is written out, and other members lie beside it.
/// Tests and benchmarks stay behind.
fn standalone(manifest: &str, workspace: &str) -> String {
    let shared = |name: &str| {
        let line = workspace.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='));
        let value = line.unwrap_or_else(|| panic!("the workspace has no {name}")).trim();
        value.replace("path = \"proxylets/", "path = \"").replace("path = \"", "path = \"../")
    };
    let (mut out, mut kept) = (String::new(), true);
    for line in manifest.lines() {
        if line.starts_with('[') {
            kept = matches!(line, "[package]" | "[lib]" | "[dependencies]");
        }
        let from_workspace =
            line.split_once(".workspace = true").or_else(|| line.split_once(" = { workspace = true }"));
        match from_workspace {
            _ if !kept => {}
            Some((name, _)) => {
                let _ = writeln!(out, "{name} = {}", shared(name));
            }
            None => {
                let _ = writeln!(out, "{line}");
            }
        }
    }
    out
}
