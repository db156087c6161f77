//! Queries.

/// A query's payload, as far as the tests look into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// 16 bits, big-endian on the wire; strict peers drop queries where they are all zero.
    pub flags: u16,
    pub text: String,
    /// What follows the text's NUL: urns, XML, GGEP.
    pub extensions: Vec<u8>,
}

impl Query {
    /// "These are flags": the bit that tells a modern query from one with a minimum speed.
    pub const MARK: u16 = 0x8000;

    #[must_use]
    pub fn words(text: &str) -> Self {
        Self { flags: Self::MARK, text: text.to_owned(), extensions: Vec::new() }
    }

    /// A search for one file by its SHA-1 (HUGE): no text, the urn as an extension.
    #[must_use]
    pub fn urn(urn: &str) -> Self {
        Self { flags: Self::MARK, text: String::new(), extensions: urn.as_bytes().to_vec() }
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.flags.to_be_bytes().to_vec();
        out.extend_from_slice(self.text.as_bytes());
        out.push(0);
        out.extend_from_slice(&self.extensions);
        out
    }

    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (flags, rest) = payload.split_first_chunk::<2>()?;
        let end = rest.iter().position(|b| *b == 0)?;
        let text = String::from_utf8_lossy(&rest[..end]).into_owned();
        Some(Self { flags: u16::from_be_bytes(*flags), text, extensions: rest[end + 1..].to_vec() })
    }

    /// The first `urn:sha1:` among the extensions.
    #[must_use]
    pub fn wanted_urn(&self) -> Option<String> {
        self.extensions
            .split(|b| *b == 0x1c || *b == 0)
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .find(|part| part.len() == 41 && part.to_ascii_lowercase().starts_with("urn:sha1:"))
    }
}
