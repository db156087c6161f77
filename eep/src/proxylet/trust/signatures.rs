//! The file of signatures beside the code: `NAME.wasm.minisig`.
//!
//! One minisign signature, of four lines, after the other: `cat a.minisig b.minisig` makes a file of two signers.
//! `minisign -V` reads the first.

use std::time::{Duration, SystemTime};

use data_encoding::BASE64;
use minisign_verify::Signature as Decoded;

use crate::proxylet::trust::key_id::KeyId;

/// What is put behind the name of the code for the name of its signatures.
pub const SIGNATURE_SUFFIX: &str = ".minisig";
/// The largest file of signatures, in bytes.
pub const SIGNATURES_BYTES_MAX: u64 = 64 << 10;
/// The most signatures in one file.
pub const SIGNATURES_MAX: usize = 64;
/// What the first line of each signature begins with.
const COMMENT: &str = "untrusted comment:";
/// What the trusted comment says before the time after which the signature counts for nothing (seconds since 1970).
const EXPIRES: &str = "expires:";
/// ed25519 over the BLAKE2b-512 of the code. The older form over the code itself is not taken: which of the two it is
/// is not covered by the signature.
const ALGORITHM: &[u8] = b"ED";
/// Where the key's name lies behind the algorithm's.
const KEY_ID_AT: std::ops::Range<usize> = 2..10;

/// Why a file is not one of signatures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignaturesError {
    /// Not the shape of a minisign signature.
    #[error("line {line} of the signature file is not what a minisign signature has there ({wanted})")]
    Shape {
        /// Counted from 1.
        line: usize,
        /// What belongs there.
        wanted: &'static str,
    },
    /// Too large, or too many signatures.
    #[error(
        "the signature file has more than {SIGNATURES_MAX} signatures, or more than {SIGNATURES_BYTES_MAX} bytes"
    )]
    TooLarge,
}

/// One signature. Who made it is said, not yet proved.
#[derive(Clone)]
pub struct Signature {
    pub(super) decoded: Decoded,
    key: KeyId,
    text: String,
}

impl Signature {
    /// The key that is said to have made it.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// When it ceases to count; the signer's words, covered by the signature.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        let field =
            self.decoded.trusted_comment().split('\t').find_map(|field| field.strip_prefix(EXPIRES))?;
        // What cannot be read as a time has expired: a signer who bounds a signature is not to be ignored.
        let seconds = field.trim().parse().unwrap_or(0);
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }
}

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signature").field("key", &self.key).finish_non_exhaustive()
    }
}

/// All signatures of one file.
#[derive(Clone, Debug, Default)]
pub struct Signatures(Vec<Signature>);

impl Signatures {
    /// Reads a file of signatures. Empty lines between them are passed over; an empty file has none.
    ///
    /// # Errors
    /// The first line that does not fit, or too many of them.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignaturesError> {
        if bytes.len() as u64 > SIGNATURES_BYTES_MAX {
            return Err(SignaturesError::TooLarge);
        }
        let text = String::from_utf8_lossy(bytes);
        let mut lines =
            text.lines().enumerate().map(|(i, line)| (i + 1, line.trim_end())).filter(|(_, l)| !l.is_empty());
        let mut all = Vec::new();
        while let Some((first, comment)) = lines.next() {
            let mut next = |after: usize| lines.next().unwrap_or((first + after, ""));
            let four = [(first, comment), next(1), next(2), next(3)];
            if all.len() == SIGNATURES_MAX {
                return Err(SignaturesError::TooLarge);
            }
            all.push(one(four)?);
        }
        Ok(Self(all))
    }

    /// The same file with a signature added, in place of an earlier one by the same key.
    #[must_use]
    pub fn with(mut self, new: Signature) -> Self {
        self.0.retain(|signature| signature.key != new.key);
        self.0.push(new);
        self
    }

    /// Each signature, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &Signature> {
        self.0.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The file.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.iter().map(|signature| signature.text.as_str()).collect()
    }
}

/// Reads four numbered lines.
fn one(lines: [(usize, &str); 4]) -> Result<Signature, SignaturesError> {
    let shape = |i: usize, wanted| SignaturesError::Shape { line: lines[i].0, wanted };
    let [comment, signature, trusted, global] = lines.map(|(_, line)| line);
    if !comment.starts_with(COMMENT) {
        return Err(shape(0, "`untrusted comment: …`"));
    }
    let bytes = BASE64.decode(signature.as_bytes()).ok();
    let key = bytes.as_ref().and_then(|bytes| bytes.get(KEY_ID_AT)?.try_into().ok());
    let Some(key) = key else { return Err(shape(1, "the signature in base64")) };
    if bytes.is_some_and(|bytes| !bytes.starts_with(ALGORITHM)) {
        return Err(shape(1, "a signature by ed25519 over a hash, as `minisign -S` makes them"));
    }
    if !trusted.starts_with("trusted comment: ") {
        return Err(shape(2, "`trusted comment: …`"));
    }
    let text = format!("{comment}\n{signature}\n{trusted}\n{global}\n");
    let decoded = Decoded::decode(&text).map_err(|_| shape(3, "the signature of the comment in base64"))?;
    Ok(Signature { decoded, key: KeyId::of(key), text })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by minisign 0.11 over the text `test`.
    const MADE_ELSEWHERE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1635442742\tfile:test\tprehashed\n\
        z4DFHXi+3cKnbUJD2AQHlpfD8hpZZiVKbKxXqgw8vtLNHIXQzLoUVXGTSc6nMdUyLnYOhKd6R5Q6dYtqhPjoDQ==\n";

    #[test]
    fn files_are_read_as_they_are_written() {
        let one = Signatures::parse(MADE_ELSEWHERE.as_bytes()).unwrap();
        assert_eq!(one.iter().map(|s| s.key().to_string()).collect::<Vec<_>>(), ["E7620F1842B4E81F"]);
        assert_eq!(one.text(), MADE_ELSEWHERE);
        let two = Signatures::parse(format!("{MADE_ELSEWHERE}\r\n\n{MADE_ELSEWHERE}").as_bytes()).unwrap();
        assert_eq!(two.iter().count(), 2);
        assert!(Signatures::parse(b"\n").unwrap().is_empty());
        let replaced = two.with(one.iter().next().unwrap().clone());
        assert_eq!(replaced.text(), MADE_ELSEWHERE, "one signature a key");
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_line() {
        let told = |text: &str| Signatures::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(told("<!doctype html>").contains("line 1"));
        let lines: Vec<&str> = MADE_ELSEWHERE.lines().collect();
        let cut = |n: usize| told(&lines[..n].join("\n"));
        assert!(cut(1).contains("line 2") && cut(2).contains("line 3") && cut(3).contains("line 4"));
        assert!(told(&MADE_ELSEWHERE.replace("RUQf", "AAQf")).contains("over a hash"));
        let short = MADE_ELSEWHERE.replace(lines[3], "AAAA");
        assert!(told(&short).contains("line 4"));
        let many = MADE_ELSEWHERE.repeat(SIGNATURES_MAX + 1);
        assert_eq!(Signatures::parse(many.as_bytes()).unwrap_err(), SignaturesError::TooLarge);
        assert_eq!(Signatures::parse(&vec![b'\n'; 1 << 17]).unwrap_err(), SignaturesError::TooLarge);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0..400_usize) {
            let _ = Signatures::parse(&bytes);
            let mut damaged = MADE_ELSEWHERE.as_bytes().to_vec();
            damaged.splice(at.min(damaged.len())..(at + 3).min(MADE_ELSEWHERE.len()), bytes.into_iter().take(5));
            if let Ok(read) = Signatures::parse(&damaged) {
                prop_assert_eq!(Signatures::parse(read.text().as_bytes()).unwrap().text(), read.text());
            }
        }
    }
}
