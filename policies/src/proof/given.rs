//! Events as they are written in tests and recordings.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::decide::domain::{Example, Sample};
use crate::event::{Content, Direction, Event, Figures, Link, Message, Peer, Region};
use crate::facts::{FACTS, Fact, Facts, Type, budget_fact};
use crate::grammar::lexical::{sha1, volume_bytes};
use crate::grammar::{dialect, validate::validate};
use crate::text::diagnostic::{Diagnostic, Findings, Report};
use crate::text::nearest::choose;
use crate::text::node::{Node, Value as Yaml, parse};
use crate::text::source::Sources;

/// An event that owns its parts, and the facts beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    message: Message,
    direction: Direction,
    region: Region,
    link: Link,
    address: Option<IpAddr>,
    asn: Option<u32>,
    group: Option<String>,
    user_agent: String,
    text: String,
    sha1: Option<[u8; 20]>,
    file_type: Option<String>,
    bytes: Option<u64>,
    figures: Figures,
    facts: Facts,
}

impl Given {
    /// Reads an event whose form has been checked. Names of facts are checked here.
    #[must_use]
    pub fn read(node: &Node, budgets: &[String], out: &mut Findings) -> Self {
        let word = |key: &str| node.get(key).map_or("", Node::text);
        let of = |part: &str, key: &str| {
            node.get(part).and_then(|p| p.get(key)).map(|n| n.text().to_owned()).filter(|t| !t.is_empty())
        };
        let mut given = Self {
            message: Message::of(word("message")).unwrap_or_default(),
            direction: Direction::of(word("direction")).unwrap_or_default(),
            region: Region::of(word("region")).unwrap_or_default(),
            link: Link::of(word("link")).unwrap_or_default(),
            address: of("peer", "address").and_then(|a| a.parse().ok()),
            asn: of("peer", "asn").and_then(|n| n.parse().ok()),
            group: of("peer", "group"),
            user_agent: of("peer", "user-agent").unwrap_or_default(),
            text: of("content", "text").unwrap_or_default(),
            sha1: of("content", "sha1").and_then(|d| sha1(&d).ok()),
            file_type: of("content", "type").map(|t| t.to_lowercase()),
            bytes: of("content", "size").and_then(|v| volume_bytes(&v).ok()),
            figures: Figures::default(),
            facts: Facts::default(),
        };
        for (name, value) in node.get("facts").map(Node::entries).unwrap_or_default() {
            given.fact(name, value, budgets, out);
        }
        if let Some(facts) = node.get("facts").filter(|f| !matches!(f.value, Yaml::Map(_))) {
            let fix = "write `{node.cpu: 0.5}`";
            out.push(Diagnostic::error(
                "kind",
                facts.span,
                "a mapping from facts to numbers must stand here",
                fix,
            ));
        }
        given
    }

    /// Reads one event as it is written in tests and recordings: as YAML, which JSON is part of.
    ///
    /// # Errors
    /// Where the text is no event: everything that is wrong with it, under the given name.
    pub fn parse(name: &str, text: &str, budgets: &[String]) -> Result<Self, Box<Report>> {
        let mut sources = Sources::default();
        let mut out = Findings::default();
        let file = sources.add(name, text);
        let given = match parse(text, file) {
            Ok(tree) => {
                validate(&tree.root, &dialect::EVENT, &mut out);
                Some(Self::read(&tree.root, budgets, &mut out))
            }
            Err(finding) => {
                out.push(*finding);
                None
            }
        };
        let report = Report::new(sources, out);
        given.filter(|_| report.is_ok()).ok_or_else(|| Box::new(report))
    }

    /// A download, of which nothing else is known: it has a peer and content.
    pub(crate) fn download() -> Self {
        Self { message: Message::Download, ..Self::default() }
    }

    /// Sets a number, of the event or of the node.
    pub(crate) fn set(&mut self, fact: Fact, value: f64) {
        if !self.figures.set(fact, value) {
            self.facts.set(fact, value);
        }
    }

    /// Fills in where the peer is, as far as it is not given.
    pub fn locate(&mut self, asn: Option<u32>, region: Region) {
        self.asn = self.asn.or(asn);
        if self.region == Region::Unknown {
            self.region = region;
        }
    }

    /// Changes what one dimension sees.
    pub(crate) fn put(&mut self, value: &Sample) {
        match value {
            Sample::Address(address) => self.address = Some(*address),
            Sample::Asn(asn) => self.asn = Some(*asn),
            Sample::Group(group) => self.group = Some(group.clone()),
            Sample::Agent(agent) => self.user_agent.clone_from(agent),
            Sample::Text(text) => self.text.clone_from(text),
            Sample::Digest(digest) => self.sha1 = Some(*digest),
            Sample::FileType(file_type) => self.file_type = Some(file_type.clone()),
            Sample::Bytes(bytes) => self.bytes = Some(*bytes),
        }
    }

    fn fact(&mut self, name: &Node, value: &Node, budgets: &[String], out: &mut Findings) {
        let Some(fact) = Fact::find(name.text(), budgets) else {
            let of_budgets: Vec<String> = budgets.iter().map(|b| budget_fact(b)).collect();
            let known = FACTS.iter().map(|f| f.name).chain(of_budgets.iter().map(String::as_str));
            let what = format!("there is no fact `{}`", name.text());
            out.push(Diagnostic::error("unknown-fact", name.span, what, choose(name.text(), known)));
            return;
        };
        let number = value.text().parse::<f64>().ok().filter(|n| n.is_finite());
        let whole = fact.ty() == Type::Double || number.is_none_or(|n| n.fract() == 0.0);
        match number {
            Some(number) if matches!(fact.ty(), Type::Int | Type::Double) && whole => {
                let of_event = matches!(fact, Fact::ASN | Fact::FILE_BYTES);
                if of_event {
                    let what = format!("`{}` has a place of its own in the event", name.text());
                    let fix = "write `peer: {asn: …}` or `content: {size: …}`";
                    out.push(Diagnostic::error("value", name.span, what, fix));
                } else {
                    self.set(fact, number);
                }
            }
            _ if matches!(fact.ty(), Type::Int | Type::Double) => {
                let kind = if fact.ty() == Type::Int { "a whole number" } else { "a number" };
                let what = format!("`{}` is {kind}", name.text());
                out.push(Diagnostic::error("value", value.span, what, "correct the value"));
            }
            _ => {
                let what = format!("`{}` has a place of its own in the event", name.text());
                let fix = "write it under `message`, `peer`, `link` or `content`";
                out.push(Diagnostic::error("value", name.span, what, fix));
            }
        }
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> Event<'_> {
        Event {
            message: self.message,
            direction: self.direction,
            region: self.region,
            link: self.link,
            peer: Peer {
                address: self.address,
                asn: self.asn,
                group: self.group.as_deref(),
                user_agent: &self.user_agent,
            },
            content: Content {
                text: &self.text,
                sha1: self.sha1,
                file_type: self.file_type.as_deref(),
                bytes: self.bytes,
            },
            figures: self.figures,
        }
    }

    /// The facts beside it.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// An event in the form of tests and recordings, to be kept and replayed.
    #[must_use]
    pub fn json(event: &Event<'_>, facts: &Facts, budgets: &[String]) -> Value {
        let mut peer = Map::new();
        let mut content = Map::new();
        let put = |map: &mut Map<String, Value>, key: &str, value: Option<Value>| {
            if let Some(value) = value {
                map.insert(key.to_owned(), value);
            }
        };
        let some = |text: &str| (!text.is_empty()).then(|| text.into());
        put(&mut peer, "address", event.peer.address.map(|a| a.to_string().into()));
        put(&mut peer, "asn", event.peer.asn.map(Into::into));
        put(&mut peer, "group", event.peer.group.map(Into::into));
        put(&mut peer, "user-agent", some(event.peer.user_agent));
        put(&mut content, "text", some(event.content.text));
        put(&mut content, "sha1", event.content.sha1.map(|d| data_encoding::BASE32.encode(&d).into()));
        put(&mut content, "type", event.content.file_type.map(Into::into));
        put(&mut content, "size", event.content.bytes.map(|n| format!("{n}B").into()));
        let scope = crate::event::Scope { event, facts };
        let all = (0..FACTS.len()).map(|n| Fact(n as u8)).chain((0..budgets.len()).map(Fact::budget));
        let mut numbers = Map::new();
        for fact in all.filter(|f| !matches!(*f, Fact::ASN | Fact::FILE_BYTES)) {
            put(&mut numbers, &fact.name(budgets), scope.number(fact).map(|n| number(n, fact)));
        }
        let mut out = json!({"message": event.message.word(), "direction": event.direction.word()});
        if event.region != Region::Unknown {
            out["region"] = event.region.word().into();
        }
        if event.link != Link::Unknown {
            out["link"] = event.link.word().into();
        }
        for (key, map) in [("peer", peer), ("content", content), ("facts", numbers)] {
            if !map.is_empty() {
                out[key] = map.into();
            }
        }
        out
    }
}

fn number(n: f64, fact: Fact) -> Value {
    if fact.ty() == Type::Int { json!(n as i64) } else { json!(n) }
}

impl From<Example> for Given {
    fn from(e: Example) -> Self {
        Self {
            message: e.message,
            direction: e.direction,
            region: e.region,
            link: e.link,
            address: e.address,
            asn: e.asn,
            group: e.group,
            user_agent: e.user_agent,
            text: e.text,
            sha1: e.sha1,
            file_type: e.file_type,
            bytes: e.bytes,
            figures: Figures::default(),
            facts: Facts::default(),
        }
    }
}
