//! Under which address others see this peer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::state::{Damaged, Reader, Saved, Writer};

/// Addresses that are weighed against each other.
const VOTES_MAX: usize = 8;

/// What is known of our own address: what the configuration says, else what most neighbours say that they see, else the
/// local end of a connection.
#[derive(Debug, Default)]
pub(super) struct OwnAddress {
    votes: Vec<(Ipv4Addr, u32)>,
    local: Option<Ipv4Addr>,
}

impl OwnAddress {
    /// A neighbour says where it sees us.
    pub(super) fn seen_as(&mut self, ip: IpAddr) {
        let IpAddr::V4(ip) = ip.to_canonical() else { return };
        if ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() {
            return;
        }
        if let Some(vote) = self.votes.iter_mut().find(|v| v.0 == ip) {
            vote.1 = vote.1.saturating_add(1);
        } else if self.votes.len() < VOTES_MAX {
            self.votes.push((ip, 1));
        } else {
            // Who has one vote among many makes room, so that a new address can win in the end.
            self.votes.iter_mut().for_each(|v| v.1 -= 1);
            self.votes.retain(|v| v.1 > 0);
        }
    }

    /// The local end of a connection.
    pub(super) fn local(&mut self, local: SocketAddr) {
        if let IpAddr::V4(ip) = local.ip().to_canonical()
            && !ip.is_unspecified()
        {
            self.local.get_or_insert(ip);
        }
    }

    /// The address to tell others.
    pub(super) fn get(&self, advertise: Option<SocketAddrV4>, listen: SocketAddr) -> Option<SocketAddrV4> {
        if advertise.is_some() {
            return advertise;
        }
        let bound = match listen.ip() {
            IpAddr::V4(ip) if !ip.is_unspecified() => Some(ip),
            _ => None,
        };
        let voted = self.votes.iter().max_by_key(|v| v.1).map(|v| v.0);
        let ip = voted.or(bound).or(self.local)?;
        Some(SocketAddrV4::new(ip, listen.port()))
    }
}

impl Saved for OwnAddress {
    fn save(&self, to: &mut Writer) {
        to.list(self.votes.iter());
        self.local.save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let own = Self { votes: from.list(VOTES_MAX)?, local: from.load()? };
        from.ensure(own.votes.iter().all(|vote| vote.1 > 0))?;
        Ok(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, n)
    }

    #[test]
    fn the_operator_is_believed_before_the_neighbours_and_these_before_the_socket() {
        let mut own = OwnAddress::default();
        let listen: SocketAddr = "0.0.0.0:6346".parse().unwrap();
        assert_eq!(own.get(None, listen), None);
        own.local("10.0.0.5:50000".parse().unwrap());
        assert_eq!(own.get(None, listen), Some("10.0.0.5:6346".parse().unwrap()));
        for n in [1, 2, 2] {
            own.seen_as(ip(n).into());
        }
        assert_eq!(own.get(None, listen), Some(SocketAddrV4::new(ip(2), 6346)));
        let said = SocketAddrV4::new(ip(9), 7000);
        assert_eq!(own.get(Some(said), listen), Some(said));
    }

    #[test]
    fn votes_are_bounded_and_a_new_address_can_win() {
        let mut own = OwnAddress::default();
        for n in 0..200 {
            own.seen_as(ip(n).into());
        }
        for _ in 0..50 {
            own.seen_as(ip(250).into());
        }
        assert!(own.votes.len() <= VOTES_MAX);
        assert_eq!(own.get(None, "0.0.0.0:1".parse().unwrap()), Some(SocketAddrV4::new(ip(250), 1)));
    }
}
