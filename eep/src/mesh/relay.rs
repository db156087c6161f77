//! Streams of others that pass through this node, and what they need to know of links that die or congest.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use topology::NodeId;

use crate::mesh::streams::{Carried, Refused, Streams, refused};
use crate::mesh::trust::{May, Peer};
use crate::mesh::wire::{self, HOPS_MAX, Opening, Purpose, Refusal, Reply};

impl Streams {
    /// Passes a stream on.
    pub(super) async fn relay(
        &self,
        from: &Peer,
        opening: &Opening,
        target: NodeId,
        io: &mut wire::Bi,
    ) -> Result<(), (Refused, Option<wire::Bi>)> {
        let answer = async |io: &mut wire::Bi, no: Refused| {
            let reply = Reply { code: no.cause.number(), why: Some(no.words.clone()) };
            let _ = wire::write(io, &reply).await;
            let _ = io.writer_mut().finish();
            Err((no, None))
        };
        let policies = self.admission.changes();
        if let Err(words) = self.admission.ask(from, May::Relay, &target.to_string()) {
            // Only the target's own no is the last word: over another node there may be a way.
            let _ = answer(io, refused(Refusal::NoRoute, words.clone())).await;
            return Err((refused(Refusal::NotAllowed, words), None));
        }
        let Ok(_permit) = Arc::clone(&self.relays).try_acquire_owned() else {
            return answer(io, refused(Refusal::Busy, "too many streams are being passed on")).await;
        };
        let mut onward = opening.clone();
        let passed = onward.passed.get_or_insert_default();
        if passed.len() >= HOPS_MAX || passed.contains(&self.me) {
            return answer(io, refused(Refusal::NoRoute, "the stream has gone round, or too far")).await;
        }
        if !passed.contains(&from.id) {
            passed.push(from.id);
        }
        passed.push(self.me);
        let avoid = passed.clone();
        let (_, next, mut out) = match self.connect(target, &onward).await {
            Ok(found) => found,
            Err(no) => return answer(io, no).await,
        };
        if wire::write(io, &Reply { code: 0, why: None }).await.is_err() {
            return Ok(());
        }
        self.counters.relayed.fetch_add(1, Relaxed);
        let both = [from.id, next];
        let died = self.has_died(&both);
        // A session is taken up again by its ends; what does not know how to has to stay.
        let moves = matches!(Purpose::of(opening.purpose), Some(Purpose::Session | Purpose::Resume));
        let carried = Carried::default();
        let better = async {
            match moves {
                true => self.better(target, next, &avoid, &carried).await,
                false => std::future::pending().await,
            }
        };
        let about = target.to_string();
        let mut counted = carried.by(&mut out);
        let whole = tokio::select! {
            copied = tokio::io::copy_bidirectional(io, &mut counted) => copied.is_ok(),
            () = died => false,
            () = better => false,
            why = self.admission.forbids(policies, from, May::Relay, &about) => {
                self.count_forbidden(from, &why);
                false
            }
        };
        drop(counted);
        if !whole {
            // Both ends hear at once that this way has failed, and take another.
            for side in [io, &mut out] {
                let _ = side.writer_mut().reset(quinn::VarInt::from_u32(Refusal::NoRoute.number()));
            }
        }
        Ok(())
    }

    /// Comes back when one of these neighbours, alive before, does not answer any more.
    pub(super) async fn has_died(&self, neighbours: &[NodeId]) {
        let mut alive = self.alive.clone();
        let watched: Vec<NodeId> = {
            let alive = alive.borrow();
            neighbours.iter().copied().filter(|id| alive.contains(id)).collect()
        };
        let died = alive.wait_for(|alive| watched.iter().any(|id| !alive.contains(id))).await.is_err();
        if died {
            std::future::pending::<()>().await;
        }
    }
}
