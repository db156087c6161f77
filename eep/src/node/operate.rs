//! What is done to a service that this node has placed elsewhere: started, stopped, modified and read there, under the epoch
//! that its owner has given out, and by nobody else.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::broadcast;
use topology::NodeId;

use crate::config::Source;
use crate::mesh::find::parse_id;
use crate::mesh::requests::{ANSWER_BYTES_MAX, Question};
use crate::node::load::Brought;
use crate::node::operate_web::one_by_one;
use crate::node::place::ordered;
use crate::node::placement::withdrawn;
use crate::node::progress::OnProgress;
use crate::node::{Change, Node, blocking, lock, refusals};
use crate::observe::log_ring::LogLine;
use crate::problem::Problem;
use crate::proxylet::limits::ByteSize;
use crate::state::desired::Desired;
use crate::state::placements::Placement;

/// How long a node may take to start or stop a service, or to say what it has said.
const OPERATE: Duration = Duration::from_secs(20);
/// How long it may take where it was asked already, and not heard.
const OPERATE_AGAIN: Duration = Duration::from_secs(5);
/// How long a node may take to modify a service: it fetches, compiles, and waits for the end of probation.
const MODIFY: Duration = Duration::from_secs(300);
/// How often it is asked for new lines of a log that is followed.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// Lines of a log that wait for a slow reader.
const LINES_WAITING_MAX: usize = 1024;

/// What is to be done to a service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Operation {
    name: String,
    epoch: u64,
    what: What,
}

/// See [`Operation`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Start,
    Stop,
    Modify(Box<Change>),
    /// The last lines of its log, of those after this one.
    Logs {
        tail: usize,
        after: u64,
    },
}

fn internal(e: &serde_json::Error) -> Box<Problem> {
    Problem::new("internal", 500, e.to_string())
}

/// Whether a node was not heard of; what it says itself is so.
fn is_unheard(problem: &Problem) -> bool {
    ["node-unreachable", "mesh-broken-off", "runs-nowhere"].contains(&problem.code.as_str())
}

impl Node {
    /// Starts a service that is stopped, here or where this node has placed it, or all those of a web. One whose node has
    /// died meanwhile is started on another one.
    ///
    /// # Errors
    /// See [`Self::start`]; or its node cannot be asked, or refuses. It does not run then, as before.
    pub async fn start_anywhere(&self, name: &str) -> Result<Value, Box<Problem>> {
        if let Some(web) = self.members_of_web(name)? {
            return self.each_of_web(name, &web, true).await;
        }
        match self.placement_of(name)? {
            Some(_) => self.start_placed(name).await,
            None => view(&self.start(name).await?),
        }
    }

    pub(super) async fn start_placed(&self, name: &str) -> Result<Value, Box<Problem>> {
        self.alone_with(name, async |mut placement| {
            let started = match self.operate(&placement, What::Start, OPERATE).await {
                Err(problem) if placement.stopped && is_unheard(&problem) && !self.is_alive(&placement) => {
                    let mesh = self.mesh()?.clone();
                    let candidates = self.candidates(&mesh, &placement.at).await?;
                    self.settle(&mesh, &mut placement, candidates).await?;
                    placement.moves += 1;
                    self.ask_status(&placement).await?
                }
                // It may have been started, and the answer lost.
                Err(problem) if is_unheard(&problem) => {
                    self.operate(&placement, What::Start, OPERATE_AGAIN).await.map_err(|_| problem)?
                }
                started => started?,
            };
            placement.stopped = false;
            self.write_down(&placement).await?;
            Ok(started)
        })
        .await
    }

    /// Stops a service, here or where this node has placed it, or all those of a web. It stays stopped until it is started.
    ///
    /// # Errors
    /// See [`Self::stop`]; or its node refuses, and it goes on then. Where its node is not heard of, it is told when it is,
    /// and meanwhile the service is started nowhere else.
    pub async fn stop_anywhere(&self, name: &str) -> Result<Value, Box<Problem>> {
        if let Some(web) = self.members_of_web(name)? {
            return self.each_of_web(name, &web, false).await;
        }
        match self.placement_of(name)? {
            Some(_) => self.stop_placed(name).await,
            None => view(&self.stop(name).await?),
        }
    }

    pub(super) async fn stop_placed(&self, name: &str) -> Result<Value, Box<Problem>> {
        self.alone_with(name, async |mut placement| {
            let before = placement.stopped;
            // From here on it is not started elsewhere.
            placement.stopped = true;
            self.write_down(&placement).await?;
            self.heard_stop(name, false);
            let stopped = match self.operate(&placement, What::Stop, OPERATE).await {
                // It may have been stopped, and the answer lost.
                Err(problem) if is_unheard(&problem) => {
                    self.operate(&placement, What::Stop, OPERATE_AGAIN).await
                }
                stopped => stopped,
            };
            match stopped {
                Ok(stopped) => {
                    self.heard_stop(name, true);
                    Ok(stopped)
                }
                Err(problem) if is_unheard(&problem) => Err(Problem::new(
                    "stop-unheard",
                    504,
                    format!(
                        "{name} is to be stopped, and its node was not heard of ({}): it is stopped when that is heard \
                         of again, and runs nowhere else meanwhile",
                        problem.title
                    ),
                )
                .fix(format!("see with `eep status {name}` how it is; `eep start {name}` takes it back"))),
                Err(problem) => {
                    placement.stopped = before;
                    self.write_down(&placement).await?;
                    Err(problem)
                }
            }
        })
        .await
    }

    /// The node of a service that is to be stopped is heard of: it is told so until it says that it has.
    pub(super) async fn stop_again(&self, name: &str) {
        let done = self.alone_with(name, async |placement| {
            if placement.stopped {
                self.operate(&placement, What::Stop, OPERATE_AGAIN).await?;
                self.heard_stop(name, true);
            }
            Ok(())
        });
        if let Err(problem) = done.await {
            tracing::debug!(service = name, %problem, "a placed service is not stopped yet");
        }
    }

    fn heard_stop(&self, name: &str, heard: bool) {
        if let Some(watched) = lock(&self.leases).0.get_mut(name) {
            watched.stop_heard = heard;
        }
    }

    /// Modifies a service, here or where this node has placed it.
    ///
    /// # Errors
    /// See [`Self::modify`]; or it is a web; or its node cannot be asked, or refuses. It goes on as it was then.
    pub async fn modify_anywhere(
        &self,
        name: &str,
        change: &Change,
        on: OnProgress<'_>,
    ) -> Result<Value, Box<Problem>> {
        if let Some(web) = self.members_of_web(name)? {
            return Err(one_by_one(name, &web, "modified", "modify"));
        }
        let Some(_) = self.placement_of(name)? else {
            return view(&self.modify(name, change, on).await?);
        };
        self.alone_with(name, async |placement| {
            let mut next = placement.clone();
            let Brought { code, bytes, signatures, .. } = match (&change.url, change.sha256) {
                (None, None) => {
                    self.bring(&placement.service.proxylet.url, Some(placement.sha256), on).await?
                }
                (url, digest) => {
                    self.bring(url.as_ref().unwrap_or(&placement.service.proxylet.url), digest, on).await?
                }
            };
            let service = &mut next.service;
            if let Some(url) = &change.url {
                (service.proxylet.url, service.proxylet.sha256) = (url.clone(), change.sha256);
            }
            crate::config::settings::change(&mut service.config, &change.config);
            service.grant = change.grant.clone().or(service.grant.take());
            service.limits = change.limits.clone().unwrap_or_else(|| service.limits.clone());
            service.on_trap = change.on_trap.unwrap_or(service.on_trap);
            service.record = change.record.unwrap_or(service.record);
            if let Some(window_ms) = change.health_window_ms {
                service.health.window_ms = window_ms;
            }
            service.check().map_err(|words| Problem::words("bad-request", 422, &words))?;
            next.service = ordered(&next.service, &code, &next.links, self.mesh()?.me().id)?;
            next.sha256 = code.digest();
            let mut change = change.clone();
            (change.url, change.sha256) = (None, None);
            if next.sha256 != placement.sha256 {
                change.url = Some(next.service.proxylet.url.clone());
                change.sha256 = Some(next.sha256);
                // It gets the rights that it has here.
                change.grant = change.grant.or_else(|| next.service.grant.clone());
            }
            // The code has to be here before it is asked for.
            let (state, kept) = (Arc::clone(&self.state), next.clone());
            if !blocking(move || state.change_placed_code(&kept, &bytes, &signatures)).await?? {
                return Err(withdrawn(name));
            }
            let modified = self.operate(&next, What::Modify(Box::new(change)), MODIFY).await;
            if modified.is_err() {
                self.write_down(&placement).await?;
            }
            modified
        })
        .await
    }

    /// The last lines of the log of a service that this node has placed elsewhere, and those that follow them; none where it
    /// has placed none of this name.
    ///
    /// # Errors
    /// It is a web; or its node cannot be asked, or refuses.
    pub async fn placed_log(
        self: &Arc<Self>,
        name: &str,
        tail: usize,
    ) -> Result<Option<(Vec<LogLine>, broadcast::Receiver<LogLine>)>, Box<Problem>> {
        if let Some(web) = self.members_of_web(name)? {
            return Err(one_by_one(name, &web, "read", "logs"));
        }
        let Some(placement) = self.placement_of(name)? else { return Ok(None) };
        let lines = self.placed_lines(&placement, tail, 0).await?;
        let (tell, told) = broadcast::channel(LINES_WAITING_MAX);
        let (node, name) = (Arc::clone(self), name.to_owned());
        let mut seen = (placement.epoch, lines.last().map_or(0, |line| line.seq));
        let mut ending = self.ending();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(FOLLOW_EVERY) => {}
                    _ = ending.wait_for(|ending| *ending) => return,
                }
                let Ok(Some(placement)) = node.placement_of(&name) else { return };
                if tell.receiver_count() == 0 {
                    return;
                }
                if placement.epoch != seen.0 {
                    // Elsewhere it counts from the beginning.
                    seen = (placement.epoch, 0);
                }
                for line in node.placed_lines(&placement, usize::MAX, seen.1).await.unwrap_or_default() {
                    seen.1 = line.seq;
                    // Where nobody reads any more, that is seen the next time.
                    let _ = tell.send(line);
                }
            }
        });
        Ok(Some((lines, told)))
    }

    async fn placed_lines(
        &self,
        placement: &Placement,
        tail: usize,
        after: u64,
    ) -> Result<Vec<LogLine>, Box<Problem>> {
        let lines = self.operate(placement, What::Logs { tail, after }, OPERATE).await?;
        serde_json::from_value(lines).map_err(|e| Problem::new("strange-answer", 502, e.to_string()))
    }

    fn placement_of(&self, name: &str) -> Result<Option<Placement>, Box<Problem>> {
        Ok(self.state.placements()?.into_iter().find(|p| p.name.as_str() == name))
    }

    /// Works on a placed service while nobody else does, nor looks for another node for it.
    async fn alone_with<T>(
        &self,
        name: &str,
        work: impl AsyncFnOnce(Placement) -> Result<T, Box<Problem>>,
    ) -> Result<T, Box<Problem>> {
        let placement = self.placement_of(name)?.ok_or_else(|| refusals::no_such(name))?;
        let free = lock(&self.leases)
            .0
            .get_mut(name)
            .is_some_and(|watched| !std::mem::replace(&mut watched.placing, true));
        if !free {
            return Err(refusals::under_way(&placement.name));
        }
        // As it is now that nobody changes it.
        let done = match self.placement_of(name) {
            Ok(Some(placement)) => work(placement).await,
            Ok(None) => Err(refusals::no_such(name)),
            Err(problem) => Err(problem),
        };
        if let Some(watched) = lock(&self.leases).0.get_mut(name) {
            watched.placing = false;
        }
        done
    }

    async fn operate(
        &self,
        placement: &Placement,
        what: What,
        within: Duration,
    ) -> Result<Value, Box<Problem>> {
        let node = placement.node.as_deref().and_then(parse_id);
        let node = node.ok_or_else(|| {
            Problem::new("runs-nowhere", 503, format!("{} runs nowhere now", placement.name))
                .fix("see with `eep list` whether a node was found for it")
        })?;
        let (mesh, name) = (self.mesh()?, placement.name.to_string());
        let operation = Operation { name, epoch: placement.epoch, what };
        let answer = if node == mesh.me().id {
            self.operate_for(node, operation).await?
        } else {
            let body = serde_json::to_vec(&operation).map_err(|e| internal(&e))?;
            let asked = tokio::time::timeout(within, mesh.ask(node, &Question::Operate(body))).await;
            asked.map_err(|_| {
                let title = format!("the node {node}, which has {}, did not answer in time", operation.name);
                Problem::new("node-unreachable", 504, title)
                    .fix(format!("see with `eep status {}` how it is", operation.name))
            })??
        };
        serde_json::from_slice(&answer).map_err(|e| Problem::new("strange-answer", 502, e.to_string()))
    }

    /// Does to a service what the peer asks for that has placed it here, under this epoch.
    ///
    /// # Errors
    /// It has placed none such here; or what is asked for is refused.
    pub(super) async fn operate_for(
        &self,
        owner: NodeId,
        operation: Operation,
    ) -> Result<Vec<u8>, Box<Problem>> {
        let Operation { name, epoch, what } = operation;
        if !self.is_placed_by(owner, &name, epoch) {
            return Err(refusals::no_such(&name));
        }
        let answer = match what {
            What::Start => view(&self.start(&name).await?)?,
            What::Stop => view(&self.stop(&name).await?)?,
            What::Modify(change) => {
                // Nobody else says which files are read here.
                if change.url.as_ref().is_some_and(|url| !matches!(url, Source::Mesh(..))) {
                    let words = "a placed service's code comes over the mesh";
                    return Err(Problem::new("bad-request", 422, words));
                }
                view(&self.modify(&name, &change, &|_| {}).await?)?
            }
            What::Logs { tail, after } => {
                let mut lines = self.log(&name)?.tail(tail);
                lines.retain(|line| line.seq > after);
                // As many of the last ones as an answer takes.
                let mut room = ANSWER_BYTES_MAX as usize / 2;
                let fits = lines.iter().rev().take_while(|line| {
                    let bytes = serde_json::to_vec(line).map_or(usize::MAX, |line| line.len() + 1);
                    let fits = bytes <= room;
                    room = room.saturating_sub(bytes);
                    fits
                });
                let left_out = lines.len() - fits.count();
                serde_json::to_value(&lines[left_out..]).map_err(|e| internal(&e))?
            }
        };
        serde_json::to_vec(&answer).map_err(|e| internal(&e))
    }

    /// Whether this node lets a placed service be so.
    ///
    /// # Errors
    /// It would have more memory than all placed services together may have.
    pub(super) fn may_be_placed_so(&self, next: &Desired) -> Result<(), Box<Problem>> {
        let Some(most) = self.mesh()?.settings().placed.memory else { return Ok(()) };
        let others: u64 = {
            let services = lock(&self.services);
            let others = services
                .values()
                .filter(|held| held.desired.placed.is_some() && held.desired.name != next.name);
            others.map(|held| held.desired.limits.memory.0).sum()
        };
        let wanted = others.saturating_add(next.limits.memory.0);
        if wanted <= most.0 {
            return Ok(());
        }
        let words =
            format!("so placed services might take {}, and this node gives them {most}", ByteSize(wanted));
        Err(Problem::new("quota", 409, words)
            .fix("ask for less, or have its operator allow more under `mesh.placed`"))
    }
}

fn view(view: &impl Serialize) -> Result<Value, Box<Problem>> {
    serde_json::to_value(view).map_err(|e| internal(&e))
}
