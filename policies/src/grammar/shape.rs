//! The words in which a shape is written.

use super::lexical::Lexical;

/// What may stand at a place.
#[derive(Debug)]
pub enum Shape {
    /// A text of some form.
    Text(Lexical),
    /// One of some words, each with its meaning.
    Word(&'static [(&'static str, &'static str)]),
    /// A whole number.
    Whole {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A number.
    Real {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// `true` or `false`.
    Flag,
    /// A list.
    List(&'static Self),
    /// One, or a list of them with at least one.
    Many(&'static Self),
    /// A list with at least one entry, or `{file: PATH}` of a file with one entry a line.
    Listed(&'static Self),
    /// A mapping with these keys and no others.
    Map(&'static [Key]),
    /// A mapping with at least one of these keys and no others.
    Some(&'static [Key]),
    /// A mapping with exactly one of these keys.
    One(&'static [Key]),
    /// A mapping from names to this.
    Names(&'static Self),
    /// One of some words, or a mapping with exactly one of these keys.
    Action {
        /// Actions without settings.
        words: &'static [(&'static str, &'static str)],
        /// Actions with settings.
        forms: &'static [Key],
    },
    /// Any value; who reads it checks it.
    Any,
}

/// A key of a mapping.
#[derive(Debug)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// What stands under it.
    pub shape: &'static Shape,
    /// Whether it may not be left out.
    pub required: bool,
    /// What it means, in one sentence.
    pub about: &'static str,
}

impl Key {
    /// A key that must be there.
    #[must_use]
    pub const fn must(name: &'static str, shape: &'static Shape, about: &'static str) -> Self {
        Self { name, shape, required: true, about }
    }

    /// A key that may be left out.
    #[must_use]
    pub const fn may(name: &'static str, shape: &'static Shape, about: &'static str) -> Self {
        Self { name, shape, required: false, about }
    }
}
