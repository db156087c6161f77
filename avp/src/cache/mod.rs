//! Virtual control cache (VCC): what the community already knows, answered from memory.

pub mod hosts;
pub mod pong;
