//! The table of relations at rest: all places, those who are in them, and the orders in which places are used.

use super::{BLIND_LEAVES_MAX, Place, Relation, Table};
use crate::application::routes::LinkId;
use crate::config::{LEAVES_MAX, ULTRAPEERS_MAX};
use crate::link::Link;
use crate::state::{Damaged, Reader, Saved, Writer};

/// Relations, and places of former ones.
const PLACES_MAX: usize = LEAVES_MAX as usize + ULTRAPEERS_MAX as usize + 64;

/// Indexes and counts are made anew.
impl Table {
    pub(crate) fn save(&self, to: &mut Writer) {
        to.len_of(self.places.len());
        for place in &self.places {
            place.serial.save(to);
            place.relation.is_some().save(to);
            if let Some(relation) = &place.relation {
                relation.save(to);
                let reached = relation.address.and_then(|address| self.by_address.get(&address));
                (reached == Some(&relation.id)).save(to);
            }
        }
        to.list(self.free.iter());
        to.list(self.neighbours.iter());
        to.list(self.blind_leaves.iter());
    }

    /// Takes over all relations.
    pub(crate) fn load(&mut self, from: &mut Reader<'_>) -> Result<(), Damaged> {
        let len = from.len_of(5, PLACES_MAX)?;
        self.places.reserve(len);
        // To grow an index is to make it anew.
        self.by_conn.reserve(len);
        self.by_servent.reserve(len);
        self.by_address.reserve(len);
        let mut neighbours = 0;
        for index in 0..len as u32 {
            let mut place = Place { serial: from.load()?, relation: None };
            if from.load()? {
                let id = LinkId { index, serial: place.serial };
                let relation = Relation::load(from, id)?;
                let is_reached = from.load()?;
                neighbours += u32::from(relation.link.terms.role.is_neighbour());
                from.ensure(self.enter(&relation, is_reached))?;
                place.relation = Some(Box::new(relation));
            }
            self.places.push(place);
        }
        self.free = from.list(len)?;
        self.neighbours = from.list(len)?;
        self.blind_leaves = from.list(BLIND_LEAVES_MAX)?;
        let role = |i: &u32| self.get(*i).map(|r| r.link.terms.role.is_neighbour());
        from.ensure(is_each_once(&self.free) && self.free.len() + self.len() == len)?;
        from.ensure(self.free.iter().all(|i| (*i as usize) < len && role(i).is_none()))?;
        from.ensure(is_each_once(&self.neighbours) && self.neighbours.len() == neighbours as usize)?;
        from.ensure(self.neighbours.iter().all(|i| role(i) == Some(true)))?;
        from.ensure(is_each_once(&self.blind_leaves))?;
        from.ensure(self.blind_leaves.iter().all(|i| role(i) == Some(false)))
    }

    /// Enters a relation in the indexes; `false` where one of them knows another one.
    fn enter(&mut self, relation: &Relation, is_reached: bool) -> bool {
        let (link, id) = (&relation.link, relation.id);
        self.counts[link.terms.role as usize] += 1;
        *self.from_address.entry(link.remote.ip()).or_insert(0) += 1;
        let mut is_new = self.by_conn.insert(link.conn, id.index).is_none();
        if let Some(servent) = relation.servent {
            is_new &= self.by_servent.insert(servent, id).is_none();
        }
        if let Some(address) = relation.address.filter(|_| is_reached) {
            is_new &= self.by_address.insert(address, id).is_none();
        }
        is_new
    }
}

fn is_each_once(places: &[u32]) -> bool {
    let mut places = places.to_vec();
    places.sort_unstable();
    places.windows(2).all(|two| two[0] != two[1])
}

impl Relation {
    fn save(&self, to: &mut Writer) {
        // What it holds is counted again, and between two calls nobody is about to be inflated.
        let Self { link, id: _, column, receiver, counted_bytes: _, inflating: _, .. } = self;
        link.save(to);
        column.save(to);
        receiver.save(to);
        self.table_updates.save(to);
        self.unfinished_table.save(to);
        to.buffer(&self.backlog);
        self.servent.save(to);
        self.push_proxy.save(to);
        self.address.save(to);
        [self.pongs_from, self.connect_back_from].save(to);
    }

    fn load(from: &mut Reader<'_>, id: LinkId) -> Result<Self, Damaged> {
        let mut relation = Self {
            link: from.load::<Link>()?,
            id,
            column: from.load()?,
            receiver: from.load()?,
            table_updates: from.small_count()?,
            unfinished_table: from.load()?,
            backlog: from.buffer(usize::MAX)?,
            counted_bytes: 0,
            inflating: false,
            servent: from.load()?,
            push_proxy: from.load()?,
            address: from.load()?,
            pongs_from: from.load()?,
            connect_back_from: from.load()?,
            // Another generation may be in force.
            policed: None,
        };
        relation.counted_bytes = relation.held_bytes();
        Ok(relation)
    }
}
