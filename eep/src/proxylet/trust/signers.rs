//! Who vouched for code that runs, and whether they still do.
//!
//! Whether a signature is one of these bytes does not change while they run. What changes is what it is worth: its key is
//! revoked, or expires, or is trusted no longer.

use std::time::SystemTime;

use serde::Serialize;

use crate::proxylet::trust::key_id::KeyId;
use crate::proxylet::trust::keyring::{Keyring, TrustedKey};
use crate::proxylet::trust::signatures::Signature;
use crate::proxylet::trust::verdict::{Standing, Trust, TrustError, Verdict};

/// A key that vouched for code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// What the key is called by.
    pub key: KeyId,
    /// What its file says that it is for.
    pub label: String,
    /// From when on this signature counts for nothing, whatever becomes of the key.
    pub expires: Option<SystemTime>,
    encoded: String,
}

/// A signer as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SignerView {
    /// The key's name: sixteen hexadecimal digits.
    pub key: String,
    /// What its file says that it is for.
    pub label: String,
}

impl Signer {
    pub(super) fn of(key: &TrustedKey, signature: &Signature) -> Self {
        Self {
            key: key.id,
            label: key.label.clone(),
            expires: signature.expires(),
            encoded: key.encoded().to_owned(),
        }
    }

    /// As it is shown.
    #[must_use]
    pub fn view(&self) -> SignerView {
        SignerView { key: self.key.to_string(), label: self.label.clone() }
    }

    fn standing(&self, ring: &Keyring, now: SystemTime) -> Standing {
        let known = ring.keys().find(|key| key.encoded() == self.encoded);
        known.map_or(Standing::Unknown, |key| key.standing(self.expires, now))
    }
}

impl Trust {
    /// Whether those who vouched for code still suffice.
    ///
    /// # Errors
    /// They do not, or the keys cannot be read.
    pub fn still(&self, signers: &[Signer], now: SystemTime) -> Result<(), TrustError> {
        let ring = Keyring::read(&self.keys)?;
        let standings = signers.iter().map(|signer| (signer.key, signer.standing(&ring, now))).collect();
        let verdict = Verdict { standings };
        if verdict.vouching().len() < self.require {
            return Err(TrustError::TooFew { require: self.require, verdict });
        }
        Ok(())
    }
}
