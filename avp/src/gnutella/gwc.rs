//! Web caches: hosts and other caches over HTTP, in both dialects (GWebCache 1.3.1, and the second one as its
//! clients speak it).

use std::fmt::Write;
use std::net::SocketAddrV4;

use super::http::Target;

/// Most hosts in one answer, and most caches: what the specification suggests.
pub const ENTRIES_MAX: usize = 20;
/// Longest cache URL that is taken or given, in bytes.
pub const URL_BYTES_MAX: usize = 256;

/// Which dialect an answer is due in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `hostfile=1`, `urlfile=1`: bare lines.
    First,
    /// `get=1`, `update=1`: lines led by `H|`, `U|` and `I|`.
    Second,
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How it asks.
    pub dialect: Dialect,
    /// Whether this cache is alive.
    pub ping: bool,
    /// Hosts to connect to.
    pub hosts: bool,
    /// Other caches.
    pub caches: bool,
    /// A host that takes connections: the client itself.
    pub offered_host: Option<SocketAddrV4>,
    /// Another cache that the client knows to work. Always `http://`, at most [`URL_BYTES_MAX`] bytes.
    pub offered_cache: Option<String>,
    /// Another network than Gnutella is meant.
    foreign: bool,
}

impl Request {
    /// Reads a target's parameters; `None` where they ask for nothing.
    #[must_use]
    pub fn parse(target: &Target<'_>) -> Option<Self> {
        let wants = |name| target.parameter(name).is_some_and(|v| !v.is_empty() && v != "0");
        let offer = |name: &str, older: &str| target.parameter(name).or_else(|| target.parameter(older));
        let (get, update) = (wants("get"), wants("update"));
        let network = target.parameter("net");
        let second = get || update || network.is_some();
        let request = Self {
            dialect: if second { Dialect::Second } else { Dialect::First },
            ping: wants("ping"),
            hosts: get || wants("hostfile"),
            caches: get || wants("urlfile"),
            offered_host: offer("ip", "ip1").and_then(|ip| ip.parse().ok()),
            offered_cache: offer("url", "url1").filter(|url| is_cache(url)),
            foreign: network.is_some_and(|n| !n.eq_ignore_ascii_case("gnutella")),
        };
        let offers = update || offer("ip", "ip1").is_some() || offer("url", "url1").is_some();
        (request.ping || request.hosts || request.caches || offers).then_some(request)
    }

    /// The answer's body: at most [`ENTRIES_MAX`] of the hosts and of the caches, each with its age in seconds.
    /// `server` is what a ping is answered with.
    #[must_use]
    pub fn answer(&self, server: &str, hosts: &[(SocketAddrV4, u32)], caches: &[(String, u32)]) -> String {
        let hosts = &hosts[..hosts.len().min(ENTRIES_MAX)];
        let caches = || caches.iter().filter(|(url, _)| is_cache(url)).take(ENTRIES_MAX);
        let server: String = server.chars().filter(|c| !c.is_control() && *c != '|').collect();
        let offered = self.offered_host.is_some() || self.offered_cache.is_some();
        let nothing_asked = !self.ping && !self.hosts && !self.caches;
        let mut out = String::new();
        let mut line = |text: std::fmt::Arguments<'_>| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{text}");
        };
        match self.dialect {
            Dialect::First => {
                if self.ping {
                    line(format_args!("PONG {server}"));
                }
                if self.hosts {
                    hosts.iter().for_each(|(host, _)| line(format_args!("{host}")));
                }
                if self.caches {
                    caches().for_each(|(url, _)| line(format_args!("{url}")));
                }
                if nothing_asked {
                    line(format_args!("OK"));
                    if !offered {
                        line(format_args!("WARNING: Rejected: want ip=IP:PORT or url=http://..."));
                    }
                }
            }
            Dialect::Second => {
                if self.foreign {
                    line(format_args!("I|net-not-supported"));
                    return out;
                }
                if self.ping {
                    line(format_args!("I|pong|{server}|gnutella"));
                }
                if offered {
                    line(format_args!("I|update|OK"));
                } else if nothing_asked {
                    line(format_args!("I|update|WARNING|Rejected: want ip=IP:PORT or url=http://..."));
                }
                if self.hosts {
                    hosts.iter().for_each(|(host, age_s)| line(format_args!("H|{host}|{age_s}")));
                    caches().for_each(|(url, age_s)| line(format_args!("U|{url}|{age_s}")));
                    match (hosts.is_empty(), caches().next().is_none()) {
                        (true, true) => line(format_args!("I|NO-URL-NO-HOSTS")),
                        (true, false) => line(format_args!("I|NO-HOSTS")),
                        (false, true) => line(format_args!("I|NO-URL")),
                        (false, false) => {}
                    }
                }
            }
        }
        out
    }
}

/// A URL that can be a line of an answer.
fn is_cache(url: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && b != b'|';
    url.len() <= URL_BYTES_MAX && url.len() > 7 && url.starts_with("http://") && url.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(query: &str) -> Option<Request> {
        Request::parse(&Target { path: "/gwc", query })
    }

    fn answer(query: &str) -> String {
        let hosts = [("1.2.3.4:6346".parse().unwrap(), 60), ("5.6.7.8:80".parse().unwrap(), 7)];
        let caches = [("http://cache.example/gwc".to_owned(), 300), ("not a url".to_owned(), 1)];
        request(query).unwrap().answer("test 1", &hosts, &caches)
    }

    #[test]
    fn the_first_dialect() {
        assert_eq!(answer("client=TEST&version=1&hostfile=1"), "1.2.3.4:6346\n5.6.7.8:80\n");
        assert_eq!(answer("urlfile=1"), "http://cache.example/gwc\n");
        assert_eq!(answer("ping=1"), "PONG test 1\n");
        assert_eq!(answer("ip=9.9.9.9:6346"), "OK\n");
        assert_eq!(request("ip1=9.9.9.9:6346").unwrap().offered_host, "9.9.9.9:6346".parse().ok());
        assert!(answer("ip=nonsense").starts_with("OK\nWARNING"));
    }

    #[test]
    fn the_second_dialect() {
        let got = answer("get=1&net=gnutella&client=TEST&version=1");
        assert_eq!(got, "H|1.2.3.4:6346|60\nH|5.6.7.8:80|7\nU|http://cache.example/gwc|300\n");
        assert_eq!(answer("ping=1&net=gnutella"), "I|pong|test 1|gnutella\n");
        assert_eq!(answer("update=1&ip=9.9.9.9:1&url=http%3A%2F%2Fh%2Fc"), "I|update|OK\n");
        assert!(answer("update=1").starts_with("I|update|WARNING|"));
        assert_eq!(answer("get=1&net=gnutella2"), "I|net-not-supported\n");
        assert_eq!(request("get=1").unwrap().answer("t", &[], &[]), "I|NO-URL-NO-HOSTS\n");
    }

    #[test]
    fn what_asks_for_nothing_is_no_request() {
        assert_eq!(request(""), None);
        assert_eq!(request("client=TEST&hostfile=0"), None);
    }

    #[test]
    fn an_answer_is_bounded() {
        let hosts: Vec<_> = (0..200).map(|n| (SocketAddrV4::new([10, 0, 0, n].into(), 1), 0)).collect();
        let body = request("hostfile=1").unwrap().answer("t", &hosts, &[]);
        assert_eq!(body.lines().count(), ENTRIES_MAX);
        let long = format!("update=1&url=http://{}", "x".repeat(URL_BYTES_MAX));
        assert_eq!(request(&long).unwrap().offered_cache, None);
    }

    proptest! {
        #[test]
        fn no_offer_can_add_a_line(url in "(?s).{0,40}", server in "(?s).{0,20}") {
            let query = format!("update=1&url=http://{}", crate::gnutella::http::encode(url.as_bytes()));
            if let Some(cache) = request(&query).unwrap().offered_cache {
                let body = request("urlfile=1").unwrap().answer("t", &[], &[(cache, 0)]);
                prop_assert_eq!(body.lines().count(), 1);
            }
            prop_assert_eq!(request("ping=1").unwrap().answer(&server, &[], &[]).lines().count(), 1);
        }
    }
}
