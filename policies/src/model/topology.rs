//! How many neighbours, how far, at what cost.

use super::number;
use crate::text::diagnostic::{Diagnostic, Findings};
use crate::text::node::Node;

/// How many neighbours a virtual peer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Degree {
    /// Below it, neighbours are looked for.
    pub min: u32,
    /// What is aimed at.
    pub target: u32,
    /// Above it, none is taken.
    pub max: u32,
}

/// What is to be done about the number of neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjust {
    /// Look for so many more.
    Seek(u32),
    /// Leave it.
    Keep,
    /// Give up so many.
    Shed(u32),
}

impl Degree {
    /// What is to be done with so many neighbours.
    #[must_use]
    pub const fn adjust(self, neighbours: u32) -> Adjust {
        if neighbours < self.min {
            Adjust::Seek(self.target - neighbours)
        } else if neighbours > self.max {
            Adjust::Shed(neighbours - self.target)
        } else {
            Adjust::Keep
        }
    }

    /// Whether one more may come.
    #[must_use]
    pub const fn has_room(self, neighbours: u32) -> bool {
        neighbours < self.max
    }

    pub(crate) fn read(node: &Node, out: &mut Findings) -> Self {
        let get = |key| number(node, key).unwrap_or_default();
        let degree = Self { min: get("min"), target: get("target"), max: get("max") };
        if degree.min > degree.target || degree.target > degree.max {
            out.push(Diagnostic::error(
                "contradiction",
                node.span,
                "`min`, `target` and `max` are not in this order",
                "write `min` ≤ `target` ≤ `max`",
            ));
        }
        degree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn towards_the_target() {
        let degree = Degree { min: 4, target: 8, max: 12 };
        assert_eq!(degree.adjust(3), Adjust::Seek(5));
        assert_eq!((degree.adjust(4), degree.adjust(12)), (Adjust::Keep, Adjust::Keep));
        assert_eq!(degree.adjust(13), Adjust::Shed(5));
        assert!(degree.has_room(11) && !degree.has_room(12));
    }
}
