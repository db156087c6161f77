//! Files of keys, and the passwords that open them. Neither a key nor a password is ever shown.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::problem::Problem;
use crate::proxylet::trust::secret::{SecretError, SecretKey};

/// What a password is read from before anybody is asked.
pub(super) const PASSWORD_ENV: &str = "EEP_KEY_PASSWORD";
/// The largest file of a secret key, in bytes.
const KEY_BYTES_MAX: u64 = 4096;

/// Opens a secret key, and asks for its password where it has one.
pub(super) fn open(path: &Path) -> Result<SecretKey, Box<Problem>> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(KEY_BYTES_MAX).read_to_string(&mut text))
        .map_err(|e| unreadable(path, &e))?;
    let opened = match SecretKey::open(&text, None) {
        Err(SecretError::Locked) => {
            SecretKey::open(&text, Some(&password(&format!("Password of {}: ", path.display()))?))
        }
        other => other,
    };
    opened.map_err(|error| {
        let fix = match error {
            SecretError::WrongPassword | SecretError::Locked => "try again, or make a new key",
            SecretError::NotAKey => "name the file that ends in .key, as `eep proxylet keygen` wrote it",
            SecretError::System(_) => "opening a locked key takes 1 GiB of memory",
        };
        Problem::new("bad-key", 422, error.to_string()).at(path.display().to_string()).fix(fix)
    })
}

/// A new password, typed twice.
pub(super) fn new_password() -> Result<String, Box<Problem>> {
    if let Some(password) = from_environment()? {
        return Ok(password);
    }
    let (first, second) = (password("Password for the new key: ")?, password("The same again: ")?);
    let wrong = |title: &str| {
        Err(Problem::new("bad-password", 422, title)
            .fix("type it again, or leave the key open with --no-password"))
    };
    match first {
        first if first != second => wrong("the two passwords differ"),
        first if first.is_empty() => wrong("the password is empty"),
        first => Ok(first),
    }
}

fn password(prompt: &str) -> Result<String, Box<Problem>> {
    if let Some(password) = from_environment()? {
        return Ok(password);
    }
    rpassword::prompt_password(prompt).map_err(|e| {
        Problem::new("no-password", 422, format!("no password can be asked for here: {e}"))
            .fix(format!("set it in {PASSWORD_ENV}, or run this at a terminal"))
    })
}

fn from_environment() -> Result<Option<String>, Box<Problem>> {
    match std::env::var(PASSWORD_ENV) {
        Ok(password) if password.is_empty() => {
            Err(Problem::new("bad-password", 422, format!("{PASSWORD_ENV} is empty"))
                .fix("set it to the password, or unset it to be asked"))
        }
        Ok(password) => Ok(Some(password)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Problem::new("bad-password", 422, format!("{PASSWORD_ENV} is not UTF-8"))
                .fix("set it to the password in UTF-8"))
        }
    }
}

/// Writes a file that must not be there yet.
pub(super) fn create(path: &Path, text: &str, mode: u32) -> Result<(), Box<Problem>> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|e| {
        let fix = match e.kind() {
            std::io::ErrorKind::AlreadyExists => "a key is never overwritten: choose another name with --out",
            _ => "check the directory of --out",
        };
        Problem::new("unwritable-file", 422, format!("the file cannot be written: {e}"))
            .at(path.display().to_string())
            .fix(fix)
    })
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Box<Problem> {
    Problem::new("unreadable-file", 422, format!("the file cannot be read: {error}"))
        .at(path.display().to_string())
        .fix("check the path")
}
