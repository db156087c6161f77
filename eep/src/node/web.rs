//! Webs: several services that are placed together, or not at all, and the addresses by which they reach each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use topology::NodeId;
use topology::soar::Metric;

use crate::config::ServiceName;
use crate::config::web::{COPIES_MAX, Link, Member, Web};
use crate::mesh::Mesh;
use crate::mesh::find::parse_id;
use crate::mesh::requests::Question;
use crate::node::place::{Prepared, Terms};
use crate::node::placed::PlacedBy;
use crate::node::placement::{Lease, PlaceRequest, PlacementView};
use crate::node::progress::OnProgress;
use crate::node::{Node, lock, refusals};
use crate::problem::Problem;
use crate::state::placements::Placement;

/// Connections that one link carries at a time; further ones wait in the system's queue.
const CARRIED_MAX: usize = 1024;
/// How often it is looked for services whose links are not open.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the owner may take to say where a service runs.
const WHERE: Duration = Duration::from_secs(5);

/// A web as it was placed.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct WebView {
    /// What it is called.
    pub name: String,
    /// Its services, in the order of the file.
    pub placements: Vec<PlacementView>,
}

/// What the node of a linked service asks the owner: where the other one runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WhereIs {
    lease: Lease,
    to: String,
}

impl Node {
    /// Places all services of a web. All of it is checked, and the nodes for it are looked for, before any of it is placed;
    /// where one cannot be placed, those that were are taken back.
    ///
    /// # Errors
    /// What is wrong with which of them. Nothing was changed.
    pub async fn place_web(&self, web: &Web, on: OnProgress<'_>) -> Result<WebView, Box<Problem>> {
        web.check().map_err(|(service, words)| {
            let problem = Problem::words("bad-request", 422, &words);
            match service.and_then(|i| web.services.get(i)?.service.name.as_ref()) {
                Some(name) => problem.at(name.to_string()),
                None => problem,
            }
        })?;
        drop(self.reserve_new(&web.web)?);
        let known = self.state.placements()?;
        if known.iter().any(|p| p.name == web.web || p.web.as_ref() == Some(&web.web)) {
            return Err(refusals::name_in_use(&web.web));
        }
        let wrong = |words: String| Problem::words("bad-request", 422, &words);
        let mut prepared = Vec::new();
        for member in &web.services {
            let at = member.place().map_err(wrong)?;
            let copy_of = member.copies.and(member.service.name.as_ref());
            for name in member.names().map_err(wrong)? {
                let mut request = PlaceRequest { service: member.service.clone(), at: at.clone() };
                request.service.name = Some(name.clone());
                let terms = Terms {
                    web: Some(web.web.clone()),
                    copy_of: copy_of.cloned(),
                    links: member.links.clone(),
                    serve: member.service.name.as_ref().is_some_and(|name| web.is_linked_to(name)),
                    ..Terms::default()
                };
                let one = self.prepare_placement(&request, terms, on).await;
                let one = one.and_then(|one| enough_nodes(&one, member).map(|()| one));
                let one = one.map_err(|problem| of_web(web, name.as_str(), problem, &[]))?;
                prepared.push((copy_of.cloned(), one));
            }
        }
        let mut placements: Vec<PlacementView> = Vec::new();
        let mut taken: BTreeMap<ServiceName, Vec<NodeId>> = BTreeMap::new();
        for (copy_of, mut one) in prepared {
            let name = one.name().to_owned();
            let mut nobody = Vec::new();
            let beside = match copy_of {
                Some(of) => taken.entry(of).or_default(),
                None => &mut nobody,
            };
            one.not_on(beside);
            match self.carry_out(one, on).await {
                Ok(view) => {
                    beside.extend(view.node.as_ref().and_then(|node| parse_id(&node.id)));
                    placements.push(view);
                }
                Err(problem) => {
                    let placed: Vec<String> = placements.into_iter().map(|view| view.name).collect();
                    for name in placed.iter().rev() {
                        if let Err(problem) = self.withdraw(name).await {
                            tracing::warn!(service = name, %problem, "what was placed of a web is not taken back");
                        }
                    }
                    return Err(of_web(web, &name, problem, &placed));
                }
            }
        }
        Ok(WebView { name: web.web.to_string(), placements })
    }

    /// Withdraws all services of a web; none where there is no web of this name.
    pub(super) async fn withdraw_web(&self, name: &str) -> Result<Option<()>, Box<Problem>> {
        let placements = self.state.placements()?;
        let of_web = placements.iter().filter(|p| p.web.as_ref().is_some_and(|web| web.as_str() == name));
        let names: Vec<String> = of_web.map(|p| p.name.to_string()).collect();
        for name in &names {
            self.withdraw(name).await?;
        }
        Ok((!names.is_empty()).then_some(()))
    }

    /// Says where a service runs to the node of one that is linked to it: the node's id, or, where there are copies of it, a
    /// line with the id and the name for each.
    pub(super) fn where_is(&self, peer: NodeId, asked: &WhereIs) -> Result<Vec<u8>, Box<Problem>> {
        let placements = self.state.placements()?;
        let asker = placements.iter().find(|p| {
            p.name.as_str() == asked.lease.name
                && p.epoch == asked.lease.epoch
                && p.node.as_deref() == Some(&peer.to_string())
        });
        let linked = asker.filter(|p| p.links.iter().any(|link| link.to.as_str() == asked.to));
        let is_meant = |p: &&Placement| {
            linked.is_some_and(|asker| p.web == asker.web)
                && p.copy_of.as_ref().unwrap_or(&p.name).as_str() == asked.to
                && self.is_alive(p)
        };
        let line = |p: &Placement| match (&p.node, &p.copy_of) {
            (Some(node), Some(_)) => Some(format!("{node} {}", p.name)),
            (node, _) => node.clone(),
        };
        let lines: Vec<String> = placements.iter().filter(is_meant).filter_map(line).collect();
        if lines.is_empty() {
            return Err(Problem::new("runs-nowhere", 503, format!("{} runs nowhere now", asked.to)));
        }
        Ok(lines.join("\n").into_bytes())
    }

    /// Opens the links of a service that is placed here.
    ///
    /// # Errors
    /// An address cannot be had. Those that were opened are closed again.
    pub(super) async fn open_links(&self, name: &str, by: &PlacedBy) -> Result<(), Box<Problem>> {
        let (Some(node), Ok(mesh)) = (self.this.get(), self.mesh()) else { return Ok(()) };
        let key = (name.to_owned(), by.epoch);
        if by.links.is_empty() || lock(&self.links).contains_key(&key) {
            return Ok(());
        }
        // What it had under a former epoch, at the same addresses.
        self.close_links(name).await;
        let mut opened = Vec::new();
        for link in &by.links {
            let listener = TcpListener::bind(link.listen).await.map_err(|e| {
                Problem::new(
                    "web-link",
                    409,
                    format!("the link to {} cannot listen on this node: {e}", link.to),
                )
                .at(link.listen.to_string())
                .fix("choose another port for it")
            })?;
            opened.push((listener, link.clone()));
        }
        let lease = Lease { name: name.to_owned(), epoch: by.epoch };
        let tasks = opened.into_iter().map(|(listener, link)| {
            let way = Way {
                node: node.clone(),
                mesh: mesh.clone(),
                owner: by.owner.clone(),
                lease: lease.clone(),
                link,
            };
            tokio::spawn(way.carry_all(listener))
        });
        let tasks: Vec<_> = tasks.collect();
        lock(&self.links).insert(key, Links(tasks));
        Ok(())
    }

    /// Closes the links of a service; their addresses are free when this returns.
    pub(super) async fn close_links(&self, name: &str) {
        let of_it: Vec<Links> = {
            let mut links = lock(&self.links);
            let keys: Vec<_> = links.keys().filter(|(n, _)| n == name).cloned().collect();
            keys.iter().filter_map(|key| links.remove(key)).collect()
        };
        for mut links in of_it {
            for task in &mut links.0 {
                task.abort();
                // It ends by that, as a rule.
                let _ = task.await;
            }
        }
    }

    /// Closes the links of services that are not here any more, and opens those of services that came back, until the node
    /// ends.
    pub async fn look_after_links(self: &Arc<Self>) {
        let mut ending = self.ending();
        loop {
            let placed = self.placed();
            lock(&self.links).retain(|(name, epoch), _| {
                placed.iter().any(|(n, by)| n == name && by.epoch == *epoch)
                    || lock(&self.busy).iter().any(|busy| busy.as_str() == name)
            });
            for (name, by) in placed {
                if let Err(problem) = self.open_links(&name, &by).await {
                    tracing::warn!(service = name, %problem, "a link of a web is not open");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = ending.wait_for(|ending| *ending) => return,
            }
        }
    }
}

/// The open links of one service; closed when dropped.
#[derive(Debug)]
pub(super) struct Links(Vec<JoinHandle<()>>);

impl Drop for Links {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// The way of one link.
#[derive(Clone)]
struct Way {
    node: std::sync::Weak<Node>,
    mesh: Mesh,
    owner: String,
    lease: Lease,
    link: Link,
}

impl Way {
    async fn carry_all(self, listener: TcpListener) {
        let carried = Arc::new(Semaphore::new(CARRIED_MAX));
        loop {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&carried).acquire_owned().await else { return };
            let Ok((tcp, _)) = listener.accept().await else { continue };
            let way = self.clone();
            tokio::spawn(async move {
                if let Err(problem) = way.carry(tcp).await {
                    tracing::info!(from = way.lease.name, to = %way.link.to, why = problem.title, "no stream in the web");
                }
                drop(permit);
            });
        }
    }

    async fn carry(&self, mut tcp: TcpStream) -> Result<(), Box<Problem>> {
        let gone = || Problem::new("ending", 503, "the node is ending");
        let asked = WhereIs { lease: self.lease.clone(), to: self.link.to.to_string() };
        let owner = parse_id(&self.owner).ok_or_else(gone)?;
        let answer = if owner == self.mesh.me().id {
            self.node.upgrade().ok_or_else(gone)?.where_is(owner, &asked)?
        } else {
            let body = serde_json::to_vec(&asked).unwrap_or_default();
            let question = Question::WhereIs(body);
            let answer = tokio::time::timeout(WHERE, self.mesh.ask(owner, &question)).await;
            answer.map_err(|_| Problem::new("node-unreachable", 504, "the owner does not answer"))??
        };
        let mut last = gone();
        for (node, name) in self.nearest_first(&String::from_utf8_lossy(&answer)).await {
            if node != self.mesh.me().id {
                match self.mesh.open(node, &name).await {
                    Ok(stream) => {
                        self.mesh.carry(tcp, stream).await;
                        return Ok(());
                    }
                    Err(e) => last = Problem::new("node-unreachable", 502, e.to_string()),
                }
                continue;
            }
            match self.connect_here(&name).await {
                Ok(mut beside) => {
                    let (_, _) = (tcp.set_nodelay(true), beside.set_nodelay(true));
                    // Who ends it, ends it for both.
                    let _ = tokio::io::copy_bidirectional(&mut tcp, &mut beside).await;
                    return Ok(());
                }
                Err(problem) => last = problem,
            }
        }
        Err(last)
    }

    /// The nodes of an owner's answer, the nearest first, with what the service is called there.
    async fn nearest_first(&self, answer: &str) -> Vec<(NodeId, String)> {
        let lines = answer
            .lines()
            .take(COPIES_MAX)
            .map(|line| line.split_once(' ').unwrap_or((line, self.link.to.as_str())));
        let named: BTreeMap<NodeId, String> =
            lines.filter_map(|(id, name)| Some((parse_id(id)?, name.to_owned()))).collect();
        let sorted = self.mesh.by_cost(named.keys().copied().collect(), Metric::RoundTrip).await;
        sorted.into_iter().filter_map(|(id, _)| Some((id, named.get(&id)?.clone()))).collect()
    }

    /// Connects to a service of this node.
    async fn connect_here(&self, name: &str) -> Result<TcpStream, Box<Problem>> {
        let nowhere = |words: String| Problem::new("runs-nowhere", 503, words);
        let address: Option<SocketAddr> = self.node.upgrade().and_then(|node| node.listener_of(name));
        let address = address.ok_or_else(|| nowhere("it takes no connections now".to_owned()))?;
        TcpStream::connect(crate::mesh::forward::local(address)).await.map_err(|e| nowhere(e.to_string()))
    }
}

/// Whether there is a node for each copy.
fn enough_nodes(one: &Prepared, member: &Member) -> Result<(), Box<Problem>> {
    match member.copies {
        Some(copies) if one.candidates().len() < copies => Err(Problem::new(
            "no-such-node",
            404,
            format!("{copies} copies run on as many nodes, and {} fit", one.candidates().len()),
        )
        .fix("ask for fewer copies, or see with `eep topology regions` who is there")),
        _ => Ok(()),
    }
}

/// What is wrong with a service of a web, and what became of the others.
fn of_web(web: &Web, name: &str, mut problem: Box<Problem>, taken_back: &[String]) -> Box<Problem> {
    problem.title = format!("the web {} is not placed: {name}: {}", web.web, problem.title);
    if !taken_back.is_empty() {
        problem.title += &format!(" ({} taken back)", taken_back.join(", "));
    }
    problem
}
