//! The shape of a policy file, written down once: it checks files, makes the JSON Schema and orders keys for `fmt`.
//!
//! | module | what |
//! | --- | --- |
//! | [`shape`] | the words in which a shape is written |
//! | [`dialect`] | the shape of `policy: eep/v1` |
//! | [`lexical`] | texts with a form of their own: durations, volumes, prefixes |
//! | [`validate`] | a tree against a shape |
//! | [`schema`] | the JSON Schema of a shape |

pub mod dialect;
pub mod lexical;
pub mod schema;
pub mod shape;
pub mod validate;
