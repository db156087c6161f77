//! What is done once a second: dials, routes that age, tables that are published.

use std::net::SocketAddr;
use std::time::Duration;

use super::VirtualPeer;
use super::journal::Topic;
use crate::host::Host;

/// From one ping for pongs of others to the next, to each neighbour.
const PONG_REFRESH: Duration = Duration::from_secs(60);

impl VirtualPeer {
    pub(super) fn upkeep(&mut self, host: &mut impl Host) {
        self.query_routes.tick(self.now);
        self.push_routes.tick(self.now);
        self.leaf_tables.sweep();
        self.neighbour_tables.sweep();
        self.publish_table();
        self.refresh_pongs();
        self.report_used(host);
        self.survey(host);
        if !self.stopping {
            self.shed();
            self.dial_more(host);
            self.tell_whereabouts();
        }
    }

    /// Whether this peer is part of an overlay, and where others find it.
    fn tell_whereabouts(&mut self) {
        let own = self.own.get(self.config.advertise, self.config.listen);
        if let Some(address) = own.filter(|_| own != self.told_address) {
            self.told_address = own;
            self.journal.tell(
                self.now,
                Topic::Address,
                format_args!("others are told to find this peer at {address}"),
            );
        }
        let alone = self.table.neighbours().is_empty() && self.topology.dialling() == 0;
        if alone && self.config.ultrapeers > 0 && self.config.connect.is_empty() && self.hosts.is_empty() {
            let line =
                "no other ultrapeer is known, so searches stay among the leaves here: name some in `connect`";
            self.journal.tell(self.now, Topic::Alone, format_args!("{line}"));
        }
    }

    fn dial_more(&mut self, host: &mut impl Host) {
        let free = self.ultrapeers_wanted();
        let (table, access) = (&self.table, &self.access);
        let own = self.own.get(self.config.advertise, self.config.listen).map(SocketAddr::V4);
        let skip = |a: SocketAddr| table.has_address(a) || Some(a) == own || !access.admits(a.ip(), "");
        let (hosts, rng, now) = (&mut self.hosts, &mut self.rng, self.now);
        let chosen = self.topology.choose(now, free as usize, skip, |n, into| {
            hosts.candidates(now, n, skip, rng, into);
        });
        for to in chosen {
            self.dial(to, host);
        }
    }

    fn refresh_pongs(&mut self) {
        if self.now < self.pong_refresh_at {
            return;
        }
        self.pong_refresh_at = self.now + PONG_REFRESH;
        for i in 0..self.table.neighbours().len() {
            let index = self.table.neighbours()[i];
            self.ask_for_pongs(index);
        }
    }
}
