//! Files as they are read: texts, places in them, YAML trees, and what is said about them.
//!
//! | module | what |
//! | --- | --- |
//! | [`source`] | texts and places in them |
//! | [`node`] | YAML as a tree that knows its places and comments |
//! | [`diagnostic`] | what is wrong, where, and what to write instead |
//! | [`files`] | where texts come from |
//! | [`nearest`] | the word that was probably meant |

pub mod diagnostic;
pub mod files;
pub mod nearest;
pub mod node;
pub mod source;
