//! What a service may be called.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest service name, in bytes: it is a label of metrics and a part of a log line.
pub const NAME_BYTES_MAX: usize = 63;

/// The name of a service on one node: lower-case letters, digits and `-`, beginning with a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

impl ServiceName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ServiceName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let wrong = if name.is_empty() {
            "is empty"
        } else if name.len() > NAME_BYTES_MAX {
            "is longer than 63 bytes"
        } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            "does not begin with a lower-case letter"
        } else if !name.chars().all(fits) {
            "has something else than lower-case letters, digits and `-` in it"
        } else {
            return Ok(Self(name));
        };
        let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
        Err(format!("the service name {shown:?} {wrong}\nchoose one such as `edge` or `edge-2`"))
    }
}

impl std::str::FromStr for ServiceName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::try_from(name.to_owned())
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
