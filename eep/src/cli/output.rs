//! What goes to the terminal: results to stdout, bad news and progress to stderr.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use policies::text::diagnostic::Report;
use serde::Serialize;

use crate::config::FileError;
use crate::problem::Problem;

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const WARN: Style = AnsiColor::Yellow.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default();

/// Writes text to stdout, without colours where it is no terminal. A reader that has gone (`eep list | head -1`) is
/// no error.
pub(super) fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes one line to stdout; whether somebody still reads.
pub(super) fn line(text: &str) -> bool {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

/// Writes one line to stderr.
pub(super) fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Whether stderr shows colours.
pub(super) fn colours() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// Writes what was found in files to stderr.
pub(super) fn tell(report: &Report) {
    let text = report.render(colours());
    if !text.trim().is_empty() {
        note(&format!("{}\n", text.trim_end()));
    }
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

/// A stranger's words without what would steer the terminal.
pub(super) fn printable(text: &str) -> String {
    let keep = |c: char| !c.is_control() || matches!(c, '\t' | '\n');
    text.chars().flat_map(|c| if keep(c) { vec![c] } else { c.escape_default().collect() }).collect()
}

/// Columns of text under a head line, as wide as they need to be.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    for (i, title) in head.iter().enumerate() {
        out += &paint(BOLD, title);
        out += &" ".repeat(widths[i] - title.len() + 2);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    for row in rows {
        let mut text = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            text += &format!("{cell:width$}  ");
        }
        out += text.trim_end();
        out.push('\n');
    }
    out
}

/// Why the command was not done.
#[derive(Debug)]
pub(super) struct Failure {
    problem: Box<Problem>,
    /// The same with the lines of the file around it.
    rendered: Option<String>,
    /// What was found in files, before it is said that they cannot be used.
    report: Option<Box<Report>>,
}

impl Failure {
    /// The exit status of a refusal.
    pub(super) const STATUS: u8 = 1;

    /// Whether it is a refusal of this code.
    pub(super) fn is(&self, code: &str) -> bool {
        self.problem.code == code
    }

    /// A file that cannot be used, and what was found in it.
    pub(super) fn found(file: &std::path::Path, report: Box<Report>) -> Self {
        let title = match report.errors {
            1 => format!("{} cannot be used: 1 error", file.display()),
            n => format!("{} cannot be used: {n} errors", file.display()),
        };
        let problem = Problem::new("bad-file", 400, title);
        Self { problem, rendered: None, report: Some(report) }
    }

    /// Says it on stderr.
    pub(super) fn tell(&self, json: bool) {
        if let Some(report) = self.report.as_ref().filter(|_| !json) {
            tell(report);
        }
        if json {
            let mut problem = serde_json::to_value(&self.problem).unwrap_or_default();
            if let Some(report) = &self.report {
                problem["findings"] = report.json()["findings"].take();
            }
            note(&serde_json::to_string_pretty(&problem).unwrap_or_default());
        } else if let Some(report) = &self.problem.report {
            note(printable(report).trim_end());
        } else if let Some(text) = &self.rendered {
            note(&format!("{} {}", paint(BAD.bold(), "error:"), text.trim_end()));
        } else {
            note(&format!("{} {}", paint(BAD.bold(), "error:"), printable(&self.problem.to_string())));
        }
    }
}

impl From<Box<Problem>> for Failure {
    fn from(problem: Box<Problem>) -> Self {
        Self { problem, rendered: None, report: None }
    }
}

impl From<Box<FileError>> for Failure {
    fn from(error: Box<FileError>) -> Self {
        if error.at.is_none() {
            return Self { problem: error.into(), rendered: None, report: None };
        }
        let rendered = format!("{}\n{}", error.place(), error.render(colours()));
        Self { problem: error.into(), rendered: Some(rendered), report: None }
    }
}

/// How a verb ends.
pub(super) type Outcome = Result<(), Failure>;
