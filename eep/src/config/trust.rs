//! The node file's `trust`: whose signatures code needs before it runs.

use std::path::Path;

use serde::Deserialize;
use serde_yaml::Spanned;

use crate::config::diagnostic::FileError;
use crate::proxylet::trust::{KeySource, Keyring, Trust};

/// Whose signatures code needs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrustSection {
    /// Key files, relative to the node file, and public keys written out.
    pub keys: Vec<Spanned<KeySource>>,
    /// How many different keys of these must vouch for code; default 1.
    #[serde(default)]
    pub require: Option<Spanned<usize>>,
}

impl TrustSection {
    /// Takes relative paths from the node file's directory.
    pub(super) fn under(&mut self, directory: &Path) {
        for key in &mut self.keys {
            key.value = key.value.clone().under(directory);
        }
    }

    /// Whom the node trusts.
    #[must_use]
    pub fn trust(&self) -> Trust {
        Trust {
            keys: self.keys.iter().map(|key| key.value.clone()).collect(),
            require: self.require.as_ref().map_or(1, |require| require.value),
        }
    }

    /// What the types alone do not hold: that the keys are there, and are as many as are required.
    pub(super) fn check(&self, file: &Path, text: &str) -> Result<(), Box<FileError>> {
        for key in &self.keys {
            Keyring::read(std::slice::from_ref(&key.value))
                .map_err(|e| FileError::at(file, text, key.referenced, &e.to_string()))?;
        }
        let trust = self.trust();
        let keys = Keyring::read(&trust.keys);
        let keys = keys.map_err(|e| FileError::whole(file, e.to_string(), "correct `trust`"))?.keys().count();
        let Some(require) = &self.require else {
            return if keys > 0 {
                Ok(())
            } else {
                Err(FileError::whole(
                    file,
                    "`trust` has no keys",
                    "list key files under `trust.keys`, or remove `trust`",
                ))
            };
        };
        if require.value == 0 || require.value > keys {
            let words = format!(
                "{} of {keys} keys cannot be required\nwrite a number from 1 to {}",
                require.value,
                keys.max(1)
            );
            return Err(FileError::at(file, text, require.referenced, &words));
        }
        Ok(())
    }
}
