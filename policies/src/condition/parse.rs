//! Tokens to a tree.

use super::Wrong;
use super::token::{Placed, Token, tokens};

/// How deep an expression may lie in itself.
const DEPTH_MAX: u32 = 32;
/// Most operands of one expression.
const NODES_MAX: usize = 500;

/// A part of an expression and its bytes.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    /// A fact by its dotted name.
    Fact(String),
    List(Vec<Tree>),
    Not(Box<Tree>),
    Minus(Box<Tree>),
    Two(&'static str, Box<Tree>, Box<Tree>),
    If(Box<Tree>, Box<Tree>, Box<Tree>),
    /// A function and its arguments; of a method, the first argument is what it is called on.
    Call(String, Vec<Tree>),
}

pub(super) fn parse(text: &str) -> Result<Tree, Wrong> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, nodes: 0 };
    let tree = parser.ternary()?;
    match parser.peek() {
        Placed { token: Token::End, .. } => Ok(tree),
        Placed { start, end, .. } => Err(Wrong::new(
            "condition",
            *start,
            *end,
            "the expression should end here",
            "connect the parts with `&&` or `||`",
        )),
    }
}

struct Parser {
    tokens: Vec<Placed>,
    at: usize,
    depth: u32,
    nodes: usize,
}

/// Operators by how tightly they bind, loosest first.
const LEVELS: [&[&str]; 5] =
    [&["||"], &["&&"], &["==", "!=", "<=", ">=", "<", ">", "in"], &["+", "-"], &["*", "/", "%"]];

impl Parser {
    fn peek(&self) -> &Placed {
        // The last token is `End` and is never passed.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Placed {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(&self.peek().token, Token::Sign(s) if *s == sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str, opened: usize) -> Result<usize, Wrong> {
        let Placed { start, end, .. } = *self.peek();
        if self.sign(sign) {
            return Ok(end);
        }
        let what = format!("`{sign}` must stand here");
        let end = end.max(start + 1);
        Err(Wrong::new(
            "condition",
            start,
            end,
            what,
            format!("close what begins at character {}", opened + 1),
        ))
    }

    fn tree(&mut self, kind: Kind, start: usize, end: usize) -> Result<Tree, Wrong> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            let what = format!("this expression has more than {NODES_MAX} parts");
            return Err(Wrong::new(
                "condition-cost",
                start,
                end,
                what,
                "use a set, or split the rule in two",
            ));
        }
        Ok(Tree { kind, start, end })
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Wrong>) -> Result<T, Wrong> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let Placed { start, end, .. } = *self.peek();
            let what = format!("this expression is nested more than {DEPTH_MAX} deep");
            return Err(Wrong::new("condition-cost", start, end, what, "split the rule in two"));
        }
        let out = inner(self);
        self.depth -= 1;
        out
    }

    fn ternary(&mut self) -> Result<Tree, Wrong> {
        self.deeper(|p| {
            let condition = p.level(0)?;
            if !p.sign("?") {
                return Ok(condition);
            }
            let yes = p.ternary()?;
            p.expect(":", condition.start)?;
            let no = p.ternary()?;
            let (start, end) = (condition.start, no.end);
            p.tree(Kind::If(Box::new(condition), Box::new(yes), Box::new(no)), start, end)
        })
    }

    fn level(&mut self, level: usize) -> Result<Tree, Wrong> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.level(level + 1)?;
        let mut compared = false;
        loop {
            let operator = match &self.peek().token {
                Token::Sign(sign) => operators.iter().find(|o| *o == sign),
                Token::Name(name) => operators.iter().find(|o| *o == name),
                _ => None,
            };
            let Some(operator) = operator.copied() else { return Ok(left) };
            let Placed { start, end, .. } = self.next();
            if compared {
                let what = "a comparison of a comparison";
                return Err(Wrong::new("condition", start, end, what, "write `a < b && b < c`"));
            }
            compared = level == 2;
            let right = self.level(level + 1)?;
            let (start, end) = (left.start, right.end);
            left = self.tree(Kind::Two(operator, Box::new(left), Box::new(right)), start, end)?;
        }
    }

    fn unary(&mut self) -> Result<Tree, Wrong> {
        let start = self.peek().start;
        if self.sign("!") {
            let inner = self.deeper(Self::unary)?;
            let end = inner.end;
            return self.tree(Kind::Not(Box::new(inner)), start, end);
        }
        if self.sign("-") {
            let inner = self.deeper(Self::unary)?;
            let end = inner.end;
            let kind = match inner.kind {
                Kind::Int(n) => Kind::Int(-n),
                Kind::Double(n) => Kind::Double(-n),
                _ => Kind::Minus(Box::new(inner)),
            };
            return self.tree(kind, start, end);
        }
        self.member()
    }

    /// An operand, and the methods that are called on it.
    fn member(&mut self) -> Result<Tree, Wrong> {
        let mut tree = self.operand()?;
        while self.sign(".") {
            let Placed { token, start, end } = self.next();
            let Token::Name(name) = token else {
                let what = "a name must follow the dot";
                return Err(Wrong::new(
                    "condition",
                    start,
                    end.max(start + 1),
                    what,
                    "write the name of a fact",
                ));
            };
            if self.sign("(") {
                let mut arguments = self.list(")", start)?;
                let end = arguments.1;
                arguments.0.insert(0, tree.clone());
                tree = self.tree(Kind::Call(name, arguments.0), tree.start, end)?;
            } else if let Kind::Fact(path) = &mut tree.kind {
                path.push('.');
                path.push_str(&name);
                tree.end = end;
            } else {
                let what = "only facts have parts";
                return Err(Wrong::new("condition", start, end, what, "remove the dot and what follows"));
            }
        }
        Ok(tree)
    }

    fn operand(&mut self) -> Result<Tree, Wrong> {
        let Placed { token, start, end } = self.next();
        let kind = match token {
            Token::Int(n) => Kind::Int(n),
            Token::Double(n) => Kind::Double(n),
            Token::Text(text) => Kind::Text(text),
            Token::Name(name) if name == "true" || name == "false" => Kind::Bool(name == "true"),
            Token::Name(name) if name != "in" => {
                if self.sign("(") {
                    let (arguments, end) = self.list(")", start)?;
                    return self.tree(Kind::Call(name, arguments), start, end);
                }
                Kind::Fact(name)
            }
            Token::Sign("(") => {
                let inner = self.ternary()?;
                let end = self.expect(")", start)?;
                return Ok(Tree { start, end, ..inner });
            }
            Token::Sign("[") => {
                let (items, end) = self.list("]", start)?;
                return self.tree(Kind::List(items), start, end);
            }
            Token::End => {
                let fix = "write a fact or a value";
                return Err(Wrong::new("condition", start, start + 1, "the expression ends too early", fix));
            }
            _ => {
                let fix = "write a fact or a value";
                return Err(Wrong::new("condition", start, end, "a fact or a value must stand here", fix));
            }
        };
        self.tree(kind, start, end)
    }

    /// What stands between commas up to a bracket.
    fn list(&mut self, close: &str, opened: usize) -> Result<(Vec<Tree>, usize), Wrong> {
        let mut items = Vec::new();
        loop {
            let end = self.peek().end;
            if self.sign(close) {
                return Ok((items, end));
            }
            if !items.is_empty() && !self.sign(",") {
                return Err(self.expect(close, opened).err().unwrap_or_else(|| {
                    Wrong::new("condition", opened, end, "this list has no end", "close it")
                }));
            }
            items.push(self.ternary()?);
        }
    }
}
