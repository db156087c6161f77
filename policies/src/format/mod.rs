//! One way to write a policy: keys in the order of the dialect, two spaces a level, comments kept where they are.
//!
//! | module | what |
//! | --- | --- |
//! | [`layout`] | a tree and its comments to lines that belong together |
//! | [`print`] | such lines to text |
//!
//! Lists and mappings stay as their author wrote them, in one line or in several; one that does not fit a line, or has
//! a comment in it, is broken up.

mod layout;
mod print;
#[cfg(test)]
mod tests;

use crate::grammar::dialect;
use crate::grammar::shape::Shape;
use crate::text::diagnostic::{Diagnostic, Findings, Report};
use crate::text::node::{Node, Tree, Value, parse};
use crate::text::source::{Sources, Span};

/// Longest line that a list or mapping is kept in, in characters.
pub const WIDTH: usize = 110;

/// A policy, file of sets or file of tests, formatted. It means the same as before.
///
/// # Errors
/// Where the text is no YAML, or no mapping. What it says need not be right.
pub fn format(name: &str, text: &str) -> Result<String, Box<Report>> {
    let mut sources = Sources::default();
    let file = sources.add(name, text);
    let formatted = parse(text, file).and_then(|tree| formatted(text, &tree));
    formatted.map_err(|finding| {
        let mut out = Findings::default();
        out.push(*finding);
        Box::new(Report::new(sources, out))
    })
}

fn formatted(text: &str, tree: &Tree) -> Result<String, Box<Diagnostic>> {
    let refuse = |what: &str, fix: &str| {
        let span = Span::new(tree.root.span.file, tree.root.span.start as usize, tree.root.span.end as usize);
        Box::new(Diagnostic::error("format", span, what, fix))
    };
    if !matches!(tree.root.value, Value::Map(_)) {
        return Err(refuse("a mapping must stand here", "is it a policy? It begins with `policy: eep/v1`"));
    }
    let shape: &Shape =
        if tree.root.get("policy-test").is_some() { &dialect::TESTS } else { &dialect::POLICY };
    let out = print::print(&layout::layout(text, tree, shape));
    // Whatever somebody may write: it is not formatted rather than changed.
    let kept = parse(&out, tree.root.span.file)
        .is_ok_and(|again| same(&tree.root, &again.root) && words(tree) == words(&again));
    if kept {
        Ok(out)
    } else {
        Err(refuse(
            "this file is written in a way that cannot be kept",
            "write it in plain YAML, without `?` and `|2`",
        ))
    }
}

/// Whether two trees mean the same, in whatever order their keys are.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Scalar(a, _), Value::Scalar(b, _)) => a == b,
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(of), Value::Map(other)) => {
            of.len() == other.len()
                && of.iter().all(|(key, value)| b.get(key.text()).is_some_and(|v| same(value, v)))
        }
        _ => false,
    }
}

/// The words of all comments, in the order of the alphabet.
fn words(tree: &Tree) -> Vec<&str> {
    let mut words: Vec<&str> = tree.comments.iter().map(|c| c.text.trim()).collect();
    words.sort_unstable();
    words
}
