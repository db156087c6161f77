//! Services that this node places on others, and starts again elsewhere when their node has died.
//!
//! The node that places a service is its owner and alone decides who may run it: the record on its disk names one node and
//! an epoch. The node that runs it asks for its lease again and again, and counts the lease from when it asked; the owner
//! counts it from when it answered, which is later. So when the owner holds a lease for over, the service has stopped, and
//! it may name another node. A node that comes back after that is told that its epoch is void.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use topology::NodeId;

use crate::config::web::Link;
use crate::config::{ServiceEntry, ServiceName};
use crate::mesh::Mesh;
use crate::mesh::find::parse_id;
use crate::mesh::requests::Question;
use crate::mesh::views::NodeRef;
use crate::node::{Node, blocking, lock, refusals};
use crate::policy::carried::Carried;
use crate::problem::Problem;
use crate::state::placements::{Placement, Where};

/// How often it is looked for placed services whose node has died.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a node may take to run a service: it fetches and compiles it.
const PLACE: Duration = Duration::from_secs(120);
/// How long a node may take to say that it has let go of a service.
const WITHDRAW: Duration = Duration::from_secs(5);
/// How long a node may take to say how a service is.
const STATUS: Duration = Duration::from_secs(3);
/// The pause before another attempt where nobody would run a service.
const AGAIN: Duration = Duration::from_secs(5);

/// A service, and where it is to run.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceRequest {
    /// What is to run.
    pub service: ServiceEntry,
    /// Where.
    pub at: Where,
}

/// A placed service.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PlacementView {
    /// What it is called.
    pub name: String,
    /// Its code.
    pub sha256: String,
    /// Where it is to run.
    pub at: Where,
    /// The service of this node that has launched it, if one has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launched_by: Option<String>,
    /// The web that it is a part of, if it is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web: Option<String>,
    /// The service of the web that it is a copy of, if it is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy_of: Option<String>,
    /// Who may run it now; none while one is looked for.
    pub node: Option<NodeRef>,
    /// Whether that node has asked for its lease in time.
    pub alive: bool,
    /// How often it was started again since its node was not heard of.
    pub moves: u64,
    /// Whether it was stopped from here.
    pub stopped: bool,
}

/// A placed service, or the services of a web, as they are.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PlacedStatus {
    /// What the service or the web is called.
    pub name: String,
    /// Whether it is a web.
    pub web: bool,
    /// By name.
    pub services: Vec<PlacedService>,
}

/// One placed service, as it is.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PlacedService {
    /// Where it was placed.
    #[serde(flatten)]
    pub placement: PlacementView,
    /// What the node says on which it runs, as `GET /v1/services/{name}` does there; none where that node does not say.
    #[schema(value_type = Option<Object>)]
    pub service: Option<serde_json::Value>,
    /// Why that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// All placed services.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PlacementList {
    /// By name.
    pub placements: Vec<PlacementView>,
}

/// What a node is asked to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) name: ServiceName,
    pub(super) service: ServiceEntry,
    /// Its policy, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<Carried>,
    /// Addresses of the node that are to stand for other services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) links: Vec<Link>,
    /// Whether it takes streams from the mesh.
    #[serde(default)]
    pub(super) serve: bool,
    pub(super) epoch: u64,
    pub(super) lease_ms: u64,
}

/// What a node that runs a service asks about, or is told to give up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    pub(super) name: String,
    pub(super) epoch: u64,
}

/// What the owner knows beside what is on disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched {
    /// No lease that was given out before holds after this time.
    void_at: Instant,
    /// When to look for another node.
    next: Instant,
    /// Whether the node is being asked to run it: it is not yet missed.
    pub(super) placing: bool,
    /// Whether the node has said, of a service that is to be stopped, that it is.
    pub(super) stop_heard: bool,
}

impl Watched {
    fn new(void_at: Instant, next: Instant) -> Self {
        Self { void_at, next, placing: false, stop_heard: false }
    }
}

/// Leases that were given out.
#[derive(Debug, Default)]
pub(super) struct Leases(pub(super) BTreeMap<String, Watched>);

pub(super) fn withdrawn(name: &str) -> Box<Problem> {
    Problem::new("withdrawn", 409, format!("{name} was unloaded meanwhile"))
}

fn no_such(name: &str) -> Box<Problem> {
    Problem::new("no-such-placement", 404, format!("this node has placed no service called {name}"))
        .fix("see with `eep list` what there is")
}

impl Node {
    /// Asks one candidate after the other, each under an epoch of its own that is on disk before it is asked. Before that,
    /// nobody may run it: nothing is given out any more, and what was given out has to be over.
    pub(super) async fn settle(
        &self,
        mesh: &Mesh,
        placement: &mut Placement,
        candidates: Vec<NodeId>,
    ) -> Result<(), Box<Problem>> {
        let mut last =
            Problem::new("no-such-node", 404, "no node fits").fix("see with `eep topology map` who is there");
        let name = placement.name.to_string();
        for node in candidates {
            let void_at = lock(&self.leases).0.get(&name).map(|w| w.void_at);
            if let Some(void_at) = void_at {
                tokio::time::sleep_until(void_at.into()).await;
            }
            placement.lease_ms = lease_ms(mesh);
            self.name_holder(placement, Some(node)).await?;
            let order = Order {
                name: placement.name.clone(),
                service: placement.service.clone(),
                policy: placement.policy.clone(),
                links: placement.links.clone(),
                serve: placement.serve,
                epoch: placement.epoch,
                lease_ms: placement.lease_ms,
            };
            match self.order(mesh, node, &order).await {
                Ok(()) if self.is_placed(&name)? => return Ok(()),
                // It was withdrawn meanwhile; the node that runs it finds its epoch void.
                Ok(()) => return Err(withdrawn(&name)),
                Err(problem) => {
                    self.name_holder(placement, None).await?;
                    // What the node itself says is so: it does not run there. Where nothing was heard of it, it may.
                    if !["node-unreachable", "mesh-broken-off"].contains(&problem.code.as_str())
                        && let Some(watched) = lock(&self.leases).0.get_mut(&name)
                    {
                        watched.void_at = Instant::now();
                    }
                    last = problem;
                }
            }
        }
        Err(last)
    }

    /// Writes down who may run a service from now on, under a new epoch.
    async fn name_holder(&self, placement: &mut Placement, node: Option<NodeId>) -> Result<(), Box<Problem>> {
        placement.epoch += 1;
        placement.node = node.map(|node| node.to_string());
        self.write_down(placement).await
    }

    fn is_placed(&self, name: &str) -> Result<bool, Box<Problem>> {
        Ok(self.state.placements()?.iter().any(|p| p.name.as_str() == name))
    }

    async fn order(&self, mesh: &Mesh, node: NodeId, order: &Order) -> Result<(), Box<Problem>> {
        let body = serde_json::to_vec(order).map_err(|e| Problem::new("internal", 500, e.to_string()))?;
        if node == mesh.me().id {
            return self.run_placed(mesh.me().id, order.clone()).await;
        }
        let question = Question::Place(body);
        match tokio::time::timeout(PLACE, mesh.ask(node, &question)).await {
            Ok(answer) => answer.map(|_| ()),
            Err(_) => {
                Err(Problem::new("node-unreachable", 504, format!("the node {node} did not run it in time"))
                    .fix("try again, or name another with --at"))
            }
        }
    }

    /// Writes down what has become of a placed service, unless it was withdrawn.
    pub(super) async fn write_down(&self, placement: &Placement) -> Result<(), Box<Problem>> {
        let (state, kept) = (Arc::clone(&self.state), placement.clone());
        match blocking(move || state.change_placement(&kept)).await?? {
            true => Ok(()),
            false => Err(withdrawn(placement.name.as_str())),
        }
    }

    /// Begins to place a service; false where one of its name is being placed. A lease that an earlier service of the name
    /// may still have is kept in mind.
    pub(super) fn watch_new(&self, name: &str) -> bool {
        let now = Instant::now();
        let mut leases = lock(&self.leases);
        let watched = leases.0.entry(name.to_owned()).or_insert(Watched::new(now, now));
        !std::mem::replace(&mut watched.placing, true)
    }

    /// Answers a node that asks whether it may go on running a service.
    pub(super) fn renew(&self, peer: NodeId, lease: &Lease) -> Result<(), Box<Problem>> {
        // Held while the record is read: nobody else is named between the reading and the lease.
        let mut leases = lock(&self.leases);
        let placements = self.state.placements()?;
        let held = placements.iter().find(|p| {
            p.name.as_str() == lease.name
                && p.epoch == lease.epoch
                && p.node.as_deref() == Some(&peer.to_string())
        });
        let Some(held) = held else {
            return Err(Problem::new("lease-void", 410, format!("another node may run {}", lease.name)));
        };
        let now = Instant::now();
        let watched = leases.0.entry(lease.name.clone()).or_insert(Watched::new(now, now));
        watched.void_at = now + held.lease();
        let tell = held.stopped && !watched.stop_heard && !watched.placing;
        drop(leases);
        if tell && let Some(node) = self.this.get().and_then(std::sync::Weak::upgrade) {
            let name = lease.name.clone();
            tokio::spawn(async move { node.stop_again(&name).await });
        }
        Ok(())
    }

    /// Looks after placed services until the node ends: one whose node does not ask any more is run elsewhere.
    pub async fn look_after_placements(self: &Arc<Self>) {
        let Ok(mesh) = self.mesh().cloned() else { return };
        let mut ending = self.ending();
        let begun = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = ending.wait_for(|ending| *ending) => return,
            }
            let Ok(placements) = self.state.placements() else { continue };
            let now = Instant::now();
            lock(&self.leases).0.retain(|name, watched| {
                let known = placements.iter().any(|p| p.name.as_str() == name);
                known || watched.placing || watched.void_at > now
            });
            for placement in placements {
                let name = placement.name.as_str();
                let missed = {
                    let mut leases = lock(&self.leases);
                    // What was given out before this node was started again holds at most so long, whatever the node file
                    // says now.
                    let void_at = begun + placement.lease();
                    let watched = leases.0.entry(name.to_owned()).or_insert(Watched::new(void_at, void_at));
                    let missed =
                        !placement.stopped && !watched.placing && watched.void_at.max(watched.next) <= now;
                    if missed {
                        watched.placing = true;
                        watched.next = now + AGAIN;
                    }
                    missed
                };
                if missed {
                    let (node, mesh) = (Arc::clone(self), mesh.clone());
                    tokio::spawn(async move { node.run_elsewhere(&mesh, placement).await });
                }
            }
        }
    }

    async fn run_elsewhere(&self, mesh: &Mesh, mut placement: Placement) {
        let name = placement.name.clone();
        tracing::warn!(service = %name, node = placement.node.as_deref().unwrap_or("-"), "a placed service is not heard of");
        let dead = placement.node.as_deref().and_then(parse_id);
        let done = async {
            // From here on the node that had it is refused.
            self.name_holder(&mut placement, None).await?;
            let mut candidates = self.candidates(mesh, &placement.at).await?;
            // The one that is not heard of comes last: it may be back, and it may be the only one. Before it come those that
            // run another copy.
            let beside = self.beside(&placement)?;
            candidates.sort_by_key(|id| (Some(*id) == dead, beside.contains(id)));
            self.settle(mesh, &mut placement, candidates).await?;
            placement.moves += 1;
            self.write_down(&placement).await
        };
        if let Err(problem) = done.await {
            tracing::warn!(service = %name, %problem, "a placed service runs nowhere");
        }
        if let Some(watched) = lock(&self.leases).0.get_mut(name.as_str()) {
            watched.placing = false;
            watched.next = watched.next.max(Instant::now() + AGAIN);
        }
    }

    /// The nodes that run other copies of a service.
    fn beside(&self, placement: &Placement) -> Result<Vec<NodeId>, Box<Problem>> {
        let is_beside = |other: &Placement| {
            other.web == placement.web && other.copy_of == placement.copy_of && other.name != placement.name
        };
        let all = if placement.copy_of.is_some() { self.state.placements()? } else { Vec::new() };
        Ok(all.iter().filter(|p| is_beside(p)).filter_map(|p| p.node.as_deref().and_then(parse_id)).collect())
    }

    /// Has a placed service stopped and forgotten.
    ///
    /// # Errors
    /// There is none of this name, or it cannot be taken off the disk.
    pub async fn withdraw(&self, name: &str) -> Result<(), Box<Problem>> {
        let placement = self.state.placements()?.into_iter().find(|p| p.name.as_str() == name);
        let placement = placement.ok_or_else(|| no_such(name))?;
        self.forget_placement(name).await?;
        let Some(node) = placement.node.as_deref().and_then(parse_id) else { return Ok(()) };
        let mesh = self.mesh()?;
        let lease = Lease { name: name.to_owned(), epoch: placement.epoch };
        let let_go = if node == mesh.me().id {
            self.give_up_placed(node, &lease).await.is_ok()
        } else {
            let body = serde_json::to_vec(&lease).unwrap_or_default();
            // Where it cannot be told now, it is told when it asks for its lease.
            let told = tokio::time::timeout(WITHDRAW, mesh.ask(node, &Question::Withdraw(body))).await;
            matches!(told, Ok(Ok(_)))
        };
        let mut leases = lock(&self.leases);
        if let_go && leases.0.get(name).is_some_and(|watched| !watched.placing) {
            leases.0.remove(name);
        }
        Ok(())
    }

    /// Unloads a service that runs here, one that this node has placed elsewhere, or all those of a web.
    ///
    /// # Errors
    /// See [`Self::unload`] and [`Self::withdraw`].
    pub async fn unload_anywhere(&self, name: &str) -> Result<(), Box<Problem>> {
        if self.withdraw_web(name).await?.is_some() {
            return Ok(());
        }
        if self.is_placed(name)? { self.withdraw(name).await } else { self.unload(name).await }
    }

    pub(super) async fn forget_placement(&self, name: &str) -> Result<(), Box<Problem>> {
        let (state, key) = (Arc::clone(&self.state), name.to_owned());
        blocking(move || state.remove_placement(&key)).await??;
        Ok(())
    }

    /// All placed services.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn placements(&self) -> Result<PlacementList, Box<Problem>> {
        let placements = self.state.placements()?;
        Ok(PlacementList { placements: placements.iter().map(|p| self.placement_view(p)).collect() })
    }

    /// A service that this node has placed, or all those of a web, each as the node that runs it says it is now.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn placed_status(&self, name: &str) -> Result<PlacedStatus, Box<Problem>> {
        let all = self.state.placements()?;
        let mut meant: Vec<&Placement> = all.iter().filter(|p| p.name.as_str() == name).collect();
        let web = meant.is_empty();
        if web {
            meant.extend(all.iter().filter(|p| p.web.as_ref().is_some_and(|web| web.as_str() == name)));
        }
        if meant.is_empty() {
            return Err(refusals::no_such(name));
        }
        let asked = meant.into_iter().map(|placement| async {
            let (service, unknown) = match self.ask_status(placement).await {
                Ok(service) => (Some(service), None),
                Err(problem) => (None, Some(problem.title)),
            };
            PlacedService { placement: self.placement_view(placement), service, unknown }
        });
        Ok(PlacedStatus { name: name.to_owned(), web, services: futures_util::future::join_all(asked).await })
    }

    /// How a placed service is where it runs.
    pub(super) async fn ask_status(&self, placement: &Placement) -> Result<serde_json::Value, Box<Problem>> {
        let node = placement.node.as_deref().and_then(parse_id);
        let node = node.ok_or_else(|| Problem::new("runs-nowhere", 503, "it runs nowhere now"))?;
        let mesh = self.mesh()?;
        let lease = Lease { name: placement.name.to_string(), epoch: placement.epoch };
        let answer = if node == mesh.me().id {
            self.status_for(node, &lease)?
        } else {
            let body =
                serde_json::to_vec(&lease).map_err(|e| Problem::new("internal", 500, e.to_string()))?;
            let asked = tokio::time::timeout(STATUS, mesh.ask(node, &Question::Status(body))).await;
            asked.map_err(|_| Problem::new("node-unreachable", 504, "its node does not answer"))??
        };
        serde_json::from_slice(&answer).map_err(|e| Problem::new("strange-answer", 502, e.to_string()))
    }

    /// Whether the node that runs a service has asked for its lease in time.
    pub(super) fn is_alive(&self, placement: &Placement) -> bool {
        let leases = lock(&self.leases);
        let holds = leases.0.get(placement.name.as_str()).is_some_and(|w| w.void_at > Instant::now());
        holds && placement.node.is_some()
    }

    pub(super) fn placement_view(&self, placement: &Placement) -> PlacementView {
        let node = placement.node.as_deref().and_then(parse_id);
        PlacementView {
            name: placement.name.to_string(),
            sha256: placement.sha256.to_string(),
            at: placement.at.clone(),
            launched_by: placement.launched_by.as_ref().map(ToString::to_string),
            web: placement.web.as_ref().map(ToString::to_string),
            copy_of: placement.copy_of.as_ref().map(ToString::to_string),
            node: node.and_then(|id| Some(self.mesh().ok()?.node_ref(id))),
            alive: self.is_alive(placement),
            moves: placement.moves,
            stopped: placement.stopped,
        }
    }
}

pub(super) fn lease_ms(mesh: &Mesh) -> u64 {
    u64::try_from(mesh.settings().lease.as_millis()).unwrap_or(u64::MAX)
}
