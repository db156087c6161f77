//! What the node tells other nodes.

use std::sync::{Arc, Weak};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::mesh::Mesh;
use crate::mesh::requests::{Local, Offers, Question};
use crate::mesh::trust::Peer;
use crate::node::{Node, blocking, lock};
use crate::problem::Problem;
use crate::proxylet::digest::Digest;
use crate::proxylet::status::State as Life;

impl Node {
    /// Is a part of this mesh from now on. The first call counts.
    pub fn joins(self: &Arc<Self>, mesh: Mesh) {
        let local: Weak<dyn Local> = Arc::downgrade(&(Arc::<Self>::clone(self) as Arc<dyn Local>));
        mesh.answer_with(local);
        let _ = self.mesh.set(mesh);
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

    /// Kept code for another node: its length, the code, its signatures.
    async fn code_for(&self, digest: [u8; 32]) -> Result<Vec<u8>, Box<Problem>> {
        let state = Arc::clone(&self.state);
        let digest = Digest::from(digest);
        let kept =
            blocking(move || state.code(&digest).and_then(|code| Ok((code, state.signatures(&digest)?))))
                .await??;
        let (Some(code), signatures) = kept else {
            return Err(Problem::new("no-such-code", 404, format!("there is no code {digest} here")));
        };
        let mut answer = (code.len() as u64).to_be_bytes().to_vec();
        answer.extend_from_slice(&code);
        answer.extend_from_slice(&signatures);
        Ok(answer)
    }
}

impl Local for Node {
    fn answer<'a>(&'a self, _: &'a Peer, question: Question) -> BoxFuture<'a, Result<Vec<u8>, Box<Problem>>> {
        async move {
            match question {
                Question::Facts => {
                    let facts = self.mesh()?.own_facts().await;
                    serde_json::to_vec(&facts).map_err(|e| Problem::new("internal", 500, e.to_string()))
                }
                Question::Code(digest) => self.code_for(digest).await,
            }
        }
        .boxed()
    }

    fn offers(&self) -> Offers {
        let services = lock(&self.services);
        let running = services
            .values()
            .filter(|held| held.engine.as_ref().is_some_and(|engine| engine.status().state == Life::Running));
        Offers {
            services: running.map(|held| held.desired.name.to_string()).collect(),
            digests: services.values().map(|held| *held.desired.sha256.bytes()).collect(),
        }
    }
}
