//! Many peers in few threads.

mod conn;
mod worker;

pub(crate) use conn::{Conn, Kind, Phase, Spec};
pub(crate) use worker::{Sink, Worker};

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where and as how many threads to run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Target {
    /// The ultrapeer's address
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:6346")]
    pub(crate) target: SocketAddr,
    /// The ultrapeer's process, to measure its CPU and memory
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Dial each peer from an address of its own, in this /16 (default for a loopback target: 127.77.0.0)
    #[arg(long, value_name = "IP")]
    pub(crate) from: Option<Ipv4Addr>,
}

impl Target {
    /// The address that peer `n` dials from, where it has one of its own.
    pub(crate) fn source(&self, n: usize) -> Option<Ipv4Addr> {
        let net = match (self.from, self.target.ip()) {
            (Some(net), _) => net,
            (None, IpAddr::V4(ip)) if ip.is_loopback() => Ipv4Addr::new(127, 77, 0, 0),
            _ => return None,
        };
        let [a, b, ..] = net.octets();
        Some(Ipv4Addr::new(a, b, (n / 250 % 256) as u8, (n % 250 + 1) as u8))
    }

    /// What peer `n` is, says and sends first.
    pub(crate) fn spec(&self, n: usize, kind: Kind, table: Vec<u8>) -> Spec {
        let advertised = self.source(n).unwrap_or(Ipv4Addr::LOCALHOST);
        Spec {
            target: self.target,
            source: self.source(n),
            listen: (advertised, 10_000 + (n % 50_000) as u16).into(),
            guid: eep_tests::peer::random_guid(0x5EED_0000_0000 + n as u64),
            kind,
            table,
        }
    }
}
