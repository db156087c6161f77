//! Dynamic querying: a leaf's query is put to one neighbour after the other, each time with the TTL that should bring
//! the answers that are still wanted, until there are enough (dynamic querying proposal 0.1).
//!
//! Nothing is sent here: [`DynamicQuery::probe`] and [`DynamicQuery::step`] say whom to ask with which TTL.

mod active;

pub use active::{Active, PER_LEAF_MAX};

use crate::application::forward::Forward;
use crate::application::routes::LinkId;
use crate::gnutella::Guid;
use crate::gnutella::limits::QUERY_BYTES_MAX;
use crate::host::Instant;
use crate::state::{Damaged, Reader, Saved, Writer, saved};
use std::net::SocketAddr;
use std::time::Duration;

/// Neighbours whose query routing table matches that are probed at once, with TTL 1.
pub const PROBES_MATCHING_MAX: usize = 16;
/// Neighbours that are probed with TTL 2 where no query routing table matches.
pub const PROBES_BLIND: usize = 3;
/// How long answers may take for each hop of the TTL.
pub const HOP_WAIT: Duration = Duration::from_millis(2_400);
/// The wait for a hop gets shorter by this with each step of a query that finds next to nothing...
const HOP_WAIT_LESS: Duration = Duration::from_millis(100);
/// ...down to this...
const HOP_WAIT_MIN: Duration = Duration::from_millis(1_500);
/// ...once it has reached so many ultrapeers...
const RARE_HORIZON: u64 = 3_000;
/// ...that had fewer results than this.
const RARE_RESULTS: u32 = 10;
/// A query ends when about this many ultrapeers have seen it.
pub const HORIZON_MAX: u64 = 200_000;
/// A query ends after this time.
pub const LIFE_MAX: Duration = Duration::from_secs(600);
/// Results that a leaf must have kept, by its own word, to end a query that it guides.
pub const GUIDED_RESULTS: u32 = 50;
/// Asks of one query, in all its life: a step takes as long as a hop.
const ASKS_MAX: usize = PROBES_MATCHING_MAX + (LIFE_MAX.as_millis() / HOP_WAIT_MIN.as_millis()) as usize + 1;
/// Degree that is assumed of a neighbour that does not say.
const DEGREE_UNKNOWN: u16 = 8;

/// A neighbour that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its link.
    pub link: LinkId,
    /// The other end of its connection.
    pub remote: SocketAddr,
    /// How long a ping takes there and back, where one was answered.
    pub round_trip: Option<Duration>,
    /// With how many ultrapeers it says to be connected; 0 where it does not say.
    pub degree: u16,
    /// Highest TTL that it takes.
    pub ttl_max: u8,
    /// Whether its query routing table matches the query.
    pub matches: bool,
    /// Whether it takes the same query again with a higher TTL (`X-Ext-Probes`).
    pub again: bool,
}

/// Whom to ask now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The neighbour.
    pub link: LinkId,
    /// With this TTL, on its arrival there.
    pub ttl: u8,
}

/// Why a query is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// Enough results.
    Satisfied,
    /// Every neighbour was asked.
    Exhausted,
    /// Enough ultrapeers have seen it.
    Horizon,
    /// [`LIFE_MAX`].
    Expired,
    /// The leaf said that it wants no more.
    Stopped,
    /// The leaf is gone.
    Left,
    /// Room was needed for a newer one.
    Replaced,
}

impl End {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Satisfied,
        Self::Exhausted,
        Self::Horizon,
        Self::Expired,
        Self::Stopped,
        Self::Left,
        Self::Replaced,
    ];

    /// The value of the `reason` label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Satisfied => "satisfied",
            Self::Exhausted => "exhausted",
            Self::Horizon => "horizon",
            Self::Expired => "expired",
            Self::Stopped => "stopped",
            Self::Left => "left",
            Self::Replaced => "replaced",
        }
    }
}

/// A leaf's query on its way through the neighbours.
#[derive(Clone, Debug)]
pub struct DynamicQuery {
    /// The query's id.
    pub guid: Guid,
    /// The leaf that asked.
    pub leaf: LinkId,
    /// The query's payload.
    pub payload: Vec<u8>,
    /// Whether the leaf says how many results it keeps.
    pub guided: bool,
    /// When the next step is due.
    pub due: Instant,
    /// What the policy of a generation says about its way. Not saved: the next instance asks again.
    pub course: Option<(u64, Option<Forward>)>,
    began: Instant,
    asked: Vec<Ask>,
    wanted: u32,
    results: u32,
    kept: u32,
    horizon: u64,
    steps: u32,
}

impl DynamicQuery {
    /// A query that nobody was asked yet.
    #[must_use]
    pub fn new(guid: Guid, leaf: LinkId, payload: &[u8], guided: bool, wanted: u32, now: Instant) -> Self {
        Self {
            guid,
            leaf,
            payload: payload.to_vec(),
            guided,
            due: now,
            course: None,
            began: now,
            asked: Vec::new(),
            wanted: if guided { wanted.min(GUIDED_RESULTS) } else { wanted },
            results: 0,
            kept: 0,
            horizon: 0,
            steps: 0,
        }
    }

    /// First step: the neighbours that probably have an answer or, where there are none, a few.
    pub fn probe(&mut self, now: Instant, candidates: &[Candidate], out: &mut Vec<Ask>) {
        let matching = candidates.iter().filter(|c| c.matches).take(PROBES_MATCHING_MAX);
        out.extend(matching.map(|c| Ask { link: c.link, ttl: 1 }));
        if out.is_empty() {
            let blind = candidates.iter().take(PROBES_BLIND);
            out.extend(blind.map(|c| Ask { link: c.link, ttl: c.ttl_max.min(2) }));
        }
        for ask in out.iter() {
            if let Some(c) = candidates.iter().find(|c| c.link == ask.link) {
                self.asked(c, ask.ttl);
            }
        }
        let hops = out.iter().map(|a| a.ttl).max().unwrap_or(0);
        self.due = now + HOP_WAIT * hops.into();
    }

    /// A later step: who is next and how far, or why the query is over.
    ///
    /// # Errors
    /// Not an error: the reason why nobody is left to ask.
    pub fn step(&mut self, now: Instant, candidates: &[Candidate]) -> Result<Ask, End> {
        let have = if self.guided { self.kept } else { self.results };
        if have >= self.wanted {
            return Err(End::Satisfied);
        }
        if self.horizon >= HORIZON_MAX {
            return Err(End::Horizon);
        }
        if now.since(self.began) >= LIFE_MAX {
            return Err(End::Expired);
        }
        let open = |c: &&Candidate| match self.asked.iter().filter(|a| a.link == c.link).map(|a| a.ttl).max()
        {
            None => true,
            Some(ttl) => c.again && ttl == 1 && c.ttl_max > 1,
        };
        let left = candidates.iter().filter(open).count() as u64;
        // Those who were not asked at all come first.
        let fresh = |c: &&Candidate| !self.asked.iter().any(|a| a.link == c.link);
        let next = candidates.iter().filter(open).find(fresh).or_else(|| candidates.iter().find(open));
        let Some(next) = next.copied() else { return Err(End::Exhausted) };

        // Results for each ultrapeer reached say how many more must be reached; without any, all that may be.
        let open_horizon = HORIZON_MAX - self.horizon;
        let need = match u64::from(have) {
            0 => open_horizon,
            have => (u64::from(self.wanted - have as u32) * self.horizon.max(1) / have).min(open_horizon),
        };
        let share = need.div_ceil(left.max(1));
        let again = !fresh(&&next);
        let least = if again { 2 } else { 1 };
        let ttl = (least..next.ttl_max).find(|ttl| reach(next.degree, *ttl) >= share).unwrap_or(next.ttl_max);
        self.asked(&next, ttl);
        self.steps += 1;
        self.due = now + self.hop_wait() * ttl.into();
        Ok(Ask { link: next.link, ttl })
    }

    /// Leaves so many neighbours, with those that were asked already.
    pub fn limit(&self, neighbours: u8, candidates: &mut Vec<Candidate>) {
        let was_asked = |candidate: &Candidate| self.asked.iter().any(|ask| ask.link == candidate.link);
        // Some were asked twice, the second time to carry the query further.
        let is_new =
            |(i, ask): &(usize, &Ask)| !self.asked[..*i].iter().any(|before| before.link == ask.link);
        let asked = self.asked.iter().enumerate().filter(is_new).count();
        let mut left = usize::from(neighbours).saturating_sub(asked);
        candidates.retain(|candidate| {
            let fits = was_asked(candidate) || left > 0;
            left -= usize::from(fits && !was_asked(candidate));
            fits
        });
    }

    fn hop_wait(&self) -> Duration {
        if self.horizon < RARE_HORIZON || self.results >= RARE_RESULTS {
            return HOP_WAIT;
        }
        HOP_WAIT.saturating_sub(HOP_WAIT_LESS * self.steps).max(HOP_WAIT_MIN)
    }

    fn asked(&mut self, candidate: &Candidate, ttl: u8) {
        self.asked.push(Ask { link: candidate.link, ttl });
        self.horizon = self.horizon.saturating_add(reach(candidate.degree, ttl));
    }

    /// Results have gone back to the leaf.
    pub fn found(&mut self, results: u32) {
        self.results = self.results.saturating_add(results);
    }

    /// The leaf says how many results it has kept (BEAR/12).
    pub fn kept(&mut self, results: u16) {
        self.guided = true;
        self.kept = results.into();
    }

    /// Whether it should be asked how many results it has kept (BEAR/11): it guides, and there are some.
    #[must_use]
    pub fn should_ask_leaf(&self) -> bool {
        self.guided && self.results > self.kept
    }
}

/// How many ultrapeers a query reaches through a neighbour of this degree: the sum of (d-1)^i for i below the TTL.
fn reach(degree: u16, ttl: u8) -> u64 {
    let branches = u64::from(if degree == 0 { DEGREE_UNKNOWN } else { degree }.max(2)) - 1;
    let mut level = 1_u64;
    let mut sum = 0_u64;
    for _ in 0..ttl {
        sum = sum.saturating_add(level);
        level = level.saturating_mul(branches);
    }
    sum
}

saved!(Ask { link, ttl });

impl Saved for DynamicQuery {
    fn save(&self, to: &mut Writer) {
        let Self { guid, leaf, payload, guided, due, began, asked, .. } = self;
        guid.save(to);
        leaf.save(to);
        to.list(payload.iter());
        guided.save(to);
        due.save(to);
        began.save(to);
        to.list(asked.iter());
        [self.wanted, self.results, self.kept, self.steps].save(to);
        self.horizon.save(to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            guid: from.load()?,
            leaf: from.load()?,
            payload: from.list(QUERY_BYTES_MAX as usize)?,
            guided: from.load()?,
            due: from.load()?,
            course: None,
            began: from.load()?,
            asked: from.list(ASKS_MAX)?,
            wanted: from.load()?,
            results: from.load()?,
            kept: from.load()?,
            steps: from.small_count()?,
            horizon: from.load()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(n: u32) -> Vec<Candidate> {
        (0..n)
            .map(|index| Candidate {
                link: LinkId { index, serial: 0 },
                remote: SocketAddr::from(([10, 0, 0, 1], 6346)),
                round_trip: None,
                degree: 32,
                ttl_max: 4,
                matches: false,
                again: false,
            })
            .collect()
    }

    fn query(guided: bool) -> DynamicQuery {
        let leaf = LinkId { index: 99, serial: 0 };
        DynamicQuery::new(Guid::ZERO, leaf, b"\x80\0word\0", guided, 150, Instant(0))
    }

    #[test]
    fn reach_follows_the_formula() {
        assert_eq!((reach(32, 1), reach(32, 2), reach(32, 3)), (1, 32, 993));
        assert_eq!(reach(6, 7), 19_531);
        assert_eq!(reach(u16::MAX, 255), u64::MAX);
    }

    #[test]
    fn matching_neighbours_are_probed_with_one_hop_else_three_with_two() {
        let mut some = candidates(8);
        (some[2].matches, some[5].matches) = (true, true);
        let (mut q, mut out) = (query(false), Vec::new());
        q.probe(Instant(0), &some, &mut out);
        assert_eq!(out.iter().map(|a| (a.link.index, a.ttl)).collect::<Vec<_>>(), [(2, 1), (5, 1)]);
        assert_eq!(q.due, Instant(0) + HOP_WAIT);

        let (mut q, mut out) = (query(false), Vec::new());
        q.probe(Instant(0), &candidates(8), &mut out);
        assert_eq!(out.iter().map(|a| (a.link.index, a.ttl)).collect::<Vec<_>>(), [(0, 2), (1, 2), (2, 2)]);
        assert_eq!(q.due, Instant(0) + HOP_WAIT * 2);
    }

    #[test]
    fn a_popular_query_goes_less_far_than_a_rare_one_and_ends_when_satisfied() {
        let all = candidates(32);
        let (mut q, mut out) = (query(false), Vec::new());
        q.probe(Instant(0), &all, &mut out);
        let mut rare = q.clone();
        q.found(100);
        let popular = q.step(q.due, &all).unwrap();
        let scarce = rare.step(rare.due, &all).unwrap();
        assert!(popular.ttl < scarce.ttl, "{popular:?} {scarce:?}");
        assert_eq!(popular.link.index, 3, "nobody is asked twice");
        q.found(50);
        assert_eq!(q.step(q.due, &all), Err(End::Satisfied));
    }

    #[test]
    fn a_rare_query_ends_at_the_horizon_or_when_nobody_is_left() {
        let run = |all: &[Candidate]| {
            let (mut q, mut out) = (query(false), Vec::new());
            q.probe(Instant(0), all, &mut out);
            loop {
                if let Err(end) = q.step(q.due, all) {
                    return (end, q.asked.len());
                }
            }
        };
        let mut many = candidates(40);
        many.iter_mut().for_each(|c| c.degree = 100);
        let (end, asked) = run(&many);
        assert_eq!(end, End::Horizon);
        assert!(asked <= 40, "{asked}");
        // Neighbours that reach little are too many to be asked in time.
        assert_eq!(run(&candidates(1_000)).0, End::Expired);
        assert_eq!(run(&candidates(5)), (End::Exhausted, 5));
    }

    #[test]
    fn a_probed_neighbour_is_asked_again_only_where_it_takes_that() {
        let mut one = candidates(1);
        one[0].matches = true;
        for (again, expect) in [(true, Ok(4)), (false, Err(End::Exhausted))] {
            one[0].again = again;
            let (mut q, mut out) = (query(false), Vec::new());
            q.probe(Instant(0), &one, &mut out);
            assert_eq!(q.step(q.due, &one).map(|a| a.ttl), expect);
            assert_eq!(q.step(q.due, &one), Err(End::Exhausted));
        }
    }

    #[test]
    fn a_guiding_leaf_decides_by_what_it_keeps() {
        let all = candidates(32);
        let mut q = query(true);
        q.found(500);
        assert!(q.should_ask_leaf());
        assert!(q.step(Instant(0), &all).is_ok(), "none of them was kept");
        q.kept(50);
        assert_eq!(q.step(Instant(0), &all), Err(End::Satisfied));
    }
}
