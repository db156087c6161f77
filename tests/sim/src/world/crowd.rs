//! Peers come and go.

use avp::Instant;

use super::shard::Peer;
use super::virtual_peer::Avp;
use super::{Event, Shard};
use crate::engine::SECOND;
use crate::internet::place::NodeId;
use crate::peer::{Light, Timer};
use crate::workload::life::Span;
use crate::workload::preset::Choice;

/// Most hosts that newcomers are told of at a time.
pub const TOLD_MAX: usize = 10;
/// Times that a host is looked for among those who have announced themselves.
const TELL_TRIES: usize = 30;

impl Shard {
    pub(super) fn come(&mut self, node: NodeId, span: Option<Span>) {
        let now = self.now();
        let slot = self.slot(node);
        if slot.online {
            return;
        }
        slot.online = true;
        slot.epoch += 1;
        slot.uplink_free = now;
        let (epoch, config) = (slot.epoch, slot.config.clone());
        self.records.lives += 1;
        if let Some(config) = config {
            let avp = Avp::new(*config, node, now, self.dice.seed(), self.clock(node));
            self.slot(node).peer = Some(Peer::Virtual(Box::new(avp)));
            self.announce(node);
            self.timer(node, 0, Timer::Wake);
            return;
        }
        let life = self.setup.preset.life;
        // Who is here at the beginning is in the middle of a life.
        let first = epoch == 1 && now.0 - crate::engine::START.0 <= self.setup.ramp_s * SECOND;
        let span = span.unwrap_or_else(|| match first {
            true => life.draw_rest(&mut self.crowd_dice),
            false => life.draw(&mut self.crowd_dice),
        });
        if span.seconds.is_finite() {
            let at = Instant(now.0 + (span.seconds * SECOND as f64) as u64);
            self.queue.push(at, Event::Go(node, epoch));
        }
        let mut light = Light::new(self, node, span);
        light.begin(self);
        self.slot(node).peer = Some(Peer::Light(Box::new(light)));
    }

    /// A peer leaves and says so.
    pub(super) fn go(&mut self, node: NodeId) {
        let Some(peer) = self.slot(node).peer.take() else { return };
        match peer {
            Peer::Light(light) => light.leave(self),
            Peer::Virtual(avp) => avp.leave(self),
        }
        self.gone(node);
    }

    /// A peer is gone without a word.
    pub(super) fn kill(&mut self, node: NodeId) {
        let Some(peer) = self.slot(node).peer.take() else { return };
        let ends = match &peer {
            Peer::Light(light) => light.ends(),
            Peer::Virtual(avp) => avp.ends(),
        };
        ends.into_iter().for_each(|end| self.vanish(end));
        self.gone(node);
    }

    fn gone(&mut self, node: NodeId) {
        self.slot(node).online = false;
        self.slot(node).epoch += 1;
        self.withdraw(node);
        let pause = match self.slot(node).config {
            Some(_) => f64::INFINITY,
            None => self.setup.pause_s(&mut self.crowd_dice),
        };
        if pause.is_finite() {
            let at = Instant(self.now().0 + (pause * SECOND as f64) as u64);
            self.queue.push(at, Event::Come(node));
        }
    }

    /// Lets newcomers be told of a host that takes relations.
    pub fn announce(&mut self, node: NodeId) {
        if self.hosts.insert(node) {
            self.tell_all(|parcel| parcel.host(node, true));
        }
    }

    /// Newcomers are not told of it any more.
    pub fn withdraw(&mut self, node: NodeId) {
        if self.hosts.remove(node) {
            self.tell_all(|parcel| parcel.host(node, false));
        }
    }

    /// Hosts that a newcomer is told of, by a web cache or, as the preset says, by somebody who knows more.
    /// `patient` as long as those who are named first may still take it.
    pub fn tell_hosts(&mut self, asker: NodeId, patient: bool, into: &mut Vec<NodeId>) {
        let system = self.places.system(asker);
        match self.setup.preset.choice {
            Choice::Domain => {
                let all = &self.atlas.domain_peers;
                let own = all.iter().filter(|(s, n)| *s == system && *n != asker).map(|(_, n)| *n);
                into.extend(own);
                if !into.is_empty() && patient {
                    return;
                }
            }
            Choice::Oracle => {
                let members = self.places.members(system);
                for _ in 0..TELL_TRIES {
                    let one = members.start + self.dice.below(members.len()) as NodeId;
                    let takes = self.hosts.has(one);
                    if takes && one != asker && !into.contains(&one) && into.len() < TOLD_MAX {
                        into.push(one);
                    }
                }
            }
            Choice::Random => {}
        }
        for _ in 0..TELL_TRIES {
            let Some(one) = self.hosts.pick(&mut self.dice) else { break };
            if into.len() >= TOLD_MAX {
                break;
            }
            if one != asker && !into.contains(&one) {
                into.push(one);
            }
        }
    }
}
