//! The node's certificate is taken up again when its file changes, and renewed before it ends where this node has the
//! CA's key. Connections that stand are not touched; new ones are made with the new certificate.
//!
//! The certificates of trusted CAs are taken up again in the same way. Then connections end whose other end nobody vouches
//! for any more (see [`super::tend`]), and no others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::KeyPair;
use rustls::crypto::CryptoProvider;
use tokio::sync::watch;

use crate::mesh::authority::{Authority, NODE_LIFE};
use crate::mesh::identity::{CA_KEY_FILE, Identity, IdentityFiles};
use crate::mesh::trust::{SharedDomains, read_authorities};
use crate::state::directory::write_whole;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// A certificate is renewed when it has no longer to go.
pub(super) const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);

/// The file with the CA of a trusted domain.
#[derive(Debug)]
pub(super) struct AuthorityFile {
    path: PathBuf,
    domain: String,
    seen: Option<SystemTime>,
}

impl AuthorityFile {
    /// As it was read.
    pub(super) fn new(path: &Path, domain: &str) -> Self {
        Self { path: path.to_owned(), domain: domain.to_owned(), seen: changed(path) }
    }

    /// Takes it up where it has changed; true where who is trusted has.
    fn look(&mut self, identity: &Identity, domains: &SharedDomains) -> bool {
        let now = changed(&self.path);
        if std::mem::replace(&mut self.seen, now) == now {
            return false;
        }
        let replaced = read_authorities(&self.path)
            .and_then(|certificates| domains.replace(&self.domain, &certificates, &identity.key().cert));
        match &replaced {
            Ok(true) => tracing::info!(domain = self.domain, "the domain's CA was taken up again"),
            Ok(false) => {}
            Err(why) => {
                let file = self.path.display();
                tracing::warn!(domain = self.domain, %file, why, "the domain's new CA is not used");
            }
        }
        replaced == Ok(true)
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// Keeps the certificate good, and who is trusted as the files say, until the node ends.
pub(super) async fn keep(
    identity: Arc<Identity>,
    files: IdentityFiles,
    provider: Arc<CryptoProvider>,
    domains: SharedDomains,
    mut authorities: Vec<AuthorityFile>,
    mut ending: watch::Receiver<bool>,
) {
    let mut seen = files.changed();
    let mut warned = false;
    loop {
        let left = identity.me().expires.duration_since(SystemTime::now()).unwrap_or_default();
        if left < RENEW_BEFORE {
            let ca_key = files.ca.with_file_name(CA_KEY_FILE);
            let (name, renewed) = (identity.me().name, files.clone());
            let work = move || {
                if ca_key.exists() { renew(&renewed, &ca_key, &name).map(|()| true) } else { Ok(false) }
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(Ok(true)) => tracing::info!("the node's certificate was renewed"),
                Ok(Ok(false)) if !warned => {
                    warned = true;
                    tracing::warn!(
                        days = left.as_secs() / 86_400,
                        "the node's certificate ends soon: replace {}",
                        files.certificate.display()
                    );
                }
                Ok(Err(why)) => tracing::warn!(%why, "the node's certificate could not be renewed"),
                _ => {}
            }
        }
        // A certificate of a new CA is good once the CA is.
        let mut trusts_anew = false;
        for file in &mut authorities {
            trusts_anew |= file.look(&identity, &domains);
        }
        let now = files.changed();
        if now != seen || trusts_anew {
            seen = now;
            match identity.reload(&files, &provider, &domains) {
                Ok(()) => tracing::info!("the node's certificate was taken up again"),
                Err(problem) => tracing::warn!(%problem, "the node's new certificate is not used"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = ending.wait_for(|ending| *ending) => return,
        }
    }
}

/// Signs the node's key anew.
fn renew(files: &IdentityFiles, ca_key: &Path, name: &str) -> Result<(), String> {
    let authority = Authority::read(&files.ca, ca_key)?;
    let key = std::fs::read_to_string(&files.key).map_err(|e| e.to_string())?;
    let key = KeyPair::from_pem(&key).map_err(|e| e.to_string())?;
    let certificate = authority.certify_key(name, &key, NODE_LIFE).map_err(|e| e.to_string())?;
    write_whole(&files.certificate, certificate.as_bytes()).map_err(|e| e.to_string())
}
