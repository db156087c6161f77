//! Text to tokens.

use super::Wrong;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name, with dots in it where it is a path.
    Name(String),
    Int(i64),
    Double(f64),
    Text(String),
    /// An operator or bracket.
    Sign(&'static str),
    End,
}

/// A token and its bytes.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Longer ones first.
const SIGNS: [&str; 22] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "(", ")", "[", "]", ",", "?",
    ":", ".",
];

pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, Wrong> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let start = at;
        let rest = &text[at..];
        let token = if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        } else if c.is_ascii_digit() {
            number(rest, &mut at, start)?
        } else if c == '"' || c == '\'' {
            quoted(rest, c, &mut at, start)?
        } else if c.is_ascii_alphabetic() || c == '_' {
            at += rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            Token::Name(text[start..at].to_owned())
        } else if let Some(sign) = SIGNS.iter().find(|s| rest.starts_with(**s)) {
            at += sign.len();
            Token::Sign(sign)
        } else {
            let fix = match c {
                '=' => "compare with `==`",
                '&' => "write `&&`",
                '|' => "write `||`",
                _ => "remove it",
            };
            let what = format!("`{c}` means nothing here");
            return Err(Wrong::new("condition", start, start + c.len_utf8(), what, fix));
        };
        out.push(Placed { token, start, end: at });
    }
    out.push(Placed { token: Token::End, start: text.len(), end: text.len() });
    Ok(out)
}

fn number(rest: &str, at: &mut usize, start: usize) -> Result<Token, Wrong> {
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut length = digits(0);
    let mut whole = true;
    if bytes.get(length) == Some(&b'.') && bytes.get(length + 1).is_some_and(u8::is_ascii_digit) {
        length += 1 + digits(length + 1);
        whole = false;
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
            whole = false;
        }
    }
    *at += length;
    let text = &rest[..length];
    let read = if whole {
        text.parse().map(Token::Int).ok()
    } else {
        text.parse::<f64>().ok().filter(|n| n.is_finite()).map(Token::Double)
    };
    read.ok_or_else(|| {
        Wrong::new(
            "condition",
            start,
            start + length,
            format!("`{text}` is out of range"),
            "write a smaller number",
        )
    })
}

fn quoted(rest: &str, quote: char, at: &mut usize, start: usize) -> Result<Token, Wrong> {
    let mut out = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, c @ ('\\' | '"' | '\''))) => out.push(c),
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                _ => {
                    let fix = "write `\\\\`, `\\\"`, `\\'`, `\\n` or `\\t`";
                    return Err(Wrong::new(
                        "condition",
                        start + i,
                        start + i + 1,
                        "this escape is not known",
                        fix,
                    ));
                }
            },
            c if c == quote => {
                *at += i + 1;
                return Ok(Token::Text(out));
            }
            c => out.push(c),
        }
    }
    Err(Wrong::new("condition", start, start + 1, "this text has no end", format!("close it with `{quote}`")))
}
