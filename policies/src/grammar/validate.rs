//! A tree against a shape.

use std::collections::HashSet;

use super::dialect;
use super::lexical::Wrong;
use super::shape::{Key, Shape};
use crate::text::diagnostic::{Diagnostic, Findings};
use crate::text::nearest::choose;
use crate::text::node::{Node, Style, Value};

/// Keys that people try, and what to write instead.
const INSTEAD: [(&str, &str); 8] = [
    ("action", "what a rule does stands under `then`"),
    ("if", "conditions stand under `when`, sets and kinds under `match`"),
    ("condition", "conditions stand under `when`"),
    ("cidr", "define a set under `sets` and name it: `peer: {in: NAME}`"),
    ("not", "write `not-in: SET`"),
    ("enabled", "remove the rule, or write `mode: shadow`"),
    ("priority", "the order of the rules is their priority"),
    ("keywords", "define a set under `sets` and name it: `content: {in: NAME}`"),
];

/// Says everything about a tree that does not fit its shape.
pub fn validate(node: &Node, shape: &Shape, out: &mut Findings) {
    match shape {
        Shape::Any => {}
        Shape::Text(form) => {
            if let Some(text) = scalar(node, "a text", out)
                && let Err((what, fix)) = form.check(text)
            {
                out.push(Diagnostic::error("value", node.span, what, fix));
            }
        }
        Shape::Word(words) => {
            if let Some(text) = scalar(node, "a word", out) {
                word(node, text, words, out);
            }
        }
        Shape::Whole { min, max } => {
            let read = |text: &str| match text.parse::<u64>() {
                Ok(n) if (*min..=*max).contains(&n) => Ok(()),
                _ => Err((
                    format!("`{text}` is not a whole number from {min} to {max}"),
                    "correct the number".to_owned(),
                )),
            };
            number(node, read, out);
        }
        Shape::Real { min, max } => {
            let read = |text: &str| match text.parse::<f64>() {
                Ok(n) if (*min..=*max).contains(&n) => Ok(()),
                _ => Err((
                    format!("`{text}` is not a number from {min} to {max}"),
                    "correct the number".to_owned(),
                )),
            };
            number(node, read, out);
        }
        Shape::Flag => match &node.value {
            Value::Scalar(text, Style::Plain) if matches!(text.as_str(), "true" | "false") => {}
            _ => out.push(Diagnostic::error(
                "value",
                node.span,
                "`true` or `false` must stand here",
                "write one of the two, without quotes",
            )),
        },
        Shape::List(of) => match &node.value {
            Value::List(items) => items.iter().for_each(|item| validate(item, of, out)),
            _ => out.push(Diagnostic::error(
                "kind",
                node.span,
                "a list must stand here",
                "write one item a line after `- `",
            )),
        },
        Shape::Many(of) => many(node, of, out),
        Shape::Listed(of) => listed(node, of, out),
        Shape::Map(keys) | Shape::Some(keys) | Shape::One(keys) => {
            if !matches!(node.value, Value::Map(_)) {
                let names: Vec<String> = keys.iter().take(6).map(|k| format!("`{}: …`", k.name)).collect();
                out.push(Diagnostic::error(
                    "kind",
                    node.span,
                    "a mapping must stand here",
                    format!(
                        "write it as `key: value` lines, or as `{{key: value}}`; keys: {}",
                        names.join(", ")
                    ),
                ));
                return;
            }
            mapping(node, shape, keys, out);
        }
        Shape::Names(of) => names(node, of, out),
        Shape::Action { words, forms } => match &node.value {
            Value::Map(_) => mapping(node, &Shape::One(forms), forms, out),
            Value::Scalar(text, _) if forms.iter().any(|f| f.name == text) && !is_word(text, words) => {
                out.push(Diagnostic::error(
                    "value",
                    node.span,
                    format!("`{text}` needs its settings"),
                    format!("write `{{{text}: {{…}}}}`"),
                ));
            }
            Value::Scalar(text, _) => {
                let all: Vec<_> =
                    words.iter().copied().chain(forms.iter().map(|f| (f.name, f.about))).collect();
                word(node, text, &all, out);
            }
            Value::List(_) => out.push(Diagnostic::error(
                "kind",
                node.span,
                "a rule does one thing",
                "write one action, without `[` and `-`",
            )),
        },
    }
}

fn is_word(text: &str, words: &[(&str, &str)]) -> bool {
    words.iter().any(|(w, _)| *w == text)
}

fn word(node: &Node, text: &str, words: &[(&str, &str)], out: &mut Findings) {
    if is_word(text, words) {
        return;
    }
    let what = if text.is_empty() {
        "a word must stand here".to_owned()
    } else {
        format!("`{text}` is none of the words that may stand here")
    };
    let mut known: Vec<&str> = Vec::new();
    for (w, _) in words {
        if !known.contains(w) {
            known.push(w);
        }
    }
    out.push(Diagnostic::error("value", node.span, what, choose(text, known)));
}

fn scalar<'n>(node: &'n Node, what: &str, out: &mut Findings) -> Option<&'n str> {
    if let Value::Scalar(text, _) = &node.value {
        return Some(text);
    }
    let fix = match node.value {
        Value::List(_) => "write one value, without `[` and `-`",
        _ => "write one value, without `{` and `key:`",
    };
    out.push(Diagnostic::error("kind", node.span, format!("{what} must stand here"), fix));
    None
}

fn number(node: &Node, read: impl Fn(&str) -> Result<(), Wrong>, out: &mut Findings) {
    let Some(text) = scalar(node, "a number", out) else { return };
    if matches!(node.value, Value::Scalar(_, Style::Quoted)) {
        let what = "a number must stand here, this is a text";
        out.push(Diagnostic::error("value", node.span, what, "remove the quotes"));
    } else if let Err((what, fix)) = read(text) {
        out.push(Diagnostic::error("value", node.span, what, fix));
    }
}

fn many(node: &Node, of: &Shape, out: &mut Findings) {
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        let what = "this list is empty: nothing would ever match";
        out.push(Diagnostic::error("empty", node.span, what, "name at least one, or remove the key"));
    }
    let mut seen = HashSet::new();
    for item in node.items() {
        validate(item, of, out);
        if matches!(item.value, Value::Scalar(..)) && !seen.insert(item.text()) {
            let what = format!("`{}` stands here a second time", item.text());
            out.push(Diagnostic::error("duplicate", item.span, what, "remove one of the two"));
        }
    }
}

fn listed(node: &Node, of: &Shape, out: &mut Findings) {
    static FILE: Shape = Shape::Map(&[Key::must(
        "file",
        &Shape::Text(super::lexical::Lexical::Path),
        "a file with one entry a line",
    )]);
    match &node.value {
        Value::Map(_) => validate(node, &FILE, out),
        Value::List(items) if items.is_empty() => out.push(Diagnostic::error(
            "empty-set",
            node.span,
            "this set is empty: it matches nothing, and `not-in` it matches everything",
            "add an entry, or remove the set",
        )),
        Value::List(items) => items.iter().for_each(|item| validate(item, of, out)),
        Value::Scalar(..) => out.push(Diagnostic::error(
            "kind",
            node.span,
            "a list must stand here",
            "write `[ENTRY, …]`, or `{file: PATH}`",
        )),
    }
}

fn names(node: &Node, of: &Shape, out: &mut Findings) {
    if !matches!(node.value, Value::Map(_)) {
        let what = "a mapping from names must stand here";
        out.push(Diagnostic::error("kind", node.span, what, "write `name: …` lines"));
        return;
    }
    for (key, value) in node.entries() {
        if let Err((what, fix)) = super::lexical::Lexical::Name.check(key.text()) {
            out.push(Diagnostic::error("value", key.span, what, fix));
        }
        validate(value, of, out);
    }
}

fn mapping(node: &Node, shape: &Shape, keys: &[Key], out: &mut Findings) {
    let mut known = 0;
    for (key, value) in node.entries() {
        match keys.iter().find(|k| k.name == key.text()) {
            Some(k) if value.is_null() && !matches!(k.shape, Shape::Any) => {
                known += 1;
                let what = format!("nothing stands under `{}`", k.name);
                out.push(Diagnostic::error(
                    "empty",
                    value.span,
                    what,
                    "add what belongs there, or remove the key",
                ));
            }
            Some(k) => {
                known += 1;
                validate(value, k.shape, out);
            }
            None => out.push(unknown(key, keys)),
        }
    }
    let entries = node.entries().len();
    match shape {
        Shape::One(_) if known > 1 => {
            let second = &node.entries()[1].0;
            let what = format!("only one of these may stand here, and `{}` is one too many", second.text());
            out.push(Diagnostic::error("value", second.span, what, "remove all but one"));
        }
        Shape::One(_) | Shape::Some(_) if known == 0 && entries == 0 => {
            let what = "nothing stands here";
            out.push(Diagnostic::error("empty", node.span, what, choose("", keys.iter().map(|k| k.name))));
        }
        Shape::Map(_) => {
            for key in keys.iter().filter(|k| k.required && node.get(k.name).is_none()) {
                let what = match key.name {
                    "default" => {
                        "the key `default` is missing: what happens where no rule matches?".to_owned()
                    }
                    name => format!("the key `{name}` is missing"),
                };
                let mut at = node.span;
                if let Some((first, _)) = node.entries().first() {
                    at = first.span;
                }
                let fix = format!("add `{}: …` here: {}", key.name, key.about);
                out.push(Diagnostic::error("missing-key", at, what, fix));
            }
        }
        _ => {}
    }
}

fn unknown(key: &Node, keys: &[Key]) -> Diagnostic {
    let name = key.text();
    let near = crate::text::nearest::nearest(name, keys.iter().map(|k| k.name));
    let instead = INSTEAD.iter().find(|(k, _)| *k == name && near.is_none());
    let fix = match instead {
        Some((_, fix)) => (*fix).to_owned(),
        None => choose(name, keys.iter().map(|k| k.name)),
    };
    let is_root = |shape: &Shape| matches!(shape, Shape::Map(all) if std::ptr::eq(*all, keys));
    let fix = if is_root(&dialect::INCLUDED) {
        format!("{fix}; rules stand in the policy's own file, since their order decides")
    } else {
        fix
    };
    Diagnostic::error("unknown-key", key.span, format!("the key `{name}` is not known here"), fix)
}
