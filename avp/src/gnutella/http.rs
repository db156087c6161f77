//! What peers ask each other over HTTP, and short answers.

use std::borrow::Cow;

use super::guid::Guid;
use super::headers::Writer;
use super::huge::{Sha1, Urn};

/// Most parameters of one request that are read.
pub const PARAMETERS_MAX: usize = 32;

/// Undoes percent encoding; `None` where a `%` is not followed by two hexadecimal digits.
#[must_use]
pub fn decode(text: &str) -> Option<Cow<'_, [u8]>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        let (digits, tail) = rest[at + 1..].split_first_chunk::<2>()?;
        let [high, low] = digits.map(|d| char::from(d).to_digit(16));
        out.push((high? << 4 | low?) as u8);
        rest = tail;
    }
    out.extend_from_slice(rest);
    Some(Cow::Owned(out))
}

/// Percent encodes all but letters, digits and `-._~/`.
#[must_use]
pub fn encode(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(byte) {
            out.push(char::from(*byte));
        } else {
            let digit = |n: u8| char::from(b"0123456789ABCDEF"[usize::from(n & 15)]);
            out.extend(['%', digit(byte >> 4), digit(*byte)]);
        }
    }
    out
}

/// A request's target, cut at its question mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// As sent.
    pub path: &'a str,
    /// Behind the question mark, as sent.
    pub query: &'a str,
}

impl<'a> Target<'a> {
    /// Cuts a target. The form with a host (`http://host/path`) loses the host.
    #[must_use]
    pub fn parse(target: &'a str) -> Self {
        let target = match target.strip_prefix("http://") {
            Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => target,
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self { path, query }
    }

    /// Names and values of the query, decoded; those that cannot be are left out. `+` is a space.
    pub fn parameters(&self) -> impl Iterator<Item = (&'a str, String)> + use<'a> {
        self.query.split('&').filter(|p| !p.is_empty()).take(PARAMETERS_MAX).filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace('+', " ");
            let decoded = String::from_utf8_lossy(&decode(&value)?).into_owned();
            Some((name, decoded))
        })
    }

    /// The value of the first parameter with this name, compared without case.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// What is asked for.
    #[must_use]
    pub fn resource(&self) -> Resource<'a> {
        let path = self.path;
        if path == "/" {
            return Resource::Root;
        }
        if let "/gnutella/push-proxy" | "/gnutella/pushproxy" = path {
            return self.push_proxy().unwrap_or(Resource::Malformed);
        }
        if let Some(service) = path.strip_prefix("/uri-res/") {
            // The urn is the whole query, not a parameter.
            let urn = decode(self.query).and_then(|q| Urn::parse(&q)?.sha1());
            return urn.map_or(Resource::Malformed, |sha1| Resource::ByUrn { service, sha1 });
        }
        if let Some(rest) = path.strip_prefix("/get/") {
            let (index, name) = rest.split_once('/').unwrap_or((rest, ""));
            let name = decode(name).map(|n| String::from_utf8_lossy(&n).into_owned());
            return match (index.parse(), name) {
                (Ok(index), Some(name)) => Resource::ByIndex { index, name },
                _ => Resource::Malformed,
            };
        }
        Resource::Other(path)
    }

    /// The servent is named in base32 (`ServerId`) or in hexadecimal (`guid`); each is taken under either name.
    fn push_proxy(&self) -> Option<Resource<'a>> {
        let text = self.parameter("ServerId").or_else(|| self.parameter("guid"))?;
        let text = text.as_bytes();
        let servent = Guid::from_base32(text).or_else(|| Guid::from_hex(text))?;
        let file = match self.parameter("file") {
            Some(number) => Some(number.parse().ok()?),
            None => None,
        };
        Some(Resource::PushProxy { servent, file })
    }
}

/// What peers ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// `/`: a list of what is shared, or a page for people.
    Root,
    /// `/gnutella/push-proxy?ServerId=...`: send a push to that servent. The asker's address is in `X-Node`.
    PushProxy {
        /// Who should connect to the asker.
        servent: Guid,
        /// Which of its files is wanted.
        file: Option<u32>,
    },
    /// `/uri-res/N2R?urn:sha1:...`: contents by name.
    ByUrn {
        /// `N2R` for the contents, `N2X` for the hash tree, ...
        service: &'a str,
        /// Which.
        sha1: Sha1,
    },
    /// `/get/7/name`: contents by number.
    ByIndex {
        /// As in a query hit.
        index: u32,
        /// Decoded.
        name: String,
    },
    /// One of the above with parts that cannot be understood: 400.
    Malformed,
    /// Another path.
    Other(&'a str),
}

/// A short answer. The connection is closed after it.
#[derive(Clone, Debug)]
pub struct Answer {
    head: Writer,
    body: Vec<u8>,
}

impl Answer {
    /// An answer of this server. Downloaders drop sources that do not name themselves.
    #[must_use]
    pub fn new(code: u16, reason: &str, server: &str) -> Self {
        Self { head: Writer::http_status(code, reason).header("Server", server), body: Vec::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.head.push(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.head.push("Content-Type", content_type);
        self.body = body.into();
        self
    }

    /// The bytes on the wire; without the body where the request was `HEAD`.
    #[must_use]
    pub fn finish(self, method: super::handshake::Method) -> Vec<u8> {
        let head = self.head.header("Content-Length", self.body.len()).header("Connection", "close");
        let mut out = head.finish();
        if method == super::handshake::Method::Get {
            out.extend_from_slice(&self.body);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::gnutella::handshake::{Method, Reader, Start};

    const GUID: &str = "9729310248d8ffd0b72ff6861ab3025b";

    fn resource(target: &str) -> Resource<'_> {
        Target::parse(target).resource()
    }

    #[test]
    fn a_push_proxy_takes_both_spellings() {
        let servent = Guid::from_hex(GUID.as_bytes()).unwrap();
        let base32 = format!("/gnutella/push-proxy?ServerId={}", servent.base32());
        assert_eq!(resource(&base32), Resource::PushProxy { servent, file: None });
        let hex = format!("/gnutella/pushproxy?guid={GUID}&file=7");
        assert_eq!(resource(&hex), Resource::PushProxy { servent, file: Some(7) });
        for bad in ["", "?ServerId=", "?ServerId=xyz", &format!("?guid={GUID}&file=x")] {
            assert_eq!(resource(&format!("/gnutella/push-proxy{bad}")), Resource::Malformed, "{bad}");
        }
    }

    #[test]
    fn contents_are_asked_for_by_name_or_by_number() {
        let sha1 = Sha1::from_base32(b"DT56VS43LC4FLARA57CPYF4QP4DHGQKT").unwrap();
        let by_urn = Resource::ByUrn { service: "N2R", sha1 };
        assert_eq!(resource("/uri-res/N2R?urn:sha1:DT56VS43LC4FLARA57CPYF4QP4DHGQKT"), by_urn);
        assert_eq!(resource("http://h:1/uri-res/N2R?urn%3Asha1%3ADT56VS43LC4FLARA57CPYF4QP4DHGQKT"), by_urn);
        assert_eq!(resource("/uri-res/N2R?urn:sha1:x"), Resource::Malformed);
        let zebra = Resource::ByIndex { index: 1, name: "zebra quartet symphony.mp3".into() };
        assert_eq!(resource("/get/1/zebra%20quartet%20symphony.mp3"), zebra);
        assert_eq!(resource("/get/1/zebra quartet symphony.mp3"), zebra);
        assert_eq!(resource("/get/x/y"), Resource::Malformed);
        assert_eq!(resource("/get/1/%zz"), Resource::Malformed);
        assert_eq!(resource("/"), Resource::Root);
        assert_eq!(resource("/nowhere?x"), Resource::Other("/nowhere"));
    }

    #[test]
    fn parameters_are_decoded_and_bounded() {
        let target = Target::parse(
            "/gwc?client=TEST&version=1.0&ip=1.2.3.4%3A6346&url=http%3a%2f%2fh%2f&note=a+b&bad=%g0&flag",
        );
        assert_eq!(target.parameter("IP").as_deref(), Some("1.2.3.4:6346"));
        assert_eq!(target.parameter("url").as_deref(), Some("http://h/"));
        assert_eq!(target.parameter("note").as_deref(), Some("a b"));
        assert_eq!(target.parameter("flag").as_deref(), Some(""));
        assert_eq!(target.parameter("bad"), None);
        let many = format!("/?{}", "a=b&".repeat(1000));
        assert_eq!(Target::parse(&many).parameters().count(), PARAMETERS_MAX);
    }

    #[test]
    fn an_answer_says_how_long_it_is() {
        let answer = Answer::new(200, "OK", "test/1")
            .header("X-Extra", "y\r\nInjected: z")
            .body("text/plain", "hello");
        let bytes = answer.clone().finish(Method::Get);
        let (block, used) = Reader::default().push(&bytes).unwrap().unwrap();
        assert!(matches!(block.start, Start::Answer { code: 200, .. }));
        assert_eq!(block.headers.number("Content-Length"), Some(5));
        assert_eq!(block.headers.get("Injected"), None);
        assert_eq!(&bytes[used..], b"hello");
        assert_eq!(answer.finish(Method::Head), &bytes[..used]);
    }

    proptest! {
        #[test]
        fn encoding_is_undone(text in vec(any::<u8>(), 0..60)) {
            let encoded = encode(&text);
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_graphic()));
            prop_assert_eq!(decode(&encoded).unwrap().into_owned(), text);
        }

        #[test]
        fn any_target_is_read_without_panic(path in "(/uri-res/|/get/|/gnutella/push-proxy|http://)?(?s).{0,40}") {
            let target = Target::parse(&path);
            let _ = (target.resource(), target.parameters().count());
        }
    }
}
