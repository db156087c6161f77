//! From texts to a policy that can decide, and the words where there is none: files, what is kept of them, reports.

use std::path::Path;
use std::sync::Arc;

use policies::Policy;
use policies::text::diagnostic::Report;
use policies::text::files::{Files, Unreadable};

use crate::policy::files::Folder;
use crate::policy::generation::{Generation, Refused};
use crate::policy::texts::{Recording, Texts};
use crate::problem::Problem;
use crate::state::State;

/// Reads and checks the policy of a file: the file's name in its folder, and the texts that it was read from.
pub(crate) fn read_file(file: &Path) -> Result<(String, Texts), Box<Problem>> {
    let (folder, main) = Folder::of(file).map_err(|e| unreadable(file, &e))?;
    let (_, _, texts) = read(&folder, &main, 1)?;
    Ok((main, texts))
}

/// Reads and checks a policy, and remembers what it was read from.
pub(super) fn read(
    files: &dyn Files,
    main: &str,
    number: u64,
) -> Result<(Policy, Report, Texts), Box<Problem>> {
    let recording = Recording::new(files);
    match Policy::load(&recording, main, number) {
        Ok(loaded) => Ok((loaded.policy, loaded.report, recording.into_texts())),
        Err(report) => Err(broken(&report)),
    }
}

pub(super) fn load_kept(state: &State, generation: &Generation) -> Result<Policy, Box<Problem>> {
    let texts = texts_of(state, generation)?;
    let main = generation.file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    read(&texts, main, generation.number).map(|(policy, ..)| policy)
}

pub(super) fn texts_of(state: &State, generation: &Generation) -> Result<Texts, Box<Problem>> {
    let mut texts = Texts::default();
    for path in generation.texts.keys() {
        texts.0.insert(path.clone(), kept_text(state, generation, path)?);
    }
    Ok(texts)
}

pub(super) fn kept_text(
    state: &State,
    generation: &Generation,
    path: &str,
) -> Result<Arc<str>, Box<Problem>> {
    let text = match generation.texts.get(path) {
        Some(digest) => state.policy_text(digest)?,
        None => None,
    };
    text.map(Into::into).ok_or_else(|| {
        Problem::new("policy-lost", 500, format!("the text of `{path}` is no longer kept"))
            .fix("apply the policy again: eep policy apply SERVICE FILE")
    })
}

pub(super) fn unreadable(file: &Path, error: &Unreadable) -> Box<Problem> {
    Problem::new("unreadable-policy", 422, &*error.what).at(file.display().to_string()).fix(&*error.fix)
}

/// A report as a problem: the first error in words, all of them with their lines.
fn broken(report: &Report) -> Box<Problem> {
    let Some(first) = report.findings.first() else {
        return Problem::new("bad-policy", 422, "the policy cannot be used");
    };
    let title = match report.errors {
        0 | 1 => first.message.clone(),
        n => format!("{} (and {} more errors)", first.message, n - 1),
    };
    let mut problem =
        Problem::new("bad-policy", 422, title).at(report.sources.place(first.span)).fix(&*first.fix);
    problem.report = Some(report.render(false));
    problem
}

pub(super) fn refused(service: &str, error: Refused) -> Box<Problem> {
    let fix = match error {
        Refused::NoTrial => format!("`eep policy history {service}` shows what is in force"),
        Refused::NoPolicy => format!("apply one: eep policy apply {service} FILE"),
        Refused::Unknown(_) | Refused::InForce(_) => {
            format!("name one of those that `eep policy history {service}` shows")
        }
        Refused::First => format!("to run without a policy: eep policy rollback {service} --to 0"),
    };
    Problem::new("no-such-generation", 409, error.to_string()).fix(fix)
}
