//! What is wrong in a policy, where, and what to write instead.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::source::{Sources, Span};

/// Columns of a rendered message.
const WIDTH: usize = 110;

/// What is written as `%XX` in the path of a URI (RFC 3986, sections 2.3 and 3.3).
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Most findings that are kept of one check.
pub const FINDINGS_MAX: usize = 100;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The policy is not taken.
    Error,
    /// The policy is taken; its author should look.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// A stable name for this kind of finding, such as `undefined-set`.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What to do about it.
    pub fix: String,
    /// Other places that belong to it, with a word on each.
    pub related: Vec<(Span, String)>,
}

impl Diagnostic {
    /// An error.
    #[must_use]
    pub fn error(code: &'static str, span: Span, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            span,
            fix: fix.into(),
            related: Vec::new(),
        }
    }

    /// A warning.
    #[must_use]
    pub fn warning(
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message, fix) }
    }

    /// Points at another place as well.
    #[must_use]
    pub fn with(mut self, span: Span, word: impl Into<String>) -> Self {
        self.related.push((span, word.into()));
        self
    }
}

/// The findings while a policy is read.
#[derive(Debug, Default)]
pub struct Findings {
    list: Vec<Diagnostic>,
    errors: usize,
}

impl Findings {
    /// Adds a finding; those beyond [`FINDINGS_MAX`] are only counted.
    pub fn push(&mut self, finding: Diagnostic) {
        self.errors += usize::from(finding.severity == Severity::Error);
        if self.list.len() < FINDINGS_MAX {
            self.list.push(finding);
        }
    }

    /// How many errors there are.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.errors
    }
}

/// All findings of one check, with the texts that they are about.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The texts.
    pub sources: Sources,
    /// The findings, in the order of their places.
    pub findings: Vec<Diagnostic>,
    /// How many errors there are, those not kept included.
    pub errors: usize,
}

impl Report {
    /// Puts findings in the order of their places; warnings wait until there is no error.
    #[must_use]
    pub fn new(sources: Sources, findings: Findings) -> Self {
        let mut list = findings.list;
        if findings.errors > 0 {
            // Errors come first: what is unused may only be misspelt elsewhere.
            list.retain(|f| f.severity == Severity::Error);
        }
        list.sort_by_key(|f| f.span);
        Self { sources, findings: list, errors: findings.errors }
    }

    /// Whether nothing stands in the way of using the policy.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.errors == 0
    }

    /// Every finding with its place, its line, a caret and the fix.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.term_width(WIDTH);
        let mut out = String::new();
        for finding in &self.findings {
            let level = match finding.severity {
                Severity::Error => Level::ERROR,
                Severity::Warning => Level::WARNING,
            };
            let title = level.primary_title(&*finding.message).id(finding.code);
            let mut group = Group::with_title(title);
            let mut files = vec![finding.span.file];
            files.extend(finding.related.iter().map(|(span, _)| span.file));
            files.dedup();
            for file in files {
                group = self.snippet(group, finding, file);
            }
            let fix = group.element(Level::HELP.message(&*finding.fix));
            out += &renderer.render(&[fix]);
            out += "\n\n";
        }
        if self.errors > self.findings.len() {
            out += &format!("and {} more errors\n", self.errors - self.findings.len());
        }
        out
    }

    /// Adds what a finding says about one file.
    fn snippet<'a>(&'a self, group: Group<'a>, finding: &'a Diagnostic, file: u32) -> Group<'a> {
        let Some(source) = self.sources.get(file) else { return group };
        if source.text.is_empty() {
            return group.element(Origin::path(&*source.name));
        }
        let place = |span: Span| {
            let start = (span.start as usize).min(source.text.len() - 1);
            let end = (span.end as usize).clamp(start, source.text.len());
            // A caret points, it does not embrace: what lies after the first line is left out.
            let inside = source.text.get(start..end).unwrap_or("");
            let first = inside.find('\n').unwrap_or(inside.len());
            start..(start + first).max(start + 1)
        };
        let mut snippet = Snippet::source(&*source.text).path(&*source.name).line_start(source.first_line);
        if finding.span.file == file {
            snippet = snippet.annotation(AnnotationKind::Primary.span(place(finding.span)));
        }
        for (span, word) in finding.related.iter().filter(|(span, _)| span.file == file) {
            snippet = snippet.annotation(AnnotationKind::Context.span(place(*span)).label(&**word));
        }
        group.element(snippet)
    }

    /// The findings as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let place = |span: Span| {
            let (line, column) = self.sources.line_column(span);
            let file = self.sources.get(span.file).map_or("", |f| &f.name);
            json!({"file": file, "line": line, "column": column})
        };
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|f| {
                let related: Vec<Value> = f
                    .related
                    .iter()
                    .map(|(span, word)| json!({"place": place(*span), "message": word}))
                    .collect();
                json!({"code": f.code, "severity": f.severity.to_string(), "message": f.message,
                    "place": place(f.span), "fix": f.fix, "related": related})
            })
            .collect();
        json!({"ok": self.is_ok(), "errors": self.errors, "findings": findings})
    }

    /// The findings as the `results` of a SARIF 2.1.0 run.
    #[must_use]
    pub fn sarif_results(&self) -> Vec<Value> {
        let location = |span: Span, word: Option<&str>| {
            let (line, column) = self.sources.line_column(span);
            let (end_line, end_column) =
                self.sources.line_column(Span { start: span.end.max(span.start + 1), ..span });
            let file = self.sources.get(span.file).map_or("", |f| &f.name);
            let mut out = json!({"physicalLocation": {
                "artifactLocation": {"uri": utf8_percent_encode(file, &ENCODED).to_string()},
                "region": {"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column}}});
            if let Some(word) = word {
                out["message"] = json!({"text": word});
            }
            out
        };
        self.findings
            .iter()
            .map(|f| {
                let related: Vec<Value> =
                    f.related.iter().map(|(span, word)| location(*span, Some(word))).collect();
                json!({"ruleId": f.code, "level": f.severity.to_string(),
                    "message": {"text": format!("{}\n{}", f.message, f.fix)},
                    "locations": [location(f.span, None)], "relatedLocations": related})
            })
            .collect()
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}
