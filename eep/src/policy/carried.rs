//! A policy that goes to another node with the service that it is for: its file, and all that it includes and takes sets
//! from. No node reads a file that another one has named.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use policies::text::files::inside;
use serde::{Deserialize, Serialize};

use crate::policy::reading::read_file;
use crate::policy::service::ServicePolicy;
use crate::policy::texts::Texts;
use crate::problem::Problem;
use crate::state::State;

/// Bytes of all its files: it has to fit into one question between nodes.
pub(crate) const CARRIED_BYTES_MAX: usize = 512 << 10;
/// Files.
const FILES_MAX: usize = 256;

/// The files of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Carried {
    /// The policy's own file among them.
    main: String,
    /// By their paths in the policy's folder.
    files: BTreeMap<String, String>,
}

impl Carried {
    /// The policy of a file, which is checked.
    ///
    /// # Errors
    /// It cannot be read, is no policy, or is too large to be sent.
    pub(crate) fn of_file(file: &Path) -> Result<Self, Box<Problem>> {
        let (main, texts) = read_file(file)?;
        Self::of(main, texts)
    }

    /// What is in force for a service; none where it has no policy.
    ///
    /// # Errors
    /// It is no longer kept, or is too large to be sent.
    pub(crate) fn in_force(policy: &ServicePolicy, state: &State) -> Result<Option<Self>, Box<Problem>> {
        policy.kept_texts(state)?.map(|(main, texts)| Self::of(main, texts)).transpose()
    }

    /// The path of the policy's own file.
    pub(crate) fn main(&self) -> &str {
        &self.main
    }

    fn of(main: String, texts: Texts) -> Result<Self, Box<Problem>> {
        let files: BTreeMap<String, String> =
            texts.0.into_iter().map(|(path, text)| (path, text.to_string())).collect();
        let carried = Self { main, files };
        carried.check()?;
        Ok(carried)
    }

    fn check(&self) -> Result<(), Box<Problem>> {
        let bytes: usize = self.files.iter().map(|(path, text)| path.len() + text.len()).sum();
        if bytes > CARRIED_BYTES_MAX || self.files.len() > FILES_MAX {
            return Err(Problem::new(
                "policy-too-large",
                422,
                format!(
                    "the policy has {bytes} bytes in {} files, too many to be sent with a service",
                    self.files.len()
                ),
            )
            .fix(format!(
                "keep it under {CARRIED_BYTES_MAX} bytes and {FILES_MAX} files, or apply it over there"
            )));
        }
        Ok(())
    }

    /// Lays the files into a folder of their own, in the place of what was there; the path of the policy's own file.
    ///
    /// # Errors
    /// It is too large, names a path that leads out of the folder, or the disk does not take it.
    pub(crate) fn lay_into(&self, folder: &Path) -> Result<PathBuf, Box<Problem>> {
        self.check()?;
        let refuse = |e: std::io::Error| {
            Problem::new("data-directory", 500, format!("the policy cannot be kept: {e}"))
                .at(folder.display().to_string())
                .fix("see that there is room, and that this user may write there")
        };
        match fs::remove_dir_all(folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(refuse(e)),
            _ => {}
        }
        let place = |path: &str| {
            inside(path)
                .map(|path| folder.join(path))
                .map_err(|e| Problem::new("bad-policy", 422, &*e.what).at(path.to_owned()).fix(&*e.fix))
        };
        for (path, text) in &self.files {
            let file = place(path)?;
            fs::create_dir_all(file.parent().unwrap_or(folder)).map_err(refuse)?;
            fs::write(&file, text).map_err(refuse)?;
        }
        place(&self.main)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_laid_beside_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("own");
        let evil = |path: &str| Carried {
            main: "a.yaml".to_owned(),
            files: BTreeMap::from([(path.to_owned(), "x".to_owned())]),
        };
        for path in ["../out.yaml", "/tmp/out.yaml", "a/../../out.yaml"] {
            evil(path).lay_into(&folder).unwrap_err();
        }
        assert!(!dir.path().join("out.yaml").exists());
        let large = Carried {
            main: "a.yaml".to_owned(),
            files: BTreeMap::from([("a.yaml".to_owned(), "x".repeat(CARRIED_BYTES_MAX))]),
        };
        assert_eq!(large.lay_into(&folder).unwrap_err().code, "policy-too-large");
        assert_eq!(evil("a.yaml").lay_into(&folder).unwrap(), folder.join("a.yaml"));
        assert_eq!(fs::read_to_string(folder.join("a.yaml")).unwrap(), "x");
    }
}
