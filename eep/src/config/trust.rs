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
        // The message stands beside the path as the operator wrote it.
        let directory = std::path::absolute(file).ok().and_then(|file| file.parent().map(Path::to_owned));
        let beside = directory.map(|directory| format!("{}/", directory.display())).unwrap_or_default();
        let mut sources = Vec::new();
        for key in &self.keys {
            sources.push(key.value.clone());
            Keyring::read(&sources).map_err(|e| {
                FileError::at(file, text, key.referenced, &e.to_string().replace(&beside, ""))
            })?;
        }
        let keys = Keyring::read(&sources).map_or(0, |keyring| keyring.keys().count());
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
