//! Who vouches for code: minisign keys and signatures, and how many of them a node wants.
//!
//! | module | what |
//! | --- | --- |
//! | [`key_id`] | what a key is called by |
//! | [`signatures`] | the file beside the code: one minisign signature after the other |
//! | [`keyring`] | public keys that are trusted, until they expire or are revoked |
//! | [`verdict`] | k of n: whether enough of them vouch |
//! | [`signers`] | who vouched for code that runs, and whether they still do |
//! | [`secret`] | making keys, and signing; never on a node |
//!
//! The format is minisign's (<https://jedisct1.github.io/minisign/>, "Signature format", "Public key format"):
//! ed25519 over the BLAKE2b-512 of the code. What this node signs, `minisign -V` verifies, and the other way round.

pub mod key_id;
pub mod keyring;
pub mod secret;
pub mod signatures;
pub mod signers;
pub mod verdict;

pub use key_id::KeyId;
pub use keyring::{KeySource, Keyring, KeyringError};
pub use signatures::{SIGNATURE_SUFFIX, SIGNATURES_BYTES_MAX, Signatures, SignaturesError};
pub use signers::{Signer, SignerView};
pub use verdict::{Trust, TrustError};
