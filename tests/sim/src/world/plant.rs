//! Broken rules on purpose, so that one sees each check notice.

use avp::gnutella::{Guid, Header, Kind, hit, query};
use serde::{Deserialize, Serialize};

use super::shard::Peer;
use super::{Bytes, End, Shard};
use crate::internet::place::{NodeId, address};
use crate::peer::{Light, Role};

/// Which rule is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plant {
    /// A peer sends the same answer twice to the same neighbour.
    Twice,
    /// A peer sends the same search twice to the same neighbour.
    Again,
    /// A peer sends the same answer to two neighbours.
    Fork,
    /// A peer sends a message that has made more hops than any may.
    Hops,
    /// A peer cuts a message short.
    Cut,
    /// A table of a peer grows beyond its bound.
    Table,
    /// A virtual peer has more leaves than it may have.
    Bound,
    /// A peer forgets a relation with a virtual peer, which does not learn it.
    Leaf,
    /// A virtual peer forgets a relation with a peer, which does not learn it.
    Parent,
    /// A leaf stops looking for ultrapeers.
    Alone,
    /// The books have a byte that nobody sent.
    Bytes,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Twice,
        Self::Again,
        Self::Fork,
        Self::Hops,
        Self::Cut,
        Self::Table,
        Self::Bound,
        Self::Leaf,
        Self::Parent,
        Self::Alone,
        Self::Bytes,
    ];
}

/// An answer that nobody asked for, after so many hops.
fn answer(hops: u8) -> Bytes {
    let payload = hit::Builder::new(*b"PLNT", address(0), 1).file(1, 1, "kaaaa.ogg", None).finish(Guid::ZERO);
    Header { guid: Guid([7; 16]), kind: Kind::QUERY_HIT, ttl: 3, hops, len: 0 }.frame(&payload).into()
}

/// A search, as a neighbour sends it.
fn search() -> Bytes {
    let payload = query::Builder::new("kaaaa").finish();
    Header { guid: Guid([8; 16]), kind: Kind::QUERY, ttl: 1, hops: 1, len: 0 }.frame(&payload).into()
}

impl Shard {
    /// Breaks a rule, if somebody is here who can.
    pub(super) fn plant(&mut self, plant: Plant) {
        let found = self.light().find_map(|(node, light)| {
            let ends: Vec<_> = light.ends_up().collect();
            let fits = match plant {
                Plant::Fork => ends.len() >= 2,
                Plant::Leaf | Plant::Parent => self.virtual_relation(light).is_some(),
                Plant::Alone => light.role == Role::Leaf,
                Plant::Twice | Plant::Again | Plant::Hops | Plant::Cut => !ends.is_empty(),
                Plant::Table | Plant::Bound | Plant::Bytes => true,
            };
            fits.then_some((node, ends))
        });
        let Some((node, ends)) = found else { return };
        match plant {
            Plant::Twice => self.send_to(&[ends[0], ends[0]], &answer(0)),
            Plant::Again => self.send_to(&[ends[0], ends[0]], &search()),
            Plant::Fork => self.send_to(&ends[..2], &answer(0)),
            Plant::Hops => self.send_to(&ends[..1], &answer(16)),
            Plant::Cut => self.send_to(&ends[..1], &answer(0)[..40].into()),
            Plant::Bytes => self.ledger.sent_bytes += 1,
            Plant::Bound => {
                for node in self.nodes() {
                    self.with(node, |_, peer| {
                        if let Peer::Virtual(avp) = peer {
                            avp.allow_no_leaves();
                        }
                    });
                }
            }
            Plant::Table => self.with_light(node, |_, light| light.overfill()),
            Plant::Alone => self.with_light(node, |world, light| light.give_up(world)),
            Plant::Leaf => self.with_light(node, |world, light| {
                if let Some(other) = world.virtual_relation(light) {
                    light.forget(world, other);
                }
            }),
            Plant::Parent => {
                let parent = self.light().find(|(n, _)| *n == node);
                let parent = parent.and_then(|(_, light)| self.virtual_relation(light));
                if let Some(parent) = parent {
                    self.with(parent, |world, peer| {
                        if let Peer::Virtual(avp) = peer {
                            avp.forget(world, node);
                        }
                    });
                }
            }
        }
    }

    /// A virtual peer of this shard with which a peer has a relation.
    fn virtual_relation(&self, light: &Light) -> Option<NodeId> {
        let mut others = light.relations(self.now()).map(|(other, _)| other);
        others.find(|other| self.is_virtual(*other) && self.nodes().contains(other))
    }

    fn send_to(&mut self, ends: &[End], bytes: &Bytes) {
        for end in ends {
            self.send(*end, bytes);
        }
    }

    fn with_light(&mut self, node: NodeId, act: impl FnOnce(&mut Self, &mut Light)) {
        self.with(node, |world, peer| {
            if let Peer::Light(light) = peer {
                act(world, light);
            }
        });
    }
}
