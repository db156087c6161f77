//! What happens.

use std::sync::Arc;

use avp::host::CloseReason;

use super::End;
use crate::internet::place::NodeId;
use crate::peer::Timer;

/// Bytes on their way; those of one message to many are there once.
pub type Bytes = Arc<[u8]>;

/// What happens.
#[derive(Debug)]
pub enum Event {
    /// Bytes arrive at an end.
    Deliver {
        /// Where.
        to: End,
        /// What.
        bytes: Bytes,
        /// Whether it is a search that was not sent on this connection before.
        search: bool,
    },
    /// A connection arrives at who was dialled.
    Arrive {
        /// Who was dialled.
        to: NodeId,
        /// Who dialled.
        from: NodeId,
        /// The dialler's end.
        far: End,
    },
    /// The dialler learns that it is connected.
    Established {
        /// Its end.
        to: End,
        /// The end of who was dialled.
        far: End,
    },
    /// The dialler learns that it is not, or the other side has closed.
    Closed {
        /// The end that learns it.
        to: End,
        /// Why.
        reason: CloseReason,
        /// Whether it never was established.
        failed: bool,
    },
    /// A congested end has room again.
    Writable {
        /// The end.
        to: End,
    },
    /// A datagram arrives.
    Datagram {
        /// At whom.
        to: NodeId,
        /// From whom.
        from: NodeId,
        /// What.
        bytes: Bytes,
    },
    /// A peer's own time has come.
    Timer {
        /// Whose.
        node: NodeId,
        /// In which of its lives.
        epoch: u32,
        /// For what.
        timer: Timer,
    },
    /// A peer comes.
    Come(NodeId),
    /// A peer goes, if this life is still its present one.
    Go(NodeId, u32),
    /// A fault begins (true) or ends.
    Fault(usize, bool),
}
