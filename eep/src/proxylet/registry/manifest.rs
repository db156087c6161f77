//! An image's manifest, read by ourselves: the library takes any number of bytes.

use std::time::Duration;

use oci_client::RegistryOperation;
use oci_client::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciManifest};
use oci_client::secrets::RegistryAuth;
use reqwest::{StatusCode, header};

use crate::proxylet::digest::Digest;
use crate::proxylet::registry::error::{brief, innermost};
use crate::proxylet::registry::{CONNECT, READ, Registry, RegistryError};

/// Bytes of a manifest: as many as every registry takes (distribution specification 1.1, "Pushing Manifests").
pub(super) const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// How long all of it may take.
const WHOLE: Duration = Duration::from_secs(60);

impl Registry {
    pub(super) async fn manifest(&self) -> Result<OciManifest, RegistryError> {
        let image = self.image.reference();
        let token = self.client.auth(image, &self.user, RegistryOperation::Pull).await?;
        let scheme = if self.image.is_loopback() { "http" } else { "https" };
        let reference = image.digest().or(image.tag()).unwrap_or("latest");
        let url = format!(
            "{scheme}://{}/v2/{}/manifests/{reference}",
            image.resolve_registry(),
            image.repository()
        );
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(READ)
            .timeout(WHOLE)
            .user_agent(concat!("eep/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(unreachable)?;
        let request = http
            .get(url)
            .header(header::ACCEPT, format!("{OCI_IMAGE_MEDIA_TYPE}, {OCI_IMAGE_INDEX_MEDIA_TYPE}"));
        let request = match (token, &self.user) {
            (Some(token), _) => request.bearer_auth(token),
            (None, RegistryAuth::Basic(user, password)) => request.basic_auth(user, Some(password)),
            (None, _) => request,
        };
        let answer = request.send().await.map_err(unreachable)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(RegistryError::NoImage),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(RegistryError::Denied),
            other => return Err(RegistryError::Answer { why: brief(&other.to_string()) }),
        }
        let bytes = bounded(answer).await?;
        if image.digest().is_some_and(|wanted| wanted != format!("sha256:{}", Digest::of(&bytes))) {
            return Err(RegistryError::Digest);
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| RegistryError::Answer { why: brief(&format!("no manifest: {error}")) })
    }
}

async fn bounded(mut answer: reqwest::Response) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
        if bytes.len() + piece.len() > MANIFEST_BYTES_MAX {
            return Err(RegistryError::TooLarge { bytes_max: MANIFEST_BYTES_MAX as u64 });
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn unreachable(error: reqwest::Error) -> RegistryError {
    RegistryError::Unreachable { why: innermost(&error) }
}
