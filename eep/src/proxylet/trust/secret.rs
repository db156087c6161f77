//! Secret keys: making them, reading them, signing with them. Only the command line does this, never a node.

use std::fmt;
use std::time::SystemTime;

use minisign::{KeyPair, PublicKey, SecretKeyBox};

use crate::proxylet::trust::key_id::KeyId;
use crate::proxylet::trust::signatures::{Signature, Signatures};

/// Why a key cannot be used, in words of the library that reads it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A key that is locked, and no password.
    #[error("the key is locked with a password")]
    Locked,
    /// The password does not open it.
    #[error("the password does not open the key")]
    WrongPassword,
    /// Not a secret key, or a damaged one.
    #[error("this is not a minisign secret key, or it is damaged")]
    NotAKey,
    /// The system gave no randomness or memory.
    #[error("{0}")]
    System(String),
}

/// A secret key, open.
pub struct SecretKey(minisign::SecretKey);

/// The key itself is in no log and no message.
impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

fn system(error: minisign::PError) -> SecretError {
    SecretError::System(error.to_string())
}

impl SecretKey {
    /// A new key from the system's randomness.
    ///
    /// # Errors
    /// The system gave none.
    pub fn generate() -> Result<Self, SecretError> {
        KeyPair::generate_unencrypted_keypair().map(|pair| Self(pair.sk)).map_err(system)
    }

    /// A new key, and its file, locked with a password (scrypt with 1 GiB of memory, as minisign does).
    ///
    /// # Errors
    /// The system gave no randomness or memory.
    pub fn generate_locked(password: &str, comment: &str) -> Result<(String, Self), SecretError> {
        let pair = KeyPair::generate_encrypted_keypair(Some(password.to_owned())).map_err(system)?;
        let file = pair.sk.to_box(Some(comment)).map_err(system)?.into_string();
        // The public half is not locked; the key can be opened again from its file.
        let open = Self::open(&file, Some(password))?;
        Ok((file, open))
    }

    /// Reads a key file. `password` opens one that is locked.
    ///
    /// # Errors
    /// It is locked, or is no key.
    pub fn open(file: &str, password: Option<&str>) -> Result<Self, SecretError> {
        let boxed = || SecretKeyBox::from_string(file).map_err(|_| SecretError::NotAKey);
        if is_open(file)? {
            let key = minisign::SecretKey::from_unencrypted_box(boxed()?);
            return key.map(Self).map_err(|_| SecretError::NotAKey);
        }
        let password = password.ok_or(SecretError::Locked)?;
        let key = minisign::SecretKey::from_box(boxed()?, Some(password.to_owned()));
        key.map(Self).map_err(|e| match e.kind() {
            minisign::ErrorKind::Verify => SecretError::WrongPassword,
            minisign::ErrorKind::KDF => system(e),
            _ => SecretError::NotAKey,
        })
    }

    /// The key file, not locked.
    ///
    /// # Errors
    /// None in practice; the library's interface allows for one.
    pub fn file(&self, comment: &str) -> Result<String, SecretError> {
        self.0.to_box(Some(comment)).map(SecretKeyBox::into_string).map_err(system)
    }

    /// The public half, in base64.
    ///
    /// # Errors
    /// The file held no whole key.
    pub fn public(&self) -> Result<String, SecretError> {
        PublicKey::from_secret_key(&self.0).map(|key| key.to_base64()).map_err(|_| SecretError::NotAKey)
    }

    /// What the key is called by.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId::of(self.0.keynum().try_into().unwrap_or_default())
    }

    /// Signs code. `name` and the two times stand in the comment that the signature covers.
    ///
    /// # Errors
    /// The system gave no randomness.
    pub fn sign(
        &self,
        code: &[u8],
        name: &str,
        expires: Option<SystemTime>,
    ) -> Result<Signature, SecretError> {
        let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        let mut comment = format!("timestamp:{}\tfile:{name}\thashed", seconds(SystemTime::now()));
        if let Some(at) = expires {
            comment += &format!("\texpires:{}", seconds(at));
        }
        let about = format!("signature by the key {}", self.id());
        let boxed =
            minisign::sign(None, &self.0, code, Some(comment.as_str()), Some(&about)).map_err(system)?;
        let mut made = Signatures::parse(boxed.into_string().as_bytes());
        made.as_mut()
            .ok()
            .and_then(|all| all.iter().next().cloned())
            .ok_or_else(|| SecretError::System("the signature cannot be read back".to_owned()))
    }
}

/// How long a secret key is: three algorithms, salt and two limits of the key derivation, then key id, key and checksum.
const KEY_BYTES: usize = 3 * 2 + 32 + 2 * 8 + 8 + 64 + 32;

/// Whether a key file holds its key without a password: bytes 2 and 3 name the key derivation, zeros are none.
fn is_open(file: &str) -> Result<bool, SecretError> {
    let encoded = file.lines().nth(1).ok_or(SecretError::NotAKey)?;
    let bytes = data_encoding::BASE64.decode(encoded.trim().as_bytes()).map_err(|_| SecretError::NotAKey)?;
    if bytes.len() != KEY_BYTES {
        return Err(SecretError::NotAKey);
    }
    Ok(bytes[2..4] == [0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_file_and_says_nothing_of_itself() {
        let key = SecretKey::generate().unwrap();
        let file = key.file("of isp-a").unwrap();
        let again = SecretKey::open(&file, None).unwrap();
        assert_eq!((again.public().unwrap(), again.id()), (key.public().unwrap(), key.id()));
        assert_eq!(format!("{key:?}"), "SecretKey(..)");
    }

    #[test]
    fn files_that_are_no_keys_are_refused() {
        for text in ["", "one line", "untrusted comment: x\n!!!!", "untrusted comment: x\nRWRTY0IyAAAA"] {
            assert!(matches!(SecretKey::open(text, None), Err(SecretError::NotAKey)), "{text}");
        }
    }
}
