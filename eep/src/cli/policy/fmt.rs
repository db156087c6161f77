//! `eep policy fmt`

use std::io::Write as _;
use std::path::{Path, PathBuf};

use policies::format::format;
use policies::text::files::Files as _;
use serde_json::json;

use super::read::{given, unreadable};
use crate::cli::output::{Failure, Outcome, json, line, print};
use crate::policy::files::Folder;
use crate::problem::Problem;

/// Write policies and their tests in one way: keys in their order, two spaces a level, comments kept.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Lists and mappings stay in one line or in several, as you wrote them; one that is longer than a line is broken up.

Examples:
  eep policy fmt policies/*.yaml
  eep policy fmt policies/*.yaml --check           say what would change, and change nothing
  eep policy fmt - < isp-a.yaml                    to stdout

Exit status: 0 done, 1 refused, or --check was given and a file would change, 2 wrong usage.")]
pub(super) struct Args {
    /// The files; `-` formats stdin to stdout.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Change nothing; end with status 1 where a file would change.
    #[arg(long)]
    check: bool,
    /// Answer in JSON: one entry a file.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    // All are read before one is written: what is refused changes nothing.
    let mut all = Vec::new();
    for file in &args.files {
        let text = if file == Path::new("-") {
            given("-")?
        } else {
            let (folder, name) = Folder::of(file).map_err(unreadable)?;
            folder.read(&name).map_err(unreadable)?.to_string()
        };
        let name = file.display().to_string();
        let done = format(&name, &text).map_err(|report| Failure::found(file, report))?;
        all.push((file, done == text, done));
    }
    let mut entries = Vec::new();
    let mut changed = 0;
    for (file, same, done) in &all {
        changed += usize::from(!same);
        entries.push(json!({"file": file, "changed": !same}));
        if *file == Path::new("-") && !args.check && !args.json {
            print(done);
            continue;
        }
        if *same {
            continue;
        }
        if !args.check && *file != Path::new("-") {
            replace(file, done).map_err(|e| {
                Problem::new("bad-file", 500, format!("{} cannot be written: {e}", file.display()))
                    .fix("check the folder's permissions; the file is as it was")
            })?;
        }
        if !args.json {
            line(&format!("{} {}", if args.check { "would change" } else { "changed" }, file.display()));
        }
    }
    if args.json {
        json(&entries);
    }
    if args.check && changed > 0 {
        let title = format!("{changed} of {} files are not formatted", all.len());
        return Err(Problem::new("not-formatted", 409, title).fix("run it without --check").into());
    }
    Ok(())
}

/// Puts a new file in the place of an old one, so that nobody ever sees half of it.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    // A link stays a link: what it leads to is replaced.
    let file = file.canonicalize()?;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = file.with_file_name(name);
    let write = || {
        let mut new = std::fs::File::create_new(&beside)?;
        new.set_permissions(std::fs::metadata(&file)?.permissions())?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        std::fs::rename(&beside, &file)
    };
    write().inspect_err(|_| {
        // What was begun is of no use; the first error is the one to tell.
        let _ = std::fs::remove_file(&beside);
    })
}
