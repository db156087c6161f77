//! Why relations end, in the words of the protocol and of the metrics.

use crate::gnutella::bye::code;
use crate::host::CloseReason;

/// Why a connection or relation ended, or never came to be. Each has a name for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The first bytes are no protocol that we speak.
    NotGnutella,
    /// The handshake took longer than [`crate::link::handshake::TIME_MAX`].
    HandshakeTimeout,
    /// A handshake block is longer than [`crate::link::handshake::HEAD_BYTES_MAX`].
    HandshakeTooLong,
    /// A handshake block that cannot be read.
    HandshakeMalformed,
    /// We refused the peer; it was told why.
    Refused,
    /// The peer refused us.
    Declined,
    /// A crawler was answered.
    Crawled,
    /// An HTTP request was answered.
    Answered,
    /// The peer said Bye.
    ByeReceived,
    /// The transport ended without a Bye.
    Lost(CloseReason),
    /// It answered none of our pings.
    Silent,
    /// What we had to say did not fit into its send queue.
    QueueOverflow,
    /// It took nothing from us for too long.
    Stalled,
    /// A message that it began has not come to its end for too long.
    Unfinished,
    /// What it makes us hold is the most, and too much is held.
    OutOfMemory,
    /// It sent a message that is much too long.
    OversizeMessage,
    /// It sent something that its role or the agreed terms forbid.
    Violation,
    /// Its query routing table cannot be used.
    BadRoutingTable,
    /// We shut down.
    Shutdown,
    /// We made room: for somebody else, or because the policy wants fewer neighbours.
    Replaced,
}

impl Ending {
    /// The values of the `reason` label, in the order of [`Self::index`].
    pub const NAMES: [&'static str; 27] = [
        "not_gnutella",
        "handshake_timeout",
        "handshake_too_long",
        "handshake_malformed",
        "refused",
        "declined",
        "crawled",
        "answered",
        "bye_received",
        "ended",
        "reset",
        "connect_refused",
        "connect_timeout",
        "unreachable",
        "not_granted",
        "shell_limit",
        "corrupt_stream",
        "silent",
        "queue_overflow",
        "stalled",
        "oversize_message",
        "violation",
        "bad_routing_table",
        "shutdown",
        "replaced",
        "unfinished",
        "out_of_memory",
    ];

    /// Where it is in [`Self::NAMES`], for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::NotGnutella => 0,
            Self::HandshakeTimeout => 1,
            Self::HandshakeTooLong => 2,
            Self::HandshakeMalformed => 3,
            Self::Refused => 4,
            Self::Declined => 5,
            Self::Crawled => 6,
            Self::Answered => 7,
            Self::ByeReceived => 8,
            Self::Lost(CloseReason::Ended) => 9,
            Self::Lost(CloseReason::Reset) => 10,
            Self::Lost(CloseReason::Refused) => 11,
            Self::Lost(CloseReason::TimedOut) => 12,
            Self::Lost(CloseReason::Unreachable) => 13,
            Self::Lost(CloseReason::NotGranted) => 14,
            Self::Lost(CloseReason::Limit) => 15,
            Self::Lost(CloseReason::Corrupt) => 16,
            Self::Silent => 17,
            Self::QueueOverflow => 18,
            Self::Stalled => 19,
            Self::OversizeMessage => 20,
            Self::Violation => 21,
            Self::BadRoutingTable => 22,
            Self::Shutdown => 23,
            Self::Replaced => 24,
            Self::Unfinished => 25,
            Self::OutOfMemory => 26,
        }
    }

    /// The value of the `reason` label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// The code and text of the Bye that tells the peer, where it should be told.
    #[must_use]
    pub fn bye(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Silent => Some((code::NO_PONG, "No reply to alive pings")),
            Self::QueueOverflow => Some((code::QUEUE_OVERFLOW, "Send queue overflow")),
            Self::Stalled => Some((code::TOO_SLOW, "Flow-controlled for too long")),
            Self::Unfinished => Some((code::TOO_SLOW, "Message unfinished for too long")),
            Self::OutOfMemory => Some((code::QUEUE_OVERFLOW, "Too much waits for this connection")),
            Self::OversizeMessage => Some((code::TOO_LARGE, "Too large a message")),
            Self::Violation => Some((code::NOT_ALLOWED, "Message not allowed on this connection")),
            Self::BadRoutingTable => Some((code::BAD_QRP, "Invalid query routing table")),
            Self::Shutdown => Some((code::LEAVING, "Shutting down")),
            Self::Replaced => Some((code::REPLACED, "Making room for another peer")),
            _ => None,
        }
    }
}
