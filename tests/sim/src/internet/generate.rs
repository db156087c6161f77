//! A graph of autonomous systems to the published degree law.
//!
//! Faloutsos, Faloutsos and Faloutsos (SIGCOMM 1999) found the number of systems with degree d to fall as d^-2.2. The
//! generalised linear preference model of Bu and Towsley (INFOCOM 2002) grows graphs with that exponent: with
//! probability P new links among old systems, otherwise a new system with its links; a system is chosen in proportion
//! to its degree less BETA. Of a link's two ends the older one is the provider, so that nobody pays in a circle; links
//! among systems of similar degree are settled as peers (Gao 2001: about 8 % of links).

use crate::engine::Dice;

/// Links added at a time, on average.
const M: f64 = 1.13;
/// Probability that links are added among systems that are there.
const P: f64 = 0.4294;
/// How much less a system's degree counts.
const BETA: f64 = 0.6447;
/// Systems at the top, each a peer of each other one.
const TOP: usize = 8;
/// Two systems are peers where neither has more than this times the other's degree and both have grown.
const PEER_RATIO: usize = 2;
/// Least degree of systems that are peers below the top.
const PEER_DEGREE_MIN: usize = 4;
/// Times that a link is tried to be placed where there was none.
const TRIES_MAX: usize = 20;

/// What the other end of a link is to a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// It pays us.
    Customer,
    /// Nobody pays.
    Peer,
    /// We pay it.
    Provider,
}

impl Relation {
    const fn reversed(self) -> Self {
        match self {
            Self::Customer => Self::Provider,
            Self::Peer => Self::Peer,
            Self::Provider => Self::Customer,
        }
    }
}

/// A link of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The other system.
    pub to: usize,
    /// What it is to us.
    pub relation: Relation,
    /// One-way delay in microseconds.
    pub delay_us: u32,
}

/// Autonomous systems and their links.
#[derive(Clone, Debug)]
pub struct Graph {
    links: Vec<Vec<Link>>,
}

impl Graph {
    /// A graph of so many systems, at least the top ones. Each link's delay is exponential with this mean.
    #[must_use]
    pub fn generate(systems: usize, delay_mean_us: f64, dice: &mut Dice) -> Self {
        let mut graph = Self { links: vec![Vec::new(); TOP] };
        for a in 0..TOP {
            for b in a + 1..TOP {
                graph.join(a, b, Relation::Peer, delay_mean_us, dice);
            }
        }
        while graph.links.len() < systems {
            let links = 1 + usize::from(dice.chance(M - 1.0));
            if dice.chance(P) {
                for _ in 0..links {
                    graph.add_inner(delay_mean_us, dice);
                }
            } else {
                let new = graph.links.len();
                graph.links.push(Vec::new());
                for _ in 0..links {
                    let Some(provider) = graph.choose(new, dice) else { break };
                    graph.join(new, provider, Relation::Provider, delay_mean_us, dice);
                }
            }
        }
        graph
    }

    /// One system alone: everything is local.
    #[must_use]
    pub fn single() -> Self {
        Self { links: vec![Vec::new()] }
    }

    fn add_inner(&mut self, delay_mean_us: f64, dice: &mut Dice) {
        let Some(a) = self.choose(usize::MAX, dice) else { return };
        let Some(b) = self.choose(a, dice) else { return };
        let (young, old) = (a.max(b), a.min(b));
        let (low, high) = (self.degree(a).min(self.degree(b)).max(1), self.degree(a).max(self.degree(b)));
        let similar = low >= PEER_DEGREE_MIN && high <= low * PEER_RATIO;
        let relation = if similar { Relation::Peer } else { Relation::Provider };
        self.join(young, old, relation, delay_mean_us, dice);
    }

    /// A system in proportion to its degree, other than `not` and not linked with it.
    fn choose(&self, not: usize, dice: &mut Dice) -> Option<usize> {
        let there = if not == usize::MAX { self.links.len() } else { self.links.len().min(not.max(TOP)) };
        let most = self.links[..there].iter().map(Vec::len).max()? as f64;
        for _ in 0..TRIES_MAX {
            // By rejection among all; the weights change with each link, so there is no table to keep.
            let found = loop {
                let one = dice.below(there);
                if dice.chance((self.degree(one) as f64 - BETA) / (most - BETA)) {
                    break one;
                }
            };
            let linked = found == not || self.links.get(not).is_some_and(|l| l.iter().any(|l| l.to == found));
            if !linked {
                return Some(found);
            }
        }
        None
    }

    fn join(&mut self, a: usize, b: usize, relation: Relation, delay_mean_us: f64, dice: &mut Dice) {
        let delay_us = dice.exponential(delay_mean_us) as u32 + 1;
        self.links[a].push(Link { to: b, relation, delay_us });
        self.links[b].push(Link { to: a, relation: relation.reversed(), delay_us });
    }

    /// How many systems there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// A system's links.
    #[must_use]
    pub fn links(&self, system: usize) -> &[Link] {
        &self.links[system]
    }

    /// With how many systems a system is linked.
    #[must_use]
    pub fn degree(&self, system: usize) -> usize {
        self.links[system].len()
    }

    /// The exponent of the law that the degrees follow, by maximum likelihood over those of at least `least` (Clauset,
    /// Shalizi and Newman 2009, equation 3.7).
    #[must_use]
    pub fn degree_exponent(&self, least: usize) -> f64 {
        let tail: Vec<f64> =
            (0..self.len()).map(|s| self.degree(s)).filter(|d| *d >= least).map(|d| d as f64).collect();
        let sum: f64 = tail.iter().map(|d| libm::log(d / (least as f64 - 0.5))).sum();
        1.0 + tail.len() as f64 / sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(systems: usize, seed: u64) -> Graph {
        Graph::generate(systems, 10_000.0, &mut Dice::new(seed, "graph"))
    }

    #[test]
    fn degrees_follow_the_published_law() {
        let exponents: Vec<f64> = (0..5).map(|seed| graph(4_000, seed).degree_exponent(3)).collect();
        let mean = exponents.iter().sum::<f64>() / 5.0;
        assert!((2.0..2.4).contains(&mean), "{exponents:?}");
    }

    #[test]
    fn links_are_seen_alike_from_both_ends_and_none_is_double() {
        let graph = graph(500, 1);
        for a in 0..graph.len() {
            let mut ends: Vec<usize> = graph.links(a).iter().map(|l| l.to).collect();
            for link in graph.links(a) {
                let back = graph.links(link.to).iter().find(|l| l.to == a).unwrap();
                assert_eq!((back.relation, back.delay_us), (link.relation.reversed(), link.delay_us));
            }
            ends.sort_unstable();
            ends.dedup();
            assert_eq!(ends.len(), graph.degree(a));
            assert!(!ends.contains(&a));
        }
    }

    #[test]
    fn nobody_pays_in_a_circle_and_everybody_reaches_the_top() {
        let graph = graph(500, 2);
        for system in TOP..graph.len() {
            let mut providers = graph.links(system).iter().filter(|l| l.relation == Relation::Provider);
            assert!(providers.clone().all(|l| l.to < system));
            assert!(providers.next().is_some());
        }
    }
}
