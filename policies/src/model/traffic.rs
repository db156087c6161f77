//! Classes and budgets.

use super::{seconds, text};
use crate::grammar::dialect::DSCP;
use crate::grammar::lexical::{rate_bit_s, volume_bytes};
use crate::model::action::Action;
use crate::text::node::Node;
use crate::text::source::{Placed, Span};

/// A traffic class.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Its name.
    pub name: Placed<String>,
    /// Differentiated services code point.
    pub dscp: u8,
    /// Where the code point stands.
    pub dscp_span: Span,
    /// What it is sure to get, bit/s.
    pub rate_bit_s: u64,
    /// What it gets at most, bit/s.
    pub ceil_bit_s: u64,
    /// Where the rates stand.
    pub rate_span: Span,
}

/// A volume that may be used up.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Its name.
    pub name: Placed<String>,
    /// The set of peers whose traffic counts.
    pub peers: Placed<String>,
    /// How much, bytes, both ways together.
    pub volume_bytes: u64,
    /// In how much time, seconds.
    pub per_s: f64,
    /// What happens to the traffic of these peers once it is used up.
    pub then: Action,
    /// Where the action stands.
    pub then_span: Span,
}

impl Class {
    pub(crate) fn read(name: &Node, node: &Node) -> Self {
        let rate = |key: &str| rate_bit_s(text(node, key)).unwrap_or_default();
        let dscp = node.get("dscp").unwrap_or(node);
        Self {
            name: Placed { value: name.text().to_owned(), span: name.span },
            dscp: DSCP.iter().find(|(word, _)| *word == dscp.text()).map_or(0, |(_, number)| *number),
            dscp_span: dscp.span,
            rate_bit_s: rate("rate"),
            ceil_bit_s: rate("ceil"),
            rate_span: node.get("rate").unwrap_or(node).span,
        }
    }
}

impl Budget {
    pub(crate) fn read(name: &Node, node: &Node) -> Self {
        let peers = node.get("peers").unwrap_or(node);
        let then = node.get("then").unwrap_or(node);
        Self {
            name: Placed { value: name.text().to_owned(), span: name.span },
            peers: Placed { value: peers.text().to_owned(), span: peers.span },
            volume_bytes: volume_bytes(text(node, "volume")).unwrap_or_default(),
            per_s: seconds(node, "per").unwrap_or_default(),
            then: Action::read(then, name.text()),
            then_span: then.span,
        }
    }
}
