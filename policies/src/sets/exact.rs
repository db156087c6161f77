//! Values that are in a set or not: autonomous systems, groups, digests, file types.

use std::borrow::Borrow;
use std::hash::Hash;

use hashbrown::HashMap;

use super::{Class, Classes, SetIndex, seeded};

/// Values by class.
#[derive(Clone, Debug)]
pub(crate) struct Exact<T> {
    table: HashMap<T, Class, ahash::RandomState>,
    classes: Classes,
    examples: Vec<Option<T>>,
}

impl<T: Hash + Eq + Clone> Exact<T> {
    /// From the values of each set.
    pub(crate) fn new(sets: &[Vec<T>]) -> Self {
        let mut classes = Classes::default();
        let mut table = HashMap::with_capacity_and_hasher(sets.iter().map(Vec::len).sum(), seeded());
        for (set, values) in sets.iter().enumerate() {
            for value in values {
                let class = table.entry(value.clone()).or_insert(0);
                let of = classes.sets(*class);
                if of.last() != Some(&(set as SetIndex)) {
                    let more: Vec<SetIndex> = of.iter().copied().chain([set as SetIndex]).collect();
                    *class = classes.of(&more);
                }
            }
        }
        let mut examples = vec![None; classes.count()];
        for (value, class) in &table {
            examples[*class as usize].get_or_insert_with(|| value.clone());
        }
        Self { table, classes, examples }
    }

    /// The class of a value; 0 where it is not known.
    pub(crate) fn class<Q: Hash + Eq + ?Sized>(&self, value: Option<&Q>) -> Class
    where
        T: Borrow<Q>,
    {
        value.and_then(|v| self.table.get(v)).copied().unwrap_or(0)
    }

    pub(crate) fn classes(&self) -> &Classes {
        &self.classes
    }

    /// All values.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.table.keys()
    }

    /// A value of a class; none where no value is in it, and for class 0.
    pub(crate) fn example(&self, class: Class) -> Option<&T> {
        self.examples.get(class as usize)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_several_sets() {
        let e = Exact::new(&[vec![1, 2, 2], vec![2, 3], vec![]]);
        let sets = |n: u32| e.classes().sets(e.class(Some(&n))).to_vec();
        assert_eq!((sets(1), sets(2), sets(3), sets(4)), (vec![0], vec![0, 1], vec![1], vec![]));
        assert_eq!(e.class(None::<&u32>), 0);
        assert_eq!(e.example(e.class(Some(&3))), Some(&3));
    }
}
