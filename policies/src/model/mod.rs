//! A policy as it is written, with the place of everything that can be wrong.
//!
//! | module | what |
//! | --- | --- |
//! | [`action`] | what rules do |
//! | [`rule`] | rules and what they match |
//! | [`document`] | a whole policy, with its includes and lists |
//! | [`traffic`] | classes and budgets |
//! | [`topology`] | how many neighbours, how far, at what cost |
//! | [`alarm`] | what people are told of |

pub mod action;
pub mod alarm;
pub mod document;
pub mod rule;
pub mod topology;
pub mod traffic;

use crate::text::node::Node;

/// The text under a key; empty where there is none.
fn text<'n>(node: &'n Node, key: &str) -> &'n str {
    node.get(key).map_or("", Node::text)
}

/// The number under a key, which has been checked to be one.
fn number<T: std::str::FromStr>(node: &Node, key: &str) -> Option<T> {
    text(node, key).parse().ok()
}

/// The length of time under a key, seconds.
fn seconds(node: &Node, key: &str) -> Option<f64> {
    crate::grammar::lexical::duration_s(text(node, key)).ok()
}
