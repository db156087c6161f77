//! Whether enough trusted keys vouch for code: k of n.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crate::proxylet::trust::key_id::KeyId;
use crate::proxylet::trust::keyring::{KeySource, Keyring, KeyringError, TrustedKey};
use crate::proxylet::trust::signatures::{Signature, Signatures, SignaturesError};
use crate::proxylet::trust::signers::Signer;

/// Whom a node trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Where the keys are written down. They are read again for each check, so that a key that is revoked in its file
    /// is revoked for whatever starts next.
    pub keys: Vec<KeySource>,
    /// How many different keys must vouch for code; at least 1.
    pub require: usize,
}

/// What a signature is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It vouches for the code.
    Good,
    /// Its key is none of the trusted ones.
    Unknown,
    /// It is not a signature of this code by that key.
    False,
    /// It counted until then.
    SignatureExpired(SystemTime),
    /// Its key counted until then.
    KeyExpired(SystemTime),
    /// Its key counts no longer, for this reason.
    Revoked(String),
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Good => f.write_str("vouches for it"),
            Self::Unknown => f.write_str("is not a trusted key"),
            Self::False => f.write_str("did not sign these bytes"),
            Self::SignatureExpired(at) => write!(f, "vouched for it until {}", day(*at)),
            Self::KeyExpired(at) => write!(f, "was trusted until {}", day(*at)),
            Self::Revoked(why) if why.is_empty() => f.write_str("is revoked"),
            Self::Revoked(why) => write!(f, "is revoked: {why}"),
        }
    }
}

/// What the signatures of a file are worth together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Each signature's key and standing, in the file's order.
    pub standings: Vec<(KeyId, Standing)>,
}

impl Verdict {
    /// The keys that vouch for the code, each once.
    #[must_use]
    pub fn vouching(&self) -> BTreeSet<KeyId> {
        self.standings.iter().filter(|(_, s)| *s == Standing::Good).map(|(key, _)| *key).collect()
    }
}

/// Why code is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// There are no signatures.
    #[error("the code is not signed, and needs the signature{} of {} trusted key{}", s(*.0), .0, s(*.0))]
    Unsigned(usize),
    /// Fewer than are required count.
    #[error("the code needs the signature{0} of {require} trusted key{0}, and has {1}", s(*require), have(verdict))]
    TooFew {
        /// How many are required.
        require: usize,
        /// What was found.
        verdict: Verdict,
    },
    /// The signatures cannot be read.
    #[error(transparent)]
    Signatures(#[from] SignaturesError),
    /// The keys cannot be read: nothing is trusted then.
    #[error("the trusted keys cannot be read: {0}")]
    Keyring(#[from] KeyringError),
}

fn s(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

fn have(verdict: &Verdict) -> String {
    let each: Vec<_> = verdict.standings.iter().map(|(key, standing)| format!("{key} {standing}")).collect();
    format!("{}: {}", verdict.vouching().len(), each.join("; "))
}

fn day(at: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(at).to_string();
    text.strip_suffix("T00:00:00Z").map_or(text.clone(), str::to_owned)
}

impl Trust {
    /// Whether enough keys vouch for this code now; those that do, each once.
    ///
    /// # Errors
    /// Too few do, or the signatures or keys cannot be read.
    pub fn check(&self, code: &[u8], signatures: &[u8], now: SystemTime) -> Result<Vec<Signer>, TrustError> {
        let keyring = Keyring::read(&self.keys)?;
        let signatures = Signatures::parse(signatures)?;
        if signatures.is_empty() {
            return Err(TrustError::Unsigned(self.require));
        }
        let verdict = keyring.judge(code, &signatures, now);
        let vouching = verdict.vouching();
        if vouching.len() < self.require {
            return Err(TrustError::TooFew { require: self.require, verdict });
        }
        let signer = |id: &KeyId| {
            let judged = signatures.iter().zip(&verdict.standings);
            let of = judged.filter(|(_, (key, standing))| key == id && *standing == Standing::Good);
            // Where a key has signed twice, the signature that counts longest.
            let of = of.map(|(signature, _)| signature);
            let longest = of.max_by_key(|signature| (signature.expires().is_none(), signature.expires()))?;
            let key = keyring.find(*id).find(|key| key.vouches(code, longest))?;
            Some(Signer::of(key, longest))
        };
        Ok(vouching.iter().filter_map(signer).collect())
    }
}

impl TrustedKey {
    fn vouches(&self, code: &[u8], signature: &Signature) -> bool {
        self.key.verify(code, &signature.decoded, false).is_ok()
    }

    /// What a signature by this key is worth that counts until then.
    pub(super) fn standing(&self, expires: Option<SystemTime>, now: SystemTime) -> Standing {
        let over = |at: Option<SystemTime>| at.filter(|at| *at <= now);
        if let Some(why) = &self.revoked {
            Standing::Revoked(why.clone())
        } else if let Some(at) = over(self.expires) {
            Standing::KeyExpired(at)
        } else if let Some(at) = over(expires) {
            Standing::SignatureExpired(at)
        } else {
            Standing::Good
        }
    }
}

impl Keyring {
    /// What each signature is worth for this code, now.
    #[must_use]
    pub fn judge(&self, code: &[u8], signatures: &Signatures, now: SystemTime) -> Verdict {
        let standings = signatures.iter().map(|s| (s.key(), self.standing(code, s, now))).collect();
        Verdict { standings }
    }

    fn standing(&self, code: &[u8], signature: &Signature, now: SystemTime) -> Standing {
        let mut standing = Standing::Unknown;
        for key in self.find(signature.key()) {
            if key.vouches(code, signature) {
                return key.standing(signature.expires(), now);
            }
            standing = Standing::False;
        }
        standing
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proxylet::trust::keyring::date_of;
    use crate::proxylet::trust::secret::SecretKey;

    const CODE: &[u8] = b"\0asm and so on";

    /// `n` keys as they are written down, and their secret halves.
    fn keys(n: usize) -> (Vec<KeySource>, Vec<SecretKey>) {
        let pairs: Vec<_> = (0..n).map(|_| SecretKey::generate().unwrap()).collect();
        (pairs.iter().map(|secret| KeySource::Inline(secret.public().unwrap())).collect(), pairs)
    }

    fn signed(by: &[&SecretKey], expires: Option<SystemTime>) -> Vec<u8> {
        let each = by.iter().map(|key| key.sign(CODE, "p.wasm", expires).unwrap());
        each.fold(Signatures::default(), Signatures::with).text().into_bytes()
    }

    fn now() -> SystemTime {
        date_of("2026-06-01").unwrap()
    }

    #[test]
    fn k_of_n_keys_must_vouch_and_each_counts_once() {
        let (public, secret) = keys(3);
        let trust = Trust { keys: public, require: 2 };
        let two = trust.check(CODE, &signed(&[&secret[0], &secret[2]], None), now()).unwrap();
        assert_eq!(two.len(), 2);
        let once = signed(&[&secret[1]], None);
        let twice = [once.as_slice(), &once].concat();
        let told = trust.check(CODE, &twice, now()).unwrap_err().to_string();
        assert!(told.starts_with("the code needs the signatures of 2 trusted keys, and has 1: "), "{told}");
        assert!(matches!(trust.check(CODE, b"", now()), Err(TrustError::Unsigned(2))));
    }

    #[test]
    fn strangers_and_changed_code_do_not_count() {
        let (public, secret) = keys(1);
        let (_, stranger) = keys(1);
        let trust = Trust { keys: public, require: 1 };
        let standing = |code: &[u8], by: &SecretKey| match trust.check(code, &signed(&[by], None), now()) {
            Err(TrustError::TooFew { verdict, .. }) => verdict.standings[0].1.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(standing(CODE, &stranger[0]), Standing::Unknown);
        assert_eq!(standing(b"\0asm and so on!", &secret[0]), Standing::False);
    }

    #[test]
    fn a_comment_that_was_changed_makes_the_signature_false() {
        let (public, secret) = keys(1);
        let trust = Trust { keys: public, require: 1 };
        let expires = date_of("2026-01-01");
        let text = String::from_utf8(signed(&[&secret[0]], expires)).unwrap();
        let seconds =
            |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().to_string();
        let longer = text.replace(&seconds(expires.unwrap()), &seconds(date_of("2036-01-01").unwrap()));
        assert_ne!(text, longer);
        let told = trust.check(CODE, longer.as_bytes(), now()).unwrap_err().to_string();
        assert!(told.ends_with("did not sign these bytes"), "{told}");
    }

    #[test]
    fn what_has_expired_or_is_revoked_does_not_count() {
        let (public, secret) = keys(1);
        let KeySource::Inline(encoded) = &public[0] else { panic!() };
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ring.pub");
        let trust = Trust { keys: vec![KeySource::File(file.clone())], require: 1 };
        let plain = signed(&[&secret[0]], None);
        let told = |line: &str, signatures: &[u8]| {
            std::fs::write(&file, format!("untrusted comment: k\n{encoded}\n{line}\n")).unwrap();
            trust.check(CODE, signatures, now()).map_err(|e| e.to_string())
        };
        assert!(told("expires: 2026-06-02", &plain).is_ok());
        assert!(told("expires: 2026-06-01", &plain).unwrap_err().ends_with("was trusted until 2026-06-01"));
        assert!(told("revoked: stolen", &plain).unwrap_err().ends_with("is revoked: stolen"));
        let until = |at: SystemTime| signed(&[&secret[0]], Some(at));
        assert!(told("", &until(now() + Duration::from_secs(1))).is_ok());
        assert!(told("", &until(now())).unwrap_err().ends_with("vouched for it until 2026-06-01"));
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(trust.check(CODE, &plain, now()), Err(TrustError::Keyring(_))), "fails closed");
    }
}
