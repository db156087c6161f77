//! The invariants of ARCHITECTURE.md that a look at the source and at the dependency graph can hold.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use wasmparser::Payload;

/// Longest source file, in lines: a file is one idea.
const FILE_LINES_MAX: usize = 900;

/// Crates that do I/O, run tasks or run wasm.
const ENGINES: &[&str] =
    &["async-std", "hyper", "mio", "quinn", "reqwest", "rustix", "smol", "socket2", "tokio", "wasmtime"];

/// Crates of the workspace that compute and do nothing else.
const PURE: &[&str] = &["avp", "topology", "policies"];

/// What each member may depend on of the other members; a proxylet that is not named has [`GUEST`].
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("topology", &[]),
    ("policies", &[]),
    ("avp", &[]),
    ("eep-sdk", &[]),
    ("gnutella-shell", &["avp", "eep-sdk"]),
    ("eep", &["topology", "policies"]),
    ("eep-relay", &["avp"]),
    ("relay-guest", &["avp", "eep-relay", "eep-sdk"]),
];
const GUEST: &[&str] = &["avp", "eep-sdk", "gnutella-shell"];

/// The only files with `unsafe` code: mapping compiled code, and the guest's bindings.
const UNSAFE: &[&str] =
    &["eep/src/proxylet/compile_cache.rs", "proxylets/sdk/src/bindings.rs", "proxylets/sdk/src/lifecycle.rs"];

/// What pure crates have no use for.
const OUTSIDE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io::stdin",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the workspace").to_path_buf()
}

/// Whether a member is a proxylet, stock or an example.
fn is_guest(folder: &Path) -> bool {
    let room = folder.parent().expect("a member lies in a room");
    room.ends_with("proxylets") || room.ends_with("proxylets/examples")
}

struct Graph {
    /// Members by name, with their manifest's folder.
    members: HashMap<String, PathBuf>,
    /// Direct dependencies that end up in what is built: no dev-dependencies, no build-dependencies.
    uses: HashMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read() -> Self {
        let out = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(root())
            .output()
            .expect("cargo runs");
        assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
        let data: Value = serde_json::from_slice(&out.stdout).expect("JSON");
        let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let names: HashMap<String, (String, PathBuf)> = list(&data["packages"])
            .iter()
            .map(|p| {
                let manifest = PathBuf::from(text(&p["manifest_path"]));
                let folder = manifest.parent().expect("a manifest has a folder").to_path_buf();
                (text(&p["id"]), (text(&p["name"]), folder))
            })
            .collect();
        let members = list(&data["workspace_members"]).iter().map(|id| names[&text(id)].clone()).collect();
        let mut uses: HashMap<String, BTreeSet<String>> = HashMap::new();
        for node in list(&data["resolve"]["nodes"]) {
            let user = uses.entry(names[&text(&node["id"])].0.clone()).or_default();
            for dep in list(&node["deps"]) {
                if list(&dep["dep_kinds"]).iter().any(|k| k["kind"].is_null()) {
                    user.insert(names[&text(&dep["pkg"])].0.clone());
                }
            }
        }
        Self { members, uses }
    }

    /// Everything that a crate depends on, however far away.
    fn closure(&self, of: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut left: Vec<&str> = self.uses[of].iter().map(String::as_str).collect();
        while let Some(name) = left.pop() {
            if seen.insert(name) {
                left.extend(self.uses.get(name).into_iter().flatten().map(String::as_str));
            }
        }
        seen
    }
}

#[test]
fn rooms_import_only_whom_they_may() {
    let graph = Graph::read();
    assert!(graph.members.contains_key("eep") && graph.members.contains_key("avp"), "the house has moved");
    for (name, folder) in &graph.members {
        if name == "eep-tests" || name == "eep-sim" {
            continue;
        }
        let allowed = match MAY_IMPORT.iter().find(|(n, _)| n == name) {
            Some((_, allowed)) => *allowed,
            None if is_guest(folder) => GUEST,
            None => panic!("{name} in {}: say in MAY_IMPORT what it may depend on", folder.display()),
        };
        for used in &graph.uses[name] {
            let other_room = graph.members.contains_key(used);
            assert!(!other_room || allowed.contains(&used.as_str()), "{name} may not depend on {used}");
        }
    }
}

#[test]
fn pure_crates_and_guests_have_no_engine() {
    let graph = Graph::read();
    for (name, folder) in &graph.members {
        if !PURE.contains(&name.as_str()) && !is_guest(folder) {
            continue;
        }
        let reached = graph.closure(name);
        let engines: Vec<_> = ENGINES.iter().filter(|e| reached.contains(*e)).collect();
        assert!(
            engines.is_empty(),
            "{name} comes to depend on {engines:?}: see `cargo tree -p {name} -i ...`"
        );
    }
}

#[test]
fn every_member_takes_the_workspaces_lints() {
    for (name, folder) in Graph::read().members {
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        let inherits =
            manifest.contains("[lints]\nworkspace = true") || manifest.contains("lints.workspace = true");
        assert!(inherits, "{name} has lints of its own");
    }
}

/// A source file: its path from the root, and its lines without comments.
struct Source {
    path: String,
    lines: Vec<String>,
}

/// All Rust files that git knows of.
fn sources() -> Vec<Source> {
    let out = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--", "*.rs"])
        .current_dir(root())
        .output()
        .expect("git runs");
    let listed = String::from_utf8(out.stdout).expect("paths are UTF-8");
    let sources: Vec<Source> = listed
        .lines()
        .filter_map(|path| {
            // A file may be listed and just have been removed.
            let text = std::fs::read_to_string(root().join(path)).ok()?;
            let lines = text.lines().map(|l| l.split("//").next().unwrap_or_default().to_owned()).collect();
            Some(Source { path: path.to_owned(), lines })
        })
        .collect();
    assert!(sources.len() > 20, "only {} sources found: is this a git checkout?", sources.len());
    sources
}

/// Where `wanted` holds, as `path:line`.
fn places(among: impl Fn(&Source) -> bool, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources().iter().filter(|s| among(s)) {
        for (i, line) in source.lines.iter().enumerate().filter(|(_, l)| wanted(l)) {
            found.push(format!("{}:{}: {}", source.path, i + 1, line.trim()));
        }
    }
    found
}

#[test]
fn unsafe_code_is_in_the_named_places_only() {
    let keyword = |line: &str| {
        // What stands between quotes is not code.
        let code = line.split('"').step_by(2).collect::<Vec<_>>().join(" ");
        code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe" || w == "unsafe_code")
    };
    let this_file = "tests/e2e/architecture.rs";
    let found = places(|s| !UNSAFE.contains(&s.path.as_str()) && s.path != this_file, keyword);
    assert!(found.is_empty(), "unsafe code outside {UNSAFE:?}:\n{}", found.join("\n"));
}

#[test]
fn pure_crates_touch_nothing_outside() {
    let pure = |s: &Source| PURE.iter().any(|room| s.path.starts_with(&format!("{room}/src/")));
    let found = places(pure, |line| OUTSIDE.iter().any(|word| line.contains(word)));
    assert!(found.is_empty(), "time, randomness and I/O come in as arguments:\n{}", found.join("\n"));
}

#[test]
fn a_file_is_one_idea() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|s| s.lines.len() > FILE_LINES_MAX)
        .map(|s| format!("{} has {} lines", s.path, s.lines.len()))
        .collect();
    assert!(long.is_empty(), "at most {FILE_LINES_MAX} lines a file:\n{}", long.join("\n"));
}

#[test]
fn nothing_is_left_open() {
    let this_file = "tests/e2e/architecture.rs";
    let open = ["todo!(", "unimplemented!(", "#[ignore"];
    let found = places(|s| s.path != this_file, |line| open.iter().any(|o| line.contains(o)));
    assert!(found.is_empty(), "left open:\n{}", found.join("\n"));
}

#[test]
fn every_target_that_make_names_is_there() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).expect("it is part of the repository");
    let phony = makefile.lines().find_map(|line| line.strip_prefix(".PHONY:")).expect("its targets");
    let has_rule = |target: &&str| makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
    let lost: Vec<_> = phony.split_whitespace().filter(|target| !has_rule(target)).collect();
    assert!(lost.is_empty(), "no rules for {lost:?}");
}

#[test]
fn built_guests_import_nothing_but_the_contract() {
    for name in ["echo", "gnutella-peer", "directed-search"] {
        let code = std::fs::read(eep_tests::node::proxylet(name)).expect("the guest");
        let (mut imported, mut depth) = (Vec::new(), 0);
        // What is inside gets what it imports from the component around it: the outermost says it all.
        for payload in wasmparser::Parser::new(0).parse_all(&code) {
            match payload.expect("a valid component") {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentImportSection(section) if depth == 0 => {
                    imported.extend(section.into_iter().map(|i| i.expect("an import").name.name.to_owned()));
                }
                _ => {}
            }
        }
        assert!(!imported.is_empty(), "{name} imports nothing");
        let foreign: Vec<_> = imported.iter().filter(|i| !i.starts_with("eep:proxylet/")).collect();
        assert!(foreign.is_empty(), "{name} imports {foreign:?}");
    }
}
