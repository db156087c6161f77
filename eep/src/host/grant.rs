//! What a service may reach.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One right of a service, as a manifest writes it:
///
/// | written | allows |
/// | --- | --- |
/// | `net.listen:PORT`, `net.listen:ADDR:PORT`, `net.listen:*` | listening for TCP there, or anywhere |
/// | `net.connect`, `net.connect:CIDR`, `net.connect:CIDR:PORT` | connecting anywhere, or only there |
/// | `datagram:PORT`, `datagram:ADDR:PORT`, `datagram:*` | binding a UDP socket there, and sending from it |
/// | `policy` | asking for decisions of the service's policy |
/// | `topology` | looking at the mesh |
/// | `mesh` | streams and messages to services on other nodes |
/// | `deploy`, `deploy:N` | launching services, at most N at one time, or [`LAUNCHED`] |
///
/// Port 0 is a port that the system chooses. An IPv6 address or prefix stands in brackets: `net.listen:[::1]:6346`,
/// `net.connect:[2001:db8::]/32:80`; without a port the brackets of a prefix may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// Listening for TCP.
    Listen(Bind),
    /// Connecting by TCP.
    Connect(Reach),
    /// Binding UDP.
    Datagram(Bind),
    /// Asking for decisions.
    Policy,
    /// Looking at the mesh.
    Topology,
    /// Streams and messages to services on other nodes.
    Mesh,
    /// Launching services, so many at one time.
    Deploy(u16),
}

/// Services that a service may have launched, where its grant does not say how many.
pub const LAUNCHED: u16 = 16;
/// The most that a grant may say.
pub const LAUNCHED_MAX: u16 = 256;

/// Where a socket may be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bind {
    /// Every address and port.
    Any,
    /// This port on every address.
    Port(u16),
    /// This port on this address; on every one of its family where it is `0.0.0.0` or `[::]`.
    Address(SocketAddr),
}

/// Where may be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reach {
    /// The prefix, or everywhere.
    pub prefix: Option<IpNet>,
    /// The port, or every port.
    pub port: Option<u16>,
}

impl Grant {
    /// Whether it allows all that another one does.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Listen(all), Self::Listen(some)) | (Self::Datagram(all), Self::Datagram(some)) => {
                all == some
                    || match some {
                        Bind::Any => false,
                        Bind::Port(port) => matches!(all, Bind::Any) || *all == Bind::Port(*port),
                        Bind::Address(address) => all.allows(*address),
                    }
            }
            (Self::Connect(all), Self::Connect(some)) => {
                let prefix = match (all.prefix, some.prefix) {
                    (None, _) => true,
                    (Some(all), Some(some)) => all.contains(&some),
                    (Some(_), None) => false,
                };
                prefix && (all.port.is_none() || all.port == some.port)
            }
            (Self::Policy, Self::Policy) | (Self::Topology, Self::Topology) | (Self::Mesh, Self::Mesh) => {
                true
            }
            (Self::Deploy(all), Self::Deploy(some)) => all >= some,
            (
                Self::Listen(_)
                | Self::Connect(_)
                | Self::Datagram(_)
                | Self::Policy
                | Self::Topology
                | Self::Mesh
                | Self::Deploy(_),
                _,
            ) => false,
        }
    }
}

impl Bind {
    fn allows(&self, address: SocketAddr) -> bool {
        match *self {
            Self::Any => true,
            Self::Port(port) => port == address.port(),
            // The unspecified address stands for all of its family.
            Self::Address(granted) => {
                granted.port() == address.port()
                    && (granted.ip() == address.ip()
                        || (granted.ip().is_unspecified() && granted.is_ipv4() == address.is_ipv4()))
            }
        }
    }
}

impl Reach {
    fn allows(&self, to: SocketAddr) -> bool {
        // An IPv4 address in IPv6 clothes must not slip past an IPv4 prefix, nor be refused by it.
        let ip: IpAddr = to.ip().to_canonical();
        self.prefix.is_none_or(|prefix| prefix.contains(&ip))
            && self.port.is_none_or(|port| port == to.port())
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Port(port) => write!(f, "{port}"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(bind) => write!(f, "net.listen:{bind}"),
            Self::Datagram(bind) => write!(f, "datagram:{bind}"),
            Self::Policy => f.write_str("policy"),
            Self::Topology => f.write_str("topology"),
            Self::Mesh => f.write_str("mesh"),
            Self::Deploy(LAUNCHED) => f.write_str("deploy"),
            Self::Deploy(services) => write!(f, "deploy:{services}"),
            Self::Connect(Reach { prefix: None, .. }) => f.write_str("net.connect"),
            Self::Connect(Reach { prefix: Some(prefix), port: None }) => write!(f, "net.connect:{prefix}"),
            Self::Connect(Reach { prefix: Some(IpNet::V4(prefix)), port: Some(port) }) => {
                write!(f, "net.connect:{prefix}:{port}")
            }
            Self::Connect(Reach { prefix: Some(IpNet::V6(prefix)), port: Some(port) }) => {
                write!(f, "net.connect:[{}]/{}:{port}", prefix.addr(), prefix.prefix_len())
            }
        }
    }
}

/// Why a text is not a grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a grant: {why}")]
pub struct GrantError {
    given: String,
    why: &'static str,
}

const KINDS: &str = "write net.listen:PORT, net.listen:ADDR:PORT, net.listen:*, net.connect, net.connect:CIDR, \
                     net.connect:CIDR:PORT, datagram:PORT, policy, topology, mesh, deploy or deploy:N";

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let refuse = |why| GrantError { given: text.chars().take(120).collect(), why };
        let (kind, rest) = text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
        let bind = |rest: Option<&str>| {
            let rest =
                rest.ok_or_else(|| refuse("it names no port; write KIND:PORT, KIND:ADDR:PORT or KIND:*"))?;
            parse_bind(rest).ok_or_else(|| refuse("what follows the colon is not PORT, ADDR:PORT or *"))
        };
        match kind {
            "net.listen" => Ok(Self::Listen(bind(rest)?)),
            "datagram" => Ok(Self::Datagram(bind(rest)?)),
            "net.connect" => match rest {
                None => Ok(Self::Connect(Reach { prefix: None, port: None })),
                Some(rest) => parse_reach(rest).map(Self::Connect).ok_or_else(|| {
                    refuse("what follows the colon is not a prefix such as 192.0.2.0/24, or one with :PORT")
                }),
            },
            "policy" if rest.is_none() => Ok(Self::Policy),
            "topology" if rest.is_none() => Ok(Self::Topology),
            "mesh" if rest.is_none() => Ok(Self::Mesh),
            "deploy" => match rest {
                None => Ok(Self::Deploy(LAUNCHED)),
                Some(rest) => match rest.parse() {
                    Ok(services @ 1..=LAUNCHED_MAX) => Ok(Self::Deploy(services)),
                    _ => Err(refuse("what follows the colon is not a number of services from 1 to 256")),
                },
            },
            _ => Err(refuse(KINDS)),
        }
    }
}

fn parse_bind(text: &str) -> Option<Bind> {
    if text == "*" {
        return Some(Bind::Any);
    }
    text.parse().map(Bind::Port).or_else(|_| text.parse().map(Bind::Address)).ok()
}

fn parse_reach(text: &str) -> Option<Reach> {
    if let Some(prefix) = parse_prefix(text) {
        return Some(Reach { prefix: Some(prefix), port: None });
    }
    let (prefix, port) = text.rsplit_once(':')?;
    // An IPv6 prefix with a port is only unambiguous in brackets.
    if prefix.contains(':') && !prefix.starts_with('[') {
        return None;
    }
    Some(Reach { prefix: Some(parse_prefix(prefix)?), port: Some(port.parse().ok()?) })
}

fn parse_prefix(text: &str) -> Option<IpNet> {
    let (ip, len) = text.split_once('/').map_or((text, None), |(ip, len)| (ip, Some(len)));
    let ip = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    let ip: IpAddr = ip.parse().ok()?;
    let net = match len {
        None => IpNet::from(ip),
        Some(len) => IpNet::new(ip, len.parse().ok()?).ok()?,
    };
    Some(net.trunc())
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// All rights of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// These rights and no others.
    #[must_use]
    pub fn new(grants: impl IntoIterator<Item = Grant>) -> Self {
        Self(grants.into_iter().collect())
    }

    /// Each right.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.0.iter()
    }

    /// Whether all that the others allow is allowed.
    #[must_use]
    pub fn cover(&self, others: &Self) -> bool {
        others.iter().all(|other| self.iter().any(|grant| grant.covers(other)))
    }

    /// Whether nothing is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether TCP may be listened for there.
    #[must_use]
    pub fn may_listen(&self, address: SocketAddr) -> bool {
        self.0.iter().any(|g| matches!(g, Grant::Listen(bind) if bind.allows(address)))
    }

    /// Whether may be connected to there.
    #[must_use]
    pub fn may_connect(&self, to: SocketAddr) -> bool {
        self.0.iter().any(|g| matches!(g, Grant::Connect(reach) if reach.allows(to)))
    }

    /// Whether UDP may be bound there.
    #[must_use]
    pub fn may_bind_datagram(&self, address: SocketAddr) -> bool {
        self.0.iter().any(|g| matches!(g, Grant::Datagram(bind) if bind.allows(address)))
    }

    /// Whether services on other nodes may be spoken to.
    #[must_use]
    pub fn mesh(&self) -> bool {
        self.0.contains(&Grant::Mesh)
    }

    /// Whether the mesh may be looked at.
    #[must_use]
    pub fn topology(&self) -> bool {
        self.0.contains(&Grant::Topology)
    }

    /// How many services may be launched; none where that is not granted.
    #[must_use]
    pub fn deploy(&self) -> u16 {
        let services = self.0.iter().filter_map(|g| match g {
            Grant::Deploy(services) => Some(*services),
            _ => None,
        });
        services.max().unwrap_or(0)
    }

    /// Whether decisions may be asked for.
    #[must_use]
    pub fn policy(&self) -> bool {
        self.0.contains(&Grant::Policy)
    }
}

impl FromIterator<Grant> for Grants {
    fn from_iter<T: IntoIterator<Item = Grant>>(grants: T) -> Self {
        Self::new(grants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(texts: &[&str]) -> Grants {
        texts.iter().map(|t| t.parse::<Grant>().unwrap()).collect()
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn every_form_is_read_and_written_the_same() {
        for text in [
            "net.listen:6346",
            "net.listen:0",
            "net.listen:*",
            "net.listen:127.0.0.1:6346",
            "net.listen:[::1]:6346",
            "net.connect",
            "net.connect:192.0.2.0/24",
            "net.connect:192.0.2.0/24:80",
            "net.connect:2001:db8::/32",
            "net.connect:[2001:db8::]/32:80",
            "datagram:6346",
            "datagram:0.0.0.0:6346",
            "policy",
            "topology",
            "mesh",
            "deploy",
            "deploy:3",
        ] {
            assert_eq!(text.parse::<Grant>().unwrap().to_string(), text);
            assert!(grants(&[text]).cover(&grants(&[text])), "{text}");
        }
    }

    #[test]
    fn a_wrong_grant_says_what_is_wrong_with_it() {
        for (text, part) in [
            ("", "write net.listen:PORT"),
            ("net", "write net.listen:PORT"),
            ("net.listen", "names no port"),
            ("net.listen:http", "not PORT"),
            ("net.listen:65536", "not PORT"),
            ("net.connect:example.org", "not a prefix"),
            ("net.connect:10.0.0.0/33", "not a prefix"),
            ("net.connect:2001:db8::/32:80", "not a prefix"),
            ("datagram:", "not PORT"),
            ("policy:x", "write net.listen:PORT"),
            ("deploy:0", "from 1 to 256"),
            ("deploy:257", "from 1 to 256"),
        ] {
            let error = text.parse::<Grant>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn fewer_services_are_covered_and_more_are_not() {
        assert!(grants(&["deploy"]).cover(&grants(&["deploy:16"])));
        assert!(!grants(&["deploy"]).cover(&grants(&["deploy:17"])));
        assert!(!grants(&["policy", "net.connect"]).cover(&grants(&["deploy:1"])));
        assert_eq!((grants(&["deploy:3", "deploy:7"]).deploy(), grants(&["policy"]).deploy()), (7, 0));
    }

    #[test]
    fn listening_is_allowed_where_granted_and_nowhere_else() {
        let port = grants(&["net.listen:6346"]);
        assert!(port.may_listen(at("0.0.0.0:6346")) && port.may_listen(at("[::]:6346")));
        assert!(!port.may_listen(at("0.0.0.0:6347")) && !port.may_bind_datagram(at("0.0.0.0:6346")));
        let address = grants(&["net.listen:127.0.0.1:6346"]);
        assert!(address.may_listen(at("127.0.0.1:6346")) && !address.may_listen(at("0.0.0.0:6346")));
        let family = grants(&["net.listen:0.0.0.0:6346"]);
        assert!(family.may_listen(at("127.0.0.1:6346")) && !family.may_listen(at("[::1]:6346")));
        assert!(grants(&["net.listen:*"]).may_listen(at("192.0.2.1:1")));
        assert!(!Grants::default().may_listen(at("0.0.0.0:6346")));
    }

    #[test]
    fn connecting_is_held_to_the_prefix_even_in_ipv6_clothes() {
        let g = grants(&["net.connect:10.0.0.0/8", "net.connect:[2001:db8::]/32:80"]);
        assert!(g.may_connect(at("10.1.2.3:9")) && g.may_connect(at("[::ffff:10.1.2.3]:9")));
        assert!(!g.may_connect(at("11.1.2.3:9")) && !g.may_connect(at("[::ffff:11.1.2.3]:9")));
        assert!(g.may_connect(at("[2001:db8::1]:80")) && !g.may_connect(at("[2001:db8::1]:81")));
        assert!(grants(&["net.connect"]).may_connect(at("[2001:db8::1]:81")));
        assert!(!grants(&["net.listen:*"]).may_connect(at("10.0.0.1:1")));
    }
}
