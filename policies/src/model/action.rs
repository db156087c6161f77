//! What rules do.

use std::fmt;

use serde_json::{Value, json};

use super::{number, seconds, text};
use crate::event::Region;
use crate::text::node::{Node, Value as Yaml};

/// What is done with an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Access: go on.
    Allow,
    /// Access: refuse, and say why.
    Deny {
        /// Why.
        reason: String,
    },
    /// Access, routing: throw away, silently.
    Drop {
        /// Why.
        reason: String,
    },
    /// Routing: pass on.
    Forward(Forward),
    /// Cache: keep, and answer from what is kept.
    Store {
        /// How long, seconds.
        ttl_s: f64,
        /// Whether answers to like searches are put together.
        aggregate: bool,
    },
    /// Cache: keep copies near.
    Localize {
        /// How many.
        copies: u8,
        /// Where.
        within: Within,
        /// How long, seconds.
        ttl_s: f64,
    },
    /// Cache: keep nothing.
    Pass,
    /// Traffic: the class, by its name.
    Class(String),
    /// Traffic: no class.
    Unclassed,
}

/// To whom a message is passed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// To how many peers.
    pub fanout: u8,
    /// How many hops it may still go, at most.
    pub ttl: u8,
    /// Which peers first, in this order.
    pub prefer: Vec<Preference>,
    /// Which peers not at all.
    pub avoid: Avoid,
}

/// Which peers come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// Those in the node's region.
    SameRegion,
    /// Those with less load.
    LeastLoad,
    /// Those that are near.
    LowRtt,
    /// Those that are fast.
    HighThroughput,
}

/// Which peers are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Avoid {
    /// Those whose link is used more than this share.
    pub util_over: Option<f64>,
    /// Those whose link loses more than this share.
    pub loss_over: Option<f64>,
    /// Those whose round trip is longer, seconds.
    pub rtt_over_s: Option<f64>,
    /// Those in these regions.
    pub regions: Vec<Region>,
}

/// Where copies are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// In the node's region.
    Region,
    /// On the node.
    Node,
}

const PREFERENCES: [(&str, Preference); 4] = [
    ("same-region", Preference::SameRegion),
    ("least-load", Preference::LeastLoad),
    ("low-rtt", Preference::LowRtt),
    ("high-throughput", Preference::HighThroughput),
];

impl Action {
    /// Reads an action whose form has been checked; `id` is the reason where none is given.
    #[must_use]
    pub fn read(node: &Node, id: &str) -> Self {
        let (name, settings) = match &node.value {
            Yaml::Map(entries) => match entries.first() {
                Some((name, settings)) => (name.text(), settings),
                None => return Self::Pass,
            },
            _ => (node.text(), node),
        };
        let reason = || match text(settings, "reason") {
            "" => id.to_owned(),
            reason => reason.to_owned(),
        };
        match name {
            "allow" => Self::Allow,
            "deny" => Self::Deny { reason: reason() },
            "drop" => Self::Drop { reason: reason() },
            "forward" => Self::Forward(Forward::read(settings)),
            "store" => Self::Store {
                ttl_s: seconds(settings, "ttl").unwrap_or_default(),
                aggregate: text(settings, "aggregate") == "true",
            },
            "localize" => Self::Localize {
                copies: number(settings, "copies").unwrap_or(1),
                within: if text(settings, "within") == "node" { Within::Node } else { Within::Region },
                ttl_s: seconds(settings, "ttl").unwrap_or_default(),
            },
            "class" => Self::Class(settings.text().to_owned()),
            _ => Self::Pass,
        }
    }

    /// Its name in the language; `unclassed` has none there.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny { .. } => "deny",
            Self::Drop { .. } => "drop",
            Self::Forward(_) => "forward",
            Self::Store { .. } => "store",
            Self::Localize { .. } => "localize",
            Self::Pass => "pass",
            Self::Class(_) => "class",
            Self::Unclassed => "unclassed",
        }
    }

    /// As JSON, in the form of the language; times in seconds.
    #[must_use]
    pub fn json(&self) -> Value {
        let settings = match self {
            Self::Allow | Self::Pass | Self::Unclassed => return self.name().into(),
            Self::Deny { reason } | Self::Drop { reason } => json!({"reason": reason}),
            Self::Forward(forward) => forward.json(),
            Self::Store { ttl_s, aggregate } => json!({"ttl_s": ttl_s, "aggregate": aggregate}),
            Self::Localize { copies, within, ttl_s } => {
                let within = if *within == Within::Node { "node" } else { "region" };
                json!({"copies": copies, "within": within, "ttl_s": ttl_s})
            }
            Self::Class(name) => name.as_str().into(),
        };
        json!({self.name(): settings})
    }
}

impl Forward {
    fn read(node: &Node) -> Self {
        let words = |node: Option<&Node>| -> Vec<String> {
            node.map(|n| n.items().iter().map(|i| i.text().to_owned()).collect()).unwrap_or_default()
        };
        let prefer = words(node.get("prefer"));
        let avoid = node.get("avoid").map(|a| Avoid {
            util_over: number(a, "util-over"),
            loss_over: number(a, "loss-over"),
            rtt_over_s: seconds(a, "rtt-over"),
            regions: words(a.get("region")).iter().filter_map(|r| Region::of(r)).collect(),
        });
        Self {
            fanout: number(node, "fanout").unwrap_or(1),
            ttl: number(node, "ttl").unwrap_or(1),
            prefer: prefer
                .iter()
                .filter_map(|p| PREFERENCES.iter().find(|(w, _)| w == p).map(|(_, v)| *v))
                .collect(),
            avoid: avoid.unwrap_or_default(),
        }
    }

    fn json(&self) -> Value {
        let mut out = json!({"fanout": self.fanout, "ttl": self.ttl});
        if !self.prefer.is_empty() {
            let word = |p: &Preference| PREFERENCES.iter().find(|(_, v)| v == p).map_or("", |(w, _)| *w);
            out["prefer"] = self.prefer.iter().map(word).collect();
        }
        let mut avoid = serde_json::Map::new();
        let figures = [
            ("util-over", self.avoid.util_over),
            ("loss-over", self.avoid.loss_over),
            ("rtt-over_s", self.avoid.rtt_over_s),
        ];
        for (key, value) in figures {
            if let Some(value) = value {
                avoid.insert(key.to_owned(), value.into());
            }
        }
        if !self.avoid.regions.is_empty() {
            let regions = self.avoid.regions.iter().map(|r| r.word());
            avoid.insert("region".to_owned(), regions.collect());
        }
        if !avoid.is_empty() {
            out["avoid"] = avoid.into();
        }
        out
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deny { reason } | Self::Drop { reason } => write!(f, "{} ({reason})", self.name()),
            Self::Class(name) => write!(f, "class {name}"),
            Self::Forward(forward) => write!(f, "forward to {}, ttl {}", forward.fanout, forward.ttl),
            _ => f.write_str(self.name()),
        }
    }
}
