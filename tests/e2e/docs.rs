//! The documents' commands work, and print what the documents say.
//!
//! Each ```` ```console ```` block of a document is part of one session: lines that begin with `$ ` are typed into one
//! shell, in order, those that begin with `> ` go on with the command, and the lines below are what it prints. A line `...` stands for any lines. Numbers, digests and the
//! folders of paths may differ.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use eep_tests::namespace::Namespace;
use eep_tests::node::{eep_binary, proxylet};

/// An example that a document tests.
const EXAMPLE: &str = "directed-search";
/// The usual ports, where there is one network for all.
static PORTS: Mutex<()> = Mutex::new(());
/// What a shell prints between two commands.
const MARK: &str = "--8<--";

struct Step {
    line: usize,
    command: String,
    prints: Vec<String>,
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for (i, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            steps.push(Step { line: i + 1, command: command.to_owned(), prints: Vec::new() });
        } else if let Some(more) = line.strip_prefix("> ").filter(|_| inside) {
            let step = steps.last_mut().expect("a block begins with a command");
            step.command.push('\n');
            step.command.push_str(more);
        } else if inside {
            let step = steps.last_mut().expect("a block begins with a command");
            step.prints.push(line.to_owned());
        }
    }
    assert!(!steps.is_empty(), "no console block");
    steps
}

/// One shell for all of them. What a node that is left running prints is shown once it is up, of which
/// its last line speaks.
fn script(steps: &[Step]) -> String {
    let mut script = String::from("set -e\n");
    for step in steps {
        match step.command.strip_suffix('&') {
            Some(command) => {
                let up = "for i in $(seq 1200); do grep -qs '^Ctrl-C' node.out && break; sleep 0.1; done";
                // What a node before it has printed is not taken for its own.
                let _ = write!(script, "rm -f node.out\n{command} >node.out 2>&1 &\n{up}\ncat node.out\n");
            }
            None => {
                let _ = writeln!(script, "{{ {}\n}} 2>&1", step.command);
            }
        }
        let _ = writeln!(script, "echo '{MARK}'");
    }
    script
}

/// What differs from run to run is made the same.
fn plain(line: &str) -> String {
    let word = |word: &str| {
        let digits = |c: char| c.is_ascii_digit();
        let path = word.rsplit_once('/').filter(|_| word.starts_with('/')).map_or(word, |(_, name)| name);
        let hex = |w: &str| w.len() >= 12 && w.chars().all(|c| c.is_ascii_hexdigit());
        match path.trim_matches(['(', ')', ':', '…']) {
            w if hex(w) => path.replace(w, "HEX"),
            _ => path.split(digits).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("0"),
        }
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// Whether the printed lines are those expected, `...` standing for any number of them.
fn fits(expected: &[String], printed: &[String]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((any, rest)) if any == "..." => (0..=printed.len()).any(|n| fits(rest, &printed[n..])),
        Some((line, rest)) => printed.split_first().is_some_and(|(p, ps)| p == line && fits(rest, ps)),
    }
}

fn run(document: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's folder");
    let text = std::fs::read_to_string(root.join(document)).expect("the document");
    let steps = steps(&text);

    // The documents use a node's usual ports: as root they are free in a network of the test's own, and otherwise one
    // document has them at a time.
    let is_root = rustix::process::geteuid().is_root();
    let _net = is_root.then(|| Namespace::enter(&[]));
    let _ports = (!is_root).then(|| PORTS.lock().unwrap_or_else(PoisonError::into_inner));
    let home = tempfile::tempdir().expect("a temporary folder");
    let target = home.path().join("target/proxylets");
    std::fs::create_dir_all(&target).expect("a folder");
    for name in ["echo", "gnutella-peer", EXAMPLE] {
        std::fs::copy(proxylet(name), target.join(format!("{name}.wasm"))).expect("a copy of a guest");
    }
    let scenarios = home.path().join(EXAMPLE).join("tests");
    std::fs::create_dir_all(&scenarios).expect("a folder");
    for file in
        std::fs::read_dir(root.join("proxylets/examples").join(EXAMPLE).join("tests")).expect("scenarios")
    {
        let file = file.expect("a scenario");
        std::fs::copy(file.path(), scenarios.join(file.file_name())).expect("a copy of a scenario");
    }
    let bin = eep_binary();
    let path = format!(
        "{}:{}",
        bin.parent().expect("a folder").display(),
        std::env::var("PATH").expect("a PATH to find the shell's tools")
    );
    let output = Command::new("bash")
        .arg("-c")
        .arg(format!("trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n{}", script(&steps)))
        .current_dir(home.path())
        .env("PATH", path)
        .env("COLUMNS", "200")
        // Projects that a document makes are built of what the workspace has fetched and compiled.
        .env("CARGO_NET_OFFLINE", "true")
        .env(
            "CARGO_BUILD_BUILD_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder"),
        )
        .env_remove("CARGO_TARGET_DIR")
        .stdin(Stdio::null())
        .output()
        .expect("bash");

    let printed = String::from_utf8_lossy(&output.stdout);
    let printed: Vec<&str> = printed.split(&format!("{MARK}\n")).collect();
    for (i, step) in steps.iter().enumerate() {
        let at = format!("{document}:{}: $ {}", step.line, step.command);
        let done = printed.len() > i + 1;
        let given = printed.get(i).copied().unwrap_or_default();
        assert!(done, "{at}\ndid not succeed:\n{given}{}", String::from_utf8_lossy(&output.stderr));
        let lines = |lines: &mut dyn Iterator<Item = &str>| -> Vec<String> {
            lines.map(plain).filter(|l| !l.is_empty()).collect()
        };
        let expected = lines(&mut step.prints.iter().map(String::as_str));
        assert!(fits(&expected, &lines(&mut given.lines())), "{at}\nprints something else now:\n{given}");
    }
}

#[test]
fn the_readmes_tour_can_be_taken() {
    run("README.md");
}

#[test]
fn a_node_can_be_operated_by_the_book() {
    run("docs/operators.md");
}

#[test]
fn a_policy_can_be_written_by_the_book() {
    run("docs/policy-authors.md");
}

#[test]
fn a_proxylet_can_be_developed_by_the_book() {
    run("docs/developers.md");
}
