//! A whole policy, with its includes and lists.

use std::collections::{BTreeMap, BTreeSet};

use super::action::Action;
use super::rule::{Chain, Rule};
use super::topology::Degree;
use super::traffic::{Budget, Class};
use super::{number, text};
use crate::grammar::dialect::{self, BUDGETS_MAX, CLASSES_MAX, RULES_MAX, SETS_MAX};
use crate::grammar::validate::validate;
use crate::sets::Kind;
use crate::sets::entries::Entries;
use crate::text::diagnostic::{Diagnostic, Findings};
use crate::text::files::{Files, inside};
use crate::text::nearest::choose;
use crate::text::node::{Node, Value, parse};
use crate::text::source::{Placed, Sources, Span};

/// Most files that a policy includes.
const INCLUDES_MAX: usize = 64;

/// A set as it is written.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) name: Placed<String>,
    pub(crate) kind: Kind,
    pub(crate) entries: Entries,
}

/// The rules of one chain and its default.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) rules: Vec<Rule>,
    pub(crate) default: Action,
    /// Whether the policy speaks of this chain.
    pub(crate) written: bool,
}

/// A policy as it is written.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) name: String,
    pub(crate) shadow: bool,
    pub(crate) sets: BTreeMap<String, Set>,
    /// By [`Chain`].
    pub(crate) chains: [Rules; 4],
    pub(crate) degree: Option<Degree>,
    pub(crate) path_length_max: Option<Placed<u8>>,
    pub(crate) link_cost: Option<Node>,
    pub(crate) classes: Vec<Class>,
    pub(crate) budgets: Vec<Budget>,
    pub(crate) alarms: Vec<Node>,
    /// The files that were read, the policy itself first.
    pub(crate) files: Vec<String>,
}

/// Reads a policy and all that it includes. Answers nothing where its form is wrong; `out` says why.
pub(crate) fn read(
    files: &dyn Files,
    path: &str,
    sources: &mut Sources,
    out: &mut Findings,
) -> Option<Document> {
    let root = tree(files, path, Span::default(), &dialect::POLICY, sources, out)?;
    let mut reader = Reader { files, sources, out, sets: BTreeMap::new(), read: vec![path.to_owned()] };
    reader.include(&root);
    reader.sets(&root);
    let (sets, read) = (reader.sets, reader.read);
    if out.errors() > 0 {
        return None;
    }
    let traffic = root.get("traffic");
    let named = |key: &str| traffic.and_then(|t| t.get(key)).map(Node::entries).unwrap_or_default();
    let topology = root.get("topology");
    let path_length = topology.and_then(|t| t.get("path-length"));
    let mut document = Document {
        name: text(&root, "name").to_owned(),
        shadow: text(&root, "mode") == "shadow",
        sets,
        chains: Chain::ALL.map(|chain| rules(&root, chain)),
        degree: topology.and_then(|t| t.get("degree")).map(|d| Degree::read(d, out)),
        path_length_max: path_length
            .and_then(|p| Some(Placed { value: number(p, "max")?, span: p.get("max")?.span })),
        link_cost: topology.and_then(|t| t.get("link-cost")).cloned(),
        classes: named("classes").iter().map(|(name, node)| Class::read(name, node)).collect(),
        budgets: named("budgets").iter().map(|(name, node)| Budget::read(name, node)).collect(),
        alarms: root.get("alarms").map(|a| a.items().to_vec()).unwrap_or_default(),
        files: read,
    };
    document.names(&root, out);
    Some(document)
}

/// Reads and checks a file of sets as a policy would include it; how many there are.
pub(crate) fn sets(
    files: &dyn Files,
    path: &str,
    sources: &mut Sources,
    out: &mut Findings,
) -> Option<usize> {
    let root = tree(files, path, Span::default(), &dialect::INCLUDED, sources, out)?;
    let mut reader = Reader { files, sources, out, sets: BTreeMap::new(), read: vec![path.to_owned()] };
    reader.include(&root);
    reader.sets(&root);
    Some(reader.sets.len())
}

/// Reads one YAML file and checks its form.
pub(crate) fn tree(
    files: &dyn Files,
    path: &str,
    asked: Span,
    shape: &crate::grammar::shape::Shape,
    sources: &mut Sources,
    out: &mut Findings,
) -> Option<Node> {
    let text = match files.read(path) {
        Ok(text) => text,
        Err(e) => {
            if sources.get(asked.file).is_none() {
                sources.add(files.name(path), "");
            }
            out.push(Diagnostic::error("unreadable", asked, e.what, e.fix));
            return None;
        }
    };
    let file = sources.add(files.name(path), text.clone());
    let tree = match parse(&text, file) {
        Ok(tree) => tree,
        Err(finding) => {
            out.push(*finding);
            return None;
        }
    };
    let before = out.errors();
    validate(&tree.root, shape, out);
    (out.errors() == before).then_some(tree.root)
}

fn rules(root: &Node, chain: Chain) -> Rules {
    let section = root.get(chain.word());
    let list = match chain {
        Chain::Cache => section,
        _ => section.and_then(|s| s.get("rules")),
    };
    let default = section.and_then(|s| s.get("default"));
    Rules {
        rules: list.map(|l| l.items().iter().map(|r| Rule::read(r, chain)).collect()).unwrap_or_default(),
        default: default.map_or_else(|| chain.silent(), |d| Action::read(d, "default")),
        written: section.is_some(),
    }
}

struct Reader<'a> {
    files: &'a dyn Files,
    sources: &'a mut Sources,
    out: &'a mut Findings,
    sets: BTreeMap<String, Set>,
    read: Vec<String>,
}

impl Reader<'_> {
    fn include(&mut self, root: &Node) {
        let Some(list) = root.get("include") else { return };
        for item in list.items() {
            let Ok(path) = inside(item.text()) else { continue };
            if self.read.contains(&path) {
                continue;
            }
            if self.read.len() > INCLUDES_MAX {
                let what = format!("more than {INCLUDES_MAX} files are included");
                self.out.push(Diagnostic::error("limit", item.span, what, "put sets together"));
                return;
            }
            self.read.push(path.clone());
            if let Some(included) =
                tree(self.files, &path, item.span, &dialect::INCLUDED, self.sources, self.out)
            {
                self.include(&included);
                self.sets(&included);
            }
        }
    }

    fn sets(&mut self, root: &Node) {
        for (name, node) in root.get("sets").map(Node::entries).unwrap_or_default() {
            let Some((key, value)) = node.entries().first() else { continue };
            let Some(kind) = Kind::of(key.text()) else { continue };
            if let Some(first) = self.sets.get(name.text()) {
                let place = self.sources.place(first.name.span);
                let what = format!(
                    "the set `{}` is defined a second time, the first stands at {place}",
                    name.text()
                );
                let finding = Diagnostic::error("duplicate-set", name.span, what, "rename one of the two");
                self.out.push(finding.with(first.name.span, "the first"));
                continue;
            }
            if self.sets.len() == SETS_MAX {
                let what = format!("there are more than {SETS_MAX} sets");
                self.out.push(Diagnostic::error("limit", name.span, what, "put sets together"));
                return;
            }
            let entries = match &value.value {
                Value::List(items) => Entries::inline(kind, items),
                _ => self.list(kind, value),
            };
            let name = Placed { value: name.text().to_owned(), span: name.span };
            self.sets.insert(name.value.clone(), Set { name, kind, entries });
        }
    }

    /// The entries of a file.
    fn list(&mut self, kind: Kind, node: &Node) -> Entries {
        let Some(file) = node.get("file") else { return Entries::none(kind) };
        let Ok(path) = inside(file.text()) else { return Entries::none(kind) };
        let text = match self.files.read(&path) {
            Ok(text) => text,
            Err(e) => {
                self.out.push(Diagnostic::error("unreadable", file.span, e.what, e.fix));
                return Entries::none(kind);
            }
        };
        let before = self.out.errors();
        let entries = Entries::file(kind, &self.files.name(&path), &text, self.sources, self.out);
        if entries.len() == 0 && self.out.errors() == before {
            let what = format!(
                "the file `{path}` has no entry: the set matches nothing, and `not-in` it everything"
            );
            self.out.push(Diagnostic::error("empty-set", file.span, what, "add an entry, or remove the set"));
        }
        if !self.read.contains(&path) {
            self.read.push(path);
        }
        entries
    }
}

impl Document {
    /// Checks what names refer to, and what contradicts itself.
    fn names(&mut self, root: &Node, out: &mut Findings) {
        self.ids(out);
        self.uses(out);
        self.traffic(root, out);
        self.path_length(root, out);
        let default = root.get("traffic").and_then(|t| t.get("default"));
        if self.chains[Chain::Traffic as usize].rules.is_empty() || default.is_some() {
            return;
        }
        if let Some(node) = root.get("traffic").and_then(|t| t.get("rules")) {
            let fix = "add `default: {class: …}` to `traffic`";
            let what = "the key `default` is missing: which class where no rule matches?";
            out.push(Diagnostic::error("missing-key", node.span, what, fix));
        }
    }

    fn ids(&self, out: &mut Findings) {
        for rules in &self.chains {
            let mut known: BTreeMap<&str, Span> = BTreeMap::new();
            for rule in &rules.rules {
                if let Some(first) = known.insert(&rule.id.value, rule.id.span) {
                    let what = format!("the id `{}` is taken", rule.id.value);
                    let finding =
                        Diagnostic::error("duplicate-id", rule.id.span, what, "give each rule its own id");
                    out.push(finding.with(first, "the first"));
                }
            }
            if let Some(rule) = rules.rules.get(RULES_MAX) {
                let what = format!("this chain has more than {RULES_MAX} rules");
                out.push(Diagnostic::error("limit", rule.id.span, what, "put addresses and words into sets"));
            }
        }
        let mut known: BTreeMap<&str, Span> = BTreeMap::new();
        for id in self.alarms.iter().filter_map(|a| a.get("id")) {
            if let Some(first) = known.insert(id.text(), id.span) {
                let what = format!("the id `{}` is taken", id.text());
                let finding = Diagnostic::error("duplicate-id", id.span, what, "give each alarm its own id");
                out.push(finding.with(first, "the first"));
            }
        }
    }

    /// Each set that is named must be there and of the right kind; each that is there should be named.
    fn uses(&self, out: &mut Findings) {
        let mut used: BTreeSet<&str> = BTreeSet::new();
        for rule in self.chains.iter().flat_map(|c| &c.rules) {
            let m = &rule.matching;
            for name in m.peer_in.iter().chain(&m.peer_not_in) {
                self.named(name, true, out);
                used.insert(&name.value);
            }
            for name in m.content_in.iter().chain(&m.content_not_in) {
                self.named(name, false, out);
                used.insert(&name.value);
            }
            for group in &m.groups {
                self.group(group, out);
            }
            if let Some((min, max)) = m.sizes
                && min > max
            {
                let what = "no file is that large and that small: this rule can never match";
                out.push(Diagnostic::error("contradiction", m.span, what, "write `min` ≤ `max`"));
            }
        }
        for budget in &self.budgets {
            self.named(&budget.peers, true, out);
            used.insert(&budget.peers.value);
        }
        for set in
            self.sets.values().filter(|s| s.kind != Kind::Group && !used.contains(s.name.value.as_str()))
        {
            let what = format!("no rule names the set `{}`", set.name.value);
            out.push(Diagnostic::warning("unused-set", set.name.span, what, "use it, or remove it"));
        }
    }

    fn named(&self, name: &Placed<String>, peers: bool, out: &mut Findings) {
        let what = if peers { "peers" } else { "content" };
        match self.sets.get(&name.value) {
            Some(set) if set.kind.is_peers() == peers => {}
            Some(set) => {
                let key = set.kind.key();
                let is = if peers { "content" } else { "peers" };
                let message =
                    format!("`{}` is a set of {is} (`{key}`), but {what} must stand here", name.value);
                let fix = if peers {
                    format!("write `content: {{in: {}}}`", name.value)
                } else {
                    format!("write `peer: {{in: {}}}`", name.value)
                };
                out.push(
                    Diagnostic::error("set-kind", name.span, message, fix)
                        .with(set.name.span, "defined here"),
                );
            }
            None => {
                let known = self.sets.values().filter(|s| s.kind.is_peers() == peers).map(|s| &*s.name.value);
                let message = format!("there is no set `{}`", name.value);
                let fix = format!("{}, or define it under `sets`", choose(&name.value, known));
                out.push(Diagnostic::error("undefined-set", name.span, message, fix));
            }
        }
    }

    fn group(&self, group: &Placed<String>, out: &mut Findings) {
        let own = self.sets.values().filter_map(|s| match &s.entries {
            Entries::Group(names) => Some(names),
            _ => None,
        });
        let known: Vec<&str> =
            dialect::GROUPS.iter().map(|(name, _)| *name).chain(own.flatten().map(String::as_str)).collect();
        if !known.contains(&group.value.as_str()) {
            let what = format!("there is no group `{}`", group.value);
            let fix = format!(
                "{}; groups of your own are named in a set `{{group: […]}}`",
                choose(&group.value, known)
            );
            out.push(Diagnostic::error("undefined-group", group.span, what, fix));
        }
    }

    fn traffic(&self, root: &Node, out: &mut Findings) {
        for (i, class) in self.classes.iter().enumerate() {
            if class.rate_bit_s > class.ceil_bit_s {
                let what =
                    format!("the class `{}` is sure to get more than it gets at most", class.name.value);
                out.push(Diagnostic::error("contradiction", class.rate_span, what, "write `rate` ≤ `ceil`"));
            }
            if let Some(other) = self.classes[..i].iter().find(|c| c.dscp == class.dscp) {
                let what = format!(
                    "the classes `{}` and `{}` are marked alike: the network cannot tell them apart",
                    other.name.value, class.name.value
                );
                let finding =
                    Diagnostic::error("conflicting-classes", class.dscp_span, what, "mark one differently");
                out.push(finding.with(other.dscp_span, "the same mark"));
            }
        }
        let limits =
            [("classes", self.classes.len(), CLASSES_MAX), ("budgets", self.budgets.len(), BUDGETS_MAX)];
        for (key, count, max) in limits {
            if let Some(node) = root.get("traffic").and_then(|t| t.get(key))
                && count > max
            {
                let what = format!("there are more than {max} {key}");
                out.push(Diagnostic::error("limit", node.span, what, "put some together"));
            }
        }
        let rules = self.chains[Chain::Traffic as usize].rules.iter().map(|r| (&r.then, r.then_span));
        let budgets = self.budgets.iter().map(|b| (&b.then, b.then_span));
        let default = root.get("traffic").and_then(|t| t.get("default"));
        let default = default.map(|d| (&self.chains[Chain::Traffic as usize].default, d.span));
        for (action, span) in rules.chain(budgets).chain(default) {
            if let Action::Class(name) = action
                && !self.classes.iter().any(|c| c.name.value == *name)
            {
                let what = format!("there is no class `{name}`");
                let fix = choose(name, self.classes.iter().map(|c| &*c.name.value));
                out.push(Diagnostic::error("undefined-class", span, what, fix));
            }
        }
        let facts: Vec<String> =
            self.budgets.iter().map(|b| crate::facts::budget_fact(&b.name.value)).collect();
        for (i, fact) in facts.iter().enumerate() {
            if facts[..i].contains(fact) {
                let what = format!("two budgets would both be `{fact}`");
                let span = self.budgets[i].name.span;
                out.push(Diagnostic::error("duplicate-id", span, what, "rename one of the two"));
            }
        }
    }

    fn path_length(&self, root: &Node, out: &mut Findings) {
        let Some(max) = &self.path_length_max else { return };
        let routing = &self.chains[Chain::Routing as usize];
        let default = root.get("routing").and_then(|r| r.get("default"));
        let default = default.map(|node| ("default", &routing.default, node.span));
        let rules = routing.rules.iter().map(|r| (r.id.value.as_str(), &r.then, r.then_span));
        for (id, action, span) in rules.chain(default) {
            if let Action::Forward(forward) = action
                && forward.ttl > max.value
            {
                let what = format!(
                    "`{id}` lets messages go {} hops, but `path-length` ends them after {}",
                    forward.ttl, max.value
                );
                let fix = "lower `ttl`, or raise `path-length`";
                let finding = Diagnostic::error("contradiction", span, what, fix);
                out.push(finding.with(max.span, "the limit"));
            }
        }
    }
}
