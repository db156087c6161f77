//! A checked tree to closures: a comparison costs a few nanoseconds, and nothing is allocated.

use std::fmt;

use super::check::{Calculate, Checked, Compare, Look, Typed};
use crate::event::Scope;
use crate::facts::{Fact, Type};

/// Why an expression has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A fact is not known.
    Unknown(Fact),
    /// A division by zero.
    DivisionByZero,
    /// A number is out of range.
    Overflow,
}

impl Failure {
    /// The failure in words.
    #[must_use]
    pub fn words(self, budgets: &[String]) -> String {
        match self {
            Self::Unknown(fact) => format!("`{}` is not known", fact.name(budgets)),
            Self::DivisionByZero => "a division by zero".to_owned(),
            Self::Overflow => "a number is out of range".to_owned(),
        }
    }
}

type Result<T> = std::result::Result<T, Failure>;
type Function<T> = Box<dyn Fn(&Scope<'_>) -> Result<T> + Send + Sync>;

/// Code that gives a value.
pub(super) struct Code<T>(Function<T>);
pub(super) type BoolCode = Code<bool>;
pub(super) type DoubleCode = Code<f64>;
type IntCode = Code<i64>;

impl<T> Code<T> {
    fn new(function: impl Fn(&Scope<'_>) -> Result<T> + Send + Sync + 'static) -> Self {
        Self(Box::new(function))
    }

    #[inline]
    pub(super) fn get(&self, scope: &Scope<'_>) -> Result<T> {
        (self.0)(scope)
    }
}

impl<T> fmt::Debug for Code<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code")
    }
}

/// Code that gives a text: of a fact, or of the expression itself.
enum TextCode {
    Literal(Box<str>),
    Fact(Fact),
    If(BoolCode, Box<(Self, Self)>),
}

impl TextCode {
    fn get<'a>(&'a self, scope: &Scope<'a>) -> Result<&'a str> {
        match self {
            Self::Literal(text) => Ok(text),
            Self::Fact(fact) => scope.text(*fact).ok_or(Failure::Unknown(*fact)),
            Self::If(condition, sides) => {
                if condition.get(scope)? {
                    sides.0.get(scope)
                } else {
                    sides.1.get(scope)
                }
            }
        }
    }
}

fn text_code(tree: &Typed) -> TextCode {
    match &tree.kind {
        Checked::Text(text) => TextCode::Literal(text.as_str().into()),
        Checked::Fact(fact) => TextCode::Fact(*fact),
        Checked::If(condition, yes, no) => {
            TextCode::If(bool_code(condition), Box::new((text_code(yes), text_code(no))))
        }
        // Nothing else is a text.
        _ => TextCode::Literal(Box::default()),
    }
}

fn ordered<T: PartialOrd>(how: Compare, a: T, b: T) -> bool {
    match how {
        Compare::Less => a < b,
        Compare::LessEqual => a <= b,
        Compare::Greater => a > b,
        Compare::GreaterEqual => a >= b,
        Compare::Equal => a == b,
        Compare::NotEqual => a != b,
    }
}

pub(super) fn bool_code(tree: &Typed) -> BoolCode {
    match &tree.kind {
        Checked::Bool(b) => {
            let b = *b;
            Code::new(move |_| Ok(b))
        }
        Checked::Has(fact) => {
            let fact = *fact;
            Code::new(move |scope| Ok(scope.knows(fact)))
        }
        Checked::Not(inner) => {
            let inner = bool_code(inner);
            Code::new(move |scope| inner.get(scope).map(|b| !b))
        }
        Checked::And(a, b) => both(bool_code(a), bool_code(b), false),
        Checked::Or(a, b) => both(bool_code(a), bool_code(b), true),
        Checked::Compare(how, a, b) => compare(*how, a, b),
        Checked::In(value, list) => {
            let each: Vec<BoolCode> = list.iter().map(|item| compare(Compare::Equal, value, item)).collect();
            Code::new(move |scope| {
                for equal in &each {
                    if equal.get(scope)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            })
        }
        Checked::If(condition, yes, no) => choice(bool_code(condition), bool_code(yes), bool_code(no)),
        Checked::Look(how, text, part) => {
            let (how, text, part) = (*how, text_code(text), text_code(part));
            Code::new(move |scope| {
                let (text, part) = (text.get(scope)?, part.get(scope)?);
                Ok(match how {
                    Look::StartsWith => text.starts_with(part),
                    Look::EndsWith => text.ends_with(part),
                    Look::Contains => text.contains(part),
                })
            })
        }
        // Nothing else is a condition.
        _ => Code::new(|_| Ok(false)),
    }
}

/// `&&` (`decides` is false) and `||` (`decides` is true): the value that decides wins over an error on the other side.
fn both(a: BoolCode, b: BoolCode, decides: bool) -> BoolCode {
    Code::new(move |scope| {
        let first = a.get(scope);
        if first == Ok(decides) {
            return Ok(decides);
        }
        let second = b.get(scope);
        if second == Ok(decides) {
            return Ok(decides);
        }
        first?;
        second
    })
}

fn choice<T: 'static>(condition: BoolCode, yes: Code<T>, no: Code<T>) -> Code<T> {
    Code::new(move |scope| if condition.get(scope)? { yes.get(scope) } else { no.get(scope) })
}

fn compare(how: Compare, a: &Typed, b: &Typed) -> BoolCode {
    match (a.ty, b.ty) {
        (Type::Bool, _) => {
            let (a, b) = (bool_code(a), bool_code(b));
            Code::new(move |scope| Ok(ordered(how, a.get(scope)?, b.get(scope)?)))
        }
        (Type::Text, _) => {
            let (a, b) = (text_code(a), text_code(b));
            Code::new(move |scope| Ok(ordered(how, a.get(scope)?, b.get(scope)?)))
        }
        (Type::Int, Type::Int) => {
            let (a, b) = (int_code(a), int_code(b));
            Code::new(move |scope| Ok(ordered(how, a.get(scope)?, b.get(scope)?)))
        }
        _ => {
            if let (Checked::Fact(fact), Checked::Double(bound)) = (&a.kind, &b.kind) {
                let (fact, bound) = (*fact, *bound);
                return Code::new(move |scope| {
                    Ok(ordered(how, scope.number(fact).ok_or(Failure::Unknown(fact))?, bound))
                });
            }
            let (a, b) = (double_code(a), double_code(b));
            Code::new(move |scope| Ok(ordered(how, a.get(scope)?, b.get(scope)?)))
        }
    }
}

fn int_code(tree: &Typed) -> IntCode {
    match &tree.kind {
        Checked::Int(n) => {
            let n = *n;
            Code::new(move |_| Ok(n))
        }
        Checked::Fact(fact) => {
            let fact = *fact;
            Code::new(move |scope| scope.number(fact).map(|n| n as i64).ok_or(Failure::Unknown(fact)))
        }
        Checked::Minus(inner) => {
            let inner = int_code(inner);
            Code::new(move |scope| inner.get(scope)?.checked_neg().ok_or(Failure::Overflow))
        }
        Checked::Calculate(how, a, b) => {
            let (how, a, b) = (*how, int_code(a), int_code(b));
            Code::new(move |scope| {
                let (a, b) = (a.get(scope)?, b.get(scope)?);
                if b == 0 && matches!(how, Calculate::Divide | Calculate::Remainder) {
                    return Err(Failure::DivisionByZero);
                }
                let value = match how {
                    Calculate::Add => a.checked_add(b),
                    Calculate::Subtract => a.checked_sub(b),
                    Calculate::Multiply => a.checked_mul(b),
                    Calculate::Divide => a.checked_div(b),
                    Calculate::Remainder => a.checked_rem(b),
                };
                value.ok_or(Failure::Overflow)
            })
        }
        Checked::If(condition, yes, no) => choice(bool_code(condition), int_code(yes), int_code(no)),
        Checked::Size(text) => {
            let text = text_code(text);
            Code::new(move |scope| Ok(text.get(scope)?.chars().count() as i64))
        }
        Checked::ToInt(inner) if inner.ty == Type::Double => {
            let inner = double_code(inner);
            Code::new(move |scope| {
                let n = inner.get(scope)?;
                // The bounds of 64 bits as the nearest doubles inside them.
                let inside = (-9.223_372_036_854_775e18..=9.223_372_036_854_775e18).contains(&n);
                if inside { Ok(n as i64) } else { Err(Failure::Overflow) }
            })
        }
        Checked::ToInt(inner) => int_code(inner),
        // Nothing else is a whole number.
        _ => Code::new(|_| Err(Failure::Overflow)),
    }
}

pub(super) fn double_code(tree: &Typed) -> DoubleCode {
    if tree.ty == Type::Int {
        let whole = int_code(tree);
        return Code::new(move |scope| whole.get(scope).map(|n| n as f64));
    }
    match &tree.kind {
        Checked::Double(n) => {
            let n = *n;
            Code::new(move |_| Ok(n))
        }
        Checked::Fact(fact) => {
            let fact = *fact;
            Code::new(move |scope| scope.number(fact).ok_or(Failure::Unknown(fact)))
        }
        Checked::Minus(inner) => {
            let inner = double_code(inner);
            Code::new(move |scope| inner.get(scope).map(|n| -n))
        }
        Checked::Calculate(how, a, b) => {
            let (how, a, b) = (*how, double_code(a), double_code(b));
            Code::new(move |scope| {
                let (a, b) = (a.get(scope)?, b.get(scope)?);
                let value = match how {
                    Calculate::Add => a + b,
                    Calculate::Subtract => a - b,
                    Calculate::Multiply => a * b,
                    Calculate::Divide if b == 0.0 => return Err(Failure::DivisionByZero),
                    Calculate::Divide | Calculate::Remainder => a / b,
                };
                if value.is_finite() { Ok(value) } else { Err(Failure::Overflow) }
            })
        }
        Checked::If(condition, yes, no) => choice(bool_code(condition), double_code(yes), double_code(no)),
        Checked::ToDouble(inner) => double_code(inner),
        // Nothing else is a fraction.
        _ => Code::new(|_| Err(Failure::Overflow)),
    }
}
