//! The wire: what bytes mean, and nothing of what is done about them.
//!
//! Everything here is a pure function of its input. Parsers borrow from the bytes that they are given, answer
//! `None` or an error for bytes that are not what they should be, and allocate only where the name of a constant
//! says how much. No bytes from outside make them panic.
//!
//! | path | what |
//! | --- | --- |
//! | [`guid`], [`header`], [`limits`] | what every descriptor begins with, and how long its payload may be |
//! | [`ping`], [`pong`], [`query`], [`hit`], [`push`], [`bye`], [`vendor`] | the payload of each descriptor |
//! | [`qrp`] | query routing: words to slots, tables, RESET and PATCH |
//! | [`ggep`], [`extension`], [`huge`] | what is attached to payloads: GGEP, the area between NULs, SHA-1 names |
//! | [`udp`], [`uhc`] | what differs in datagrams: compression marks, host caches |
//! | [`handshake`], [`headers`] | the text before the descriptors: start lines and header blocks, read and written |
//! | [`http`], [`gwc`] | request targets and answers: push proxy, files by urn; web caches |

mod base32;
pub mod bye;
pub mod extension;
pub mod ggep;
pub mod guid;
pub mod gwc;
pub mod handshake;
pub mod header;
pub mod headers;
pub mod hit;
pub mod http;
pub mod huge;
pub mod limits;
pub mod ping;
pub mod pong;
pub mod push;
pub mod qrp;
pub mod query;
mod read;
pub mod udp;
pub mod uhc;
pub mod vendor;

pub use guid::Guid;
pub use header::{HEADER_LEN, Header, Kind};
