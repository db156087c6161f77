//! Code and signatures to a registry.

use std::collections::BTreeMap;

use oci_client::client::{Config, ImageLayer};
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciImageManifest};
use serde_json::json;

use crate::proxylet::digest::Digest;
use crate::proxylet::inspect::Inspection;
use crate::proxylet::registry::address::ImageAddress;
use crate::proxylet::registry::{CODE_LAYER, CONFIG, Registry, RegistryError, SIGNATURES_LAYER};
use crate::proxylet::trust::SIGNATURE_SUFFIX;

/// The name of a layer's file, for tools that pull files.
const TITLE: &str = "org.opencontainers.image.title";

/// What is published.
#[derive(Debug)]
pub struct Published<'a> {
    /// The file's name.
    pub name: &'a str,
    /// The code.
    pub code: Vec<u8>,
    /// The file of its signatures; empty where there are none.
    pub signatures: Vec<u8>,
    /// What the code says of itself.
    pub inspection: &'a Inspection,
}

impl Registry {
    /// Puts a proxylet under the image's tag, in place of what was there; its address by digest. The same proxylet and
    /// signatures make the same image.
    ///
    /// # Errors
    /// The registry does not take it, or no tag is named. The tag is as it was.
    pub async fn push(&self, published: Published<'_>) -> Result<ImageAddress, RegistryError> {
        let reference = self.image.reference();
        if reference.digest().is_some() {
            return Err(RegistryError::NoTag);
        }
        let config = config(&published);
        let titled = |name: String| Some(BTreeMap::from([(TITLE.to_owned(), name)]));
        let manifest = &published.inspection.manifest;
        let annotations = [
            (TITLE, &manifest.name),
            ("org.opencontainers.image.version", &manifest.version),
            ("org.opencontainers.image.description", &manifest.about),
        ];
        let annotations = annotations.into_iter().filter(|(_, value)| !value.is_empty());
        let annotations = annotations.map(|(key, value)| (key.to_owned(), value.clone())).collect();
        let mut layers =
            vec![ImageLayer::new(published.code, CODE_LAYER.to_owned(), titled(published.name.to_owned()))];
        if !published.signatures.is_empty() {
            let title = titled(format!("{}{SIGNATURE_SUFFIX}", published.name));
            layers.push(ImageLayer::new(published.signatures, SIGNATURES_LAYER.to_owned(), title));
        }
        let mut image = OciImageManifest::build(&layers, &config, Some(annotations));
        image.media_type = Some(OCI_IMAGE_MEDIA_TYPE.to_owned());
        self.client.store_auth_if_needed(reference.resolve_registry(), &self.user).await;
        for (layer, descriptor) in layers.into_iter().zip(&image.layers) {
            self.client.push_blob(reference, layer.data, &descriptor.digest).await?;
        }
        self.client.push_blob(reference, config.data, &image.config.digest).await?;
        let answer = |e: &dyn std::fmt::Display| RegistryError::Answer { why: e.to_string() };
        let bytes = serde_json::to_vec(&image).map_err(|e| answer(&e))?;
        let digest = format!("sha256:{}", Digest::of(&bytes));
        let kind = OCI_IMAGE_MEDIA_TYPE.parse().map_err(|e| answer(&e))?;
        self.client.push_manifest_raw(reference, bytes, kind).await?;
        Ok(self.image.by_digest(&digest))
    }
}

/// The configuration of a wasm OCI artifact. There is no date in it: what is the same shall have the same digest.
fn config(published: &Published<'_>) -> Config {
    let names = |all: &[crate::proxylet::inspect::Interface]| -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    };
    let text = json!({
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [format!("sha256:{}", Digest::of(&published.code))],
        "component": {
            "imports": names(&published.inspection.imports),
            "exports": names(&published.inspection.exports),
        },
    });
    Config::new(text.to_string(), CONFIG.to_owned(), None)
}
