//! A tree and its comments to lines that belong together.

use crate::grammar::shape::{Key, Shape};
use crate::text::node::{Comment, Node, Tree, Value};

use super::WIDTH;

/// Spaces of one level.
pub(super) const STEP: usize = 2;

/// A line that stands alone, or the first of an entry.
#[derive(Debug)]
pub(super) struct Above {
    /// Whether an empty line comes before it.
    pub(super) blank: bool,
    pub(super) text: String,
}

/// The entries of a mapping or list in several lines.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Comments at the top of the file, which stay there.
    pub(super) header: Vec<Above>,
    /// Whether an empty line comes after them.
    pub(super) gap: bool,
    pub(super) entries: Vec<Entry>,
    /// Comments after the last entry.
    pub(super) end: Vec<Above>,
}

/// A key with its value, or an item of a list.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) above: Vec<Above>,
    /// Whether an empty line comes before it, after the comments above.
    pub(super) blank: bool,
    /// None for an item of a list.
    pub(super) key: Option<String>,
    /// A comment on the same line.
    pub(super) beside: Option<String>,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Nothing,
    Inline(String),
    /// A block scalar: its header and its lines.
    Literal(String, Vec<String>),
    Block(Block),
}

/// The layout of a whole text, whose root is a mapping.
pub(super) fn layout(text: &str, tree: &Tree, shape: &Shape) -> Block {
    let mut comments: Vec<&Comment> = tree.comments.iter().collect();
    comments.sort_by_key(|c| c.start);
    let mut walk = Walk { text, comments, next: 0 };
    let mut root = walk.block(&tree.root, Some(shape), 0, text.len(), true);
    root.end.extend(walk.take(usize::MAX, 0));
    root
}

struct Walk<'t> {
    text: &'t str,
    /// In their order.
    comments: Vec<&'t Comment>,
    /// The first that has no place yet.
    next: usize,
}

impl Walk<'_> {
    /// The entries of a mapping or list. Comments before `limit` that are indented like it belong to its end.
    fn block(
        &mut self,
        node: &Node,
        shape: Option<&Shape>,
        indent: usize,
        limit: usize,
        root: bool,
    ) -> Block {
        let mut block = Block::default();
        let flow = is_flow(self.text, node);
        let column = self.column(node.span.start as usize);
        let limit = if flow { node.span.end as usize } else { limit };
        match &node.value {
            Value::Map(entries) => {
                for (i, (key, value)) in entries.iter().enumerate() {
                    let until = entries.get(i + 1).map_or(limit, |(next, _)| next.span.start as usize);
                    let of = shape.and_then(|s| of_key(s, key.text()));
                    block.entries.push(self.entry(Some(key), value, of, indent, until));
                }
                if root {
                    header(&mut block);
                }
                // What the first entry is kept apart from goes with the line above it, not with the entry.
                if let Some(first) = block.entries.first_mut() {
                    *first.above.first_mut().map_or(&mut first.blank, |above| &mut above.blank) = false;
                }
                if let Some(shape) = shape {
                    let place: Vec<usize> =
                        entries.iter().map(|(key, _)| place_of(shape, key.text())).collect();
                    let mut numbered: Vec<_> =
                        place.into_iter().zip(std::mem::take(&mut block.entries)).collect();
                    numbered.sort_by_key(|(place, _)| *place);
                    block.entries = numbered.into_iter().map(|(_, entry)| entry).collect();
                }
            }
            Value::List(items) => {
                let of = shape.and_then(of_item);
                for (i, item) in items.iter().enumerate() {
                    let until = items.get(i + 1).map_or(limit, |next| next.span.start as usize);
                    block.entries.push(self.entry(None, item, of, indent, until));
                }
            }
            Value::Scalar(..) => {}
        }
        block.end = self.take(limit, if flow { 0 } else { column });
        block
    }

    fn entry(
        &mut self,
        key: Option<&Node>,
        value: &Node,
        shape: Option<&Shape>,
        indent: usize,
        until: usize,
    ) -> Entry {
        let start = key.unwrap_or(value).span.start as usize;
        let mut above = self.take(start, 0);
        let blank = self.is_first_of_line(start) && self.is_after_blank(start);
        let mut beside = None;
        let mut keep = |comment: Option<String>, above: &mut Vec<Above>| match (comment, &beside) {
            (Some(text), Some(_)) => above.push(Above { blank: false, text }),
            (Some(text), None) => beside = Some(text),
            (None, _) => {}
        };
        let nothing = key.is_some_and(|k| value.is_null() && k.span == value.span);
        let shown = key.map(|k| self.slice(k).to_owned());
        let content = if nothing {
            keep(self.beside(start + shown.as_ref().map_or(0, String::len), until), &mut above);
            Content::Nothing
        } else if let Value::Scalar(text, _) = &value.value {
            let content = self.scalar(value, text);
            keep(self.beside(value.span.end as usize, until), &mut above);
            content
        } else {
            if let Some(key) = key {
                keep(self.beside(key.span.end as usize, value.span.start as usize), &mut above);
            }
            let before = indent + shown.as_ref().map_or(STEP, |k| k.chars().count() + STEP);
            let (flow, inner) = (is_flow(self.text, value), value.span.end as usize);
            let line = flow.then(|| self.flow(value, shape));
            let fits = |l: &String| before + l.chars().count() <= WIDTH && !self.has_comment(value);
            match line.filter(|l| fits(l) || matches!(l.as_str(), "{}" | "[]")) {
                Some(line) => {
                    keep(self.beside(inner, until), &mut above);
                    Content::Inline(line)
                }
                None => {
                    let mut block = self.block(value, shape, indent + STEP, until, false);
                    if flow {
                        keep(self.beside(inner, until), &mut above);
                    }
                    if key.is_none() {
                        // The first line of an item stands behind its dash.
                        above.extend(beside.take().map(|text| Above { blank: false, text }));
                        if let Some(first) = block.entries.first_mut() {
                            if let Some(hoisted) = first.above.first_mut() {
                                hoisted.blank = false;
                            }
                            above.append(&mut first.above);
                            first.blank = false;
                        }
                    }
                    if block.entries.is_empty() {
                        above.append(&mut block.end);
                        Content::Inline(
                            if matches!(value.value, Value::Map(_)) { "{}" } else { "[]" }.to_owned(),
                        )
                    } else {
                        Content::Block(block)
                    }
                }
            }
        };
        Entry { above, blank, key: shown, beside, content }
    }

    /// A value in one line, or a block scalar as it is written.
    fn scalar(&self, node: &Node, value: &str) -> Content {
        if let Some(header) = self.literal_header(node) {
            // What its first line says of indentation and of empty lines at its end is better said in quotes.
            if header.contains(|c: char| c.is_ascii_digit() || c == '+') || value.starts_with('\n') {
                return Content::Inline(quoted(value));
            }
            let indent = self.column(node.span.start as usize);
            let lines = self.slice(node).lines().enumerate();
            let lines = lines.map(|(i, l)| if i == 0 { l } else { l.get(indent..).unwrap_or("") });
            let lines = lines.map(|l| l.trim_end_matches('\r').to_owned()).collect();
            return Content::Literal(header.to_owned(), lines);
        }
        Content::Inline(self.word(node, value))
    }

    /// The `|` or `>` and what belongs to it, where a value is a block of lines.
    fn literal_header(&self, node: &Node) -> Option<&str> {
        let before = self.text.get(..node.span.start as usize)?.trim_end().lines().next_back()?;
        let before = before.split(" #").next()?;
        let header = before.split_whitespace().next_back()?;
        let rest = header.strip_prefix(['|', '>'])?;
        rest.chars().all(|c| matches!(c, '+' | '-' | '0'..='9')).then_some(header)
    }

    fn word(&self, node: &Node, value: &str) -> String {
        let raw = self.slice(node);
        if raw.contains('\n') { quoted(value) } else { raw.to_owned() }
    }

    /// A value in one line.
    fn flow(&self, node: &Node, shape: Option<&Shape>) -> String {
        match &node.value {
            Value::Scalar(text, _) => self.word(node, text),
            Value::List(items) => {
                let of = shape.and_then(of_item);
                let items: Vec<String> = items.iter().map(|item| self.flow(item, of)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Map(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                if let Some(shape) = shape {
                    entries.sort_by_key(|(key, _)| place_of(shape, key.text()));
                }
                let one = |(key, value): &(Node, Node)| {
                    let shown = self.slice(key);
                    if value.is_null() && key.span == value.span {
                        return format!("{shown}:");
                    }
                    format!("{shown}: {}", self.flow(value, shape.and_then(|s| of_key(s, key.text()))))
                };
                let entries: Vec<String> = entries.into_iter().map(one).collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }

    fn slice(&self, node: &Node) -> &str {
        self.text.get(node.span.start as usize..node.span.end as usize).unwrap_or("").trim_end()
    }

    /// Comments that begin before a place and are indented at least so far, up to the first that is not.
    fn take(&mut self, before: usize, column: usize) -> Vec<Above> {
        let mut out = Vec::new();
        while let Some(comment) = self.comments.get(self.next) {
            if comment.start >= before || self.column(comment.start) < column {
                break;
            }
            self.next += 1;
            let blank = self.is_first_of_line(comment.start) && self.is_after_blank(comment.start);
            out.push(Above { blank, text: shown(comment) });
        }
        out
    }

    /// The comment that stands behind a place, on its line.
    fn beside(&mut self, place: usize, until: usize) -> Option<String> {
        let comment = self.comments.get(self.next)?;
        let between = self.text.get(place..comment.start)?;
        if comment.start >= until.max(place) && until < self.text.len() || between.contains('\n') {
            return None;
        }
        self.next += 1;
        Some(shown(comment))
    }

    fn has_comment(&self, node: &Node) -> bool {
        let comment = self.comments.get(self.next);
        comment.is_some_and(|c| c.start < node.span.end as usize)
    }

    fn line_start(&self, place: usize) -> usize {
        self.text.get(..place).and_then(|t| t.rfind('\n')).map_or(0, |n| n + 1)
    }

    fn column(&self, place: usize) -> usize {
        place - self.line_start(place)
    }

    fn is_first_of_line(&self, place: usize) -> bool {
        let before = self.text.get(self.line_start(place)..place).unwrap_or("");
        before.chars().all(|c| c.is_whitespace() || c == '-')
    }

    fn is_after_blank(&self, place: usize) -> bool {
        let start = self.line_start(place);
        start > 0 && self.text[self.line_start(start - 1)..start - 1].trim().is_empty()
    }
}

/// Comments at the top of a file that speak of the whole of it: those before an empty line, and what editors read.
fn header(block: &mut Block) {
    let Some(first) = block.entries.first_mut() else { return };
    let blank_after = |i: usize| first.above.get(i + 1).map_or(first.blank, |next| next.blank);
    let whole = (0..first.above.len()).rev().find(|i| blank_after(*i));
    let read = first.above.iter().take_while(|a| a.text.contains("yaml-language-server")).count();
    let count = whole.map_or(0, |i| i + 1).max(read);
    block.header = first.above.drain(..count).collect();
    let next = first.above.first_mut().map_or(&mut first.blank, |above| &mut above.blank);
    block.gap = count > 0 && std::mem::take(next);
}

fn shown(comment: &Comment) -> String {
    format!("#{}", comment.text.trim_end())
}

fn is_flow(text: &str, node: &Node) -> bool {
    text[node.span.start as usize..].starts_with(['{', '['])
}

/// A value as a text in double quotes, in one line.
fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

fn keys(shape: &Shape) -> &'static [Key] {
    match shape {
        Shape::Map(keys) | Shape::Some(keys) | Shape::One(keys) | Shape::Action { forms: keys, .. } => keys,
        _ => &[],
    }
}

/// Where a key stands among its fellows; unknown ones come last.
fn place_of(shape: &Shape, key: &str) -> usize {
    keys(shape).iter().position(|k| k.name == key).unwrap_or(usize::MAX)
}

/// The shape of what stands under a key.
fn of_key(shape: &Shape, key: &str) -> Option<&'static Shape> {
    match shape {
        Shape::Names(of) => Some(of),
        other => keys(other).iter().find(|k| k.name == key).map(|k| k.shape),
    }
}

/// The shape of an item.
fn of_item(shape: &Shape) -> Option<&'static Shape> {
    match shape {
        Shape::List(of) | Shape::Many(of) | Shape::Listed(of) => Some(of),
        _ => None,
    }
}
