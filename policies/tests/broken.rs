//! What an author reads when a policy is wrong: one golden file for each mistake.
//!
//! `EEP_BLESS=1 cargo test -p policies --test broken` writes the golden files anew; read the difference.

#![allow(clippy::unwrap_used)]

mod folder;

use std::path::Path;

use folder::Folder;
use policies::Policy;

/// Fewer broken policies than this, and some have gone missing.
const CASES_MIN: usize = 60;

#[test]
fn every_mistake_has_its_words() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let mut names: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.ends_with(".yaml"))
        .collect();
    names.sort();
    assert!(names.len() >= CASES_MIN, "the broken policies are gone: {}", names.len());
    let mut wrong = Vec::new();
    for name in &names {
        let report = match Policy::load(&Folder(directory.clone()), name, 1) {
            Ok(_) => panic!("{name} is taken"),
            Err(report) => report,
        };
        assert!(report.errors > 0, "{name}");
        for finding in &report.findings {
            assert!(!finding.fix.is_empty(), "{name}: no fix for: {}", finding.message);
            let (line, column) = report.sources.line_column(finding.span);
            assert!(line > 0 && column > 0, "{name}");
        }
        let told = report.render(false);
        for finding in &report.findings {
            let source = report.sources.get(finding.span.file).unwrap();
            // A file with nothing in it has no place to point at.
            let place = report.sources.place(finding.span);
            let pointed =
                source.text.is_empty() || told.contains(&format!("--> {place}\n")) && told.contains('^');
            assert!(pointed, "{name}: no caret at {place}:\n{told}");
        }
        let golden = directory.join(name.replace(".yaml", ".err"));
        if std::env::var_os("EEP_BLESS").is_some() {
            std::fs::write(&golden, &told).unwrap();
        }
        if std::fs::read_to_string(&golden).unwrap_or_default() != told {
            wrong.push(format!("{}:\n{told}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "not as in the golden files:\n{}", wrong.join("\n"));
}
