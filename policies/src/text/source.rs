//! Texts, and places in them.

use std::sync::Arc;

/// Most bytes of one YAML file.
pub const YAML_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A stretch of one text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// Number of the text in its [`Sources`].
    pub file: u32,
    /// First byte.
    pub start: u32,
    /// The byte after the last one.
    pub end: u32,
}

impl Span {
    /// A stretch of one text.
    #[must_use]
    pub fn new(file: u32, start: usize, end: usize) -> Self {
        let cut = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { file, start: cut(start), end: cut(end.max(start)) }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// One text.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name, as the reader knows it.
    pub name: String,
    /// What it says.
    pub text: Arc<str>,
    /// The number of its first line: 1, unless it is one line of many.
    pub first_line: usize,
    /// The first byte of each line.
    starts: Vec<usize>,
}

/// The texts of one policy: the file itself, what it includes, its lists.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
}

impl Sources {
    /// Keeps a text; answers its number.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> u32 {
        self.add_line(name, text, 1)
    }

    /// Keeps one line of many, with its number; answers the text's number.
    pub fn add_line(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>, line: usize) -> u32 {
        let text = text.into();
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        self.files.push(Source { name: name.into(), text, first_line: line, starts });
        u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX)
    }

    /// The text with a number.
    #[must_use]
    pub fn get(&self, file: u32) -> Option<&Source> {
        self.files.get(file as usize)
    }

    /// The number of a text that was added under a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<u32> {
        let at = self.files.iter().position(|f| f.name == name)?;
        u32::try_from(at).ok()
    }

    /// What stands at a place.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        let text = self.get(span.file).map_or("", |f| &f.text);
        text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// Line and column of a place's first character, counted from 1, in characters.
    #[must_use]
    pub fn line_column(&self, span: Span) -> (usize, usize) {
        let Some(file) = self.get(span.file) else { return (1, 1) };
        let at = (span.start as usize).min(file.text.len());
        let line = file.starts.partition_point(|start| *start <= at).max(1) - 1;
        let before = file.text.get(file.starts[line]..at).unwrap_or("");
        (line + file.first_line, before.chars().count() + 1)
    }

    /// `FILE:LINE:COLUMN`.
    #[must_use]
    pub fn place(&self, span: Span) -> String {
        let (line, column) = self.line_column(span);
        let name = self.get(span.file).map_or("", |f| &f.name);
        format!("{name}:{line}:{column}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters() {
        let mut sources = Sources::default();
        let file = sources.add("a.yaml", "é: 1\nü: zwei\n");
        assert_eq!(sources.place(Span::new(file, 10, 14)), "a.yaml:2:4");
        assert_eq!(sources.slice(Span::new(file, 10, 14)), "zwei");
        assert_eq!(sources.place(Span::new(file, 9_999, 9_999)), "a.yaml:3:1");
        assert_eq!((sources.find("a.yaml"), sources.find("b.yaml")), (Some(0), None));
    }
}
