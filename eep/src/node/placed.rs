//! Services that other nodes have placed here: run while their owner says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use topology::NodeId;

use crate::config::web::{LINKS_MAX, Link};
use crate::config::{ServiceEntry, Source};
use crate::host::grant::Grants;
use crate::mesh::Mesh;
use crate::mesh::find::parse_id;
use crate::mesh::requests::Question;
use crate::node::load::Origin;
use crate::node::placement::{Lease, Order};
use crate::node::rights::Trust;
use crate::node::{Node, lock, refusals};
use crate::problem::Problem;
use crate::proxylet::limits::ByteSize;
use crate::proxylet::permit::{Moment, Permit};
use crate::proxylet::status::State as Life;
use crate::state::desired::{Desired, Wanted};

/// Services that others may be placing here at one time.
pub(super) const PLACING_MAX: usize = 4;
/// The shortest and the longest lease that is taken.
const LEASE_RANGE_MS: std::ops::RangeInclusive<u64> = 4_000..=600_000;
/// How long a service may take from its order until it is seen to be here.
const ON_ITS_WAY: Duration = Duration::from_secs(600);
/// How often leases are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Who placed a service here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlacedBy {
    /// The owner's id.
    pub owner: String,
    /// The epoch that this node runs it under.
    pub epoch: u64,
    /// How long the lease holds, in milliseconds.
    pub lease_ms: u64,
    /// Addresses of this node that stand for other services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Whether it takes streams from the mesh.
    #[serde(default)]
    pub serve: bool,
}

impl PlacedBy {
    fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
}

impl Node {
    /// Runs a service that a peer places here. It runs when this returns, under a lease that was asked for before it
    /// was started.
    ///
    /// # Errors
    /// Why it does not run. Nothing was changed.
    pub(super) async fn run_placed(&self, owner: NodeId, order: Order) -> Result<(), Box<Problem>> {
        if !LEASE_RANGE_MS.contains(&order.lease_ms) {
            return Err(Problem::new(
                "bad-request",
                422,
                format!("a lease of {} ms does not work", order.lease_ms),
            ));
        }
        let links = order.links;
        if links.len() > LINKS_MAX || links.iter().any(|link| !link.listen.ip().is_loopback()) {
            return Err(Problem::new("bad-request", 422, "links listen on loopback addresses, and are few"));
        }
        let (epoch, lease_ms, serve) = (order.epoch, order.lease_ms, order.serve);
        let by = PlacedBy { owner: owner.to_string(), epoch, lease_ms, links, serve };
        let mut entry = order.service;
        entry.name = Some(order.name.clone());
        // Nobody else says which files are read here.
        if !matches!(entry.proxylet.url, Source::Mesh(..)) || order.policy.is_some() != entry.policy.is_some()
        {
            return Err(Problem::new(
                "bad-request",
                422,
                "a placed service's code and policy come over the mesh",
            ));
        }
        // Each of them may fetch and compile: the others wait. It is never closed.
        let _placing = self.placing.acquire().await.ok();
        // A former epoch of the same service gives way.
        let former =
            self.placed().into_iter().find(|(name, p)| *name == order.name.as_str() && p.owner == by.owner);
        if let Some((name, former)) = former {
            if former.epoch > by.epoch {
                return Err(Problem::new(
                    "lease-void",
                    410,
                    format!("a later order to run {name} was followed"),
                ));
            }
            self.unload(&name).await?;
        }
        self.may_be_placed(&entry)?;
        if let Some(policy) = order.policy {
            entry.policy = Some(self.lay_down(&order.name, policy).await?);
        }
        self.open_links(order.name.as_str(), &by).await?;
        let by = Origin { placed: Some(by), launched_by: None };
        self.load_with(&entry, Trust::AsWanted, None, by, &|_| {}).await.map(|_| ())
    }

    /// Whether there is room for one more placed service of this size.
    fn may_be_placed(&self, entry: &ServiceEntry) -> Result<(), Box<Problem>> {
        let quota = &self.mesh()?.settings().placed;
        let memory: Vec<u64> = {
            let services = lock(&self.services);
            let placed = services.values().filter(|held| held.desired.placed.is_some());
            placed.map(|held| held.desired.limits.memory.0).collect()
        };
        let refuse = |title: String| {
            Problem::new("quota", 409, title)
                .fix("name another node, or have its operator allow more under `mesh.placed`")
        };
        if memory.len() >= quota.services {
            return Err(refuse(format!(
                "{} services are placed on this node, as many as it takes",
                memory.len()
            )));
        }
        let wanted = memory.iter().sum::<u64>().saturating_add(entry.limits.memory.0);
        match quota.memory.filter(|most| wanted > most.0) {
            None => Ok(()),
            Some(most) => Err(refuse(format!(
                "with this one, placed services might take {}, and this node gives them {most}",
                ByteSize(wanted)
            ))),
        }
    }

    /// Whether this node lets placed services have these rights.
    ///
    /// # Errors
    /// The first right that it does not.
    pub(super) fn may_be_granted_here(&self, grants: &Grants) -> Result<(), Box<Problem>> {
        let Some(most) = &self.mesh()?.settings().placed.grant else { return Ok(()) };
        let most: Grants = most.iter().copied().collect();
        match grants.iter().find(|grant| !most.cover(&Grants::new([**grant]))) {
            None => Ok(()),
            Some(grant) => Err(Problem::new(
                "not-granted-here",
                403,
                format!("this node grants no placed service {grant}"),
            )
            .fix("name another node, or have its operator list it under `mesh.placed`")),
        }
    }

    /// Asks for the lease of a placed service right before it is started, whatever it is started for.
    ///
    /// # Errors
    /// Its owner does not answer, or lets another node run it.
    pub(super) async fn lease_before_start(&self, desired: &Desired) -> Result<(), Box<Problem>> {
        let Some(by) = &desired.placed else { return Ok(()) };
        let Some(owner) = parse_id(&by.owner) else { return Ok(()) };
        let (mesh, asked) = (self.mesh()?, Moment::now());
        let lease = Lease { name: desired.name.to_string(), epoch: by.epoch };
        self.ask_lease(mesh, owner, &lease, by.lease()).await?;
        self.permit_of(desired.name.as_str(), by).give(asked);
        Ok(())
    }

    /// The permit of a placed service, as its engine has it.
    pub(super) fn permit_of(&self, name: &str, by: &PlacedBy) -> Permit {
        self.with_lease(name, by, |held| held.permit.clone())
    }

    fn with_lease<T>(&self, name: &str, by: &PlacedBy, act: impl FnOnce(&mut HeldLease) -> T) -> T {
        let mut held = lock(&self.held_leases);
        act(held.entry((name.to_owned(), by.epoch)).or_insert_with(|| HeldLease::new(by)))
    }

    /// Services that others have placed here, with who did.
    pub(super) fn placed(&self) -> Vec<(String, PlacedBy)> {
        let services = lock(&self.services);
        let placed = services
            .values()
            .filter_map(|held| Some((held.desired.name.to_string(), held.desired.placed.clone()?)));
        placed.collect()
    }

    async fn ask_lease(
        &self,
        mesh: &Mesh,
        owner: NodeId,
        lease: &Lease,
        ttl: Duration,
    ) -> Result<(), Box<Problem>> {
        if owner == mesh.me().id {
            return self.renew(owner, lease);
        }
        let body = serde_json::to_vec(lease).map_err(|e| Problem::new("internal", 500, e.to_string()))?;
        match tokio::time::timeout(ttl / 4, mesh.ask(owner, &Question::Lease(body))).await {
            Ok(answer) => answer.map(|_| ()),
            Err(_) => Err(Problem::new("node-unreachable", 504, "the owner does not answer")),
        }
    }

    /// Asks for the leases of placed services again and again, until the node ends.
    pub async fn keep_leases(self: &Arc<Self>) {
        let Ok(mesh) = self.mesh().cloned() else { return };
        let mut ending = self.ending();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = ending.wait_for(|ending| *ending) => return,
            }
            let placed = self.placed();
            // What is on its way to be run has been given its permit already.
            lock(&self.held_leases).retain(|(name, epoch), held| {
                let known = placed.iter().any(|(n, by)| n == name && by.epoch == *epoch);
                known || held.made.elapsed() < ON_ITS_WAY
            });
            for (name, by) in placed {
                let free = self.with_lease(&name, &by, |lease| {
                    let free = !lease.busy && lease.next <= Instant::now();
                    lease.busy |= free;
                    free
                });
                self.stop_if_over(&name, &by);
                if free {
                    let (node, mesh) = (Arc::clone(self), mesh.clone());
                    tokio::spawn(async move { node.keep_lease(&mesh, &name, &by).await });
                }
            }
        }
    }

    async fn keep_lease(&self, mesh: &Mesh, name: &str, by: &PlacedBy) {
        let Some(owner) = parse_id(&by.owner) else { return };
        let asked = Moment::now();
        let lease = Lease { name: name.to_owned(), epoch: by.epoch };
        let answer = self.ask_lease(mesh, owner, &lease, by.lease()).await;
        match answer {
            Ok(()) => {
                self.permit_of(name, by).give(asked);
                if self.is_wanted(name)
                    && !self.runs(name)
                    && let Err(problem) = self.start(name).await
                {
                    tracing::warn!(service = name, %problem, "a placed service does not start");
                }
            }
            Err(problem) if problem.code == "lease-void" => {
                tracing::info!(service = name, "a placed service runs elsewhere now");
                if let Err(problem) = self.give_up_placed(owner, &lease).await {
                    tracing::warn!(service = name, %problem, "a placed service is not unloaded");
                }
            }
            Err(problem) => tracing::debug!(service = name, %problem, "no word from the owner"),
        }
        self.with_lease(name, by, |held| {
            held.busy = false;
            held.next = Instant::now() + by.lease() / 8;
        });
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.held(name).is_ok_and(|held| held.desired.wanted == Wanted::Running)
    }

    fn runs(&self, name: &str) -> bool {
        self.held(name).is_ok_and(|held| {
            held.engine.is_some_and(|engine| !matches!(engine.status().state, Life::Stopped | Life::Failed))
        })
    }

    /// Stops a service whose owner has not answered for half of the lease. There is time for it to stop well; where that
    /// does not come about, its permit ends it.
    fn stop_if_over(&self, name: &str, by: &PlacedBy) {
        let age = self.permit_of(name, by).age();
        if age.is_some_and(|age| age < by.lease() / 2) || !self.runs(name) {
            return;
        }
        tracing::warn!(service = name, "a placed service stops: its owner does not answer");
        if let Ok(held) = self.held(name)
            && let Some(engine) = held.engine
        {
            let drain = by.lease() / 10;
            tokio::spawn(async move { _ = engine.stop(drain).await });
        }
    }

    /// Whether this peer has placed a service here, under this epoch.
    pub(super) fn is_placed_by(&self, owner: NodeId, name: &str, epoch: u64) -> bool {
        let owner = owner.to_string();
        self.placed().iter().any(|(n, by)| n == name && by.owner == owner && by.epoch == epoch)
    }

    /// How a service is that this peer has placed here, under this epoch.
    ///
    /// # Errors
    /// It has placed none such here.
    pub(super) fn status_for(&self, owner: NodeId, lease: &Lease) -> Result<Vec<u8>, Box<Problem>> {
        if !self.is_placed_by(owner, &lease.name, lease.epoch) {
            return Err(refusals::no_such(&lease.name));
        }
        let view = self.view(&lease.name)?;
        serde_json::to_vec(&view).map_err(|e| Problem::new("internal", 500, e.to_string()))
    }

    /// Stops a placed service and forgets it, where this peer has placed it and under no later epoch.
    ///
    /// # Errors
    /// It could not be stopped now; without its lease it ends all the same.
    pub(super) async fn give_up_placed(&self, owner: NodeId, lease: &Lease) -> Result<(), Box<Problem>> {
        let owner = owner.to_string();
        let fits = |(name, by): &(String, PlacedBy)| {
            *name == lease.name && by.owner == owner && by.epoch <= lease.epoch
        };
        if self.placed().iter().any(fits) { self.unload(&lease.name).await } else { Ok(()) }
    }
}

/// A lease as its holder has it.
#[derive(Clone, Debug)]
pub(super) struct HeldLease {
    /// Given as of when it was asked for. It holds for less than the lease, so that it is over before the owner holds it
    /// for over, however the two clocks drift.
    permit: Permit,
    made: Instant,
    busy: bool,
    next: Instant,
}

impl HeldLease {
    fn new(by: &PlacedBy) -> Self {
        let now = Instant::now();
        Self { permit: Permit::new(by.lease() * 3 / 4), made: now, busy: false, next: now }
    }
}
