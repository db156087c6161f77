//! Who this node is: its certificate and key, loaded, and loaded again when the files change.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::mesh::trust::{Peer, SharedDomains, read_chain};
use crate::problem::Problem;

/// Where a node's identity lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// Its certificate, followed by intermediate ones.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The certificate of its domain's CA.
    pub ca: PathBuf,
}

/// What `eep init` calls the files, in the folder `mesh` of the data directory.
pub const CERTIFICATE_FILE: &str = "node.pem";
/// The node's private key.
pub const KEY_FILE: &str = "node.key";
/// The certificate of the domain's CA.
pub const CA_FILE: &str = "ca.pem";
/// The CA's private key, where this node may sign for others.
pub const CA_KEY_FILE: &str = "ca.key";

impl IdentityFiles {
    /// The files that `eep init` makes in a data directory.
    #[must_use]
    pub fn in_data(data: &std::path::Path) -> Self {
        let folder = data.join("mesh");
        Self {
            certificate: folder.join(CERTIFICATE_FILE),
            key: folder.join(KEY_FILE),
            ca: folder.join(CA_FILE),
        }
    }

    /// When the certificate's file was last changed.
    pub(super) fn changed(&self) -> Option<SystemTime> {
        std::fs::metadata(&self.certificate).and_then(|meta| meta.modified()).ok()
    }
}

/// The key pair in use, exchanged while connections live on.
#[derive(Debug)]
pub struct Identity {
    me: RwLock<Peer>,
    key: RwLock<Arc<CertifiedKey>>,
}

fn problem(title: String) -> Box<Problem> {
    let (title, fix) = match title.split_once('\n') {
        Some((title, fix)) => (title.to_owned(), fix.to_owned()),
        None => {
            (title, "make certificate and key with `eep init`, or check the paths under `mesh`".to_owned())
        }
    };
    Problem::new("mesh-identity", 500, title).fix(fix)
}

impl Identity {
    /// Reads certificate and key, and checks that the domain vouches for them.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn load(
        files: &IdentityFiles,
        provider: &CryptoProvider,
        domains: &SharedDomains,
    ) -> Result<Self, Box<Problem>> {
        let (me, key) = read(files, provider, domains)?;
        Ok(Self { me: RwLock::new(me), key: RwLock::new(key) })
    }

    /// Takes up the files as they are now. Connections that stand are not touched.
    ///
    /// # Errors
    /// What is wrong with them; the certificate from before stays in use.
    pub fn reload(
        &self,
        files: &IdentityFiles,
        provider: &CryptoProvider,
        domains: &SharedDomains,
    ) -> Result<(), Box<Problem>> {
        let (me, key) = read(files, provider, domains)?;
        if me.id != self.me().id {
            return Err(problem(format!(
                "{} has another key, and so is another node\ngive the new certificate the node's own key, or start the node again",
                files.certificate.display()
            )));
        }
        *self.me.write().unwrap_or_else(PoisonError::into_inner) = me;
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key;
        Ok(())
    }

    /// Who this node is.
    #[must_use]
    pub fn me(&self) -> Peer {
        self.me.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Certificate and key in use.
    #[must_use]
    pub fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(
    files: &IdentityFiles,
    provider: &CryptoProvider,
    domains: &SharedDomains,
) -> Result<(Peer, Arc<CertifiedKey>), Box<Problem>> {
    let chain = read_chain(&files.certificate).map_err(problem)?;
    let place = files.key.display();
    let meta = std::fs::metadata(&files.key)
        .map_err(|e| problem(format!("{place}: the file cannot be read: {e}")))?;
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(problem(format!("{place} can be read by others\nchmod 600 {place}")));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|e| problem(format!("{place}: this is not a private key in PEM: {e}")))?;
    let key = provider.key_provider.load_private_key(key).map_err(|e| problem(format!("{place}: {e}")))?;
    let certified = CertifiedKey::new(chain, key);
    certified
        .keys_match()
        .map_err(|_| problem(format!("{place} is not the key of {}", files.certificate.display())))?;
    let me = domains
        .judge(&certified.cert, SystemTime::now())
        .map_err(|e| problem(format!("{}: {e}", files.certificate.display())))?;
    if me.domain != domains.own() {
        return Err(problem(format!(
            "{} is of the domain {:?}, and {} of {:?}",
            files.certificate.display(),
            me.domain,
            files.ca.display(),
            domains.own()
        )));
    }
    Ok((me, Arc::new(certified)))
}

/// Gives TLS the key pair that is in use now.
#[derive(Debug)]
pub(super) struct Resolver(pub(super) Arc<Identity>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.key())
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The certificate chain that a peer showed.
pub(super) fn shown(identity: Option<Box<dyn std::any::Any>>) -> Vec<CertificateDer<'static>> {
    identity
        .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok())
        .map(|b| *b)
        .unwrap_or_default()
}
