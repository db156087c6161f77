//! Public keys that are trusted: files beside the node file, or keys written into it.
//!
//! A key file is what `minisign -G` and `eep proxylet keygen` write, two lines. Behind a key an operator may say how
//! long it counts, and further keys may follow:
//!
//! ```text
//! untrusted comment: releases of isp-a
//! RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
//! expires: 2027-01-01
//! revoked: the laptop with it was stolen
//! ```
//!
//! `minisign` reads the first two lines and passes over the rest.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use data_encoding::BASE64;
use minisign_verify::PublicKey;
use serde::{Deserialize, Serialize};

use crate::proxylet::trust::key_id::KeyId;

/// The largest key file, in bytes.
pub const KEY_FILE_BYTES_MAX: u64 = 64 << 10;
/// The most keys that a node trusts.
pub const KEYS_MAX: usize = 64;
/// How long a public key is in base64, and what it begins with.
const ENCODED_LEN: usize = 56;
const ENCODED_START: &str = "RW";
const COMMENT: &str = "untrusted comment:";

/// Where trusted keys are written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum KeySource {
    /// The key itself, in base64.
    Inline(String),
    /// A key file.
    File(PathBuf),
}

impl KeySource {
    /// The same with a relative path taken from this directory.
    #[must_use]
    pub fn under(self, directory: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(directory.join(path)),
            inline @ Self::Inline(_) => inline,
        }
    }
}

impl From<String> for KeySource {
    fn from(text: String) -> Self {
        if text.len() == ENCODED_LEN && text.starts_with(ENCODED_START) {
            Self::Inline(text)
        } else {
            Self::File(text.into())
        }
    }
}

impl From<KeySource> for String {
    fn from(source: KeySource) -> Self {
        source.to_string()
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(text) => f.write_str(text),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Why keys cannot be trusted as they are written down. The words are `what`, and the fix after a line break.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file cannot be read.
    #[error("the key file {} cannot be read: {why}\ncheck the path, and that the node's user may read it", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: std::io::Error,
    },
    /// A secret key where a public one belongs.
    #[error(
        "{place} is a secret key\nname the public key, which ends in .pub, and keep the secret one off this machine"
    )]
    Secret {
        /// Which file.
        place: String,
    },
    /// A line that does not belong there.
    #[error("line {line} of the keys in {place} is {found}\n{fix}")]
    Line {
        /// Which file, or the node file.
        place: String,
        /// Counted from 1.
        line: usize,
        /// What stands there.
        found: &'static str,
        /// What should.
        fix: &'static str,
    },
    /// No key at all.
    #[error("there is no key in {place}\nmake one with `eep proxylet keygen`")]
    Empty {
        /// Which file.
        place: String,
    },
    /// More than [`KEYS_MAX`].
    #[error("there are too many keys\na node trusts at most {KEYS_MAX}")]
    TooMany,
}

/// A public key and how far it is trusted.
#[derive(Clone, Debug)]
pub struct TrustedKey {
    /// What it is called by.
    pub id: KeyId,
    /// What its file says that it is for.
    pub label: String,
    /// From when on it counts for nothing.
    pub expires: Option<SystemTime>,
    /// Why it counts for nothing, not even for what it signed before.
    pub revoked: Option<String>,
    pub(super) key: PublicKey,
    encoded: String,
}

impl TrustedKey {
    pub(super) fn encoded(&self) -> &str {
        &self.encoded
    }
}

/// All trusted keys, each once.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    keys: Vec<TrustedKey>,
}

impl Keyring {
    /// Reads keys from all these places. Where a key is in several, whatever ends it counts.
    ///
    /// # Errors
    /// The first place that cannot be read as keys.
    pub fn read(sources: &[KeySource]) -> Result<Self, KeyringError> {
        let mut ring = Self::default();
        for source in sources {
            match source {
                KeySource::Inline(encoded) => ring.add(encoded, "the node file")?,
                KeySource::File(path) => ring.add(&read_file(path)?, &path.display().to_string())?,
            }
        }
        Ok(ring)
    }

    /// The keys, in the order in which they were written down.
    pub fn keys(&self) -> impl Iterator<Item = &TrustedKey> {
        self.keys.iter()
    }

    pub(super) fn find(&self, id: KeyId) -> impl Iterator<Item = &TrustedKey> {
        self.keys.iter().filter(move |key| key.id == id)
    }

    fn add(&mut self, text: &str, place: &str) -> Result<(), KeyringError> {
        let (mut label, mut found) = (String::new(), Vec::<TrustedKey>::new());
        for (i, line) in text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())) {
            let wrong = |found, fix| KeyringError::Line { place: place.to_owned(), line: i, found, fix };
            if let Some(comment) = line.strip_prefix(COMMENT) {
                label = comment.trim().to_owned();
                // minisign's own comment in a file with a secret key.
                if label.contains("secret key") {
                    return Err(KeyringError::Secret { place: place.to_owned() });
                }
            } else if let Some(date) = line.strip_prefix("expires:") {
                let Some(key) = found.last_mut() else { return Err(wrong(BEFORE_KEYS, KEY_FIRST)) };
                let date = date_of(date.trim()).ok_or_else(|| wrong("no date", WRITE_DATE))?;
                key.expires = Some(key.expires.map_or(date, |known| known.min(date)));
            } else if let Some(why) = line.strip_prefix("revoked:") {
                let Some(key) = found.last_mut() else { return Err(wrong(BEFORE_KEYS, KEY_FIRST)) };
                key.revoked = Some(why.trim().to_owned());
            } else if !line.is_empty() && !line.starts_with('#') {
                let label = std::mem::take(&mut label);
                let key = public_key(line, label).ok_or_else(|| wrong(NO_KEY, WRITE_KEY))?;
                found.push(key);
            }
        }
        if found.is_empty() {
            return Err(KeyringError::Empty { place: place.to_owned() });
        }
        for key in found {
            self.insert(key)?;
        }
        Ok(())
    }

    fn insert(&mut self, key: TrustedKey) -> Result<(), KeyringError> {
        if let Some(known) = self.keys.iter_mut().find(|known| known.encoded == key.encoded) {
            known.expires = known.expires.into_iter().chain(key.expires).min();
            known.revoked = known.revoked.take().or(key.revoked);
            return Ok(());
        }
        if self.keys.len() == KEYS_MAX {
            return Err(KeyringError::TooMany);
        }
        self.keys.push(key);
        Ok(())
    }
}

const BEFORE_KEYS: &str = "before any key";
const KEY_FIRST: &str = "`expires:` and `revoked:` stand behind the key that they are about";
const WRITE_DATE: &str = "write it as 2027-01-01 or 2027-01-01T12:00:00Z (UTC)";
const NO_KEY: &str = "no minisign public key";
const WRITE_KEY: &str =
    "a public key is one line of 56 characters that begins with RW, as `eep proxylet keygen` writes it";

fn public_key(encoded: &str, label: String) -> Option<TrustedKey> {
    if encoded.len() != ENCODED_LEN {
        return None;
    }
    let key = PublicKey::from_base64(encoded).ok()?;
    let id = KeyId::of(BASE64.decode(encoded.as_bytes()).ok()?.get(2..10)?.try_into().ok()?);
    Some(TrustedKey { id, label, expires: None, revoked: None, key, encoded: encoded.to_owned() })
}

/// The beginning of a day, or a time, in UTC.
#[must_use]
pub fn date_of(text: &str) -> Option<SystemTime> {
    let whole = if text.len() == "2027-01-01".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    humantime::parse_rfc3339(&whole).ok()
}

fn read_file(path: &Path) -> Result<String, KeyringError> {
    let unreadable = |why| KeyringError::Unreadable { path: path.to_owned(), why };
    // A pipe or a device might never end, and is not opened at all.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("this is not a file")));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(KEY_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > KEY_FILE_BYTES_MAX {
        let why = format!("it has more than {KEY_FILE_BYTES_MAX} bytes");
        return Err(unreadable(std::io::Error::other(why)));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    fn ring(text: &str) -> Result<Keyring, KeyringError> {
        let mut ring = Keyring::default();
        ring.add(text, "FILE").map(|()| ring)
    }

    #[test]
    fn a_key_file_of_minisign_is_one_and_what_is_behind_counts() {
        let plain = ring(&format!("untrusted comment: of isp-a\n{KEY}\n")).unwrap();
        let key = plain.keys().next().unwrap();
        assert_eq!((key.id.to_string().as_str(), key.label.as_str()), ("E7620F1842B4E81F", "of isp-a"));
        assert_eq!((key.expires, &key.revoked), (None, &None));
        let ended = ring(&format!("# ours\n{KEY}\nexpires: 2027-01-01\nrevoked: stolen\n")).unwrap();
        let key = ended.keys().next().unwrap();
        assert_eq!(key.expires, date_of("2027-01-01T00:00:00Z"));
        assert_eq!(key.revoked.as_deref(), Some("stolen"));
    }

    #[test]
    fn a_key_in_two_places_is_one_key_and_ends_as_either_says() {
        let mut both = ring(KEY).unwrap();
        both.add(&format!("{KEY}\nrevoked: lost"), "OTHER").unwrap();
        both.add(KEY, "THIRD").unwrap();
        assert_eq!(both.keys().map(|key| key.revoked.as_deref()).collect::<Vec<_>>(), [Some("lost")]);
    }

    #[test]
    fn what_is_no_key_is_told_with_its_line() {
        let told = |text: &str| ring(text).unwrap_err().to_string();
        assert!(told("").starts_with("there is no key in FILE"));
        assert!(told("hello").starts_with("line 1 of the keys in FILE is no minisign public key"));
        assert!(told(&format!("expires: 2027-01-01\n{KEY}")).contains("before any key"));
        assert!(told(&format!("{KEY}\nexpires: soon")).starts_with("line 2 of the keys in FILE is no date"));
        assert!(
            told("untrusted comment: minisign encrypted secret key\nRWRTY0Iy").contains("is a secret key")
        );
    }
}
