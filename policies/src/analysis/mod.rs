//! What can be said about a policy without an event.
//!
//! | module | what |
//! | --- | --- |
//! | [`space`] | parts of the space of events, and what covers them |
//! | [`shadow`] | rules that never decide |

pub(crate) mod shadow;
pub(crate) mod space;
#[cfg(test)]
mod tests;
