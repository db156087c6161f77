//! The text before the messages, as real peers write it.

use std::net::IpAddr;

use avp::gnutella::handshake::{Block, Reader, Start};
use avp::gnutella::headers::Writer;

use super::links::Other;
use super::{Light, Role, Stage};
use crate::internet::place::{NodeId, address, node_at};
use crate::world::{Bytes, Shard};

/// What light peers call themselves.
const USER_AGENT: &str = "Light/1.0";
/// Hosts in `X-Try-Ultrapeers`.
const TRY_MAX: usize = 8;
/// Least length of a text in bytes, for what is cut off.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEAD_LINES_MAX: usize = 64;

impl Light {
    pub(super) fn request_text(&self, to: NodeId) -> Bytes {
        let mut head = Writer::connect();
        self.about_us(to, &mut head);
        head.finish().into()
    }

    fn about_us(&self, to: NodeId, head: &mut Writer) {
        head.push("User-Agent", USER_AGENT);
        head.push("Listen-IP", address(self.node));
        head.push("Remote-IP", IpAddr::from(*address(to).ip()));
        head.push("GUID", self.guid);
        if self.role == Role::Flat {
            head.push("Pong-Caching", "0.1");
            return;
        }
        head.push("X-Ultrapeer", if self.role == Role::Ultrapeer { "True" } else { "False" });
        head.push("GGEP", "0.5");
        head.push("Pong-Caching", "0.1");
        head.push("X-Query-Routing", "0.1");
        if self.role == Role::Ultrapeer {
            head.push("X-Ultrapeer-Query-Routing", "0.1");
            head.push("X-Dynamic-Querying", "0.1");
            head.push("X-Ext-Probes", "0.1");
            head.push("X-Degree", self.want.max(16));
            head.push("X-Max-TTL", "4");
        }
    }

    fn answer_text(&self, to: NodeId, code: u16, reason: &str) -> Bytes {
        let mut head = Writer::status(code, reason);
        self.about_us(to, &mut head);
        let tries: Vec<String> =
            self.hosts.iter().rev().take(TRY_MAX).map(|h| address(*h).to_string()).collect();
        if !tries.is_empty() {
            head.push("X-Try-Ultrapeers", tries.join(","));
        }
        head.finish().into()
    }

    pub(super) fn text(&mut self, world: &mut Shard, n: usize, bytes: &Bytes) {
        let read = Reader::new(HEAD_BYTES_MAX, HEAD_LINES_MAX).push(bytes);
        let Ok(Some((block, used))) = read else {
            self.end_link(world, n);
            return;
        };
        self.learn_tries(world, &block);
        let goes_on = match self.links[n].stage {
            Stage::Accepted => self.asked(world, n, &block),
            Stage::Asked => self.was_answered(world, n, &block),
            Stage::Answered => self.was_confirmed(world, n, &block),
            Stage::Dialling | Stage::Up => false,
        };
        if !goes_on {
            let dialled = self.links[n].stage == Stage::Asked;
            self.end_link(world, n);
            if dialled {
                self.came_to_nothing(world);
            }
        } else if used < bytes.len() && self.links[n].is_up() {
            self.messages(world, n, bytes, used);
        }
    }

    fn learn_tries(&mut self, world: &mut Shard, block: &Block) {
        let places = world.len();
        for host in block.headers.items("X-Try-Ultrapeers").take(2 * TRY_MAX) {
            let node = host.parse().ok().and_then(|a| node_at(a, places));
            if let Some(node) = node {
                self.hear_of(world, node);
            }
        }
    }

    /// What the other is to us, by what it says.
    fn other_by(&self, block: &Block) -> Option<Other> {
        match (self.role, block.headers.boolean("X-Ultrapeer")) {
            (Role::Flat, _) | (Role::Ultrapeer, Some(true)) => Some(Other::Neighbour),
            (Role::Leaf, Some(true)) => Some(Other::Parent),
            (Role::Ultrapeer, Some(false)) => Some(Other::Leaf),
            _ => None,
        }
    }

    pub(super) fn has_room(&self, world: &Shard, what: Other) -> bool {
        let preset = &world.setup.preset;
        let most = match what {
            Other::Leaf => preset.leaves,
            Other::Neighbour => self.want + preset.neighbours_spare,
            Other::Parent => self.want,
            Other::Unknown => 0,
        };
        self.count(what) < usize::from(most)
    }

    /// Whether somebody who comes for the first time would be taken.
    pub(super) fn has_room_for_newcomers(&self, world: &Shard) -> bool {
        self.has_room(world, Other::Neighbour)
            || self.role == Role::Ultrapeer && self.has_room(world, Other::Leaf)
    }

    /// First leg, to us.
    fn asked(&mut self, world: &mut Shard, n: usize, block: &Block) -> bool {
        if !matches!(block.start, Start::Connect(_)) {
            return false;
        }
        let (end, other) = (self.links[n].end, self.links[n].other);
        let twin = self.links.iter().enumerate().any(|(m, l)| m != n && l.other == other && l.is_up());
        let what = self.other_by(block).filter(|w| self.has_room(world, *w) && *w != Other::Parent && !twin);
        let Some(what) = what else {
            let answer = self.answer_text(other, 503, "No room");
            world.send(end, &answer);
            return false;
        };
        self.note_terms(n, what, block);
        self.stage(world, n, Stage::Answered);
        let answer = self.answer_text(other, 200, "OK");
        world.send(end, &answer);
        true
    }

    fn note_terms(&mut self, n: usize, what: Other, block: &Block) {
        let link = &mut self.links[n];
        link.what = what;
        link.degree = block.headers.number("X-Degree").and_then(|d| d.try_into().ok()).unwrap_or(0);
        link.max_ttl =
            block.headers.number("X-Max-TTL").and_then(|t| t.try_into().ok()).unwrap_or(7).clamp(1, 7);
    }

    /// Second leg, to us.
    fn was_answered(&mut self, world: &mut Shard, n: usize, block: &Block) -> bool {
        let accepted = matches!(block.start, Start::Status { code: 200, .. });
        let other = self.links[n].other;
        let twin = self.links.iter().enumerate().any(|(m, l)| m != n && l.other == other && l.is_up());
        let what = self.other_by(block).filter(|w| accepted && self.has_room(world, *w) && !twin);
        let Some(what) = what else {
            world.records.refused += 1;
            return false;
        };
        self.note_terms(n, what, block);
        let mut head = Writer::status(200, "OK");
        if self.role != Role::Flat {
            head.push("X-Ultrapeer", if self.role == Role::Ultrapeer { "True" } else { "False" });
        }
        world.send(self.links[n].end, &head.finish().into());
        self.stands(world, n);
        true
    }

    /// Third leg, to us.
    fn was_confirmed(&mut self, world: &mut Shard, n: usize, block: &Block) -> bool {
        if !matches!(block.start, Start::Status { code: 200, .. }) {
            return false;
        }
        self.stands(world, n);
        true
    }

    fn stands(&mut self, world: &mut Shard, n: usize) {
        self.stage(world, n, Stage::Up);
        self.tries = 0;
        world.records.joined += 1;
        self.introduce(world, n);
    }
}
