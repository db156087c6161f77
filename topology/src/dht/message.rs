//! What nodes say to each other about who is where.
//!
//! A frame is a CBOR map with numbered fields, so that versions that differ by one understand each other: fields that
//! a reader does not know are skipped, fields that a writer does not know are absent, and a kind that is not known is
//! [`Malformed::UnknownKind`], which is nobody's fault.

use minicbor::{Decode, Encode};

use crate::id::{Contact, NodeId};

/// Longest frame that is read or written, in bytes.
pub const FRAME_BYTES_MAX: usize = 8 * 1024;
/// Most contacts in one list of a frame.
pub const FRAME_CONTACTS_MAX: usize = 64;

/// One message with the number that ties an answer to its question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Chosen by who asks; an answer repeats it.
    pub transaction: u64,
    /// What is asked or answered.
    pub body: Body,
}

/// Questions and answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Are you there?
    Ping,
    /// The answer to [`Body::Ping`].
    Pong,
    /// Which nodes do you know nearest to this point?
    FindNode(NodeId),
    /// The answer to [`Body::FindNode`], nearest first.
    Nodes(Vec<Contact>),
    /// Who holds the record under this point, and which nodes do you know nearest to it?
    FindRecord(NodeId),
    /// The answer to [`Body::FindRecord`].
    Record {
        /// Who said that they hold it.
        holders: Vec<Contact>,
        /// Nodes nearest to the point.
        nodes: Vec<Contact>,
    },
    /// The sender holds what this point stands for, for so many seconds from now.
    Store {
        /// The record's point.
        point: NodeId,
        /// How long the record is good for, in seconds; 0 takes it back.
        seconds: u32,
    },
    /// The answer to [`Body::Store`]: whether the record was taken.
    Stored(bool),
}

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes: at most {FRAME_BYTES_MAX} are read")]
    TooLong(usize),
    /// More than [`FRAME_CONTACTS_MAX`] contacts.
    #[error("a list of {0} contacts: at most {FRAME_CONTACTS_MAX} are read")]
    TooMany(usize),
    /// Not CBOR, or not of the frame's shape.
    #[error("not a frame: {0}")]
    Shape(#[from] minicbor::decode::Error),
    /// A field that this kind needs is absent.
    #[error("a frame of kind {kind} without field {field}")]
    Missing {
        /// The frame's kind.
        kind: u8,
        /// Number of the field.
        field: u8,
    },
    /// A newer version's message.
    #[error("a frame of kind {0}, which this version does not know")]
    UnknownKind(u8),
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Frame {
    #[n(0)]
    kind: u8,
    #[n(1)]
    transaction: u64,
    #[n(2)]
    point: Option<NodeId>,
    #[n(3)]
    nodes: Option<Vec<Contact>>,
    #[n(4)]
    holders: Option<Vec<Contact>>,
    #[n(5)]
    number: Option<u32>,
}

impl Message {
    /// The message as it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut frame = Frame {
            kind: 0,
            transaction: self.transaction,
            point: None,
            nodes: None,
            holders: None,
            number: None,
        };
        match &self.body {
            Body::Ping => frame.kind = 0,
            Body::Pong => frame.kind = 1,
            Body::FindNode(point) => (frame.kind, frame.point) = (2, Some(*point)),
            Body::Nodes(nodes) => (frame.kind, frame.nodes) = (3, Some(nodes.clone())),
            Body::FindRecord(point) => (frame.kind, frame.point) = (4, Some(*point)),
            Body::Record { holders, nodes } => {
                (frame.kind, frame.holders, frame.nodes) = (5, Some(holders.clone()), Some(nodes.clone()));
            }
            Body::Store { point, seconds } => {
                (frame.kind, frame.point, frame.number) = (6, Some(*point), Some(*seconds));
            }
            Body::Stored(taken) => (frame.kind, frame.number) = (7, Some(u32::from(*taken))),
        }
        let mut out = Vec::new();
        minicbor::encode(&frame, &mut out).expect("these types and a growing buffer always encode");
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    /// Where the bytes are not one; see [`Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(Malformed::TooLong(bytes.len()));
        }
        let frame: Frame = minicbor::decode(bytes)?;
        for list in [&frame.nodes, &frame.holders].into_iter().flatten() {
            if list.len() > FRAME_CONTACTS_MAX {
                return Err(Malformed::TooMany(list.len()));
            }
        }
        let kind = frame.kind;
        let missing = |field| Malformed::Missing { kind, field };
        let body = match kind {
            0 => Body::Ping,
            1 => Body::Pong,
            2 => Body::FindNode(frame.point.ok_or(missing(2))?),
            3 => Body::Nodes(frame.nodes.ok_or(missing(3))?),
            4 => Body::FindRecord(frame.point.ok_or(missing(2))?),
            5 => Body::Record {
                holders: frame.holders.ok_or(missing(4))?,
                nodes: frame.nodes.ok_or(missing(3))?,
            },
            6 => Body::Store {
                point: frame.point.ok_or(missing(2))?,
                seconds: frame.number.ok_or(missing(5))?,
            },
            7 => Body::Stored(frame.number.ok_or(missing(5))? != 0),
            other => return Err(Malformed::UnknownKind(other)),
        };
        Ok(Self { transaction: frame.transaction, body })
    }
}
