//! Policy plane of routing: what the operator's policy says about the way of a query, and how that is obeyed.
//!
//! It has its say last: of the neighbours that standard rules or a [`Routing`](super::routing::Routing) choose, it leaves
//! out those to be avoided, puts the others into the order that it prefers, and bounds how many there are and how far the
//! query goes.

use std::cmp::Ordering;
use std::time::Duration;

use super::dynamic_query::Candidate;
use super::policy::Region;

/// To whom a query is passed on, and how far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Forward {
    /// To how many neighbours at most, in all its life. Leaves that may answer get it in any case.
    pub fanout: u8,
    /// How many hops it may still go, at most.
    pub ttl: u8,
    /// Who comes first, in this order; then those whose tables match.
    pub prefer: [Option<Preference>; PREFERENCES_MAX],
    /// Who does not get it.
    pub avoid: Avoid,
}

/// As many as there are.
pub const PREFERENCES_MAX: usize = 4;

/// Which neighbours come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// Those in the region of this peer.
    SameRegion,
    /// Those with the emptiest send queues.
    LeastLoad,
    /// Those with the shortest round trip; unknown ones last.
    LowRtt,
    /// Those to which most was sent of late.
    HighThroughput,
}

/// Which neighbours are left out. What is not known of a link leaves nobody out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Avoid {
    /// Those whose send queue is fuller than this share.
    pub load_over: Option<f64>,
    /// Those that lose more than this share of alive pings.
    pub loss_over: Option<f64>,
    /// Those whose round trip is longer.
    pub round_trip_over: Option<Duration>,
    /// Those in these regions. Whose region nobody knows, is in [`Region::Unknown`].
    pub regions: Regions,
}

/// Some of the regions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Regions([bool; 3]);

impl Regions {
    /// Whether a region is among them.
    #[must_use]
    pub const fn has(self, region: Region) -> bool {
        self.0[region as usize]
    }
}

impl FromIterator<Region> for Regions {
    fn from_iter<I: IntoIterator<Item = Region>>(regions: I) -> Self {
        let mut some = Self::default();
        regions.into_iter().for_each(|region| some.0[region as usize] = true);
        some
    }
}

/// What is known of a neighbour's link beside its [`Candidate`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Condition {
    /// How full its send queue is, 0 to 1.
    pub load: f64,
    /// The share of alive pings that it loses, 0 to 1.
    pub loss: Option<f64>,
    /// Sent to it, bytes a second.
    pub sent_bytes_s: f64,
    /// Where the neighbour is.
    pub region: Region,
}

impl Forward {
    /// Takes out who is to be avoided, orders the others, and bounds how far each is to carry the query. Those that are
    /// equal stay in the order in which they are.
    pub fn choose(&self, neighbours: &mut Vec<Candidate>, condition: impl Fn(&Candidate) -> Condition) {
        let mut known: Vec<(Candidate, Condition)> =
            neighbours.drain(..).map(|n| (n, condition(&n))).collect();
        known.retain(|(neighbour, condition)| !self.avoid.has(neighbour, condition));
        known.sort_by(|a, b| self.order(a, b));
        neighbours
            .extend(known.into_iter().map(|(n, _)| Candidate { ttl_max: n.ttl_max.min(self.ttl), ..n }));
    }

    fn order(&self, a: &(Candidate, Condition), b: &(Candidate, Condition)) -> Ordering {
        let differ = |preference: &Preference| match preference {
            Preference::SameRegion => is_near(&b.1).cmp(&is_near(&a.1)),
            Preference::LeastLoad => a.1.load.total_cmp(&b.1.load),
            Preference::LowRtt => round_trip(&a.0).cmp(&round_trip(&b.0)),
            Preference::HighThroughput => b.1.sent_bytes_s.total_cmp(&a.1.sent_bytes_s),
        };
        let preferred = self.prefer.iter().flatten().map(differ).find(|order| order.is_ne());
        preferred.unwrap_or_else(|| b.0.matches.cmp(&a.0.matches))
    }
}

fn is_near(condition: &Condition) -> bool {
    condition.region == Region::Same
}

fn round_trip(neighbour: &Candidate) -> Duration {
    neighbour.round_trip.unwrap_or(Duration::MAX)
}

impl Avoid {
    fn has(&self, neighbour: &Candidate, condition: &Condition) -> bool {
        let over = |value: Option<f64>, most: Option<f64>| value.zip(most).is_some_and(|(v, most)| v > most);
        let slow = neighbour.round_trip.zip(self.round_trip_over).is_some_and(|(rtt, most)| rtt > most);
        self.regions.has(condition.region)
            || slow
            || over(Some(condition.load), self.load_over)
            || over(condition.loss, self.loss_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::application::routes::LinkId;

    fn neighbour(index: u32, rtt_ms: Option<u64>, matches: bool) -> Candidate {
        Candidate {
            link: LinkId { index, serial: 0 },
            remote: std::net::SocketAddr::from(([192, 0, 2, 1], 6346)),
            round_trip: rtt_ms.map(Duration::from_millis),
            degree: 32,
            ttl_max: 4,
            matches,
            again: false,
        }
    }

    /// Links whose load is a tenth of their number, and which lose as much. The first is in the region of this peer, the
    /// second in another one.
    fn condition(neighbour: &Candidate) -> Condition {
        let share = f64::from(neighbour.link.index) / 10.0;
        let region = match neighbour.link.index {
            1 => Region::Same,
            2 => Region::Other,
            _ => Region::Unknown,
        };
        Condition { load: share, loss: Some(share), sent_bytes_s: share, region }
    }

    fn chosen(forward: &Forward, of: &[Candidate]) -> Vec<u32> {
        let mut neighbours = of.to_vec();
        forward.choose(&mut neighbours, condition);
        assert!(neighbours.iter().all(|n| n.ttl_max == forward.ttl.min(4)));
        neighbours.iter().map(|n| n.link.index).collect()
    }

    #[test]
    fn preferences_hold_in_their_order_and_those_that_match_come_first_among_equals() {
        let all = [neighbour(3, Some(20), false), neighbour(1, Some(20), true), neighbour(2, None, false)];
        let prefer = |prefer: &[Preference]| {
            let mut forward = Forward { fanout: 9, ttl: 3, ..Forward::default() };
            for (into, from) in forward.prefer.iter_mut().zip(prefer) {
                *into = Some(*from);
            }
            forward
        };
        assert_eq!(chosen(&prefer(&[]), &all), [1, 3, 2]);
        assert_eq!(chosen(&prefer(&[Preference::LeastLoad]), &all), [1, 2, 3]);
        assert_eq!(chosen(&prefer(&[Preference::HighThroughput]), &all), [3, 2, 1]);
        assert_eq!(chosen(&prefer(&[Preference::SameRegion, Preference::HighThroughput]), &all), [1, 3, 2]);
        assert_eq!(chosen(&prefer(&[Preference::LowRtt, Preference::HighThroughput]), &all), [3, 1, 2]);
    }

    #[test]
    fn who_is_avoided_does_not_get_it_and_what_is_unknown_avoids_nobody() {
        let all = [neighbour(1, Some(10), false), neighbour(2, Some(500), false), neighbour(9, None, false)];
        let avoid = |avoid| Forward { fanout: 9, ttl: 9, avoid, ..Forward::default() };
        assert_eq!(chosen(&avoid(Avoid::default()), &all), [1, 2, 9]);
        assert_eq!(chosen(&avoid(Avoid { load_over: Some(0.8), ..Avoid::default() }), &all), [1, 2]);
        assert_eq!(chosen(&avoid(Avoid { loss_over: Some(0.1), ..Avoid::default() }), &all), [1]);
        let rtt = Avoid { round_trip_over: Some(Duration::from_millis(100)), ..Avoid::default() };
        assert_eq!(chosen(&avoid(rtt), &all), [1, 9]);
        let regions = |some: &[Region]| Avoid { regions: some.iter().copied().collect(), ..Avoid::default() };
        assert_eq!(chosen(&avoid(regions(&[Region::Unknown])), &all), [1, 2]);
        assert_eq!(chosen(&avoid(regions(&[Region::Other, Region::Unknown])), &all), [1]);
        assert!(chosen(&avoid(regions(&[Region::Same, Region::Other, Region::Unknown])), &all).is_empty());
    }
}
