//! What nodes tell each other about their measurements.
//!
//! A report holds all edges of one node at one level, with a version that only its origin raises. It travels with a
//! seal that ties it to its origin, so that whoever passes it on cannot change it. Frames are CBOR maps with numbered
//! fields: what a reader does not know it skips.

use minicbor::{Decode, Encode};

use crate::id::NodeId;

/// Longest frame that is read or written, in bytes.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Reports are put together into frames up to about this size, in bytes.
const FRAME_BYTES_WANTED: usize = 16 * 1024;
/// Most names of reports in one frame.
const NAMES_MAX: usize = 1024;

/// One measured way from a report's origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Edge {
    /// The other end.
    #[n(0)]
    pub to: NodeId,
    /// Round trip in microseconds.
    #[n(1)]
    pub rtt_us: u32,
    /// Throughput in kbit/s, where it was measured.
    #[n(2)]
    pub throughput_kbps: Option<u32>,
    /// Whether the origin holds the other end for near, its hysteresis included.
    #[n(3)]
    pub near: bool,
    /// The other end's region, where the origin knows it.
    #[n(4)]
    pub region: Option<NodeId>,
    /// Not a link but a path inside a region, between two of its gateways.
    #[n(5)]
    pub inner: bool,
    /// The origin was elected to lead out of its region over this edge, rather than confirming the other end's choice.
    #[n(6)]
    pub elected: bool,
}

/// All that one node says about one level.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Report {
    /// Whose.
    #[n(0)]
    pub origin: NodeId,
    /// 0 for measurements; above that, for gateways of the level below.
    #[n(1)]
    pub level: u8,
    /// Higher is newer.
    #[n(2)]
    pub version: u64,
    /// The region at this level that the origin is in.
    #[n(3)]
    pub region: NodeId,
    /// The region of the level below that the origin is a gateway of; its own id at level 0.
    #[n(4)]
    pub home: NodeId,
    /// How busy the origin is, in thousandths.
    #[n(5)]
    pub load_milli: u32,
    /// Sorted by the other end, each once.
    #[n(6)]
    pub edges: Vec<Edge>,
}

impl Report {
    /// The edge to a node.
    #[must_use]
    pub fn edge(&self, to: NodeId) -> Option<&Edge> {
        self.edges.binary_search_by_key(&to, |e| e.to).ok().map(|i| &self.edges[i])
    }
}

/// A report as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Sealed {
    /// The encoded [`Report`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub report: Vec<u8>,
    /// The origin's seal over it.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub seal: Vec<u8>,
}

/// Names one state of one report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Name {
    /// Whose.
    #[n(0)]
    pub origin: NodeId,
    /// Of which level.
    #[n(1)]
    pub level: u8,
    /// Which state.
    #[n(2)]
    pub version: u64,
}

/// One message between neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Answer at once, in a way that does not repeat what is lost.
    Probe(u64),
    /// Answer at once, in a way that repeats what is lost.
    SureProbe(u64),
    /// The answer, with the probe's number.
    Echo(u64),
    /// News.
    Reports(Vec<Sealed>),
    /// What the sender has; send what is newer.
    Have {
        /// Its reports.
        names: Vec<Name>,
        /// Whether the sender wants to be told the same.
        answer: bool,
    },
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes: at most {FRAME_BYTES_MAX} are read")]
    TooLong(usize),
    /// Not CBOR, or not of the frame's shape.
    #[error("not a frame: {0}")]
    Shape(#[from] minicbor::decode::Error),
    /// A field that this kind needs is absent.
    #[error("a frame of kind {0} without its field")]
    Missing(u8),
    /// A newer version's message.
    #[error("a frame of kind {0}, which this version does not know")]
    UnknownKind(u8),
    /// Edges that are not sorted, twice there or too many.
    #[error("edges of a report must be sorted, each once, at most {0}")]
    Edges(usize),
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Frame {
    #[n(0)]
    kind: u8,
    #[n(1)]
    number: Option<u64>,
    #[n(2)]
    reports: Option<Vec<Sealed>>,
    #[n(3)]
    names: Option<Vec<Name>>,
    #[n(4)]
    surely: Option<bool>,
}

fn bytes<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    minicbor::encode(value, &mut out).expect("these types and a growing buffer always encode");
    out
}

impl Message {
    /// The message as it travels.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let mut frame = Frame { kind: 0, number: None, reports: None, names: None, surely: None };
        match self {
            Self::Probe(number) => frame.number = Some(number),
            Self::SureProbe(number) => (frame.number, frame.surely) = (Some(number), Some(true)),
            Self::Echo(number) => (frame.kind, frame.number) = (1, Some(number)),
            Self::Reports(reports) => (frame.kind, frame.reports) = (2, Some(reports)),
            Self::Have { names, answer } => {
                (frame.kind, frame.names, frame.number) = (3, Some(names), Some(u64::from(answer)));
            }
        }
        bytes(&frame)
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
        let missing = || Malformed::Missing(frame.kind);
        Ok(match frame.kind {
            0 if frame.surely == Some(true) => Self::SureProbe(frame.number.ok_or_else(missing)?),
            0 => Self::Probe(frame.number.ok_or_else(missing)?),
            1 => Self::Echo(frame.number.ok_or_else(missing)?),
            2 => Self::Reports(frame.reports.ok_or(Malformed::Missing(2))?),
            3 => Self::Have {
                names: frame.names.ok_or(Malformed::Missing(3))?,
                answer: frame.number.unwrap_or(0) != 0,
            },
            other => return Err(Malformed::UnknownKind(other)),
        })
    }

    /// As few messages as hold these reports.
    #[must_use]
    pub fn reports(reports: Vec<Sealed>) -> Vec<Self> {
        let mut messages = Vec::new();
        let (mut batch, mut size) = (Vec::new(), 0);
        for report in reports {
            let len = report.report.len() + report.seal.len() + 16;
            if size + len > FRAME_BYTES_WANTED && !batch.is_empty() {
                messages.push(Self::Reports(std::mem::take(&mut batch)));
                size = 0;
            }
            size += len;
            batch.push(report);
        }
        if !batch.is_empty() {
            messages.push(Self::Reports(batch));
        }
        messages
    }

    /// As few messages as hold these names.
    #[must_use]
    pub fn have(names: &[Name], answer: bool) -> Vec<Self> {
        names.chunks(NAMES_MAX).map(|c| Self::Have { names: c.to_vec(), answer }).collect()
    }
}

impl Report {
    /// What is sealed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        bytes(self)
    }

    /// Reads a report.
    ///
    /// # Errors
    /// Where the bytes are not one, or its edges are out of order or more than `edges_max`.
    pub fn decode(bytes: &[u8], edges_max: usize) -> Result<Self, Malformed> {
        let report: Self = minicbor::decode(bytes)?;
        let sorted = report.edges.windows(2).all(|pair| pair[0].to < pair[1].to);
        if !sorted || report.edges.len() > edges_max || report.edge(report.origin).is_some() {
            return Err(Malformed::Edges(edges_max));
        }
        Ok(report)
    }
}
