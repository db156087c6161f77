//! What is wrong in a file, where, and what to write instead.

use std::path::{Path, PathBuf};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, NamedSource, SourceSpan};
use serde_yaml::Error as Yaml;

/// Keys that later versions will know. They are refused by name, so that nobody believes them to be in force.
const NOT_YET: [(&str, &str); 1] = [("policies", "each service names its own policy: `policy: FILE`")];

/// Columns of a rendered message.
const WIDTH: usize = 110;

/// How many edits a misspelt word may be away from the one that is meant.
const EDITS_MAX: usize = 3;

/// A file that cannot be taken as it is. Nothing was changed.
#[derive(Debug, Diagnostic, thiserror::Error)]
#[error("{}{message}", whole_file(*at, file))]
pub struct FileError {
    /// What is wrong.
    pub message: String,
    /// The file.
    pub file: PathBuf,
    /// Line and column, counted from 1, in characters; none where the file as a whole is meant.
    pub at: Option<(u64, u64)>,
    #[help]
    /// What to do about it.
    pub fix: Option<String>,
    #[source_code]
    text: NamedSource<String>,
    #[label("here")]
    span: Option<SourceSpan>,
}

impl FileError {
    /// Something about the file as a whole.
    #[must_use]
    pub fn whole(file: &Path, message: impl Into<String>, fix: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            message: message.into(),
            file: file.to_owned(),
            at: None,
            fix: Some(fix.into()),
            text: NamedSource::new("", String::new()),
            span: None,
        })
    }

    /// Something at one place of the file. The words are `what\nfix`, or `what: fix` in one line.
    #[must_use]
    pub fn at(file: &Path, text: &str, location: serde_yaml::Location, words: &str) -> Box<Self> {
        let (message, fix) = match words.split_once('\n').or_else(|| words.rsplit_once(": ")) {
            Some((message, fix)) => (message.to_owned(), Some(fix.to_owned())),
            None => (words.to_owned(), None),
        };
        Box::new(Self {
            message,
            file: file.to_owned(),
            at: Some((location.line(), location.column())),
            fix,
            text: NamedSource::new(file.display().to_string(), text.to_owned()).with_language("yaml"),
            span: Some(span(text, location)),
        })
    }

    /// What the YAML reader says, in our words and with a fix.
    #[must_use]
    pub fn from_yaml(file: &Path, text: &str, error: &Yaml) -> Box<Self> {
        let error = error.without_snippet();
        let words = words(error);
        match error.location() {
            Some(location) if location.line() > 0 => Self::at(file, text, location, &words),
            _ => {
                let (message, fix) = words.split_once('\n').unwrap_or((&words, "correct the file"));
                Self::whole(file, message, fix)
            }
        }
    }

    /// The message with the lines around its place, a caret and the fix.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let mut out = String::new();
        let handler = GraphicalReportHandler::new_themed(theme).with_width(WIDTH).with_context_lines(1);
        match handler.render_report(&mut out, self) {
            Ok(()) => out,
            Err(_) => format!("{self}\n"),
        }
    }

    /// `FILE:LINE:COLUMN`, or `FILE`.
    #[must_use]
    pub fn place(&self) -> String {
        match self.at {
            Some((line, column)) => format!("{}:{line}:{column}", self.file.display()),
            None => self.file.display().to_string(),
        }
    }
}

/// The file's name, for a message that has no line to show.
fn whole_file(at: Option<(u64, u64)>, file: &Path) -> String {
    if at.is_none() { format!("{}: ", file.display()) } else { String::new() }
}

/// The bytes to underline: what the reader names, else the one character at its line and column.
fn span(text: &str, location: serde_yaml::Location) -> SourceSpan {
    let named = location.span();
    if let (Some(offset), Some(len)) = (named.byte_offset(), named.byte_len()) {
        return SourceSpan::from((offset as usize, (len as usize).max(1)));
    }
    let line = usize::try_from(location.line().saturating_sub(1)).unwrap_or(usize::MAX);
    let column = usize::try_from(location.column().saturating_sub(1)).unwrap_or(usize::MAX);
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let within: usize = text[start..].chars().take(column).map(char::len_utf8).sum();
    SourceSpan::from(((start + within).min(text.len().saturating_sub(1)), 1))
}

/// What is wrong and, after a line break, what to do about it.
fn words(error: &Yaml) -> String {
    match error {
        Yaml::Message { msg, .. } => msg.clone(),
        Yaml::SerdeUnknownField { field, expected, .. } => unknown_key(field, expected),
        Yaml::SerdeMissingField { field, .. } => {
            format!("the key `{field}` is missing\nadd `{field}: …` here")
        }
        Yaml::SerdeUnknownVariant { variant, expected, .. } => {
            format!("`{variant}` is none of the words that may stand here\n{}", choose(variant, expected))
        }
        Yaml::InvalidScalar { ty, .. } => format!("{} must stand here\ncorrect the value", kind(ty)),
        Yaml::Unexpected { expected, .. } => {
            let (what, fix) = match *expected {
                "sequence start" => ("a list", "write it as `[a, b]`, or one item a line after `- `"),
                "mapping start" => ("a mapping", "write it as `key: value` lines, or as `{key: value}`"),
                "string scalar" | "scalar" => ("a single value", "write one value, without `-` or `key:`"),
                other => (other, "correct the value"),
            };
            format!("{what} must stand here\n{fix}")
        }
        Yaml::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("");
            format!("the key `{key}` stands here a second time\nremove one of the two")
        }
        Yaml::NullIntoString { .. } => "a text must stand here\nadd the value after the colon".to_owned(),
        Yaml::MultipleDocuments { .. } => {
            "a second YAML document begins here\nremove the `---` and what follows".to_owned()
        }
        Yaml::UnknownAnchor { .. } => {
            "this alias names no anchor\ndefine it before with `&NAME`, or write the value out".to_owned()
        }
        Yaml::Eof { .. } => "the file ends too early\nadd what is missing".to_owned(),
        other => {
            let text = other.to_string();
            let text = text.split(" at line ").next().unwrap_or_default();
            format!(
                "this is not the YAML that is expected here: {text}\ncorrect indentation, brackets and quotes"
            )
        }
    }
}

/// A key that is not known here.
fn unknown_key(field: &str, expected: &[&'static str]) -> String {
    if let Some((_, why)) = NOT_YET.iter().find(|(key, _)| *key == field) {
        return format!("`{field}` is not supported in this version\n{why}; remove the key");
    }
    format!("the key `{field}` is not known here\n{}", choose(field, expected))
}

/// The word that is probably meant, and all that there are.
fn choose(word: &str, expected: &[&'static str]) -> String {
    let all = expected.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ");
    match closest(word, expected.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`? Possible here: {all}"),
        None => format!("possible here: {all}"),
    }
}

/// The known word that is closest to a misspelt one, where one is close.
#[must_use]
pub fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    known
        .map(|k| (strsim::damerau_levenshtein(&lower, k), k))
        .filter(|(edits, k)| *edits <= EDITS_MAX.min(k.len() / 2))
        .min()
        .map(|(_, k)| k)
}

/// A Rust type in a reader's words.
fn kind(ty: &str) -> &str {
    match ty {
        "bool" => "`true` or `false`",
        "f64" | "f32" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative,",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        other => other,
    }
}
