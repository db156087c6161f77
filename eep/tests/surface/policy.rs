//! `eep policy`: what authors see of their rules.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::golden::compare;
use crate::node::{Ended, eep};

const POLICY: &str = include_str!("policies/isp-a.yaml");
const TESTS: &str = include_str!("policies/isp-a.test.yaml");

/// A folder with a policy, its lists and its tests.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(desk.path("lists")).unwrap();
        desk.write("isp-a.yaml", POLICY);
        desk.write("isp-a.test.yaml", TESTS);
        desk.write("lists/abusers.cidr", include_str!("policies/lists/abusers.cidr"));
        desk.write("lists/blocked.sha1", include_str!("policies/lists/blocked.sha1"));
        desk
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The policy with something else in the place of some words, under another name.
    fn changed(&self, name: &str, words: &str, instead: &str) {
        assert!(POLICY.contains(words), "{words}");
        self.write(name, &POLICY.replace(words, instead));
    }

    fn policy(&self, args: &[&str]) -> Ended {
        eep().arg("policy").args(args).current_dir(self.0.path()).output().unwrap().into()
    }

    fn json(&self, args: &[&str]) -> Value {
        let ended = self.policy(&[args, &["--json"]].concat());
        serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:?}"))
    }

    /// A command with its output, for the golden file.
    fn session(&self, told: &mut String, args: &[&str]) {
        let ended = self.policy(args);
        let args: Vec<String> =
            args.iter().map(|a| if a.contains(' ') { format!("'{a}'") } else { (*a).to_owned() }).collect();
        writeln!(told, "### eep policy {}\n{}{}", args.join(" "), ended.stdout, ended.stderr).unwrap();
        writeln!(told, "exit {}", ended.code.unwrap()).unwrap();
    }
}

#[test]
fn what_authors_read() {
    let desk = Desk::new();
    desk.changed("wrong.yaml", "{not-in: customers}", "{not-in: custmers}");
    desk.changed("warned.yaml", "sets:\n", "sets:\n  spare: {asn: [1]}\n");
    desk.changed("new.yaml", "10.0.0.0/8", "10.0.0.0/9");
    desk.write(
        "wrong.test.yaml",
        &TESTS
            .replace("policy-test: eep/v1", "policy-test: eep/v1\npolicy: isp-a.yaml")
            .replace("rule: no-abusers", "rule: no-abuser"),
    );
    let failing = TESTS.replace("rule: no-abusers, action: {deny: {reason: abuse}}", "rule: default");
    desk.write(
        "failing.test.yaml",
        failing.replace("eep/v1", "eep/v1\npolicy: isp-a.yaml").split("  - name: answers").next().unwrap(),
    );
    desk.write(
        "traffic.jsonl",
        "{\"id\": \"7\", \"chain\": \"routing\", \"event\": {\"message\": \"query\", \"peer\": {\"address\": \"10.200.0.1\"}}}\n\n\
         {\"id\": \"8\", \"event\": {\"message\": \"connect\", \"peer\": {\"address\": \"10.200.0.1\"}}}\n",
    );
    desk.write(
        "torn.jsonl",
        "{\"id\": \"9\", \"event\": {\"message\": \"quer\"}}\n{\"id\": \"10\", \"event\": {\"mess",
    );
    let mut told = String::new();
    for args in [
        &["check", "isp-a.yaml", "isp-a.test.yaml", "warned.yaml"][..],
        &["check", "warned.yaml", "--strict"],
        &["check", "wrong.yaml", "none.yaml", "wrong.test.yaml"],
        &["test", "isp-a.yaml", "--coverage"],
        &["test", "failing.test.yaml", "--coverage-min", "90"],
        &["explain", "isp-a.yaml", "{message: query, peer: {address: 198.51.100.3}}"],
        &[
            "explain",
            "isp-a.yaml",
            "{message: connect, peer: {address: 192.0.2.1}, facts: {now.hour: 20}}",
            "--chain",
            "access",
        ],
        &["explain", "isp-a.yaml", "{message: quer, facts: {now.hours: 1}}"],
        &["explain", "isp-a.yaml", "--recording", "traffic.jsonl", "--id", "7"],
        &["explain", "isp-a.yaml", "--recording", "traffic.jsonl", "--id", "70"],
        &["replay", "isp-a.yaml", "new.yaml", "traffic.jsonl"],
        &["replay", "isp-a.yaml", "new.yaml", "torn.jsonl"],
        &["diff", "isp-a.yaml", "new.yaml"],
        &["diff", "isp-a.yaml", "isp-a.yaml", "--exit-code"],
        &["diff", "isp-a.yaml", "wrong.yaml"],
        &["fmt", "isp-a.yaml", "--check"],
    ] {
        desk.session(&mut told, args);
    }
    compare("policy.txt", &told);
}

#[test]
fn check_tells_programs_what_it_tells_people() {
    let desk = Desk::new();
    desk.changed("wrong.yaml", "{not-in: customers}", "{not-in: custmers}");
    desk.write("sets.yaml", "policy: eep/v1\nsets:\n  own: {asn: [64496]}\n");
    let all = desk.json(&["check", "isp-a.yaml", "wrong.yaml", "sets.yaml"]);
    assert_eq!((&all[0]["ok"], &all[1]["ok"], &all[2]["ok"]), (&true.into(), &false.into(), &true.into()));
    assert_eq!(all[1]["findings"][0]["code"], "undefined-set");
    assert_eq!(all[1]["findings"][0]["place"]["line"], 22);
    assert_eq!(all[2]["holds"], "1 set for policies");
    let ended = desk.policy(&["check", "wrong.yaml", "--sarif"]);
    assert_eq!(ended.code, Some(1));
    let sarif: Value = serde_json::from_str(&ended.stdout).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((&sarif["version"], &result["ruleId"]), (&"2.1.0".into(), &"undefined-set".into()));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "wrong.yaml");
    assert_eq!((&place["region"]["startLine"], &place["region"]["startColumn"]), (&22.into(), &30.into()));
    assert_eq!(place["region"]["endColumn"], 38);
    assert_eq!(desk.policy(&["check"]).code, Some(2));
    assert_eq!(desk.policy(&["check", "isp-a.yaml", "--json", "--sarif"]).code, Some(2));
    // The one verb for every file checks policies, too.
    let general = |file: &str| -> Ended {
        eep().args(["check", file]).current_dir(desk.0.path()).output().unwrap().into()
    };
    assert_eq!(
        general("isp-a.yaml").done(),
        "ok isp-a.yaml: policy isp-a, 7 rules, 1 alarm\n  `cache` is checked, but nothing carries it out\n  \
         autonomous systems are known on nodes with a table of them: `addresses` in the node file\n  \
         regions are known on nodes that are in a mesh: `mesh` in the node file\n"
    );
    assert!(general("isp-a.test.yaml").done().contains("10 tests of isp-a.yaml"));
    let wrong = general("wrong.yaml");
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("did you mean `customers`?"), "{wrong:?}");
}

/// What a mapping has: all keys that it must have, and no others than it may have.
#[track_caller]
fn keys(of: &Value, must: &[&str], may: &[&str]) {
    let map = of.as_object().unwrap_or_else(|| panic!("no mapping: {of}"));
    for key in must {
        assert!(map.contains_key(*key), "{key} is missing in {of}");
    }
    for key in map.keys().map(String::as_str) {
        assert!(must.contains(&key) || may.contains(&key), "{key} in {of}");
    }
}

/// A place in a file (SARIF 2.1.0, sections 3.28 to 3.30).
fn is_sarif_location(location: &Value) {
    keys(location, &["physicalLocation"], &["message"]);
    if let Some(message) = location.get("message") {
        keys(message, &["text"], &[]);
    }
    let place = &location["physicalLocation"];
    keys(place, &["artifactLocation", "region"], &[]);
    keys(&place["artifactLocation"], &["uri"], &[]);
    let uri = place["artifactLocation"]["uri"].as_str().unwrap();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/%".contains(c);
    assert!(!uri.is_empty() && uri.chars().all(plain), "{uri}: no URI reference (RFC 3986)");
    let region = &place["region"];
    keys(region, &["startLine", "startColumn", "endLine", "endColumn"], &[]);
    let at = |key: &str| region[key].as_u64().unwrap_or_else(|| panic!("{key} in {region}"));
    assert!(at("startLine") >= 1 && at("startColumn") >= 1, "{region}");
    let (start, end) = ((at("startLine"), at("startColumn")), (at("endLine"), at("endColumn")));
    // The end is behind the last character; an empty file has none.
    assert!(start <= end, "{region}");
}

/// What SARIF 2.1.0 asks of a log, in the order of its sections: 3.13 the log, 3.14 runs, 3.18 tools, 3.27 results.
#[test]
fn sarif_is_what_its_standard_asks_for_whatever_is_wrong() {
    let broken = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/tests/broken");
    let names = |ending: &str| {
        let all = std::fs::read_dir(broken).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = all.filter(|name| name.ends_with(ending)).collect();
        names.sort();
        names
    };
    let spaced = tempfile::tempdir().unwrap();
    let odd = spaced.path().join("ein Stück: 1.yaml");
    std::fs::copy(format!("{broken}/undefined-set.yaml"), &odd).unwrap();
    let files = names(".yaml");
    let mut command = eep();
    command.args(["policy", "check", "--sarif"]).args(&files).arg(&odd).arg("absent.yaml");
    let ended: Ended = command.current_dir(broken).output().unwrap().into();
    assert_eq!(ended.code, Some(1));
    let log: Value = serde_json::from_str(&ended.stdout).unwrap();
    keys(&log, &["version", "runs"], &["$schema"]);
    assert_eq!(log["version"], "2.1.0");
    assert_eq!(log["runs"].as_array().map(Vec::len), Some(1));
    let run = &log["runs"][0];
    keys(run, &["tool", "results"], &["columnKind"]);
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    keys(&run["tool"], &["driver"], &[]);
    keys(&run["tool"]["driver"], &["name", "rules"], &["version"]);
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let mut ids: Vec<&str> = rules
        .iter()
        .map(|rule| {
            keys(rule, &["id"], &[]);
            rule["id"].as_str().unwrap()
        })
        .collect();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "each rule once: {ids:?}");
    let results = run["results"].as_array().unwrap();
    assert!(results.len() >= files.len() + 2, "{} of {}", results.len(), files.len());
    for result in results {
        keys(result, &["message", "ruleId", "level", "locations"], &["relatedLocations"]);
        keys(&result["message"], &["text"], &[]);
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        assert!(ids.contains(&result["ruleId"].as_str().unwrap()), "{result}");
        assert!(matches!(result["level"].as_str(), Some("error" | "warning")), "{result}");
        assert_eq!(result["locations"].as_array().map(Vec::len), Some(1));
        let related = result["relatedLocations"].as_array().into_iter().flatten();
        result["locations"].as_array().into_iter().flatten().chain(related).for_each(is_sarif_location);
    }
    let has = |uri: &str| {
        let of = |r: &Value| r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].clone();
        results.iter().any(|result| of(result) == uri)
    };
    assert!(ended.stdout.contains("ein%20St%C3%BCck%3A%201.yaml"));
    assert!(has("absent.yaml"), "a file that cannot be read is a result, too");
}

#[test]
fn tests_fail_with_their_explanation_and_cover_rules() {
    let desk = Desk::new();
    let all = desk.json(&["test"]);
    assert_eq!((&all["passed"], &all["failed"]), (&10.into(), &0.into()));
    assert_eq!(all["coverage"][0]["policy"], "isp-a.yaml");
    assert_eq!(all["coverage"][0]["missed"], serde_json::json!(["traffic/default"]));
    assert_eq!(desk.policy(&["test", "--coverage-min", "80"]).code, Some(0));
    let short = desk.policy(&["test", "--coverage-min", "100"]);
    assert_eq!(short.code, Some(1));
    assert!(short.stdout.contains("never  traffic/default"), "{short:?}");
    // Two files of one policy cover it together.
    let more = "policy-test: eep/v1\npolicy: isp-a.yaml\ntests:\n  - name: others have no class\n    \
                given: {message: download}\n    expect: {chain: traffic, rule: default}\n";
    desk.write("isp-a-more.test.yaml", more);
    assert_eq!(desk.policy(&["test", "--coverage-min", "100"]).code, Some(0));
    desk.write("isp-a-more.test.yaml", &more.replace("rule: default", "rule: \"budget:transit-month\""));
    let failed = desk.json(&["test"]);
    assert_eq!(failed["failed"], 1);
    let test = &failed["files"][0]["tests"][0];
    assert_eq!(test["wrong"][0], "expected rule budget:transit-month, got default");
    assert!(test["explanation"].as_str().unwrap().contains("the peer is not in `transit`"));
    let empty = tempfile::tempdir().unwrap();
    let none: Ended = eep().args(["policy", "test"]).current_dir(empty.path()).output().unwrap().into();
    assert!(none.refused().contains("there are no tests in ."));
    assert_eq!(desk.policy(&["test", "--coverage-min", "101"]).code, Some(2));
}

#[test]
fn events_are_explained_from_wherever_they_come() {
    let desk = Desk::new();
    let event = "{message: connect, peer: {address: 198.51.100.9}}";
    let told = desk.json(&["explain", "isp-a.yaml", event, "--chain", "access"]);
    assert_eq!(told[0]["decision"]["rule"], "no-abusers");
    assert_eq!(told[0]["steps"][0]["place"], "isp-a.yaml:14:11");
    assert_eq!(told[0]["values"]["peer.address"], "198.51.100.9");
    let mut child = eep()
        .args(["policy", "explain", "isp-a.yaml", "-", "--json"])
        .current_dir(desk.0.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(event.as_bytes()).unwrap();
    let piped: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(piped[0], told[0]);
    assert_eq!(piped.as_array().unwrap().len(), 4, "a chain each");
    assert_eq!(desk.policy(&["explain", "isp-a.yaml"]).code, Some(2));
    assert_eq!(desk.policy(&["explain", "isp-a.yaml", event, "--chain", "acess"]).code, Some(2));
}

#[test]
fn recordings_of_any_length_are_replayed() {
    let desk = Desk::new();
    desk.changed("new.yaml", "default: allow", "default: {deny: {reason: closed}}");
    let mut lines = String::new();
    for n in 0..2_000 {
        let peer = if n % 4 == 0 { "198.51.100.1" } else { "192.0.2.1" };
        writeln!(
            lines,
            "{{\"id\": \"{n}\", \"event\": {{\"message\": \"push\", \"peer\": {{\"address\": \"{peer}\"}}}}}}"
        )
        .unwrap();
    }
    desk.write("traffic.jsonl", &lines);
    let told = desk.json(&["replay", "isp-a.yaml", "new.yaml", "traffic.jsonl", "--show", "2"]);
    assert_eq!(
        (&told["events"], &told["changed"], &told["broken"]),
        (&2_000.into(), &1_500.into(), &0.into())
    );
    let group = &told["groups"][0];
    assert_eq!((&group["change"], &group["count"]), (&"access: allow -> deny".into(), &1_500.into()));
    assert_eq!((group["examples"].as_array().unwrap().len(), &group["examples"][0]["id"]), (2, &"1".into()));
    let same = ["replay", "isp-a.yaml", "isp-a.yaml", "traffic.jsonl", "--exit-code"];
    assert_eq!(desk.policy(&same).done(), "2000 events, 0 decided differently\n");
    let other = ["replay", "isp-a.yaml", "new.yaml", "traffic.jsonl", "--exit-code"];
    assert_eq!(desk.policy(&other).code, Some(1));
    desk.write("long.jsonl", &format!("{}\n", "x".repeat(2 << 20)));
    let told = desk.policy(&["replay", "isp-a.yaml", "new.yaml", "long.jsonl"]).refused();
    assert!(told.contains("longer than 1048576 bytes") && told.contains("long.jsonl:1"), "{told}");
}

#[test]
fn differences_are_shown_by_an_event_on_which_both_agree_to_differ() {
    let desk = Desk::new();
    desk.changed("new.yaml", "reason: abuse", "reason: abuser");
    let found = desk.json(&["diff", "isp-a.yaml", "new.yaml"]);
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found[0]["before"], serde_json::json!({"does": "deny (abuse)", "rule": "no-abusers"}));
    // The witness is one: each policy decides it as is said.
    let event = found[0]["event"].to_string();
    for (file, reason) in [("isp-a.yaml", "abuse"), ("new.yaml", "abuser")] {
        let told = desk.json(&["explain", file, &event, "--chain", "access"]);
        assert_eq!(told[0]["decision"]["action"]["deny"]["reason"], reason, "{told}");
    }
    assert_eq!(desk.policy(&["diff", "isp-a.yaml", "new.yaml", "--exit-code"]).code, Some(1));
}

#[test]
fn fmt_changes_the_look_and_nothing_else() {
    let desk = Desk::new();
    let before = desk.json(&["explain", "isp-a.yaml", "{message: query}"]);
    assert_eq!(desk.policy(&["fmt", "isp-a.yaml"]).done(), "changed isp-a.yaml\n");
    let once = std::fs::read_to_string(desk.path("isp-a.yaml")).unwrap();
    assert_eq!(desk.policy(&["fmt", "isp-a.yaml", "--check"]).done(), "", "twice is once");
    let after = desk.json(&["explain", "isp-a.yaml", "{message: query}"]);
    assert_eq!(before[0]["decision"], after[0]["decision"]);
    for comment in POLICY.lines().filter_map(|l| l.split_once('#')).map(|(_, words)| words) {
        assert!(once.contains(comment.trim()), "{comment} is gone");
    }
    // One that cannot be formatted keeps the others from being touched.
    desk.write("isp-a.yaml", POLICY);
    desk.write("torn.yaml", "policy: [eep/v1\n");
    assert!(desk.policy(&["fmt", "isp-a.yaml", "torn.yaml"]).refused().contains("torn.yaml:"));
    assert_eq!(std::fs::read_to_string(desk.path("isp-a.yaml")).unwrap(), POLICY);
    let mut left: Vec<_> =
        std::fs::read_dir(desk.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["isp-a.test.yaml", "isp-a.yaml", "lists", "torn.yaml"], "nothing is left beside");
}

#[test]
fn the_schemas_of_the_documents_are_those_of_the_language() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema");
    for (of, name) in [("policy", "policy-v1.json"), ("tests", "policy-test-v1.json")] {
        let ended: Ended = eep().args(["policy", "schema", of]).output().unwrap().into();
        let told = ended.done();
        let file = folder.join(name);
        if std::env::var_os("EEP_BLESS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, &told).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), told, "{name}");
    }
}

#[test]
fn shells_complete_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let ended: Ended = eep().args(["completions", shell]).output().unwrap().into();
        let script = ended.done();
        assert!(script.contains("policy") && script.contains("coverage-min"), "{shell}");
    }
    // What the shell itself makes of it.
    let script = "source <(\"$EEP\" completions bash); COMP_WORDS=(eep policy expl); COMP_CWORD=2; \
                  _eep eep expl policy; printf '%s ' \"${COMPREPLY[@]}\"";
    let out = std::process::Command::new("bash")
        .args(["-c", script])
        .env("EEP", env!("CARGO_BIN_EXE_eep"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "explain ", "{out:?}");
    let unknown: Ended = eep().args(["completions", "csh"]).output().unwrap().into();
    assert_eq!(unknown.code, Some(2));
}
