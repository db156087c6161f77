//! How much a link carries, and how much of it is lost: seen in what it carries anyway, and tried out where that says little.
//!
//! What is sent on a connection is looked at with each [`super::tend`]. Where the sender had at least half of its congestion
//! window under way all the time, the link was full, and what it carried is its throughput; otherwise it carries at least so
//! much. A link of which that is not known is tried out: [`TRAIN_BYTES`] at most, for [`TRAIN`] at most, and its other end
//! says how fast they came. A node tries one link at a time, with [`PAUSE`] between two and [`AGAIN`] for the same one: at
//! most 524 kbit/s at the beginning, and 3.5 kbit/s for each link later.
//!
//! What was tried is a bulk transfer's own throughput (RFC 3148) and no more than the way's capacity: on a long way that was
//! idle the congestion window is still small, and what services send later says more.

use std::time::Duration;

use minicbor::{Decode, Encode};
use quinn::{Connection, ConnectionStats};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};
use topology::NodeId;

use crate::mesh::core::Core;
use crate::mesh::wire::{self, OPENING_BYTES_MAX, Opening, Purpose, Reply};

/// Bytes that are sent at most to try a link out.
const TRAIN_BYTES: usize = 128 << 10;
/// For so long they are sent at most.
const TRAIN: Duration = Duration::from_millis(250);
/// Bytes that have come before the time is taken: they fill the way.
const LEAD_BYTES: usize = 16 << 10;
/// How long the whole of it may take.
const MEASURE: Duration = Duration::from_secs(3);
/// Between two that a node tries.
const PAUSE: Duration = Duration::from_secs(2);
/// Until the same link is tried again, where it was not seen full meanwhile.
const AGAIN: Duration = Duration::from_secs(300);
/// How often it is looked at what was lost, and how late what was sent came back.
pub(super) const LATE_EVERY: Duration = Duration::from_millis(250);
/// Fewer bytes say nothing about how much a link carries.
const BUSY_BYTES: u64 = 64 << 10;

/// What is known of one link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    seen: Option<(Instant, u64)>,
    /// Packets that were sent and that were lost, so far.
    packets: (u64, u64),
    kbps: Option<u32>,
    /// When it was last seen full or tried out.
    known_at: Option<Instant>,
    since: Instant,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self { seen: None, packets: (0, 0), kbps: None, known_at: None, since: Instant::now() }
    }

    /// Looks at what was sent since the last time; the throughput, where that says something new.
    fn observe(&mut self, now: Instant, stats: &ConnectionStats) -> Option<u32> {
        let sent = stats.udp_tx.bytes.saturating_sub(stats.path.lost_bytes);
        let (at, before) = self.seen.replace((now, sent))?;
        let time = now.duration_since(at);
        let bytes = sent.saturating_sub(before);
        if bytes < BUSY_BYTES {
            return None;
        }
        let kbps = rate_kbps(bytes, time)?;
        let round_trips = time.as_secs_f64() / stats.path.rtt.as_secs_f64().max(1e-6);
        let full = bytes as f64 >= stats.path.cwnd as f64 / 2.0 * round_trips;
        (full || self.kbps.is_none_or(|old| kbps > old)).then(|| {
            if full {
                self.known_at = Some(now);
            }
            self.take(kbps)
        })
    }

    /// Packets that were sent since the last time, and that were lost. What the search for the largest packet lost is not
    /// counted.
    fn packets(&mut self, stats: &ConnectionStats) -> (u64, u64) {
        let path = &stats.path;
        let all = (path.sent_packets.saturating_sub(path.sent_plpmtud_probes), path.lost_packets);
        let before = std::mem::replace(&mut self.packets, all);
        (all.0.saturating_sub(before.0), all.1.saturating_sub(before.1))
    }

    /// The other end has said how fast it came.
    fn tried(&mut self, now: Instant, kbps: u32) -> u32 {
        self.known_at = Some(now);
        self.take(kbps)
    }

    /// Half of what is new counts, and all of what is more.
    fn take(&mut self, kbps: u32) -> u32 {
        let old = self.kbps.unwrap_or(kbps);
        *self.kbps.insert(kbps.max(old / 2 + kbps / 2))
    }

    fn wants_trying(&self, now: Instant) -> bool {
        let quiet = now.duration_since(self.since) >= PAUSE;
        quiet && self.known_at.is_none_or(|at| now.duration_since(at) >= AGAIN)
    }
}

fn rate_kbps(bytes: u64, time: Duration) -> Option<u32> {
    let micros = u64::try_from(time.as_micros()).ok().filter(|micros| *micros > 0)?;
    Some(u32::try_from(bytes.saturating_mul(8_000) / micros).unwrap_or(u32::MAX))
}

/// Which link to try next.
#[derive(Debug, Default)]
pub(super) struct Trials {
    last: Option<Instant>,
}

impl Core {
    /// Looks at all links; one that is to be tried out, if any.
    pub(super) fn observe_links(
        &mut self,
        now: topology::Instant,
        trials: &mut Trials,
    ) -> Option<(NodeId, u64, Connection)> {
        let clock = Instant::now();
        for (id, link) in &mut self.links {
            if let Some(kbps) = link.meter.observe(clock, &link.connection.stats()) {
                self.soar.throughput(now, *id, kbps);
            }
        }
        if trials.last.is_some_and(|at| clock.duration_since(at) < PAUSE) {
            return None;
        }
        let answers = |id: &NodeId| self.soar.links().get(id).is_some_and(|link| link.rtt_us.is_some());
        let wanting = self.links.iter().filter(|(id, link)| answers(id) && link.meter.wants_trying(clock));
        let (id, link) = wanting.min_by_key(|(_, link)| link.meter.known_at)?;
        let chosen = (*id, link.serial, link.connection.clone());
        trials.last = Some(clock);
        Some(chosen)
    }

    /// Looks at what was lost on all links, and how late what was sent came back.
    pub(super) fn observe_delivery(&mut self, now: topology::Instant) {
        for (id, link) in &mut self.links {
            let stats = link.connection.stats();
            let (sent, lost) = link.meter.packets(&stats);
            self.soar.transport(now, *id, sent, lost, Some(stats.path.rtt));
        }
    }

    /// A link was tried out; none where that did not work.
    pub(super) fn tried(&mut self, now: topology::Instant, (id, serial): (NodeId, u64), kbps: Option<u32>) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.serial == serial) else { return };
        let clock = Instant::now();
        match kbps {
            Some(kbps) => {
                let kbps = link.meter.tried(clock, kbps);
                self.soar.throughput(now, id, kbps);
                self.counts.links_tried += 1;
            }
            // A node of the version before does not know the question.
            None => link.meter.known_at = Some(clock),
        }
    }
}

/// What the other end has seen.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Seen {
    /// Bytes after the first ones.
    #[n(0)]
    bytes: u64,
    /// The time in which they came, in microseconds.
    #[n(1)]
    micros: u64,
}

/// Tries a link out: its throughput in kbit/s.
pub(super) async fn try_out(connection: &Connection) -> Option<u32> {
    let work = async {
        let (mut send, mut recv) = connection.open_bi().await.ok()?;
        wire::write(&mut send, &Opening::to(Purpose::Measure, None, None)).await.ok()?;
        let reply: Reply = wire::read(&mut recv, OPENING_BYTES_MAX).await.ok()?;
        if reply.code != 0 {
            return None;
        }
        let train = async {
            let piece = [0; 4 << 10];
            for _ in 0..TRAIN_BYTES / piece.len() {
                send.write_all(&piece).await.ok()?;
            }
            Some(())
        };
        // What was not sent in time is not sent.
        let _ = timeout(TRAIN, train).await;
        send.finish().ok()?;
        let Seen { bytes, micros } = wire::read(&mut recv, OPENING_BYTES_MAX).await.ok()?;
        rate_kbps(bytes.min(TRAIN_BYTES as u64), Duration::from_micros(micros))
    };
    timeout(MEASURE, work).await.ok().flatten()
}

/// The other end of it.
pub(super) async fn be_tried(io: &mut wire::Bi) -> std::io::Result<()> {
    wire::write(io, &Reply { code: 0, why: None }).await?;
    let seen = timeout(MEASURE, watch(io.reader_mut())).await??;
    wire::write(io, &seen).await?;
    io.shutdown().await
}

async fn watch(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Seen> {
    let mut from = from.take(TRAIN_BYTES as u64);
    let mut piece = vec![0; LEAD_BYTES];
    let (mut came, mut lead, mut last) = (0, None, Instant::now());
    loop {
        let got = from.read(&mut piece).await?;
        if got == 0 {
            break;
        }
        came += got;
        last = Instant::now();
        if lead.is_none() && came >= LEAD_BYTES {
            lead = Some((last, came));
        }
    }
    let (at, before) = lead.unwrap_or((last, came));
    let micros = u64::try_from(last.duration_since(at).as_micros()).unwrap_or(u64::MAX);
    Ok(Seen { bytes: (came - before) as u64, micros })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(bytes: u64, cwnd: u64, rtt_ms: u64) -> ConnectionStats {
        let mut stats = ConnectionStats::default();
        stats.udp_tx.bytes = bytes;
        stats.path.cwnd = cwnd;
        stats.path.rtt = Duration::from_millis(rtt_ms);
        stats
    }

    #[test]
    fn a_full_link_is_measured_and_an_idle_one_carries_at_least_what_it_carried() {
        let mut meter = Meter::new();
        let zero = meter.since;
        let at = |second: u64| zero + Duration::from_secs(second);
        assert_eq!(meter.observe(at(0), &stats(0, 15_000, 10)), None);
        // A megabyte in a second, with a window of 15,000 bytes each 10 ms: full.
        assert_eq!(meter.observe(at(1), &stats(1_000_000, 15_000, 10)), Some(8_000));
        assert!(!meter.wants_trying(at(200)) && meter.wants_trying(at(400)));
        // A little says nothing, and half of that in a window that allows more says no less.
        assert_eq!(meter.observe(at(2), &stats(1_020_000, 15_000, 10)), None);
        assert_eq!(meter.observe(at(3), &stats(1_520_000, 90_000, 10)), None);
        // More says more; less, where it was full, counts by half.
        assert_eq!(meter.observe(at(4), &stats(4_020_000, 900_000, 10)), Some(20_000));
        assert_eq!(meter.observe(at(5), &stats(5_020_000, 15_000, 10)), Some(14_000));
    }
}
