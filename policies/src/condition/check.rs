//! Types, facts and cost of a tree.

use super::Wrong;
use super::parse::{Kind, Tree};
use crate::facts::{FACTS, Fact, FactSet, Type, budget_fact};
use crate::text::nearest::{choose, nearest};

/// What looking into a text costs.
const TEXT_COST: u32 = 16;

/// A checked expression.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    pub(super) ty: Type,
    pub(super) kind: Checked,
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
}

/// How two numbers are calculated with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Calculate {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// How a text is looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Clone, Debug)]
pub(super) enum Checked {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Fact(Fact),
    Has(Fact),
    Not(Box<Typed>),
    Minus(Box<Typed>),
    And(Box<Typed>, Box<Typed>),
    Or(Box<Typed>, Box<Typed>),
    Compare(Compare, Box<Typed>, Box<Typed>),
    Calculate(Calculate, Box<Typed>, Box<Typed>),
    /// Whether the first is equal to one of the others.
    In(Box<Typed>, Vec<Typed>),
    If(Box<Typed>, Box<Typed>, Box<Typed>),
    Look(Look, Box<Typed>, Box<Typed>),
    /// Number of characters.
    Size(Box<Typed>),
    ToDouble(Box<Typed>),
    ToInt(Box<Typed>),
}

/// Checks an expression: what it is, the facts it reads, and what it costs. Facts may be named without `short_for`.
pub(super) fn check(
    tree: &Tree,
    budgets: &[String],
    short_for: &str,
) -> Result<(Typed, FactSet, u32), Wrong> {
    let mut checker = Checker { budgets, short_for, facts: FactSet::default(), cost: 0 };
    let typed = checker.check(tree)?;
    Ok((typed, checker.facts, checker.cost))
}

struct Checker<'b> {
    budgets: &'b [String],
    short_for: &'b str,
    facts: FactSet,
    cost: u32,
}

const FUNCTIONS: [&str; 7] = ["size", "has", "startsWith", "endsWith", "contains", "double", "int"];

fn is_number(ty: Type) -> bool {
    matches!(ty, Type::Int | Type::Double)
}

fn wrong_type(tree: &Tree, is: Type, wanted: &str, fix: impl Into<String>) -> Wrong {
    let what = format!("this is of type {}, but {wanted} must stand here", is.name());
    Wrong::new("condition-type", tree.start, tree.end, what, fix)
}

impl Checker<'_> {
    fn check(&mut self, tree: &Tree) -> Result<Typed, Wrong> {
        self.cost += 1;
        let (ty, kind) = match &tree.kind {
            Kind::Bool(b) => (Type::Bool, Checked::Bool(*b)),
            Kind::Int(n) => (Type::Int, Checked::Int(*n)),
            Kind::Double(n) => (Type::Double, Checked::Double(*n)),
            Kind::Text(text) => (Type::Text, Checked::Text(text.clone())),
            Kind::Fact(name) => {
                let fact = self.fact(tree, name)?;
                if fact.ty() == Type::Opaque {
                    let what = format!("`{name}` cannot be used in conditions");
                    let fix = "define a set under `sets` and name it under `match`";
                    return Err(Wrong::new("condition-type", tree.start, tree.end, what, fix));
                }
                (fact.ty(), Checked::Fact(fact))
            }
            Kind::List(_) => {
                let what = "a list may only stand to the right of `in`";
                let fix = "write `fact in [a, b]`";
                return Err(Wrong::new("condition-type", tree.start, tree.end, what, fix));
            }
            Kind::Not(inner) => (Type::Bool, Checked::Not(self.bool(inner)?)),
            Kind::Minus(inner) => {
                let inner = self.number(inner)?;
                (inner.ty, Checked::Minus(inner))
            }
            Kind::Two("&&", a, b) => (Type::Bool, Checked::And(self.bool(a)?, self.bool(b)?)),
            Kind::Two("||", a, b) => (Type::Bool, Checked::Or(self.bool(a)?, self.bool(b)?)),
            Kind::Two("in", a, b) => (Type::Bool, self.within(a, b)?),
            Kind::Two(operator @ ("+" | "-" | "*" | "/" | "%"), a, b) => {
                self.calculate(tree, operator, a, b)?
            }
            Kind::Two(operator, a, b) => (Type::Bool, self.compare(operator, a, b)?),
            Kind::If(condition, yes, no) => {
                let condition = self.bool(condition)?;
                let (yes_is, no_is) = (self.check(yes)?, self.check(no)?);
                if yes_is.ty != no_is.ty {
                    let wanted = format!("a {} as on the other side of `:`", yes_is.ty.name());
                    return Err(wrong_type(no, no_is.ty, &wanted, "make both sides of one type"));
                }
                (yes_is.ty, Checked::If(condition, Box::new(yes_is), Box::new(no_is)))
            }
            Kind::Call(name, arguments) => self.call(tree, name, arguments)?,
        };
        Ok(Typed { ty, kind })
    }

    fn fact(&mut self, tree: &Tree, name: &str) -> Result<Fact, Wrong> {
        let whole = format!("{}{name}", self.short_for);
        if let Some(fact) = Fact::find(name, self.budgets).or_else(|| Fact::find(&whole, self.budgets)) {
            self.facts.insert(fact);
            return Ok(fact);
        }
        let of_budgets: Vec<String> = self.budgets.iter().map(|b| budget_fact(b)).collect();
        let known = || FACTS.iter().map(|f| f.name).chain(of_budgets.iter().map(String::as_str));
        let same_part =
            |part: &str| known().filter(move |k| k.rsplit('.').next() == Some(part)).collect::<Vec<_>>();
        let begun = |start: &str| known().filter(|k| k.starts_with(start)).collect::<Vec<_>>();
        let fix = if let [meant] = begun(&whole)[..] {
            // In a formula the part that all names share may be left out.
            format!("did you mean `{}`?", meant.strip_prefix(self.short_for).unwrap_or(meant))
        } else if let Some(meant) = nearest(name, known()) {
            format!("did you mean `{meant}`?")
        } else if let [meant] = same_part(name.rsplit('.').next().unwrap_or(name))[..] {
            format!("did you mean `{meant}`?")
        } else if name.starts_with("budget.") {
            format!(
                "budgets are declared under `traffic`; {}",
                choose(name, of_budgets.iter().map(String::as_str))
            )
        } else {
            let first = name.split('.').next().unwrap_or(name);
            let mut near: Vec<&str> = known().filter(|k| k.starts_with(&format!("{first}."))).collect();
            if near.is_empty() {
                near =
                    vec!["node.cpu", "now.hour", "peer.group", "link.rtt_ms", "message.ttl", "content.bytes"];
            }
            choose("", near)
        };
        let what = format!("there is no fact `{name}`");
        Err(Wrong::new("unknown-fact", tree.start, tree.end, what, fix))
    }

    fn of(&mut self, tree: &Tree, wanted: Type) -> Result<Box<Typed>, Wrong> {
        let typed = self.check(tree)?;
        if typed.ty == wanted {
            return Ok(Box::new(typed));
        }
        let fix = match wanted {
            Type::Bool => "compare it with something, such as `> 0.7`",
            _ => "write a text in quotes, or a fact that is a text",
        };
        Err(wrong_type(tree, typed.ty, &format!("a {}", wanted.name()), fix))
    }

    fn bool(&mut self, tree: &Tree) -> Result<Box<Typed>, Wrong> {
        self.of(tree, Type::Bool)
    }

    fn number(&mut self, tree: &Tree) -> Result<Box<Typed>, Wrong> {
        let typed = self.check(tree)?;
        if is_number(typed.ty) {
            return Ok(Box::new(typed));
        }
        Err(wrong_type(tree, typed.ty, "a number", "use a number, or a fact that is a number"))
    }

    fn compare(&mut self, operator: &str, a: &Tree, b: &Tree) -> Result<Checked, Wrong> {
        let (left, right) = (self.check(a)?, self.check(b)?);
        let equal = matches!(operator, "==" | "!=");
        if left.ty != right.ty && !(is_number(left.ty) && is_number(right.ty)) {
            let wanted = format!("a {} as on the other side of `{operator}`", left.ty.name());
            let fix = if right.ty == Type::Text && is_number(left.ty) {
                "write the number without quotes"
            } else if left.ty == Type::Text {
                "write a text in quotes"
            } else {
                "compare values of one type"
            };
            return Err(wrong_type(b, right.ty, &wanted, fix));
        }
        if left.ty == Type::Bool && !equal {
            return Err(wrong_type(
                a,
                left.ty,
                "something that has an order",
                "use `==`, or the value itself",
            ));
        }
        if left.ty == Type::Text {
            self.cost += TEXT_COST;
        }
        if let (Checked::Fact(fact), Checked::Text(word)) = (&left.kind, &right.kind) {
            self.word(*fact, word, b)?;
        }
        let how = match operator {
            "<" => Compare::Less,
            "<=" => Compare::LessEqual,
            ">" => Compare::Greater,
            ">=" => Compare::GreaterEqual,
            "==" => Compare::Equal,
            _ => Compare::NotEqual,
        };
        Ok(Checked::Compare(how, Box::new(left), Box::new(right)))
    }

    /// A fact that is one of few words cannot be any other.
    fn word(&self, fact: Fact, word: &str, tree: &Tree) -> Result<(), Wrong> {
        use crate::grammar::dialect::{DIRECTIONS, LINKS, MESSAGES, REGIONS};
        let words: &[(&str, &str)] = match fact {
            Fact::MESSAGE => &MESSAGES,
            Fact::DIRECTION => &DIRECTIONS,
            Fact::REGION => &REGIONS,
            Fact::LINK => &LINKS,
            _ => return Ok(()),
        };
        if words.iter().any(|(w, _)| *w == word) {
            return Ok(());
        }
        let what = format!("`{}` is never `{word}`", fact.name(self.budgets));
        let fix = choose(word, words.iter().map(|(w, _)| *w));
        Err(Wrong::new("condition-value", tree.start, tree.end, what, fix))
    }

    fn within(&mut self, a: &Tree, b: &Tree) -> Result<Checked, Wrong> {
        let before = self.cost;
        let left = self.check(a)?;
        let left_cost = self.cost - before;
        let Kind::List(items) = &b.kind else {
            let what = "a list must stand to the right of `in`";
            let fix = "write `fact in [a, b]`; sets are named under `match`";
            return Err(Wrong::new("condition-type", b.start, b.end, what, fix));
        };
        if items.is_empty() {
            let what = "this list is empty: nothing is ever in it";
            return Err(Wrong::new("empty", b.start, b.end, what, "add a value"));
        }
        let mut list = Vec::new();
        for item in items {
            let typed = self.check(item)?;
            if typed.ty != left.ty && !(is_number(typed.ty) && is_number(left.ty)) {
                let wanted = format!("a {} as on the left of `in`", left.ty.name());
                return Err(wrong_type(item, typed.ty, &wanted, "make the list of one type"));
            }
            if let (Checked::Fact(fact), Checked::Text(word)) = (&left.kind, &typed.kind) {
                self.word(*fact, word, item)?;
            }
            if left.ty == Type::Text {
                self.cost += TEXT_COST;
            }
            // The left side is evaluated again for each value.
            self.cost = self.cost.saturating_add(left_cost);
            list.push(typed);
        }
        Ok(Checked::In(Box::new(left), list))
    }

    fn calculate(
        &mut self,
        tree: &Tree,
        operator: &str,
        a: &Tree,
        b: &Tree,
    ) -> Result<(Type, Checked), Wrong> {
        let (left, right) = (self.number(a)?, self.number(b)?);
        if left.ty != right.ty {
            let (at, whole) = if left.ty == Type::Int { (a, &left) } else { (b, &right) };
            let fix = match whole.kind {
                Checked::Int(n) => format!("write `{n}.0`"),
                _ => "write `double(…)` around the whole number".to_owned(),
            };
            return Err(wrong_type(at, Type::Int, "a double as on the other side", fix));
        }
        let how = match operator {
            "+" => Calculate::Add,
            "-" => Calculate::Subtract,
            "*" => Calculate::Multiply,
            "/" => Calculate::Divide,
            _ if left.ty == Type::Double => {
                let what = "`%` is for whole numbers";
                return Err(Wrong::new("condition-type", tree.start, tree.end, what, "use whole numbers"));
            }
            _ => Calculate::Remainder,
        };
        if matches!(how, Calculate::Divide | Calculate::Remainder) && matches!(right.kind, Checked::Int(0)) {
            let what = "a division by zero";
            return Err(Wrong::new("condition-value", b.start, b.end, what, "divide by something else"));
        }
        Ok((left.ty, Checked::Calculate(how, left, right)))
    }

    fn call(&mut self, tree: &Tree, name: &str, arguments: &[Tree]) -> Result<(Type, Checked), Wrong> {
        let wanted = match name {
            "size" | "has" | "double" | "int" => 1,
            "startsWith" | "endsWith" | "contains" => 2,
            _ => {
                let what = format!("there is no function `{name}`");
                let fix = choose(name, FUNCTIONS);
                return Err(Wrong::new("condition", tree.start, tree.end, what, fix));
            }
        };
        if arguments.len() != wanted {
            let what = format!("`{name}` does not take {} values", arguments.len());
            let fix = match name {
                "startsWith" | "endsWith" | "contains" => format!("write `content.text.{name}(\"…\")`"),
                _ => format!("write `{name}(…)` with one value"),
            };
            return Err(Wrong::new("condition", tree.start, tree.end, what, fix));
        }
        Ok(match name {
            "has" => {
                let Kind::Fact(path) = &arguments[0].kind else {
                    let what = "`has` asks whether a fact is known";
                    let (start, end) = (arguments[0].start, arguments[0].end);
                    return Err(Wrong::new("condition-type", start, end, what, "write `has(link.rtt_ms)`"));
                };
                (Type::Bool, Checked::Has(self.fact(&arguments[0], path)?))
            }
            "size" => {
                self.cost += TEXT_COST;
                (Type::Int, Checked::Size(self.of(&arguments[0], Type::Text)?))
            }
            "double" => (Type::Double, Checked::ToDouble(self.number(&arguments[0])?)),
            "int" => (Type::Int, Checked::ToInt(self.number(&arguments[0])?)),
            _ => {
                self.cost += TEXT_COST;
                let how = match name {
                    "startsWith" => Look::StartsWith,
                    "endsWith" => Look::EndsWith,
                    _ => Look::Contains,
                };
                let text = self.of(&arguments[0], Type::Text)?;
                (Type::Bool, Checked::Look(how, text, self.of(&arguments[1], Type::Text)?))
            }
        })
    }
}
