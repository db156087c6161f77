//! Ranges of file sizes.

use super::Class;

/// Sizes by class: class 0 where the size is not known, then one for each range between two bounds.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    starts: Vec<u64>,
}

impl Sizes {
    /// From the ranges that rules name, in bytes, both ends included.
    pub(crate) fn new(ranges: impl Iterator<Item = (u64, u64)>) -> Self {
        let mut starts = vec![0];
        for (min, max) in ranges {
            starts.push(min);
            starts.extend(max.checked_add(1));
        }
        starts.sort_unstable();
        starts.dedup();
        Self { starts }
    }

    pub(crate) fn class(&self, bytes: Option<u64>) -> Class {
        bytes.map_or(0, |n| self.starts.partition_point(|s| *s <= n) as Class)
    }

    pub(crate) fn count(&self) -> usize {
        self.starts.len() + 1
    }

    /// The smallest size of each class.
    pub(crate) fn starts(&self) -> &[u64] {
        &self.starts
    }

    /// The smallest size of a class.
    pub(crate) fn example(&self, class: Class) -> Option<u64> {
        self.starts.get((class as usize).checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inside() {
        let sizes = Sizes::new([(10, 20), (15, u64::MAX)].into_iter());
        let class = |n| sizes.class(Some(n));
        assert_eq!(sizes.class(None), 0);
        assert_eq!((class(0), class(9), class(10), class(14)), (1, 1, 2, 2));
        assert_eq!((class(15), class(20), class(21), class(u64::MAX)), (3, 3, 4, 4));
        assert_eq!((sizes.count(), sizes.example(3), sizes.example(0)), (5, Some(15), None));
    }
}
