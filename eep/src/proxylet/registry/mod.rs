//! Proxylets in OCI registries: `oci://HOST/NAME:TAG`.
//!
//! An image has one layer of code (`application/wasm`) and, where it is signed, one with the file of signatures
//! (`application/vnd.eep.minisig`). Its configuration is that of the wasm OCI artifact
//! (<https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>), so other tools store and mirror it.
//!
//! | module | what |
//! | --- | --- |
//! | [`address`] | which image |
//! | `manifest` | what an image is made of |
//! | `pull` | code and signatures from a registry |
//! | [`push`] | both to a registry |
//! | [`error`] | what went wrong, in our words |

pub mod address;
pub mod error;
mod manifest;
mod pull;
pub mod push;

use std::time::Duration;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;

use crate::proxylet::registry::address::ImageAddress;
use crate::proxylet::registry::error::RegistryError;

/// The layer of code.
pub const CODE_LAYER: &str = "application/wasm";
/// The same as earlier tools wrote it.
const CODE_LAYER_EARLIER: &str = "application/vnd.wasm.content.layer.v1+wasm";
/// The layer of signatures.
pub const SIGNATURES_LAYER: &str = "application/vnd.eep.minisig";
/// The configuration.
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The registry whose user it is that follows, as image addresses write it: `HOST` or `HOST:PORT`. No other one gets to see
/// the password: an image's address may come from somebody else than the password.
const HOST_ENV: &str = "EEP_REGISTRY_HOST";
/// Who asks, and the password; nobody where they are missing.
const USER_ENV: &str = "EEP_REGISTRY_USER";
const PASSWORD_ENV: &str = "EEP_REGISTRY_PASSWORD";
/// How long a registry may take to accept the connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long it may take for the next piece.
const READ: Duration = Duration::from_secs(30);

/// One image's registry, spoken to as its user.
pub struct Registry {
    client: oci_client::Client,
    image: ImageAddress,
    user: RegistryAuth,
}

/// Without the password.
impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("image", &self.image).finish_non_exhaustive()
    }
}

impl Registry {
    /// The registry of an image. Only one on this machine is spoken to without TLS.
    ///
    /// # Errors
    /// TLS cannot be set up on this machine.
    pub fn of(image: &ImageAddress) -> Result<Self, RegistryError> {
        let protocol = if image.is_loopback() { ClientProtocol::Http } else { ClientProtocol::Https };
        let config = ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT),
            read_timeout: Some(READ),
            user_agent: concat!("eep/", env!("CARGO_PKG_VERSION")),
            // A proxylet is the same on every platform.
            platform_resolver: None,
            ..ClientConfig::default()
        };
        let user = match (std::env::var(HOST_ENV), std::env::var(USER_ENV), std::env::var(PASSWORD_ENV)) {
            (Ok(host), Ok(user), Ok(password)) if image.is_of(&host) => RegistryAuth::Basic(user, password),
            _ => RegistryAuth::Anonymous,
        };
        let client = oci_client::Client::try_from(config)?;
        Ok(Self { client, image: image.clone(), user })
    }
}
