//! Who asks too much or lies, and is not listened to for a while.
//!
//! The transport has authenticated the sender of every message, so an offence is held against a certified identity.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::NodeId;
use crate::time::Instant;

/// Points at which a peer is banned.
const BAN_POINTS: u64 = 100;
/// Points forgiven per second.
const FORGIVEN_PER_SECOND: u128 = 1;
/// How often idle peers are cleared out of a full table.
const SWEEP: Duration = Duration::from_secs(1);

/// What a peer can do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offence {
    /// Bytes that are no message.
    Malformed,
    /// More contacts in an answer than any node sends.
    Oversized,
    /// Contacts so near to the point asked for that no honest network has them.
    ImpossibleDistance,
    /// A contact behind whose address another identity answers.
    WrongIdentity,
    /// Many contacts of which not one answers.
    BarrenAnswer,
    /// An answer to a question that was not asked.
    Unsolicited,
    /// A question over the allowance.
    Flood,
}

impl Offence {
    /// All of them, in the order of [`Counts::offences`].
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::Oversized,
        Self::ImpossibleDistance,
        Self::WrongIdentity,
        Self::BarrenAnswer,
        Self::Unsolicited,
        Self::Flood,
    ];

    fn points(self) -> u64 {
        match self {
            Self::Malformed | Self::Oversized => 25,
            Self::ImpossibleDistance | Self::WrongIdentity => 34,
            Self::BarrenAnswer => 20,
            Self::Unsolicited => 5,
            Self::Flood => 1,
        }
    }
}

/// What was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Offences by kind, in the order of [`Offence::ALL`].
    pub offences: [u64; 7],
    /// Peers banned.
    pub bans: u64,
    /// Messages of banned peers that were thrown away unread.
    pub from_banned: u64,
}

impl Counts {
    /// How often this offence was seen.
    #[must_use]
    pub fn of(&self, offence: Offence) -> u64 {
        self.offences[offence as usize]
    }
}

/// Bounds and rates; see [`super::Config`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Questions per second and peer.
    pub per_second: u32,
    /// Questions at once and peer.
    pub burst: u32,
    /// Peers watched one by one.
    pub watched_max: usize,
    /// Length of a ban.
    pub ban: Duration,
    /// Bans remembered.
    pub banned_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    /// Thousandths of questions left.
    tokens_milli: u64,
    /// Thousandths of points held against it.
    points_milli: u64,
    at: Instant,
}

/// Rates, offences and bans. See the module's text.
#[derive(Clone, Debug)]
pub struct Guard {
    limits: Limits,
    watched: BTreeMap<NodeId, Watched>,
    /// All that the table of watched peers has no room for.
    strangers: Watched,
    banned: BTreeMap<NodeId, Instant>,
    swept: Instant,
    counts: Counts,
}

impl Guard {
    /// Nobody watched, nobody banned.
    #[must_use]
    pub fn new(limits: Limits, now: Instant) -> Self {
        let strangers = Watched { tokens_milli: u64::from(limits.burst) * 1000, points_milli: 0, at: now };
        Self {
            limits,
            watched: BTreeMap::new(),
            strangers,
            banned: BTreeMap::new(),
            swept: now,
            counts: Counts::default(),
        }
    }

    /// What was refused so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether a peer is banned now.
    #[must_use]
    pub fn is_banned(&self, now: Instant, peer: NodeId) -> bool {
        self.banned.get(&peer).is_some_and(|until| now < *until)
    }

    /// Whether a message of this peer is to be read at all; counts where not.
    pub fn admit(&mut self, now: Instant, peer: NodeId) -> bool {
        let banned = self.is_banned(now, peer);
        if banned {
            self.counts.from_banned += 1;
        }
        !banned
    }

    /// Whether a question of this peer is within its allowance.
    pub fn allow(&mut self, now: Instant, peer: NodeId) -> bool {
        let tokens = &mut self.watch(now, peer).tokens_milli;
        let allowed = *tokens >= 1000;
        *tokens -= if allowed { 1000 } else { 0 };
        allowed
    }

    /// Notes an offence. Gives the end of the ban where this was one too many.
    pub fn offend(&mut self, now: Instant, peer: NodeId, offence: Offence) -> Option<Instant> {
        self.counts.offences[offence as usize] += 1;
        let own_entry = self.watched.contains_key(&peer) || self.watched.len() < self.limits.watched_max;
        let watched = self.watch(now, peer);
        watched.points_milli = watched.points_milli.saturating_add(offence.points() * 1000);
        // What many strangers did together is held against none of them.
        if !own_entry || watched.points_milli < BAN_POINTS * 1000 {
            return None;
        }
        self.watched.remove(&peer);
        self.counts.bans += 1;
        if self.banned.len() >= self.limits.banned_max {
            let first = self.banned.iter().min_by_key(|(_, until)| **until).map(|(id, _)| *id);
            first.and_then(|id| self.banned.remove(&id));
        }
        let until = now + self.limits.ban;
        self.banned.insert(peer, until);
        Some(until)
    }

    /// The peer's own entry, brought up to date, or that of all strangers where the table is full.
    fn watch(&mut self, now: Instant, peer: NodeId) -> &mut Watched {
        let limits = self.limits;
        let full = u64::from(limits.burst) * 1000;
        let refresh = |w: &mut Watched| {
            let past = now.since(w.at);
            let gained = past.as_micros().saturating_mul(u128::from(limits.per_second)) / 1000;
            let forgiven = past.as_millis().saturating_mul(FORGIVEN_PER_SECOND);
            w.tokens_milli = u128::from(w.tokens_milli).saturating_add(gained).min(u128::from(full)) as u64;
            w.points_milli = u128::from(w.points_milli).saturating_sub(forgiven) as u64;
            w.at = now;
        };
        if !self.watched.contains_key(&peer) && self.watched.len() >= limits.watched_max {
            if now.since(self.swept) >= SWEEP {
                self.swept = now;
                self.watched.retain(|_, w| {
                    let mut later = *w;
                    refresh(&mut later);
                    later.tokens_milli < full || later.points_milli > 0
                });
            }
            if self.watched.len() >= limits.watched_max {
                refresh(&mut self.strangers);
                return &mut self.strangers;
            }
        }
        let watched =
            self.watched.entry(peer).or_insert(Watched { tokens_milli: full, points_milli: 0, at: now });
        refresh(watched);
        watched
    }
}
