//! Who is who: certificates are judged against the CAs of the domains that this node trusts.
//!
//! A domain is what its CA's certificate is called (subject common name). A node is its public key: its id is the SHA-256
//! of its SubjectPublicKeyInfo, whatever its certificate says besides. The name in a certificate is for people.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use topology::NodeId;
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Certificates in one file, and in what a peer shows: its own and the intermediate ones.
pub const CHAIN_MAX: usize = 4;
/// Bytes of one certificate.
pub const CERTIFICATE_BYTES_MAX: usize = 8 * 1024;
/// Judged certificates that are remembered, so that reports cost one signature each and not two.
const JUDGED_MAX: usize = 4096;
/// The longest name of a node or a domain, in bytes.
const NAME_BYTES_MAX: usize = 253;

/// What nodes of another domain may ask of this one; see [`super::admission`]. Finding nodes and measuring links is what a
/// mesh is, and is not asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum May {
    /// To have its streams passed on to other nodes.
    Relay,
    /// To open streams to services.
    Stream,
    /// To fetch proxylets by their digest.
    Fetch,
    /// To place services.
    Place,
}

/// A node that has proved who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: NodeId,
    /// What its certificate calls it.
    pub name: String,
    /// Its domain.
    pub domain: String,
    /// When its certificate ends.
    pub expires: SystemTime,
}

impl Peer {
    /// `NAME@DOMAIN`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}@{}", self.name, self.domain)
    }
}

#[derive(Clone, Debug)]
struct Domain {
    name: String,
    anchors: Vec<TrustAnchor<'static>>,
    /// The prefixes that its nodes may say they serve; any where it is missing.
    prefixes: Option<Vec<IpNet>>,
}

/// Why a certificate is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// No certificate at all.
    #[error("no certificate was shown")]
    Missing,
    /// Bytes that are none.
    #[error("this is not a certificate: {0}")]
    Malformed(String),
    /// Signed by nobody who is trusted, or not valid now.
    #[error("no trusted domain vouches for this certificate: {0}")]
    Unknown(String),
}

/// The trusted domains. Shared by all that checks identities.
#[derive(Debug)]
pub struct Domains {
    own: String,
    domains: RwLock<Vec<Domain>>,
    algorithms: WebPkiSupportedAlgorithms,
    judged: Mutex<BTreeMap<[u8; 32], Peer>>,
    /// The last name that each node has proved.
    names: Mutex<BTreeMap<NodeId, Peer>>,
    /// Counts up when a domain's CA is replaced: who was believed is judged anew.
    changes: AtomicU64,
}

impl Domains {
    /// Trusts the own domain.
    ///
    /// # Errors
    /// What is wrong with the CA's certificates.
    pub fn new(provider: &CryptoProvider, own: &[CertificateDer<'static>]) -> Result<Self, String> {
        let domain = domain(own, None)?;
        Ok(Self {
            own: domain.name.clone(),
            domains: RwLock::new(vec![domain]),
            algorithms: provider.signature_verification_algorithms,
            judged: Mutex::default(),
            names: Mutex::default(),
            changes: AtomicU64::new(0),
        })
    }

    /// Trusts another domain to say who its nodes are, and that they serve users of these prefixes.
    ///
    /// # Errors
    /// What is wrong with the CA's certificates.
    pub fn trust(
        &self,
        authorities: &[CertificateDer<'static>],
        prefixes: Vec<IpNet>,
    ) -> Result<String, String> {
        let domain = domain(authorities, Some(prefixes))?;
        let name = domain.name.clone();
        if name == self.own {
            return Err(format!(
                "the domain {name:?} is this node's own\nremove it from `trust`, or rename one of the two CAs"
            ));
        }
        let mut domains = self.domains.write().unwrap_or_else(PoisonError::into_inner);
        // Rights go by the domain's name: the one would have those of the other.
        if domains.iter().any(|other| other.name == name) {
            return Err(format!(
                "two of the trusted domains are called {name:?}\nput the certificates of one domain into one file, or have one of the two CAs renamed"
            ));
        }
        domains.push(domain);
        Ok(name)
    }

    /// Trusts a domain by these certificates from now on, in place of those before; false where they are the same. Where it
    /// is the own domain, they have to vouch for the node's own certificate, too.
    ///
    /// # Errors
    /// What is wrong with them and, after a line break, what to do about it. Nothing was changed.
    pub fn replace(
        &self,
        name: &str,
        authorities: &[CertificateDer<'static>],
        mine: &[CertificateDer<'_>],
    ) -> Result<bool, String> {
        let Domain { name: called, anchors, .. } = domain(authorities, None)?;
        if called != name {
            return Err(format!(
                "the domain is called {called:?} there, and was {name:?}\nkeep its name, or start the node again"
            ));
        }
        let mut domains = self.domains.write().unwrap_or_else(PoisonError::into_inner);
        let known = domains.iter_mut().find(|domain| domain.name == name);
        let known = known.ok_or_else(|| format!("the domain {name:?} is not trusted"))?;
        if known.anchors == anchors {
            return Ok(false);
        }
        if name == self.own {
            let vouched = self.is_vouched_for(&anchors, mine, SystemTime::now());
            vouched.map_err(|why| {
                format!(
                    "it does not vouch for this node's own certificate: {why}\nput the old and the new CA into the file until all nodes have new certificates"
                )
            })?;
        }
        known.anchors = anchors;
        drop(domains);
        self.judged.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.changes.fetch_add(1, Relaxed);
        Ok(true)
    }

    /// Counts up when who is trusted has changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// The node's own domain.
    #[must_use]
    pub fn own(&self) -> &str {
        &self.own
    }

    /// Whether nodes of a domain may say that they serve the users of a prefix.
    #[must_use]
    pub fn may_serve(&self, domain: &str, prefix: &IpNet) -> bool {
        let domains = self.domains.read().unwrap_or_else(PoisonError::into_inner);
        let of_it = domains.iter().find(|d| d.name == domain);
        of_it.is_some_and(|d| d.prefixes.as_ref().is_none_or(|all| all.iter().any(|p| p.contains(prefix))))
    }

    /// Who shows this chain, its own certificate first.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn judge(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> Result<Peer, Distrust> {
        let (leaf, rest) = chain.split_first().ok_or(Distrust::Missing)?;
        if rest.len() >= CHAIN_MAX || chain.iter().any(|c| c.len() > CERTIFICATE_BYTES_MAX) {
            return Err(Distrust::Malformed("it is too long".to_owned()));
        }
        let mut hash = Sha256::new();
        chain.iter().for_each(|c| hash.update(c));
        let hash: [u8; 32] = hash.finalize().into();
        let known = self.judged.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned();
        if let Some(peer) = known.filter(|peer| now < peer.expires) {
            return Ok(peer);
        }
        let peer = self.judge_anew(leaf, rest, now)?;
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        if judged.len() >= JUDGED_MAX {
            judged.clear();
        }
        judged.insert(hash, peer.clone());
        drop(judged);
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() < JUDGED_MAX || names.contains_key(&peer.id) {
            names.insert(peer.id, peer.clone());
        }
        Ok(peer)
    }

    fn judge_anew(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<Peer, Distrust> {
        let cert = EndEntityCert::try_from(leaf).map_err(|e| Distrust::Malformed(e.to_string()))?;
        let domains = self.domains.read().unwrap_or_else(PoisonError::into_inner);
        let mut why = "its issuer is not known".to_owned();
        for domain in domains.iter() {
            match self.verify(&domain.anchors, &cert, rest, now) {
                Ok(()) => {
                    let (name, expires) = name_and_end(leaf)?;
                    let id = NodeId::of_public_key(&cert.subject_public_key_info());
                    return Ok(Peer { id, name, domain: domain.name.clone(), expires });
                }
                Err(webpki::Error::UnknownIssuer) => {}
                Err(error) => why = error.to_string(),
            }
        }
        Err(Distrust::Unknown(why))
    }

    fn verify(
        &self,
        anchors: &[TrustAnchor<'_>],
        cert: &EndEntityCert<'_>,
        rest: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(), webpki::Error> {
        let now = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
        // Each node is client and server: a certificate that is limited to one of them will not do.
        [KeyUsage::client_auth(), KeyUsage::server_auth()].into_iter().try_for_each(|usage| {
            let algorithms = self.algorithms.all;
            cert.verify_for_usage(algorithms, anchors, rest, now, usage, None, None).map(|_| ())
        })
    }

    fn is_vouched_for(
        &self,
        anchors: &[TrustAnchor<'_>],
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(), Distrust> {
        let (leaf, rest) = chain.split_first().ok_or(Distrust::Missing)?;
        let cert = EndEntityCert::try_from(leaf).map_err(|e| Distrust::Malformed(e.to_string()))?;
        self.verify(anchors, &cert, rest, now).map_err(|e| Distrust::Unknown(e.to_string()))
    }

    /// The node that goes by an id, where it has proved that to us.
    #[must_use]
    pub fn known(&self, id: NodeId) -> Option<Peer> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// The algorithms with which signatures are checked.
    #[must_use]
    pub fn algorithms(&self) -> WebPkiSupportedAlgorithms {
        self.algorithms
    }
}

fn domain(authorities: &[CertificateDer<'static>], prefixes: Option<Vec<IpNet>>) -> Result<Domain, String> {
    let mut name = None;
    let mut anchors = Vec::new();
    for authority in authorities {
        let bad = |why: &dyn std::fmt::Display| {
            format!(
                "the CA's certificate cannot be used: {why}\ngive the certificate of the domain's CA in PEM"
            )
        };
        let (_, parsed) = X509Certificate::from_der(authority).map_err(|e| bad(&e))?;
        if !parsed.is_ca() {
            return Err(bad(&"it is not the certificate of a CA"));
        }
        let subject = parsed.subject();
        let called = subject.iter_common_name().chain(subject.iter_organization()).next();
        let called = called.and_then(|a| a.as_str().ok()).filter(|n| is_name(n));
        name = name.or(called.map(str::to_owned));
        let anchor = webpki::anchor_from_trusted_cert(authority).map_err(|e| bad(&e))?;
        anchors.push(anchor.to_owned());
    }
    match name {
        Some(name) => Ok(Domain { name, anchors, prefixes }),
        None => {
            Err("the CA's certificate does not say what the domain is called\ngive it a common name (CN)"
                .into())
        }
    }
}

/// What a domain's CA certificate calls the domain.
///
/// # Errors
/// What is wrong with the certificates.
pub fn domain_name(authorities: &[CertificateDer<'static>]) -> Result<String, String> {
    domain(authorities, None).map(|d| d.name)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.contains(|c: char| c.is_control() || c == '@')
}

fn name_and_end(leaf: &CertificateDer<'_>) -> Result<(String, SystemTime), Distrust> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|e| Distrust::Malformed(e.to_string()))?;
    let name = parsed.subject().iter_common_name().next().and_then(|cn| cn.as_str().ok());
    let name = name.filter(|n| is_name(n)).unwrap_or("unnamed").to_owned();
    let end = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Ok((name, SystemTime::UNIX_EPOCH + Duration::from_secs(end)))
}

/// The certificates of a domain's CA.
///
/// # Errors
/// What is wrong with the file and, after a line break, what to do about it.
pub fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = read_chain(path)?;
    domain_name(&chain).map_err(|words| format!("{}: {words}", path.display()))?;
    Ok(chain)
}

/// The certificates in a PEM file, at least one.
///
/// # Errors
/// What is wrong with the file and, after a line break, what to do about it.
pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let fix = "give a file with one or more certificates in PEM";
    let bad = |why: String| format!("{}: {why}\n{fix}", path.display());
    let meta = std::fs::metadata(path).map_err(|e| bad(format!("the file cannot be read: {e}")))?;
    if meta.len() > (CHAIN_MAX * CERTIFICATE_BYTES_MAX * 2) as u64 {
        return Err(bad("the file is too large".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|e| bad(format!("the file cannot be read: {e}")))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(|e| bad(format!("the file cannot be read: {e}")))?;
    if chain.is_empty() || chain.len() > CHAIN_MAX {
        return Err(bad(format!("there are {} certificates in it", chain.len())));
    }
    Ok(chain)
}

/// Domains shared by all that needs them.
pub type SharedDomains = Arc<Domains>;
