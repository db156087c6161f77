//! Rules and what they match.

use super::text;
use crate::event::{Direction, Link, Message, Region};
use crate::grammar::lexical::volume_bytes;
use crate::model::action::Action;
use crate::text::node::Node;
use crate::text::source::{Placed, Span};

/// A chain of rules that decides events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Chain {
    /// Who may do what.
    Access,
    /// Where messages go.
    Routing,
    /// What is kept.
    Cache,
    /// Classes of traffic.
    Traffic,
}

impl Chain {
    /// All of them, in the order of the policy's sections.
    pub const ALL: [Self; 4] = [Self::Access, Self::Routing, Self::Cache, Self::Traffic];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        crate::grammar::dialect::CHAINS[self as usize].0
    }

    /// What a word stands for.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.word() == word)
    }

    /// What happens where the policy does not speak of this chain.
    #[must_use]
    pub fn silent(self) -> Action {
        match self {
            Self::Access => Action::Allow,
            Self::Routing => Action::Forward(super::action::Forward {
                fanout: u8::MAX,
                ttl: 7,
                prefer: Vec::new(),
                avoid: super::action::Avoid::default(),
            }),
            Self::Cache => Action::Pass,
            Self::Traffic => Action::Unclassed,
        }
    }
}

/// What happens where a condition cannot be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fail {
    /// The rule does not match.
    Open,
    /// The event is refused.
    Closed,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name in every decision.
    pub id: Placed<String>,
    /// Whether it only counts.
    pub shadow: bool,
    /// What it is about.
    pub matching: Match,
    /// The condition, not yet compiled.
    pub when: Option<Node>,
    /// What an error of the condition does.
    pub fail: Fail,
    /// What is done.
    pub then: Action,
    /// Where the action stands.
    pub then_span: Span,
}

/// What a rule is about: all that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Where it stands.
    pub span: Span,
    /// Kinds of message; none means all.
    pub messages: Vec<Message>,
    /// The way it goes.
    pub direction: Option<Direction>,
    /// Sets of peers, one of which the peer must be in.
    pub peer_in: Vec<Placed<String>>,
    /// Sets of peers, none of which the peer may be in.
    pub peer_not_in: Vec<Placed<String>>,
    /// Groups.
    pub groups: Vec<Placed<String>>,
    /// Regions; none means all.
    pub regions: Vec<Region>,
    /// States of the link; none means all.
    pub links: Vec<Link>,
    /// Sets of content, one of which it must be in.
    pub content_in: Vec<Placed<String>>,
    /// Sets of content, none of which it may be in.
    pub content_not_in: Vec<Placed<String>>,
    /// Endings of file names, lower case.
    pub file_types: Vec<String>,
    /// File sizes, bytes, both ends included.
    pub sizes: Option<(u64, u64)>,
}

impl Match {
    /// Whether it asks about content, which only some kinds of message have.
    #[must_use]
    pub fn asks_content(&self) -> bool {
        !self.content_in.is_empty()
            || !self.content_not_in.is_empty()
            || !self.file_types.is_empty()
            || self.sizes.is_some()
    }

    fn read(node: &Node) -> Self {
        let names = |node: Option<&Node>, key: &str| -> Vec<Placed<String>> {
            let list = node.and_then(|n| n.get(key));
            list.map(|l| l.items().iter().map(placed).collect()).unwrap_or_default()
        };
        let words = |key: &str| node.get(key).map(Node::items).unwrap_or_default().iter().map(Node::text);
        let (peer, content) = (node.get("peer"), node.get("content"));
        let bound = |key: &str| content?.get("size")?.get(key).and_then(|n| volume_bytes(n.text()).ok());
        let types = content.and_then(|c| c.get("type"));
        Self {
            span: node.span,
            messages: words("message").filter_map(Message::of).collect(),
            direction: Direction::of(text(node, "direction")),
            peer_in: names(peer, "in"),
            peer_not_in: names(peer, "not-in"),
            groups: names(Some(node), "group"),
            regions: words("region").filter_map(Region::of).collect(),
            links: words("link").filter_map(Link::of).collect(),
            content_in: names(content, "in"),
            content_not_in: names(content, "not-in"),
            file_types: types
                .map(|t| t.items().iter().map(|i| i.text().to_lowercase()).collect())
                .unwrap_or_default(),
            sizes: content
                .and_then(|c| c.get("size"))
                .map(|_| (bound("min").unwrap_or(0), bound("max").unwrap_or(u64::MAX))),
        }
    }
}

fn placed(node: &Node) -> Placed<String> {
    Placed { value: node.text().to_owned(), span: node.span }
}

impl Rule {
    /// Reads a rule whose form has been checked.
    #[must_use]
    pub fn read(node: &Node, chain: Chain) -> Self {
        let id = node.get("id").unwrap_or(node);
        let then = node.get("then").unwrap_or(node);
        let fail = match text(node, "fail") {
            "open" => Fail::Open,
            "closed" => Fail::Closed,
            _ if chain == Chain::Access => Fail::Closed,
            _ => Fail::Open,
        };
        Self {
            id: placed(id),
            shadow: text(node, "mode") == "shadow",
            matching: node
                .get("match")
                .map_or_else(|| Match { span: id.span, ..Match::default() }, Match::read),
            when: node.get("when").cloned(),
            fail,
            then: Action::read(then, id.text()),
            then_span: then.span,
        }
    }
}
