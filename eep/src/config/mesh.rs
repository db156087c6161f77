//! The node file's `mesh`: how a node finds others, and which domains it trusts.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_yaml::Spanned;

use crate::config::diagnostic::FileError;
use crate::host::grant::Grant;
use crate::mesh::find::parse_prefix;
use crate::mesh::trust::{May, read_authorities};
use crate::proxylet::limits::ByteSize;

/// Where the mesh listens where the node file asks for a mesh and names no address.
pub const MESH_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 6340);
/// The most seeds in a node file.
pub const SEEDS_MAX: usize = 64;
/// The most domains that a node trusts beside its own.
pub const DOMAINS_MAX: usize = 64;
/// The most addresses that stand for services on other nodes.
pub const LINKS_MAX: usize = 64;
/// The most services that take streams by name.
pub const SERVED_MAX: usize = 256;
/// The most prefixes that a node serves.
pub const PREFIXES_MAX: usize = 256;

/// The mesh of a node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct MeshSection {
    /// Nodes to join through, `HOST:PORT`. One that is up is enough.
    pub(super) seeds: Vec<Spanned<Seed>>,
    /// Other domains: their CA's certificate, what their nodes may ask for, and the prefixes that they may say they serve.
    pub(super) trust: Vec<Spanned<TrustedDomain>>,
    /// The policy that decides what nodes of other domains may ask for; without it, what `trust` says is one.
    pub policy: Option<PathBuf>,
    /// The node's certificate; relative to the file. Default `mesh/node.pem` in the data directory.
    pub certificate: Option<PathBuf>,
    /// Its private key, mode 0600. Default `mesh/node.key` in the data directory.
    pub key: Option<PathBuf>,
    /// The certificate of the domain's CA. Default `mesh/ca.pem` in the data directory.
    pub ca: Option<PathBuf>,
    /// The address under which others reach this node, where it cannot be seen from `listen.mesh` and from what peers
    /// say: behind NAT with a forwarded port.
    pub advertise: Option<SocketAddr>,
    /// The prefixes whose users this node is to serve: for `eep load --near` and for ALTO.
    pub(super) prefixes: Vec<Spanned<Prefix>>,
    /// Addresses of this machine that stand for services on other nodes.
    pub(super) links: Vec<Spanned<MeshLink>>,
    /// Services of this node that take streams from the mesh; `*` for all.
    pub serve: Vec<String>,
    /// How much other nodes may place on this one.
    pub placed: Quota,
    /// The round trip under which two nodes belong to one region, in milliseconds; default 10.
    #[serde(default, deserialize_with = "millis")]
    pub near_ms: Option<Duration>,
    /// How long a placed service goes on without hearing from the node that placed it, in seconds, 4 to 600; default 15.
    #[serde(default, deserialize_with = "lease")]
    pub lease_s: Option<Duration>,
}

/// How much other nodes may place on a node, all of them together.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Quota {
    /// Services; default 64.
    pub services: usize,
    /// The sum of their limits of memory; no limit where it is missing.
    pub memory: Option<ByteSize>,
    /// Grants that they may have: each of theirs has to be allowed by one of these. Any where it is missing.
    pub grant: Option<Vec<Grant>>,
}

impl Default for Quota {
    fn default() -> Self {
        Self { services: 64, memory: None, grant: None }
    }
}

/// A node to join through.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Seed(pub String);

impl TryFrom<String> for Seed {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let named = text
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0));
        if named && text.len() <= 300 && !text.contains(char::is_whitespace) {
            return Ok(Self(text));
        }
        let shown: String = text.chars().take(80).collect();
        Err(format!("{shown:?} is not a host with a port\nwrite one such as \"edge-2.isp-a.example:6340\""))
    }
}

/// A prefix whose users a node is to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Prefix(pub IpNet);

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parse_prefix(&text).map(Self)
    }
}

/// An address of this machine that stands for a service on another node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeshLink {
    /// Where connections are taken: a loopback address.
    #[serde(deserialize_with = "loopback")]
    pub listen: SocketAddr,
    /// The node: NAME, NAME@DOMAIN, or its id.
    pub node: String,
    /// The service there.
    pub service: String,
}

pub(super) fn loopback<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let shown: String = text.chars().take(80).collect();
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        _ => Err(de::Error::custom(format!(
            "{shown:?} is not a loopback address with a port: others could use this node's way into the mesh\n\
             write one such as \"127.0.0.1:7346\""
        ))),
    }
}

/// Another domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedDomain {
    /// The file with its CA's certificate.
    pub ca: PathBuf,
    /// What its nodes may ask of this one, where no policy is named; nothing unless it is said.
    pub may: Option<BTreeSet<May>>,
    /// The prefixes whose users its nodes may say they serve; none unless they are named.
    pub prefixes: Vec<IpNet>,
}

impl<'de> Deserialize<'de> for TrustedDomain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DomainVisitor)
    }
}

struct DomainVisitor;

impl<'de> Visitor<'de> for DomainVisitor {
    type Value = TrustedDomain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the path of a CA's certificate, or {ca: PATH, may: [relay, stream, fetch, place], prefixes: [CIDR]}",
        )
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TrustedDomain, E> {
        Ok(TrustedDomain { ca: text.into(), may: None, prefixes: Vec::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TrustedDomain, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole {
            ca: PathBuf,
            may: Option<BTreeSet<May>>,
            #[serde(default)]
            prefixes: Vec<Prefix>,
        }
        let Whole { ca, may, prefixes } = Whole::deserialize(de::value::MapAccessDeserializer::new(map))?;
        if prefixes.len() > PREFIXES_MAX {
            return Err(de::Error::custom(format!(
                "{} prefixes are too many for one domain\nlist at most {PREFIXES_MAX}",
                prefixes.len()
            )));
        }
        Ok(TrustedDomain { ca, may, prefixes: prefixes.into_iter().map(|prefix| prefix.0).collect() })
    }
}

fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let ms = f64::deserialize(deserializer)?;
    if (0.01..=1000.0).contains(&ms) {
        return Ok(Some(Duration::from_secs_f64(ms / 1000.0)));
    }
    Err(de::Error::custom(format!("{ms} milliseconds are no round trip of a region\nwrite 0.01 to 1000")))
}

fn lease<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let s = u64::deserialize(deserializer)?;
    if (4..=600).contains(&s) {
        return Ok(Some(Duration::from_secs(s)));
    }
    Err(de::Error::custom(format!("a lease of {s} seconds does not work\nwrite 4 to 600")))
}

impl MeshSection {
    /// Nodes to join through.
    #[must_use]
    pub fn seeds(&self) -> Vec<String> {
        self.seeds.iter().map(|seed| seed.value.0.clone()).collect()
    }

    /// Other domains.
    #[must_use]
    pub fn trust(&self) -> Vec<TrustedDomain> {
        self.trust.iter().map(|domain| domain.value.clone()).collect()
    }

    /// The prefixes that this node serves.
    #[must_use]
    pub fn prefixes(&self) -> Vec<IpNet> {
        self.prefixes.iter().map(|prefix| prefix.value.0).collect()
    }

    /// Addresses that stand for services on other nodes.
    #[must_use]
    pub fn links(&self) -> Vec<MeshLink> {
        self.links.iter().map(|link| link.value.clone()).collect()
    }

    /// Takes relative paths from the node file's directory.
    pub(super) fn under(&mut self, directory: &Path) {
        for domain in &mut self.trust {
            domain.value.ca = directory.join(&domain.value.ca);
        }
        for path in
            [&mut self.policy, &mut self.certificate, &mut self.key, &mut self.ca].into_iter().flatten()
        {
            *path = directory.join(&*path);
        }
    }

    /// What the types alone do not hold: that lists are not too long, and that CA certificates are there.
    pub(super) fn check(&self, file: &Path, text: &str) -> Result<(), Box<FileError>> {
        let wrong = |at, words: &str| Err(FileError::at(file, text, at, words));
        if let Some(extra) = self.seeds.get(SEEDS_MAX) {
            return wrong(extra.referenced, &format!("this is one seed too many\nlist at most {SEEDS_MAX}"));
        }
        if let Some(extra) = self.prefixes.get(PREFIXES_MAX) {
            let words = format!("this is one prefix too many\nlist at most {PREFIXES_MAX}");
            return wrong(extra.referenced, &words);
        }
        if let Some(extra) = self.trust.get(DOMAINS_MAX) {
            let words = format!("this is one domain too many\nlist at most {DOMAINS_MAX}");
            return wrong(extra.referenced, &words);
        }
        if let Some(extra) = self.links.get(LINKS_MAX) {
            let words = format!("this is one link too many\nlist at most {LINKS_MAX}");
            return wrong(extra.referenced, &words);
        }
        if let Some(extra) = self.serve.get(SERVED_MAX) {
            let words = format!("`serve` names one service too many: {extra}");
            return Err(FileError::whole(
                file,
                words,
                format!("name at most {SERVED_MAX}, or write [\"*\"] for all"),
            ));
        }
        // The message names the file as the operator wrote it.
        let directory = std::path::absolute(file).ok().and_then(|file| file.parent().map(Path::to_owned));
        let beside = directory.map(|directory| format!("{}/", directory.display())).unwrap_or_default();
        for domain in &self.trust {
            if let Err(words) = read_authorities(&domain.value.ca) {
                return wrong(domain.referenced, &words.replace(&beside, ""));
            }
            if self.policy.is_some() && domain.value.may.is_some() {
                let words = "both `policy` and `may` say what this domain may ask for\nremove `may`: the policy decides";
                return wrong(domain.referenced, words);
            }
        }
        Ok(())
    }
}
