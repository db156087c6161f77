//! Conditions and formulas: CEL over declared facts.
//!
//! | module | what |
//! | --- | --- |
//! | [`token`] | text to tokens |
//! | [`parse`] | tokens to a tree |
//! | [`check`] | types, facts and cost of a tree |
//! | [`compile`] | a checked tree to closures |
//!
//! The language is the part of CEL (the Common Expression Language) that needs no objects: literals, facts,
//! `! - * / % + < <= > >= == != in && || ?:`, `size`, `has`, `startsWith`, `endsWith`, `contains`. As in CEL, `&&` and
//! `||` do not care for an error on one side where the other side decides, and whole numbers do not mix with
//! fractions in arithmetic.

mod check;
mod compile;
mod parse;
mod token;

pub use compile::Failure;

use crate::event::Scope;
use crate::facts::{FactSet, Type};
use crate::text::diagnostic::Diagnostic;
use crate::text::node::Node;
use crate::text::source::{Sources, Span};

/// Most bytes of one expression.
pub const EXPRESSION_BYTES_MAX: usize = 2_000;
/// Most that evaluating one expression may cost: an operator costs 1, looking into a text 16.
pub const COST_MAX: u32 = 500;

/// A condition that has been checked.
#[derive(Debug)]
pub struct Condition {
    text: String,
    code: compile::BoolCode,
    facts: FactSet,
}

/// A formula that has been checked.
#[derive(Debug)]
pub struct Formula {
    text: String,
    code: compile::DoubleCode,
    facts: FactSet,
}

impl Condition {
    /// Checks and compiles a condition.
    ///
    /// # Errors
    /// Where it cannot be read, its types do not fit, or it costs too much.
    pub fn new(node: &Node, sources: &Sources, budgets: &[String]) -> Result<Self, Box<Diagnostic>> {
        let (tree, facts) = checked(node, sources, budgets, &[Type::Bool], "")?;
        Ok(Self { text: node.text().to_owned(), code: compile::bool_code(&tree), facts })
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// Where a fact is not known or a calculation fails.
    #[inline]
    pub fn holds(&self, scope: &Scope<'_>) -> Result<bool, Failure> {
        self.code.get(scope)
    }

    /// The facts that it reads.
    #[must_use]
    pub fn facts(&self) -> FactSet {
        self.facts
    }

    /// As it is written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The numbers that it names.
    pub(crate) fn numbers(&self) -> Vec<f64> {
        let tokens = token::tokens(&self.text).unwrap_or_default();
        let number = |t: token::Placed| match t.token {
            token::Token::Int(n) => Some(n as f64),
            token::Token::Double(n) => Some(n),
            _ => None,
        };
        tokens.into_iter().filter_map(number).collect()
    }
}

impl Formula {
    /// Checks and compiles a formula over a link; `rtt_ms` is short for `link.rtt_ms`, and so on.
    ///
    /// # Errors
    /// Where it cannot be read, its types do not fit, or it costs too much.
    pub fn new(node: &Node, sources: &Sources, budgets: &[String]) -> Result<Self, Box<Diagnostic>> {
        let (tree, facts) = checked(node, sources, budgets, &[Type::Double, Type::Int], "link.")?;
        Ok(Self { text: node.text().to_owned(), code: compile::double_code(&tree), facts })
    }

    /// Its value.
    ///
    /// # Errors
    /// Where a fact is not known or a calculation fails.
    pub fn value(&self, scope: &Scope<'_>) -> Result<f64, Failure> {
        self.code.get(scope)
    }

    /// The facts that it reads.
    #[must_use]
    pub fn facts(&self) -> FactSet {
        self.facts
    }

    /// As it is written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn checked(
    node: &Node,
    sources: &Sources,
    budgets: &[String],
    wanted: &[Type],
    short_for: &str,
) -> Result<(check::Typed, FactSet), Box<Diagnostic>> {
    let places = Places::new(node, sources);
    let text = node.text();
    let tell = |e: Wrong| Box::new(Diagnostic::error(e.code, places.span(e.start, e.end), e.what, e.fix));
    if text.len() > EXPRESSION_BYTES_MAX {
        let what = format!("this expression is longer than {EXPRESSION_BYTES_MAX} bytes");
        return Err(Box::new(Diagnostic::error("condition", node.span, what, "split the rule in two")));
    }
    let tree = parse::parse(text).map_err(tell)?;
    let (typed, facts, cost) = check::check(&tree, budgets, short_for).map_err(tell)?;
    if !wanted.contains(&typed.ty) {
        let what = format!("this is of type {}, but a {} must stand here", typed.ty.name(), wanted[0].name());
        let fix = match wanted[0] {
            Type::Bool => "compare it with something, such as `> 0.7`",
            _ => "write a formula over numbers, such as `rtt_ms + 200.0 * link.util`",
        };
        return Err(tell(Wrong::new("condition-type", tree.start, tree.end, what, fix)));
    }
    if cost > COST_MAX {
        let what = format!("this expression costs {cost} steps, more than {COST_MAX}");
        return Err(tell(Wrong::new("condition-cost", tree.start, tree.end, what, "split the rule in two")));
    }
    Ok((typed, facts))
}

/// What is wrong in an expression, by bytes of its text.
#[derive(Debug)]
struct Wrong {
    code: &'static str,
    start: usize,
    end: usize,
    what: String,
    fix: String,
}

impl Wrong {
    fn new(
        code: &'static str,
        start: usize,
        end: usize,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { code, start, end, what: what.into(), fix: fix.into() }
    }
}

/// Where each byte of a scalar's value stands in the file: quotes, escapes and folded lines lie between.
struct Places {
    span: Span,
    /// Offset in the file of each byte of the value.
    at: Vec<usize>,
}

impl Places {
    fn new(node: &Node, sources: &Sources) -> Self {
        let raw = sources.slice(node.span);
        let start = node.span.start as usize;
        let mut source = raw.char_indices().peekable();
        if raw.starts_with(['"', '\'']) {
            source.next();
        }
        let mut at = Vec::with_capacity(node.text().len());
        for c in node.text().chars() {
            let skip = |s: char| s == '\\' || (s.is_whitespace() && !c.is_whitespace());
            while source.next_if(|(_, s)| *s != c && skip(*s)).is_some() {}
            let here = source.peek().map_or(raw.len().saturating_sub(1), |(i, _)| *i);
            at.extend(std::iter::repeat_n(start + here, c.len_utf8()));
            source.next_if(|(_, s)| *s == c || s.is_whitespace());
        }
        Self { span: node.span, at }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        let after = self.span.end as usize;
        let first = self.at.get(start).copied().unwrap_or(after.saturating_sub(1));
        let last = end.checked_sub(1).and_then(|e| self.at.get(e)).map_or(after, |e| e + 1);
        Span::new(self.span.file, first, last.max(first + 1))
    }
}
