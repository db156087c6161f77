//! Header lines, read and written, in handshakes and in HTTP.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddrV4};

/// A version as headers carry it: `0.6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Before the dot.
    pub major: u8,
    /// Behind it.
    pub minor: u8,
}

impl Version {
    /// Names a version.
    #[must_use]
    pub const fn new(major: u8, minor: u8) -> Self {
        Self { major, minor }
    }

    /// Reads `major.minor` or `major`; what follows the digits is ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
            text[..end].parse().ok()
        };
        let text = text.trim();
        match text.split_once('.') {
            Some((major, minor)) => Some(Self { major: major.parse().ok()?, minor: number(minor)? }),
            None => Some(Self { major: number(text)?, minor: 0 }),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The lines of a header block in their order. Names are compared without case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    lines: Vec<(String, String)>,
}

impl Headers {
    /// Adds a line.
    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.lines.push((name.to_owned(), value.to_owned()));
    }

    /// Adds a continuation to the last line.
    pub(super) fn extend_last(&mut self, more: &str) -> bool {
        let Some((_, value)) = self.lines.last_mut() else { return false };
        value.push(' ');
        value.push_str(more);
        true
    }

    /// How many lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are no lines.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Each line.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of the first line with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// The values of all lines with this name.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The values of all lines with this name, joined by commas.
    #[must_use]
    pub fn merged(&self, name: &str) -> Option<String> {
        let all: Vec<&str> = self.get_all(name).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// The comma-separated items of all lines with this name.
    pub fn items(&self, name: &str) -> impl Iterator<Item = &str> {
        self.get_all(name).flat_map(|value| value.split(',')).map(str::trim).filter(|item| !item.is_empty())
    }

    /// Whether an item with this name (before its `;` parameters) is in the list, and not refused with `q=0`.
    #[must_use]
    pub fn accepts(&self, name: &str, wanted: &str) -> bool {
        self.items(name).any(|item| {
            let mut parts = item.split(';').map(str::trim);
            parts.next().is_some_and(|n| n.eq_ignore_ascii_case(wanted)) && !parts.any(is_refusal)
        })
    }

    /// The version in a header such as `X-Query-Routing`.
    #[must_use]
    pub fn version(&self, name: &str) -> Option<Version> {
        self.get(name).and_then(Version::parse)
    }

    /// The version of a feature in a list of `name/0.1` items, as in `X-Features`.
    #[must_use]
    pub fn feature(&self, name: &str, feature: &str) -> Option<Version> {
        self.items(name)
            .filter_map(|item| item.split_once('/'))
            .find(|(n, _)| n.eq_ignore_ascii_case(feature))
            .and_then(|(_, version)| Version::parse(version))
    }

    /// `True` or `False`, of any case; `None` for anything else.
    #[must_use]
    pub fn boolean(&self, name: &str) -> Option<bool> {
        let value = self.get(name)?;
        let is = |word| value.eq_ignore_ascii_case(word);
        if is("true") { Some(true) } else { is("false").then_some(false) }
    }

    /// A number without sign.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u32> {
        self.get(name)?.parse().ok()
    }

    /// An `ip:port`.
    #[must_use]
    pub fn addr(&self, name: &str) -> Option<SocketAddrV4> {
        self.get(name)?.parse().ok()
    }

    /// An address, with or without a port.
    #[must_use]
    pub fn ip(&self, name: &str) -> Option<IpAddr> {
        let value = self.get(name)?;
        value.parse().ok().or_else(|| value.parse::<std::net::SocketAddr>().ok().map(|a| a.ip()))
    }
}

/// `q=0`, `q=0.0`, ...
fn is_refusal(parameter: &str) -> bool {
    let value = parameter.strip_prefix(['q', 'Q']).and_then(|rest| rest.trim_start().strip_prefix('='));
    value.is_some_and(|v| v.trim().parse::<f32>().is_ok_and(|q| q <= 0.0))
}

/// Writes a start line and headers. Whatever a value holds, it stays one line: control characters become spaces.
#[derive(Clone, Debug)]
pub struct Writer {
    text: String,
}

impl Writer {
    fn start(line: fmt::Arguments<'_>) -> Self {
        let mut text = String::with_capacity(512);
        push_line(&mut text, line);
        Self { text }
    }

    /// `GNUTELLA CONNECT/0.6`
    #[must_use]
    pub fn connect() -> Self {
        Self::start(format_args!("GNUTELLA CONNECT/0.6"))
    }

    /// `GNUTELLA/0.6 200 OK`
    #[must_use]
    pub fn status(code: u16, reason: &str) -> Self {
        Self::start(format_args!("GNUTELLA/0.6 {code:03} {reason}"))
    }

    /// `HTTP/1.1 200 OK`
    #[must_use]
    pub fn http_status(code: u16, reason: &str) -> Self {
        Self::start(format_args!("HTTP/1.1 {code:03} {reason}"))
    }

    /// `GET /path HTTP/1.1`; the target must be encoded already ([`super::http::encode`]).
    #[must_use]
    pub fn get(target: &str) -> Self {
        Self::start(format_args!("GET {target} HTTP/1.1"))
    }

    /// Adds a line. A name that is not an HTTP token has no form on the wire: such a line is left out.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.push(name, value);
        self
    }

    /// As [`Self::header`], in place.
    pub fn push(&mut self, name: &str, value: impl fmt::Display) {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if !name.is_empty() && name.bytes().all(is_token) {
            push_line(&mut self.text, format_args!("{name}: {value}"));
        }
    }

    /// The block with its empty line.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.text.push_str("\r\n");
        self.text.into_bytes()
    }
}

fn push_line(text: &mut String, line: fmt::Arguments<'_>) {
    let start = text.len();
    // Writing to a String cannot fail; a Display that fails leaves what it has written.
    let _ = text.write_fmt(line);
    if text.as_bytes()[start..].iter().any(u8::is_ascii_control) {
        let clean = text[start..].replace(|c: char| c.is_ascii_control(), " ");
        text.truncate(start);
        text.push_str(&clean);
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        lines.iter().for_each(|(name, value)| headers.push(name, value));
        headers
    }

    #[test]
    fn names_are_found_in_any_case_and_lists_are_merged() {
        let h = headers(&[
            ("Accept-Encoding", "gzip;q=1, Deflate"),
            ("X-Try", "1.2.3.4:1"),
            ("x-try", " 5.6.7.8:2 ,"),
        ]);
        assert!(h.accepts("accept-encoding", "deflate") && h.accepts("ACCEPT-ENCODING", "gzip"));
        assert!(!h.accepts("Accept-Encoding", "br"));
        assert_eq!(h.items("X-Try").collect::<Vec<_>>(), ["1.2.3.4:1", "5.6.7.8:2"]);
        assert_eq!(h.merged("X-Try").as_deref(), Some("1.2.3.4:1,  5.6.7.8:2 ,"));
        assert_eq!(h.merged("X-None"), None);
        assert!(!headers(&[("A", "deflate; q=0.0")]).accepts("A", "deflate"));
    }

    #[test]
    fn values_are_read_as_what_they_are() {
        let h = headers(&[
            ("X-Query-Routing", "0.2"),
            ("X-Ultrapeer", "true"),
            ("X-Degree", "46"),
            ("Listen-IP", "100.64.78.2:6360"),
            ("Remote-IP", "100.64.77.1"),
            ("X-Features", "tls/1.0, browse/1.0, sflag/0.1, HSEP/0.2"),
            ("Vendor-Message", "0.x"),
        ]);
        assert_eq!(h.version("X-Query-Routing"), Some(Version::new(0, 2)));
        assert_eq!(h.boolean("X-Ultrapeer"), Some(true));
        assert_eq!(h.boolean("X-Degree"), None);
        assert_eq!(h.number("X-Degree"), Some(46));
        assert_eq!(h.addr("Listen-IP"), "100.64.78.2:6360".parse().ok());
        assert_eq!(h.ip("Listen-IP"), "100.64.78.2".parse().ok());
        assert_eq!(h.ip("Remote-IP"), "100.64.77.1".parse().ok());
        assert_eq!(h.feature("X-Features", "hsep"), Some(Version::new(0, 2)));
        assert_eq!(h.version("Vendor-Message"), None);
        assert_eq!(Version::parse("1"), Some(Version::new(1, 0)));
        assert!(Version::new(0, 10) > Version::new(0, 2));
    }

    proptest! {
        #[test]
        fn nothing_that_is_written_adds_a_line(name in ".{0,20}", value in "(?s).{0,60}", reason in "(?s).{0,30}") {
            let text = Writer::status(503, &reason).header("A", &value).header(&name, &value).header("B", "b").finish();
            let text = String::from_utf8(text).unwrap();
            let lines: Vec<_> = text.split("\r\n").collect();
            prop_assert!((5..=6).contains(&lines.len()), "{lines:?}");
            prop_assert!(lines.iter().all(|l| !l.contains(['\r', '\n', '\0'])));
            prop_assert_eq!(&lines[lines.len() - 3..], ["B: b", "", ""]);
        }

        #[test]
        fn any_value_is_read_without_panic(value in "(?s).{0,60}") {
            let h = headers(&[("A", &value)]);
            let _ = (h.version("A"), h.boolean("A"), h.number("A"), h.addr("A"), h.ip("A"), h.accepts("A", "x"), h.feature("A", "x"));
        }
    }
}
