//! Which of very many things were there before, for some minutes.

use std::collections::BTreeSet;

use avp::Instant;

/// A bounded memory in two generations. Nothing but whether something is in it is ever asked.
#[derive(Debug)]
pub struct Seen {
    young: BTreeSet<(u64, u64)>,
    old: BTreeSet<(u64, u64)>,
    turned: Instant,
    age: u64,
    max: usize,
}

impl Seen {
    /// Remembers for one to two ages (in nanoseconds), at most twice `max` things.
    #[must_use]
    pub const fn new(age: u64, max: usize) -> Self {
        Self { young: BTreeSet::new(), old: BTreeSet::new(), turned: Instant(0), age, max }
    }

    /// How many things are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this was seen before.
    #[must_use]
    pub fn has(&self, what: (u64, u64)) -> bool {
        self.young.contains(&what) || self.old.contains(&what)
    }

    /// Whether one thing more would be remembered at the cost of others that are not old yet.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.young.len() >= self.max && now.0.saturating_sub(self.turned.0) < self.age
    }

    /// Whether this was seen before; from now on it was.
    pub fn again(&mut self, now: Instant, what: (u64, u64)) -> bool {
        if now.0.saturating_sub(self.turned.0) >= self.age || self.young.len() >= self.max {
            self.old = std::mem::take(&mut self.young);
            self.turned = now;
        }
        self.old.contains(&what) || !self.young.insert(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_remembered_for_an_age_and_at_most_so_many() {
        let mut seen = Seen::new(10, 3);
        assert!(!seen.again(Instant(10), (1, 1)));
        assert!(seen.has((1, 1)) && !seen.has((1, 2)));
        assert!(seen.again(Instant(19), (1, 1)));
        assert!(!seen.again(Instant(21), (2, 1)));
        assert!(seen.again(Instant(22), (1, 1)));
        assert!(!seen.again(Instant(40), (3, 1)));
        assert!(!seen.again(Instant(41), (1, 1)));
        assert!(!seen.is_full(Instant(41)));
        assert!(!seen.again(Instant(41), (4, 1)));
        assert!(seen.is_full(Instant(41)) && !seen.is_full(Instant(60)));
        for n in 10..20 {
            assert!(!seen.again(Instant(42), (n, 0)));
        }
        assert!(!seen.again(Instant(42), (10, 0)));
    }
}
