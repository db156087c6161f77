//! UDP host caches: a ping that asks for hosts, a pong that packs them, and the text forms of caches.

use std::net::SocketAddrV4;

use super::guid::Guid;
use super::header::{Header, Kind};
use super::ping::{self, CachedPongs};
use super::pong::{Extensions, Pong, Ultrapeer, Vendor};

/// Most caches that are read from one packed list.
pub const CACHES_MAX: usize = 64;

/// The datagram that asks a host cache for hosts.
#[must_use]
pub fn request(guid: Guid, wanted: CachedPongs) -> Vec<u8> {
    Header { guid, kind: Kind::PING, ttl: 1, hops: 0, len: 0 }.frame(&ping::asking_for_hosts(wanted))
}

/// What a host cache says of itself and of others.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    /// Where this host listens.
    pub addr: SocketAddrV4,
    /// Files and kilobytes shared.
    pub shared: (u32, u32),
    /// Its software.
    pub vendor: Vendor,
    /// Its free slots, if it is an ultrapeer.
    pub ultrapeer: Option<Ultrapeer>,
    /// Average daily uptime in seconds.
    pub daily_uptime_s: u32,
    /// Hosts that may have room.
    pub hosts: &'a [SocketAddrV4],
    /// Other host caches, `host[:port]` each.
    pub caches: &'a [String],
}

impl Answer<'_> {
    /// The datagram that answers the ping with this id.
    #[must_use]
    pub fn encode(&self, guid: Guid) -> Vec<u8> {
        let mut extensions = Extensions::new().vendor(self.vendor);
        if let Some(up) = self.ultrapeer {
            extensions = extensions.ultrapeer(up);
        }
        let extensions = extensions
            .daily_uptime_s(self.daily_uptime_s)
            .host_cache("")
            .packed_hosts(self.hosts)
            .packed_caches(&self.caches.join("\n"))
            .finish();
        let (files, kbytes) = self.shared;
        let pong = Pong { addr: self.addr, files, kbytes, extensions: &extensions };
        Header { guid, kind: Kind::PONG, ttl: 1, hops: 0, len: 0 }.frame(&pong.encode())
    }
}

/// The `host[:port]` of each line of a packed list; options behind `&` are left out, as are lines that cannot be a
/// host.
pub fn caches(lines: &str) -> impl Iterator<Item = &str> {
    lines
        .lines()
        .map(|line| line.split('&').next().unwrap_or_default().trim())
        .filter(|host| !host.is_empty() && host.len() <= 260)
        .filter(|host| host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b)))
        .take(CACHES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gnutella::ping::Ping;
    use crate::gnutella::udp;

    #[test]
    fn a_request_is_what_ultrapeers_send() {
        let bytes = request(Guid([9; 16]), CachedPongs::new(3));
        let datagram = udp::parse(&bytes).unwrap();
        assert_eq!(&datagram.payload[..], b"\xc3\x83SCP\x41\x03");
        assert!(Ping::parse(&datagram.payload).cached_pongs().unwrap().wants_ultra());
    }

    #[test]
    fn an_answer_carries_hosts_and_caches() {
        let hosts: Vec<SocketAddrV4> = vec!["1.2.3.4:6346".parse().unwrap(), "5.6.7.8:80".parse().unwrap()];
        let lists = ["uhc.example:6346".to_owned(), "cache.example".to_owned()];
        let answer = Answer {
            addr: "9.9.9.9:6346".parse().unwrap(),
            shared: (0, 0),
            vendor: Vendor { code: *b"TEST", version: 1 },
            ultrapeer: Some(Ultrapeer { version: 2, leaf_slots: 10, ultra_slots: 3 }),
            daily_uptime_s: 3600,
            hosts: &hosts,
            caches: &lists,
        };
        let bytes = answer.encode(Guid([9; 16]));
        let datagram = udp::parse(&bytes).unwrap();
        assert_eq!(datagram.header.guid, Guid([9; 16]));
        let pong = Pong::parse(&datagram.payload).unwrap();
        assert_eq!(pong.packed_hosts(), hosts);
        assert_eq!(pong.host_cache().as_deref(), Some(""));
        let packed = pong.packed_caches().unwrap();
        assert_eq!(caches(&packed).collect::<Vec<_>>(), lists);
    }

    #[test]
    fn lines_of_a_packed_list_are_cleaned() {
        let lines = "a.example:6346&FD=2&UT=1\n\nb.example\r\n/etc/passwd\nc d\n&x\n";
        assert_eq!(caches(lines).collect::<Vec<_>>(), ["a.example:6346", "b.example"]);
        assert_eq!(caches(&"h\n".repeat(200)).count(), CACHES_MAX);
    }
}
