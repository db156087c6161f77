//! Making a domain: a CA, and certificates for its nodes (X.509, RFC 5280).

use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519,
};

/// How long a CA's certificate is valid.
const CA_LIFE: Duration = Duration::from_secs(3650 * 86_400);
/// How long a node's certificate is valid; a node that has the CA's key renews its own.
pub const NODE_LIFE: Duration = Duration::from_secs(365 * 86_400);
/// Certificates are valid from so long before they are made, for clocks that are behind.
const BACKDATE: Duration = Duration::from_secs(3600);

/// A CA that can sign.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate and its private key, in PEM.
#[derive(Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

fn validity(params: &mut CertificateParams, life: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + life).into();
}

impl Authority {
    /// A new CA for a domain, with its key in PEM.
    ///
    /// # Errors
    /// The system gives no randomness, or the name cannot stand in a certificate.
    pub fn make(domain: &str) -> Result<(Self, Pair), rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, domain);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validity(&mut params, CA_LIFE);
        let certificate = params.self_signed(&key)?.pem();
        let pair = Pair { certificate: certificate.clone(), key: key.serialize_pem() };
        Ok((Self { issuer: Issuer::new(params, key), certificate }, pair))
    }

    /// A CA from its files.
    ///
    /// # Errors
    /// What is wrong with which file, and after a line break what to do.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, String> {
        let read = |path: &Path| {
            std::fs::read_to_string(path)
                .map_err(|e| format!("{}: the file cannot be read: {e}\ncheck the path", path.display()))
        };
        let (certificate, key_text) = (read(certificate)?, read(key)?);
        let bad = |e: rcgen::Error| {
            format!(
                "{} does not work as a CA's key: {e}\ngive the CA's certificate and its own key in PEM",
                key.display()
            )
        };
        let key = KeyPair::from_pem(&key_text).map_err(bad)?;
        let issuer = Issuer::from_ca_cert_pem(&certificate, key).map_err(bad)?;
        Ok(Self { issuer, certificate })
    }

    /// The CA's certificate in PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a node, with a new key.
    ///
    /// # Errors
    /// The system gives no randomness, or the name cannot stand in a certificate.
    pub fn certify(&self, name: &str) -> Result<Pair, rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let certificate = self.certify_key(name, &key, NODE_LIFE)?;
        Ok(Pair { certificate, key: key.serialize_pem() })
    }

    /// A certificate in PEM for a node that has its key already.
    ///
    /// # Errors
    /// The name cannot stand in a certificate.
    pub fn certify_key(&self, name: &str, key: &KeyPair, life: Duration) -> Result<String, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, life);
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }
}
