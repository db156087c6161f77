//! The entries of sets as they are written, inline and in files.

use super::Kind;
use crate::grammar::lexical::{self, Wrong};
use crate::text::diagnostic::{Diagnostic, Findings};
use crate::text::node::Node;
use crate::text::source::{Sources, Span};

/// Most entries of one set.
pub(crate) const ENTRIES_MAX: usize = 10_000_000;
/// Most broken lines of one file that are told.
const TOLD_MAX: usize = 10;

/// The entries of one set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entries {
    Address(Vec<(u128, u128)>),
    Asn(Vec<u32>),
    Group(Vec<String>),
    Agent(Vec<String>),
    Keyword(Vec<String>),
    Digest(Vec<[u8; 20]>),
}

impl Entries {
    pub(crate) fn none(kind: Kind) -> Self {
        match kind {
            Kind::Address => Self::Address(Vec::new()),
            Kind::Asn => Self::Asn(Vec::new()),
            Kind::Group => Self::Group(Vec::new()),
            Kind::Agent => Self::Agent(Vec::new()),
            Kind::Keyword => Self::Keyword(Vec::new()),
            Kind::Digest => Self::Digest(Vec::new()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Address(all) => all.len(),
            Self::Asn(all) => all.len(),
            Self::Group(all) | Self::Agent(all) | Self::Keyword(all) => all.len(),
            Self::Digest(all) => all.len(),
        }
    }

    /// Adds an entry that is written like this.
    fn add(&mut self, text: &str) -> Result<(), Wrong> {
        use lexical::Lexical;
        let checked = |form: Lexical| form.check(text).map(|()| text.to_owned());
        match self {
            Self::Address(all) => all.push(lexical::prefix(text)?),
            Self::Asn(all) => {
                let digits = text.strip_prefix("AS").or(text.strip_prefix("as")).unwrap_or(text);
                all.push(digits.parse().map_err(|_| {
                    (
                        format!("`{text}` is not the number of an autonomous system"),
                        "write it as `64500`".to_owned(),
                    )
                })?);
            }
            Self::Group(all) => all.push(checked(Lexical::Name)?),
            Self::Agent(all) => all.push(checked(Lexical::Agent)?),
            Self::Keyword(all) => all.push(checked(Lexical::Keyword)?),
            Self::Digest(all) => all.push(lexical::sha1(text)?),
        }
        Ok(())
    }

    /// From a list in a policy; its form has been checked.
    pub(crate) fn inline(kind: Kind, items: &[Node]) -> Self {
        let mut out = Self::none(kind);
        for item in items {
            // What is wrong has been said already.
            let _ = out.add(item.text());
        }
        out
    }

    /// From a file with one entry a line; `#` begins a comment at the start of a line or after a space.
    pub(crate) fn file(
        kind: Kind,
        name: &str,
        text: &str,
        sources: &mut Sources,
        out: &mut Findings,
    ) -> Self {
        let mut entries = Self::none(kind);
        let mut file = None;
        let mut told = 0;
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let entry = match line.find('#') {
                Some(0) => "",
                Some(at) if line[..at].ends_with([' ', '\t']) => &line[..at],
                _ => line,
            }
            .trim();
            let result = if entry.is_empty() {
                Ok(())
            } else if entries.len() == ENTRIES_MAX {
                Err((format!("there are more than {ENTRIES_MAX} entries"), "split the list".to_owned()))
            } else {
                entries.add(entry)
            };
            if let Err((what, fix)) = result {
                told += 1;
                if told > TOLD_MAX {
                    break;
                }
                let file = *file.get_or_insert_with(|| sources.add(name, text));
                let at = start + (line.len() - line.trim_start().len());
                out.push(Diagnostic::error("value", Span::new(file, at, at + entry.len()), what, fix));
            }
            start += line.len();
        }
        entries
    }
}
