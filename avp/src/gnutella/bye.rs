//! Bye: why the connection is about to be closed (Bye 0.1).

use std::fmt::Write;

/// Reasons. The hundreds are those of HTTP: 2xx nobody's fault, 4xx the receiver's, 5xx the sender's.
pub mod code {
    /// Leaving the network.
    pub const LEAVING: u16 = 200;
    /// The slot is needed for somebody else.
    pub const REPLACED: u16 = 202;
    /// A message that is too large.
    pub const TOO_LARGE: u16 = 400;
    /// Too slow: to take what is sent, or to come to the end of a message.
    pub const TOO_SLOW: u16 = 405;
    /// No answer to alive pings.
    pub const NO_PONG: u16 = 406;
    /// A query routing update out of order.
    pub const BAD_QRP: u16 = 413;
    /// A message that the peer's role or the agreed terms forbid.
    pub const NOT_ALLOWED: u16 = 414;
    /// What waits to be sent is too much.
    pub const QUEUE_OVERFLOW: u16 = 502;
}

/// A Bye's payload: code, reason, and optionally headers below the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bye<'a> {
    /// See [`code`].
    pub code: u16,
    /// The first line.
    pub reason: &'a [u8],
    /// Header lines as they came, without the final empty one.
    pub headers: &'a [u8],
}

impl<'a> Bye<'a> {
    /// Reads a payload of at least two bytes. A missing NUL is tolerated, as the connection ends anyway.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let (code, text) = payload.split_first_chunk::<2>()?;
        let text = &text[..memchr::memchr(0, text).unwrap_or(text.len())];
        let line_end = memchr::memchr(b'\n', text).unwrap_or(text.len());
        let headers = text.get(line_end + 1..).unwrap_or_default();
        Some(Self {
            code: u16::from_le_bytes(*code),
            reason: text[..line_end].trim_ascii(),
            headers: headers.trim_ascii(),
        })
    }
}

/// The payload of a Bye that names its sender. Control characters in the reason become spaces.
#[must_use]
pub fn encode(code: u16, reason: &str, server: &str) -> Vec<u8> {
    let plain =
        |text: &str| -> String { text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect() };
    let mut text = plain(reason);
    if !server.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(text, "\r\nServer: {}\r\n\r\n", plain(server));
    }
    let mut out = code.to_le_bytes().to_vec();
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    out
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_captured_bye_is_read_and_written_back() {
        let server = "gtk-gnutella/1.2.3-14-ga331a-dirty (2024-03-03; Topless; Linux x86_64)";
        let mut payload = b"\x96\x01No reply to alive pings\r\nServer: ".to_vec();
        payload.extend_from_slice(server.as_bytes());
        payload.extend_from_slice(b"\r\n\r\n\0");
        assert_eq!(payload.len(), 110);
        let bye = Bye::parse(&payload).unwrap();
        assert_eq!((bye.code, bye.reason), (code::NO_PONG, &b"No reply to alive pings"[..]));
        assert_eq!(bye.headers, format!("Server: {server}").as_bytes());
        assert_eq!(encode(code::NO_PONG, "No reply to alive pings", server), payload);
    }

    #[test]
    fn the_other_captured_codes() {
        assert_eq!(Bye::parse(b"\x9d\x01No QRP RESET received before PATCH\0").unwrap().code, code::BAD_QRP);
        assert_eq!(
            Bye::parse(b"\x90\x01Too large Query message (1129 bytes)\0").unwrap().code,
            code::TOO_LARGE
        );
        assert_eq!(Bye::parse(b"\x90"), None);
    }

    proptest! {
        #[test]
        fn a_reason_cannot_add_lines(code: u16, reason in ".{0,60}") {
            let payload = encode(code, &reason, "s");
            let bye = Bye::parse(&payload).unwrap();
            prop_assert_eq!(bye.code, code);
            prop_assert_eq!(bye.headers, b"Server: s");
        }

        #[test]
        fn any_bytes_are_read_without_panic(payload in vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(Bye::parse(&payload).is_some(), payload.len() >= 2);
        }
    }
}
