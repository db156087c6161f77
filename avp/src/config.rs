//! Every setting of a virtual peer: its unit, default and bound.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

/// The port that peers assume where none is said.
pub const GNUTELLA_PORT: u16 = 6346;
/// Most ultrapeer neighbours that can be configured.
pub const ULTRAPEERS_MAX: u16 = 1_024;
/// Most leaves that can be configured: the counters of the aggregated query routing table have 16 bits.
pub const LEAVES_MAX: u32 = 65_535;
/// Most dynamic queries that can be configured.
pub const DYNAMIC_QUERIES_MAX: usize = 65_536;
/// Most addresses in one list of the configuration.
pub const LIST_MAX: usize = 256;
/// Longest name that is accepted in a list of the configuration, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// How a virtual peer behaves. Read from JSON by the shells; unknown fields are refused, absent ones have their default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// Where the shell listens, TCP and UDP. Default `0.0.0.0:6346`.
    pub listen: SocketAddr,
    /// The address under which others reach this peer. Default: what neighbours say that they see, with the port of
    /// `listen`.
    pub advertise: Option<SocketAddrV4>,
    /// Ultrapeer neighbours to hold: dialled until there are so many, refused beyond. Default 32, at most 1,024. Each
    /// costs about 30 KiB and a copy of the queries that reach it.
    pub ultrapeers: u16,
    /// Leaves to accept. Default 5,000, at most 65,535. Each costs about 10 KiB.
    pub leaves: u32,
    /// Neighbours without ultrapeer support (protocol 0.4, or 0.6 without `X-Ultrapeer`) to accept. Default 8, at most
    /// 64. They are sent every query that has hops left.
    pub old_peers: u16,
    /// Links that peers at one IP address may have. Default 0: as many as they like, since many may share an address.
    pub links_per_address: u32,
    /// Hops that a query may travel from its origin. Default 4, from 2 to 7. Gnutella's `X-Max-TTL`.
    pub max_ttl: u8,
    /// Addresses to stay connected with as an ultrapeer neighbour: dialled first, and again whenever they are gone.
    /// Default none, at most 256.
    pub connect: Vec<SocketAddr>,
    /// Whether addresses that the public Internet does not route (10/8, 127/8, ...) are dialled, cached and given to
    /// others. Default false; needed inside a test network or an organisation.
    pub allow_private_addresses: bool,
    /// Whether links may be compressed. Default true. Costs about 50 KiB of the shell's memory a compressed link.
    pub compression: bool,
    /// Answers that end a dynamic query for a leaf that does not guide it. Default 150, from 1 to 1,000.
    pub query_results: u16,
    /// Dynamic queries under way at the same time. Default 4,096, at most 65,536. One more ends the oldest. Each costs
    /// about 512 bytes.
    pub dynamic_queries: u32,
    /// Entries in one of the two generations of the table that says where the hits of a query go. Default 229,376 (seven
    /// eighths of a power of two fill their memory best), from 1,024 to 14,680,064. Each costs 38 bytes, in both
    /// generations.
    pub query_routes: u32,
    /// The same for pushes, by the servent that shares the file. Default 57,344, from 1,024 to 14,680,064.
    pub push_routes: u32,
    /// How long a generation of routes is added to before it becomes the old one, in seconds. Default 300, from 10 to
    /// 3,600.
    pub route_seconds: u16,
    /// Bytes that unfinished messages, unfinished query routing tables and queues of all relations may take together. Default
    /// 48 MiB, from 1 MiB. Where it is exceeded, the relations that hold most are ended.
    pub held_bytes: u32,
    /// Bytes that may be spent on leaves' query routing tables with more than 65,536 slots, which are kept beside their
    /// folded form so that a slot can be cleared again. Default 32 MiB. Without room a cleared slot stays set until the
    /// leaf's next RESET: more queries reach it than it asked for, never fewer.
    pub large_table_bytes: u32,
    /// IP addresses that may not join and are never dialled. Default none, at most 256.
    pub deny_addresses: Vec<IpAddr>,
    /// Peers whose `User-Agent` begins with one of these, in any case, may not join. Default none, at most 256 of 128
    /// bytes.
    pub deny_user_agents: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, GNUTELLA_PORT)),
            advertise: None,
            ultrapeers: 32,
            leaves: 5_000,
            old_peers: 8,
            links_per_address: 0,
            max_ttl: 4,
            connect: Vec::new(),
            allow_private_addresses: false,
            compression: true,
            query_results: 150,
            dynamic_queries: 4_096,
            query_routes: 229_376,
            push_routes: 57_344,
            route_seconds: 300,
            held_bytes: 48 << 20,
            large_table_bytes: 32 << 20,
            deny_addresses: Vec::new(),
            deny_user_agents: Vec::new(),
        }
    }
}

/// A field of the configuration that cannot be, and what it may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {problem}")]
pub struct ConfigError {
    /// The field, as it is written in the configuration.
    pub field: &'static str,
    /// What is wrong with it and what is allowed.
    pub problem: String,
}

impl Config {
    /// Checks every bound.
    ///
    /// # Errors
    /// Names the first field that is out of its bounds, and the bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const ROUTES: (u32, u32) = (1_024, 14_680_064);
        within("ultrapeers", self.ultrapeers, 0, ULTRAPEERS_MAX)?;
        within("leaves", self.leaves, 0, LEAVES_MAX)?;
        within("old-peers", self.old_peers, 0, 64)?;
        within("max-ttl", self.max_ttl, 2, 7)?;
        within("query-results", self.query_results, 1, 1_000)?;
        within("dynamic-queries", self.dynamic_queries, 0, DYNAMIC_QUERIES_MAX as u32)?;
        within("query-routes", self.query_routes, ROUTES.0, ROUTES.1)?;
        within("push-routes", self.push_routes, ROUTES.0, ROUTES.1)?;
        within("route-seconds", self.route_seconds, 10, 3_600)?;
        within("held-bytes", self.held_bytes, 1 << 20, u32::MAX)?;
        at_most("connect", self.connect.len(), LIST_MAX)?;
        at_most("deny-addresses", self.deny_addresses.len(), LIST_MAX)?;
        at_most("deny-user-agents", self.deny_user_agents.len(), LIST_MAX)?;
        if let Some(own) = self.advertise
            && (own.port() == 0 || own.ip().is_unspecified() || own.ip().is_multicast())
        {
            return Err(error("advertise", format!("is {own}, which nobody can reach: give IP:PORT")));
        }
        if let Some(bad) = self.connect.iter().find(|a| a.port() == 0 || a.ip().is_unspecified()) {
            return Err(error("connect", format!("has {bad}, which cannot be dialled: give IP:PORT")));
        }
        if let Some(bad) = self.deny_user_agents.iter().find(|a| a.is_empty() || a.len() > NAME_BYTES_MAX) {
            return Err(error(
                "deny-user-agents",
                format!("has an entry of {} bytes; each has 1 to {NAME_BYTES_MAX}", bad.len()),
            ));
        }
        Ok(())
    }
}

fn error(field: &'static str, problem: String) -> ConfigError {
    ConfigError { field, problem }
}

fn within<T: PartialOrd + std::fmt::Display>(
    field: &'static str,
    value: T,
    low: T,
    high: T,
) -> Result<(), ConfigError> {
    if value < low || value > high {
        return Err(error(field, format!("is {value}; it may be {low} to {high}")));
    }
    Ok(())
}

fn at_most(field: &'static str, len: usize, max: usize) -> Result<(), ConfigError> {
    if len > max {
        return Err(error(field, format!("has {len} entries; it may have {max}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Config, String> {
        let config: Config = serde_json::from_str(json).map_err(|e| e.to_string())?;
        config.validate().map_err(|e| e.to_string())?;
        Ok(config)
    }

    #[test]
    fn an_empty_object_is_the_default() {
        assert_eq!(parse("{}").unwrap(), Config::default());
    }

    #[test]
    fn fields_are_kebab_case_and_unknown_ones_are_refused() {
        let config = parse(r#"{"max-ttl": 3, "connect": ["192.0.2.1:6346"]}"#).unwrap();
        assert_eq!(config.max_ttl, 3);
        assert_eq!(config.connect.len(), 1);
        assert!(parse(r#"{"leafs": 3}"#).unwrap_err().contains("leafs"));
    }

    #[test]
    fn a_value_out_of_bounds_names_its_field_and_the_bounds() {
        assert_eq!(parse(r#"{"max-ttl": 9}"#).unwrap_err(), "`max-ttl` is 9; it may be 2 to 7");
        assert_eq!(parse(r#"{"leaves": 70000}"#).unwrap_err(), "`leaves` is 70000; it may be 0 to 65535");
        assert!(parse(r#"{"connect": ["0.0.0.0:1"]}"#).unwrap_err().starts_with("`connect` has 0.0.0.0:1"));
        assert!(parse(r#"{"deny-user-agents": [""]}"#).unwrap_err().contains("1 to 128"));
    }
}
