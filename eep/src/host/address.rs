//! Addresses between the node and the contract.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::host::bindings::eep::proxylet::types::{IpAddress, SocketAddress};

/// An address as a proxylet sees it. IPv4 in IPv6 clothes, as a socket for both families reports it, is IPv4.
pub(crate) fn to_wit(address: SocketAddr) -> SocketAddress {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(ip) => IpAddress::Ipv4(ip.into()),
        IpAddr::V6(ip) => {
            let ip = u128::from(ip);
            IpAddress::Ipv6(((ip >> 64) as u64, ip as u64))
        }
    };
    SocketAddress { ip, port: address.port() }
}

pub(crate) fn from_wit(address: SocketAddress) -> SocketAddr {
    let ip = match address.ip {
        IpAddress::Ipv4(ip) => IpAddr::V4(Ipv4Addr::from(ip)),
        IpAddress::Ipv6((high, low)) => {
            IpAddr::V6(Ipv6Addr::from((u128::from(high) << 64) | u128::from(low)))
        }
    };
    SocketAddr::new(ip, address.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_there_and_back() {
        for text in ["127.0.0.1:6346", "[2001:db8::1:2]:80", "0.0.0.0:0", "[::1]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(from_wit(to_wit(address)), address);
        }
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:7".parse().unwrap();
        assert_eq!(from_wit(to_wit(mapped)), "192.0.2.1:7".parse().unwrap());
    }
}
