//! The hosts that newcomers are told of: a web cache knows those who announce themselves.

use crate::engine::Dice;
use crate::internet::place::NodeId;

const NOWHERE: u32 = u32::MAX;

/// A list from which one takes any, and a place for each node that tells where in the list it is.
#[derive(Debug)]
pub(super) struct Hosts {
    list: Vec<NodeId>,
    places: Vec<u32>,
}

impl Hosts {
    /// Nobody, of so many nodes.
    pub(super) fn new(nodes: usize) -> Self {
        Self { list: Vec::new(), places: vec![NOWHERE; nodes] }
    }

    pub(super) fn has(&self, node: NodeId) -> bool {
        self.places[node as usize] != NOWHERE
    }

    /// Whether it was not there before.
    pub(super) fn insert(&mut self, node: NodeId) -> bool {
        if self.has(node) {
            return false;
        }
        self.places[node as usize] = self.list.len() as u32;
        self.list.push(node);
        true
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, node: NodeId) -> bool {
        let place = std::mem::replace(&mut self.places[node as usize], NOWHERE);
        if place == NOWHERE {
            return false;
        }
        self.list.swap_remove(place as usize);
        if let Some(moved) = self.list.get(place as usize) {
            self.places[*moved as usize] = place;
        }
        true
    }

    /// Any of them.
    pub(super) fn pick(&self, dice: &mut Dice) -> Option<NodeId> {
        dice.pick(&self.list).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_withdrawn_is_not_named_any_more() {
        let mut hosts = Hosts::new(5);
        assert!([3, 1, 4].into_iter().all(|node| hosts.insert(node)) && !hosts.insert(1));
        assert!(hosts.remove(3) && !hosts.remove(3) && !hosts.remove(0));
        let mut dice = Dice::new(1, "hosts");
        let named: std::collections::BTreeSet<_> = (0..50).filter_map(|_| hosts.pick(&mut dice)).collect();
        assert_eq!(named.into_iter().collect::<Vec<_>>(), [1, 4]);
        assert!(hosts.has(4) && !hosts.has(3));
    }
}
