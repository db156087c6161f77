//! A set of small numbers, one bit each.

/// A set of numbers below a size that is fixed when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bits {
    words: Box<[u64]>,
}

impl Bits {
    /// No number below `size`.
    pub(crate) fn none(size: usize) -> Self {
        Self { words: vec![0; size.div_ceil(64)].into() }
    }

    /// All numbers below `size`.
    pub(crate) fn all(size: usize) -> Self {
        let mut bits = Self { words: vec![u64::MAX; size.div_ceil(64)].into() };
        if let (Some(last), tail @ 1..) = (bits.words.last_mut(), size % 64) {
            *last = (1 << tail) - 1;
        }
        bits
    }

    pub(crate) fn insert(&mut self, n: usize) {
        self.words[n / 64] |= 1 << (n % 64);
    }

    /// Takes a number out.
    pub(crate) fn take(&mut self, n: usize) {
        if let Some(word) = self.words.get_mut(n / 64) {
            *word &= !(1 << (n % 64));
        }
    }

    /// A size that all its numbers are below.
    pub(crate) fn size(&self) -> usize {
        self.words.len() * 64
    }

    pub(crate) fn contains(&self, n: usize) -> bool {
        self.words.get(n / 64).is_some_and(|word| word >> (n % 64) & 1 == 1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(crate) fn intersects(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }

    /// Whether every number of `self` is in `other`.
    pub(crate) fn within(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).all(|(a, b)| a & !b == 0)
    }

    pub(crate) fn keep(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }

    pub(crate) fn remove(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= !b);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
    }

    /// The numbers, rising.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    i * 64 + bit
                })
            })
        })
    }

    /// The smallest number.
    pub(crate) fn first(&self) -> Option<usize> {
        self.iter().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_numbers() {
        let mut odd = Bits::none(130);
        (1..130).step_by(2).for_each(|n| odd.insert(n));
        let all = Bits::all(130);
        assert_eq!((all.iter().count(), odd.iter().count(), odd.first()), (130, 65, Some(1)));
        assert!(odd.within(&all) && !all.within(&odd) && odd.intersects(&all));
        let mut even = all.clone();
        even.remove(&odd);
        assert!(!even.intersects(&odd) && even.contains(128) && !even.contains(129) && !even.contains(500));
        even.add(&odd);
        assert_eq!(even, all);
        even.take(7);
        assert!(!even.contains(7) && even.contains(8) && even.size() == 192);
        even.insert(7);
        even.keep(&Bits::none(130));
        assert!(even.is_empty());
        assert_eq!(Bits::all(128).iter().count(), 128);
    }
}
