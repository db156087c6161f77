//! YAML as a tree that knows its places and comments.

use std::collections::HashSet;

use granit_parser::{Event, Parser, Placement, ScalarStyle, StructureStyle};

use super::diagnostic::Diagnostic;
use super::source::{Span, YAML_BYTES_MAX};

/// How deep mappings and lists may lie in each other.
const NESTING_MAX: usize = 32;

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: may be a number, `true`, `false` or nothing.
    Plain,
    /// In quotes, or as a block: always text.
    Quoted,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One value.
    Scalar(String, Style),
    /// A list.
    List(Vec<Node>),
    /// A mapping; keys are scalars, none twice.
    Map(Vec<(Node, Node)>),
}

/// A part of a YAML text.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it stands.
    pub span: Span,
    /// What it holds.
    pub value: Value,
}

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Its first byte, the `#`.
    pub start: usize,
    /// What follows the `#`.
    pub text: String,
    /// Whether something else stands on its line, before it.
    pub trailing: bool,
}

/// A whole YAML text.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// The document.
    pub root: Node,
    /// Its comments, in their order.
    pub comments: Vec<Comment>,
}

impl Node {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(k, _)| k.text() == key).map(|(_, v)| v)
    }

    /// Keys and values of a mapping; none for anything else.
    #[must_use]
    pub fn entries(&self) -> &[(Self, Self)] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// The items of a list, or the one value that stands for a list of one.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        if let Value::List(items) = &self.value { items } else { std::slice::from_ref(self) }
    }

    /// The text of a scalar; empty for anything else.
    #[must_use]
    pub fn text(&self) -> &str {
        if let Value::Scalar(text, _) = &self.value { text } else { "" }
    }

    /// Whether nothing was written here.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(t, Style::Plain) if matches!(t.as_str(), "" | "~" | "null"))
    }
}

/// Reads a YAML text with one document.
///
/// # Errors
/// Where the text is no YAML, is too large or too deep, has several documents, or uses anchors, aliases or tags.
pub fn parse(text: &str, file: u32) -> Result<Tree, Box<Diagnostic>> {
    let refuse = |span, message: String, fix: &str| Box::new(Diagnostic::error("yaml", span, message, fix));
    if text.len() > YAML_BYTES_MAX {
        let message = format!("the file is larger than {YAML_BYTES_MAX} bytes");
        return Err(refuse(
            Span::new(file, 0, 0),
            message,
            "put long lists into files of their own: `{file: …}`",
        ));
    }
    let options = granit_parser::options! { flow_nesting_limit: NESTING_MAX, block_nesting_limit: NESTING_MAX,
    max_buffered_comment_events: 100_000 };
    let mut build = Builder::default();
    let mut comments = Vec::new();
    let mut documents = 0;
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, at) = next.map_err(|e| {
            let offset = e.marker().byte_offset().unwrap_or(text.len());
            refuse(
                Span::new(file, offset, offset + 1),
                format!("this is not the YAML that is expected here: {}", e.info()),
                "correct indentation, brackets and quotes",
            )
        })?;
        let range = at.byte_range().unwrap_or(0..0);
        let span = Span::new(file, range.start, range.end);
        match event {
            Event::Comment(words, placement) => comments.push(Comment {
                start: range.start,
                text: words.into_owned(),
                trailing: placement == Placement::Right,
            }),
            Event::DocumentStart(..) => {
                documents += 1;
                if documents > 1 {
                    let what = "a second YAML document begins here".to_owned();
                    return Err(refuse(span, what, "remove the `---` and what follows"));
                }
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) | Event::Anchor(..) => {
                let what = "anchors and aliases are not part of the language".to_owned();
                return Err(refuse(span, what, "write the value out, or name a set under `sets`"));
            }
            Event::Scalar(value, style, anchor, tag) => {
                Builder::plain_only(anchor, tag.is_some(), span)?;
                let style = if style == ScalarStyle::Plain { Style::Plain } else { Style::Quoted };
                build.put(Node { span, value: Value::Scalar(value.into_owned(), style) })?;
            }
            Event::SequenceStart(style, anchor, tag) => {
                Builder::plain_only(anchor, tag.is_some(), span)?;
                build.open(style, Value::List(Vec::new()), span);
            }
            Event::MappingStart(style, anchor, tag) => {
                Builder::plain_only(anchor, tag.is_some(), span)?;
                build.open(style, Value::Map(Vec::new()), span);
            }
            Event::SequenceEnd | Event::MappingEnd => build.close(span)?,
            // The stream's and the document's ends carry nothing.
            _ => {}
        }
    }
    let root = build.root.unwrap_or(Node {
        span: Span::new(file, 0, text.len()),
        value: Value::Scalar(String::new(), Style::Plain),
    });
    Ok(Tree { root, comments })
}

/// A mapping or list that is not closed yet.
struct Open {
    node: Node,
    flow: bool,
    key: Option<Node>,
    /// The keys of a mapping so far.
    known: HashSet<String>,
}

#[derive(Default)]
struct Builder {
    stack: Vec<Open>,
    root: Option<Node>,
}

impl Builder {
    fn plain_only(anchor: usize, tag: bool, span: Span) -> Result<(), Box<Diagnostic>> {
        if anchor != 0 || tag {
            let what = "anchors, aliases and tags are not part of the language";
            return Err(Box::new(Diagnostic::error("yaml", span, what, "remove the `&…`, `*…` or `!…`")));
        }
        Ok(())
    }

    fn open(&mut self, style: StructureStyle, value: Value, span: Span) {
        self.stack.push(Open {
            node: Node { span, value },
            flow: style == StructureStyle::Flow,
            key: None,
            known: HashSet::new(),
        });
    }

    fn close(&mut self, span: Span) -> Result<(), Box<Diagnostic>> {
        let Some(mut open) = self.stack.pop() else { return Ok(()) };
        if open.flow {
            open.node.span.end = span.end;
        } else {
            // A block ends where its last child ends; the reader itself notices the end only at the next token.
            let inner = match &open.node.value {
                Value::List(items) => items.first().zip(items.last()),
                Value::Map(entries) => entries.first().map(|e| &e.0).zip(entries.last().map(|e| &e.1)),
                Value::Scalar(..) => None,
            };
            if let Some((first, last)) = inner {
                if matches!(open.node.value, Value::Map(_)) {
                    open.node.span.start = first.span.start;
                }
                open.node.span.end = last.span.end.max(first.span.end);
            }
        }
        self.put(open.node)
    }

    fn put(&mut self, node: Node) -> Result<(), Box<Diagnostic>> {
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match open.key.take() {
                Some(key) => {
                    // Nothing after the colon: point at the key, not at whatever comes next.
                    let node = if node.is_null() && node.span.start == node.span.end {
                        Node { span: key.span, ..node }
                    } else {
                        node
                    };
                    entries.push((key, node));
                }
                None => {
                    let Value::Scalar(key, _) = &node.value else {
                        let what = "a key must be a single word";
                        return Err(Box::new(Diagnostic::error(
                            "yaml",
                            node.span,
                            what,
                            "write `key: value`",
                        )));
                    };
                    if !open.known.insert(key.clone())
                        && let Some((first, _)) = entries.iter().find(|(k, _)| k.text() == key)
                    {
                        let what = format!("the key `{key}` stands here a second time");
                        return Err(Box::new(
                            Diagnostic::error("duplicate-key", node.span, what, "remove one of the two")
                                .with(first.span, "the first"),
                        ));
                    }
                    open.key = Some(node);
                }
            },
            Value::Scalar(..) => {}
        }
        Ok(())
    }
}
