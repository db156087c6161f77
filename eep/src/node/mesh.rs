//! What the node tells other nodes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::mesh::Mesh;
use crate::mesh::requests::{Local, Offers, Question};
use crate::mesh::trust::Peer;
use crate::node::{Held, Node, blocking, lock};
use crate::policy::service::ServicePolicy;
use crate::problem::Problem;
use crate::proxylet::digest::{Digest, Digested};
use crate::proxylet::status::{Protocol, State as Life};
use topology::NodeId;

/// How often it is looked for new services that take streams.
const SERVE_LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often a view of the mesh is put together for services that look at it.
const LOOK_AROUND_EVERY: Duration = Duration::from_secs(2);

impl Node {
    /// Is a part of this mesh from now on. The first call counts.
    pub fn joins(self: &Arc<Self>, mesh: Mesh) {
        let local: Weak<dyn Local> = Arc::downgrade(&(Arc::<Self>::clone(self) as Arc<dyn Local>));
        mesh.answer_with(local);
        let _ = self.mesh.set(mesh);
        self.runtime.whereabouts.joins();
    }

    /// What decides what nodes of other domains may ask for.
    #[must_use]
    pub fn mesh_policy(&self) -> Arc<ServicePolicy> {
        Arc::clone(&self.mesh_policy)
    }

    /// The mesh that the node is in.
    ///
    /// # Errors
    /// It is in none.
    pub fn mesh(&self) -> Result<&Mesh, Box<Problem>> {
        self.mesh.get().ok_or_else(|| {
            Problem::new("mesh-off", 409, "this node is in no mesh").fix(
                "make a certificate with `eep init`, and set `listen.mesh` and `mesh.seeds` in the node file",
            )
        })
    }

    /// Takes streams from the mesh for the services that are to be served, until the node ends.
    pub async fn serve_streams(self: &Arc<Self>) {
        let Ok(mesh) = self.mesh().cloned() else { return };
        let mut served = BTreeSet::new();
        let mut ending = self.ending();
        loop {
            let wanted = &mesh.settings().serve;
            let all = wanted.iter().any(|name| name == "*");
            let names: Vec<String> = {
                let services = lock(&self.services);
                let fits = |held: &Held| {
                    let of_web = held.desired.placed.as_ref().is_some_and(|by| by.serve);
                    all || of_web || wanted.iter().any(|w| w == held.desired.name.as_str())
                };
                services
                    .values()
                    .filter(|held| fits(held))
                    .map(|held| held.desired.name.to_string())
                    .collect()
            };
            for name in names {
                if served.insert(name.clone()) {
                    let (node, service) = (Arc::downgrade(self), name.clone());
                    let address = move || node.upgrade()?.listener_of(&service);
                    let (mesh, ending) = (mesh.clone(), self.ending());
                    tokio::spawn(async move { mesh.serve_service(name, address, ending).await });
                }
            }
            tokio::select! {
                () = tokio::time::sleep(SERVE_LOOK_EVERY) => {}
                _ = ending.wait_for(|ending| *ending) => return,
            }
        }
    }

    /// Puts together the views that services look at, while there are such, until the node ends.
    pub async fn look_around(&self) {
        let Ok(mesh) = self.mesh().cloned() else { return };
        let mut ending = self.ending();
        let mut version = 0;
        loop {
            if self.views.receiver_count() == 0 {
                tokio::select! {
                    () = self.viewed.notified() => {}
                    _ = ending.wait_for(|ending| *ending) => return,
                }
            }
            let Some(mut view) = mesh.snapshot().await else { return };
            self.views.send_if_modified(|newest| {
                // Costs change all the time; they are taken over without a word.
                let is_new = newest.as_ref().is_none_or(|earlier| !view.is_like(earlier));
                version += u64::from(is_new);
                view.version = version;
                *newest = Some(Arc::new(view));
                is_new
            });
            tokio::select! {
                () = tokio::time::sleep(LOOK_AROUND_EVERY) => {}
                _ = ending.wait_for(|ending| *ending) => return,
            }
        }
    }

    /// Where a service takes TCP connections now.
    pub(super) fn listener_of(&self, name: &str) -> Option<SocketAddr> {
        let status = self.held(name).ok()?.engine?.status();
        let tcp = status.listening.iter().find(|l| l.protocol == Protocol::Tcp);
        tcp.map(|l| l.address)
    }

    /// Code by its digest, from the nearest node that holds it; its signatures are kept, to be judged with it.
    pub(super) async fn fetch_over_mesh(
        &self,
        digest: Digest,
        holder: Option<NodeId>,
    ) -> Result<Digested, Box<Problem>> {
        let mesh = self.mesh()?;
        let mut holders = mesh.nearest_holders(*digest.bytes()).await?;
        holders.extend(holder.filter(|id| !holders.contains(id)));
        holders.retain(|id| *id != mesh.me().id);
        let mut last =
            Problem::new("no-such-code", 404, format!("nobody in the mesh holds the code {digest}"))
                .fix("check the digest; see who holds it with `eep topology find sha256:HEX`");
        for holder in holders {
            let answer = match mesh.ask(holder, &Question::Code(*digest.bytes())).await {
                Ok(answer) => answer,
                Err(problem) => {
                    last = problem;
                    continue;
                }
            };
            let parts = answer.split_first_chunk::<8>().and_then(|(len, rest)| {
                rest.split_at_checked(usize::try_from(u64::from_be_bytes(*len)).ok()?)
            });
            // Who gives other bytes than were asked for is passed over.
            let Some((code, signatures)) = parts else { continue };
            let (code, signatures) = (code.to_vec(), signatures.to_vec());
            let code = blocking(move || Digested::of(code)).await?;
            if code.digest() != digest {
                continue;
            }
            if !signatures.is_empty() {
                let state = Arc::clone(&self.state);
                blocking(move || state.put_signatures(&digest, &signatures)).await??;
            }
            return Ok(code);
        }
        Err(last)
    }

    /// Kept code for another node: its length, the code, its signatures.
    async fn code_for(&self, digest: [u8; 32]) -> Result<Vec<u8>, Box<Problem>> {
        let state = Arc::clone(&self.state);
        let digest = Digest::from(digest);
        let kept =
            blocking(move || state.code(&digest).and_then(|code| Ok((code, state.signatures(&digest)?))))
                .await??;
        let (Some(code), signatures) = kept else {
            let what = format!("the node that was said to hold the code {digest} has it no more");
            return Err(
                Problem::new("no-such-code", 404, what).fix("give an address that it is published at")
            );
        };
        let mut answer = (code.len() as u64).to_be_bytes().to_vec();
        answer.extend_from_slice(&code);
        answer.extend_from_slice(&signatures);
        Ok(answer)
    }
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Box<Problem>> {
    serde_json::from_slice(body).map_err(|e| Problem::new("bad-request", 400, e.to_string()))
}

impl Local for Node {
    fn answer<'a>(
        &'a self,
        peer: &'a Peer,
        question: Question,
    ) -> BoxFuture<'a, Result<Vec<u8>, Box<Problem>>> {
        async move {
            match question {
                Question::Facts => {
                    let facts = self.mesh()?.own_facts().await;
                    serde_json::to_vec(&facts).map_err(|e| Problem::new("internal", 500, e.to_string()))
                }
                Question::Code(digest) => self.code_for(digest).await,
                Question::Place(body) => {
                    self.run_placed(peer.id, read(&body)?).await?;
                    Ok(Vec::new())
                }
                Question::Lease(body) => self.renew(peer.id, &read(&body)?).map(|()| Vec::new()),
                Question::Message(body) => self.take_message(peer, &body).await,
                Question::WhereIs(body) => self.where_is(peer.id, &read(&body)?),
                Question::Status(body) => self.status_for(peer.id, &read(&body)?),
                Question::Operate(body) => self.operate_for(peer.id, read(&body)?).await,
                Question::Withdraw(body) => {
                    self.give_up_placed(peer.id, &read(&body)?).await.map(|()| Vec::new())
                }
            }
        }
        .boxed()
    }

    fn offers(&self) -> Offers {
        let services = lock(&self.services);
        let running = services
            .values()
            .filter(|held| held.engine.as_ref().is_some_and(|engine| engine.status().state == Life::Running));
        let placements = self.state.placements().unwrap_or_default();
        let kept =
            services.values().map(|held| held.desired.sha256).chain(placements.iter().map(|p| p.sha256));
        let digests = kept.map(|digest| *digest.bytes()).collect();
        Offers { services: running.map(|held| held.desired.name.to_string()).collect(), digests }
    }
}
