//! The files that a peer shares, and what matches them.

use std::sync::Arc;

use data_encoding::BASE32;
use sha1::{Digest, Sha1};

use crate::wire::Query;

/// A file to share.
#[derive(Clone, Debug)]
pub struct SharedFile {
    pub name: String,
    pub bytes: Arc<Vec<u8>>,
    pub urn: String,
}

impl SharedFile {
    #[must_use]
    pub fn new(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), urn: sha1_urn(&bytes), bytes: Arc::new(bytes) }
    }

    /// A file with `len` bytes that depend on its name.
    #[must_use]
    pub fn filled(name: &str, len: usize) -> Self {
        let seed = name.bytes().fold(7_u32, |a, b| a.wrapping_mul(31).wrapping_add(u32::from(b)));
        let bytes = (0..len as u32).map(|i| (i.wrapping_mul(seed | 1) >> 7) as u8).collect();
        Self::new(name, bytes)
    }

    /// Whether it has all the words, or is the file that the query's urn names.
    #[must_use]
    pub fn matches(&self, query: &Query) -> bool {
        if let Some(urn) = query.wanted_urn() {
            return urn.eq_ignore_ascii_case(&self.urn);
        }
        let name = self.name.to_lowercase();
        let mut words = query.text.split_whitespace().peekable();
        words.peek().is_some() && words.all(|w| name.contains(&w.to_lowercase()))
    }
}

/// `urn:sha1:` and 32 letters.
#[must_use]
pub fn sha1_urn(bytes: &[u8]) -> String {
    format!("urn:sha1:{}", BASE32.encode(&Sha1::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_answers_to_all_its_words_or_its_urn() {
        let file = SharedFile::filled("Walrus Concerto in G.mp3", 10);
        assert!(file.matches(&Query::words("concerto WALRUS")));
        assert!(!file.matches(&Query::words("walrus polka")));
        assert!(!file.matches(&Query::words("")));
        assert!(file.matches(&Query::urn(&file.urn)));
        assert!(!file.matches(&Query::urn(&sha1_urn(b"another"))));
    }
}
