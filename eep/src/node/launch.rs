//! What services launch: others, here or on other nodes, which can never do more than they can themselves.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use policies::event::{Direction, Message};
use policies::facts::Facts;
use policies::{Action, Chain, Event};
use serde_json::{Map, Value};
use tokio::runtime::Handle;

use crate::config::{ServiceEntry, ServiceName, Source};
use crate::host::bindings::eep::proxylet::deploy::{Launched, Order, Place};
use crate::host::bindings::eep::proxylet::mesh::{Identity, Target};
use crate::host::grant::{Grant, Grants, Reach};
use crate::host::mesh::Opened;
use crate::host::outside::{Outside, Request, Work};
use crate::host::topology::Views;
use crate::node::load::Origin;
use crate::node::place::Terms;
use crate::node::placement::PlaceRequest;
use crate::node::rights::Trust;
use crate::node::{Held, Node, blocking, lock};
use crate::observe::log_ring::{LogLevel, LogSource};
use crate::policy::carried::Carried;
use crate::problem::Problem;
use crate::proxylet::limits::{ByteSize, Limits};
use crate::proxylet::status::State as Life;
use crate::state::placements::Where;

/// Bytes of a configuration that a service may give to another.
const CONFIG_BYTES_MAX: usize = 64 << 10;

fn refuse(code: &str, status: u16, title: impl Into<String>) -> Box<Problem> {
    Problem::new(code, status, title)
}

fn bad(place: &str, words: &str) -> Box<Problem> {
    Problem::words("bad-request", 422, words).at(place)
}

/// A launch that is under way, for as long as it lives.
struct Launching<'a> {
    all: &'a Mutex<BTreeSet<(String, String)>>,
    key: (String, String),
}

impl Drop for Launching<'_> {
    fn drop(&mut self) {
        lock(self.all).remove(&self.key);
    }
}

impl Node {
    /// Does what services ask for, from now on and on the threads of this runtime. The first call counts.
    pub fn serves_requests(self: &Arc<Self>) {
        let _ = self.workers.set(Handle::current());
        let _ = self.this.set(Arc::downgrade(self));
        let outside: Arc<dyn Outside> = Arc::<Self>::clone(self);
        self.runtime.answer_with(Arc::downgrade(&outside));
    }

    /// Has a service run for another one; the id of the node on which it runs.
    async fn launch(&self, by: &str, order: Order) -> Result<Vec<u8>, Box<Problem>> {
        let launcher = self.held(by)?;
        let entry = entry_of(&launcher, &order)?;
        self.ask_policy(&launcher)?;
        let name: ServiceName = order.name.parse().map_err(|words: String| bad("name", &words))?;
        let _launching = self.begin_launch(&launcher, &name)?;
        let at = match order.place {
            Place::Here => None,
            Place::At(node) => Some(Where::At(node)),
            Place::Near(prefix) => Some(Where::Near(prefix)),
            Place::Region(region) => Some(Where::Region(region)),
        };
        let policy = {
            let (policy, state) = (Arc::clone(&launcher.policy), Arc::clone(&self.state));
            blocking(move || Carried::in_force(&policy, &state)).await??
        };
        let launched_by = Some(launcher.desired.name.clone());
        let node = match at {
            None => self.launch_here(entry, &name, policy, launched_by).await?,
            Some(at) => {
                let mut service = entry;
                // The name alone: it goes along.
                service.policy = policy.as_ref().map(|policy| policy.main().into());
                let terms = Terms { policy, launched_by, ..Terms::default() };
                let placed = self.place_on(&PlaceRequest { service, at }, terms, &|_| {}).await?;
                placed.node.map(|node| node.id).unwrap_or_default()
            }
        };
        if self.held(by).is_err() {
            // It was unloaded meanwhile, with all that it had launched until then.
            self.unload_anywhere(name.as_str()).await?;
            return Err(refuse("withdrawn", 409, format!("{by}, which launched it, was unloaded meanwhile")));
        }
        launcher.log.write(LogLevel::Info, LogSource::Node, &format!("{name} is launched"));
        Ok(node.into_bytes())
    }

    async fn launch_here(
        &self,
        mut entry: ServiceEntry,
        name: &ServiceName,
        policy: Option<Carried>,
        launched_by: Option<ServiceName>,
    ) -> Result<String, Box<Problem>> {
        // The name is free before anything is written under it.
        drop(self.reserve_new(name)?);
        if let Some(policy) = policy {
            entry.policy = Some(self.lay_down(name, policy).await?);
        }
        let origin = Origin { placed: None, launched_by };
        self.load_with(&entry, Trust::Unpinned, None, origin, &|_| {}).await?;
        Ok(self.mesh().map(|mesh| mesh.me().id.to_string()).unwrap_or_default())
    }

    /// What the launcher's policy says about it.
    fn ask_policy(&self, launcher: &Held) -> Result<(), Box<Problem>> {
        let Some(now) = launcher.policy.current() else { return Ok(()) };
        let event = Event { message: Message::Deploy, direction: Direction::Outbound, ..Event::default() };
        let decision = now.policy().decide(Chain::Access, &event, &Facts::default());
        now.count(&decision);
        match decision.action {
            Action::Deny { reason } | Action::Drop { reason } if decision.enforced => Err(refuse(
                "policy",
                403,
                format!("the service's policy does not let it launch others: {reason}"),
            )),
            _ => Ok(()),
        }
    }

    /// Notes a launch, where the service may have one more.
    fn begin_launch(&self, launcher: &Held, name: &ServiceName) -> Result<Launching<'_>, Box<Problem>> {
        let by = launcher.desired.name.as_str();
        let mut under_way = lock(&self.launching);
        let key = (by.to_owned(), name.to_string());
        if under_way.iter().any(|(_, known)| *known == key.1) {
            return Err(refuse("under-way", 409, format!("{name} is being launched already")));
        }
        let has =
            self.launched_by(by)?.len() + under_way.iter().filter(|(launcher, _)| launcher == by).count();
        let most = usize::from(launcher.grants.deploy());
        if has >= most {
            return Err(refuse(
                "quota",
                409,
                format!("{by} has launched {has} services, and may have {most}"),
            )
            .fix("stop one first, or have the operator grant more with deploy:N"));
        }
        under_way.insert(key.clone());
        Ok(Launching { all: &self.launching, key })
    }

    /// Stops what a service has launched, and forgets it.
    async fn stop_launched(&self, by: &str, name: &str) -> Result<Vec<u8>, Box<Problem>> {
        if !self.launched_by(by)?.iter().any(|launched| launched.name == name) {
            return Err(refuse("no-such-service", 404, format!("{by} has launched nothing called {name:?}")));
        }
        self.unload_anywhere(name).await?;
        Ok(Vec::new())
    }

    /// What a service has launched, by name.
    fn launched_by(&self, by: &str) -> Result<Vec<Launched>, Box<Problem>> {
        let is_by = |launcher: &Option<ServiceName>| launcher.as_ref().is_some_and(|l| l.as_str() == by);
        let me = self.mesh().ok().map(|mesh| mesh.me().id.to_string());
        let mut launched: Vec<Launched> = {
            let services = lock(&self.services);
            let here = services.values().filter(|held| is_by(&held.desired.launched_by));
            here.map(|held| Launched {
                name: held.desired.name.to_string(),
                sha256: held.desired.sha256.to_string(),
                node: me.clone(),
                running: held.engine.as_ref().is_some_and(|engine| engine.status().state == Life::Running),
            })
            .collect()
        };
        let placements = self.state.placements()?;
        launched.extend(placements.iter().filter(|p| is_by(&p.launched_by)).map(|p| Launched {
            name: p.name.to_string(),
            sha256: p.sha256.to_string(),
            node: p.node.clone(),
            running: self.is_alive(p),
        }));
        launched.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(launched)
    }

    /// Unloads what a service had launched that is gone.
    pub(super) async fn unload_launched(&self, by: &ServiceName) {
        self.unload_those(by, |_, _| true).await;
    }

    /// Unloads what a service had launched and what can do more than it can now.
    pub(super) async fn unload_exceeding(&self, by: &ServiceName) {
        let Ok(launcher) = self.held(by.as_str()) else { return };
        let limits = &launcher.desired.limits;
        self.unload_those(by, |grants, of| {
            launcher.grants.deploy() == 0 || !launcher.grants.cover(grants) || exceeds(of, limits).is_some()
        })
        .await;
    }

    async fn unload_those(&self, by: &ServiceName, which: impl Fn(&Grants, &Limits) -> bool) {
        let is_by = |launcher: &Option<ServiceName>| launcher.as_ref() == Some(by);
        let mut names: Vec<ServiceName> = {
            let services = lock(&self.services);
            let here = services.values().filter(|held| is_by(&held.desired.launched_by));
            here.filter(|held| which(&held.grants, &held.desired.limits))
                .map(|held| held.desired.name.clone())
                .collect()
        };
        let placements = self.state.placements().unwrap_or_default();
        names.extend(placements.into_iter().filter(|p| is_by(&p.launched_by)).filter_map(|p| {
            let grants: Grants = p.service.grant.iter().flatten().copied().collect();
            which(&grants, &p.service.limits).then_some(p.name)
        }));
        for name in names {
            // It launches nothing itself, so this goes no deeper.
            if let Err(problem) = Box::pin(self.unload_anywhere(name.as_str())).await {
                tracing::warn!(service = %name, %problem, "what was launched is not unloaded");
            }
        }
    }
}

/// What is to be loaded: what the order says, within what the launcher has.
fn entry_of(launcher: &Held, order: &Order) -> Result<ServiceEntry, Box<Problem>> {
    let sha256 = order.sha256.parse().map_err(|_| {
        bad("sha256", &format!("{:?} is not a SHA-256\ngive its 64 hexadecimal digits", cut(&order.sha256)))
    })?;
    let url = match &order.url {
        None => Source::Mesh(sha256, None),
        Some(url) => source(launcher, url)?,
    };
    let mut grants = Vec::new();
    for text in &order.grants {
        let grant: Grant =
            text.parse().map_err(|e: crate::host::grant::GrantError| bad("grants", &e.to_string()))?;
        if matches!(grant, Grant::Deploy(_)) {
            return Err(refuse("not-granted", 403, "what was launched cannot launch others").at("grants"));
        }
        if !launcher.grants.cover(&Grants::new([grant])) {
            return Err(refuse(
                "not-granted",
                403,
                format!("{} has no right to {grant} that it could pass on", launcher.desired.name),
            )
            .at("grants")
            .fix(format!("have the operator grant it: eep modify {} --grant …", launcher.desired.name)));
        }
        grants.push(grant);
    }
    let own = &launcher.desired.limits;
    let limits = Limits {
        memory: order.memory.map_or(own.memory, ByteSize),
        connections: order.connections.unwrap_or(own.connections),
        cpu: order.cpu.unwrap_or(own.cpu),
        ..own.clone()
    };
    limits.check().map_err(|e| bad("limits", &e.to_string()))?;
    if let Some(field) = exceeds(&limits, own) {
        return Err(refuse(
            "limit",
            403,
            format!("the limit of {field} is higher than that of {}", launcher.desired.name),
        )
        .at(field));
    }
    if order.config.len() > CONFIG_BYTES_MAX {
        return Err(bad("config", &format!("the configuration is longer than {CONFIG_BYTES_MAX} bytes")));
    }
    let config: Map<String, Value> = match order.config.as_str() {
        "" => Map::new(),
        text => serde_json::from_str(text)
            .map_err(|e| bad("config", &format!("the configuration is no JSON object: {e}")))?,
    };
    let mut entry = ServiceEntry::of(url, Some(sha256));
    entry.name = Some(order.name.parse().map_err(|words: String| bad("name", &words))?);
    entry.grant = Some(grants);
    entry.limits = limits;
    entry.config = config;
    entry.check().map_err(|words| bad("grants", &words))?;
    Ok(entry)
}

/// An address that the node fetches from in the launcher's stead.
fn source(launcher: &Held, url: &str) -> Result<Source, Box<Problem>> {
    let source: Source = url.parse().map_err(|words: String| bad("url", &words))?;
    let anywhere = Grants::new([Grant::Connect(Reach { prefix: None, port: None })]);
    match source {
        Source::File(_) => Err(bad("url", "a proxylet names no files of the node\ngive an https:// address")),
        Source::Mesh(..) => Ok(source),
        Source::Http(_) | Source::Oci(_) if launcher.grants.cover(&anywhere) => Ok(source),
        Source::Http(_) | Source::Oci(_) => Err(refuse(
            "not-granted",
            403,
            format!("{} has no right to fetch from everywhere", launcher.desired.name),
        )
        .at("url")
        .fix("have the operator grant net.connect, or let a node of the mesh hold the code and name the digest alone")),
    }
}

/// The limit that is higher than another one.
fn exceeds(limits: &Limits, own: &Limits) -> Option<&'static str> {
    [
        ("memory", limits.memory > own.memory),
        ("connections", limits.connections > own.connections),
        ("cpu", limits.cpu > own.cpu),
        ("call-ms", limits.call_ms > own.call_ms),
        ("kv", limits.kv > own.kv),
        ("log-lines-per-s", limits.log_lines_per_s > own.log_lines_per_s),
    ]
    .into_iter()
    .find_map(|(field, higher)| higher.then_some(field))
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

impl Outside for Node {
    fn fulfil(self: Arc<Self>, service: &str, request: Request) -> Work {
        let Some(workers) = self.workers.get().cloned() else {
            return std::future::ready(Err(refuse("ending", 503, "the node is ending"))).boxed();
        };
        let service = service.to_owned();
        // To its end also where the service is stopped in the middle of it.
        let work = workers.spawn(async move {
            match request {
                Request::Launch(order) => self.launch(&service, order).await,
                Request::Stop(name) => self.stop_launched(&service, &name).await,
                Request::Message(to, name, bytes) => self.send_message(&service, &to, &name, bytes).await,
            }
        });
        async move { work.await.unwrap_or_else(|e| Err(refuse("internal", 500, e.to_string()))) }.boxed()
    }

    fn open(
        self: Arc<Self>,
        to: Target,
        service: String,
    ) -> BoxFuture<'static, Result<Opened, Box<Problem>>> {
        let Some(workers) = self.workers.get().cloned() else {
            return std::future::ready(Err(refuse("ending", 503, "the node is ending"))).boxed();
        };
        let work = workers.spawn(async move { self.open_stream(&to, &service).await });
        async move { work.await.unwrap_or_else(|e| Err(refuse("internal", 500, e.to_string()))) }.boxed()
    }

    fn behind(&self, address: SocketAddr) -> Option<Identity> {
        Self::behind(self, address)
    }

    fn views(self: Arc<Self>) -> Option<Views> {
        self.mesh().ok()?;
        let views = self.views.subscribe();
        // Whoever puts them together waits for somebody to look.
        self.viewed.notify_one();
        Some(views)
    }

    fn launched(&self, service: &str) -> Vec<Launched> {
        self.launched_by(service).unwrap_or_default()
    }
}
