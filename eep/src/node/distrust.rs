//! Whether those who signed running code are still trusted.
//!
//! The key files are read again and again, so that a key which is revoked in its file ends what it signed, without a word
//! to the node. Keys that cannot be read end nothing that runs, and let nothing start.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::config::ServiceName;
use crate::node::change::alive;
use crate::node::restore::Down;
use crate::node::{DRAIN, Held, Node, blocking, lock, refusals};
use crate::observe::log_ring::{LogLevel, LogSource};
use crate::proxylet::service::Vouched;
use crate::proxylet::trust::TrustError;

/// How often it is looked whether running code is still trusted.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Node {
    /// Stops every service whose signers do not suffice any more. It is wanted as before, and comes back when they do.
    pub(super) async fn end_distrusted(&self) {
        let Some(trust) = &self.trust else { return };
        let running: Vec<Held> = {
            let services = lock(&self.services);
            services.values().filter(|held| held.engine.as_ref().is_some_and(alive)).cloned().collect()
        };
        let trust = trust.clone();
        let judged = blocking(move || {
            let now = SystemTime::now();
            running
                .into_iter()
                .filter_map(|held| Some((held.desired.name.clone(), trust.still(&held.signers, now).err()?)))
                .collect::<Vec<_>>()
        });
        for (name, error) in judged.await.unwrap_or_default() {
            if let TrustError::Keyring(error) = &error {
                tracing::warn!(service = %name, %error, "it cannot be told whether its code is still trusted");
                continue;
            }
            self.end_one(&name, &error).await;
        }
    }

    async fn end_one(&self, name: &ServiceName, error: &TrustError) {
        // A change that is under way judges by itself; the next look finds what it leaves.
        let Some(_looking) = self.reserve_to_look(name) else { return };
        let Ok(mut held) = self.held(name.as_str()) else { return };
        let Some(engine) = held.engine.take() else { return };
        let problem = refusals::trust(&held.desired.url, error);
        tracing::warn!(service = %name, %problem, "the service is stopped: its code is trusted no longer");
        held.log.write(LogLevel::Error, LogSource::Node, &format!("stopped: {}", problem.title));
        if engine.stop(DRAIN).await.is_err() {
            // Too busy to be told; the next look tries again.
            return;
        }
        held.down = Some(Down::because(&problem));
        self.hold(held);
    }

    /// Comes back when the signers of a version on probation do not suffice any more, with the reason.
    pub(super) async fn distrusted(&self, held: &Held) -> String {
        let Some(trust) = &self.trust else { return pending().await };
        loop {
            sleep(LOOK_EVERY).await;
            let (trust, signers) = (trust.clone(), Arc::clone(&held.signers));
            match blocking(move || trust.still(&signers, SystemTime::now())).await {
                Ok(Err(TrustError::Keyring(_)) | Ok(())) | Err(_) => {}
                Ok(Err(error)) => return error.to_string(),
            }
        }
    }

    /// What is asked before code runs again after a trap and, of a placed service, all the time.
    pub(super) fn vouched(&self, held: &Held) -> Vouched {
        let signed = match &self.trust {
            None => Vouched::always(),
            Some(trust) => {
                let (trust, signers) = (trust.clone(), Arc::clone(&held.signers));
                Vouched::by(move || trust.still(&signers, SystemTime::now()).map_err(|e| e.to_string()))
            }
        };
        match &held.desired.placed {
            Some(by) => signed.within(self.permit_of(held.desired.name.as_str(), by)),
            None => signed,
        }
    }
}
