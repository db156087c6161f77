//! The stock policies, and those of the guide for authors: each loads without a warning, its tests pass and reach every
//! rule and default, it is formatted, and editors accept it.

#![allow(clippy::unwrap_used)]

mod folder;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use folder::Folder;
use policies::Policy;
use policies::proof::tests::{run, subject};
use policies::text::files::Files;

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Loads a policy that nothing can be said against.
fn load(files: &dyn Files, name: &str) -> Policy {
    match Policy::load(files, name, 1) {
        Ok(loaded) => {
            assert!(loaded.report.findings.is_empty(), "{name}:\n{}", loaded.report);
            loaded.policy
        }
        Err(report) => panic!("{name}:\n{report}"),
    }
}

/// Runs a file of tests; they pass and leave no rule out.
fn test(policy: &Policy, files: &dyn Files, name: &str) {
    let tested = run(policy, files, name).unwrap_or_else(|report| panic!("{name}:\n{report}"));
    for result in &tested.results {
        assert!(result.wrong.is_empty(), "{}: {:?}\n{}", result.place, result.wrong, result.explanation);
    }
    assert!(tested.missed.is_empty(), "{name} reaches none of {:?}", tested.missed);
}

#[test]
fn stock_policies_are_fully_tested() {
    let folder = root("library");
    let mut names: Vec<String> =
        std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|n| n.ends_with(".yaml"));
    names.sort();
    let stock = ["customers-only", "honeypot-watch", "open-ultrapeer", "school-network", "transit-saver"];
    let wanted: Vec<String> =
        stock.iter().flat_map(|n| [format!("{n}.test.yaml"), format!("{n}.yaml")]).collect();
    assert_eq!(names, wanted);
    let files = Folder(folder.clone());
    for name in &names {
        if name.ends_with(".test.yaml") {
            let of = subject(&files, name).unwrap();
            test(&load(&files, &of), &files, name);
        } else {
            assert_eq!(load(&files, name).name(), name.trim_end_matches(".yaml"));
        }
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(
            policies::format::format(name, &text).unwrap(),
            text,
            "{name}: `eep policy fmt` changes it"
        );
    }
}

/// The ```yaml blocks of a document, with the number of their first line.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut inside = false;
    for (i, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```yaml";
            if inside {
                out.push((i + 2, String::new()));
            }
        } else if let Some((_, block)) = out.last_mut().filter(|_| inside) {
            *block += line;
            block.push('\n');
        }
    }
    out
}

/// Each snippet of the guide is a whole policy, or the tests of the one before it.
#[test]
fn the_guides_snippets_are_policies_and_their_tests() {
    let text = std::fs::read_to_string(root("../docs/policy-authors.md")).unwrap();
    let blocks = blocks(&text);
    assert!(blocks.len() >= 10, "the guide has {} snippets", blocks.len());
    let lists = BTreeMap::from([
        ("lists/abusers.cidr".to_owned(), "192.0.2.0/24\n".to_owned()),
        (
            "sets/customers.yaml".to_owned(),
            "policy: eep/v1\nsets:\n  customers: {cidr: [10.0.0.0/8]}\n".to_owned(),
        ),
    ]);
    let mut last = None;
    for (line, block) in blocks {
        let name = format!("policy-authors.md:{line}");
        let mut files = lists.clone();
        files.insert(name.clone(), block.clone());
        if block.starts_with("policy-test:") {
            let policy: &Policy = last.as_ref().expect("tests stand below their policy");
            test(policy, &files, &name);
        } else {
            last = Some(load(&files, &name));
        }
        assert_eq!(
            policies::format::format(&name, &block).unwrap(),
            block,
            "{name}: `eep policy fmt` changes it"
        );
    }
}
