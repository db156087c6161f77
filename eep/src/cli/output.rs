//! What goes to the terminal: results to stdout, bad news and progress to stderr.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::config::FileError;
use crate::problem::Problem;

pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default();

/// Writes one line to stdout, without colours where it is no terminal; whether somebody still reads.
pub(super) fn line(text: &str) -> bool {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

/// Writes one line to stderr.
pub(super) fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Writes a value as JSON to stdout.
pub(super) fn json(value: &impl Serialize) {
    if let Ok(text) = serde_json::to_string_pretty(value) {
        line(&text);
    }
}

/// Text in a style.
pub(super) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Why the command was not done.
#[derive(Debug)]
pub(super) struct Failure {
    problem: Box<Problem>,
    /// The same with the lines of the file around it.
    rendered: Option<String>,
}

impl Failure {
    /// The exit status of a refusal.
    pub(super) const STATUS: u8 = 1;

    /// Says it on stderr.
    pub(super) fn tell(&self, json: bool) {
        if json {
            note(&serde_json::to_string_pretty(&self.problem).unwrap_or_default());
        } else if let Some(text) = &self.rendered {
            note(&format!("{} {}", paint(BAD.bold(), "error:"), text.trim_end()));
        } else {
            note(&format!("{} {}", paint(BAD.bold(), "error:"), self.problem));
        }
    }
}

impl From<Box<Problem>> for Failure {
    fn from(problem: Box<Problem>) -> Self {
        Self { problem, rendered: None }
    }
}

impl From<Box<FileError>> for Failure {
    fn from(error: Box<FileError>) -> Self {
        let colour = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        let rendered = format!("{}\n{}", error.place(), error.render(colour));
        Self { problem: error.into(), rendered: Some(rendered) }
    }
}

/// How a verb ends.
pub(super) type Outcome = Result<(), Failure>;
