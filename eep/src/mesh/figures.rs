//! What the mesh has refused and done, as figures for `/metrics`.

use serde::Serialize;
use topology::dht::{self, Offence};
use topology::soar;

use crate::observe::series::SeriesKind;

/// What the transport has counted.
#[derive(Clone, Copy, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Counts {
    /// Connections that stood.
    pub connections_made: u64,
    /// Connections refused since there were too many.
    pub connections_refused: u64,
    /// Connections that failed for a certificate that one side does not trust.
    pub untrusted: u64,
    /// Handshakes that failed for other causes.
    pub handshakes_failed: u64,
    /// Times that another node answered than the one that was dialled.
    pub wrong_identities: u64,
    /// Connections of banned nodes that were refused.
    pub banned_refused: u64,
    /// Frames that are none; the connection is closed.
    pub broken_frames: u64,
    /// Frames of kinds that only a newer version knows.
    pub unknown_frames: u64,
    /// Neighbours dropped since they did not take what was sent to them.
    pub overruns: u64,
    /// Messages thrown away since too many nodes were being dialled.
    pub dials_refused: u64,
    /// Connections that are not measured since there are enough links.
    pub links_full: u64,
    /// Links whose throughput was tried out.
    pub links_tried: u64,
    /// Prefixes that nodes say they serve, and that their domain may not say.
    pub prefixes_refused: u64,
    /// Regions that nodes say they are in, and that nothing but their word speaks for.
    pub regions_refused: u64,
}

/// Everything that is counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// By the transport.
    pub counts: Counts,
    /// By Kademlia.
    pub dht: dht::Stats,
    /// By SOAR.
    pub soar: soar::Stats,
    /// By streams.
    pub streams: super::streams::StreamCounts,
    /// Connections now.
    pub connections: usize,
    /// Links that answer probes now.
    pub links: usize,
    /// Contacts in Kademlia's table.
    pub contacts: usize,
    /// Nodes in the own region.
    pub region: usize,
}

/// One figure: its kind, name, sentence, label and value.
pub(crate) type Row = (SeriesKind, &'static str, &'static str, Option<(&'static str, &'static str)>, f64);

impl Figures {
    /// As rows for `/metrics`.
    pub(crate) fn rows(&self) -> Vec<Row> {
        use SeriesKind::{Counter, Gauge};
        let mut rows: Vec<Row> = Vec::new();
        let gauges = [
            ("eep_mesh_connections", "Connections with other nodes.", self.connections),
            ("eep_mesh_links", "Measured links that answer probes.", self.links),
            ("eep_mesh_contacts", "Nodes in the table of the distributed hash table.", self.contacts),
            ("eep_mesh_region_nodes", "Nodes in this node's region, itself included.", self.region),
        ];
        rows.extend(gauges.map(|(name, help, value)| (Gauge, name, help, None, value as f64)));
        let by_plane = [
            ("eep_mesh_sent_frames_total", "Frames sent.", self.dht.sent_frames, self.soar.sent_frames),
            ("eep_mesh_sent_bytes_total", "Bytes of frames sent.", self.dht.sent_bytes, self.soar.sent_bytes),
            (
                "eep_mesh_received_frames_total",
                "Frames received.",
                self.dht.received_frames,
                self.soar.received_frames,
            ),
        ];
        for (name, help, dht, soar) in by_plane {
            rows.push((Counter, name, help, Some(("plane", "dht")), dht as f64));
            rows.push((Counter, name, help, Some(("plane", "soar")), soar as f64));
        }
        let refused = |reason| Some(("reason", reason));
        let (name, help) = ("eep_mesh_refused_total", "What was refused, by reason.");
        for offence in Offence::ALL {
            rows.push((Counter, name, help, refused(word(offence)), self.dht.refused.of(offence) as f64));
        }
        let (c, s) = (&self.counts, &self.soar);
        let reasons = [
            ("untrusted-certificate", c.untrusted),
            ("failed-handshake", c.handshakes_failed),
            ("wrong-node", c.wrong_identities),
            ("banned", c.banned_refused + self.dht.refused.from_banned),
            ("too-many-connections", c.connections_refused),
            ("broken-frame", c.broken_frames),
            ("unknown-frame", c.unknown_frames + self.dht.unknown_kinds + s.unknown_kinds),
            ("overrun", c.overruns),
            ("record-without-room", self.dht.records_refused),
            ("measurement-flood", s.floods),
            ("measurement-malformed", s.malformed),
            ("measurement-forged", s.forged),
            ("measurement-stale", s.stale),
            ("measurement-without-room", s.no_room),
            ("measurement-lie", s.lying),
            ("prefix-claim", c.prefixes_refused),
            ("region-claim", c.regions_refused),
            ("stream-not-allowed", self.streams.not_allowed),
            ("stream-without-route", self.streams.no_route),
            ("stream-without-room", self.streams.busy),
            ("stream-malformed", self.streams.malformed),
        ];
        rows.extend(reasons.map(|(reason, value)| (Counter, name, help, refused(reason), value as f64)));
        let counters = [
            ("eep_mesh_bans_total", "Nodes that were banned.", self.dht.refused.bans),
            ("eep_mesh_links_died_total", "Links found dead by unanswered probes.", s.links_died),
            ("eep_mesh_links_tried_total", "Links whose throughput was tried out.", c.links_tried),
            ("eep_mesh_streams_opened_total", "Streams opened from here.", self.streams.opened),
            ("eep_mesh_streams_accepted_total", "Streams that ended here.", self.streams.accepted),
            ("eep_mesh_streams_relayed_total", "Streams passed on.", self.streams.relayed),
            (
                "eep_mesh_streams_rerouted_total",
                "Streams that took another way after the first had failed.",
                self.streams.rerouted,
            ),
            (
                "eep_mesh_streams_resumed_total",
                "Times that an open stream went on over another way.",
                self.streams.resumed,
            ),
            (
                "eep_mesh_streams_broken_total",
                "Streams that failed since their way was lost and no other was had in time.",
                self.streams.broken,
            ),
            (
                "eep_mesh_streams_forbidden_total",
                "Open streams that a new policy of the mesh has ended.",
                self.streams.forbidden,
            ),
        ];
        rows.extend(counters.map(|(name, help, value)| (Counter, name, help, None, value as f64)));
        rows
    }
}

fn word(offence: Offence) -> &'static str {
    match offence {
        Offence::Malformed => "malformed",
        Offence::Oversized => "oversized",
        Offence::ImpossibleDistance => "impossible-distance",
        Offence::WrongIdentity => "wrong-identity",
        Offence::BarrenAnswer => "barren-answer",
        Offence::Unsolicited => "unsolicited",
        Offence::Flood => "flood",
    }
}
