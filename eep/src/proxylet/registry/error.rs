//! What a registry refused, in our words.

use oci_client::errors::{OciDistributionError, OciErrorCode};

use crate::proxylet::fetch::{CERTIFICATE_FIX, is_distrust};

/// Why an image could not be pulled or pushed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is no such image.
    #[error("the registry has no such image")]
    NoImage,
    /// The registry does not let this user.
    #[error("the registry does not allow it")]
    Denied,
    /// The image holds no proxylet.
    #[error("the image is no proxylet: {why}")]
    NoProxylet {
        /// What is missing.
        why: &'static str,
    },
    /// What came is not what its digest says.
    #[error("the registry's answer does not fit its digest")]
    Digest,
    /// More than it may have.
    #[error("it is larger than {bytes_max} bytes, the most that it may have")]
    TooLarge {
        /// How many it may have.
        bytes_max: u64,
    },
    /// The registry could not be reached, or went silent.
    #[error("the registry cannot be reached: {why}")]
    Unreachable {
        /// What the network said.
        why: String,
    },
    /// Its certificate is not one that this machine trusts.
    #[error("the registry is not trusted: {why}")]
    Untrusted {
        /// What is wrong with the certificate.
        why: String,
    },
    /// It answered something else than the distribution specification has.
    #[error("the registry answered: {why}")]
    Answer {
        /// What.
        why: String,
    },
    /// An image is pushed under a tag.
    #[error("an image cannot be pushed under a digest alone")]
    NoTag,
}

impl RegistryError {
    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            Self::NoImage => "check the name and the tag; `eep proxylet publish` puts one there",
            Self::Denied => {
                "set EEP_REGISTRY_USER and EEP_REGISTRY_PASSWORD to a user who may, and EEP_REGISTRY_HOST to this registry"
            }
            Self::NoProxylet { .. } => "put it there with `eep proxylet publish`",
            Self::Digest => "try again; if it stays so, the image is damaged",
            Self::TooLarge { .. } => "is it the right image?",
            Self::Unreachable { .. } => "check the address, and that the registry runs",
            Self::Untrusted { .. } => CERTIFICATE_FIX,
            Self::Answer { .. } => "check that this is the address of a registry, and its log",
            Self::NoTag => "write oci://HOST/NAME:TAG",
        }
    }

    /// Whether the fault lies with the registry or the network, so that trying again later may help.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Untrusted { .. } | Self::Answer { .. })
    }
}

impl From<OciDistributionError> for RegistryError {
    fn from(error: OciDistributionError) -> Self {
        use OciDistributionError as E;
        match error {
            E::ImageManifestNotFoundError(_) => Self::NoImage,
            E::UnauthorizedError { .. } | E::AuthenticationFailure(_) => Self::Denied,
            E::RegistryError { envelope, .. } => match envelope.errors.first().map(|e| &e.code) {
                Some(
                    OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::NotFound
                    | OciErrorCode::BlobUnknown,
                ) => Self::NoImage,
                Some(OciErrorCode::Denied | OciErrorCode::Unauthorized) => Self::Denied,
                _ => Self::Answer { why: brief(&envelope.to_string()) },
            },
            E::ServerError { code: 404, .. } => Self::NoImage,
            E::ServerError { code: 401 | 403, .. } => Self::Denied,
            E::ServerError { code, message, .. } => Self::Answer { why: brief(&format!("{code} {message}")) },
            E::DigestError(_) => Self::Digest,
            E::ImageIndexParsingNoPlatformResolverError => {
                Self::NoProxylet { why: "it is an index of images for several platforms" }
            }
            E::RequestError(error) if is_distrust(&error) => Self::Untrusted { why: innermost(&error) },
            E::RequestError(error) => Self::Unreachable { why: innermost(&error) },
            other => Self::Answer { why: brief(&other.to_string()) },
        }
    }
}

/// The innermost of an error's causes: the others only say what was being done.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// A stranger's words, not at any length.
pub(super) fn brief(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    text.chars().take(CHARS_MAX).collect::<String>().trim().to_owned()
}
