//! What a proxylet says of itself.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::host::grant::{Grant, GrantError};

/// The name of the custom section in which a proxylet carries its [`Manifest`] as JSON. It may lie in the component
/// or in a module inside it.
pub const SECTION: &str = "eep:proxylet";

/// What a proxylet says of itself, embedded in its code. All fields but the name may be missing; unknown ones are
/// those of a later version and are ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Manifest {
    /// Such as `gnutella-peer`.
    pub name: String,
    /// The proxylet's own version.
    pub version: String,
    /// A sentence for people.
    pub about: String,
    /// What to try once it runs; `{key}` stands for a value of the configuration.
    pub hint: String,
    /// The grants that it needs; `$key` in one stands for a value of the configuration.
    pub wants: Vec<String>,
    /// The configuration's defaults.
    #[schema(value_type = Object)]
    pub config: Map<String, Value>,
    /// The JSON Schema of the configuration.
    #[schema(value_type = Option<Object>)]
    pub schema: Option<Value>,
}

/// Why what a proxylet wants cannot be granted as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WantsError {
    /// A `$key` that the configuration does not have.
    #[error("the proxylet wants {want:?}, but its configuration has no {key:?}")]
    NoKey {
        /// The grant as the proxylet writes it.
        want: String,
        /// The missing key.
        key: String,
    },
    /// Not a grant of this node.
    #[error("the proxylet wants {want:?}: {source}")]
    NotAGrant {
        /// The grant as the proxylet writes it.
        want: String,
        /// What is wrong with it.
        source: GrantError,
    },
}

impl Manifest {
    /// The configuration that a service runs with: the defaults, with what is given in their place, key by key.
    #[must_use]
    pub fn config_with(&self, given: &Map<String, Value>) -> Map<String, Value> {
        let mut config = self.config.clone();
        config.extend(given.iter().map(|(k, v)| (k.clone(), v.clone())));
        config
    }

    /// The grants that the proxylet wants under this configuration (see [`Self::config_with`]).
    ///
    /// # Errors
    /// A `$key` that the configuration lacks, or something that is not a grant.
    pub fn grants_wanted(&self, config: &Map<String, Value>) -> Result<Vec<Grant>, WantsError> {
        self.wants.iter().map(|want| resolve(want, config)).collect()
    }
}

fn resolve(want: &str, config: &Map<String, Value>) -> Result<Grant, WantsError> {
    let text = match want.split_once('$') {
        None => want.to_owned(),
        Some((head, key)) => {
            let value = match config.get(key) {
                Some(Value::String(value)) => value.clone(),
                Some(Value::Number(value)) => value.to_string(),
                _ => return Err(WantsError::NoKey { want: want.to_owned(), key: key.to_owned() }),
            };
            // A grant for the unspecified address is written as the port alone.
            let value = match value.parse::<SocketAddr>() {
                Ok(address) if address.ip().is_unspecified() => address.port().to_string(),
                _ => value,
            };
            format!("{head}{value}")
        }
    };
    text.parse().map_err(|source| WantsError::NotAGrant { want: want.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Manifest {
        serde_json::from_str(text).unwrap()
    }

    fn wanted(m: &Manifest, given: &str) -> Result<Vec<String>, WantsError> {
        let config = m.config_with(&serde_json::from_str(given).unwrap());
        Ok(m.grants_wanted(&config)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn wants_follow_the_configuration() {
        let m = manifest(
            r#"{"name": "p", "wants": ["net.listen:$listen", "net.connect", "datagram:$listen"],
                "config": {"listen": "0.0.0.0:6346", "leaves": 5}, "later": 1}"#,
        );
        assert_eq!(wanted(&m, "{}").unwrap(), ["net.listen:6346", "net.connect", "datagram:6346"]);
        let given = r#"{"listen": "127.0.0.1:7000"}"#;
        assert_eq!(
            wanted(&m, given).unwrap(),
            ["net.listen:127.0.0.1:7000", "net.connect", "datagram:127.0.0.1:7000"]
        );
    }

    #[test]
    fn wants_that_cannot_be_granted_are_named() {
        let m = manifest(r#"{"wants": ["net.listen:$port"]}"#);
        let missing = wanted(&m, "{}").unwrap_err();
        assert!(missing.to_string().contains("has no \"port\""), "{missing}");
        let wrong = wanted(&m, r#"{"port": "http"}"#).unwrap_err();
        assert!(wrong.to_string().contains("not a grant"), "{wrong}");
        assert_eq!(wanted(&m, r#"{"port": 80}"#).unwrap(), ["net.listen:80"]);
    }
}
