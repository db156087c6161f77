//! What others ask of us.

use std::time::Duration;

use super::message::{Body, Message};
use super::{Dht, Offence};
use crate::id::{Contact, NodeId};
use crate::time::Instant;

impl Dht {
    pub(super) fn take(&mut self, now: Instant, from: Contact, message: Message) {
        let Message { transaction, body } = message;
        let question =
            matches!(body, Body::Ping | Body::FindNode(_) | Body::FindRecord(_) | Body::Store { .. });
        if !question {
            return self.answered(now, from, transaction, body);
        }
        if !self.guard.allow(now, from.id) {
            return self.offend(now, from.id, Offence::Flood);
        }
        self.hear(now, from, None);
        let answer = match body {
            Body::FindNode(point) => Body::Nodes(self.nodes_for(from.id, point)),
            Body::FindRecord(point) => Body::Record {
                holders: self.records.holders(now, point),
                nodes: self.nodes_for(from.id, point),
            },
            Body::Store { point, seconds: 0 } => {
                self.records.withdraw(point, from.id);
                Body::Stored(true)
            }
            Body::Store { point, seconds } => {
                let taken = self.records.store(now, point, from, Duration::from_secs(u64::from(seconds)));
                self.stats.records_refused += u64::from(!taken);
                Body::Stored(taken)
            }
            _ => Body::Pong,
        };
        self.send(from, transaction, answer);
    }

    fn nodes_for(&self, asker: NodeId, point: NodeId) -> Vec<Contact> {
        let mut nodes = self.closest(point, self.config.k + 1);
        nodes.retain(|n| n.id != asker);
        nodes.truncate(self.config.k);
        nodes
    }
}
