//! Who may vouch for code: keys, signatures, and a node that runs nothing else.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;

use crate::golden::compare;
use crate::guest::{of_other_shape, probe, probe_2, teller};
use crate::node::{Ended, Node, digest, eep};
use crate::web::{Server, ok};

/// Runs a command in a directory.
fn run(dir: &Path, args: &[&str]) -> Ended {
    eep().args(args).current_dir(dir).output().unwrap().into()
}

/// A directory with keys `a`, `b` and `c`, a node file that wants two of `a` and `b`, and the probe.
fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        let comment = format!("key {name}");
        run(dir.path(), &["proxylet", "keygen", "--no-password", "--out", name, "--comment", &comment])
            .done();
    }
    let file = dir.path().join("eep.yaml");
    std::fs::write(file, "trust:\n  keys: [a.pub, b.pub]\n  require: 2\n").unwrap();
    std::fs::write(dir.path().join("probe.wasm"), probe()).unwrap();
    dir
}

fn sign(dir: &Path, key: &str) {
    run(dir, &["proxylet", "sign", "probe.wasm", "--key", key]).done();
}

fn load(node: &Node) -> Ended {
    node.eep(&["load", "probe.wasm", "--sha256", &digest(&probe())])
}

/// Key ids differ from run to run.
fn ids(dir: &Path) -> Vec<(String, String)> {
    let id = |name: &str| {
        let args = ["proxylet", "verify", "probe.wasm", "--json", "--key", &format!("{name}.pub")];
        let copy = tempfile::tempdir().unwrap();
        for file in ["probe.wasm", &format!("{name}.key"), &format!("{name}.pub")] {
            std::fs::copy(dir.join(file), copy.path().join(file)).unwrap();
        }
        run(copy.path(), &["proxylet", "sign", "probe.wasm", "--key", &format!("{name}.key")]).done();
        let said: serde_json::Value = serde_json::from_str(&run(copy.path(), &args).done()).unwrap();
        said["signatures"][0]["key"].as_str().unwrap().to_owned()
    };
    ["a", "b", "c"].into_iter().map(|name| (id(name), format!("KEY-{}", name.to_uppercase()))).collect()
}

#[test]
fn a_node_runs_what_enough_trusted_keys_signed_and_nothing_else() {
    let dir = directory();
    let mut names = ids(dir.path());
    names.push((dir.path().to_str().unwrap().to_owned(), "DIR".to_owned()));
    let file = dir.path().join("eep.yaml").to_str().unwrap().to_owned();
    let node = Node::over(dir, &["--config", &file]);
    let dir = node.dir.path();
    let mut told = String::new();
    let mut refused = |title: &str| {
        let mut words = load(&node).refused();
        names.iter().for_each(|(what, name)| words = words.replace(what, name));
        writeln!(told, "### {title}\n{words}").unwrap();
    };
    refused("unsigned");
    sign(dir, "c.key");
    refused("signed by a stranger");
    sign(dir, "a.key");
    refused("signed by one of two");
    let signatures = dir.join("probe.wasm.minisig");
    let good = std::fs::read(&signatures).unwrap();
    std::fs::write(dir.join("other.wasm"), probe_2()).unwrap();
    run(dir, &["proxylet", "sign", "other.wasm", "--key", "b.key"]).done();
    let other = std::fs::read(dir.join("other.wasm.minisig")).unwrap();
    std::fs::write(&signatures, [good.as_slice(), &other].concat()).unwrap();
    refused("signed by one, and a signature of other code");
    std::fs::write(&signatures, [good.as_slice(), b"untrusted comment: and no more\n"].concat()).unwrap();
    refused("a signature file that is cut");
    std::fs::write(&signatures, vec![b'\n'; 70_000]).unwrap();
    refused("a signature file that is too large");
    std::fs::write(&signatures, &good).unwrap();
    let key = std::fs::read_to_string(dir.join("b.pub")).unwrap();
    std::fs::write(dir.join("b.pub"), "no key\n").unwrap();
    refused("trusted keys that cannot be read any more");
    std::fs::write(dir.join("b.pub"), key).unwrap();
    compare("trust.txt", &told);
    assert_eq!(node.json(&["list"]), serde_json::json!([]));

    sign(dir, "b.key");
    load(&node).done();
}

#[test]
fn code_comes_over_https_from_servers_that_the_machine_trusts() {
    let plain = Server::of(&probe());
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", plain.url());
    let (downgrading, certificate) = Server::secure(redirect.into_bytes());
    let (server, other) = Server::secure(ok(probe().len(), &probe()));
    let dir = tempfile::tempdir().unwrap();
    let trusted = dir.path().join("trusted.pem");
    let sha = digest(&probe());
    let load = |node: &Node, url: &str| node.eep(&["load", url, "--sha256", &sha]);

    std::fs::write(&trusted, &certificate).unwrap();
    let node = Node::trusting(&trusted);
    let words = load(&node, &server.url()).refused();
    assert!(words.contains("the server is not trusted") && words.contains("SSL_CERT_FILE"), "{words}");
    let words = load(&node, &downgrading.url()).refused();
    assert!(words.contains("which is not encrypted"), "{words}");

    std::fs::write(&trusted, [certificate, other].concat()).unwrap();
    let node = Node::trusting(&trusted);
    load(&node, &server.url()).done();
    assert_eq!(node.json(&["status", "probe"])["url"], server.url());
}

#[test]
fn code_that_a_node_holds_is_had_by_its_digest_and_by_no_other() {
    let node = Node::start();
    node.load_probe("probe");
    let (sha, other) = (digest(&probe()), digest(&probe_2()));
    let by_digest = format!("eep:{sha}");
    let words = node.eep(&["load", &by_digest, "--sha256", &other, "--name", "copy"]).refused();
    assert!(words.contains(&sha) && words.contains(&format!("wanted {other}")), "{words}");
    node.file("other.wasm", &probe_2());
    node.json(&["load", "other.wasm", "--sha256", &other, "--name", "other"]);
    node.eep(&["load", &by_digest, "--sha256", &other, "--name", "copy"]).refused();
    let copy = node.json(&[
        "load",
        &by_digest,
        "--name",
        "copy",
        "--grant",
        "net.listen:*",
        "--grant",
        "datagram:*",
    ]);
    assert_eq!((&copy["digest"], &copy["state"]), (&sha.into(), &"running".into()));
    let unknown = node.eep(&["load", &format!("eep:{}", "a".repeat(64)), "--name", "unknown"]).refused();
    assert!(unknown.contains("in no mesh"), "{unknown}");
}

#[test]
fn signatures_that_are_made_at_the_same_time_are_all_kept() {
    let dir = directory();
    let sign = |key| {
        let args = ["proxylet", "sign", "probe.wasm", "--key", key];
        eep().args(args).current_dir(dir.path()).stdout(Stdio::null()).spawn().unwrap()
    };
    let all = ["a.key", "b.key", "c.key"].map(sign);
    all.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success()));
    let keys = ["--key", "a.pub", "--key", "b.pub", "--key", "c.pub", "--require", "3"];
    run(dir.path(), &[&["proxylet", "verify", "probe.wasm"], keys.as_slice()].concat()).done();
}

#[test]
fn kept_code_is_judged_again_before_each_run() {
    let dir = directory();
    sign(dir.path(), "a.key");
    sign(dir.path(), "b.key");
    let file = dir.path().join("eep.yaml").to_str().unwrap().to_owned();
    let node = Node::over(dir, &["--config", &file]);
    load(&node).done();
    // The source is gone: what is kept, code and signatures, is enough.
    std::fs::remove_file(node.dir.path().join("probe.wasm")).unwrap();
    std::fs::remove_file(node.dir.path().join("probe.wasm.minisig")).unwrap();
    let node = Node::over(node.kill(), &["--config", &file]);
    assert_eq!(node.said["services"][0]["state"], "running");

    // A key is revoked in its file: no restart of the node is needed for the next start of the service to fail.
    let mut key = std::fs::read_to_string(node.dir.path().join("b.pub")).unwrap();
    key += "revoked: the laptop was stolen\n";
    std::fs::write(node.dir.path().join("b.pub"), key).unwrap();
    shows(&node, "failed");
    let told = node.eep(&["start", "probe"]).refused();
    assert!(told.contains("is revoked: the laptop was stolen"), "{told}");
    let node = Node::over(node.kill(), &["--config", &file]);
    let told = node.eep(&["start", "probe"]).refused();
    assert!(told.contains("is revoked: the laptop was stolen"), "{told}");

    // Whoever develops is not asked.
    let node = Node::over(node.kill(), &["--config", &file, "--dev"]);
    node.eep(&["start", "probe"]).done();
}

/// Waits until the probe is in this state; all that is known of it then.
fn shows(node: &Node, state: &str) -> serde_json::Value {
    let look = |_: u32| Some(node.json(&["status", "probe"])).filter(|probe| probe["state"] == state);
    (0..10_000).find_map(look).unwrap_or_else(|| panic!("{}", node.json(&["status", "probe"])))
}

#[test]
fn what_runs_ends_when_its_signers_are_trusted_no_longer_and_comes_back_when_they_are() {
    let dir = directory();
    sign(dir.path(), "a.key");
    sign(dir.path(), "b.key");
    let names = ids(dir.path());
    let file = dir.path().join("eep.yaml").to_str().unwrap().to_owned();
    let node = Node::over(dir, &["--config", &file]);
    load(&node).done();
    let signers = &node.json(&["status", "probe"])["signers"];
    let shown: Vec<_> = signers.as_array().unwrap().iter().map(|s| s["key"].as_str().unwrap()).collect();
    let mut wanted = [names[0].0.as_str(), names[1].0.as_str()];
    wanted.sort_unstable();
    assert_eq!(shown, wanted);
    let words = node.eep(&["status", "probe"]).done();
    assert!(words.contains(&format!("{} key a", names[0].0)), "{words}");

    let file = node.dir.path().join("b.pub");
    let key = std::fs::read_to_string(&file).unwrap();
    // At once: a node that looks meanwhile sees the one or the other.
    let write = |text: &str| {
        std::fs::write(file.with_extension("new"), text).unwrap();
        std::fs::rename(file.with_extension("new"), &file).unwrap();
    };
    write(&format!("{key}expires: 2020-01-01\n"));
    let probe = shows(&node, "failed");
    assert!(probe["reason"].as_str().unwrap().contains("was trusted until 2020-01-01"), "{probe}");
    assert_eq!(probe["wanted"], "running");
    write(&key);
    shows(&node, "running");
}

#[test]
fn a_version_whose_signer_is_revoked_on_probation_is_taken_back() {
    let dir = directory();
    std::fs::write(dir.path().join("eep.yaml"), "trust:\n  keys: [a.pub, b.pub]\n").unwrap();
    for (version, key) in [(1, "a.key"), (2, "b.key")] {
        let file = format!("{version}.wasm");
        std::fs::write(dir.path().join(&file), teller(version, "")).unwrap();
        run(dir.path(), &["proxylet", "sign", &file, "--key", key]).done();
    }
    let file = dir.path().join("eep.yaml").to_str().unwrap().to_owned();
    let node = Node::over(dir, &["--config", &file]);
    node.eep(&["load", "1.wasm", "--sha256", &digest(&teller(1, ""))]).done();
    let mut modify = eep();
    modify.args(["modify", "teller", "--url", "2.wasm", "--sha256", &digest(&teller(2, ""))]);
    modify.args(["--health-window-ms", "600000", "--data"]).arg(node.data()).current_dir(node.dir.path());
    let modifying = modify.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let outcome = || node.json(&["status", "teller"])["last_swap"]["outcome"].clone();
    assert!((0..10_000).any(|_| outcome() == "on-probation"));
    let key = std::fs::read_to_string(node.dir.path().join("b.pub")).unwrap();
    std::fs::write(node.dir.path().join("b.pub"), key + "revoked: the laptop was stolen\n").unwrap();
    let ended: Ended = modifying.wait_with_output().unwrap().into();
    let words = ended.refused();
    assert!(words.contains("trusted no longer") && words.contains("the laptop was stolen"), "{words}");
    assert_eq!(outcome(), "rolled-back");
    let status = node.json(&["status", "teller"]);
    assert_eq!((&status["state"], &status["digest"]), (&"running".into(), &digest(&teller(1, "")).into()));
}

#[test]
fn keys_and_passwords_are_kept_to_themselves() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("probe.wasm"), probe()).unwrap();
    let with = |password: &str, args: &[&str]| -> Ended {
        let mut command = eep();
        command.args(args).current_dir(dir.path()).env("EEP_KEY_PASSWORD", password);
        command.output().unwrap().into()
    };
    let said = with("open sesame", &["proxylet", "keygen", "--out", "locked"]).done();
    let secret = std::fs::read_to_string(dir.path().join("locked.key")).unwrap();
    let mode = std::fs::metadata(dir.path().join("locked.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!said.contains(secret.lines().nth(1).unwrap()) && !said.contains("sesame"));
    let sign = ["proxylet", "sign", "probe.wasm", "--key", "locked.key"];
    let told = with("close sesame", &sign).refused();
    assert!(told.contains("the password does not open the key") && !told.contains("sesame"), "{told}");
    with("open sesame", &sign).done();
    run(dir.path(), &["proxylet", "verify", "probe.wasm", "--key", "locked.pub"]).done();
}

#[test]
fn what_cannot_be_signed_or_verified_says_why() {
    let dir = directory();
    let at = dir.path();
    let names = [ids(at), vec![(at.to_str().unwrap().to_owned(), "DIR".to_owned())]].concat();
    std::fs::write(at.join("text.wasm"), "no proxylet").unwrap();
    std::fs::write(at.join("broken.wasm"), probe()).unwrap();
    std::fs::write(at.join("broken.wasm.minisig"), "<!doctype html>").unwrap();
    std::fs::write(at.join("plain.yaml"), "node: {name: edge}\n").unwrap();
    let cases: &[(&str, &[&str])] = &[
        ("keygen over a key", &["keygen", "--no-password", "--out", "a"]),
        ("keygen nowhere", &["keygen", "--no-password", "--out", "none/a"]),
        ("sign what is no proxylet", &["sign", "text.wasm", "--key", "a.key"]),
        ("sign with a public key", &["sign", "probe.wasm", "--key", "a.pub"]),
        ("sign with what is no key", &["sign", "probe.wasm", "--key", "plain.yaml"]),
        ("sign without the key", &["sign", "probe.wasm", "--key", "none.key"]),
        ("sign beside what are no signatures", &["sign", "broken.wasm", "--key", "a.key"]),
        ("verify what is not signed", &["verify", "probe.wasm", "--key", "a.pub"]),
        ("verify without the key", &["verify", "probe.wasm", "--key", "none.pub"]),
        ("verify with a secret key", &["verify", "probe.wasm", "--key", "a.key"]),
        ("verify with a node file that trusts nobody", &["verify", "probe.wasm", "--config", "plain.yaml"]),
        ("verify what are no signatures", &["verify", "broken.wasm", "--key", "a.pub"]),
    ];
    let mut told = String::new();
    for (title, args) in cases {
        let mut words = run(at, &[&["proxylet"], *args].concat()).refused();
        names.iter().for_each(|(what, name)| words = words.replace(what, name));
        writeln!(told, "### {title}: eep proxylet {}\n{words}", args.join(" ")).unwrap();
    }
    compare("sign.txt", &told);
}

#[test]
fn inspecting_shows_what_is_imported_granted_and_signed() {
    let dir = directory();
    sign(dir.path(), "a.key");
    let names = ids(dir.path());
    let inspect =
        |more: &[&str]| run(dir.path(), &[&["proxylet", "inspect", "probe.wasm"], more].concat()).done();
    let mut told =
        format!("### as it asks\n{}\n### one grant\n{}", inspect(&[]), inspect(&["--grant", "net.connect"]));
    names.iter().for_each(|(what, name)| told = told.replace(what, name));
    told = told.replace(&digest(&probe()), "SHA256").replace(&probe().len().to_string(), "SIZE");
    compare("inspect.txt", &told);
    let said: serde_json::Value = serde_json::from_str(&inspect(&["--json"])).unwrap();
    assert_eq!(
        (&said["sha256"], &said["signers"][0]),
        (&digest(&probe()).into(), &names[0].0.clone().into())
    );
    assert!(said["refused"].is_null());

    std::fs::write(dir.path().join("probe.wasm"), of_other_shape()).unwrap();
    let told = inspect(&[]);
    assert!(told.contains("loads here no: the proxylet was built against another form of"), "{told}");
}
