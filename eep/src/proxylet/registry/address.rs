//! Which image of which registry.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use oci_client::Reference;

/// `HOST[:PORT]/NAME:TAG`, or `HOST[:PORT]/NAME@sha256:DIGEST`, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageAddress(Reference);

/// What every refusal ends with.
const FIX: &str = "write oci://HOST/NAME:TAG or oci://HOST/NAME@sha256:DIGEST";

impl ImageAddress {
    /// What goes in front of an image's address.
    pub const SCHEME: &'static str = "oci://";

    pub(super) fn reference(&self) -> &Reference {
        &self.0
    }

    /// The tag; none where the image is named by its digest alone.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.0.tag()
    }

    /// The same image by the digest of its manifest, which no push changes.
    #[must_use]
    pub fn by_digest(&self, digest: &str) -> Self {
        let (registry, repository) = (self.0.registry().to_owned(), self.0.repository().to_owned());
        Self(Reference::with_digest(registry, repository, digest.to_owned()))
    }

    /// Whether this is its registry: `HOST` or `HOST:PORT`, and no other port.
    pub(super) fn is_of(&self, registry: &str) -> bool {
        self.0.registry().eq_ignore_ascii_case(registry)
    }

    /// Whether the registry is on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let registry = self.0.registry();
        let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// Reads what stands behind `oci://`.
impl FromStr for ImageAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("the address \"{}{text}\" {what}\n{FIX}", Self::SCHEME));
        // Without this, a name without a host would mean one well-known registry.
        let host = text.split_once('/').map(|(host, _)| host);
        if !host.is_some_and(|host| host.contains(['.', ':']) || host == "localhost") {
            return wrong("names no registry");
        }
        let Ok(reference) = Reference::try_from(text) else { return wrong("names no image") };
        match reference.digest() {
            Some(digest) if !digest.starts_with("sha256:") => wrong("has another digest than sha256"),
            // The library takes a missing tag for `latest`, which says nothing.
            None if !text.rsplit('/').next().is_some_and(|last| last.contains(':')) => wrong("has no tag"),
            _ => Ok(Self(reference)),
        }
    }
}

/// With its scheme.
impl fmt::Display for ImageAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::SCHEME, self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_in_full() {
        let digest = "a".repeat(64);
        for good in
            ["repo.example/echo:1", "repo.example:5000/a/b:1", &format!("127.0.0.1:5000/e@sha256:{digest}")]
        {
            assert_eq!(good.parse::<ImageAddress>().unwrap().to_string(), format!("oci://{good}"));
        }
        let told = |text: &str| text.parse::<ImageAddress>().unwrap_err();
        assert!(
            told("echo:1").contains("names no registry") && told("isp/echo:1").contains("names no registry")
        );
        assert!(told("repo.example/echo").contains("has no tag"));
        assert!(told("repo.example:5000/echo").contains("has no tag"));
        assert!(told("repo.example/Echo:1").contains("names no image"));
        assert!(told(&format!("repo.example/e@sha512:{digest}{digest}{}", "a".repeat(0))).contains("sha256"));
        assert!(told("repo.example/e@sha256:ab").contains("names no image"));
        assert!(told("").contains("names no registry"));
    }

    #[test]
    fn a_registry_is_its_host_and_its_port() {
        let image: ImageAddress = "Repo.example:5000/e:1".parse().unwrap();
        assert!(image.is_of("repo.example:5000"));
        for other in ["repo.example", "repo.example:500", "repo.example:50000", "a.repo.example:5000", ""] {
            assert!(!image.is_of(other), "{other}");
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear() {
        let loopback = |text: &str| text.parse::<ImageAddress>().unwrap().is_loopback();
        assert!(loopback("127.0.0.1:5000/e:1") && loopback("localhost/e:1") && loopback("localhost:1/e:1"));
        assert!(!loopback("10.0.0.1:5000/e:1") && !loopback("localhost.example/e:1"));
    }
}
