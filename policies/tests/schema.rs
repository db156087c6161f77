//! The JSON Schemas for editors take what the language takes, and refuse what has not its form.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use policies::grammar::schema;
use serde_json::Value;

fn files(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .map(|p| (p.to_str().unwrap().to_owned(), std::fs::read_to_string(&p).unwrap()))
        .collect();
    files.sort();
    files
}

fn json(name: &str, text: &str) -> Value {
    serde_yaml::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn what_the_language_takes_editors_take() {
    let policy = jsonschema::validator_for(&schema::policy()).unwrap();
    let tests = jsonschema::validator_for(&schema::tests()).unwrap();
    let all = files("library");
    assert!(all.len() >= 10);
    for (name, text) in all {
        let of = if name.ends_with(".test.yaml") { &tests } else { &policy };
        let value = json(&name, &text);
        let wrong: Vec<String> =
            of.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
    }
}

#[test]
fn what_has_not_the_form_editors_refuse() {
    let policy = jsonschema::validator_for(&schema::policy()).unwrap();
    let mut refused = 0;
    for (name, text) in files("tests/broken") {
        let told = std::fs::read_to_string(name.replace(".yaml", ".err")).unwrap();
        let code = told.split(['[', ']']).nth(1).unwrap_or_default();
        // What YAML itself refuses, and what only the whole of a policy shows, a schema cannot know.
        if !matches!(code, "unknown-key" | "missing-key" | "kind") || told.contains("included/") {
            continue;
        }
        // That classes need a default once there are rules is beyond a schema as well.
        if name.ends_with("no-default-traffic.yaml") {
            continue;
        }
        assert!(!policy.is_valid(&json(&name, &text)), "{name} is taken by the schema");
        refused += 1;
    }
    assert!(refused >= 10, "{refused}");
}
