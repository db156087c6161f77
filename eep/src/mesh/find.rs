//! Finding nodes: by id, by name, by what they offer, by the prefixes that they serve, or any at all.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant as Clock};

use futures_util::{StreamExt as _, stream};
use ipnet::IpNet;
use serde::Serialize;
use tokio::time::timeout;
use topology::dht::{Key, Outcome};
use topology::soar::Metric;
use topology::{Contact, NodeId};

use crate::mesh::views::{By, NodeFacts, NodeRef};
use crate::mesh::{Mesh, key_of_name};
use crate::problem::Problem;
use crate::proxylet::digest::Digest;

/// How long a lookup may take: several rounds of questions that are not answered.
const LOOKUP: Duration = Duration::from_secs(10);
/// Nodes that are asked for their facts at a time, and in all.
const FACTS_AT_A_TIME: usize = 8;
const FACTS_MAX: usize = 256;
/// How long a node may take to tell its facts.
const FACTS: Duration = Duration::from_secs(3);
/// How long they are believed.
const FACTS_AGE: Duration = Duration::from_secs(20);
/// Holders of a record that are looked at.
const HOLDERS_MAX: usize = 16;
/// The least digits of an id that stand for it.
const ID_DIGITS_MIN: usize = 8;

/// Facts of other nodes, with when they were told.
pub(super) type FactsTable = std::sync::Mutex<BTreeMap<NodeId, (Clock, NodeFacts)>>;

/// What was found.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct FoundView {
    /// What was looked for.
    pub what: String,
    /// Who that is; empty where nobody.
    pub nodes: Vec<FoundNode>,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
}

/// A node that was found.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct FoundNode {
    /// Who.
    #[serde(flatten)]
    pub node: NodeRef,
    /// Where it is reached; none where only others reach it.
    pub address: Option<String>,
    /// What it costs to reach it, in the unit asked for; none where the map shows no way.
    pub cost: Option<f64>,
}

/// What a node says of itself, and how it was asked.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct FactsView {
    /// Who.
    pub node: NodeRef,
    /// The neighbour over which it was asked; itself where there is a connection.
    pub via: NodeRef,
    /// How long it took, in milliseconds.
    pub took_ms: f64,
    /// What it says.
    pub facts: NodeFacts,
}

/// Reads an id in hexadecimal.
#[must_use]
pub fn parse_id(text: &str) -> Option<NodeId> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    Some(NodeId::from_bytes(bytes.try_into().ok()?))
}

fn nobody(what: &str) -> Box<Problem> {
    Problem::new("no-such-node", 404, format!("no node {what:?} was found"))
        .fix("see with `eep topology map` who is there")
}

impl Mesh {
    /// The node that a text means: an id or the first digits of one, `NAME`, `NAME@DOMAIN`, or `self`.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub async fn resolve(&self, text: &str) -> Result<NodeId, Box<Problem>> {
        let me = self.me();
        if text == "self" || text == me.name || text == me.full_name() {
            return Ok(me.id);
        }
        if let Some(id) = parse_id(text) {
            return Ok(id);
        }
        let domains = std::sync::Arc::clone(&self.domains);
        let known = self.ask.core(move |core, _| {
            let on_map: Vec<NodeId> = core.soar.map().nodes().collect();
            let all = on_map.into_iter().chain(core.links.keys().copied());
            all.map(|id| (id, domains.known(id))).collect::<BTreeMap<_, _>>()
        });
        let known = known.await.unwrap_or_default();
        let is_prefix = text.len() >= ID_DIGITS_MIN && text.bytes().all(|b| b.is_ascii_hexdigit());
        let prefix = text.to_ascii_lowercase();
        let meant: Vec<NodeId> = known
            .iter()
            .filter(|(id, peer)| {
                peer.as_ref().is_some_and(|p| p.name == text || p.full_name() == text)
                    || (is_prefix && id.to_string().starts_with(&prefix))
            })
            .map(|(id, _)| *id)
            .collect();
        match meant[..] {
            [id] => return Ok(id),
            [] => {}
            _ => {
                return Err(Problem::new(
                    "ambiguous-node",
                    409,
                    format!("{} nodes are called {text:?}", meant.len()),
                )
                .fix("say which with NAME@DOMAIN or with the id"));
            }
        }
        let full = if text.contains('@') { text.to_owned() } else { format!("{text}@{}", me.domain) };
        let named = self.holders(key_of_name(&full)).await?.into_iter().map(|contact| contact.id);
        let named: Vec<NodeId> = stream::iter(named)
            .map(|id| async move { self.facts(id).await.ok().map(|facts| (id, facts)) })
            .buffered(FACTS_AT_A_TIME)
            .filter_map(|found| async { found })
            // Who publishes a name that is not its own is passed over.
            .filter(|(_, facts)| std::future::ready(format!("{}@{}", facts.name, facts.domain) == full))
            .map(|(id, _)| id)
            .collect()
            .await;
        named.first().copied().ok_or_else(|| nobody(text))
    }

    /// Who holds a record, nearest in no particular order, at most [`HOLDERS_MAX`].
    pub(crate) async fn holders(&self, key: Key) -> Result<Vec<Contact>, Box<Problem>> {
        let lookup = self.ask.core(move |core, now| core.find_holders(now, key));
        match self.outcome(lookup.await).await? {
            Outcome::Holders(mut holders) => {
                holders.truncate(HOLDERS_MAX);
                Ok(holders)
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn outcome(
        &self,
        lookup: Option<Result<tokio::sync::oneshot::Receiver<Outcome>, topology::dht::Busy>>,
    ) -> Result<Outcome, Box<Problem>> {
        let ended = || Problem::new("ending", 503, "the mesh has ended").fix("start the node again");
        let lookup = lookup.ok_or_else(ended)?;
        let lookup = lookup.map_err(|busy| Problem::new("busy", 503, busy.to_string()).fix("try again"))?;
        Ok(timeout(LOOKUP, lookup).await.ok().and_then(Result::ok).unwrap_or(Outcome::NotFound))
    }

    /// Looks for something: a node (see [`Self::resolve`]), `service:NAME`, `sha256:HEX`, or `random`.
    ///
    /// # Errors
    /// It cannot be looked for. That nothing was found is no error, save where a node was named.
    pub async fn find(&self, what: &str, by: By) -> Result<FoundView, Box<Problem>> {
        let began = Clock::now();
        let contacts: Vec<(NodeId, Option<Contact>)> = if what == "random" {
            let lookup = self.ask.core(|core, now| core.find_random(now));
            match self.outcome(lookup.await).await? {
                Outcome::Node(contact) => vec![(contact.id, Some(contact))],
                _ => Vec::new(),
            }
        } else if let Some(name) = what.strip_prefix("service:") {
            self.with_contacts(self.holders(Key::service(name)).await?)
        } else if let Some(hex) = what.strip_prefix("sha256:") {
            let digest: Digest = hex.parse().map_err(|_| {
                Problem::new("bad-request", 400, format!("{hex:?} is not a SHA-256"))
                    .fix("give its 64 hexadecimal digits")
            })?;
            self.with_contacts(self.holders(Key::digest(digest.bytes())).await?)
        } else {
            let id = self.resolve(what).await?;
            let known = self.ask.core(move |core, _| core.contact(id)).await.flatten();
            let contact =
                if known.is_some() || id == self.me().id { known } else { self.look_up(id).await? };
            let on_map = self.ask.core(move |core, _| core.soar.map().nodes().any(|n| n == id)).await;
            if contact.is_none() && on_map != Some(true) {
                return Err(nobody(what));
            }
            vec![(id, contact)]
        };
        let domains = std::sync::Arc::clone(&self.domains);
        let nodes = self.ask.core(move |core, _| {
            let mut nodes: Vec<FoundNode> = Vec::new();
            for (id, contact) in contacts {
                let cost = core.soar.nearest(by.metric(), &[id]).map(|(_, cost)| cost as f64 / 1000.0);
                let address = contact.or_else(|| core.contact(id)).map(|c| c.addr.to_string());
                nodes.push(FoundNode { node: NodeRef::of(&domains, id), address, cost });
            }
            // The nearest first, those without a known cost last.
            nodes.sort_by(|a, b| a.cost.unwrap_or(f64::MAX).total_cmp(&b.cost.unwrap_or(f64::MAX)));
            nodes
        });
        let nodes = nodes.await.unwrap_or_default();
        Ok(FoundView { what: what.to_owned(), nodes, took_ms: began.elapsed().as_secs_f64() * 1000.0 })
    }

    /// Who holds code, the nearest first; those to whom no way is on the map come last.
    pub(crate) async fn nearest_holders(&self, sha256: [u8; 32]) -> Result<Vec<NodeId>, Box<Problem>> {
        let holders =
            self.holders(Key::digest(&sha256)).await?.into_iter().map(|contact| contact.id).collect();
        Ok(self.by_cost(holders, Metric::RoundTrip).await.into_iter().map(|(id, _)| id).collect())
    }

    /// A node as it is shown.
    #[must_use]
    pub fn node_ref(&self, id: NodeId) -> NodeRef {
        NodeRef::of(&self.domains, id)
    }

    fn with_contacts(&self, holders: Vec<Contact>) -> Vec<(NodeId, Option<Contact>)> {
        holders.into_iter().map(|contact| (contact.id, Some(contact))).collect()
    }

    async fn look_up(&self, id: NodeId) -> Result<Option<Contact>, Box<Problem>> {
        let lookup = self.ask.core(move |core, now| core.find_node(now, id));
        Ok(match self.outcome(lookup.await).await? {
            Outcome::Node(contact) => Some(contact),
            _ => None,
        })
    }

    /// What a node says of itself.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn facts(&self, id: NodeId) -> Result<NodeFacts, Box<Problem>> {
        if id == self.me().id {
            return Ok(self.own_facts().await);
        }
        let lock = || self.facts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known =
            lock().get(&id).filter(|(at, _)| at.elapsed() < FACTS_AGE).map(|(_, facts)| facts.clone());
        if let Some(facts) = known {
            return Ok(facts);
        }
        let (_, facts) = self.fresh_facts(id).await?;
        let mut table = lock();
        if table.len() >= FACTS_MAX {
            table.retain(|_, (at, _)| at.elapsed() < FACTS_AGE);
        }
        if table.len() < FACTS_MAX {
            table.insert(id, (Clock::now(), facts.clone()));
        }
        Ok(facts)
    }

    /// Asks a node about itself now, and shows the way on which that was done.
    ///
    /// # Errors
    /// There is no such node, or it cannot be reached.
    pub async fn node_view(&self, text: &str) -> Result<FactsView, Box<Problem>> {
        let began = Clock::now();
        let id = self.resolve(text).await?;
        let (via, facts) =
            if id == self.me().id { (id, self.own_facts().await) } else { self.fresh_facts(id).await? };
        let node = |id| NodeRef::of(&self.domains, id);
        Ok(FactsView {
            node: node(id),
            via: node(via),
            took_ms: began.elapsed().as_secs_f64() * 1000.0,
            facts,
        })
    }

    async fn fresh_facts(&self, id: NodeId) -> Result<(NodeId, NodeFacts), Box<Problem>> {
        let (peer, via, answer) = timeout(FACTS, self.ask_facts(id)).await.map_err(|_| {
            Problem::new("node-unreachable", 504, format!("the node {id} did not answer in time"))
                .fix("try again")
        })??;
        let mut facts: NodeFacts = serde_json::from_slice(&answer).map_err(|e| {
            Problem::new("strange-answer", 502, format!("the node {id} says what is not understood: {e}"))
        })?;
        // Who it is, its certificate says.
        (facts.name, facts.domain) = (peer.name, peer.domain);
        facts.prefixes.truncate(crate::config::mesh::PREFIXES_MAX);
        self.keep_what_it_may_say(&mut facts).await;
        Ok((via, facts))
    }

    /// Takes prefixes out of a node's words that its domain may not say it serves.
    async fn keep_what_it_may_say(&self, facts: &mut NodeFacts) {
        let said = facts.prefixes.len();
        facts.prefixes.retain(|prefix| self.domains.may_serve(&facts.domain, prefix));
        let refused = (said - facts.prefixes.len()) as u64;
        if refused > 0 {
            tracing::info!(
                node = facts.name,
                domain = facts.domain,
                refused,
                "prefixes that its domain may not serve"
            );
            self.ask.core(move |core, _| core.counts.prefixes_refused += refused).await;
        }
    }

    /// Whether a node is in a region, as far as something but its word speaks for it: for one of the own domain its word
    /// will do; one of another is in a region that is called after a node of that domain, or in this node's own, where its
    /// neighbours have measured that.
    async fn is_in(&self, id: NodeId, facts: &NodeFacts, region: NodeId) -> bool {
        let its = |node: NodeId| self.domains.known(node).is_some_and(|peer| peer.domain == facts.domain);
        if facts.domain == self.me().domain || its(region) {
            return true;
        }
        let measured = self.ask.core(move |core, _| {
            let ours = core.soar.locator().first() == Some(&region);
            let is_in = ours && core.soar.region(0).contains(&id);
            core.counts.regions_refused += u64::from(!is_in);
            is_in
        });
        measured.await == Some(true)
    }

    /// What all nodes on the map say of themselves, at most [`FACTS_MAX`], this node included; those that do not answer are
    /// left out.
    pub async fn all_facts(&self) -> Vec<(NodeId, NodeFacts)> {
        let known = self.ask.core(|core, _| {
            let on_map: Vec<NodeId> = core.soar.map().nodes().collect();
            on_map.into_iter().chain(core.links.keys().copied()).collect::<std::collections::BTreeSet<_>>()
        });
        let known = known.await.unwrap_or_default().into_iter().take(FACTS_MAX);
        let facts = stream::iter(known).map(|id| async move { Some((id, self.facts(id).await.ok()?)) });
        facts.buffered(FACTS_AT_A_TIME).filter_map(|found| async { found }).collect().await
    }

    /// Nodes for the users of a prefix: those that serve the longest prefix around it, the nearest by metric first. Where
    /// no node serves it, all nodes.
    pub async fn near_prefix(&self, prefix: IpNet, by: By) -> Vec<(NodeId, Option<f64>)> {
        let mut best: Vec<NodeId> = Vec::new();
        let mut length = None;
        let all = self.all_facts().await;
        for (id, facts) in &all {
            let covering = facts.prefixes.iter().filter(|p| p.contains(&prefix) || **p == prefix);
            let Some(longest) = covering.map(IpNet::prefix_len).max() else { continue };
            match length {
                Some(so_far) if longest < so_far => {}
                Some(so_far) if longest == so_far => best.push(*id),
                _ => (best, length) = (vec![*id], Some(longest)),
            }
        }
        let among = if best.is_empty() { all.iter().map(|(id, _)| *id).collect() } else { best };
        self.by_cost(among, by.metric()).await
    }

    /// Nodes of a region (by its id or its first digits), the nearest first.
    pub async fn in_region(&self, region: &str, by: By) -> Vec<(NodeId, Option<f64>)> {
        let all = self.all_facts().await;
        let region = region.to_ascii_lowercase();
        let mut members = Vec::new();
        for (id, facts) in all {
            let meant = facts.locator.iter().filter(|r| r.starts_with(&region)).find_map(|r| parse_id(r));
            if let Some(region) = meant
                && self.is_in(id, &facts, region).await
            {
                members.push(id);
            }
        }
        self.by_cost(members, by.metric()).await
    }

    /// These nodes, the cheapest to reach first; those to whom the map shows no way come last.
    pub(crate) async fn by_cost(&self, among: Vec<NodeId>, metric: Metric) -> Vec<(NodeId, Option<f64>)> {
        let sorted = self.ask.core(move |core, _| {
            let mut found: Vec<(NodeId, Option<f64>)> = among
                .into_iter()
                .map(|id| (id, core.soar.nearest(metric, &[id]).map(|(_, cost)| cost as f64 / 1000.0)))
                .collect();
            found.sort_by(|a, b| {
                a.1.unwrap_or(f64::MAX).total_cmp(&b.1.unwrap_or(f64::MAX)).then(a.0.cmp(&b.0))
            });
            found
        });
        sorted.await.unwrap_or_default()
    }

    /// The nearest nodes to a prefix, as a view.
    ///
    /// # Errors
    /// The mesh has ended.
    pub async fn nearest(&self, prefix: IpNet, by: By) -> Result<FoundView, Box<Problem>> {
        let began = Clock::now();
        let found = self.near_prefix(prefix, by).await;
        let domains = std::sync::Arc::clone(&self.domains);
        let nodes = self.ask.core(move |core, _| {
            let node = |(id, cost): (NodeId, Option<f64>)| FoundNode {
                node: NodeRef::of(&domains, id),
                address: core.contact(id).map(|c| c.addr.to_string()),
                cost,
            };
            found.into_iter().map(node).collect::<Vec<_>>()
        });
        let nodes = nodes.await.unwrap_or_default();
        Ok(FoundView { what: prefix.to_string(), nodes, took_ms: began.elapsed().as_secs_f64() * 1000.0 })
    }
}

/// A prefix or an address, as a prefix.
///
/// # Errors
/// It is neither.
pub fn parse_prefix(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or(address).map(|net| net.trunc()).map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        format!("{shown:?} is neither an address nor a prefix\nwrite one such as 192.0.2.0/24")
    })
}
