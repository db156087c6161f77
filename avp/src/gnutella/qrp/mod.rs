//! Query routing protocol (QRP 0.1/0.2): a peer's words, hashed into a table of slots, so that it is sent only the
//! queries that it may answer.
//!
//! | file | what |
//! | --- | --- |
//! | [`mod@hash`] | a word's slot |
//! | `letters` | texts with letters beyond ASCII |
//! | `ascii` | the words of a text in ASCII |
//! | [`words`] | which words a name or a query has |
//! | [`table`] | slots, and whether a query's words are all present |
//! | [`message`] | RESET and PATCH |
//! | [`receiver`] | messages to changes of a table |
//! | [`sender`] | changes of a table to messages |

mod ascii;
pub mod hash;
mod letters;
pub mod message;
pub mod receiver;
pub mod sender;
pub mod table;
pub mod words;

pub use hash::{hash, hash_letters, slot};
pub use message::{Compressor, RouteUpdate};
pub use receiver::{Change, Progress, Receiver, Slots};
pub use table::Table;
pub use words::Hashes;

/// Fewest slots of a table, as a power of two.
pub const SLOTS_LOG2_MIN: u8 = 10;
/// Most slots of a table, as a power of two: the most that peers in use send.
pub const SLOTS_LOG2_MAX: u8 = 21;
