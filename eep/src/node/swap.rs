//! Other code for a service that serves, without an end of its connections.
//!
//! The order is: the new version serves, it shows that it is well, it is written down, the former one is given up. The
//! code of both lies on disk from before the one until after the other, so that a node that is killed in between comes
//! back with the version that is written down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::config::health::{Health, Probe};
use crate::node::load::Brought;
use crate::node::progress::{OnProgress, Progress};
use crate::node::{Held, Node, blocking, lock, refusals, view};
use crate::problem::Problem;
use crate::proxylet::digest::Digested;
use crate::proxylet::error::ControlError;
use crate::proxylet::service::Service;
use crate::proxylet::swap::SwapError;
use crate::state::desired::Desired;
use crate::state::error::StateError;

impl Node {
    /// Has a service go on as it shall be, with all that it holds. False where no instance is there to take over from.
    ///
    /// # Errors
    /// Why it does not. It goes on as it was.
    pub(super) async fn swap(
        &self,
        held: &Held,
        next: &Held,
        engine: &Service,
        brought: &Brought,
        health: &Health,
        on: OnProgress<'_>,
    ) -> Result<bool, Box<Problem>> {
        let is_other_code = held.desired.sha256 != next.desired.sha256;
        let refused = |error| refusals::swap(&held.desired.name, &next.desired.url, is_other_code, error);
        on(Progress::Starting);
        let mut probation = match engine.swap(self.spec(next, &brought.code, false)).await {
            Ok(probation) => probation,
            Err(SwapError::Control(ControlError::NotRunning)) => return Ok(false),
            Err(error) => return Err(refused(error)),
        };
        on(Progress::Proving { window_ms: health.window_ms });
        let proving = Proving::of(self, held);
        let name = &held.desired.name;
        // Why it is taken back, and what the operator does about that where the code is not to blame.
        let unwell = tokio::select! {
            failed = probation.failed() => return Err(refused(failed)),
            unwell = prove(engine, health) => unwell.map_err(|why| (why, None)),
            why = self.distrusted(next) => {
                let fix = "let a trusted key sign it: see `eep proxylet verify --help`".to_owned();
                Err((format!("its code is trusted no longer: {why}"), Some(fix)))
            }
            () = proving.ended() => {
                let fix = format!("see `eep status {name}`, and give the order again where it is still wanted");
                Err(("another change of the service was asked for".to_owned(), Some(fix)))
            }
        };
        drop(proving);
        if let Err((why, fix)) = unwell {
            let problem = refused(probation.revert(why).await);
            return Err(match fix {
                Some(fix) => problem.fix(fix),
                None => problem,
            });
        }
        let former = self.kept_code(&held.desired).await?;
        if let Err(problem) = self.write_beside(&next.desired, &brought.bytes, &brought.signatures).await {
            probation.revert(format!("it could not be written down: {}", problem.title)).await;
            return Err(problem);
        }
        let kept = probation.keep().await;
        if kept.is_err() {
            // It failed at the very last. Nobody wanted the former code meanwhile: another change may have removed it.
            match former {
                Some((bytes, signatures)) => self.write_beside(&held.desired, &bytes, &signatures).await?,
                None => self.update(&held.desired).await?,
            }
        }
        let state = Arc::clone(&self.state);
        // Code that was refused is not kept. Where that fails it costs only room.
        let refused_code = kept.is_err();
        let _ = blocking(move || if refused_code { state.forget_spare() } else { state.tidy() }).await;
        kept.map(|()| true).map_err(refused)
    }

    /// The code that is wanted now, and its signatures; none where it is not kept.
    async fn kept_code(&self, desired: &Desired) -> Result<Option<(Digested, Vec<u8>)>, Box<Problem>> {
        let (state, digest) = (Arc::clone(&self.state), desired.sha256);
        let kept = blocking(move || -> Result<_, StateError> {
            let Some(code) = state.code(&digest)? else { return Ok(None) };
            Ok(Some((code, state.signatures(&digest)?)))
        });
        Ok(kept.await??)
    }

    /// Writes down what is wanted, with its code; the code that was wanted before stays.
    async fn write_beside(
        &self,
        desired: &Desired,
        bytes: &[u8],
        signatures: &[u8],
    ) -> Result<(), Box<Problem>> {
        let (state, desired) = (Arc::clone(&self.state), desired.clone());
        let (bytes, signatures) = (bytes.to_vec(), signatures.to_vec());
        blocking(move || state.put_beside(&desired, &bytes, &signatures)).await?.map_err(Into::into)
    }
}

/// A probation that other changes of the service may end.
struct Proving<'a> {
    node: &'a Node,
    held: &'a Held,
    ended: Arc<Notify>,
}

impl<'a> Proving<'a> {
    fn of(node: &'a Node, held: &'a Held) -> Self {
        let ended = Arc::new(Notify::new());
        lock(&node.proving).insert(held.desired.name.clone(), Arc::clone(&ended));
        Self { node, held, ended }
    }

    async fn ended(&self) {
        self.ended.notified().await;
    }
}

impl Drop for Proving<'_> {
    fn drop(&mut self) {
        lock(&self.node.proving).remove(&self.held.desired.name);
    }
}

/// Waits until a version has shown that it is well; or why it is not.
async fn prove(engine: &Service, health: &Health) -> Result<(), String> {
    let window = sleep(Duration::from_millis(health.window_ms.into()));
    tokio::pin!(window);
    if let Some(probe) = &health.probe {
        let within = Duration::from_millis(probe.within_ms.into());
        match timeout(within, ask(engine, probe)).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return Err(format!("its health probe failed: {why}")),
            Err(_) => return Err(format!("its health probe had no answer within {} ms", probe.within_ms)),
        }
    }
    window.await;
    Ok(())
}

/// Asks the service what it is to be asked.
async fn ask(engine: &Service, probe: &Probe) -> Result<(), String> {
    let listening = engine.status().listening;
    let to: SocketAddr = match probe.connect {
        Some(to) => to,
        None => view::reachable(&listening).ok_or("the new version listens nowhere")?,
    };
    let told = |e: std::io::Error| format!("{to}: {e}");
    let mut stream = TcpStream::connect(to).await.map_err(told)?;
    stream.write_all(probe.send.as_bytes()).await.map_err(told)?;
    let mut answer = vec![0; probe.expect.len()];
    stream.read_exact(&mut answer).await.map_err(told)?;
    if answer == probe.expect.as_bytes() {
        return Ok(());
    }
    Err(format!("{to} answered {:?} and not {:?}", String::from_utf8_lossy(&answer), probe.expect))
}
