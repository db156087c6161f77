//! Policy plane of the application layer: who may join.

use crate::config::Config;
use std::net::IpAddr;

/// Decides who may be a neighbour. The configuration's lists are one such policy; a shell may bring its own.
pub trait Policy {
    /// Whether a peer at this address that calls itself so may join. `user_agent` is empty before it has said so.
    fn admits(&self, address: IpAddr, user_agent: &str) -> bool;
}

/// The lists of the configuration.
#[derive(Clone, Debug)]
pub struct Access {
    deny_addresses: Vec<IpAddr>,
    deny_user_agents: Vec<String>,
}

impl Access {
    /// From the configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            deny_addresses: config.deny_addresses.clone(),
            deny_user_agents: config.deny_user_agents.clone(),
        }
    }
}

impl Policy for Access {
    fn admits(&self, address: IpAddr, user_agent: &str) -> bool {
        let begins = |prefix: &String| {
            user_agent
                .as_bytes()
                .get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        !self.deny_addresses.contains(&address.to_canonical()) && !self.deny_user_agents.iter().any(begins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_peers_are_kept_out() {
        let access = Access::new(&Config {
            deny_addresses: vec!["198.51.100.7".parse().unwrap()],
            deny_user_agents: vec!["BadShare/1".into()],
            ..Config::default()
        });
        let ok = |ip: &str, agent| access.admits(ip.parse().unwrap(), agent);
        assert!(ok("198.51.100.8", "GoodShare/1"));
        assert!(!ok("198.51.100.7", "GoodShare/1"));
        assert!(!ok("::ffff:198.51.100.7", "GoodShare/1"));
        assert!(!ok("198.51.100.8", "badshare/1.7"));
        assert!(ok("198.51.100.8", "BadShare"));
    }
}
