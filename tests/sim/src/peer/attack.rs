//! What an attacker does.

use avp::gnutella::pong::Pong;
use avp::gnutella::{Guid, Header, Kind, hit, query};

use super::messages::message;
use super::{Light, Timer};
use crate::engine::MS;
use crate::internet::place::address;
use crate::workload::content::mix;
use crate::world::{Bytes, Shard};

/// From one act to the next.
const INTERVAL: u64 = 500 * MS;
/// Messages of one act to each link.
const BURST: usize = 10;

/// What it does to everybody with whom it has a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Asks and asks.
    Queries,
    /// Sends what is no message.
    Garbage,
    /// Answers what nobody asked.
    FakeHits,
    /// Tells of hosts that do not exist.
    BogusPongs,
    /// Says that it has everything, again and again, in tables that are never finished.
    Tables,
}

impl Light {
    /// From now on it is an attacker; what kind follows from its place.
    pub fn turn_byzantine(&mut self, world: &mut Shard) {
        if self.attack.is_some() {
            return;
        }
        self.attack = Some(match mix(u64::from(self.node)) % 5 {
            0 => Attack::Queries,
            1 => Attack::Garbage,
            2 => Attack::FakeHits,
            3 => Attack::BogusPongs,
            _ => Attack::Tables,
        });
        world.checks.excuse(self.node);
        world.timer(self.node, INTERVAL, Timer::Attack);
    }

    pub(super) fn attack_now(&mut self, world: &mut Shard) {
        let Some(attack) = self.attack else { return };
        world.timer(self.node, INTERVAL, Timer::Attack);
        for _ in 0..BURST {
            let bytes = weapon(attack, world);
            let all = (0..self.links.len()).filter(|n| self.links[*n].is_up());
            self.send_to(world, all, &bytes);
        }
    }
}

fn weapon(attack: Attack, world: &mut Shard) -> Bytes {
    let guid = Guid::random(world.dice.rng());
    let header = |kind, ttl| Header { guid, kind, ttl, hops: 0, len: 0 };
    match attack {
        Attack::Queries => {
            let file = world.catalogue.draw(&mut world.dice);
            let text = world.catalogue.search_for(file, &mut world.dice);
            message(header(Kind::QUERY, 7), &query::Builder::new(&text).finish())
        }
        Attack::Garbage => {
            let mut bytes = world.dice.seed().to_vec();
            // Short enough to be believed half of the time.
            bytes[21..23].fill(0);
            bytes.into()
        }
        Attack::FakeHits => {
            let node = world.dice.below(world.len()) as u32;
            let builder =
                hit::Builder::new(*b"FAKE", address(node), 1).file(1, 1, "kaaaa kaaaa kaaaa.ogg", None);
            message(header(Kind::QUERY_HIT, 7), &builder.finish(guid))
        }
        Attack::BogusPongs => {
            // The addresses behind the last peer's belong to nobody.
            let nobody = address(world.len() as u32 + world.dice.below(1_000_000) as u32);
            message(
                header(Kind::PONG, 5),
                &Pong { addr: nobody, files: 1, kbytes: 1, extensions: &[] }.encode(),
            )
        }
        Attack::Tables => {
            let mut part = vec![1, 1, 200, 0, 4];
            part.resize(512, 0xff);
            message(header(Kind::QRP, 1), &part)
        }
    }
}
