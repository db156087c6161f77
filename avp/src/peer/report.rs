//! The figures, and what an operator sees.

use std::time::Duration;

use super::table::Relation;
use super::{LinkStatus, Slots, Status, VirtualPeer};
use crate::application::dynamic_query::End;
use crate::application::monitoring::{Sample, Samples};
use crate::link::dispatch::Loss;
use crate::link::{Ending, Refusal, Role};
use crate::network::traffic::Class;
use crate::state::{Damaged, Reader, Saved, Writer};

/// Ranges of the degree of neighbours: the largest in each, and its name.
const DEGREES: [(u16, &str); 7] =
    [(4, "0-4"), (8, "5-8"), (16, "9-16"), (32, "17-32"), (64, "33-64"), (128, "65-128"), (u16::MAX, "129-")];

/// What is counted beside messages.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Relations made, by role.
    pub(super) joined: [u64; 3],
    /// Pings of our own, alive pings not counted.
    pub(super) pings_sent: u64,
    /// Bytes of messages of our own.
    pub(super) own_bytes: u64,
    /// Datagrams that are no descriptor.
    pub(super) bad_datagrams: u64,
    /// Ends and refusals: the name of the figure, the reason, how often; in the order of their first events, so that a
    /// new one moves no other.
    reasons: Vec<(&'static str, &'static str, u64)>,
}

const ENDED: &str = "avp_ended_total";
const REFUSED: &str = "avp_refused_total";

impl Counters {
    pub(super) fn ended(&mut self, why: Ending) {
        self.count(ENDED, why.name());
    }

    pub(super) fn refused(&mut self, why: Refusal) {
        self.count(REFUSED, why.name());
    }

    fn count(&mut self, figure: &'static str, reason: &'static str) {
        match self.reasons.iter_mut().find(|r| (r.0, r.1) == (figure, reason)) {
            Some(known) => known.2 += 1,
            None => self.reasons.push((figure, reason, 1)),
        }
    }
}

impl Saved for Counters {
    fn save(&self, to: &mut Writer) {
        let Self { joined, pings_sent, own_bytes, bad_datagrams, reasons } = self;
        joined.save(to);
        [*pings_sent, *own_bytes, *bad_datagrams].save(to);
        to.len_of(reasons.len());
        for (figure, reason, n) in reasons {
            (*figure == ENDED).save(to);
            reason.to_string().save(to);
            n.save(to);
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut counters = Self::default();
        let own = [&mut counters.pings_sent, &mut counters.own_bytes, &mut counters.bad_datagrams];
        for n in counters.joined.iter_mut().chain(own) {
            *n = from.count()?;
        }
        for _ in 0..from.len_of(1, Ending::NAMES.len() + Refusal::ALL.len())? {
            let (is_end, name, n) = (from.load()?, from.load::<String>()?, from.count()?);
            let figure = if is_end { ENDED } else { REFUSED };
            let mut refusals = Refusal::ALL.iter().map(|refusal| refusal.name());
            let known = if is_end {
                Ending::NAMES.into_iter().find(|known| *known == name)
            } else {
                refusals.find(|known| *known == name)
            };
            let is_new = !counters.reasons.iter().any(|r| (r.0, r.1) == (figure, name.as_str()));
            from.ensure(is_new)?;
            counters.reasons.push((figure, known.ok_or(from.damaged())?, n));
        }
        Ok(counters)
    }
}

impl VirtualPeer {
    /// Every figure, cheap enough for once a second. The order is always the same; reasons for ends and refusals come
    /// last, each from its first event on.
    #[must_use]
    pub fn metrics(&self) -> Vec<Sample> {
        let mut out = Samples::default();
        self.monitor.sample(&mut out);
        self.sample_relations(&mut out);
        self.sample_routing(&mut out);
        for (figure, reason, n) in &self.counters.reasons {
            let help = match *figure {
                ENDED => "Connections and relations that have ended.",
                _ => "Handshakes that were refused.",
            };
            out.counter(figure, help, &[("reason", reason)], *n);
        }
        out.into_vec()
    }

    fn sample_relations(&self, out: &mut Samples) {
        for role in [Role::Leaf, Role::Ultrapeer, Role::Old] {
            let label = [("role", role.name())];
            out.gauge("avp_links", "Relations with peers now.", &label, self.table.count(role).into());
            let joined = self.counters.joined[role as usize];
            out.counter("avp_joined_total", "Relations with peers that were made.", &label, joined);
        }
        out.gauge(
            "avp_held_bytes",
            "Memory for unfinished messages, unfinished routing tables and queues.",
            &[],
            (self.all_held_bytes() + self.openings.held_bytes()) as f64,
        );
        let openings = self.openings.len() as f64;
        out.gauge("avp_openings", "Connections that are no relation yet.", &[], openings);
        out.gauge("avp_dialling", "Hosts that are being dialled.", &[], self.topology.dialling() as f64);
        out.gauge("avp_known_hosts", "Hosts in the host cache.", &[], self.hosts.len() as f64);
        out.gauge("avp_cached_pongs", "Pongs in the pong cache.", &[], self.pongs.len() as f64);
        let degrees = |relation: &Relation| relation.link.terms.degree;
        let mut by_degree = [0_u32; DEGREES.len()];
        let (mut sum, mut count) = (0.0, 0.0);
        for degree in self.table.neighbours().iter().filter_map(|i| self.table.get(*i)).map(degrees) {
            count += 1.0;
            sum += f64::from(degree);
            if let Some(range) = DEGREES.iter().position(|range| degree <= range.0) {
                by_degree[range] += 1;
            }
        }
        for (n, (_, range)) in by_degree.iter().zip(DEGREES) {
            out.gauge(
                "avp_neighbours_by_degree",
                "Neighbours by the number of ultrapeers that they say to be connected with.",
                &[("degree", range)],
                (*n).into(),
            );
        }
        out.gauge(
            "avp_neighbour_degree_mean",
            "With how many ultrapeers the present neighbours say to be connected, on average.",
            &[],
            if count > 0.0 { sum / count } else { 0.0 },
        );
    }

    fn sample_routing(&self, out: &mut Samples) {
        for class in Class::ALL {
            for loss in Loss::ALL {
                out.counter(
                    "avp_send_losses_total",
                    "Messages that a link could not take.",
                    &[("class", class.name()), ("reason", loss.name())],
                    self.dispatch.losses().get(class, loss),
                );
            }
        }
        let routes = "Ids whose answers can be routed.";
        out.gauge("avp_routes", routes, &[("kind", "query")], self.query_routes.len() as f64);
        out.gauge("avp_routes", routes, &[("kind", "push")], self.push_routes.len() as f64);
        let bytes = "Memory of query routing tables.";
        out.gauge("avp_routing_table_bytes", bytes, &[("role", "leaf")], self.leaf_tables.bytes() as f64);
        let neighbours = self.neighbour_tables.bytes() as f64;
        out.gauge("avp_routing_table_bytes", bytes, &[("role", "ultrapeer")], neighbours);
        let published = f64::from(self.published.present());
        out.gauge(
            "avp_published_slots",
            "Slots set in the table that neighbours have of us.",
            &[],
            published,
        );
        let active = self.dynamic.len() as f64;
        out.gauge("avp_dynamic_queries", "Dynamic queries under way.", &[], active);
        let begun = self.dynamic.begun();
        out.counter("avp_dynamic_queries_begun_total", "Dynamic queries that have begun.", &[], begun);
        for end in End::ALL {
            out.counter(
                "avp_dynamic_queries_ended_total",
                "Dynamic queries that have ended.",
                &[("reason", end.name())],
                self.dynamic.ended(end),
            );
        }
        let pings = self.counters.pings_sent;
        out.counter("avp_own_pings_total", "Pings sent to learn of hosts.", &[], pings);
        let bad = self.counters.bad_datagrams;
        out.counter("avp_bad_datagrams_total", "Datagrams that are no Gnutella message.", &[], bad);
        let bytes = self.counters.own_bytes;
        out.counter("avp_own_bytes_total", "Bytes of these pings, headers included.", &[], bytes);
    }

    /// What an operator wants to see.
    #[must_use]
    pub fn status(&self) -> Status {
        let slots = |role, limit: u32| Slots { used: self.table.count(role), limit };
        Status {
            guid: self.guid.to_string(),
            address: self.own.get(self.config.advertise, self.config.listen),
            uptime_seconds: self.now.since(self.started).as_secs(),
            leaves: slots(Role::Leaf, self.config.leaves),
            ultrapeers: slots(Role::Ultrapeer, self.config.ultrapeers.into()),
            old_peers: slots(Role::Old, self.config.old_peers.into()),
            links: self.table.iter().map(|r| self.link_status(r)).collect(),
        }
    }

    fn link_status(&self, relation: &Relation) -> LinkStatus {
        let (link, terms) = (&relation.link, &relation.link.terms);
        let monitor = &link.monitor;
        let rtt = monitor.round_trip.smoothed();
        let milliseconds = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        LinkStatus {
            remote: link.remote,
            role: terms.role.name(),
            dialled: terms.dialled,
            user_agent: terms.user_agent.to_string(),
            age_seconds: link.age(self.now).as_secs(),
            rtt_ms: rtt.map(milliseconds),
            rtt_deviation_ms: rtt.map(|_| milliseconds(monitor.round_trip.deviation())),
            loss: monitor.loss(),
            received_bytes_per_second: monitor.received.bytes_per_second(self.now),
            sent_bytes_per_second: monitor.sent.bytes_per_second(self.now),
            query_routing: relation.column.is_some(),
            compressed: terms.deflate,
        }
    }
}
