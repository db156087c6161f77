//! Bringing a proxylet's bytes here: over HTTP(S), from an OCI registry, or from a file of this machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::redirect::Policy;
use tokio::io::AsyncReadExt as _;

use crate::config::Source;
use crate::proxylet::registry::Registry;
use crate::proxylet::registry::error::RegistryError;
use crate::proxylet::trust::{SIGNATURE_SUFFIX, SIGNATURES_BYTES_MAX};

/// The largest proxylet that is fetched, in bytes.
pub const CODE_BYTES_MAX: u64 = 64 << 20;
/// How many redirects are followed.
pub const REDIRECTS_MAX: usize = 5;
/// How long a server may take to accept the connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may take for the next piece.
const READ: Duration = Duration::from_secs(30);
/// How long a whole fetch may take.
const TOTAL: Duration = Duration::from_secs(600);

/// What to do about a certificate that is not trusted.
pub(super) const CERTIFICATE_FIX: &str =
    "check the address; have this machine trust the server's CA, or name the CA's file in SSL_CERT_FILE";

/// Why the bytes could not be brought here.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server could not be reached, or went silent.
    #[error("the server cannot be reached: {why}")]
    Unreachable {
        /// What the network said.
        why: String,
    },
    /// Its certificate is not one that this machine trusts.
    #[error("the server is not trusted: {why}")]
    Untrusted {
        /// What is wrong with the certificate.
        why: String,
    },
    /// The server did not take longer than it may.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The server answered, but not with the file.
    #[error("the server answered {status}")]
    Status {
        /// The status line.
        status: reqwest::StatusCode,
    },
    /// A redirect that is not followed.
    #[error("{why}")]
    Redirect {
        /// Why not.
        why: String,
    },
    /// The answer broke off.
    #[error("the answer broke off after {got} bytes: {why}")]
    BrokenOff {
        /// What had come by then.
        got: u64,
        /// What the network said.
        why: String,
    },
    /// More than it may have.
    #[error("it is larger than {bytes_max} bytes, the most that it may have")]
    TooLarge {
        /// How many it may have.
        bytes_max: u64,
    },
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    File(#[from] std::io::Error),
    /// The registry did not give it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Code by its digest, on a node without a mesh.
    #[error("code by its digest alone is fetched from other nodes, and this one is in no mesh")]
    NoMesh,
    /// Something else than a file.
    #[error("this is not a file")]
    NoFile,
}

impl FetchError {
    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "check the address, and that its server runs",
            Self::Untrusted { .. } => CERTIFICATE_FIX,
            Self::TimedOut => "try again, or fetch the file by hand and load it by its path",
            Self::Status { status } if status.is_client_error() => "check the address",
            Self::Status { .. } => "try again later",
            Self::Redirect { .. } => "give the address that it leads to",
            Self::BrokenOff { .. } => "try again; if it stays so, the file on the server is damaged",
            Self::TooLarge { .. } => "is it the right file?",
            Self::File(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                "let the node's user read it"
            }
            Self::Registry(error) => error.fix(),
            Self::File(_) | Self::NoFile => "check the path",
            Self::NoMesh => "give its https:// address, or put the node into a mesh with `eep init`",
        }
    }

    /// Whether there is nothing at that place, and nothing else is wrong.
    fn is_absence(&self) -> bool {
        match self {
            Self::Status { status } => matches!(status.as_u16(), 404 | 410),
            Self::File(e) => e.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Whether the fault lies with the server or the network, so that trying again later may help.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::TimedOut
            | Self::Status { .. }
            | Self::BrokenOff { .. } => true,
            Self::Registry(error) => error.is_elsewhere(),
            _ => false,
        }
    }
}

/// Told of each piece: bytes so far, and bytes in all where that is known.
pub type OnBytes<'a> = &'a (dyn Fn(u64, Option<u64>) + Send + Sync);

/// Brings bytes here.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: reqwest::Client,
}

impl Fetcher {
    /// Takes up the system's trusted certificates.
    ///
    /// # Errors
    /// TLS cannot be set up on this machine.
    pub fn new() -> Result<Self, FetchError> {
        let policy = Policy::custom(|attempt| {
            let secure = attempt.previous().first().is_some_and(|url| url.scheme() == "https");
            if attempt.previous().len() > REDIRECTS_MAX {
                attempt.error(format!("more than {REDIRECTS_MAX} redirects"))
            } else if secure && attempt.url().scheme() != "https" {
                let url = attempt.url().clone();
                attempt.error(format!("it redirects from https to {url}, which is not encrypted"))
            } else {
                attempt.follow()
            }
        });
        let client = reqwest::Client::builder()
            .user_agent(concat!("eep/", env!("CARGO_PKG_VERSION")))
            .redirect(policy)
            .connect_timeout(CONNECT)
            .read_timeout(READ)
            .timeout(TOTAL)
            .build()
            .map_err(|e| FetchError::Unreachable { why: reason(&e) })?;
        Ok(Self { client })
    }

    /// The bytes at a source. They are whole, but nothing is said about what they are.
    ///
    /// # Errors
    /// They cannot be had, or are too many.
    pub async fn fetch(&self, source: &Source, on_bytes: OnBytes<'_>) -> Result<Vec<u8>, FetchError> {
        match source {
            Source::Http(url) => self.http(url, CODE_BYTES_MAX, on_bytes).await,
            Source::File(path) => file(path, CODE_BYTES_MAX, on_bytes).await,
            Source::Mesh(..) => Err(FetchError::NoMesh),
            Source::Oci(image) => {
                let registry = Registry::of(image)?;
                Ok(in_time(registry.code(on_bytes)).await??)
            }
        }
    }

    /// The signatures beside a source; empty where there are none.
    ///
    /// # Errors
    /// It cannot be found out whether there are any, or they are too large.
    pub async fn signatures(&self, source: &Source) -> Result<Vec<u8>, FetchError> {
        let fetched = match source {
            Source::Http(url) => self.http(&beside(url), SIGNATURES_BYTES_MAX, &|_, _| {}).await,
            Source::File(path) => {
                let mut beside = path.clone().into_os_string();
                beside.push(SIGNATURE_SUFFIX);
                file(Path::new(&beside), SIGNATURES_BYTES_MAX, &|_, _| {}).await
            }
            // They come with the code.
            Source::Mesh(..) => Ok(Vec::new()),
            Source::Oci(image) => {
                let registry = Registry::of(image)?;
                Ok(in_time(registry.signatures()).await??)
            }
        };
        match fetched {
            Err(error) if error.is_absence() => Ok(Vec::new()),
            other => other,
        }
    }

    async fn http(&self, url: &str, bytes_max: u64, on_bytes: OnBytes<'_>) -> Result<Vec<u8>, FetchError> {
        let mut answer = self.client.get(url).send().await.map_err(|e| {
            if e.is_redirect() {
                FetchError::Redirect { why: reason(&e) }
            } else if e.is_timeout() {
                FetchError::TimedOut
            } else if is_distrust(&e) {
                FetchError::Untrusted { why: reason(&e) }
            } else {
                FetchError::Unreachable { why: reason(&e) }
            }
        })?;
        // 206 and 204 are successes that are not the file.
        if answer.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status { status: answer.status() });
        }
        let total = answer.content_length();
        if total.is_some_and(|total| total > bytes_max) {
            return Err(FetchError::TooLarge { bytes_max });
        }
        let mut bytes = Vec::with_capacity(total.map_or(0, |total| total as usize));
        loop {
            match answer.chunk().await {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece),
                Ok(None) => return Ok(bytes),
                Err(e) if e.is_timeout() => return Err(FetchError::TimedOut),
                Err(e) => return Err(FetchError::BrokenOff { got: bytes.len() as u64, why: reason(&e) }),
            }
            if bytes.len() as u64 > bytes_max {
                return Err(FetchError::TooLarge { bytes_max });
            }
            on_bytes(bytes.len() as u64, total);
        }
    }
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, FetchError> {
    tokio::time::timeout(TOTAL, work).await.map_err(|_| FetchError::TimedOut)
}

/// The address of the signatures: the suffix belongs to the path, in front of a query.
fn beside(url: &str) -> String {
    let path = url.find(['?', '#']).unwrap_or(url.len());
    format!("{}{SIGNATURE_SUFFIX}{}", &url[..path], &url[path..])
}

async fn file(path: &Path, bytes_max: u64, on_bytes: OnBytes<'_>) -> Result<Vec<u8>, FetchError> {
    // A pipe or a device might never end, and is not opened at all.
    let meta = tokio::fs::metadata(path).await?;
    if !meta.is_file() {
        return Err(FetchError::NoFile);
    }
    if meta.len() > bytes_max {
        return Err(FetchError::TooLarge { bytes_max });
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    let file = tokio::fs::File::open(PathBuf::from(path)).await?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > bytes_max {
        return Err(FetchError::TooLarge { bytes_max });
    }
    on_bytes(bytes.len() as u64, Some(meta.len()));
    Ok(bytes)
}

/// Whether a connection was given up over the server's certificate.
pub(super) fn is_distrust(error: &(dyn std::error::Error + 'static)) -> bool {
    // What an I/O error wraps is not among its causes.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))
        || wrapped.is_some_and(|inner| is_distrust(inner))
        || error.source().is_some_and(is_distrust)
}

/// The innermost of an error's causes: the others only say what was being done.
fn reason(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
