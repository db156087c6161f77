//! Code and signatures from a registry.

use futures_util::StreamExt as _;
use oci_client::manifest::{OciDescriptor, OciManifest};

use crate::proxylet::fetch::{CODE_BYTES_MAX, OnBytes};
use crate::proxylet::registry::error::innermost;
use crate::proxylet::registry::{CODE_LAYER, CODE_LAYER_EARLIER, Registry, RegistryError, SIGNATURES_LAYER};
use crate::proxylet::trust::SIGNATURES_BYTES_MAX;

impl Registry {
    /// The code.
    pub(crate) async fn code(&self, on_bytes: OnBytes<'_>) -> Result<Vec<u8>, RegistryError> {
        let layers = self.layers().await?;
        let code = layers.iter().find(|l| [CODE_LAYER, CODE_LAYER_EARLIER].contains(&l.media_type.as_str()));
        let code = code.ok_or(RegistryError::NoProxylet { why: "it has no layer of WebAssembly" })?;
        self.layer(code, CODE_BYTES_MAX, on_bytes).await
    }

    /// The file of signatures; empty where the image has none.
    pub(crate) async fn signatures(&self) -> Result<Vec<u8>, RegistryError> {
        let layers = self.layers().await?;
        match layers.iter().find(|layer| layer.media_type == SIGNATURES_LAYER) {
            Some(layer) => self.layer(layer, SIGNATURES_BYTES_MAX, &|_, _| {}).await,
            None => Ok(Vec::new()),
        }
    }

    async fn layers(&self) -> Result<Vec<OciDescriptor>, RegistryError> {
        match self.manifest().await? {
            OciManifest::Image(manifest) => Ok(manifest.layers),
            OciManifest::ImageIndex(_) => {
                Err(RegistryError::NoProxylet { why: "it is an index of images for several platforms" })
            }
        }
    }

    /// One layer; its bytes are what the manifest's digest says.
    async fn layer(
        &self,
        layer: &OciDescriptor,
        bytes_max: u64,
        on_bytes: OnBytes<'_>,
    ) -> Result<Vec<u8>, RegistryError> {
        let total = u64::try_from(layer.size).ok();
        if total.is_none_or(|total| total > bytes_max) {
            return Err(RegistryError::TooLarge { bytes_max });
        }
        let mut stream = self.client.pull_blob_stream(self.image.reference(), layer).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| {
                let why = innermost(&error);
                // The library reports a digest that does not fit as a failure to read.
                if why.contains("igest") { RegistryError::Digest } else { RegistryError::Unreachable { why } }
            })?;
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > bytes_max {
                return Err(RegistryError::TooLarge { bytes_max });
            }
            on_bytes(bytes.len() as u64, total);
        }
        Ok(bytes)
    }
}
