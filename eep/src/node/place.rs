//! From a request to a service that runs on another node.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use topology::NodeId;

use crate::config::web::Link;
use crate::config::{ServiceEntry, ServiceName, Source};
use crate::mesh::Mesh;
use crate::mesh::find::parse_prefix;
use crate::mesh::views::By;
use crate::node::load::{Brought, configured, embedded_name};
use crate::node::placement::{PlaceRequest, PlacementView, lease_ms};
use crate::node::progress::{OnProgress, Progress};
use crate::node::rights::{self, Asked, Trust};
use crate::node::{Node, blocking, lock, refusals};
use crate::policy::carried::Carried;
use crate::problem::Problem;
use crate::proxylet::code::Code;
use crate::proxylet::digest::{Digest, Digested};
use crate::state::placements::{Placement, Where};

/// Services that one node may place.
const PLACEMENTS_MAX: usize = 1_000;
/// Nodes that are asked to run a service, one after the other.
const CANDIDATES_MAX: usize = 8;

/// What goes with a placed service.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// Its policy, where that is not the file of the request.
    pub(super) policy: Option<Carried>,
    /// The service that has launched it.
    pub(super) launched_by: Option<ServiceName>,
    /// The web that it is a part of.
    pub(super) web: Option<ServiceName>,
    /// The service of the web that it is a copy of.
    pub(super) copy_of: Option<ServiceName>,
    /// The services of the web that it speaks to.
    pub(super) links: Vec<Link>,
    /// Whether others of the web speak to it.
    pub(super) serve: bool,
}

/// A service that can be placed, as far as this node can tell.
pub(super) struct Prepared {
    placement: Placement,
    candidates: Vec<NodeId>,
    bytes: Arc<Digested>,
    signatures: Vec<u8>,
}

impl Prepared {
    pub(super) fn name(&self) -> &str {
        self.placement.name.as_str()
    }

    /// The nodes that could run it, the best first.
    pub(super) fn candidates(&self) -> &[NodeId] {
        &self.candidates
    }

    /// Leaves these nodes to others.
    pub(super) fn not_on(&mut self, nodes: &[NodeId]) {
        self.candidates.retain(|node| !nodes.contains(node));
    }
}

impl Node {
    /// Has another node run a service. When this returns, it runs there, and it is on disk who runs it.
    ///
    /// # Errors
    /// What is wrong with the service, or why nobody would run it. Nothing was changed.
    pub async fn place(
        &self,
        request: &PlaceRequest,
        on: OnProgress<'_>,
    ) -> Result<PlacementView, Box<Problem>> {
        self.place_on(request, Terms::default(), on).await
    }

    /// As [`Self::place`], with what else is known of it.
    pub(super) async fn place_on(
        &self,
        request: &PlaceRequest,
        terms: Terms,
        on: OnProgress<'_>,
    ) -> Result<PlacementView, Box<Problem>> {
        let prepared = self.prepare_placement(request, terms, on).await?;
        self.carry_out(prepared, on).await
    }

    /// Fetches, verifies and checks a service that is to be placed, and looks for nodes that could run it.
    pub(super) async fn prepare_placement(
        &self,
        request: &PlaceRequest,
        terms: Terms,
        on: OnProgress<'_>,
    ) -> Result<Prepared, Box<Problem>> {
        let mesh = self.mesh()?.clone();
        let PlaceRequest { service, at } = request;
        service.check().map_err(|words| Problem::words("bad-request", 422, &words))?;
        let policy = match (terms.policy, service.policy.clone()) {
            (None, Some(file)) => Some(blocking(move || Carried::of_file(&file)).await??),
            (policy, _) => policy,
        };
        let Brought { code, bytes, signatures, .. } =
            self.bring(&service.proxylet.url, service.proxylet.sha256, on).await?;
        let name = match &service.name {
            Some(name) => name.clone(),
            None => embedded_name(&code, &service.proxylet.url)?,
        };
        // The name is free here; when the service is to run here, it is taken by running it.
        drop(self.reserve_new(&name)?);
        let known = self.state.placements()?;
        if known.iter().any(|p| p.name == name || p.web.as_ref() == Some(&name)) {
            return Err(refusals::name_in_use(&name));
        }
        if known.len() >= PLACEMENTS_MAX {
            return Err(Problem::new(
                "too-many",
                409,
                format!("this node has placed {PLACEMENTS_MAX} services"),
            )
            .fix("unload one first, or place from another node"));
        }
        let service = ordered(service, &code, &terms.links, mesh.me().id)?;
        let candidates = self.candidates(&mesh, at).await?;
        let placement = Placement {
            name,
            service,
            sha256: code.digest(),
            at: at.clone(),
            policy,
            launched_by: terms.launched_by,
            web: terms.web,
            copy_of: terms.copy_of,
            links: terms.links,
            serve: terms.serve,
            node: None,
            epoch: first_epoch(),
            lease_ms: lease_ms(&mesh),
            moves: 0,
            stopped: false,
        };
        Ok(Prepared { placement, candidates, bytes, signatures })
    }

    /// Places what is prepared.
    pub(super) async fn carry_out(
        &self,
        prepared: Prepared,
        on: OnProgress<'_>,
    ) -> Result<PlacementView, Box<Problem>> {
        let mesh = self.mesh()?.clone();
        let Prepared { mut placement, candidates, bytes, signatures } = prepared;
        // Looked after by this task alone, from before it can be seen on disk.
        if !self.watch_new(placement.name.as_str()) {
            return Err(refusals::under_way(&placement.name));
        }
        on(Progress::Starting);
        let placed = self.settle_new(&mesh, &mut placement, candidates, (bytes, signatures)).await;
        if let Some(watched) = lock(&self.leases).0.get_mut(placement.name.as_str()) {
            watched.placing = false;
        }
        placed.map(|()| self.placement_view(&placement))
    }

    async fn settle_new(
        &self,
        mesh: &Mesh,
        placement: &mut Placement,
        candidates: Vec<NodeId>,
        (bytes, signatures): (Arc<Digested>, Vec<u8>),
    ) -> Result<(), Box<Problem>> {
        let (state, kept) = (Arc::clone(&self.state), placement.clone());
        if !blocking(move || state.add_placement(&kept, &bytes, &signatures)).await?? {
            return Err(refusals::name_in_use(&placement.name));
        }
        let settled = self.settle(mesh, placement, candidates).await;
        if settled.is_err() {
            // Whoever was asked in vain finds its epoch void.
            self.forget_placement(placement.name.as_str()).await?;
        }
        settled
    }

    /// Who could run a service, the best first.
    pub(super) async fn candidates(&self, mesh: &Mesh, at: &Where) -> Result<Vec<NodeId>, Box<Problem>> {
        let found: Vec<(NodeId, Option<f64>)> = match at {
            Where::At(node) => vec![(mesh.resolve(node).await?, None)],
            Where::Near(prefix) => {
                let prefix = parse_prefix(prefix)
                    .map_err(|words| Problem::words("bad-request", 400, &words).at("near"))?;
                mesh.near_prefix(prefix, By::Rtt).await
            }
            Where::Region(region) => mesh.in_region(region, By::Rtt).await,
        };
        if found.is_empty() {
            return Err(Problem::new("no-such-node", 404, "no node fits")
                .fix("see with `eep topology regions` who is there"));
        }
        Ok(found.into_iter().map(|(id, _)| id).take(CANDIDATES_MAX).collect())
    }
}

/// Where the epochs of a placement begin: after those of an earlier service of its name.
fn first_epoch() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX >> 1)
}

/// The service as another node gets it: its code by digest, from whoever holds it, and with no more rights than it would
/// have here.
pub(super) fn ordered(
    service: &ServiceEntry,
    code: &Code,
    links: &[Link],
    owner: NodeId,
) -> Result<ServiceEntry, Box<Problem>> {
    let url = &service.proxylet.url;
    let config = configured(code, &service.config)?;
    let trust = if service.proxylet.sha256.is_some() { Trust::AsWanted } else { Trust::Unpinned };
    let command = format!("eep load {url}");
    let asked = Asked { code, url, config: &config, command: &command };
    let (_, grants) = rights::decide(&asked, service.grant.as_deref(), trust)?;
    if let Some(Link { to, listen }) = links.iter().find(|link| !grants.may_connect(link.listen)) {
        return Err(Problem::new(
            "not-granted",
            422,
            format!("it may not connect to {listen}, which is to stand for {to}"),
        )
        .fix(format!("grant it net.connect:{}:{}", listen.ip(), listen.port())));
    }
    let mut ordered = service.clone();
    if trust == Trust::Unpinned && ordered.grant.is_none() {
        ordered.grant = Some(Vec::new());
    }
    let digest: Digest = code.digest();
    ordered.proxylet.url = Source::Mesh(digest, Some(owner));
    ordered.proxylet.sha256 = Some(digest);
    // It goes along.
    ordered.policy = ordered.policy.and_then(|file| file.file_name().map(PathBuf::from));
    Ok(ordered)
}
