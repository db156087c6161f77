//! Services that other nodes have placed here: run while their owner says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use topology::NodeId;

use crate::mesh::Mesh;
use crate::mesh::find::parse_id;
use crate::mesh::requests::Question;
use crate::node::placement::{Lease, Order};
use crate::node::rights::Trust;
use crate::node::{Node, lock};
use crate::problem::Problem;
use crate::proxylet::status::State as Life;
use crate::state::desired::Desired;

/// Services that others may have placed here.
const PLACED_MAX: usize = 64;
/// The shortest and the longest lease that is taken.
const LEASE_RANGE_MS: std::ops::RangeInclusive<u64> = 4_000..=600_000;
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
        if self.placed().len() >= PLACED_MAX {
            return Err(Problem::new(
                "too-many",
                409,
                format!("{PLACED_MAX} services are placed on this node already"),
            )
            .fix("name another node"));
        }
        let by = PlacedBy { owner: owner.to_string(), epoch: order.epoch, lease_ms: order.lease_ms };
        let mut entry = order.service;
        entry.name = Some(order.name.clone());
        // A former epoch of the same service gives way.
        let former =
            self.placed().into_iter().find(|(name, p)| *name == order.name.as_str() && p.owner == by.owner);
        if let Some((name, _)) = former {
            self.unload(&name).await?;
        }
        self.load_with(&entry, Trust::AsWanted, None, Some(by), &|_| {}).await.map(|_| ())
    }

    /// Asks for the lease of a placed service right before it is started, whatever it is started for.
    ///
    /// # Errors
    /// Its owner does not answer, or lets another node run it.
    pub(super) async fn lease_before_start(&self, desired: &Desired) -> Result<(), Box<Problem>> {
        let Some(by) = &desired.placed else { return Ok(()) };
        let Some(owner) = parse_id(&by.owner) else { return Ok(()) };
        let (mesh, asked) = (self.mesh()?, Instant::now());
        let lease = Lease { name: desired.name.to_string(), epoch: by.epoch };
        self.ask_lease(mesh, owner, &lease, by.lease()).await?;
        self.took_lease(desired.name.as_str(), asked);
        Ok(())
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
            lock(&self.held_leases).retain(|name, _| placed.iter().any(|(n, _)| n == name));
            for (name, by) in placed {
                let free = {
                    let mut held = lock(&self.held_leases);
                    let lease = held.entry(name.clone()).or_insert(HeldLease {
                        asked: None,
                        busy: false,
                        next: Instant::now(),
                    });
                    let free = !lease.busy && lease.next <= Instant::now();
                    lease.busy |= free;
                    free
                };
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
        let asked = Instant::now();
        let lease = Lease { name: name.to_owned(), epoch: by.epoch };
        let answer = self.ask_lease(mesh, owner, &lease, by.lease()).await;
        match answer {
            Ok(()) => {
                self.took_lease(name, asked);
                if !self.runs(name)
                    && let Err(problem) = self.start(name).await
                {
                    tracing::warn!(service = name, %problem, "a placed service does not start");
                }
            }
            Err(problem) if problem.code == "lease-void" => {
                tracing::info!(service = name, "a placed service runs elsewhere now");
                self.give_up_placed(owner, &lease).await;
            }
            Err(problem) => tracing::debug!(service = name, %problem, "no word from the owner"),
        }
        if let Some(held) = lock(&self.held_leases).get_mut(name) {
            held.busy = false;
            held.next = Instant::now() + by.lease() / 8;
        }
    }

    fn took_lease(&self, name: &str, asked: Instant) {
        let mut held = lock(&self.held_leases);
        let lease =
            held.entry(name.to_owned()).or_insert(HeldLease { asked: None, busy: false, next: asked });
        lease.asked = lease.asked.max(Some(asked));
    }

    fn runs(&self, name: &str) -> bool {
        self.held(name).is_ok_and(|held| {
            held.engine.is_some_and(|engine| !matches!(engine.status().state, Life::Stopped | Life::Failed))
        })
    }

    /// Stops a service whose owner has not answered for half of the lease; the other half is for stopping it.
    fn stop_if_over(&self, name: &str, by: &PlacedBy) {
        let asked = lock(&self.held_leases).get(name).and_then(|lease| lease.asked);
        if asked.is_some_and(|asked| asked.elapsed() < by.lease() / 2) || !self.runs(name) {
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

    /// Stops a placed service and forgets it, where this peer has placed it and under no later epoch.
    pub(super) async fn give_up_placed(&self, owner: NodeId, lease: &Lease) {
        let owner = owner.to_string();
        let fits = |(name, by): &(String, PlacedBy)| {
            *name == lease.name && by.owner == owner && by.epoch <= lease.epoch
        };
        if self.placed().iter().any(fits)
            && let Err(problem) = self.unload(&lease.name).await
        {
            tracing::warn!(service = lease.name, %problem, "a placed service is not unloaded");
        }
    }
}

/// A lease as its holder has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldLease {
    /// When the last one that was given was asked for: it holds from then on.
    asked: Option<Instant>,
    busy: bool,
    next: Instant,
}
