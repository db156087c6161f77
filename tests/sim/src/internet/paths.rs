//! The way between two systems: uphill over providers, at most one link between peers, downhill to customers (Gao
//! 2001), since nobody carries bytes that it is not paid for; of these the shortest.

use std::collections::VecDeque;

use super::generate::{Graph, Relation};

/// How far apart two systems are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Links between systems.
    pub hops: u8,
    /// One-way delay in microseconds.
    pub delay_us: u32,
}

/// The ways between all systems.
#[derive(Clone, Debug)]
pub struct Paths {
    systems: usize,
    all: Vec<Path>,
}

/// May still go up; has crossed to a peer or gone down.
const STATES: usize = 2;

impl Paths {
    /// Finds all of them: 8 bytes a pair.
    #[must_use]
    pub fn new(graph: &Graph) -> Self {
        let systems = graph.len();
        let mut all = Vec::with_capacity(systems * systems);
        let mut found: Vec<Option<Path>> = Vec::new();
        let mut todo = VecDeque::new();
        for from in 0..systems {
            found.clear();
            found.resize(systems * STATES, None);
            found[from * STATES] = Some(Path { hops: 0, delay_us: 0 });
            todo.push_back((from, 0));
            while let Some((at, state)) = todo.pop_front() {
                let Some(here) = found[at * STATES + state] else { continue };
                for link in graph.links(at) {
                    let next = match (state, link.relation) {
                        (0, Relation::Provider) => 0,
                        (0, Relation::Peer) | (_, Relation::Customer) => 1,
                        _ => continue,
                    };
                    let place = &mut found[link.to * STATES + next];
                    if place.is_none() {
                        *place = Some(Path { hops: here.hops + 1, delay_us: here.delay_us + link.delay_us });
                        todo.push_back((link.to, next));
                    }
                }
            }
            all.extend(found.chunks(STATES).map(|ways| {
                // The top is connected, so there always is a way.
                let best = ways.iter().flatten().min_by_key(|p| (p.hops, p.delay_us));
                best.copied().unwrap_or(Path { hops: u8::MAX, delay_us: u32::MAX })
            }));
        }
        Self { systems, all }
    }

    /// The way from one system to another.
    #[must_use]
    pub fn between(&self, from: usize, to: usize) -> Path {
        self.all[from * self.systems + to]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Dice;

    #[test]
    fn every_system_is_reached_and_ways_are_as_long_in_both_directions() {
        let graph = Graph::generate(300, 10_000.0, &mut Dice::new(4, "graph"));
        let paths = Paths::new(&graph);
        for a in 0..graph.len() {
            assert_eq!(paths.between(a, a), Path { hops: 0, delay_us: 0 });
            for b in 0..graph.len() {
                assert!(paths.between(a, b).hops < 12);
                assert_eq!(paths.between(a, b).hops, paths.between(b, a).hops);
            }
        }
    }

    #[test]
    fn two_customers_do_not_meet_over_a_third() {
        // Of two neighbours in the graph that are both providers of a system, none reaches the other over it in two
        // hops unless there is another way as short.
        let graph = Graph::generate(200, 10_000.0, &mut Dice::new(5, "graph"));
        let paths = Paths::new(&graph);
        let mut detours = 0;
        for system in 0..graph.len() {
            let providers: Vec<usize> = graph
                .links(system)
                .iter()
                .filter(|l| l.relation == Relation::Provider)
                .map(|l| l.to)
                .collect();
            for a in &providers {
                for b in providers.iter().filter(|b| *b != a) {
                    detours += usize::from(paths.between(*a, *b).hops > 2);
                }
            }
        }
        assert!(detours > 0, "a graph of 200 systems has customers that could be misused");
    }
}
